"""Names of recordings as names of files: whatever a data set calls them, they are safe, distinct and bounded."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import replace

from tdcnet.data.sequence import Sequence
from tdcnet.shown import is_hidden, printable

log = logging.getLogger(__name__)

LONGEST = 120
"""Letters of a name, and bytes: file systems allow 255 bytes, and endings and hashes come on top."""

_NOT_IN_FILES = re.compile(r'[/\\:*?"<>|\x00]')
_FRAME = re.compile(r"(?<=[^\W_])[-_. (\[]+(?:frame|frm|img|image|f)?[-_. ()\[\]]*$", re.IGNORECASE)


def recording_word(shared: str) -> str:
    """What the names of a recording's frames share, as a word: ``"rec1_frame_"`` -> ``"rec1"``."""
    word = re.sub(r"[/\\:\s]+", "_", shared)
    word = re.sub(r"([-_.])[-_.]+", r"\1", re.sub(r"\(\)|\[\]", "", word)).strip("_-.()[] ")
    return _FRAME.sub("", word + "_").strip("_")


def safe_name(name: str) -> str:
    """A name that a file can have on any system; other names stay others.

    One that must be changed gets a part of its hash.
    """
    safe = "".join("_" if _NOT_IN_FILES.match(c) or is_hidden(c) else c for c in name)
    safe = safe.strip(" ").rstrip(".")
    while len(safe.encode()) > LONGEST:
        safe = safe[: max(1, len(safe) - max(1, (len(safe.encode()) - LONGEST) // 4))]
    if safe == name and safe:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe.lstrip('.') or 'recording'}-{digest}"


def safe_names(names: Iterable[str]) -> list[str]:
    """Names that files can have, all different also where a file system does not tell ``a`` from ``A``."""
    taken: set[str] = set()
    found = []
    for name in names:
        safe = unique = safe_name(name)
        at = 2
        while unique.casefold() in taken:
            unique, at = f"{safe}-{at}", at + 1
        taken.add(unique.casefold())
        found.append(unique)
    return found


def named_safely(sequences: list[Sequence]) -> list[Sequence]:
    """The sequences, with names that files can have; told where one had another."""
    names = safe_names(sequence.name for sequence in sequences)
    changed = [(s.name, name) for s, name in zip(sequences, names, strict=True) if s.name != name]
    if not changed:
        return sequences
    log.warning(
        "%d recordings have names that files cannot have; %.80s is called %s here",
        len(changed),
        printable(changed[0][0]),
        changed[0][1],
    )
    return [replace(sequence, name=name) for sequence, name in zip(sequences, names, strict=True)]
