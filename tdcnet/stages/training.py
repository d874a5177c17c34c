"""stage=train."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig

from tdcnet.data.datamodule import ClipDataModule
from tdcnet.deploy.weights import read_weights
from tdcnet.detection import DetectionModule
from tdcnet.models.detector import STREAMS
from tdcnet.models.single_stream import single_stream
from tdcnet.report import Run
from tdcnet.stages.parts import Results, build, build_trainer, report, set_weights, validate

log = logging.getLogger(__name__)


def train(cfg: DictConfig, overrides: Sequence[str] = ()) -> Results:
    """Trains, from ``ckpt_path`` on if that is given, then evaluates the best checkpoint."""
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    parts = build(cfg, overrides)
    if cfg.stage.get("staged"):
        _pretrain_backbones(cfg, parts["module"], parts["datamodule"])
    trainer = build_trainer(cfg)
    parts["trainer"] = trainer
    if parts["module"].freeze_parts:
        warnings.filterwarnings("ignore", "Found .* in eval mode at the start of training")  # meant to be
    if cfg.ckpt_path is not None:
        warnings.filterwarnings("ignore", "The dirpath has changed")  # a resumed run has a folder of its own
    trainer.fit(parts["module"], datamodule=parts["datamodule"], ckpt_path=_existing(cfg.ckpt_path), weights_only=True)
    if getattr(trainer, "fast_dev_run", False) or trainer.interrupted:
        return dict(parts["module"].results), parts

    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if best:
        set_weights(parts["module"], read_weights(best), best)
        log.info("evaluating %s", best)
    metrics = validate(cfg, trainer, parts)
    if cfg.stage.get("report") and trainer.is_global_zero:
        parts["report"] = report(cfg, overrides, parts, [Run(cfg.name, parts["frames"], metrics)])
    return metrics, {**parts, "ckpt_path": best or None}


def _pretrain_backbones(cfg: DictConfig, module: DetectionModule, datamodule: ClipDataModule) -> None:
    """The paper's first two steps: each backbone with a neck and head of its own; then both are frozen.

    Raises:
        ValueError: if the network leaves one of the two out.
    """
    model = module.model
    if left_out := {"2d", "3d"} - set(getattr(model.fusion, "streams", STREAMS)):
        raise ValueError(
            f"stage.staged=true trains the 2D and the 3D backbone first; this network has no {' and '.join(left_out)} "
            "stream. Leave stage.staged=false, or choose a model/fusion that joins both"
        )
    for stream, epochs in zip(("2d", "3d"), cfg.stage.staged_epochs, strict=True):
        part = copy.deepcopy(cfg)
        part.paths.output_dir = str(Path(cfg.paths.output_dir) / f"stage_{stream}")
        if epochs is not None:
            part.trainer.max_epochs = epochs
        log.info("staged training: the %s backbone alone", stream)
        alone = instantiate(cfg.module, model=single_stream(model, stream), _convert_="all")
        trainer = build_trainer(part)
        trainer.fit(alone, datamodule=datamodule)
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if best:
            set_weights(alone, read_weights(best), best)
        getattr(model, f"backbone_{stream}").load_state_dict(getattr(alone.model, f"backbone_{stream}").state_dict())
    module.freeze_part("backbone_2d", "backbone_3d")


def _existing(path: str | None) -> str | None:
    if path is not None and not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint to resume from at {path}; ckpt_path names a .ckpt file of a training")
    return path
