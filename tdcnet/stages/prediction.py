"""stage=predict."""

from __future__ import annotations

import glob
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.progress import Progress

from tdcnet.data.datamodule import ClipDataModule
from tdcnet.data.errors import DataError
from tdcnet.data.folders import videos_in
from tdcnet.data.names import naming
from tdcnet.data.safe_names import safe_names
from tdcnet.deploy.fold import reparameterize
from tdcnet.deploy.record import Record
from tdcnet.deploy.weights import Weights
from tdcnet.inference.detector import Detector
from tdcnet.inference.predictions import Prediction, Predictions
from tdcnet.inference.writer import PredictionWriter
from tdcnet.progress import progress_bar
from tdcnet.shown import printable
from tdcnet.stages.overrides import override_key
from tdcnet.stages.parts import Results, build, plain, say
from tdcnet.streaming.addresses import without_password

log = logging.getLogger(__name__)


def predict(cfg: DictConfig, overrides: Sequence[str], weights: Weights | None) -> Results:
    """Runs ``ckpt_path`` on every ``source``: a video, a stack, or a folder of images, of one recording or of several.

    Raises:
        DataError: if a source cannot be read, after all others are done.
    """
    paths = sources_of(cfg.source, "predict")
    parts = build(cfg, overrides, weights, ready=True)
    detector, datamodule = detector_of(cfg, parts), parts["datamodule"]
    files: list[Path] = []
    failed: list[str] = []
    names: list[str] = []
    with naming(datamodule.names), progress_bar(cfg.callbacks.get("progress_bar") is None, unit="frames") as bar:
        for path in paths:
            try:
                for prediction in _predictions(cfg, overrides, detector, datamodule, path).recordings():
                    names.append(prediction.name)
                    files += _write(cfg, prediction, safe_names(names)[-1], bar)
            except DataError as error:
                if len(paths) == 1:
                    raise
                log.error("%s", error)
                failed.append(path)
    if failed:
        raise DataError(f"{len(failed)} of {len(paths)} sources could not be read: {', '.join(map(printable, failed))}")
    return {}, {**parts, "detector": detector, "files": files}


def sources_of(given: Any, stage: str) -> list[str]:
    """Paths of the sources, patterns as what they find, and folders of videos as these.

    Args:
        given: of the config.
        stage: for messages.

    Raises:
        ValueError: if there is none, or it is no file.
        DataError: if a pattern finds nothing.
    """
    given = plain(given)
    if given in (None, [], ""):
        raise ValueError(
            f"stage={stage} needs a source: tdcnet {stage} clip.mp4, or source=[A,B] with videos and folders"
        )
    found: list[str] = []
    empty: list[str] = []
    for each in given if isinstance(given, list) else [given]:
        if not isinstance(each, str) or "://" in each or (each.isdecimal() and not Path(each).exists()):
            told = without_password(each) if isinstance(each, str) and "://" in each else each
            raise ValueError(
                f"source={told} is a camera or a stream, which `tdcnet live` watches; give a video "
                f"file or a folder of images (source=./{told} where a folder is called so)"
            )
        matches = sorted(glob.glob(each)) if any(mark in each for mark in "*?[") and not Path(each).exists() else [each]
        empty += [] if matches else [each]
        for match in matches or [each]:  # which is told in its turn, and does not stop the others
            try:
                videos = videos_in(Path(match)) if Path(match).is_dir() else []
            except OSError:  # which is told in its turn, too
                videos = []
            found += map(str, videos) if videos else [match]
    if len(empty) == len(found):
        raise DataError(f"source={empty[0]} finds no file; a pattern such as 'clips/*.mp4' goes in quotes")
    once = list(dict.fromkeys(found))
    if len(once) < len(found):
        log.info("%d sources are named more than once, and are looked at once", len(found) - len(once))
    return once


def detector_of(cfg: DictConfig, parts: dict[str, Any]) -> Detector:
    """The configured network as it is used, on the configured device."""
    module = parts["module"]
    network = module.model
    if not cfg.get("backend"):
        network = reparameterize(network)
    detector = Detector(network.eval(), Record.of(module.checkpoint_info, "this run"), str(cfg.name))
    detector.nms_iou, detector.max_detections = module.nms_iou, module.max_detections
    if str(cfg.trainer.get("precision", "32-true")) not in ("32-true", "32"):
        log.warning("trainer.precision=%s is not used: stage=predict computes in float32", cfg.trainer.precision)
    accelerator = str(cfg.trainer.get("accelerator", "auto"))
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ValueError(f"trainer.accelerator={accelerator}: PyTorch sees no GPU here; give trainer=cpu")
    on_gpu = accelerator != "cpu" and torch.cuda.is_available() and not cfg.get("backend")
    return detector.to("cuda" if on_gpu else "cpu")


def _predictions(
    cfg: DictConfig, overrides: Sequence[str], detector: Detector, datamodule: ClipDataModule, path: str
) -> Predictions:
    given = {override_key(override) for override in overrides}
    threshold = cfg.stage.threshold
    if threshold is None and "module.score_threshold" in given:
        threshold = cfg.module.score_threshold
    return detector.predict(
        path,
        threshold,
        tile=cfg.stage.tile,
        scale=cfg.stage.scale,
        stride=datamodule.stride if "dataset.stride" in given else None,
        align=False if datamodule.align == "none" else datamodule.align_model,
        on_bad_frame=datamodule.on_bad_frame,
        cache_dir=datamodule.cache_dir,
    )


def _write(cfg: DictConfig, prediction: Prediction, name: str, bar: Progress) -> list[Path]:
    """The files of a recording."""
    task = bar.add_task(printable(prediction.name), total=prediction.length)
    folder, count = Path(cfg.paths.output_dir) / "predictions", 0
    least = cfg.stage.draw_threshold
    with PredictionWriter(folder, prediction, name, cfg.stage.fps, least, cfg.stage.sheet, cfg.stage.video) as writer:
        for frame, found in prediction:
            writer.add(frame, found)
            count += len(found)
            bar.advance(task)
    say(
        f"{prediction.name}: {count} detections from a score of {prediction.threshold:.3g} on; wrote "
        + ", ".join(f"[bold]{path}[/]" for path in writer.files)
    )
    if prediction.missing:
        told = Path(cfg.paths.output_dir) / "bad_frames.txt"
        with told.open("a", encoding="utf-8") as file:
            file.writelines(f"{printable(message)}\n" for message in prediction.missing)
        log.warning("%s: %d frames could not be read: see %s", prediction.name, len(prediction.missing), told)
    return writer.files
