"""stage=eval."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from tdcnet.callbacks import Visualize
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.deploy.backends import GRAPHS, read_info
from tdcnet.deploy.weights import Weights, read_weights
from tdcnet.files import write_atomically
from tdcnet.report import Run
from tdcnet.report.exchange import read_masks, read_predictions
from tdcnet.run_folder import CONFIG
from tdcnet.stages.compared import check_compared, is_masks, is_results
from tdcnet.stages.inherit import inherit
from tdcnet.stages.labels import label_of, unique
from tdcnet.stages.parts import NOT_TRAINING, Results, backend, build, build_trainer, measure, plain, report, validate
from tdcnet.weights import find


def evaluate(cfg: DictConfig, overrides: Sequence[str], weights: Weights | None) -> Results:
    """Evaluates ``ckpt_path`` on the validation split and writes a report, with others beside it if asked for.

    ``stage.compare`` lists checkpoints, COCO results of other detectors on the same frames (``ground_truth.json``), or
    folders of their masks; ``stage.strides`` other distances between a clip's frames.
    """
    others, strides = [find(each) for each in cfg.stage.get("compare") or ()], cfg.stage.get("strides") or ()
    if (others or strides) and not cfg.stage.get("report"):
        raise ValueError("stage.compare and stage.strides are shown in the report; leave stage.report=true")
    parts = build(cfg, overrides, weights, ready=True)
    for record in check_compared(others, parts["datamodule"], graphs=bool(backend(cfg))):
        inherit(cfg, record, ["dataset", *overrides])  # refuses other classes
    parts["trainer"] = trainer = build_trainer(cfg, without=NOT_TRAINING)
    if trainer.is_global_zero:
        _tell_config(cfg, parts["module"].checkpoint_info["model"])
    metrics = validate(cfg, trainer, parts)
    if not cfg.stage.get("report"):
        return metrics, parts
    runs = [Run(label_of(cfg), parts["frames"], metrics)]
    for other in others:
        runs.append(_compared(cfg, overrides, other, parts, runs))
    for stride in strides:
        apart = copy.deepcopy(cfg)
        apart.dataset.stride = stride
        runs.append(
            _alone(apart, overrides, weights, unique(f"{label_of(cfg)}, stride {stride}", [run.name for run in runs]))
        )
    if trainer.is_global_zero:
        parts["report"] = report(cfg, overrides, parts, runs)
    return metrics, parts


def _tell_config(cfg: DictConfig, network: Any) -> None:
    """Puts what the run does in the place of what was asked for into its folder: those who read it compare runs.

    As plain data: what a checkpoint says of its network is no config of ours, whose ``${..}`` would mean something.
    """
    path = Path(cfg.paths.output_dir) / CONFIG
    if path.is_file():
        told = {**plain(cfg), "model": json.loads(json.dumps(network))}
        write_atomically(path, yaml.safe_dump(told, sort_keys=False, allow_unicode=True).encode())


def _compared(cfg: DictConfig, overrides: Sequence[str], path: Path, parts: dict[str, Any], runs: Sequence[Run]) -> Run:
    """Another detector on the same frames: a checkpoint is run, COCO results and masks are read."""
    frames, name = runs[0].frames, unique(path.stem, [run.name for run in runs])
    if is_results(path):
        found = read_predictions(path, frames, parts["datamodule"].classes)
    elif is_masks(path):
        found = read_masks(path, frames, parts["datamodule"].val_dataset)
    else:
        weights = read_info(path) if backend(cfg) and path.suffix in GRAPHS else read_weights(path)
        other = inherit(cfg, weights.record, ["dataset", *overrides])  # its own clips of the same data set
        other.ckpt_path = str(path)
        if path.suffix not in GRAPHS:
            other.backend = None  # a checkpoint beside a graph
        return _alone(other, (), weights, unique(label_of(other), [run.name for run in runs]))
    return Run(name, found, parts["module"].metrics.figures(found))


def _alone(cfg: DictConfig, overrides: Sequence[str], weights: Weights | None, name: str) -> Run:
    """A network on the validation split, without files of its own."""
    parts = build(cfg, overrides, weights, ready=True)
    metrics = measure(build_trainer(cfg, without=(*NOT_TRAINING, Visualize)), parts, collect=True)
    datamodule: ClipDataModule = parts["datamodule"]
    return Run(name, parts["frames"], metrics, clip=(datamodule.num_frames, datamodule.stride))
