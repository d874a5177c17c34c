"""The parts of frames' names, what of them is random, and which of them is the number that runs.

Pure text: :func:`read` takes the stems of one folder and knows nothing of files.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Literal

Kind = Literal["text", "number", "time", "hash"]

ENDINGS = r"png|jpe?g|bmp|tiff?|gif|webp|pgm|ppm|npy|raw"
# A tool's ending in place of the old one: NAME_png.rf.HASH, before it what the name ended in.
_ROBOFLOW = re.compile(r"\.rf\.[0-9A-Za-z_-]{6,}$")
_OLD_ENDING = re.compile(rf"[._-](?:{ENDINGS})$", re.IGNORECASE)
_UUID = r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
_LABEL_STUDIO = re.compile(rf"^(?!{_UUID})([0-9a-f]{{8}})(?:-|__)(?=.)")
_TIME = (
    r"(?<![0-9A-Za-z])(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])[-_. T]?"
    r"(?:[01]\d|2[0-3])[-_.:h]?[0-5]\d[-_.:m]?[0-5]\d(?:(?:[-_.,s]?\d{9}|[-_.,s]?\d{6}|[-_.,s]?\d{3})(?!\d))?Z?"
    r"(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])1\d{9}[._](?:\d{9}|\d{6}|\d{3})(?![0-9A-Za-z])"  # seconds since 1970, and their fraction
)
_PARTS = re.compile(rf"(?P<hash>{_UUID})|(?P<time>{_TIME})|(?P<word>[^\W_]+)|(?P<text>[\W_]+)", re.ASCII)
_OF_TIME = re.compile(
    r"(\d{4})[-_.]?(\d\d)[-_.]?(\d\d)[-_. T]?(\d\d)[-_.:h]?(\d\d)[-_.:m]?(\d\d)(?:[-_.,s]?(\d{1,9}))?Z?", re.ASCII
)
_FRACTION = re.compile(r"(.*?)[-_.,s]?(\d{9}|\d{6}|\d{3})", re.ASCII)
_RUNS = re.compile("[0-9]+|[^0-9]+")
_EPOCH = re.compile(r"[12]\d{9}(?:\d{3}|\d{6}|\d{9})?", re.ASCII)
# Numbers that say what a file is, not which frame.
_MEDIA = re.compile(
    r"(?:\d+x\d+|\d+(?:p|fps|hz|bits?|um|nm|mm|px|k)|mp\d|m\dv|h26\d|3gp|\dch|v\d{1,2}|jp2)(?![^\W_])", re.IGNORECASE
)
_FRAME_WORDS = frozenset(
    ("f", "fr", "frm", "frame", "frames", "framenumber", "img", "image", "images", "im", "t", "idx", "index", "pic")
)
_RECORDING_WORDS = frozenset(
    (
        *("rec", "record", "recording", "seq", "sequence", "s", "cam", "camera", "c", "ch", "channel", "video", "vid"),
        *("clip", "scene", "take", "session", "flight", "run", "set", "part", "track", "mission", "sensor", "day"),
    )
)


@dataclass(frozen=True)
class Part:
    """A piece of a name: ``text``, a ``number``, a ``time``, or a ``hash``, which may still be a recording's."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Read:
    """What a name says: the rest of it, which its recording's frames share, and the number, or time in us."""

    recording: str
    number: int
    is_time: bool


def microseconds(text: str) -> int | None:
    """A time in us: seconds (1.25), a count of seconds, ms, us or ns since 1970, or 20240131_123059_123; else None."""
    text = text.strip()
    if match := _OF_TIME.fullmatch(text):
        moment: datetime | None
        try:
            moment = datetime(*(int(part) for part in match.groups()[:6]))  # type: ignore[arg-type]
        except ValueError:
            moment = None
        if moment is not None:
            fraction = int((match[7] or "").ljust(6, "0")[:6] or 0)
            return (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1) + fraction
    if match := re.fullmatch(r"(1\d{9})[._](\d{3}|\d{6}|\d{9})", text, re.ASCII):
        return int(match[1]) * 10**6 + int(match[2].ljust(6, "0")[:6])
    if len(text) > 30 or not re.fullmatch(r"\d+(\.\d*)?|\.\d+", text, re.ASCII):
        return None
    if _EPOCH.fullmatch(text):
        return int(int(text) * 10.0 ** (16 - len(text))) if len(text) > 16 else int(text) * 10 ** (16 - len(text))
    value = float(text) * 1e6
    return round(value) if value < 1 << 62 else None


def read(stems: list[str]) -> list[Read | None]:
    """What the names of one folder's files say, given without ending; None for one without a number."""
    bare = _without_tools(stems)
    words = [_words(stem) for stem in bare]
    _mark_hashes(words)
    split = [_split(each) for each in words]
    found: list[Read | None] = [None] * len(stems)
    alike: dict[tuple[str, ...], list[int]] = {}
    for at, parts in enumerate(split):
        alike.setdefault(_form(parts), []).append(at)
    for members in alike.values():
        for at, each in zip(members, _read_alike([split[at] for at in members]), strict=True):
            found[at] = each
    return found


# -- tools and parts ---------------------------------------------------------------------------------------------------


def _without_tools(stems: list[str]) -> list[str]:
    bare = []
    for stem in stems:
        shorter = _ROBOFLOW.sub("", stem)
        while _OLD_ENDING.search(shorter) and len(cut := _OLD_ENDING.sub("", shorter)):
            shorter = cut
        bare.append(shorter)
    # A date has eight digits too: it is Label Studio's if letters are among them, and differs from name to name.
    matches = [_LABEL_STUDIO.match(stem) for stem in bare]
    heads = [match[1] for match in matches if match]
    if any(re.search("[a-f]", head) for head in heads) and len(set(heads)) >= 0.9 * len(heads):
        dated = sum(head.isdecimal() for head in heads)
        if dated <= 0.2 * len(heads):
            bare = [stem[match.end() :] if match else stem for stem, match in zip(bare, matches, strict=True)]
    return bare


@lru_cache(1 << 16)
def _word(text: str) -> Part:
    return Part("text", text)


def _words(stem: str) -> list[Part]:
    parts = []
    for match in _PARTS.finditer(stem):
        kind = match.lastgroup
        # Words are looked at once more, when it is known which are random.
        parts.append(_word(match[0]) if kind in ("word", "text") else Part(kind, match[0]))  # type: ignore[arg-type]
    return parts


def _is_word(part: Part) -> bool:
    return part.kind == "text" and part.text[:1].isalnum()


def _mark_hashes(names: list[list[Part]]) -> None:
    """Empties the words that are random in every name, and marks those that look so but are a recording's."""
    alike: dict[tuple[str, ...], list[list[Part]]] = {}
    for parts in names:
        form = tuple("w" if _is_word(p) else (p.text if p.kind == "text" else p.kind) for p in parts)
        alike.setdefault(form, []).append(parts)
    for group in alike.values():
        for column in range(len(group[0])):
            values = [parts[column] for parts in group]
            before = [parts[column - 2].text.lower() if column > 1 else "" for parts in group]
            of_recordings = all(word.rstrip("0123456789") in _RECORDING_WORDS for word in before)
            uuids = values[0].kind == "hash"
            if not uuids and not _is_word(values[0]):
                continue
            texts = [value.text for value in values]
            random = _random(texts) if not uuids else len(texts) > 1 and len(set(texts)) >= 0.9 * len(texts)
            for parts, text in zip(group, texts, strict=True):
                if random and not of_recordings:
                    parts[column] = Part("hash", "")
                elif uuids or (random and of_recordings) or _looks_random(text):
                    parts[column] = Part("hash", text)


def _random(texts: list[str]) -> bool:
    """Whether words are as those of a generator: all different, of one length, of digits and letters without order."""
    n, length = len(texts), len(texts[0])
    if n < 2 or len(set(texts)) < 0.9 * n or any(len(text) != length for text in texts):
        return False
    differing = [len({text[at] for text in texts}) for at in range(length)]
    free = sum(each > 1 for each in differing)
    hexes = all(re.fullmatch("[0-9a-f]+|[0-9A-F]+", text) for text in texts)
    mixed = sum(bool(re.search("[0-9]", text) and re.search("[A-Za-z]", text)) for text in texts)
    orders = len({re.sub("[0-9]+", "#", text) for text in texts})
    return free >= (5 if hexes else 6) and mixed >= 0.5 * n and orders >= 0.6 * n


@lru_cache(1 << 16)
def _looks_random(text: str) -> bool:
    changes = len(re.findall(r"(?<=[0-9])(?=[^0-9])|(?<=[^0-9])(?=[0-9])", text))
    if re.fullmatch("[0-9a-f]{8,}|[0-9A-F]{8,}", text):
        return changes >= 3 or (len(text) >= 16 and changes >= 1)
    classes = re.sub("[0-9]", "0", re.sub("[A-Z]", "A", re.sub("[a-z]", "a", text)))
    turns = sum(one != other for one, other in pairwise(classes))
    return len(text) >= 11 and turns >= 0.4 * len(text) and {"a", "A"} <= set(classes)


def _split(parts: list[Part]) -> list[Part]:
    """Digits and letters of words apart."""
    found: list[Part] = []
    for part in parts:
        if not _is_word(part) or _MEDIA.fullmatch(part.text):
            found.append(part)
            continue
        found += _pieces(part.text)
    return found


@lru_cache(1 << 16)
def _pieces(word: str) -> tuple[Part, ...]:
    return tuple(Part("number" if _fits(piece) else "text", piece) for piece in _RUNS.findall(word))


def _fits(piece: str) -> bool:
    # No camera counts further than fits into 63 bits, but ns since 1970 take 19 digits.
    return piece.isdecimal() and len(piece) <= (19 if piece[0] == "1" else 18)


def _form(parts: list[Part]) -> tuple[str, ...]:
    return tuple(p.kind if p.kind != "text" else (p.text if not p.text[:1].isalnum() else "a") for p in parts)


LONG, SHORT = 20, 8
"""Frames: a run that is surely one of time, and one too short for a recording if the other is that long."""

# -- the number --------------------------------------------------------------------------------------------------------


def _read_alike(names: list[list[Part]]) -> list[Read | None]:
    """Names of one form: picks the column that runs."""
    candidates = [at for at, part in enumerate(names[0]) if part.kind in ("number", "time")]
    if not candidates:
        return [None] * len(names)
    for at in candidates:
        if names[0][at].kind == "time" and _counts(names, at):
            return _read_alike([_counter_apart(parts, at) for parts in names])
    values = {at: [_value(parts[at]) for parts in names] for at in candidates}
    all_rests = {}
    for at in candidates:
        left_out = _companions(names, candidates, at, values)
        all_rests[at] = [
            "".join("" if i == at or i in left_out else p.text for i, p in enumerate(parts)) for parts in names
        ]
    runs = {at: _usual_run(rests) for at, rests in all_rests.items()}
    digits = [min(len(parts[at].text) for parts in names) for at in candidates]
    widest = digits[-1] > max([2, *digits[:-1]])  # the last one
    scored = []
    for rank, at in enumerate(candidates):
        last = rank == len(candidates) - 1
        others = max((run for other, run in runs.items() if other != at), default=0)
        longest = last and (widest or runs[at] >= max(LONG, 2 * others))
        score = _score(names, at, values[at], all_rests[at], longest) + last
        alone = SHORT >= others > 0 and runs[at] >= max(LONG, 5 * others) and (last or not widest)
        scored.append((score + 2 * alone, rank, at))
    best = max(scored)[2]
    rests = all_rests[best]
    varying = [at for at in candidates if at != best and len(set(values[at])) > 1]
    if _are_measured(names, varying, best, values[best], rests):
        rests = ["".join(p.text for i, p in enumerate(parts) if i != best and i not in varying) for parts in names]
    is_time = _is_time(names, best)
    return [Read(rest, value, is_time) for rest, value in zip(rests, values[best], strict=True)]


def _counter_apart(parts: list[Part], at: int) -> list[Part]:
    match = _FRACTION.fullmatch(parts[at].text)
    assert match is not None
    return [*parts[:at], Part("text", match[1]), Part("text", "_"), Part("number", match[2]), *parts[at + 1 :]]


def _is_time(names: list[list[Part]], at: int) -> bool:
    return names[0][at].kind == "time" or all(_EPOCH.fullmatch(parts[at].text) for parts in names)


def _value(part: Part) -> int:
    if part.kind == "time":
        return microseconds(part.text) or 0
    return int(part.text)


def _counts(names: list[list[Part]], at: int) -> bool:
    """Whether what follows the seconds of a time is a counter of frames, not their fraction: it runs by one."""
    by_second: dict[str, list[int]] = {}
    for parts in names:
        match = _FRACTION.fullmatch(parts[at].text)
        if match is None or not (_OF_TIME.fullmatch(match[1]) or _EPOCH.fullmatch(match[1])):
            return False
        by_second.setdefault(match[1], []).append(int(match[2]))
    steps = [b - a for tails in by_second.values() for a, b in pairwise(sorted(tails))]
    return len(steps) >= 2 and sum(step == 1 for step in steps) >= 0.8 * len(steps)


def _companions(names: list[list[Part]], candidates: list[int], at: int, values: dict[int, list[int]]) -> set[int]:
    """Columns that say the frame once more when ``at`` does: times that grow with it, and random numbers."""
    found: set[int] = set()
    for other in candidates:
        if other == at or len(names) < 3:
            continue
        timed = _is_time(names, other)
        long = all(len(parts[other].text) >= 6 for parts in names)
        if not timed and not long:
            continue
        rests = ["".join(p.text for i, p in enumerate(parts) if i not in (at, other)) for parts in names]
        frames = list(zip(rests, values[at], values[other], strict=True))
        if len({frame[:2] for frame in frames}) < len(frames):
            continue  # the other one tells frames of one number apart: it is a recording's
        frames.sort()
        steps = [(b[1] - a[1], b[2] - a[2]) for a, b in pairwise(frames) if a[0] == b[0]]
        if not steps:
            continue
        grows = all(later >= 0 for _, later in steps)
        changes = sorted(later for _, later in steps if later)
        if timed and grows and changes and changes[len(changes) // 2] <= 2_000_000 * _unit(names, other):
            found.add(other)
        distinct = len(set(values[other])) == len(frames)
        spread = max(values[other]) - min(values[other]) + 1
        runs = sum(step == 1 for step, _ in steps) >= 0.5 * len(steps)
        if not timed and distinct and not grows and spread > 100 * len(frames) and runs:
            found.add(other)
    return found


def _unit(names: list[list[Part]], at: int) -> float:
    """Of a column of times, per us."""
    part = names[0][at]
    return 1.0 if part.kind == "time" else 10.0 ** (len(part.text) - 16)


def _are_measured(names: list[list[Part]], columns: list[int], at: int, values: list[int], rests: list[str]) -> bool:
    """Whether numbers that change from frame to frame, such as a temperature or a score, are taken for recordings: all
    frames together run by one, those of each alone do not, nor by any other step."""
    if len(set(rests)) < 2 or len(set(values)) < len(values) or _is_time(names, at):
        return False
    if any(_word_before(names[0], other).rstrip("0123456789") in _RECORDING_WORDS for other in columns):
        return False
    groups: dict[str, list[int]] = {}
    for rest, value in zip(rests, values, strict=True):
        groups.setdefault(rest, []).append(value)
    together = [b - a for a, b in pairwise(sorted(values))]
    alone = [b - a for group in groups.values() for a, b in pairwise(sorted(group))]
    usual = max(Counter(alone).values(), default=0)
    return sum(step == 1 for step in together) >= 0.9 * len(together) and usual < 0.5 * len(alone)


def _usual_run(rests: list[str]) -> int:
    """Frames of a recording, the middle one, if what names share but for a column is one."""
    sizes = sorted(Counter(rests).values())
    return sizes[len(sizes) // 2]


def _score(names: list[list[Part]], at: int, values: list[int], rests: list[str], longest: bool) -> float:
    """How much a column looks like the number of the frame; the last one gets a point more, and one that runs long
    where all others are too short for recordings two.

    Args:
        longest: it is the last, and runs by far the longest or has the most digits: ``uav1_seq_0000`` counts frames,
            whatever it says.
    """
    groups: dict[str, list[int]] = {}
    for rest, value in zip(rests, values, strict=True):
        groups.setdefault(rest, []).append(value)
    lone = sum(len(group) == 1 for group in groups.values()) / len(names)
    repeated = sum(len(group) - len(set(group)) for group in groups.values()) / len(names)
    steps = [b - a for group in groups.values() for a, b in pairwise(sorted(set(group)))]
    usual = Counter(steps).most_common(1)[0] if steps else (0, 0)
    middle = sorted(steps)[len(steps) // 2] if steps else 0
    timed = _is_time(names, at)
    even = sum(step <= 1.5 * middle for step in steps) if timed else usual[1]
    regular = even / len(steps) if steps else 0.0
    words = Counter(_word_before(parts, at) for parts in names)
    word = words.most_common(1)[0][0]
    meaning = 3.0 if word in _FRAME_WORDS else -2.0 if word in _RECORDING_WORDS and not longest else 0.0
    padded = 0.5 if all(len(parts[at].text) >= 3 for parts in names) else 0.0
    return meaning + regular + padded - 4 * lone - 4 * repeated


def _word_before(parts: list[Part], at: int) -> str:
    """The word that stands before a number: ``frame`` of ``rec1_frame_0001`` and of ``frame (12)``."""
    before = next((p.text for p in reversed(parts[:at]) if p.text[:1].isalnum()), "")
    return before.lower()
