"""Frames of a camera, a file or a program as they come, each with its time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

State = Literal["waiting", "running", "lost", "ended"]
"""Of a source: not open yet, frames come, none come but it is tried again, and over."""


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """A frame as it came.

    Attributes:
        image: grey [H, W], uint8 or uint16.
        given: as it came: the same, or colour [H, W, 3] (RGB), or what a program handed in.
        index: frames of this source before it, those that were dropped included.
        time: seconds since the first frame of the source; None where nothing tells.
        arrival: :func:`time.monotonic` when it had come.
        recording: name of what it is part of.
        begins: whether nothing before it belongs to it.
    """

    image: NDArray[Any] = field(repr=False)
    given: Any = field(repr=False)
    index: int
    time: float | None
    arrival: float
    recording: str
    begins: bool = False

    @cached_property
    def at(self) -> float:
        """When it arrived, seconds since 1970 by this machine's clock."""
        return time.time() - (time.monotonic() - self.arrival)


class Source(Protocol):
    """Where frames come from.

    Attributes:
        name: for people; no password is in it.
        live: whether frames that nobody takes are lost.
    """

    name: str
    live: bool

    @property
    def state(self) -> State:
        """How it is."""
        ...

    @property
    def dropped(self) -> int:
        """Frames that came and were never taken."""
        ...

    @property
    def rate(self) -> float | None:
        """Frames a second; None while nothing tells."""
        ...

    def frames(self) -> Iterator[LiveFrame]:
        """All frames, once.

        Raises:
            DataError: if it cannot be opened, or a frame is bad.
        """
        ...

    def close(self) -> None:
        """Ends it, from any thread: :meth:`frames` stops soon after. A second time it does nothing."""
        ...
