"""Runs trainings as processes of their own without loading Python's modules for each: one process that forks.

A line of JSON in, a line out: overrides of the command line and a fault in, the status out.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from tdcnet import stages
from tdcnet.callbacks import ema
from tdcnet.callbacks.signals import Stopped
from tdcnet.detection import DetectionModule
from tdcnet.stages.app import USER_ERRORS

CONFIGS = Path(__file__).parents[2] / "configs"
METHODS = {
    "step": (DetectionModule, "training_step"),
    "before the optimiser": (DetectionModule, "on_before_optimizer_step"),
    "average": (ema.EMA, "on_train_batch_end"),
    "after a step": (DetectionModule, "on_train_batch_end"),
    "validation": (DetectionModule, "validation_step"),
    "figures": (DetectionModule, "on_validation_epoch_end"),
}


class FaultyFile:
    """A file that breaks in the midst of a write."""

    def __init__(self, file: Any, fault: Any) -> None:
        self._file, self._fault = file, fault

    def write(self, data: Any) -> int:
        view = data if isinstance(data, str) else memoryview(data).cast("B")
        self._file.write(view[: len(view) // 2])
        self._file.flush()
        self._fault()
        return int(self._file.write(view[len(view) // 2 :])) + len(view) // 2

    def __enter__(self) -> FaultyFile:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def install(fault: dict[str, Any]) -> None:
    """``where`` it breaks, in which ``call`` of that, and ``what`` happens then: "die" or "full"."""
    strike = {"die": die, "full": full}[fault.get("what", "die")]
    calls = 0

    def due() -> bool:
        nonlocal calls
        calls += 1
        return calls == fault["call"] or (fault.get("stays", False) and calls > fault["call"])

    where = fault["where"]
    if where in METHODS:
        owner, name = METHODS[where]
        original = getattr(owner, name)

        def method(*args: Any, **kwargs: Any) -> Any:
            if due():
                strike()
            return original(*args, **kwargs)

        setattr(owner, name, method)
    elif where == "backward":
        backward = torch.Tensor.backward

        def broken(*args: Any, **kwargs: Any) -> None:
            now = due()
            if now:
                args[0].register_hook(lambda g: strike())
            backward(*args, **kwargs)

        torch.Tensor.backward = broken  # type: ignore[method-assign,assignment]
    elif where in ("before renaming", "after renaming"):
        replace = os.replace

        def renaming(source: Any, target: Any) -> None:
            hit = fault["file"] in str(target) and due()
            if hit and where.startswith("before"):
                strike()
            replace(source, target)
            if hit:
                strike()

        os.replace = renaming  # type: ignore[assignment]
    elif where == "write":
        opened = Path.open

        def opening(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            file = opened(self, mode, *args, **kwargs)
            writes = "x" in mode or "w" in mode
            return FaultyFile(file, strike) if writes and fault["file"] in self.name and due() else file

        Path.open = opening  # type: ignore[method-assign,assignment]
    elif where != "time":
        raise ValueError(where)


def child(job: dict[str, Any]) -> None:
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.setpgid(0, 0)
    status = 0
    try:
        if job["fault"]:
            install(job["fault"])
        torch.set_num_threads(1)
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            cfg = compose("config", overrides=job["overrides"])
        stages.run(cfg, job["overrides"])
    except Stopped as error:
        status = 128 + error.signum
    except USER_ERRORS as error:
        print("error:", type(error).__name__, error)
        status = 1
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run(job: dict[str, Any]) -> dict[str, Any]:
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(job)
    limit = job["fault"]["call"] if job["fault"] and job["fault"]["where"] == "time" else None
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        took = time.monotonic() - start
        if done:
            break
        if took > 300 or (limit is not None and took > limit):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)  # its loaders' workers
    return {"status": os.waitstatus_to_exitcode(status), "seconds": took}


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)
