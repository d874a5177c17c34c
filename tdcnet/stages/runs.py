"""Several runs with one budget, each in a process of its own: one that fails takes nothing with it, and what was broken
off is taken up where it stopped."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from tdcnet.data.datamodule import ClipDataModule
from tdcnet.metrics import DetectionMetrics
from tdcnet.metrics.matching import Frames
from tdcnet.run_folder import read_overrides
from tdcnet.stages.overrides import merge_overrides, override_key

log = logging.getLogger(__name__)

APP = "tdcnet.stages.app"


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


def check_metric(cfg: DictConfig) -> None:
    """A figure ``stage.metric`` that no validation gives is told before hours of training.

    Raises:
        ValueError: naming those that there are.
    """
    metrics: DetectionMetrics = instantiate(cfg.module.metrics)
    known = list(metrics.figures(Frames.from_lists([], [])))
    if cfg.stage.metric not in known:
        raise ValueError(f"stage.metric is {cfg.stage.metric!r}; a validation gives {', '.join(known)}")


def run_all(runs: Mapping[str, Sequence[str]], overrides: Sequence[str], output: Path) -> list[str]:
    """Runs what is not done yet, each in a folder of its name below ``output``.

    Args:
        runs: what each adds to the overrides of this command line.

    Returns:
        Names of those that failed.

    Raises:
        ValueError: if a folder holds a run with other options.
    """
    failed = []
    for name, own in runs.items():
        given = merge_overrides(_without_parts_of(overrides, own), own, without=("stage", "hydra", "ckpt_path"))
        if _done(output / name, given):
            log.info("%s: done before, in %s", name, output / name)
            continue
        Console().rule(Text(f"{name}: {' '.join(own)}"))
        command = [sys.executable, "-m", APP, *given, f"hydra.run.dir={output / name}"]
        if subprocess.run(command, check=False, env=_environment()).returncode:
            log.error("%s failed; what it said is above and in %s", name, output / name)
            failed.append(name)
    return failed


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
    before = read_overrides(folder)
    if sorted(before) != sorted(overrides):
        raise ValueError(
            f"{folder} holds a run with other options: {' '.join(before)}, now {' '.join(overrides)}. "
            "Give the same ones, or another hydra.run.dir"
        )
    return True
