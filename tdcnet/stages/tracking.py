"""stage=track."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from tdcnet.data import sequence as data
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.data.errors import DataError
from tdcnet.data.safe_names import safe_names
from tdcnet.data.track_ids import linked
from tdcnet.deploy.weights import Weights
from tdcnet.inference.detector import Detector
from tdcnet.metrics.matching import Frames
from tdcnet.metrics.outcomes import Outcomes, interval, paired_difference, pd_at
from tdcnet.metrics.tracks import TrackedFrame, dots, iou, track_figures, watch
from tdcnet.progress import progress_bar
from tdcnet.results import write_json
from tdcnet.shown import printable
from tdcnet.stages.parts import Results, build, say
from tdcnet.stages.prediction import detector_of, sources_of
from tdcnet.streaming.files import ArrayStream, FileStream
from tdcnet.streaming.frames import Source
from tdcnet.streaming.sinks import Sink
from tdcnet.streaming.sinks.files import CocoVid, Csv, JsonLines, Mot
from tdcnet.streaming.sinks.video import Segments
from tdcnet.tracking.stream import Tracked, TrackStream
from tdcnet.tracking.tracker import TrackerOptions

log = logging.getLogger(__name__)

BUDGETS = (1.0, 0.1, 0.05, 0.01)
"""False alarms per frame at which Pd is told."""


def track(cfg: DictConfig, overrides: Sequence[str], weights: Weights | None) -> Results:
    """Tracks targets through every ``source``, or through the validation clips of a data set, whose figures it tells.

    Raises:
        DataError: if a source cannot be read, after all others are done.
    """
    parts = build(cfg, overrides, weights, ready=True)
    detector: Detector = detector_of(cfg, parts)
    options: TrackerOptions = hydra.utils.instantiate(cfg.stage.tracker)
    if cfg.source not in (None, [], ""):
        return {}, {**parts, "detector": detector, "files": _sources(cfg, detector, options)}
    figures = _labelled(cfg, parts["datamodule"], detector, options)
    return figures, {**parts, "detector": detector}


def tracks_of(cfg: DictConfig, detector: Detector, source: Source, options: TrackerOptions) -> TrackStream:
    """The configured detector's tracks of a source, of stage=track and stage=live."""
    align = cfg.dataset.get("align_model", "homography") if cfg.dataset.get("align", "ahead") != "none" else False
    return detector.track(source, options, align=align, tile=cfg.stage.tile, scale=cfg.stage.scale)


def _sources(cfg: DictConfig, detector: Detector, options: TrackerOptions) -> list[Path]:
    folder, files, failed = Path(cfg.paths.output_dir) / "tracks", [], []
    paths = sources_of(cfg.source, "track")
    names = safe_names(Path(path).stem or Path(path).resolve().stem for path in paths)
    with progress_bar(cfg.callbacks.get("progress_bar") is None, unit="frames") as bar:
        for path, name in zip(paths, names, strict=True):
            sinks: dict[str, Sink] = {}
            task = bar.add_task(printable(name), total=None)
            ids: set[int] = set()
            try:
                source = FileStream(path, rate=cfg.stage.rate)
                sinks = _sinks(cfg, folder, name, source.rate)
                with tracks_of(cfg, detector, source, options) as stream:
                    for tracked in stream:
                        for sink in sinks.values():
                            sink.add(tracked, ())
                        ids |= {each.id for each in tracked.confirmed}
                        bar.advance(task)
            except DataError as error:
                if len(paths) == 1:
                    raise
                log.error("%s", error)
                failed.append(path)
            finally:
                for sink in sinks.values():
                    sink.close()
            made = [each.path for each in sinks.values() if isinstance(each, JsonLines | Csv | Mot | CocoVid)]
            made += [file for each in sinks.values() if isinstance(each, Segments) for file in each.files]
            say(f"{name}: {len(ids)} tracks; wrote " + ", ".join(f"[bold]{file}[/]" for file in made))
            files += made
    if failed:
        raise DataError(f"{len(failed)} of {len(paths)} sources could not be read: {', '.join(map(printable, failed))}")
    return files


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


def _labelled(
    cfg: DictConfig, datamodule: ClipDataModule, detector: Detector, options: TrackerOptions
) -> dict[str, float]:
    recordings = datamodule.val_recordings()
    truth: list[list[TrackedFrame]] = []
    times: list[list[float]] = []
    found: list[dict[str, Any]] = []
    linked_by_distance = False
    with progress_bar(cfg.callbacks.get("progress_bar") is None, unit="frames") as bar:
        task = bar.add_task("tracking", total=sum(len(each) for each in recordings))
        for recording in recordings:
            ids, alone = linked(recording.boxes)
            linked_by_distance |= not alone
            frames, at = [], []
            inside = set(recording.indices.tolist())
            for tracked in _tracked(cfg, recording, detector, options):
                index = tracked.frame.index
                bar.advance(task)
                if index not in inside:
                    continue
                confirmed = tracked.confirmed
                boxes = np.array([each.box for each in confirmed], np.float64).reshape(-1, 4)
                who = np.array([each.id for each in confirmed], np.int64)
                frames.append(TrackedFrame(ids[index], recording.boxes[index].astype(np.float64), who, boxes))
                at.append(index / 30 if tracked.frame.time is None else tracked.frame.time)
                found.append(_row(recording, tracked))
            truth.append(frames)
            times.append(at)
    if linked_by_distance:
        log.info("the data set does not tell which targets are one and the same; they were joined by distance")
    figures = _figures(truth, times, found)
    output = Path(cfg.paths.output_dir)
    write_json(output / "tracks.json", figures)
    write_json(output / "metrics.json", {k: v for k, v in figures.items() if isinstance(v, float)})
    _show(figures)
    say(f"all figures in [bold]{output / 'tracks.json'}[/]")
    return {key: value for key, value in figures.items() if isinstance(value, float)}


def _tracked(
    cfg: DictConfig, recording: data.Sequence, detector: Detector, options: TrackerOptions
) -> Iterator[Tracked]:
    rate = getattr(recording.frames, "rate", None)
    images = (np.asarray(recording.frames.read(index)) for index in range(len(recording)))
    with tracks_of(cfg, detector, ArrayStream(images, rate), options) as stream:
        yield from stream


def _row(recording: data.Sequence, tracked: Tracked) -> dict[str, Any]:
    index, seen = tracked.frame.index, tracked.seen.found
    return {
        "name": recording.name,
        "size": seen.size,
        "targets": recording.boxes[index],
        "detections": (seen.boxes, seen.scores),
        "tracks": _columns(tracked.tracks),
        "confirmed": _columns(tracked.confirmed),
    }


def _columns(tracks: Sequence[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    boxes = np.array([each.box for each in tracks], np.float32).reshape(-1, 4)
    return boxes, np.array([each.score for each in tracks], np.float32)


def _figures(
    truth: Sequence[Sequence[TrackedFrame]], times: Sequence[Sequence[float]], rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    dot = dots([frame for frames in truth for frame in frames])
    figures: dict[str, Any] = dict(track_figures(truth, iou))
    figures |= {f"{name}_dot": value for name, value in track_figures(truth, dot).items()}
    told = watch(truth, times)
    figures |= {
        "targets": float(told.targets),
        "targets_tracked": told.tracked,
        "delay_seconds": told.delay,
        "false_tracks": float(told.false_tracks),
        "false_tracks_per_minute": told.false_per_minute,
        "minutes": told.minutes,
    }
    outcomes = {what: _outcomes(rows, what) for what in ("detections", "tracks", "confirmed")}
    for budget in BUDGETS:
        for what, each in outcomes.items():
            figures[f"Pd@{budget:g}_{what}"] = pd_at(each, budget)

        def at(outcome: Outcomes, weight: Any, budget: float = budget) -> float:
            return pd_at(outcome, budget, weight)

        gain, low, high = paired_difference(outcomes["tracks"], outcomes["detections"], at)
        figures[f"Pd@{budget:g}_gain"] = gain
        figures[f"Pd@{budget:g}_gain_interval"] = [low, high]
        figures[f"Pd@{budget:g}_tracks_interval"] = list(interval(outcomes["tracks"], at))
    return figures


def _outcomes(rows: Sequence[dict[str, Any]], what: str) -> Outcomes:
    def labels(count: int) -> torch.Tensor:
        return torch.zeros(count, dtype=torch.int64)

    found = [
        {"boxes": torch.tensor(row[what][0]), "scores": torch.tensor(row[what][1]), "labels": labels(len(row[what][1]))}
        for row in rows
    ]
    targets = [
        {
            "boxes": torch.tensor(row["targets"]),
            "labels": labels(len(row["targets"])),
            "size": torch.tensor(row["size"]),
        }
        for row in rows
    ]
    return Outcomes.of(Frames.from_lists(found, targets), [row["name"] for row in rows])


SHOWN = {
    "HOTA_dot": "tracks and targets as a whole, by dot distance",
    "HOTA": "the same by IoU, which tells little of boxes of a few px",
    "AssA_dot": "how well tracks keep to their targets",
    "DetA_dot": "how well each frame's targets are found",
    "IDF1_dot": "frames in which a target has the one track that is its own",
    "MOTA_dot": "1 - misses, false and switched ones, per target",
    "IDSW_dot": "times that a target changed its track",
    "targets_tracked": "share of targets that ever had a confirmed track",
    "delay_seconds": "from a target's first frame to its confirmed track, in half of them less",
    "false_tracks_per_minute": "confirmed tracks that had no target most of the time",
}


def _show(figures: dict[str, Any]) -> None:
    table = Table(title="tracks")
    for column, justify in (("figure", "left"), ("value", "right"), ("what it is", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for name, what in SHOWN.items():
        table.add_row(name, f"{figures[name]:.3f}", what)
    for budget in BUDGETS:
        low, high = figures[f"Pd@{budget:g}_gain_interval"]
        before, after = figures[f"Pd@{budget:g}_detections"], figures[f"Pd@{budget:g}_tracks"]
        table.add_row(
            f"Pd@{budget:g}",
            f"{after:.3f}",
            f"at {budget:g} false alarms per frame; detections alone {before:.3f}, "
            f"difference {after - before:+.3f} ({low:+.3f} to {high:+.3f})",
        )
    Console().print(table)
