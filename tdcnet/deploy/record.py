"""What a checkpoint tells about itself: a small record of plain data that is checked before anything is done with it.

It says what the network needs to be used: how it is built, its classes, and the clips it was trained on. All else, such
as where data lies and where files go, is for the person at the command line to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from tdcnet.data.errors import DataError
from tdcnet.deploy.errors import CheckpointError
from tdcnet.limits import clip_fault
from tdcnet.plain_data import are_whole, is_number, is_whole, parse_json
from tdcnet.shown import printable, shown

VERSION = 2
MOST_CLASSES = 1000
LONGEST_NAME = 100
LONGEST_COMMAND = 10_000
SIDES = (1, 16384)
LARGEST_VALUE = 1e12
"""Of a pixel as it is stored."""
USUAL_FRAMES = 5

Range = tuple[float, float]


@dataclass(frozen=True)
class Record:
    """What a network needs to be used; None or empty where a file does not tell.

    Attributes:
        model: nested ``_target_`` config of the network; :func:`tdcnet.deploy.gate.build_network` checks and builds it.
        classes: names by label.
        size: height and width in px of the clips it was validated on.
        num_frames: T, frames of a clip.
        stride: frames from one frame of a clip to the next.
        align_by: what its clips were registered by, see :class:`~tdcnet.data.alignment.Aligner`.
        scale: px of the network's input for a px of the frames that it was validated on.
        rate: frames a second of these.
        threshold: score from which on there were 0.1 false alarms per frame on these.
        intensity_range: stored values of 16-bit frames that are 0 and 1 to the network; None for 8-bit frames.
        dataset: name of the data set's config.
        name: of the run.
        command: the training's command line, for people to read; nothing is taken from it.
        deployed: whether the weights are of the re-parameterised form.
        files: SHA-256 of the files that were exported together, by name.
    """

    model: dict[str, Any] | None = None
    classes: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    num_frames: int | None = None
    stride: int | None = None
    align_by: str = "pairs"
    scale: float | None = None
    rate: float | None = None
    threshold: float | None = None
    intensity_range: Range | None = None
    dataset: str = ""
    name: str = ""
    command: str = ""
    deployed: bool = False
    files: dict[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The record as plain data, for a checkpoint or as JSON."""
        content = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"version": VERSION, **content}

    @classmethod
    def of(cls, content: object, where: object) -> Record:
        """The record in a file.

        Args:
            content: plain data as :meth:`plain` gives it, or as versions before 0.2 wrote it.
            where: the file, for messages.

        Raises:
            CheckpointError: naming the first entry that is unknown or not what it must be, or if clips of that size
                would fill the memory.
        """
        if not isinstance(content, Mapping):
            raise CheckpointError(f"{where}: its record is {shown(content)}; expected names with values")
        if content.get("version", 1) not in (1, VERSION) or isinstance(content.get("version"), bool):
            raise CheckpointError(
                f"{where}: its record is of version {shown(content['version'])}, this program reads up to {VERSION}; "
                "use a newer one"
            )
        given = dict(content)
        if given.pop("version", 1) == 1:
            given = _first_version(given)
        read: dict[str, Any] = {}
        for key, value in given.items():
            if key not in SCHEMA:
                raise CheckpointError(f"{where}: its record has {shown(key)}; known are {', '.join(SCHEMA)}")
            test, expected = SCHEMA[key]
            if value is not None and not test(value):
                raise CheckpointError(f"{where}: {key} is {shown(value)}; expected {expected}")
            read[key] = tuple(value) if isinstance(value, list) else value
        # Frames that are not told are the config's, five as published.
        if read.get("size") and (fault := clip_fault(read["size"], read.get("num_frames") or USUAL_FRAMES)):
            raise CheckpointError(f"{where}: {fault}")
        defaults = cls()
        return cls(**{key: getattr(defaults, key) if value is None else value for key, value in read.items()})


def _first_version(content: dict[Any, Any]) -> dict[str, Any]:
    """The present form of a record that held the whole command line: of that, three options that are plain data."""
    overrides = content.pop("overrides", [])
    if not isinstance(overrides, list | tuple) or not all(isinstance(each, str) for each in overrides):
        return content | {"overrides": overrides}  # which the schema refuses
    for key in ("size", "intensity_range"):
        for text in overrides[:200]:
            match = re.fullmatch(rf"\+{{0,2}}dataset\.{key}=(\[[-+0-9., e]{{3,60}}\])", text)
            if match:
                with suppress(DataError):  # what is no list of numbers is left to the config's own
                    content[key] = parse_json(match[1], key)
    command = " ".join(["python train.py", *map(printable, overrides)]) if overrides else ""
    return content | {"command": command[:LONGEST_COMMAND]}


def _is_name(value: object) -> bool:
    # Names go into configs, pages and terminals: nothing that any of these would take for more than text.
    return (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST_NAME
        and printable(value) == value
        and not any(mark in value for mark in ("${", "\t"))
        and value != "???"  # which stands for a value that is missing, in configs
    )


def _is_file_name(value: object) -> bool:
    return _is_name(value) and not any(mark in str(value) for mark in "/\\") and value not in (".", "..")


def _are_classes(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and 1 <= len(value) <= MOST_CLASSES
        and all(map(_is_name, value))
        and len(set(value)) == len(value)
    )


def _is_range(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(is_number(each) and abs(each) <= LARGEST_VALUE for each in value)
        and value[0] < value[1]
    )


def _are_files(value: object) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= 20
        and all(_is_file_name(name) and re.fullmatch(r"[0-9a-f]{64}", str(digest)) for name, digest in value.items())
    )


SCHEMA: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model": (lambda value: isinstance(value, Mapping), "the nested config of a network"),
    "classes": (lambda value: not value or _are_classes(value), f"up to {MOST_CLASSES} names of classes, each once"),
    "size": (lambda value: are_whole(value, 2, *SIDES), f"height and width in px, each {SIDES[0]} to {SIDES[1]}"),
    "num_frames": (lambda value: is_whole(value, 1, 1000), "a number of frames from 1 to 1000"),
    "stride": (lambda value: is_whole(value, 1, 10_000), "a number of frames from 1 to 10000"),
    "align_by": (lambda value: value in ("pairs", "keyframes"), "pairs or keyframes"),
    "scale": (lambda value: is_number(value) and 1e-3 <= value <= 1e3, "a factor from 0.001 to 1000"),
    "rate": (lambda value: is_number(value) and 0 < value <= 1e6, "frames a second up to 1e6"),
    "threshold": (lambda value: is_number(value) and 0 <= value <= 1, "a score from 0 to 1"),
    "intensity_range": (_is_range, f"two numbers up to {LARGEST_VALUE:g}, the second the larger one"),
    "dataset": (lambda value: value == "" or _is_name(value), "the name of a data set"),
    "name": (lambda value: value == "" or _is_name(value), "a name"),
    "command": (
        lambda value: isinstance(value, str) and len(value) <= LONGEST_COMMAND and printable(value) == value,
        "a command line",
    ),
    "deployed": (lambda value: isinstance(value, bool), "true or false"),
    "files": (_are_files, "names of files with their SHA-256"),
}
"""Of each entry a test, and in words what it tests."""
