"""A file of decoded frames: a .npy array with more behind it, checked for damage to any byte."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tdcnet.files import open_regular


@dataclass
class Notes:
    """What is known of a recording beside its frames, once all have been decoded.

    Attributes:
        times: seconds from the first frame, float64 [N], growing; None if not known.
        rate: frames a second; None if not known.
        fault: what is wrong with the file though frames could be decoded, in words; empty if nothing is.
    """

    times: NDArray[np.float64] | None = None
    rate: float | None = None
    fault: str = ""


@dataclass(frozen=True)
class Behind:
    """What stands behind the frames: their form, where they begin, and what :class:`DecodedFrames` keeps."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    state: int
    sums: NDArray[np.int64]
    notes: Notes


class FrameFile:
    """A file of decoded frames, open for reading.

    Not a memory map: what has been read of one counts as the process's memory, and ends the process when the file is
    cut meanwhile.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if anything but the frames differs from what was written.
    """

    def __init__(self, path: Path) -> None:
        with open_regular(path) as file:
            self.kept = _read_behind(file)
            self._descriptor: int | None = os.dup(file.fileno())

    def read(self, index: int) -> NDArray[Any] | None:
        """A copy of a frame; None if it is not all there."""
        assert self._descriptor is not None
        frame = np.empty(self.kept.shape[1:], self.kept.dtype)
        data = frame.reshape(-1).view(np.uint8).data
        got = _read_at(self._descriptor, data, self.kept.offset + index * len(data))
        return frame if got == len(data) else None

    def __del__(self) -> None:
        if (descriptor := getattr(self, "_descriptor", None)) is not None:
            os.close(descriptor)


_seeking = threading.Lock()


def _read_at(descriptor: int, into: memoryview, offset: int) -> int:
    """Reads bytes, leaving the place in the file alone where the system can: forked processes share it."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [into], offset)
    with _seeking, open(descriptor, "rb", buffering=0, closefd=False) as file:
        file.seek(offset)
        return file.readinto(into) or 0


_FOOT = struct.Struct("<Q32s8s")  # bytes before it that belong to it, SHA-256, mark
_MARK = b"tdcnet 2"


def head_of(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The head of a .npy file of such an array."""
    # numpy pads the header so that the first axis can grow in place.
    file = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def behind(
    head: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], state: int, sums: list[int], notes: Notes
) -> bytes:
    """What goes behind the frames: ``shape`` is that of one, ``sums`` is one per frame, see :class:`Behind`."""
    times = np.zeros(0) if notes.times is None else np.asarray(notes.times, np.float64)
    said = {"dtype": dtype.str, "shape": [len(sums), *shape], "state": state, "rate": notes.rate, "fault": notes.fault}
    content = json.dumps(said).encode() + b"\n" + np.array(sums, "<i8").tobytes() + times.astype("<f8").tobytes()
    return content + _FOOT.pack(len(content), hashlib.sha256(head + content).digest(), _MARK)


def _read_behind(file: BinaryIO) -> Behind:
    """Raises ValueError if anything but the frames differs from what was written."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _FOOT.size))
    foot = file.read(_FOOT.size)
    if len(foot) < _FOOT.size or not foot.endswith(_MARK):
        raise ValueError("is damaged or of an older version")
    length, digest, _ = _FOOT.unpack(foot)
    begin = size - _FOOT.size - length
    if begin < 0:
        raise ValueError("is damaged")
    file.seek(begin)
    content = file.read(length)
    line, _, rest = content.partition(b"\n")
    file.seek(0)
    head = file.read(10)
    head += file.read(int.from_bytes(head[8:10], "little"))
    if hashlib.sha256(head + content).digest() != digest:
        raise ValueError("is damaged")
    said = json.loads(line)  # as it was written, by its checksum
    shape, dtype = tuple(said["shape"]), np.dtype(said["dtype"])
    count = shape[0]
    if head != head_of(dtype, shape) or begin != len(head) + count * shape[1] * shape[2] * dtype.itemsize:
        raise ValueError("is damaged")
    sums, times = np.frombuffer(rest, "<i8", count), np.frombuffer(rest, "<f8", offset=8 * count)
    notes = Notes(times if len(times) else None, said["rate"], said["fault"])
    return Behind(shape, dtype, len(head), said["state"], sums, notes)
