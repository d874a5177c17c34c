"""Watches for long, while everything goes wrong: memory, threads and handles must stay what they were.

python -m tests.streaming.soak --minutes 20

First small frames as fast as they go (100,000 of them), then a camera of the network that is killed and comes back 20
times, falls silent, sends torn pictures and frames of another size, beside a viewer that never reads, and a disk that
is full in between. Tells the slope of the memory in MiB an hour, and ends with status 1 if something grew.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from tdcnet.allocator import keep_freed_memory
from tdcnet.inference.detector import Detector
from tdcnet.streaming.alarms import Alarms, Rule
from tdcnet.streaming.live import Live
from tdcnet.streaming.page.app import Page
from tdcnet.streaming.page.board import Board
from tdcnet.streaming.readers import CameraOptions
from tdcnet.streaming.sinks.files import JsonLines
from tdcnet.streaming.sinks.video import Segments, Snapshots
from tests.streaming.conftest import RECORD, Camera, Spot, moving

GROWTH = 32.0
"""MiB that the process may take more at the end than after its first tenth."""


def resident() -> float:
    """MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def handles() -> int:
    """Open files and sockets."""
    return len(os.listdir("/proc/self/fd"))


class Watcher:
    """Notes memory, threads and handles now and then."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, int, int]] = []

    def note(self) -> None:
        self.rows.append((time.monotonic(), resident(), threading.active_count(), handles()))

    def told(self, what: str) -> bool:
        """Prints how it went; whether nothing grew."""
        rows = np.array(self.rows[len(self.rows) // 10 :])
        slope = float(np.polyfit(rows[:, 0] - rows[0, 0], rows[:, 1], 1)[0]) * 3600
        quarter = max(1, len(rows) // 4)
        grown = float(np.median(rows[-quarter:, 1]) - np.median(rows[:quarter, 1]))
        print(
            f"{what}: {rows[-1, 1]:.0f} MiB, {slope:+.1f} MiB an hour, last quarter to first {grown:+.1f} MiB; "
            f"threads {rows[0, 2]:.0f} to {rows[-1, 2]:.0f}, handles {rows[0, 3]:.0f} to {rows[-1, 3]:.0f}",
            flush=True,
        )
        return grown < GROWTH and rows[-1, 2] <= rows[:, 2].min() + 4 and rows[-1, 3] <= rows[:, 3].min() + 12


class FullNowAndThen:
    """A sink whose disk is full for 5 of each 60 seconds."""

    def __init__(self, sink: Segments) -> None:
        self.sink = sink

    def add(self, tracked, alarms) -> None:
        if time.monotonic() % 60 < 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.sink.add(tracked, alarms)

    def close(self) -> None:
        self.sink.close()


def small_frames(detector: Detector, count: int) -> bool:
    """So many frames, as fast as they go."""
    frames = moving(40)
    watcher = Watcher()

    def camera():
        for number in range(count):
            if number % (count // 100) == 0:
                watcher.note()
            yield frames[number % 40]

    start = time.monotonic()
    figures = Live(detector.track(camera(), align=False, rate=30.0), Alarms([Rule()])).run()
    print(f"{figures.frames} frames, {figures.frames / (time.monotonic() - start):.0f} a second", flush=True)
    return watcher.told("small frames") and figures.frames == count


def bad_camera(detector: Detector, seconds: float, kills: int, folder: Path) -> bool:
    """A camera that fails in every way."""
    camera, watcher = Camera(moving(40), rate=30.0), Watcher()
    larger = [cv2.resize(frame, (192, 128)) for frame in moving(40)]
    board = Board()
    stream = detector.track(camera.address, align=False, camera=CameraOptions(open_s=2, read_s=2))
    stream.stream.source._pauses = (0.2, 0.5)
    sinks = {
        "json": JsonLines(folder / "a.jsonl"),
        "video": FullNowAndThen(Segments(folder / "video", seconds=30, keep=3)),
        "pictures": Snapshots(folder / "pictures", keep=20),
    }
    live = Live(stream, Alarms([Rule(repeat=5.0)]), sinks, board)
    page = Page(live, board, "127.0.0.1", 0)
    page.start()
    thread = threading.Thread(target=live.run, daemon=True)
    thread.start()
    idle = socket.create_connection(("127.0.0.1", page.port))
    idle.sendall(b"GET /video HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    begun, each, good = time.monotonic(), seconds / kills, True
    for turn in range(kills):
        until = begun + each * (turn + 1)
        camera.torn = turn % 2 == 1
        camera.frames = larger if turn % 3 == 2 else moving(40)
        while time.monotonic() < until - 0.25 * each:
            time.sleep(0.5)
            watcher.note()
        before = live.figures().restored
        failure = camera.silent if turn % 4 == 3 else camera.broken
        failure.set()
        time.sleep(5.0 if failure is camera.silent else min(4.0, 0.1 * each))
        failure.clear()
        while live.figures().restored == before and time.monotonic() < until + 30:
            time.sleep(0.2)
        good &= live.figures().restored > before
        print(f"{turn + 1} of {kills}: {live.figures().text()}", flush=True)
    idle.close()
    live.stop()
    thread.join(10)
    page.close()
    camera.close()
    good &= not thread.is_alive()
    return watcher.told("a camera that fails") and good


def main() -> int:
    """Runs both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="of the camera that fails")
    parser.add_argument("--frames", type=int, default=100_000, help="small ones")
    parser.add_argument("--kills", type=int, default=20)
    given = parser.parse_args()
    keep_freed_memory()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)
    detector = Detector(Spot().eval(), RECORD)
    good = small_frames(detector, given.frames)
    with tempfile.TemporaryDirectory() as folder:
        good &= bad_camera(detector, 60 * given.minutes, given.kills, Path(folder))
    print("all is as it was" if good else "something grew, or did not come back")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
