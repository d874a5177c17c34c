"""Where tracks and alarms go: files, addresses, the terminal. Each takes a frame at a time and is closed at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tdcnet.streaming.alarms import Alarm
    from tdcnet.tracking.stream import Tracked


class Sink(Protocol):
    """Takes frames with their tracks, and the alarms that began there."""

    def add(self, tracked: Tracked, alarms: Sequence[Alarm]) -> None:
        """The next frame.

        Raises:
            OSError: if it cannot be written; the sink goes on with the next frame.
        """
        ...

    def close(self) -> None:
        """Ends what is open, so that it can be read."""
        ...
