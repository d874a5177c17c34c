"""Recordings and frames told by names: tools' hashes, times, cameras, patterns of one's own."""

from __future__ import annotations

import hashlib
import random
import uuid

import pytest

from tdcnet.data import names
from tdcnet.data.errors import DataError
from tdcnet.data.name_parts import microseconds
from tdcnet.data.name_patterns import NamePattern
from tdcnet.data.safe_names import recording_word, safe_name, safe_names

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def md5(*of: object, length: int = 32) -> str:
    return hashlib.md5(repr(of).encode()).hexdigest()[:length]


def word(length: int, *of: object) -> str:
    return "".join(random.Random(repr(of)).choices(BASE62, k=length))


def some_uuid(*of: object) -> uuid.UUID:
    return uuid.UUID(int=random.Random(repr(of)).getrandbits(128))


SCHEMES = {
    "roboflow": lambda r, t: f"rec{r}_frame_{t:04d}_png.rf.{md5(r, t)}.jpg",
    "roboflow of a video": lambda r, t: f"clip{r}_mp4-{t}_jpg.rf.{md5(r, t)}.jpg",
    "roboflow, newer": lambda r, t: f"clip{r}_{t}_png_jpg.rf.{word(20, r, t)}.jpg",
    "label studio": lambda r, t: f"{md5(r, t, length=8)}-rec{r}_{t:05d}.png",
    "label studio, older": lambda r, t: f"{md5(r, t, length=8)}__rec{r}_{t:05d}.png",
    "label studio of dashes": lambda r, t: f"{md5(r, t, length=8)}-rec-{r}-{t}.png",
    "flir": lambda r, t: f"video-{word(17, r)}-frame-{t:06d}-{word(17, r, t)}.jpg",
    "flir, hexadecimal": lambda r, t: f"video-{md5(r, length=12)}-frame-{t:06d}-{md5(r, t, length=12)}.jpg",
    "uuid before": lambda r, t: f"{some_uuid(r, t)}_rec{r}_{t:04d}.png",
    "uuid behind": lambda r, t: f"rec{r}_{t:04d}_{some_uuid(r, t)}.png",
    "uuid of a recording": lambda r, t: f"{some_uuid(r)}_{t:04d}.png",
    "short hash behind": lambda r, t: f"rec{r}_{t:04d}_{md5(r, t, length=8)}.png",
    "cameras before": lambda r, t: f"cam{r}_{t:06d}_640x512.png",
    "cameras behind": lambda r, t: f"{t:06d}_cam{r}.png",
    "frame in words": lambda r, t: f"frame{t}_of_seq{r}.png",
    "brackets": lambda r, t: f"flight {r} ({t}).png",
    "frame in brackets": lambda r, t: f"{'ab'[r % 2]}{r // 2} frame ({t}).png",
    "few frames, many recordings": lambda r, t: f"{r:03d}_{t}.png",
    "time of day": lambda r, t: f"cam{r}_20240131_1230{t // 10:02d}_{t % 10 * 100 + 7:03d}.png",
    "iso time": lambda r, t: f"cam{r}_2024-01-31T12-30-{t // 10:02d}.{t % 10 * 100000:06d}Z.png",
    "time to the second": lambda r, t: f"cam{r}_20240131_12{58 + (50 + t) // 60}{(50 + t) % 60:02d}.png",
    "start and counter": lambda r, t: f"20240131_1230{r:02d}_{t:04d}.png",
    "start and short counter": lambda r, t: f"2024-01-3{r % 2}_12-30-{r:02d}_{t:03d}.png",
    "milliseconds": lambda r, t: f"cam{r}_{1706704259123 + 40 * t + t % 3}.png",
    "nanoseconds": lambda r, t: f"{'ab'[r % 2]}{r // 2}x_{1706704259123456789 + 40_000_000 * t}.png",
    "seconds and fraction": lambda r, t: f"cam{r}-{1706704259 + t // 10}.{t % 10 * 100000:06d}.png",
    "frame and time": lambda r, t: f"rec{r}_frame_{t:04d}_{1706704259123 + 1000000 * r + 40 * t}.png",
    "time and frame": lambda r, t: f"rec{r}_{1706704259123 + 40 * t}_{t:05d}.png",
    "every fifth frame": lambda r, t: f"rec{r}_{5 * t:06d}.png",
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("recordings", "frames"), [(1, 12), (3, 24), (12, 5)])
def test_frames_of_a_recording_are_found_in_order(scheme: str, recordings: int, frames: int) -> None:
    wanted = {(r, t): SCHEMES[scheme](r, t) for r in range(recordings) for t in range(frames)}
    shuffled = list(wanted.values())
    random.Random(0).shuffle(shuffled)
    found = names.places(shuffled)
    first = {r: found[wanted[r, 0]] for r in range(recordings)}
    for (r, t), name in wanted.items():
        start, place = first[r], found[name]
        assert place is not None and start is not None, name
        assert (place.key, place.number) == (start.key, start.number + t), name
    assert len({place.key for place in first.values() if place is not None}) == recordings


LONG = {
    "camera, then sequence": lambda r, t: f"uav{r}_seq_{t:04d}.png",
    "drone, then clip": lambda r, t: f"drone{r}_clip_{t:05d}.png",
    "site, then camera": lambda r, t: f"site{r}-cam-{t:06d}.png",
    "number, then video": lambda r, t: f"{r}_video_{t:05d}.png",
    "padded, then recording": lambda r, t: f"V_DRONE_{r:03d}_rec_{t:04d}.png",
    "without zeros, then track": lambda r, t: f"exp{r}_track_{t}.png",
    "frame, then camera without a word": lambda r, t: f"{t:04d}_{r}.png",
    "frame, then copy": lambda r, t: f"{t:04d}_aug{r}.png",
    "a temperature": lambda r, t: f"rec{r}x_{t:04d}_{20 + (7 * t * t + t // 3) % 11}C.png" if r == 0 else "",
    "a letter that is no version": lambda r, t: f"v{t:05d}.png" if r == 0 else "",
}


@pytest.mark.parametrize("scheme", LONG)
@pytest.mark.parametrize(("recordings", "frames"), [(1, 60), (2, 30), (8, 100)])
def test_what_runs_long_is_the_frame_whatever_word_stands_before_it(scheme, recordings, frames) -> None:
    wanted = {(r, t): LONG[scheme](r, t) for r in range(recordings) for t in range(frames) if LONG[scheme](r, t)}
    found = names.places(wanted.values())
    keys = {r: found[wanted[r, 0]].key for r, t in wanted if t == 0}
    assert len(set(keys.values())) == len(keys)
    for (r, t), name in wanted.items():
        assert (found[name].key, found[name].number) == (keys[r], t), name


@pytest.mark.parametrize(("recordings", "frames"), [(8, 20), (16, 12), (12, 12), (30, 12), (50, 6)])
def test_what_has_the_most_digits_is_the_frame_in_short_recordings(recordings, frames) -> None:
    for form in ("uav{r}_seq_{t:04d}", "ds{r}_video_{t:05d}", "site{r}-cam-{t:06d}", "V_DRONE_{r:03d}_rec_{t:04d}"):
        wanted = {(r, t): form.format(r=r, t=t) + ".png" for r in range(recordings) for t in range(frames)}
        found = names.places(wanted.values())
        for (r, t), name in wanted.items():
            assert (found[name].key, found[name].number) == (found[wanted[r, 0]].key, t), name
        assert len({place.key for place in found.values()}) == recordings, form


def test_short_recordings_keep_the_number_of_theirs() -> None:
    """Two hundred videos of eight frames: the word says which number is which."""
    for form in ("video_{r:04d}_{t:02d}.png", "seq_{r:04d}_frame_{t:05d}.png", "clip{r}_{t}.png"):
        found = names.places(form.format(r=r, t=t) for r in range(200) for t in range(8))
        assert len({place.key for place in found.values()}) == 200, form


@pytest.mark.parametrize("scheme", ["roboflow", "label studio", "flir", "time of day", "milliseconds", "brackets"])
def test_a_gap_leaves_numbers_out(scheme: str) -> None:
    found = names.places(SCHEMES[scheme](1, t) for t in range(20) if t not in (7, 8, 9))
    numbers = [place.number for place in found.values() if place is not None]
    assert len(numbers) == 17
    assert names.segment_starts(numbers).tolist() == [0] * 7 + [7] * 10


def test_what_few_or_mixed_names_tell() -> None:
    # A tool's ending is known by its form where one name alone does not show that it is random, or only some have it.
    some = [f"rec_{t}_png.rf.{md5(t)}.jpg" if t % 3 else f"rec_{t}.jpg" for t in range(6)]
    for listed in (some, some[1:2], [f"{md5(7, length=8)}-rec_7.png"], [f"rec_{some_uuid(7)}_7.png"]):
        found = list(names.places(listed).values())
        assert len({place.key for place in found if place is not None}) == 1
        numbers = [place.number if place is not None else None for place in found]
        assert numbers == [int(name.partition("rec_")[2][0]) for name in listed] or numbers == [7]
    # The last number is not the frame's where it stands still.
    assert [p and p.number for p in names.places(f"{t}_007.png" for t in (1, 2, 3)).values()] == [1, 2, 3]


def test_what_names_do_not_tell() -> None:
    mixed = names.places(["a/1.png", "a/cover.png", "a/2.png"])
    assert mixed["a/cover.png"] is None and mixed["a/1.png"] == names.Place(("a", ""), 1)
    # Digits of a hash are no number: each name without any other is a recording of its own.
    for name in (lambda t: f"{md5(t)}.png", lambda t: f"{some_uuid(t)}.png", lambda t: f"{word(20, t)}.jpg"):
        found = names.places([name(t) for t in range(10)])
        assert len({place.key for place in found.values() if place is not None}) == 10
    # One frame each of ten videos: their hash is as random as the frame's, yet these are ten recordings.
    found = names.places([f"video-{word(17, t)}-frame-{t:06d}-{word(17, t, t)}.jpg" for t in range(10)])
    assert len({place.key for place in found.values() if place is not None}) == 10
    assert names.numbers(["x.png", "y.png"]) == [None, None]
    assert names.places(["a/1.png", "b/2.png"]) == {
        "a/1.png": names.Place(("a", ""), 1),
        "b/2.png": names.Place(("b", ""), 2),
    }


def test_a_pattern_goes_before_the_rule(caplog: pytest.LogCaptureFixture) -> None:
    listed = ["d/x7-run1-9.png", "d/x8-run1-10.png", "d/x9-run2-9.png", "d/notes.png"]
    with names.naming(r"(?P<recording>run\d)-(?P<frame>\d+)$"):
        found = names.places(listed)
        assert names.numbers(["q-run1-5.png"]) == [5]
    assert names.given() is None
    assert [found[name] for name in listed] == [
        names.Place(("d", "run1"), 9),
        names.Place(("d", "run1"), 10),
        names.Place(("d", "run2"), 9),
        None,
    ]
    assert "matches 3 of 4 names; it does not match d/notes.png" in caplog.text
    # With a slash it looks at the path, and its group alone tells recordings apart.
    with names.naming(r"(?P<recording>s\d)/part\d/(?P<frame>\d+)"):
        assert names.places(["s1/part0/1.png", "s1/part1/2.png"])["s1/part1/2.png"] == names.Place(("", "s1"), 2)
    with names.naming(r"t(?P<time>[\d.]+)\.png"):
        times = names.places([f"t{0.04 * t:.3f}.png" for t in (0, 1, 2, 5, 6)])
    assert [place.number for place in times.values() if place is not None] == [0, 1, 2, 5, 6]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "is no regular expression"),
        (r"\d+", "must have one of the named groups frame and time"),
        (r"(?P<frame>\d)(?P<time>\d)", "must have one of the named groups"),
        (r"(?P<number>\d+)", "has the group 'number'; allowed are recording, frame and time"),
        ("", "must be a regular expression of 1 to"),
        ("(?P<frame>a)" * 999, "must be a regular expression of 1 to"),
    ],
)
def test_bad_patterns(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NamePattern(pattern)


def test_a_pattern_that_takes_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdcnet.data.name_patterns.MOST_SECONDS", 1)
    with pytest.raises(DataError, match=r"takes more than 1 s for 1 names, .*without repetitions of repetitions"):
        NamePattern(r"(?P<frame>(a+)+)b").match(["a" * 60 + "c.png"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.25", 1_250_000),
        ("1706704259", 1706704259_000000),
        ("1706704259123", 1706704259_123000),
        ("1706704259123456", 1706704259_123456),
        ("1706704259123456789", 1706704259_123456),
        ("1706704259.5", 1706704259_500000),
        # 2024-01-31 12:30:59 UTC, by `date -u -d @1706704259`.
        ("20240131_123059_123", 1706704259_123000),
        ("2024-01-31T12:30:59.123456Z", 1706704259_123456),
        ("20241399_123059", None),
        ("soon", None),
    ],
)
def test_times(text: str, expected: int | None) -> None:
    assert microseconds(text) == expected


def test_names_that_files_can_have() -> None:
    assert safe_name("night/2") != safe_name("night_2") == "night_2"
    assert safe_name("rec (1) [a] видео.v2") == "rec (1) [a] видео.v2"
    hostile = [
        "a\nb",
        "\x1b[2Ja",
        "../x",
        "..",
        "",
        "a" * 300,
        "a" * 301,
        "я" * 300,
        "a\u202eb",
        "x" * 200 + "/",
        "nul\0",
    ]
    safe = safe_names(hostile)
    assert len(set(safe)) == len(hostile)
    for name in safe:
        assert 0 < len(name.encode()) < 150 and name.isprintable() and "/" not in name and not name.startswith(".")
    assert safe_names(["A", "a"]) == ["A", "a-2"]


@pytest.mark.parametrize(
    ("shared", "expected"),
    [("rec1_frame_", "rec1"), ("cam1_", "cam1"), ("frame ()", "frame"), ("", ""), ("_cam2", "cam2"), ("1(", "1")],
)
def test_word_of_a_recording(shared: str, expected: str) -> None:
    assert recording_word(shared) == expected
