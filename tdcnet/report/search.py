"""A search over options: its trials as a table, and how the figure follows each option."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Column, Table
from rich.text import Text

from tdcnet.data.errors import DataError
from tdcnet.files import write_atomically
from tdcnet.plain_data import is_number
from tdcnet.report import plots
from tdcnet.shown import csv_text, printable, shown

MOST_ROWS = 12
"""Lines of the table on the terminal."""
MOST_OPTIONS = 7
"""Panels beside the first."""


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    Attributes:
        number: from 0.
        options: name -> value; a text for one of several choices.
        figure: what it is judged by; NaN as long as there is none.
    """

    number: int
    options: Mapping[str, str | int | float]
    figure: float = math.nan

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"trial{self.number}"

    @property
    def overrides(self) -> list[str]:
        """The options as on a command line."""
        return [f"{name}={value}" for name, value in self.options.items()]

    def with_figure(self, figure: float) -> Trial:
        """The same with a figure."""
        return replace(self, figure=figure)

    def plain(self) -> dict[str, Any]:
        """As JSON may hold it."""
        return {"options": dict(self.options), "figure": None if math.isnan(self.figure) else self.figure}

    @classmethod
    def of(cls, number: int, content: object, path: Path) -> Trial:
        """What :meth:`plain` wrote.

        Raises:
            DataError: if it is anything else.
        """
        options = content.get("options") if isinstance(content, dict) else None
        figure = content.get("figure") if isinstance(content, dict) else None
        values = options.values() if isinstance(options, dict) else [None]
        if not all(isinstance(v, str) or is_number(v) for v in values) or not (figure is None or is_number(figure)):
            raise DataError(f"{path}: trial {number} is {shown(content)}; expected options and a figure")
        return cls(number, dict(options or {}), math.nan if figure is None else float(figure))


def ordered(trials: Sequence[Trial], direction: str) -> list[Trial]:
    """Those with a figure, the best first."""
    sign = -1 if direction == "maximize" else 1
    return sorted((trial for trial in trials if not math.isnan(trial.figure)), key=lambda trial: sign * trial.figure)


def best_of(trials: Sequence[Trial], direction: str) -> Trial | None:
    """The best of those with a figure."""
    return next(iter(ordered(trials, direction)), None)


def table_of(trials: Sequence[Trial], metric: str, direction: str, title: str) -> Table:
    """The best of them, the best first."""
    names = list(trials[0].options)
    table = Table(
        "trial", Column(metric, justify="right"), *map(printable, names), title=Text(printable(title), "italic")
    )
    best = ordered(trials, direction)
    for trial in best[:MOST_ROWS]:
        table.add_row(str(trial.number), f"{trial.figure:.4f}", *(Text(printable(trial.options[n])) for n in names))
    without = len(trials) - len(best)
    more = [f"{len(best) - MOST_ROWS} more in search.csv"] if len(best) > MOST_ROWS else []
    more += [f"{without} without a figure"] if without else []
    table.caption = "; ".join(more) or None
    return table


def figure_of(trials: Sequence[Trial], metric: str, direction: str, title: str) -> Figure:
    """The figure in the trials' order with the best so far; then over each option."""
    done = [trial for trial in trials if not math.isnan(trial.figure)]
    names = list(trials[0].options)[:MOST_OPTIONS]
    columns = min(4, 1 + len(names))
    lines = -(-(1 + len(names)) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.2 * lines + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(plots.label(title, 100), fontsize="medium")
    panels = list(np.atleast_1d(figure.subplots(lines, columns, sharey=True)).ravel())
    numbers, figures = [t.number for t in done], [t.figure for t in done]
    running = np.maximum.accumulate(figures) if direction == "maximize" else np.minimum.accumulate(figures)
    panels[0].plot(numbers, running, color="0.6", drawstyle="steps-post", label="best so far")
    panels[0].scatter(numbers, figures, c=numbers, s=18)
    panels[0].set(xlabel="trial; colours tell it in all panels", ylabel=metric)
    panels[0].legend(frameon=False, fontsize="small")
    panels[0].xaxis.get_major_locator().set_params(integer=True)
    for panel, name in zip(panels[1:], names, strict=False):
        _over(panel, done, name, numbers)
    for panel in panels[1 + len(names) :]:
        panel.set_visible(False)
    for panel in panels:
        panel.grid(color="0.9")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def _over(panel: Axes, done: Sequence[Trial], name: str, numbers: Sequence[int]) -> None:
    """The figure over one option: along an axis of numbers, or in a column for each choice."""
    values = [trial.options[name] for trial in done]
    panel.set_xlabel(plots.label(name))
    if any(isinstance(value, str) for value in values):
        choices = sorted({str(value) for value in values}, key=_in_order)
        places = [choices.index(str(value)) for value in values]
        panel.set_xticks(range(len(choices)), [plots.label(choice, 16) for choice in choices])
        panel.set_xlim(-0.5, len(choices) - 0.5)
    else:
        places = [float(value) for value in values]  # type: ignore[misc]
        if min(places) > 0 and max(places) / min(places) > 5:
            panel.set_xscale("log")
    panel.scatter(places, [trial.figure for trial in done], c=numbers, s=18)


def _in_order(choice: str) -> tuple[float, str]:
    """8 before 16, and numbers before words."""
    try:
        return float(choice), choice
    except ValueError:
        return math.inf, choice


def write_search(folder: Path, trials: Sequence[Trial], metric: str, direction: str, title: str) -> list[Path]:
    """Writes ``search.csv`` and ``.png`` to a folder."""
    names = list(trials[0].options)
    rows: list[list[object]] = [["trial", metric, *names]]
    for trial in trials:
        figure = "" if math.isnan(trial.figure) else trial.figure
        rows.append([trial.number, figure, *(trial.options[name] for name in names)])
    picture = io.BytesIO()
    plots.save(figure_of(trials, metric, direction, title), picture, format="png", dpi=120)
    contents = {"csv": csv_text(rows).encode(), "png": picture.getvalue()}
    return [write_atomically(folder / f"search.{kind}", data) for kind, data in contents.items()]
