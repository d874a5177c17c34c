"""What the app does: a Hydra config in, results out. The only file that knows Hydra's config.

Each stage returns ``(metrics, objects)``: figures by name, and what was built, so that tests and notebooks can go on.
"""

from __future__ import annotations

import copy
import logging
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console

from tdcnet.callbacks import EMA, PredictionWriter, Reparam, Visualize
from tdcnet.data.clips import collate
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.deploy import formats, graph, quantize
from tdcnet.deploy.backends import GRAPHS, OpenVINO, read_info
from tdcnet.deploy.weights import Weights, load_into, read_weights
from tdcnet.detection import DetectionModule
from tdcnet.metrics import FrameCollector, format_table
from tdcnet.models import Detector
from tdcnet.models.detector import STREAMS
from tdcnet.models.single_stream import single_stream
from tdcnet.report import Run, write_report
from tdcnet.report.exchange import read_masks, read_predictions, write_ground_truth, write_predictions
from tdcnet.results import write_atomically, write_metrics

log = logging.getLogger(__name__)
# Lightning tells at every start which devices it does not use, and recommends products.
logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)

Results = tuple[dict[str, float], dict[str, Any]]

OmegaConf.register_new_resolver("count", len, replace=True)
OmegaConf.register_new_resolver(
    "channels_2d", lambda channels, frames, differences: channels * (frames if differences else 1), replace=True
)

# Of the command line a checkpoint was trained with, what does not carry over to its evaluation.
NOT_INHERITED = ("stage", "ckpt_path", "source", "backend", "trainer", "logger", "callbacks", "paths", "hydra", "seed")


FROM_CHECKPOINT = ("eval", "deploy", "predict")
"""Stages that take ``ckpt_path`` and its weights."""


def run(cfg: DictConfig, overrides: Sequence[str] = ()) -> Results:
    """Runs the stage that the config names.

    Args:
        cfg: the composed config.
        overrides: of the command line; they go into checkpoints, so that one alone can be evaluated later.
    """
    stage: Callable[..., Results] = hydra.utils.get_method(cfg.stage._target_)
    if _backend(cfg) and cfg.stage.name not in ("eval", "predict"):
        raise ValueError(f"stage={cfg.stage.name} runs in PyTorch only; backend= is for stage=eval and stage=predict")
    if cfg.stage.name not in FROM_CHECKPOINT:
        return stage(cfg, overrides)
    if cfg.ckpt_path is None:
        return stage(cfg, overrides, None)  # a detector without learning needs none
    weights = read_info(cfg.ckpt_path) if _backend(cfg) else read_weights(cfg.ckpt_path)
    return stage(*_inherit(cfg, weights, list(overrides)), weights)


# -- the stages -------------------------------------------------------------------------------------------------------


def train(cfg: DictConfig, overrides: Sequence[str] = ()) -> Results:
    """Trains, from ``ckpt_path`` on if that is given, then evaluates the best checkpoint."""
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    parts = _build(cfg, overrides)
    if cfg.stage.get("staged"):
        _pretrain_backbones(cfg, parts["module"], parts["datamodule"])
    trainer = _trainer(cfg)
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
        _load(parts["module"], read_weights(best), best)
        log.info("evaluating %s", best)
    metrics = _validate(cfg, trainer, parts)
    if cfg.stage.get("report") and trainer.is_global_zero:
        parts["report"] = _report(cfg, overrides, parts, [Run(cfg.name, parts["frames"], metrics)])
    return metrics, {**parts, "ckpt_path": best or None}


def evaluate(cfg: DictConfig, overrides: Sequence[str], weights: Weights | None) -> Results:
    """Evaluates ``ckpt_path`` on the validation split and writes a report, with others beside it if asked for.

    ``stage.compare`` lists checkpoints, COCO results of other detectors on the same frames (``ground_truth.json``), or
    folders of their masks; ``stage.strides`` other distances between a clip's frames.
    """
    others, strides = cfg.stage.get("compare") or (), cfg.stage.get("strides") or ()
    if (others or strides) and not cfg.stage.get("report"):
        raise ValueError("stage.compare and stage.strides are shown in the report; leave stage.report=true")
    parts = _build(cfg, overrides, weights, ready=True)
    parts["trainer"] = trainer = _trainer(cfg, without=(pl.callbacks.ModelCheckpoint, EMA))
    metrics = _validate(cfg, trainer, parts)
    if not cfg.stage.get("report"):
        return metrics, parts
    runs = [Run(_label(cfg), parts["frames"], metrics)]
    for other in others:
        runs.append(_compared(cfg, Path(other), parts, runs))
    for stride in strides:
        apart = copy.deepcopy(cfg)
        apart.dataset.stride = stride
        runs.append(_run(apart, weights, _unique(f"{_label(cfg)}, stride {stride}", runs)))
    if trainer.is_global_zero:
        parts["report"] = _report(cfg, overrides, parts, runs)
    return metrics, parts


def deploy(cfg: DictConfig, overrides: Sequence[str], weights: Weights | None) -> Results:
    """Re-parameterises ``ckpt_path``, evaluates it, and exports it to the run's ``deploy`` folder.

    Raises:
        ReparamError: if the deploy form computes something else; nothing is exported then.
        ExportError: if a graph for another runtime does, after all else is exported.
    """
    wanted = formats.chosen(_plain(cfg.stage.formats))
    parts = _build(cfg, overrides, weights, ready=True)
    folder = Path(cfg.paths.output_dir) / "deploy"
    reparam = Reparam(str(folder), cfg.stage.tolerance, cfg.stage.clips, keep_inputs=bool(wanted))
    parts["trainer"] = _trainer(cfg, without=(pl.callbacks.ModelCheckpoint, EMA), extra=[reparam])
    metrics = _validate(cfg, parts["trainer"], parts)
    _say(
        f"exported to [bold]{folder}[/]: {', '.join(sorted(p.name for p in folder.iterdir()))}; raw outputs differ by "
        f"at most {reparam.difference:.2g} from the training form's on {reparam.compared} clips"
    )
    if not wanted and cfg.stage.formats == "auto":
        _say("no graphs for other runtimes: pip install -c constraints.txt -e '.\\[export]' brings what they need")
    graphs = _graphs(cfg, parts, reparam, wanted, metrics) if wanted else {}
    return metrics, {**parts, "folder": folder, "difference": reparam.difference, **graphs}


def _graphs(
    cfg: DictConfig, parts: dict[str, Any], reparam: Reparam, wanted: Sequence[str], metrics: dict[str, float]
) -> dict[str, Any]:
    """Writes the wanted graphs beside the exported weights, and into the model card how well they agree."""
    assert reparam.deployed is not None
    folder, shape = reparam.dirpath, tuple(reparam.inputs[0][1].shape[1:])
    _say(f"writing {', '.join(formats.FILES[name] for name in wanted)}, which takes minutes for a large network")
    written = formats.write_graphs(
        folder, reparam.deployed, wanted, reparam.inputs, cfg.stage.graph_tolerance, cfg.stage.opset
    )
    for name, difference in written.differences.items():
        _say(f"[bold]{folder / name}[/]: differs by at most {difference:.2g} from PyTorch on {written.compared} clips")
    int8: dict[str, dict[str, float]] = {}
    if "int8" in wanted and formats.FILES["openvino"] in written.differences:
        int8 = {"fp32": metrics, "int8": _quantized(cfg, parts, folder)}
        for name in ("AP50", "Pd", "Fa"):
            _say(f"{name} {int8['int8'][name]:.4g} in int8, {metrics[name]:.4g} in fp32")
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") + formats.describe(written, shape, cfg.stage.opset, int8)
    write_atomically(card, text.encode())
    if written.refused:
        raise graph.ExportError(f"{'; '.join(written.refused)}. What else is in {folder} is whole")
    return {"differences": written.differences, "int8": int8.get("int8")}


def _quantized(cfg: DictConfig, parts: dict[str, Any], folder: Path) -> dict[str, float]:
    """Makes the int8 graph, calibrated on training clips; its figures on the validation split."""
    module: DetectionModule = parts["module"]
    path = quantize.quantize(
        folder / formats.FILES["openvino"],
        folder / formats.FILES["int8"],
        (module.inputs(batch) for batch in _training_clips(cfg, cfg.stage.calibration)),
        _plain(cfg.stage.int8_keep),
    )
    network, results, curve = module.model, module.results, module.curve
    try:
        module.model = OpenVINO(path)  # type: ignore[assignment]
        trainer = _trainer(cfg, without=(pl.callbacks.ModelCheckpoint, EMA, Visualize))
        return _measure(trainer, parts, collect=False)
    finally:
        module.model, module.results, module.curve = network, results, curve


def _training_clips(cfg: DictConfig, count: int) -> Iterator[dict[str, Any]]:
    """Training clips spread over the split, one at a time, at the size of evaluation and without augmentation."""
    datamodule: ClipDataModule = instantiate(cfg.dataset, _convert_="all")
    datamodule.val_split, datamodule.val_step, datamodule.val_offset = datamodule.train_split, datamodule.train_step, 0
    if datamodule.align == "ahead":
        datamodule.align = "on_the_fly"  # a few clips, not all of the split
    datamodule.prepare_data()
    datamodule.setup("validate")
    clips = datamodule.val_dataset
    assert clips is not None
    spread = sorted({round(i * (len(clips) - 1) / max(1, count - 1)) for i in range(count)})
    for index in spread:
        batch = collate([clips[index]])
        if len(batch["frames"]):
            yield batch


def predict(cfg: DictConfig, overrides: Sequence[str], weights: Weights | None) -> Results:
    """Runs ``ckpt_path`` on ``source``, a video or a folder of images."""
    if cfg.source is None:
        raise ValueError("stage=predict needs source=VIDEO or source=FOLDER")
    parts = _build(cfg, overrides, weights, ready=True)
    loader = parts["datamodule"].loader_of(cfg.source)
    folder = Path(cfg.paths.output_dir) / "predictions"
    writer = PredictionWriter(str(folder), cfg.stage.fps, cfg.stage.draw_threshold, cfg.stage.sheet)
    trainer = _trainer(cfg, without=(pl.callbacks.ModelCheckpoint, EMA), extra=[writer])
    trainer.predict(parts["module"], loader, return_predictions=False)
    _say("wrote " + ", ".join(f"[bold]{path}[/]" for path in writer.files))
    return {}, {**parts, "trainer": trainer, "files": writer.files}


def demo(cfg: DictConfig, overrides: Sequence[str] = ()) -> Results:
    """Train, evaluate, deploy and predict one unseen clip, each in a folder of its own below the run's; one process."""
    output = Path(cfg.paths.output_dir)

    def step(number: int, title: str, name: str) -> DictConfig:
        rank_zero_only(Console().rule)(f"{number}/4  {title}")
        part = copy.deepcopy(cfg)
        part.paths.output_dir = str(output / name)
        return part

    metrics, parts = train(
        step(1, "training on made-up clips, then evaluation on unseen sequences", "train"), overrides
    )
    checkpoint = parts["ckpt_path"]
    weights = read_weights(checkpoint)
    _, deployed = deploy(step(2, "re-parameterisation and export", "deploy"), overrides, weights)
    exported = deployed["folder"] / "deploy.ckpt"
    again, _ = evaluate(step(3, "evaluation of the exported network", "eval"), overrides, read_weights(exported))
    sequence = parts["datamodule"].val_dataset.sequences[0]
    part = step(4, f"prediction on unseen sequence {sequence.name}", "predict")
    part.source = str(Path(sequence.frames.where(0)).parent)
    _, predicted = predict(part, overrides, read_weights(exported))

    Console().rule("done")
    _say(f"checkpoint         {checkpoint}")
    _say(f"exported network   {deployed['folder']}")
    _say(f"metrics            {output / 'train' / 'metrics.json'}")
    for path in predicted["files"]:
        _say(f"prediction         {path}")
    _say(
        f"Pd {metrics['Pd@0.1']:.3f} at 0.1 false alarms per frame on sequences it never saw"
        f" (exported form: {again['Pd@0.1']:.3f})"
    )
    return metrics, {**parts, "folder": deployed["folder"], "files": predicted["files"]}


# -- their parts ------------------------------------------------------------------------------------------------------


def _build(
    cfg: DictConfig, overrides: Sequence[str], weights: Weights | None = None, ready: bool = False
) -> dict[str, Any]:
    """Data, network and module as configured; the network with ``weights`` if given.

    Args:
        ready: the network is to be used as it is, so it needs weights if it can learn at all.
    """
    if _backend(cfg) and cfg.ckpt_path is None:
        raise ValueError(f"{_backend(cfg)} needs ckpt_path=FOLDER, the one that stage=deploy wrote, or a graph in it")
    elsewhere = {"path": cfg.ckpt_path} if _backend(cfg) else None
    model: Detector = instantiate(cfg.backend if elsewhere else cfg.model, **(elsewhere or {}), _convert_="all")
    if ready and weights is None and any(True for _ in model.parameters()):
        raise ValueError(f"stage={cfg.stage.name} needs ckpt_path=CHECKPOINT")
    datamodule: ClipDataModule = instantiate(cfg.dataset, _convert_="all")
    if elsewhere and model.num_classes != len(datamodule.classes):
        raise ValueError(
            f"{cfg.ckpt_path} tells {model.num_classes} classes apart, dataset.classes names {len(datamodule.classes)} "
            f"({', '.join(datamodule.classes)}); name those it was trained with"
        )
    info = {
        "name": str(cfg.name),
        "overrides": list(overrides),
        "model": OmegaConf.to_container(cfg.model, resolve=True),
        "dataset": str(cfg.dataset.name),
        "classes": list(datamodule.classes),
        "num_frames": datamodule.num_frames,
        "stride": datamodule.stride,
    }
    frozen: dict[str, Any] = {"freeze": []} if elsewhere else {}  # parts of a network, which a graph has not
    module: DetectionModule = instantiate(cfg.module, model=model, **frozen, _convert_="all")
    module.checkpoint_info = info
    if weights is not None and not elsewhere:
        _load(module, weights, cfg.ckpt_path)
    return {"datamodule": datamodule, "module": module}


def _backend(cfg: DictConfig) -> str | None:
    """Class of the runtime in PyTorch's place, or None for PyTorch."""
    backend = cfg.get("backend")
    return None if backend is None else backend.get("_target_")


def _plain(value: Any) -> Any:
    """A list of the config as Python's own."""
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _load(module: DetectionModule, weights: Weights, where: object) -> None:
    module.model = load_into(module.model, weights, where)


def _trainer(cfg: DictConfig, without: tuple[type, ...] = (), extra: Sequence[pl.Callback] = ()) -> pl.Trainer:
    """The configured trainer with the configured callbacks, ``extra`` ones, and none of the types in ``without``.

    A stage marked ``single`` gets one process on one device, whatever is configured.
    """
    logger = instantiate(cfg.logger) if cfg.get("logger") else False
    if not logger:
        without = (*without, pl.callbacks.LearningRateMonitor)
    callbacks = [instantiate(c, _convert_="all") for c in (cfg.get("callbacks") or {}).values() if c is not None]
    callbacks = [c for c in callbacks if not isinstance(c, without)]
    trainer: pl.Trainer = instantiate(
        cfg.trainer,
        logger=logger,
        callbacks=[*callbacks, *extra],
        **({"devices": 1, "num_nodes": 1, "strategy": "auto"} if cfg.stage.get("single") else {}),
        enable_checkpointing=any(isinstance(c, pl.callbacks.ModelCheckpoint) for c in callbacks),
        enable_model_summary=False,
        _convert_="all",
    )
    return trainer


def _validate(cfg: DictConfig, trainer: pl.Trainer, parts: dict[str, Any]) -> dict[str, float]:
    """Figures on the validation split: returned, shown as a table, and written to ``metrics.json``."""
    metrics = _measure(trainer, parts, collect=bool(cfg.stage.get("report")))
    if trainer.is_global_zero:
        path = write_metrics(Path(cfg.paths.output_dir) / "metrics.json", metrics)
        Console().print(format_table(metrics, title=f"{cfg.name}: validation split of {cfg.dataset.name}"))
        _say(f"metrics in [bold]{path}[/]")
    return metrics


def _measure(trainer: pl.Trainer, parts: dict[str, Any], collect: bool) -> dict[str, float]:
    """Figures on the validation split; ``parts["frames"]`` is then every detection, if they are to be collected."""
    module: DetectionModule = parts["module"]
    module.collected = FrameCollector() if collect else None
    trainer.validate(module, datamodule=parts["datamodule"], verbose=False)
    if module.collected is not None:
        parts["frames"], module.collected = module.collected.frames(), None
    return dict(module.results)


def _label(cfg: DictConfig) -> str:
    """A short name for what is evaluated: of its checkpoint's run, or of its kind."""
    if cfg.ckpt_path is None:
        return str(cfg.model._target_).rpartition(".")[2]
    path = Path(cfg.ckpt_path)
    folder = path.parent.parent if path.parent.name in ("checkpoints", "deploy") else path.parent
    return f"{folder.name}/{path.stem}" if folder.name else path.stem


def _compared(cfg: DictConfig, path: Path, parts: dict[str, Any], runs: Sequence[Run]) -> Run:
    """Another detector on the same frames: a checkpoint is run, COCO results and masks are read."""
    frames, name = runs[0].frames, _unique(path.stem, runs)
    if path.suffix == ".json":
        found = read_predictions(path, frames, parts["datamodule"].classes)
    elif path.is_dir() and not (path / "model.safetensors").is_file():
        found = read_masks(path, frames, parts["datamodule"].val_dataset)
    else:
        weights = read_info(path) if _backend(cfg) and path.suffix in GRAPHS else read_weights(path)
        other = copy.deepcopy(cfg)
        other.ckpt_path = str(path)
        given = [*HydraConfig.get().overrides.task] if HydraConfig.initialized() else []
        other, _ = _inherit(other, weights, given)
        other.ckpt_path = str(path)
        if path.suffix not in GRAPHS:
            other.backend = None  # a checkpoint beside a graph
        return _run(other, weights, _unique(_label(other), runs))
    return Run(name, found, parts["module"].metrics.figures(found))


def _run(cfg: DictConfig, weights: Weights | None, name: str) -> Run:
    """A network on the validation split, without files of its own."""
    parts = _build(cfg, (), weights, ready=True)
    metrics = _measure(_trainer(cfg, without=(pl.callbacks.ModelCheckpoint, EMA, Visualize)), parts, collect=True)
    datamodule: ClipDataModule = parts["datamodule"]
    return Run(name, parts["frames"], metrics, clip=(datamodule.num_frames, datamodule.stride))


def _unique(name: str, runs: Sequence[Run]) -> str:
    taken = {run.name for run in runs}
    return next(n for i in range(1, len(taken) + 2) if (n := name if i == 1 else f"{name} ({i})") not in taken)


def _report(cfg: DictConfig, overrides: Sequence[str], parts: dict[str, Any], runs: Sequence[Run]) -> Path:
    output, dataset = Path(cfg.paths.output_dir), parts["datamodule"].val_dataset
    collected = parts["module"].metrics
    write_ground_truth(output / "ground_truth.json", runs[0].frames, dataset, parts["datamodule"].classes)
    write_predictions(output / "predictions.json", runs[0].frames)
    page = write_report(
        output,
        runs,
        dataset,
        title=f"{cfg.name}: {cfg.dataset.name}",
        threshold=collected.score_threshold,
        rule=collected.rule,
        within_class=collected.within_class,
        command=command_line(overrides),
    )
    _say(f"report in [bold]{page}[/]")
    return page


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
        trainer = _trainer(part)
        trainer.fit(alone, datamodule=datamodule)
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if best:
            _load(alone, read_weights(best), best)
        getattr(model, f"backbone_{stream}").load_state_dict(getattr(alone.model, f"backbone_{stream}").state_dict())
    module.freeze_part("backbone_2d", "backbone_3d")


def _existing(path: str | None) -> str | None:
    if path is not None and not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint to resume from at {path}; ckpt_path names a .ckpt file of a training")
    return path


def _inherit(cfg: DictConfig, weights: Weights, given: list[str]) -> tuple[DictConfig, list[str]]:
    """The config that the checkpoint was trained with, and on top what the command line gives now."""

    merged = merge_overrides(weights.info.get("overrides", []), given, without=NOT_INHERITED)
    if len(merged) > len(given) and HydraConfig.initialized():
        cfg = hydra.compose("config", overrides=[o for o in merged if not override_key(o).startswith("hydra.")])
    if "model" in weights.info and not any(re.match(r"model\b", override_key(o)) for o in given):
        OmegaConf.set_struct(cfg, False)
        cfg.model = weights.info["model"]
    return cfg, merged


def override_key(override: str) -> str:
    """What a Hydra override is for: ``+a.b=c`` -> ``a.b``."""
    return override.lstrip("+~").split("=")[0]


def merge_overrides(first: Sequence[str], then: Sequence[str], without: Sequence[str] = ()) -> list[str]:
    """Both lists of Hydra overrides; the second one's where both name a key, of the first no group in ``without``."""
    named = {override_key(o) for o in then}
    kept = [o for o in first if override_key(o) not in named and re.split(r"[.@/]", override_key(o))[0] not in without]
    return [*kept, *then]


def command_line(overrides: Sequence[str]) -> str:
    """The command of a run, as one would type it."""
    return " ".join(["python", Path(sys.argv[0]).name, *map(shlex.quote, overrides)])


@rank_zero_only
def _say(text: str) -> None:
    Console(soft_wrap=True).print(text, highlight=False)
