"""Several processes of one run: when one dies, all end, soon, with one line and its status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

LAUNCHER = "TDCNET_LAUNCHER"
"""Environment variable: the process that started the others."""
KILLED = 128 + 9

_POLL = 0.25  # seconds
_GRACE = 8.0  # for a process to tell its own error

_children: list[subprocess.Popen[bytes]] = []
_ended = threading.Event()


def is_first() -> bool:
    """Whether this process speaks for all."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def begin() -> None:
    """To be called first: notes who started whom, and watches the starter."""
    if is_first():
        os.environ[LAUNCHER] = str(os.getpid())
    elif (launcher := os.environ.get(LAUNCHER)) is not None:
        _watch(lambda: _parent_died(int(launcher)))


def finish(failed: bool) -> None:
    """To be called last: sees the others off, at once if this one has failed."""
    _ended.set()
    for child in _children:
        if failed:
            child.kill()
        else:
            child.wait()


def wait_for_the_culprit() -> None:
    """Gives the watch time to end this process, where an error here may come of the end of another."""
    if _children or not is_first():
        time.sleep(_GRACE + 2 * _POLL)


def watch(trainer: pl.Trainer, dirpath: str) -> None:
    """Watches the processes that Lightning will start on this machine, from their start on.

    (Its own watch kills the first process without a word; it looks every five seconds.)

    Args:
        trainer: has started none yet.
        dirpath: folder of the checkpoints, for the line that tells what to do.
    """
    global _last
    _last = Path(dirpath) / "last.ckpt"
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher) and is_first():
        since: dict[int, float] = {}

        def died() -> int:
            if len(launcher.procs) == launcher.num_processes - 1:
                _children.extend(launcher.procs)
                launcher.procs.clear()  # Lightning's own watch has nothing to do then
            return _child_died(since)

        _watch(died)


_last: Path | None = None


def _watch(died: Callable[[], int]) -> None:
    def run() -> None:
        while not _ended.is_set():
            if status := died():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
            time.sleep(_POLL)

    threading.Thread(target=run, daemon=True, name="watch-processes").start()


def _parent_died(launcher: int) -> int:
    if os.getppid() == launcher:
        return 0
    _tell("the first process of the run was killed")
    return KILLED


def _child_died(since: dict[int, float]) -> int:
    for number, child in enumerate(_children, 2):
        code = child.poll()
        if not code:
            continue
        # One that ends by itself has told why, or this one is about to.
        if code > 0 and time.monotonic() - since.setdefault(number, time.monotonic()) < _GRACE:
            continue
        if code < 0:
            _tell(f"process {number} of {len(_children) + 1} was killed by {signal.Signals(-code).name}")
        for other in _children:
            other.kill()
        return 128 - code if code < 0 else code
    return 0


def _tell(what: str) -> None:
    resume = f"; ckpt_path={_last} resumes it" if _last is not None and _last.is_file() else ""
    print(f"error: {what}, so all end{resume}", file=sys.stderr)
