"""stage=baselines: several detectors on one data set with one budget, and a report that sets them side by side.

Each is a run of its own, see :mod:`tdcnet.stages.runs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tdcnet.data.datamodule import ClipDataModule
from tdcnet.metrics import DetectionMetrics
from tdcnet.report import Run
from tdcnet.report.exchange import read_ground_truth, read_predictions
from tdcnet.run_folder import read_run
from tdcnet.shown import printable
from tdcnet.stages.parts import Results, page_on
from tdcnet.stages.runs import RunsFailed, data_of, run_all

SHOWN = ("AP50", "AP", "Pd@1", "Pd@0.1", "Pd@0.05")


def compare(cfg: DictConfig, overrides: Sequence[str] = ()) -> Results:
    """Runs every detector of ``stage.detectors``, each in ``NAME`` below the run's folder, then compares them.

    Raises:
        ValueError: if a folder holds a run with other options.
        RunsFailed: after the report on the others.
    """
    output = Path(cfg.paths.output_dir)
    datamodule = data_of(cfg)
    failed = run_all(cfg.stage.detectors, overrides, output)
    finished = [name for name in cfg.stage.detectors if name not in failed]
    results = _compare(cfg, overrides, output, finished, datamodule) if finished else ({}, {})
    if failed:
        raise RunsFailed.of(failed, cfg.stage.detectors, output)
    return results


def _compare(
    cfg: DictConfig, overrides: Sequence[str], output: Path, names: Sequence[str], datamodule: ClipDataModule
) -> Results:
    assert datamodule.val_dataset is not None
    metrics: DetectionMetrics = instantiate(cfg.module.metrics)
    frames, _ = read_ground_truth(output / names[0] / "ground_truth.json")
    found = {name: read_predictions(output / name / "predictions.json", frames, datamodule.classes) for name in names}
    runs = [Run(name, each, metrics.figures(each), _clip(output / name)) for name, each in found.items()]
    Console().print(_table(runs, f"validation split of {cfg.dataset.name}"))
    page = page_on(cfg, overrides, runs, datamodule.val_dataset, metrics)
    return {}, {"report": page, "runs": runs, "datamodule": datamodule}


def _clip(folder: Path) -> tuple[int, int]:
    """Frames of the clips that a run saw, and their distance."""
    run = read_run(folder)
    return run.num_frames, run.stride


def _table(runs: Sequence[Run], title: str) -> Table:
    table = Table(Column("detector", no_wrap=True), title=Text(printable(title), "italic"))
    for key in SHOWN:
        table.add_column(key, justify="right")
    for each in runs:
        table.add_row(each.name, *(f"{each.metrics[key]:.3f}" for key in SHOWN))
    return table
