"""The report of an evaluation: one page that opens without a network, and its tables as CSV."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.clips import ClipDataset
from tdcnet.data.errors import DataError
from tdcnet.data.targets import SIZE_BINS, sides, signal_to_clutter, speeds
from tdcnet.files import write_atomically
from tdcnet.metrics.breakdown import EQUAL, Row, Scored, by_attribute, by_protocol, by_sequence
from tdcnet.metrics.by_class import by_class, confusion
from tdcnet.metrics.matching import Floats, Frames, Ints, match_frames
from tdcnet.metrics.outcomes import (
    Outcomes,
    at_threshold,
    average_precision,
    interval,
    paired_difference,
    pd_at,
    roc_area,
)
from tdcnet.metrics.pd_fa import BUDGETS
from tdcnet.metrics.rules import Rule
from tdcnet.report import plots
from tdcnet.report.strips import Case, strip, worst_false_alarms, worst_misses
from tdcnet.report.templates import render
from tdcnet.shown import csv_text

SCR_EDGES = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0, math.inf)
SPEED_EDGES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, math.inf)
GAP_EDGES = (0, 1, 2, 3, 5, 9, 17, 33, 65, math.inf)
SIZE_EDGES = (*(low for _, low, _ in SIZE_BINS), math.inf)
ATTRIBUTES = {
    "side": (SIZE_EDGES, "side of the target, px"),
    "scr": (SCR_EDGES, "signal-to-clutter ratio"),
    "speed": (SPEED_EDGES, "speed in the image, px per frame"),
    "gap": (GAP_EDGES, "frame gap, from the oldest to the newest of the clip"),
}

QUALITY = 85
"""Of the pictures, of 100; noise is most of what they hold."""


@dataclass(frozen=True, eq=False)
class Run:
    """A detector's results on the evaluated frames.

    Attributes:
        name: to show.
        frames: with its detections.
        metrics: its figures.
        clip: frames of the clips that it saw and the distance from one to the next; None if it is as the data set's.
    """

    name: str
    frames: Frames
    metrics: Mapping[str, float]
    clip: tuple[int, int] | None = None


def write_report(
    folder: Path,
    runs: Sequence[Run],
    dataset: ClipDataset,
    *,
    title: str,
    threshold: float = 0.5,
    rule: Rule | None = None,
    within_class: bool = False,
    command: str = "",
    samples: int = 300,
    pictures: int = 12,
    classes: Sequence[str] = (),
) -> Path:
    """Writes ``report.html`` and the CSV tables.

    Args:
        folder: to write to.
        runs: one detector, or several on the same frames; the others are compared with the first.
        dataset: the evaluated clips; image ids of the frames are its items.
        title: of the page.
        threshold: score from which on a detection counts in what is told at a threshold; of several detectors each is
            told at its own score for 0.1 false alarms per frame instead.
        rule: what may match, see :mod:`tdcnet.metrics.rules`.
        within_class: a detection hits only targets of its class.
        command: that made it, shown on the page.
        samples: of the bootstrap.
        pictures: of misses, and of false alarms, of the first detector.
        classes: names by label; of several each is told, too, and which is taken for which.

    Returns:
        The page.

    Raises:
        ValueError: if there is no run, two have the same name, or they are not of the same frames.
    """
    names = [run.name for run in runs]
    if not runs or len(set(names)) < len(names):
        raise ValueError(f"runs are {names}; expected one or more, of different names")
    if any(not np.array_equal(run.frames.image_ids, runs[0].frames.image_ids) for run in runs):
        raise ValueError("the runs are of different frames; evaluate all on the same ones")
    sequences, attributes = describe(runs[0].frames, dataset)
    seen = {run.name: attributes | {"gap": gaps(run.frames, dataset, run.clip)} for run in runs}
    common = threshold if len(runs) == 1 else None
    scored = {run.name: Scored.of(run.frames, sequences, seen[run.name], common, rule, within_class) for run in runs}
    outcomes = {name: each.outcomes for name, each in scored.items()}
    summary = [_summary(name, each, samples) for name, each in scored.items()]
    tables = {
        "summary": summary,
        "by_sequence": _rows({name: by_sequence(each) for name, each in scored.items()}),
        **{
            f"by_{attribute}": _rows({name: by_attribute(each, attribute, edges) for name, each in scored.items()})
            for attribute, (edges, _) in ATTRIBUTES.items()
        },
        "by_protocol": _rows(
            {run.name: by_protocol(run.frames, scored[run.name].threshold, within_class) for run in runs}
        ),
    }
    if len(classes) > 1:
        at = {name: each.threshold for name, each in scored.items()}
        named = {run.name: by_class(run.frames, classes, at[run.name], rule) for run in runs}
        tables["by_class"] = _rows(
            {name: [{"class": c} | row for c, row in zip(classes, rows, strict=True)] for name, rows in named.items()}
        )
        tables["confusion"] = _rows(
            {run.name: _confused(confusion(run.frames, classes, at[run.name], rule), classes) for run in runs}
        )
    for name, rows in tables.items():
        write_atomically(folder / f"{name}.csv", as_csv(rows))
    first, threshold = runs[0], scored[names[0]].threshold
    match = match_frames(first.frames, rule, order="score", within_class=within_class)
    moments = [dataset.locate(item)[1] for item in first.frames.image_ids.tolist()]
    misses = worst_misses(first.frames, match, threshold, attributes["scr"], sequences, pictures, moments)
    alarms = worst_false_alarms(first.frames, match, threshold, sequences, pictures, moments)
    figures = {
        "Pd over false alarms": plots.roc_figure(outcomes),
        "Precision over recall": plots.precision_recall_figure(outcomes),
        **{
            f"Pd by {name}": plots.attribute_figure(tables[f"by_{name}"], label)
            for name, (_, label) in ATTRIBUTES.items()
        },
        "By sequence": plots.sequence_figure(tables["by_sequence"]),
    }
    html = render(
        "page.html",
        title=title,
        command=command,
        told_at=f"at {EQUAL:g} false alarms per frame of each detector" if common is None else f"at score {common:g}",
        frames=len(first.frames),
        targets=len(first.frames.target_boxes),
        sequences=len(outcomes[first.name].sequences),
        metrics=_metric_rows(runs),
        names=names,
        summary=summary,
        differences=_differences(outcomes, samples),
        figures={caption: plots.as_data_uri(figure) for caption, figure in figures.items()},
        tables={key: tables[key] for key in tables if key != "summary"},
        groups=[
            ("Easiest misses", _strips(misses, first.frames, dataset, threshold, sequences)),
            ("Surest false alarms", _strips(alarms, first.frames, dataset, threshold, sequences)),
        ],
    )
    return write_atomically(folder / "report.html", html)


def describe(frames: Frames, dataset: ClipDataset) -> tuple[list[str], dict[str, Floats]]:
    """Sequence of each frame, and side (px), signal-to-clutter ratio and speed (px per frame) of each target."""
    names: list[str] = []
    scr: list[Floats] = []
    speed: list[Floats] = []
    known: dict[str, list[Floats]] = {}
    counts = np.bincount(frames.target_frames, minlength=len(frames))
    starts = np.concatenate([[0], np.cumsum(counts)])
    for at, item in enumerate(frames.image_ids.tolist()):
        sequence, t = dataset.locate(item)
        names.append(sequence.name)
        if not counts[at]:
            continue
        if sequence.name not in known:
            known[sequence.name] = speeds(sequence.boxes, sequence.segment_start)
        speed.append(known[sequence.name][t])
        try:
            scr.append(signal_to_clutter(sequence.frames.read(t), frames.target_boxes[starts[at] : starts[at + 1]]))
        except DataError:
            scr.append(np.full(counts[at], np.nan))
    nothing = [np.zeros(0)]
    return names, {
        "side": sides(frames.target_boxes),
        "scr": np.concatenate(scr or nothing),
        "speed": np.concatenate(speed or nothing),
    }


def gaps(frames: Frames, dataset: ClipDataset, clip: tuple[int, int] | None = None) -> Floats:
    """Frames from the oldest to the newest of the clip in which each target is to be found: [G].

    It is short where a recording begins: clips do not reach back before it.

    Args:
        clip: number of frames and their distance; the data set's own if None.
    """
    count, stride = clip or (dataset.num_frames, dataset.stride)
    reach = np.zeros(len(frames))
    for at, item in enumerate(frames.image_ids.tolist()):
        sequence, t = dataset.locate(item)
        reach[at] = t - sequence.clip_indices(t, count, stride)[0]
    return reach[frames.target_frames]


# -- tables -----------------------------------------------------------------------------------------------------------


def _confused(counts: Ints, classes: Sequence[str]) -> list[Row]:
    columns = [*(f"found as {name}" for name in classes), "missed"]
    return [
        {"truth": truth} | {column: int(n) for column, n in zip(columns, row, strict=True)}
        for truth, row in zip((*classes, "nothing"), counts, strict=True)
    ]


def _summary(name: str, scored: Scored, samples: int) -> Row:
    outcomes = scored.outcomes
    row: Row = {"detector": name} | at_threshold(outcomes, scored.threshold)
    del row["recall"]  # is Pd
    figures = {f"Pd@{budget:g}": (outcomes, partial(_pd_at, budget=budget)) for budget in BUDGETS} | {
        "ROC area": (outcomes, _area),
        "centre AP": (outcomes, average_precision),
        "AP50": (scored.overlaps, average_precision),
    }
    ones = np.ones(len(outcomes.sequences))
    for key, (matched, figure) in figures.items():
        row[key] = figure(matched, ones)
        row[f"{key} low"], row[f"{key} high"] = interval(matched, figure, samples=samples)
    return row


def _differences(outcomes: Mapping[str, Outcomes], samples: int) -> list[Row]:
    first, *others = outcomes.items()
    rows: list[Row] = []
    for name, each in others:
        for key, figure in (("Pd@0.1", partial(_pd_at, budget=0.1)), ("ROC area", _area)):
            value, low, high = paired_difference(each, first[1], figure, samples=samples)
            rows.append({"of": name, "to": first[0], "figure": key, "difference": value, "low": low, "high": high})
    return rows


def _pd_at(outcomes: Outcomes, weights: Floats, budget: float) -> float:
    return pd_at(outcomes, budget, weights)


def _area(outcomes: Outcomes, weights: Floats) -> float:
    return roc_area(outcomes, 1.0, weights)


def _rows(of_each: Mapping[str, Sequence[Row]]) -> list[Row]:
    return [{"detector": name} | row for name, rows in of_each.items() for row in rows]


def _metric_rows(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    keys = [key for key in runs[0].metrics if all(key in run.metrics for run in runs)]
    return [(key, [f"{run.metrics[key]:.4g}" for run in runs]) for key in keys]


def as_csv(rows: Sequence[Row]) -> bytes:
    """A table as a file; its columns are those of the first row."""
    return csv_text([list(rows[0]) if rows else ["nothing"], *(list(row.values()) for row in rows)]).encode()


# -- pictures ---------------------------------------------------------------------------------------------------------


def as_webp(picture: NDArray[np.uint8]) -> str:
    """A picture, RGB, that a page holds in itself."""
    _, data = cv2.imencode(".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode()


def _strips(
    cases: Sequence[Case], frames: Frames, dataset: ClipDataset, threshold: float, sequences: Sequence[str]
) -> list[tuple[str, str]]:
    """Caption and data URI of each case that can be drawn."""
    drawn = []
    for case in cases:
        picture = strip(case, frames, dataset, threshold)
        if picture is None:
            continue
        _, t = dataset.locate(int(frames.image_ids[case.frame]))
        drawn.append((f"{sequences[case.frame]}, frame {t}: {case.text}", as_webp(picture)))
    return drawn
