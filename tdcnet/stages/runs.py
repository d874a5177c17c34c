"""Several runs with one budget, each in a process of its own: one that fails takes nothing with it, and what was broken
off is taken up where it stopped."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from tdcnet.callbacks.signals import Stopped
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.run_folder import OVERRIDES, read_overrides
from tdcnet.stages.overrides import merge_overrides, override_key, quote_paths

log = logging.getLogger(__name__)

APP = "tdcnet.stages.app"
ASKED, GRACE = 10.0, 60.0
"""Seconds that a run has to stop by itself, and then, asked again, to save what it has."""
CHECKPOINTS = ("interrupted.ckpt", "last.ckpt")
"""Which a training can go on from."""


class RunsFailed(RuntimeError):
    """Some of several runs came to no end; what the others gave is there."""

    @classmethod
    def of(cls, failed: Sequence[str], runs: Mapping[str, object], output: Path) -> RunsFailed:
        """With a message on what to do."""
        return cls(
            f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}. Mend the cause and give the same command "
            f"with hydra.run.dir={output}: only these run again"
        )


def data_of(cfg: DictConfig) -> ClipDataModule:
    """The configured data set, ready for validation: one that is not there is told once, not by every run."""
    datamodule: ClipDataModule = instantiate(cfg.dataset, _convert_="all")
    datamodule.evaluated()
    return datamodule


def run_all(runs: Mapping[str, Sequence[str]], overrides: Sequence[str], output: Path, anew: bool = True) -> list[str]:
    """Runs what is not done yet, each in a folder of its name below ``output``; a training goes on where it stopped.

    Args:
        runs: what each adds to the overrides of this command line.
        anew: whether a run that chooses a group, such as another model, is freed of what this command line sets inside
            that group.

    Returns:
        Names of those that failed.

    Raises:
        ValueError: if a folder holds a run with other options.
    """
    failed = []
    for name, own in runs.items():
        kept = _without_parts_of(overrides, own if anew else ())
        given = merge_overrides(kept, own, without=("stage", "hydra", "ckpt_path"))
        if _done(output / name, given):
            log.info("%s: done before, in %s", name, output / name)
            continue
        Console().rule(Text(f"{name}: {' '.join(own)}"))
        if run_alone([*given, *_broken_off(output / name, given)], output / name, output):
            log.error("%s failed; what it said is above and in %s", name, output / name)
            failed.append(name)
    return failed


def run_alone(options: Sequence[str], folder: Path, of: Path | None = None) -> int:
    """Runs the app in a process of its own; when this process is stopped, it is asked to stop and may save what it has.

    Args:
        options: of its command line.
        folder: that it writes to.
        of: folder of the runs that it is one of, where these can go on.

    Returns:
        Its exit status.
    """
    command = [sys.executable, "-m", APP, *quote_paths([*options, f"hydra.run.dir={folder}"])]
    process = subprocess.Popen(command, env=_environment())
    try:
        return process.wait()
    except BaseException:
        if of is not None:
            log.warning("stopping; the same command with hydra.run.dir=%s goes on from here", of)
        with suppress(subprocess.TimeoutExpired, Stopped):  # from a terminal it has been asked, too; twice is at once
            process.wait(ASKED)
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired, Stopped):
                process.wait(GRACE)
            process.kill()
        raise


def _broken_off(folder: Path, given: Sequence[str]) -> list[str]:
    """The option that has a training go on which was broken off in this folder; none if it was another one."""
    found = [path for name in CHECKPOINTS if (path := folder / "checkpoints" / name).is_file()]
    if not found or "stage=train" not in given or (folder / "report.html").is_file():
        return []
    if (folder / OVERRIDES).is_file() and sorted(_asked(folder)) != sorted(given):
        return []
    return [f"ckpt_path={max(found, key=lambda path: path.stat().st_mtime)}"]


def _asked(folder: Path) -> list[str]:
    """The options of a run but for where it went on from."""
    return [each for each in read_overrides(folder) if override_key(each) != "ckpt_path"]


def _environment() -> dict[str, str]:
    """Modules come from where this process has them from, and never from the working folder, as -m would have it."""
    paths = [path for path in (sys.path[0], os.environ.get("PYTHONPATH")) if path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}


def _without_parts_of(overrides: Sequence[str], own: Sequence[str]) -> list[str]:
    """The overrides less what they set inside groups that ``own`` chooses anew (another model has other parts), and
    less the folder, as each run has its own."""
    parts = tuple(f"{override_key(o)}{mark}" for o in own for mark in "./")
    return [o for o in overrides if not override_key(o).startswith((*parts, "paths.output_dir"))]


def _done(folder: Path, overrides: Sequence[str]) -> bool:
    """Whether the run with these overrides came to its end there: its report is what it writes last."""
    if not (folder / "report.html").is_file():
        return False
    before = _asked(folder)
    if sorted(before) != sorted(overrides):
        raise ValueError(
            f"{folder} holds a run with other options: {' '.join(before)}, now {' '.join(overrides)}. "
            "Give the same ones, or another hydra.run.dir"
        )
    return True
