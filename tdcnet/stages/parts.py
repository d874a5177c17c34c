"""What stages are made of: data, network, trainer, and the figures on the validation split."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console

from tdcnet.callbacks import (
    EMA,
    Checkpoints,
    ReportValidation,
    SaveInterrupted,
    StopAtSignal,
    WholeCheckpointIO,
    processes,
)
from tdcnet.data.clips import ClipDataset
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.deploy.optional import MissingPackage
from tdcnet.deploy.record import LONGEST_COMMAND, Record
from tdcnet.deploy.weights import Weights, load_into
from tdcnet.detection import DetectionModule
from tdcnet.metrics import DetectionMetrics, format_table
from tdcnet.metrics.by_class import by_class
from tdcnet.metrics.matching import Frames
from tdcnet.metrics.table import class_table
from tdcnet.report import Run, write_report
from tdcnet.report.exchange import write_ground_truth, write_predictions
from tdcnet.results import write_metrics
from tdcnet.shown import emphasised, printable
from tdcnet.stages.inherit import dataset_config, names_network
from tdcnet.stages.overrides import command_line

# Lightning tells at every start which devices it does not use, and recommends products.
for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.distributed"):
    logging.getLogger(name).setLevel(logging.WARNING)

Results = tuple[dict[str, float], dict[str, Any]]
"""What a stage returns: figures by name, and what was built."""
NOT_TRAINING = (Checkpoints, SaveInterrupted, EMA)
"""Callbacks that only training has a use for."""


def build(
    cfg: DictConfig, overrides: Sequence[str], weights: Weights | None = None, ready: bool = False
) -> dict[str, Any]:
    """Data, network and module as configured; the network with ``weights`` if given.

    Args:
        ready: the network is to be used as it is, so it needs weights if it can learn at all.
    """
    if backend(cfg) and cfg.ckpt_path is None:
        raise ValueError(f"{backend(cfg)} needs ckpt_path=FOLDER, the one that stage=deploy wrote, or a graph in it")
    elsewhere = {"path": cfg.ckpt_path} if backend(cfg) else None
    record = weights.record if weights is not None else Record()
    own = record.model is not None and not names_network(overrides)
    datamodule: ClipDataModule = instantiate(cfg.dataset, _convert_="all")
    if elsewhere:
        model = instantiate(cfg.backend, **elsewhere, _convert_="all")
    elif weights is not None and own:
        model = weights.network(cfg.ckpt_path, allow=allowed(cfg))
    else:
        model = instantiate(cfg.model, _convert_="all")
    _check_size(datamodule.size, getattr(model, "multiple", 1))
    if ready and weights is None and any(True for _ in model.parameters()):
        raise ValueError(f"stage={cfg.stage.name} needs ckpt_path=CHECKPOINT")
    if elsewhere and model.num_classes != len(datamodule.classes):
        raise ValueError(
            f"{cfg.ckpt_path} tells {model.num_classes} classes apart, dataset.classes names {len(datamodule.classes)} "
            f"({', '.join(datamodule.classes)}); name those it was trained with"
        )
    now = Record(
        model=record.model if own else plain(cfg.model, resolve=True),
        classes=tuple(datamodule.classes),
        size=datamodule.size,
        num_frames=datamodule.num_frames,
        stride=datamodule.stride,
        align_by=datamodule.align_by,
        scale=record.scale,
        rate=record.rate,
        threshold=record.threshold,
        intensity_range=datamodule.intensity_range,
        dataset=dataset_config(cfg, record, overrides),
        name=str(cfg.name),
        command=record.command or printable(command_line(overrides))[:LONGEST_COMMAND],
    )
    frozen: dict[str, Any] = {"freeze": []} if elsewhere else {}  # parts of a network, which a graph has not
    module: DetectionModule = instantiate(cfg.module, model=model, **frozen, _convert_="all")
    module.checkpoint_info = Record.of(now.plain(), "this run").plain()
    if weights is not None and not elsewhere and not own:
        set_weights(module, weights, cfg.ckpt_path)
    return {"datamodule": datamodule, "module": module}


def _check_size(size: tuple[int, int], multiple: int) -> None:
    if any(side % multiple for side in size):
        up = ",".join(str(-(-side // multiple) * multiple) for side in size)
        raise ValueError(
            f"dataset.size is {list(size)}; this network takes multiples of {multiple}. Give dataset.size=[{up}]; "
            "frames are scaled to as they are to any size"
        )


def backend(cfg: DictConfig) -> str | None:
    """Class of the runtime in PyTorch's place, or None for PyTorch."""
    chosen = cfg.get("backend")
    return None if chosen is None else chosen.get("_target_")


def allowed(cfg: DictConfig) -> list[str]:
    """Packages of the user's own whose parts a file may ask for (``allow=``)."""
    return list(cfg.get("allow") or ())


def plain(value: Any, resolve: bool = False) -> Any:
    """A list or dict of the config as Python's own."""
    return OmegaConf.to_container(value, resolve=resolve) if OmegaConf.is_config(value) else value


def set_weights(module: DetectionModule, weights: Weights, where: object) -> None:
    """Puts weights read from ``where`` into the network, which takes their form, training or deploy."""
    module.model = load_into(module.model, weights, where)


def build_trainer(cfg: DictConfig, without: tuple[type, ...] = (), extra: Sequence[pl.Callback] = ()) -> pl.Trainer:
    """The configured trainer with the configured callbacks, ``extra`` ones, and none of the types in ``without``.

    A stage marked ``single`` gets one process on one device, whatever is configured.
    """
    logger = _logger(cfg) if cfg.get("logger") else False
    if not logger:
        without = (*without, pl.callbacks.LearningRateMonitor)
    callbacks = [instantiate(c, _convert_="all") for c in (cfg.get("callbacks") or {}).values() if c is not None]
    callbacks = [c for c in callbacks if not isinstance(c, without)]
    trainer: pl.Trainer = instantiate(
        cfg.trainer,
        logger=logger,
        callbacks=[StopAtSignal(), *callbacks, *extra],
        plugins=[WholeCheckpointIO(), *instantiate(cfg.trainer.get("plugins") or [], _convert_="all")],
        **({"devices": 1, "num_nodes": 1, "strategy": "auto"} if cfg.stage.get("single") else {}),
        enable_checkpointing=any(isinstance(c, pl.callbacks.Checkpoint) for c in callbacks),
        enable_model_summary=False,
        _convert_="all",
    )
    processes.watch(trainer, f"{cfg.paths.output_dir}/checkpoints")
    # Whoever reads the line on a validation may take it that its checkpoint is written.
    trainer.callbacks.sort(key=lambda c: isinstance(c, ReportValidation))  # type: ignore[attr-defined]
    return trainer


def _logger(cfg: DictConfig) -> Any:
    try:
        return instantiate(cfg.logger)
    except InstantiationException as error:
        if not isinstance(error.__cause__, ModuleNotFoundError):
            raise
        kind = str(cfg.logger._target_).rpartition(".")[2]
        raise MissingPackage(f"{kind} needs a package that is not installed ({error.__cause__})") from error


def check_metric(cfg: DictConfig, option: str = "stage.metric") -> None:
    """A figure that no validation gives is told before hours of training.

    Raises:
        ValueError: naming those that there are.
    """
    metrics: DetectionMetrics = instantiate(cfg.module.metrics)
    known = list(metrics.figures(Frames.from_lists([], [])))
    if (asked := OmegaConf.select(cfg, option)) not in known:
        raise ValueError(f"{option} is {asked!r}; a validation gives {', '.join(known)}")


def validate(cfg: DictConfig, trainer: pl.Trainer, parts: dict[str, Any]) -> dict[str, float]:
    """Figures on the validation split: returned, shown as a table, and written to ``metrics.json``."""
    metrics = measure(trainer, parts, collect=needs_frames(cfg, parts))
    tell(cfg, trainer, parts, metrics)
    return metrics


def needs_frames(cfg: DictConfig, parts: dict[str, Any]) -> bool:
    """Whether a stage tells more than what is counted batch by batch: a report, or figures of each class."""
    return bool(cfg.stage.get("report")) or len(parts["datamodule"].classes) > 1


def tell(cfg: DictConfig, trainer: pl.Trainer, parts: dict[str, Any], metrics: dict[str, float]) -> None:
    """Shows the figures of a validation as a table, and writes them to ``metrics.json``."""
    classes = parts["datamodule"].classes
    if trainer.is_global_zero:
        told: dict[str, float] = {}
        if len(classes) > 1:
            rule, threshold = parts["module"].metrics.rule, parts["module"].metrics.score_threshold
            rows = by_class(parts["frames"], classes, threshold, rule)
            told = {
                f"{name}/{key}": value for name, row in zip(classes, rows, strict=True) for key, value in row.items()
            }
        path = write_metrics(Path(cfg.paths.output_dir) / "metrics.json", metrics | told)
        title = f"{cfg.name}: validation split of {cfg.dataset.name}"
        Console().print(format_table(metrics, title, parts["module"].metrics.score_threshold))
        if len(classes) > 1:
            Console().print(class_table(classes, rows))
        say(f"all figures in [bold]{path}[/]")


def measure(trainer: pl.Trainer, parts: dict[str, Any], collect: bool) -> dict[str, float]:
    """Figures on the validation split; ``parts["frames"]`` is then every detection, if they are to be collected."""
    module: DetectionModule = parts["module"]
    module.collect = collect
    trainer.validate(module, datamodule=parts["datamodule"], verbose=False)
    return taken(parts)


def taken(parts: dict[str, Any]) -> dict[str, float]:
    """The figures of the module's last validation; ``parts["frames"]`` is what it collected."""
    module: DetectionModule = parts["module"]
    if module.collected is not None:
        parts["frames"], module.collected = module.collected.frames(), None
    return dict(module.results)


def report(cfg: DictConfig, overrides: Sequence[str], parts: dict[str, Any], runs: Sequence[Run]) -> Path:
    """Writes the evaluated frames, the detections of the first of ``runs``, and a page on all of them; its path."""
    output, dataset = Path(cfg.paths.output_dir), parts["datamodule"].val_dataset
    write_ground_truth(output / "ground_truth.json", runs[0].frames, dataset, parts["datamodule"].classes)
    write_predictions(output / "predictions.json", runs[0].frames)
    return page_on(cfg, overrides, runs, dataset, parts["module"].metrics, parts["datamodule"].classes)


def page_on(
    cfg: DictConfig,
    overrides: Sequence[str],
    runs: Sequence[Run],
    dataset: ClipDataset,
    metrics: DetectionMetrics,
    classes: Sequence[str] = (),
) -> Path:
    """Writes ``report.html`` on several detectors, counted as ``metrics`` counts."""
    page = write_report(
        Path(cfg.paths.output_dir),
        runs,
        dataset,
        title=f"{cfg.name}: {cfg.dataset.name}" + (f", {len(runs)} detectors" if len(runs) > 1 else ""),
        threshold=metrics.score_threshold,
        rule=metrics.rule,
        within_class=metrics.within_class,
        command=command_line(overrides),
        classes=classes,
    )
    say(f"report in [bold]{page}[/]")
    return page


@rank_zero_only
def say(text: str) -> None:
    """A line for the person at the terminal, from the first process only.

    What stands between ``[bold]`` and ``[/]`` is set off; nothing else in it is markup, since paths may hold brackets.
    """
    Console(soft_wrap=True).print(emphasised(text), highlight=False)
