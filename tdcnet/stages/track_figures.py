"""The figures of stage=track on labelled recordings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console

from tdcnet.data import sequence as data
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.data.errors import Policy
from tdcnet.data.formats.common import image_size
from tdcnet.data.safe_names import safe_names
from tdcnet.data.target_ids import linked
from tdcnet.files import write_atomically
from tdcnet.inference.detector import Detector
from tdcnet.metrics.matching import Frames
from tdcnet.metrics.outcomes import Outcomes, interval, paired_difference, pd_at
from tdcnet.metrics.tracks import Similarity, TrackedFrame, dots, iou, track_figures, watch
from tdcnet.progress import progress_bar
from tdcnet.report.tracks import NAMES, Tracking, recording_rows, scores_table, tracks_table, write_page
from tdcnet.results import write_json
from tdcnet.stages.labels import label_of
from tdcnet.stages.overrides import command_line
from tdcnet.stages.parts import say
from tdcnet.streaming.files import SequenceStream
from tdcnet.streaming.frames import Source
from tdcnet.streaming.rows import mot_box, mot_rows
from tdcnet.streaming.stream import Seen
from tdcnet.tracking.evidence import Evidence
from tdcnet.tracking.stream import Tracked, TrackStream, follow
from tdcnet.tracking.tracker import Tracker, TrackerOptions, TrackPoint

log = logging.getLogger(__name__)

BUDGETS = (1.0, 0.1, 0.05, 0.01)
"""False alarms per frame at which Pd is told."""
SCORES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of tracks, from which on they could be confirmed instead of from the one given."""
NO_PICTURE: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)

TrackSource = Callable[[Source], TrackStream]


@dataclass(frozen=True, eq=False)
class _Followed:
    """A recording's frames of the split, which targets they have, what was detected, and the tracks."""

    recording: data.Sequence
    ids: list[NDArray[np.int64]]
    seen: list[Seen]
    tracks: list[list[TrackPoint]]

    def of_split(self) -> Iterator[Tracked]:
        """Those of its frames that belong to the split."""
        inside = set(self.recording.indices.tolist())
        for seen, tracks in zip(self.seen, self.tracks, strict=True):
            if seen.frame.index in inside:
                yield Tracked(seen, tracks)

    def frames(self) -> tuple[list[TrackedFrame], list[float]]:
        """With the confirmed tracks, and their times in seconds."""
        frames, times = [], []
        for tracked in self.of_split():
            index, confirmed = tracked.frame.index, tracked.confirmed
            boxes, _ = _columns(confirmed)
            who = np.array([each.id for each in confirmed], np.int64)
            targets = self.recording.boxes[index].astype(np.float64)
            frames.append(TrackedFrame(self.ids[index], targets, who, boxes.astype(np.float64)))
            times.append(index / 30 if tracked.frame.time is None else tracked.frame.time)
        return frames, times

    def rows(self) -> Iterator[dict[str, Any]]:
        """Targets and what was found of them, frame by frame."""
        for tracked in self.of_split():
            found = tracked.seen.found
            yield {
                "name": self.recording.name,
                "size": found.size,
                "targets": self.recording.boxes[tracked.frame.index],
                "detections": (found.boxes, found.scores),
                "tracks": _columns(tracked.tracks),
                "confirmed": _columns(tracked.confirmed),
            }

    def again(self, tracker: Tracker) -> _Followed:
        """With other tracks."""
        return replace(self, tracks=[tracked.tracks for tracked in follow(self.seen, tracker)])


def labelled(
    cfg: DictConfig,
    overrides: Sequence[str],
    datamodule: ClipDataModule,
    detector: Detector,
    options: TrackerOptions,
    tracks_of: TrackSource,
) -> dict[str, float]:
    """Tracks through the validation clips; writes and tells the figures.

    Args:
        cfg: of the run.
        overrides: of the command line, shown in the report.
        datamodule: whose clips.
        detector: what detects.
        options: of the tracker.
        tracks_of: gives the tracks of a source.
    """
    recordings = datamodule.val_recordings()
    _tell_scale(recordings, datamodule.size, detector)
    followed = _follow_all(cfg, datamodule, recordings, tracks_of)
    rows = [row for each in followed for row in each.rows()]
    outcomes = {what: _outcomes(rows, what) for what in NAMES}
    pairs = [each.frames() for each in followed]
    truth, times = [frames for frames, _ in pairs], [at for _, at in pairs]
    figures, similarity = _figures(truth, times, outcomes)
    figures["by_score"] = by_score(followed, options, Evidence.of_threshold(detector.threshold))
    told = Tracking(figures, BUDGETS, outcomes, [each.recording.name for each in followed], truth, times)
    output = Path(cfg.paths.output_dir)
    numbers = {key: value for key, value in figures.items() if isinstance(value, float)}
    write_json(output / "tracks.json", figures)
    write_json(output / "metrics.json", numbers)
    Console().print(tracks_table(told))
    Console().print(scores_table(told))
    title = f"{label_of(cfg)} tracked: {cfg.dataset.name}"
    page, _ = write_page(output, told, recording_rows(told, similarity), title=title, command=command_line(overrides))
    folder = _write_tracks(output / "tracks", followed)
    say(f"all figures in [bold]{output / 'tracks.json'}[/], shown in [bold]{page}[/], tracks in [bold]{folder}[/]")
    return numbers


def _tell_scale(recordings: Sequence[data.Sequence], size: tuple[int, int], detector: Detector) -> None:
    """Says if frames are scaled otherwise than in an evaluation, of which figures of detections would be others."""
    for height, width in {image_size(each.frames) for each in recordings}:
        evaluated, here = min(size[0] / height, size[1] / width), detector.record.scale or 1.0
        if abs(evaluated / here - 1) > 0.01:
            log.warning(
                "frames of %dx%d px are looked at in %g of their size, as stage=predict does; stage=eval scales them "
                "by %g (dataset.size), so that its figures are others",
                *(width, height, here, evaluated),
            )


def _write_tracks(folder: Path, followed: Sequence[_Followed]) -> Path:
    """The confirmed tracks of each recording as MOTChallenge text, and its targets as that has them."""
    names = safe_names(each.recording.name for each in followed)
    for name, each in zip(names, followed, strict=True):
        tracks, targets = [], []
        for tracked in each.of_split():
            index = tracked.frame.index
            tracks += mot_rows(tracked, index + 1)
            for target, box in zip(each.ids[index], each.recording.boxes[index].tolist(), strict=True):
                targets.append(f"{index + 1},{target + 1},{mot_box(box)},1,1,1")
        for path, lines in ((folder / f"{name}.txt", tracks), (folder / "gt" / f"{name}.txt", targets)):
            write_atomically(path, "".join(f"{line}\n" for line in lines).encode())
    return folder


def by_score(followed: Sequence[_Followed], options: TrackerOptions, evidence: Evidence) -> list[dict[str, float]]:
    """What an operator asks, for scores from which on a track is confirmed."""
    least = evidence.threshold if options.score is None else options.score
    rows = []
    for score in sorted({least, *SCORES}):
        if score >= least:
            how = replace(options, score=score)
            others = followed if score == least else [each.again(Tracker(how, evidence)) for each in followed]
            pairs = [each.frames() for each in others]
            told = watch([frames for frames, _ in pairs], [at for _, at in pairs])
            rows.append(
                {
                    "score": score,
                    "targets_tracked": told.tracked,
                    "delay_seconds": told.delay,
                    "false_tracks": float(told.false_tracks),
                    "false_tracks_per_minute": told.false_per_minute,
                }
            )
    return rows


def _follow_all(
    cfg: DictConfig, datamodule: ClipDataModule, recordings: Sequence[data.Sequence], tracks_of: TrackSource
) -> list[_Followed]:
    followed, linked_by_distance = [], False
    with progress_bar(cfg.callbacks.get("progress_bar") is None, unit="frames") as bar:
        task = bar.add_task("tracking", total=sum(len(each) for each in recordings))
        for recording in recordings:
            ids, alone = recording.target_ids, True
            if ids is None:
                ids, alone = linked(recording.boxes)
            linked_by_distance |= not alone
            seen, tracks = [], []
            for tracked in _tracked(recording, tracks_of, datamodule.on_bad_frame):
                bar.advance(task)
                seen.append(replace(tracked.seen, frame=replace(tracked.frame, image=NO_PICTURE, given=None)))
                tracks.append(tracked.tracks)
            followed.append(_Followed(recording, ids, seen, tracks))
    if linked_by_distance:
        log.info("the data set does not tell which targets are one and the same; they were joined by distance")
    return followed


def _tracked(recording: data.Sequence, tracks_of: TrackSource, on_bad_frame: Policy) -> Iterator[Tracked]:
    with tracks_of(SequenceStream(recording, None, on_bad_frame)) as stream:
        yield from stream


def _columns(tracks: Sequence[TrackPoint]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    boxes = np.array([each.box for each in tracks], np.float32).reshape(-1, 4)
    return boxes, np.array([each.score for each in tracks], np.float32)


def _figures(
    truth: Sequence[Sequence[TrackedFrame]], times: Sequence[Sequence[float]], outcomes: dict[str, Outcomes]
) -> tuple[dict[str, Any], Similarity]:
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
    for budget in BUDGETS:
        for what, each in outcomes.items():
            figures[f"Pd@{budget:g}_{what}"] = pd_at(each, budget)

        def at(outcome: Outcomes, weight: Any, budget: float = budget) -> float:
            return pd_at(outcome, budget, weight)

        gain, low, high = paired_difference(outcomes["tracks"], outcomes["detections"], at)
        figures[f"Pd@{budget:g}_gain"] = gain
        figures[f"Pd@{budget:g}_gain_interval"] = [low, high]
        figures[f"Pd@{budget:g}_tracks_interval"] = list(interval(outcomes["tracks"], at))
    return figures, dot


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
