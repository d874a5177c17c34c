"""stage=track."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import DictConfig
from rich.progress import Progress

from tdcnet.data.errors import DataError
from tdcnet.data.names import naming
from tdcnet.data.safe_names import safe_names
from tdcnet.deploy.weights import Weights
from tdcnet.finite import number
from tdcnet.inference.detector import Detector
from tdcnet.processors import processors
from tdcnet.progress import progress_bar
from tdcnet.shown import printable
from tdcnet.stages.overrides import override_key
from tdcnet.stages.parts import Results, build, say
from tdcnet.stages.prediction import detector_of, sources_of
from tdcnet.stages.track_figures import labelled
from tdcnet.streaming.files import EveryFrame, FileStream
from tdcnet.streaming.frames import Source
from tdcnet.streaming.sinks import Sink
from tdcnet.streaming.sinks.files import CocoVid, Csv, JsonLines, Mot
from tdcnet.streaming.sinks.video import Segments
from tdcnet.tracking.stream import TrackStream
from tdcnet.tracking.tracker import TrackerOptions

log = logging.getLogger(__name__)


def track(cfg: DictConfig, overrides: Sequence[str], weights: Weights | None) -> Results:
    """Tracks targets through every ``source``, or through the validation clips of a data set, whose figures it tells.

    Raises:
        DataError: if a source cannot be read, after all others are done.
    """
    use_threads(cfg.stage.threads)
    parts = build(cfg, overrides, weights, ready=True)
    detector: Detector = detector_of(cfg, parts)
    options: TrackerOptions = hydra.utils.instantiate(cfg.stage.tracker)
    if cfg.source not in (None, [], ""):
        return {}, {**parts, "detector": detector, "files": _sources(cfg, detector, options, parts["datamodule"].names)}
    if not any(override_key(each).startswith("dataset") for each in overrides) and not Path(cfg.dataset.root).is_dir():
        raise ValueError(
            "stage=track needs a source, tdcnet track clip.mp4; or labelled clips, whose figures it tells: "
            f"dataset=NAME dataset.root=PATH (there is no folder {cfg.dataset.root})"
        )
    figures = labelled(
        cfg, overrides, parts["datamodule"], detector, options, lambda source: tracks_of(cfg, detector, source, options)
    )
    return figures, {**parts, "detector": detector}


def use_threads(wanted: int | None) -> None:
    """Threads of the network, where registration runs beside it.

    Args:
        wanted: None for one fewer than there are processors: with as many as these each of its layers waits for the one
            that registration holds up. ``OMP_NUM_THREADS`` goes before that.

    Raises:
        ValueError: if that is no number of threads.
    """
    if wanted is not None:
        number("stage.threads", wanted, 1, 1024)
        torch.set_num_threads(int(wanted))
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, processors() - 1))


def tracks_of(cfg: DictConfig, detector: Detector, source: Source, options: TrackerOptions) -> TrackStream:
    """The configured detector's tracks of a source, of stage=track and stage=live."""
    align = cfg.dataset.get("align_model", "homography") if cfg.dataset.get("align", "ahead") != "none" else False
    return detector.track(source, options, align=align, tile=cfg.stage.tile, scale=cfg.stage.scale)


def _sources(cfg: DictConfig, detector: Detector, options: TrackerOptions, named: Any) -> list[Path]:
    folder, files, failed = Path(cfg.paths.output_dir) / "tracks", [], []
    paths = sources_of(cfg.source, "track")
    if cfg.stage.rate is not None:
        number("rate", cfg.stage.rate, 0, 10_000, above=True)
    names: list[str] = []
    with naming(named), progress_bar(cfg.callbacks.get("progress_bar") is None, unit="frames") as bar:
        for path in paths:
            try:
                for source in FileStream(path, rate=cfg.stage.rate).each():
                    video = isinstance(source, FileStream)
                    names.append((Path(source.name).stem if video else source.name) or "frames")
                    files += _one(cfg, detector, options, source, folder, safe_names(names)[-1], bar)
            except DataError as error:
                if len(paths) == 1:
                    raise
                log.error("%s", error)
                failed.append(path)
    if failed:
        raise DataError(f"{len(failed)} of {len(paths)} sources could not be read: {', '.join(map(printable, failed))}")
    return files


def _one(
    cfg: DictConfig,
    detector: Detector,
    options: TrackerOptions,
    source: EveryFrame,
    folder: Path,
    name: str,
    bar: Progress,
) -> list[Path]:
    """Tracks of one recording; the files that hold them."""
    if source.rate is None:
        log.info("%s: nothing tells how many frames a second there are; 30 are taken (--rate N tells others)", name)
    task, ids = bar.add_task(printable(name), total=source.length), set[int]()
    sinks = _sinks(cfg, folder, name, source.rate)
    try:
        with tracks_of(cfg, detector, source, options) as stream:
            for tracked in stream:
                for sink in sinks.values():
                    sink.add(tracked, ())
                ids |= {each.id for each in tracked.confirmed}
                bar.advance(task)
    finally:
        for sink in sinks.values():
            sink.close()
    made = [each.path for each in sinks.values() if isinstance(each, JsonLines | Csv | Mot | CocoVid)]
    made += [file for each in sinks.values() if isinstance(each, Segments) for file in each.files]
    tracks = "1 track" if len(ids) == 1 else f"{len(ids)} tracks"
    say(f"{name}: {tracks}; wrote " + ", ".join(f"[bold]{file.name}[/]" for file in made) + f" in [bold]{folder}[/]")
    return made


def _sinks(cfg: DictConfig, folder: Path, name: str, rate: float | None) -> dict[str, Sink]:
    folder.mkdir(parents=True, exist_ok=True)
    for ending in ("csv", "jsonl"):
        (folder / f"{name}.{ending}").unlink(missing_ok=True)
    sinks: dict[str, Sink] = {
        "MOT": Mot(folder / f"{name}.txt"),
        "CSV": Csv(folder / f"{name}.csv"),
        "JSON": JsonLines(folder / f"{name}.jsonl"),
        "COCO": CocoVid(folder / f"{name}.json"),
    }
    if cfg.stage.video:
        sinks["video"] = Segments(folder / "video", rate=rate or 30.0, seconds=1e9)
    return sinks
