"""Trainings of one recipe from several starts: read from their folders, as table, verdict and curves."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Column, Table
from rich.text import Text

from tdcnet.data.errors import DataError
from tdcnet.files import read_json, read_text, write_atomically
from tdcnet.report import plots
from tdcnet.shown import csv_text, printable

CURVE = "train/loss_objectness"
"""What stands still as long as a training has not started: the others follow it."""
CONSTANT = "train/loss_constant"
BEGUN = 0.5
"""Share of the loss of the best constant score, below which a training counts as having begun to learn."""
SMOOTHED = 5
"""Logged steps that a point of a curve is the mean of."""


@dataclass(frozen=True, eq=False)
class Start:
    """One training.

    Attributes:
        name: of its folder.
        figure: that it is judged by, from its last evaluation; NaN if that cannot be told.
        steps: int64 [N], logged ones.
        curve: float64 [N], the objectness's loss at them.
        constant: float64 [N], what it would be if all cells had the best one score; NaN where that is not told.
    """

    name: str
    figure: float
    steps: NDArray[np.int64]
    curve: NDArray[np.float64]
    constant: NDArray[np.float64]

    def passes(self, least: float) -> bool:
        """Whether the figure is that good."""
        return self.figure >= least

    @property
    def smooth(self) -> NDArray[np.float64]:
        """The curve's running mean."""
        return _running_mean(self.curve)

    @property
    def begun(self) -> int | None:
        """The first step at which the loss, as a running mean, is below half of a constant score's; None if none is."""
        below = self.smooth < BEGUN * _running_mean(self.constant)
        below[: SMOOTHED - 1] = False
        return int(self.steps[below][0]) if below.any() else None


def _running_mean(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(curve):
        return curve
    sums = np.cumsum(np.insert(curve, 0, 0.0))
    ends = np.arange(1, len(curve) + 1)
    starts = np.maximum(ends - SMOOTHED, 0)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts), np.float64)


def read_start(folder: Path, name: str, metric: str) -> Start:
    """What a finished run left: ``metrics.json``, and the loss of its steps in ``csv/metrics.csv``.

    Raises:
        DataError: if a file is missing or does not hold it.
    """
    figures = read_json(folder / "metrics.json")
    if not isinstance(figures, dict) or metric not in figures:
        known = ", ".join(figures) if isinstance(figures, dict) else "nothing"
        raise DataError(f"{folder / 'metrics.json'}: has no {printable(metric)}, but {known}. Choose stage.metric")
    path = folder / "csv" / "metrics.csv"
    rows = [row for row in csv.DictReader(io.StringIO(read_text(path))) if row.get(CURVE)]
    try:
        steps, curve = [int(row["step"]) for row in rows], [float(row[CURVE]) for row in rows]
        constant = [float(row.get(CONSTANT) or math.nan) for row in rows]
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: is no record of a training ({error}). Remove {folder} to train it again") from error
    value = figures[metric]
    figure = float(value) if isinstance(value, int | float) else math.nan
    return Start(name, figure, np.array(steps, np.int64), np.array(curve, np.float64), np.array(constant, np.float64))


def verdict(starts: Sequence[Start], metric: str, least: float) -> str:
    """In a sentence: share that passed, worst, middle, best, how far they spread, and when they began to learn."""
    figures = np.array([start.figure for start in starts])
    passed = sum(start.passes(least) for start in starts)
    spread = f", standard deviation {figures.std(ddof=1):.3f}" if len(figures) > 1 else ""
    return (
        f"{passed} of {len(starts)} starts end with {metric} of {least:g} or more; worst {figures.min():.3f}, median "
        f"{np.median(figures):.3f}, best {figures.max():.3f}{spread}{_begun(starts)}"
    )


def _begun(starts: Sequence[Start]) -> str:
    """When they began to learn, in words, if the loss tells."""
    if not all(len(start.constant) and np.isfinite(start.constant).all() for start in starts):
        return ""
    steps = [start.begun for start in starts]
    known = [step for step in steps if step is not None]
    if not known:
        return ". None began to learn"
    never = f", {len(steps) - len(known)} did not" if len(known) < len(steps) else ""
    return f". They began to learn after {np.median(known):.0f} steps, the last after {max(known)}{never}"


def table_of(starts: Sequence[Start], metric: str, least: float, title: str) -> Table:
    """A line for each, the worst first."""
    table = Table(
        *("start", Column(metric, justify="right"), Column("loss of objectness at its end", justify="right")),
        *(Column("began to learn", justify="right"), ""),
        title=Text(printable(title), "italic"),
    )
    for start in sorted(starts, key=lambda s: s.figure):
        end = f"{start.smooth[-1]:.2f}" if len(start.curve) else "-"
        begun = "-" if start.begun is None else f"step {start.begun}"
        table.add_row(start.name, f"{start.figure:.3f}", end, begun, "" if start.passes(least) else f"below {least:g}")
    return table


def figure_of(starts: Sequence[Start], metric: str, least: float, title: str) -> Figure:
    """All curves over the steps; beside them where they ended."""
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(plots.label(title, 100), fontsize="medium")
    left, right = figure.subplots(1, 2, width_ratios=[2.2, 1])
    for start in starts:
        good = start.passes(least)
        left.plot(start.steps, start.smooth, color="C0" if good else "C3", lw=1, ls="-" if good else "--")
    left.set(xlabel="step", ylabel=f"loss of objectness, mean of {SMOOTHED} logged steps", yscale="log")
    ordered = sorted(start.figure for start in starts)
    colours = ["C0" if value >= least else "C3" for value in ordered]
    right.scatter(range(1, len(ordered) + 1), ordered, color=colours, s=18)
    right.axhline(least, color="0.5", lw=0.8, ls=":")
    right.annotate(
        f"{least:g}", (0.99, least), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="0.4"
    )
    right.set(xlabel="starts, worst first", ylabel=f"{metric} at the end", ylim=(0, 1.02))
    right.set_xticks([1, len(ordered)] if len(ordered) > 1 else [1])
    for panel in (left, right):
        panel.grid(color="0.9")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def write_starts(folder: Path, starts: Sequence[Start], metric: str, least: float, title: str) -> list[Path]:
    """Writes ``starts.csv``, ``.json`` and ``.png`` to a folder."""
    picture = io.BytesIO()
    plots.save(figure_of(starts, metric, least, title), picture, format="png", dpi=120)
    lines: list[list[object]] = [["start", metric, "passed", "began"]]
    lines += [[start.name, start.figure, int(start.passes(least)), start.begun] for start in starts]
    figures = [None if math.isnan(s.figure) else s.figure for s in starts]
    found = {"metric": metric, "least": least, "figures": figures, "verdict": verdict(starts, metric, least)}
    contents = {
        "csv": csv_text(lines).encode(),
        "json": json.dumps(found, indent=1).encode(),
        "png": picture.getvalue(),
    }
    return [write_atomically(folder / f"starts.{kind}", data) for kind, data in contents.items()]
