"""The figures of tracks as a page, a table and CSV; :mod:`tdcnet.metrics.tracks` counts what is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table

from tdcnet.files import write_atomically
from tdcnet.metrics.breakdown import Row
from tdcnet.metrics.outcomes import Outcomes
from tdcnet.metrics.tracks import NEAR, Similarity, TrackedFrame, track_figures, watch
from tdcnet.report import plots
from tdcnet.report.page import as_csv
from tdcnet.report.templates import render

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
"""Figures that are told first, and what each is."""

OF_TARGETS = ("HOTA", "DetA", "AssA", "IDF1", "MOTA")
MOST = 24
"""Recordings that are drawn, those with the lowest HOTA first."""
TRUTH, FOUND, FALSE = "#2a9d3a", "#d9730d", "#b03a48"
NAMES = {"detections": "detections", "tracks": "all tracks", "confirmed": "confirmed tracks"}


@dataclass(frozen=True)
class Tracking:
    """What came out.

    Attributes:
        figures: over all recordings; ``Pd@B_WHAT`` for each budget and of ``detections``, ``tracks`` and ``confirmed``;
            ``by_score``: rows of what an operator asks for scores from which on a track is confirmed.
        budgets: false alarms per frame at which Pd is told.
        outcomes: of the same three.
        names: of the recordings.
        truth: their frames, with the confirmed tracks.
        times: seconds of these.
    """

    figures: Mapping[str, Any]
    budgets: Sequence[float]
    outcomes: Mapping[str, Outcomes]
    names: Sequence[str]
    truth: Sequence[Sequence[TrackedFrame]]
    times: Sequence[Sequence[float]]


def recording_rows(told: Tracking, similarity: Similarity) -> list[Row]:
    """The figures of each recording by itself."""
    rows = []
    for name, frames, times in zip(told.names, told.truth, told.times, strict=True):
        figures, seen = track_figures([frames], similarity), watch([frames], [times])
        rows.append(
            {
                "recording": name,
                "targets": seen.targets,
                "tracked": seen.tracked,
                "delay_seconds": seen.delay,
                "false_tracks": seen.false_tracks,
                "IDSW_dot": int(figures["IDSW"]),
                # Of none there is nothing to tell.
                **{f"{key}_dot": figures[key] if seen.targets else math.nan for key in OF_TARGETS},
                "minutes": seen.minutes,
            }
        )
    return rows


def write_page(folder: Path, told: Tracking, rows: Sequence[Row], *, title: str, command: str = "") -> list[Path]:
    """Writes ``report.html`` and ``by_recording.csv``.

    Args:
        folder: to write to.
        told: what came out.
        rows: of :func:`recording_rows`.
        title: of the page.
        command: that made it, shown on the page.
    """
    order = sorted(range(len(rows)), key=lambda at: (math.isnan(rows[at]["HOTA_dot"]), rows[at]["HOTA_dot"]))
    drawn = {told.names[at]: plots.as_data_uri(recording_figure(told.truth[at], told.times[at])) for at in order[:MOST]}
    html = render(
        "tracks.html",
        title=title,
        command=command,
        figures=told.figures,
        shown=SHOWN,
        budgets=list(told.budgets),
        what=NAMES,
        roc=plots.as_data_uri(plots.roc_figure({NAMES[key]: each for key, each in told.outcomes.items()})),
        rows=[rows[at] for at in order],
        recordings=drawn,
        left_out=len(rows) - len(drawn),
    )
    return [
        write_atomically(folder / "report.html", html),
        write_atomically(folder / "by_recording.csv", as_csv(rows)),
    ]


def recording_figure(frames: Sequence[TrackedFrame], times: Sequence[float]) -> Figure:
    """Where targets and tracks of a recording went, and which track each target had when."""
    figure = Figure(figsize=(9.6, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    where, when = figure.subplots(1, 2, width_ratios=(1, 1.6))
    targets, tracks = (_paths(frames, times, which) for which in ("target", "track"))
    has = {key: _owner(path, targets) for key, path in tracks.items()}
    for path in targets.values():
        _line(where, path, TRUTH, 2.6, 0.45)
    for key, path in tracks.items():
        _line(where, path, FALSE if has[key] is None else FOUND, 1.0, 1.0)
    where.set_aspect("equal", "datalim")
    where.invert_yaxis()
    where.set(xlabel="x, px", ylabel="y, px")
    levels = {target: at for at, target in enumerate(targets)}
    for target, path in targets.items():
        _span(when, path, levels[target], TRUTH, 9, 0.3)
    false = [key for key in tracks if has[key] is None]
    for key, path in tracks.items():
        level = levels[owner] if (owner := has[key]) is not None else len(levels) + false.index(key)
        _span(when, path, level, FALSE if owner is None else FOUND, 3.5, 1.0)
        when.annotate(f"{key}", (path[0, 0], level), (0, 5), textcoords="offset points", fontsize=7, color="0.3")
    rows = [f"target {target}" for target in levels] + ["no target"] * len(false)
    when.set_yticks(range(len(rows)), rows if len(rows) <= 12 else [""] * len(rows), fontsize=8)
    when.set(xlabel="seconds", ylim=(max(1, len(rows)) - 0.4, -0.6))
    return figure


def tracks_table(told: Tracking) -> Table:
    """For the terminal."""
    table = Table(title="tracks")
    for column, justify in (("figure", "left"), ("value", "right"), ("what it is", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for name, what in SHOWN.items():
        table.add_row(name, f"{told.figures[name]:.3f}", what)
    for budget in told.budgets:
        low, high = told.figures[f"Pd@{budget:g}_gain_interval"]
        before, after = (told.figures[f"Pd@{budget:g}_{what}"] for what in ("detections", "tracks"))
        table.add_row(
            f"Pd@{budget:g}",
            f"{after:.3f}",
            f"at {budget:g} false alarms per frame; detections alone {before:.3f}, "
            f"difference {after - before:+.3f} ({low:+.3f} to {high:+.3f})",
        )
    return table


def scores_table(told: Tracking) -> Table:
    """For the terminal: what another ``tracker.score`` would give."""
    table = Table(title="confirmed from a score on (tracker.score)")
    for column in ("score", "targets tracked", "delay, s", "false tracks", "a minute"):
        table.add_column(column, justify="right")
    for row in told.figures["by_score"]:
        table.add_row(
            f"{row['score']:.2f}",
            f"{row['targets_tracked']:.3f}",
            f"{row['delay_seconds']:.2f}",
            f"{row['false_tracks']:.0f}",
            f"{row['false_tracks_per_minute']:.2f}",
        )
    return table


def _paths(frames: Sequence[TrackedFrame], times: Sequence[float], which: str) -> dict[int, NDArray[np.float64]]:
    """Of each target or track: time and centre, [N, 3]."""
    found: dict[int, list[tuple[float, float, float]]] = {}
    for frame, time in zip(frames, times, strict=True):
        boxes = frame.targets if which == "target" else frame.tracks
        ids = frame.target_ids if which == "target" else frame.track_ids
        for key, (x1, y1, x2, y2) in zip(ids.tolist(), boxes.tolist(), strict=True):
            found.setdefault(key, []).append((time, (x1 + x2) / 2, (y1 + y2) / 2))
    return {key: np.array(path) for key, path in found.items()}


def _owner(path: NDArray[np.float64], targets: Mapping[int, NDArray[np.float64]]) -> int | None:
    """The target that a track has in most of its frames; None if it has one in half of them or fewer."""
    most, owner, together = 0, None, np.zeros(len(path), np.bool_)
    for key, target in targets.items():
        _, at, of_target = np.intersect1d(path[:, 0], target[:, 0], return_indices=True)
        near = np.linalg.norm(path[at, 1:] - target[of_target, 1:], axis=1) < NEAR
        together[at[near]] = True
        if near.sum() > most:
            most, owner = int(near.sum()), key
    return owner if together.sum() > len(path) / 2 else None


def _line(axis: Axes, path: NDArray[np.float64], colour: str, width: float, alpha: float) -> None:
    axis.plot(path[:, 1], path[:, 2], color=colour, lw=width, alpha=alpha, solid_capstyle="round")
    axis.plot(path[-1, 1], path[-1, 2], "o", color=colour, ms=width + 1.5, alpha=alpha)


def _span(axis: Axes, path: NDArray[np.float64], level: float, colour: str, width: float, alpha: float) -> None:
    """When there was a path: a bar for each time without a gap."""
    steps = np.diff(path[:, 0])
    usual = float(np.median(steps)) if len(steps) else 0.0
    for part in np.split(path[:, 0], np.flatnonzero(steps > 1.5 * usual) + 1):
        axis.plot([part[0], part[-1]], [level, level], color=colour, lw=width, alpha=alpha, solid_capstyle="butt")
