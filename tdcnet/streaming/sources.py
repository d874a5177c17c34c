"""What a person names, opened."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from tdcnet.data.errors import DataError
from tdcnet.finite import number
from tdcnet.shown import shown
from tdcnet.streaming.addresses import STDIN, check_address, device_of, is_address, name_of
from tdcnet.streaming.capture import STALL, Capture
from tdcnet.streaming.files import ArrayStream, FileStream
from tdcnet.streaming.frames import Source
from tdcnet.streaming.raw import NewestRaw, RawStream
from tdcnet.streaming.readers import AddressReader, CameraOptions, CameraReader

Policy = Literal["auto", "newest", "every"]


def open_source(
    source: Any,
    *,
    policy: Policy = "auto",
    realtime: bool = False,
    rate: float | None = None,
    raw: str | None = None,
    again: bool = True,
    wait: bool = False,
    camera: CameraOptions | None = None,
) -> Source:
    """A camera, an address, a file, standard input or arrays as a stream.

    Args:
        source: a camera's number or device file (``0``, ``/dev/video0``); an address (``rtsp://``, ``http://``); a
            video, a stack or a folder of images; ``-`` for raw frames on standard input; or an iterable of arrays
            [H, W] or [H, W, 3] (RGB). A file called ``0`` is ``./0``.
        policy: ``newest`` drops and counts frames that come while the detector is busy, ``every`` waits for it;
            ``auto`` is newest for cameras and addresses, every for standard input. Frames of files are never dropped.
        realtime: files at their own rate, not as fast as they are taken.
        rate: frames a second of what does not tell.
        raw: of standard input, ``WIDTHxHEIGHT:TYPE``, such as ``640x512:uint16``.
        again: a camera or address that ends or is lost is opened again.
        wait: it is waited for where it cannot be opened at first.
        camera: what it is asked for.

    Raises:
        DataError: if there is no such source; a camera or address tells when its frames are asked for.
        ValueError: if an option is none.
    """
    if policy not in ("auto", "newest", "every"):
        raise ValueError(f"policy is {policy!r}; allowed are auto, newest, every")
    if rate is not None:
        number("rate", rate, 0, 10_000, above=True)
    options = camera or CameraOptions()
    if isinstance(source, int) and not isinstance(source, bool):
        source = str(source)
    if isinstance(source, os.PathLike):
        source = Path(source)
    if isinstance(source, Path):
        return FileStream(source, realtime, rate)
    if not isinstance(source, str):
        if not isinstance(source, Iterable):
            raise DataError(f"source is {shown(source)}; expected a camera, an address, a path, or arrays one by one")
        return ArrayStream(source, rate)
    live, stall = policy != "every", max(STALL, 2 * options.read_s, 2 * options.open_s)
    if source == STDIN:
        if raw is None:
            raise DataError("source - needs what its raw frames are: raw=WIDTHxHEIGHT:TYPE, such as 640x512:uint16")
        if sys.stdin.isatty():
            raise DataError("source - reads raw frames from a pipe, and standard input is a terminal")
        stream = RawStream(sys.stdin.buffer, raw, rate)
        return NewestRaw(stream) if policy == "newest" else stream
    if (device := device_of(source)) is not None:
        return Capture(lambda: CameraReader(device, options), name_of(source), live, again, wait, stall)
    if is_address(source):
        check_address(source)
        return Capture(lambda: AddressReader(source, options), name_of(source), live, again, wait, stall)
    return FileStream(source, realtime, rate)
