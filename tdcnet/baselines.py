"""stage=baselines: several detectors on one data set with one budget, and a report that sets them side by side.

Each is a run of its own, in a process of its own: one that fails takes nothing with it, and a broken-off comparison is
taken up where it stopped.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Column, Table

from tdcnet.data.datamodule import ClipDataModule
from tdcnet.metrics import DetectionMetrics
from tdcnet.report import Run, write_report
from tdcnet.report.exchange import read_ground_truth, read_predictions
from tdcnet.stages import Results, command_line, merge_overrides, override_key

log = logging.getLogger(__name__)

APP = Path(__file__).parents[1] / "train.py"
SHOWN = ("AP50", "AP", "Pd@1", "Pd@0.1", "Pd@0.05")


class DetectorsFailed(RuntimeError):
    """Some detectors of a comparison came to no end; what the others gave is there."""


def run(cfg: DictConfig, overrides: Sequence[str] = ()) -> Results:
    """Runs every detector of ``stage.detectors``, each in ``NAME`` below the run's folder, then compares them.

    Raises:
        ValueError: if a folder holds a run with other options.
        DetectorsFailed: after the report on the others.
    """
    output = Path(cfg.paths.output_dir)
    datamodule: ClipDataModule = instantiate(cfg.dataset, _convert_="all")
    if datamodule.generate is not None:
        datamodule.generate()
    datamodule.setup("validate")  # a data set that is not there is told once, not by every detector
    failed = []
    for name, own in cfg.stage.detectors.items():
        given = merge_overrides(_without_parts_of(overrides, own), own, without=("stage", "hydra", "ckpt_path"))
        if _done(output / name, given):
            log.info("%s: done before, in %s", name, output / name)
            continue
        Console().rule(f"{name}: {' '.join(own)}")
        if subprocess.run([sys.executable, str(APP), *given, f"hydra.run.dir={output / name}"], check=False).returncode:
            log.error("%s failed; what it said is above and in %s", name, output / name)
            failed.append(name)
    finished = [name for name in cfg.stage.detectors if name not in failed]
    results = _compare(cfg, overrides, output, finished, datamodule) if finished else ({}, {})
    if failed:
        raise DetectorsFailed(
            f"{len(failed)} of {len(cfg.stage.detectors)} detectors failed: {', '.join(failed)}. Mend the cause and "
            f"give the same command with hydra.run.dir={output}: only these run again"
        )
    return results


def _without_parts_of(overrides: Sequence[str], own: Sequence[str]) -> list[str]:
    """The overrides less what they set inside groups that ``own`` chooses anew (another model has other parts), and
    less the folder, as each run has its own."""
    parts = tuple(f"{override_key(o)}{mark}" for o in own for mark in "./")
    return [o for o in overrides if not override_key(o).startswith((*parts, "paths.output_dir"))]


def _done(folder: Path, overrides: Sequence[str]) -> bool:
    """Whether the run with these overrides came to its end there: its report is what it writes last."""
    if not (folder / "report.html").is_file():
        return False
    before = list(OmegaConf.load(folder / ".hydra" / "overrides.yaml"))
    if before != list(overrides):
        raise ValueError(
            f"{folder} holds a run with other options: {' '.join(map(str, before))}, now {' '.join(overrides)}. "
            "Give the same ones, or another hydra.run.dir"
        )
    return True


def _compare(
    cfg: DictConfig, overrides: Sequence[str], output: Path, names: Sequence[str], datamodule: ClipDataModule
) -> Results:
    assert datamodule.val_dataset is not None
    metrics: DetectionMetrics = instantiate(cfg.module.metrics)
    frames = read_ground_truth(output / names[0] / "ground_truth.json")
    found = {name: read_predictions(output / name / "predictions.json", frames, datamodule.classes) for name in names}
    runs = [Run(name, each, metrics.figures(each), _clip(output / name)) for name, each in found.items()]
    page = write_report(
        output,
        runs,
        datamodule.val_dataset,
        title=f"{cfg.name}: {cfg.dataset.name}, {len(runs)} detectors",
        threshold=metrics.score_threshold,
        rule=metrics.rule,
        within_class=metrics.within_class,
        command=command_line(overrides),
    )
    Console().print(_table(runs, f"validation split of {cfg.dataset.name}"))
    Console(soft_wrap=True).print(f"report in [bold]{page}[/]", highlight=False)
    return {}, {"report": page, "runs": runs, "datamodule": datamodule}


def _clip(folder: Path) -> tuple[int, int]:
    """Frames of the clips that a run saw, and their distance."""
    dataset = OmegaConf.load(folder / ".hydra" / "config.yaml").dataset
    return int(dataset.num_frames), int(dataset.stride)


def _table(runs: Sequence[Run], title: str) -> Table:
    table = Table(Column("detector", no_wrap=True), title=title)
    for key in SHOWN:
        table.add_column(key, justify="right")
    for each in runs:
        table.add_row(each.name, *(f"{each.metrics[key]:.3f}" for key in SHOWN))
    return table
