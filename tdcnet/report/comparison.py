"""Finished runs side by side, as tables and a plot; :mod:`tdcnet.comparison` counts what is shown."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich import box
from rich.table import Table
from rich.text import Text

from tdcnet.files import write_atomically
from tdcnet.report import plots
from tdcnet.shown import csv_text, markdown_cell, printable

Row = dict[str, Any]

SHOWN = ("AP50", "Pd@0.1")
FOUND = ("run", "runs", *(text for key in SHOWN for text in (key, "95 %", "seeds")))
"""Columns of the first table."""
COMPARED = ("run", *(text for key in SHOWN for text in (key, "95 %")), "M", "GFLOPs", "ms")
"""Columns of the second one: by how much each row differs from the first, and what it costs."""
NOTES = (
    "Percent, means of the seeds. 95 %: bootstrap over {drawn}; seeds: least and most of single runs.",
    "Points of a percent; 95 %: bootstrap over {drawn}, the same sequences for both. M: millions of parameters; M, "
    "GFLOPs and ms of the deploy form on one clip.",
)


def tables_of(rows: Sequence[Row], title: str) -> Iterator[Table]:
    """For the terminal, 80 columns: figures; then differences to the first row, and costs."""
    for header, lines, heading, note in _tables(rows):
        table = Table(
            title=Text(printable(heading or title), "italic"), caption=note, caption_justify="left", box=box.SIMPLE_HEAD
        )
        for i, column in enumerate(header):
            table.add_column(column, justify="right" if i else "left", no_wrap=i > 0, overflow="fold")
        for line in lines:
            table.add_row(*(Text(printable(cell)) for cell in line))
        yield table


def as_markdown(rows: Sequence[Row]) -> str:
    """The same tables for a document."""
    text = ""
    for header, lines, heading, note in _tables(rows):
        cells = [(markdown_cell(name), *others) for name, *others in lines]
        table = [header, ("---", *["---:"] * (len(header) - 1)), *cells]
        text += f"{markdown_cell(heading)}:\n\n" if heading else ""
        text += "".join(f"| {' | '.join(line)} |\n" for line in table) + f"\n{note}\n\n"
    return text.rstrip("\n") + "\n"


def as_csv(rows: Sequence[Row]) -> str:
    """All figures."""
    return csv_text([list(rows[0]), *(["" if value is None else value for value in row.values()] for row in rows)])


def plot_of(rows: Sequence[Row], metric: str, title: str) -> Figure:
    """``metric`` of each row with its interval and single runs; beside it over GFLOPs and milliseconds, where known."""
    costs = [c for c in ("GFLOPs", "ms") if any(row[c] is not None for row in rows)]
    height = max(3.2, 0.32 * len(rows) + 1.2)
    figure = Figure(figsize=(6.0 + 3.6 * len(costs), height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(plots.label(title, 100), fontsize="medium")
    first, *others = np.atleast_1d(figure.subplots(1, 1 + len(costs), width_ratios=[1.6] + [1.0] * len(costs)))
    for i, row in enumerate(rows):
        colour, marker = f"C{i % 10}", "osD^v<>PX*"[i // 10 % 10]
        first.plot([row[f"{metric} low"], row[f"{metric} high"]], [i, i], color=colour, alpha=0.35, lw=6)
        first.plot([row[f"{metric} least"], row[f"{metric} most"]], [i, i], "|", color=colour, ms=11)
        first.plot([row[metric]], [i], marker, color=colour)
        for panel, cost in zip(others, costs, strict=True):
            if row[cost] is not None:
                interval = [row[f"{metric} low"], row[f"{metric} high"]]
                panel.plot([row[cost]] * 2, interval, color=colour, alpha=0.25, lw=2)
                panel.plot([row[cost]], [row[metric]], marker, color=colour)
    first.set(
        yticks=range(len(rows)), yticklabels=[plots.label(row["name"]) for row in rows], ylim=(len(rows) - 0.5, -0.5)
    )
    first.set_xlabel(f"{metric}: mean, least and most of the seeds; bar: 95 % over {_drawn(rows)}")
    for panel, cost in zip(others, costs, strict=True):
        most = max(row[cost] for row in rows if row[cost] is not None)
        panel.set(xlabel=f"{cost}, deploy form, one clip", ylabel=metric, xlim=(0, 1.1 * most))
    for panel in (first, *others):
        panel.grid(color="0.9")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def write_comparison(folder: Path, rows: Sequence[Row], metric: str, title: str) -> list[Path]:
    """Writes ``comparison.csv``, ``.md`` and ``.png`` to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = io.BytesIO()
    plots.save(plot_of(rows, metric, title), picture, format="png", dpi=120)
    contents = {"csv": as_csv(rows).encode(), "md": as_markdown(rows).encode(), "png": picture.getvalue()}
    return [write_atomically(folder / f"comparison.{kind}", data) for kind, data in contents.items()]


def _tables(rows: Sequence[Row]) -> Iterator[tuple[Sequence[str], list[tuple[str, ...]], str, str]]:
    """Header, lines, heading and note of each table."""
    found, compared = (note.format(drawn=_drawn(rows)) for note in NOTES)
    yield FOUND, [_found(row) for row in rows], "", found
    yield (
        COMPARED,
        [_compared(row, i > 0) for i, row in enumerate(rows)],
        f"Against {rows[0]['name']}, and cost",
        compared,
    )


def _drawn(rows: Sequence[Row]) -> str:
    """What :func:`tdcnet.comparison.rows_of` draws: how far seeds lie apart is unknown where no row has several."""
    return "sequences and seeds" if any(row["seeds"] > 1 for row in rows) else "sequences"


def _found(row: Row) -> tuple[str, ...]:
    cells = [str(row["name"]), str(row["seeds"])]
    for key in SHOWN:
        value, low, high, least, most = (100 * row[f"{key}{x}"] for x in ("", " low", " high", " least", " most"))
        seeds = _span(least, most, ".1f") if row["seeds"] > 1 else ""
        cells += [_number(value, ".1f"), _span(low, high, ".0f"), seeds]
    return tuple(cells)


def _compared(row: Row, differs: bool) -> tuple[str, ...]:
    cells = [str(row["name"])]
    for key in SHOWN:
        value, low, high = (100 * row[f"{key} to first{x}"] for x in ("", " low", " high"))
        cells += [_number(value, "+.1f"), _span(low, high, "+.0f")] if differs else ["", ""]
    million = None if row["parameters"] is None else row["parameters"] / 1e6
    cells += [_number(million, ".2f"), _number(row["GFLOPs"], ".2f"), _number(row["ms"], ".0f")]
    return tuple(cells)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or math.isnan(value) else format(value, form)


def _span(low: float, high: float, form: str) -> str:
    return "-" if math.isnan(low) else f"{low:{form}}..{high:{form}}"
