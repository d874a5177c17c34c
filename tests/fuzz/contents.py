"""What a reader gave, as one digest; and what no reader may give, whatever it read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.sequence import Sequence

MOST_FRAMES = 1000
"""More than that came of no input here."""


class Wrong(Exception):
    """What was read cannot be right, and nothing was said."""


def digest(content: Any) -> str:
    """Equal for equal content: numbers, text, arrays, tensors, and lists and dicts of these."""
    sha = hashlib.sha256()
    _feed(sha, content)
    return sha.hexdigest()


def of_sequences(sequences: list[Sequence], classes: tuple[str, ...], problems: Problems) -> Iterable[Any]:
    """All that there is in recordings, frame by frame; a frame that cannot be read is reported."""
    names = [sequence.name for sequence in sequences]
    if len(set(names)) < len(names):
        raise Wrong(f"sequences of one name: {names}")
    if sum(len(sequence) for sequence in sequences) > MOST_FRAMES:
        raise Wrong(f"{len(sequences)} sequences of {sum(len(each) for each in sequences)} frames")
    for sequence in sequences:
        if "/" in sequence.name or "\0" in sequence.name or not sequence.name:
            raise Wrong(f"sequence of the name {sequence.name!r}")
        yield sequence.name
        yield sequence.indices
        yield sequence.segment_start
        n = len(sequence)
        if ((sequence.indices < 0) | (sequence.indices >= n)).any() or (np.diff(sequence.indices) <= 0).any():
            raise Wrong(f"{sequence.name}: indices {sequence.indices.tolist()} of {n} frames")
        if ((sequence.segment_start < 0) | (sequence.segment_start > np.arange(n))).any():
            raise Wrong(f"{sequence.name}: segments start at {sequence.segment_start.tolist()}")
        for i in range(n):
            boxes, labels = sequence.boxes[i], sequence.labels[i]
            yield boxes
            yield labels
            try:
                frame = sequence.frames.read(i)
            except DataError as error:
                if problems.policy == "error":
                    raise
                problems.found.append(str(error))
                yield "bad"
                continue
            yield frame
            _check_boxes(boxes, labels, frame.shape[:2], len(classes), f"{sequence.name}, frame {i}")


def _check_boxes(boxes: Any, labels: Any, size: tuple[int, ...], classes: int, where: str) -> None:
    height, width = size
    if boxes.shape != (len(labels), 4):
        raise Wrong(f"{where}: boxes {boxes.shape}, labels {labels.shape}")
    if not np.isfinite(boxes).all():
        raise Wrong(f"{where}: boxes are not finite: {boxes.tolist()}")
    if (boxes < 0).any() or (boxes > (width, height, width, height)).any() or (boxes[:, 2:] <= boxes[:, :2]).any():
        raise Wrong(f"{where}: boxes {boxes.tolist()} on {width}x{height} px")
    if ((labels < 0) | (labels >= classes)).any():
        raise Wrong(f"{where}: labels {labels.tolist()} of {classes} classes")


def check_finite(name: str, array: Any) -> Any:
    """The array, unless it holds a number that is none."""
    if not np.isfinite(np.asarray(array)).all():
        raise Wrong(f"{name} is not finite")
    return array


def _feed(sha: Any, content: Any) -> None:
    if hasattr(content, "detach"):
        content = content.detach().numpy()
    if isinstance(content, np.ndarray):
        sha.update(f"{content.dtype.str}{content.shape}".encode())
        sha.update(np.ascontiguousarray(content).tobytes())
    elif isinstance(content, Mapping):
        for key in content:
            _feed(sha, key)
            _feed(sha, content[key])
    elif isinstance(content, list | tuple) or hasattr(content, "__next__"):
        sha.update(b"[")
        for each in content:
            _feed(sha, each)
        sha.update(b"]")
    else:
        sha.update(repr(content).encode("utf-8", "surrogatepass") + b";")
