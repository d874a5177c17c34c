"""stage=train."""

from __future__ import annotations

import copy
import inspect
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from tdcnet.callbacks import EMA, Checkpoints, StopAtSignal, Stopped
from tdcnet.callbacks.checkpoint_io import whole_checkpoint
from tdcnet.callbacks.progress import place
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.deploy.record import Record
from tdcnet.deploy.transfer import take_over
from tdcnet.deploy.weights import Weights, read_weights
from tdcnet.detection import DetectionModule
from tdcnet.models.detector import STREAMS, Detector
from tdcnet.models.single_stream import single_stream
from tdcnet.report import Run
from tdcnet.stages.parts import (
    Results,
    build,
    build_trainer,
    check_metric,
    needs_frames,
    report,
    set_weights,
    taken,
    tell,
    validate,
)
from tdcnet.weights import find

log = logging.getLogger(__name__)

BACKBONES = ("backbone_2d", "backbone_3d")
"""Frozen in the last step of a staged training."""
Resumed = tuple[Path, dict[str, Any]] | None
"""The checkpoint that a training goes on from, and what it holds."""


def train(cfg: DictConfig, overrides: Sequence[str] = ()) -> Results:
    """Trains, from ``ckpt_path`` on or from the weights ``init_from`` if given, then evaluates the best checkpoint."""
    check_limits(cfg)
    if OmegaConf.select(cfg, "callbacks.checkpoints.metric") is not None:
        check_metric(cfg, "callbacks.checkpoints.metric")
    start = _start(cfg)
    resumed = None if cfg.ckpt_path is None else whole_checkpoint(cfg.ckpt_path, rank_zero_only(log.warning))
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    parts = build(cfg, overrides)
    if resumed is not None:
        _tell_network(resumed[1], parts["module"])
    if start is not None:
        log.info("%s: %s", cfg.init_from, take_over(parts["module"].model, start, cfg.init_from))
    if cfg.stage.get("staged") and resumed is None:
        _pretrain_backbones(cfg, parts["module"], parts["datamodule"])
    elif cfg.stage.get("staged"):  # that is done, and in the checkpoint
        parts["module"].freeze_part(*BACKBONES)
    trainer = build_trainer(cfg)
    parts["trainer"] = trainer
    if parts["module"].freeze_parts:
        warnings.filterwarnings("ignore", "Found .* in eval mode at the start of training")  # meant to be
    parts["module"].collect = needs_frames(cfg, parts)
    fit(trainer, parts["module"], parts["datamodule"], resumed)
    if getattr(trainer, "fast_dev_run", False):
        return dict(parts["module"].results), parts

    best = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if best:
        set_weights(parts["module"], read_weights(best), best)
    else:
        average = next((c.average for c in trainer.callbacks if isinstance(c, EMA)), None)  # type: ignore[attr-defined]
        parts["module"].model.load_state_dict(average or {}, strict=False)
        log.warning("there is no best.ckpt; evaluating the last weights")
    if best and getattr(trainer.checkpoint_callback, "best_is_last", False):  # and has just been evaluated
        metrics = taken(parts)
        tell(cfg, trainer, parts, metrics)
    else:
        if best:
            log.info("evaluating %s", best)
        metrics = validate(cfg, trainer, parts)
    log_options(trainer, options_of(cfg, overrides), metrics)
    if cfg.stage.get("report") and trainer.is_global_zero:
        parts["report"] = report(cfg, overrides, parts, [Run(cfg.name, parts["frames"], metrics)])
    return metrics, {**parts, "ckpt_path": best or None}


def options_of(cfg: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """What tells this training from others: its parts, seed, length, and what the command line says."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    parts = ("dataset", "model", "loss", "module", "experiment")
    told: dict[str, Any] = {key: str(choices[key]) for key in parts if key in choices}
    told |= {"seed": cfg.seed, "batch_size": cfg.dataset.batch_size, "max_epochs": cfg.trainer.get("max_epochs")}
    for override in overrides:
        key, equals, value = override.lstrip("+~").partition("=")
        named = re.fullmatch(r"[\w./-]+", key)  # MLflow takes no other names
        if equals and named and not key.startswith(("hydra.", "paths.", "stage.")):
            told.setdefault(key, value[:200])
    return told


def log_options(trainer: pl.Trainer, options: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Options, with the figures that a training ended with, for the loggers' tables of runs (TensorBoard's HParams)."""
    figures = {key: value for key, value in metrics.items() if key in ("AP50", "AP") or key.startswith("Pd@")}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(dict(options), {f"end/{key}": value for key, value in figures.items()})
        else:
            logger.log_hyperparams(dict(options))


def _pretrain_backbones(cfg: DictConfig, module: DetectionModule, datamodule: ClipDataModule) -> None:
    """The paper's first two steps: each backbone with a neck and head of its own; then both are frozen.

    Raises:
        ValueError: if the network leaves one of the two out.
    """
    model = module.model
    streams = getattr(model.fusion, "streams", STREAMS) if isinstance(model, Detector) else ("2d",)
    if left_out := {"2d", "3d"} - set(streams):
        raise ValueError(
            f"stage.staged=true trains the 2D and the 3D backbone first; this network has no {' and '.join(left_out)} "
            "stream. Leave stage.staged=false, or choose a model/fusion that joins both"
        )
    assert isinstance(model, Detector)
    for stream, epochs in zip(("2d", "3d"), cfg.stage.staged_epochs, strict=True):
        part = copy.deepcopy(cfg)
        part.paths.output_dir = str(Path(cfg.paths.output_dir) / f"stage_{stream}")
        if epochs is not None:
            part.trainer.max_epochs = epochs
        log.info("staged training: the %s backbone alone", stream)
        alone = instantiate(cfg.module, model=single_stream(model, stream), _convert_="all")
        trainer = build_trainer(part)
        fit(trainer, alone, datamodule)
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if best:
            set_weights(alone, read_weights(best), best)
        getattr(model, f"backbone_{stream}").load_state_dict(getattr(alone.model, f"backbone_{stream}").state_dict())
    module.freeze_part(*BACKBONES)


def fit(trainer: pl.Trainer, module: DetectionModule, datamodule: ClipDataModule, resumed: Resumed = None) -> None:
    """Trains, from a checkpoint on if one is given.

    Raises:
        NotSaved: before the training, if its folder cannot be written to.
        Stopped: if a signal ended it.
    """
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks:
        if isinstance(callback, Checkpoints) and trainer.is_global_zero:
            callback.check()
    left = resumed is None or _tell_progress(trainer, module, *resumed)
    done = 0 if resumed is None else int(resumed[1]["global_step"])
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=resumed and resumed[0], weights_only=True)
    except Exception as error:
        # A loader's worker that got the signal, too, may have died of it before the run could stop.
        signals = [c.signum for c in callbacks if isinstance(c, StopAtSignal) and c.signum]
        if signals and not isinstance(error, Stopped):
            raise Stopped(signals[0]) from error
        raise
    if trainer.global_step == done:
        reasons = "trainer.max_steps, trainer.max_time, trainer.limit_train_batches and dataset.samples_per_epoch"
        if resumed is None:
            raise ValueError(f"not one step was trained. Look at {reasons}")
        if left:
            rank_zero_only(log.warning)("not one step was trained after the %d of the resumed run", done)


def _start(cfg: DictConfig) -> Weights | None:
    """The weights to start from; a bad file is told before data are read.

    Raises:
        ValueError: if a training is to be resumed, which has its weights.
    """
    if cfg.init_from is None:
        return None
    if cfg.ckpt_path is not None:
        raise ValueError(
            "ckpt_path resumes a training, which has its weights; init_from starts a new one from weights. Give one"
        )
    return read_weights(find(cfg.init_from))


def check_limits(cfg: DictConfig) -> None:
    """Whether the configured length is one.

    Raises:
        ValueError: if nothing would be trained.
    """
    for name in ("max_epochs", "max_steps"):
        value = cfg.trainer.get(name)
        if value is not None and not (isinstance(value, int) and (value >= 1 or value == -1)):
            raise ValueError(
                f"trainer.{name} is {value}: nothing would be trained; expected 1 or more, or -1 for no limit"
            )


def _tell_network(content: dict[str, Any], module: DetectionModule) -> None:
    """Says where a network that fits computes something else than in the resumed run."""
    before = Record.of(content.get("tdcnet", {}), "the resumed checkpoint").model
    changed = [] if before is None else list(_differences(before, module.checkpoint_info["model"], "model"))
    if changed:
        rank_zero_only(log.warning)("the network is other than in the resumed run: %s", ", ".join(changed))


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], place: str) -> Iterator[str]:
    """What differs of two configs of a part, in words; what the earlier one does not say is its class's default."""
    same = "_target_" in now and before.get("_target_") == now["_target_"]
    defaults = inspect.signature(get_object(now["_target_"])).parameters if same else {}
    for key, value in now.items():
        was = before.get(key, defaults[key].default if key in defaults else None)
        if isinstance(value, Mapping) and isinstance(was, Mapping):
            yield from _differences(was, value, f"{place}.{key}")
        elif value != (list(was) if isinstance(was, tuple) else was):
            yield f"{place}.{key} {value} (was {was})"


def _tell_progress(trainer: pl.Trainer, module: DetectionModule, path: Path, content: dict[str, Any]) -> bool:
    """Says what is resumed, and whether anything is left.

    Raises:
        ValueError: if more is done than is asked for.
    """
    epochs, batches, _ = place(content["loops"]["fit_loop"], path)
    minutes = float(content.get("minutes", 0.0))
    wanted = trainer.max_epochs if trainer.max_epochs is not None else -1
    if 0 < wanted < epochs:
        raise ValueError(
            f"{path} has {epochs} epochs done, trainer.max_epochs is {wanted}: nothing to train. Give more epochs, or "
            "stage=eval to evaluate it"
        )
    if 0 < trainer.max_steps < content["global_step"]:
        raise ValueError(
            f"{path} has {content['global_step']} steps done, trainer.max_steps is {trainer.max_steps}: nothing to "
            "train. Give more steps, or stage=eval to evaluate it"
        )
    used_up = module.max_minutes is not None and minutes >= module.max_minutes
    if epochs == wanted or used_up:
        limit = f"module.max_minutes={module.max_minutes:g} are used up" if used_up else f"trainer.max_epochs={wanted}"
        rank_zero_only(log.warning)("nothing to train: %s has %d epochs done, and %s", path, epochs, limit)
        return False
    log.info("resuming after %d epochs and %d batches of the next, %.1f minutes", epochs, batches, minutes)
    return True
