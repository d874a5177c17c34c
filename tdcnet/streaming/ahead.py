"""Work that overlaps: each step in a thread of its own, with few items between two of them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
_END = object()


class Ahead(Iterator[Item], Generic[Item]):
    """Runs an iterator in a thread, at most ``most`` items ahead of who takes them.

    An error of the iterator is raised where its next item would be taken. :meth:`close` ends the thread once the item
    that it is at is done.

    Args:
        items: what is run.
        most: items that wait.
        name: of the thread.
    """

    def __init__(self, items: Iterable[Item], most: int = 1, name: str = "ahead") -> None:
        self._queue: queue.Queue[tuple[Item | object, BaseException | None]] = queue.Queue(most)
        self._stop = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, args=(items,), name=name, daemon=True)
        self._thread.start()

    def __next__(self) -> Item:
        if self._ended:
            raise StopIteration
        item, error = self._queue.get()
        if item is _END:
            self._ended = True
            if error is not None:
                raise error
            raise StopIteration
        return item  # type: ignore[return-value]

    def close(self, patience: float = 10.0) -> None:
        """Ends the thread, and waits for it for some seconds."""
        self._stop.set()
        while True:  # who puts must not wait for ever
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        self._thread.join(patience)
        self._ended = True

    def _run(self, items: Iterable[Item]) -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not self._put((item, None)):
                    return
        except BaseException as caught:  # handed to who takes the items
            error = caught
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        self._put((_END, error))

    def _put(self, item: tuple[Item | object, BaseException | None]) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
