"""Finished runs side by side: what each finds, how sure that is, and what it costs.

Runs that differ only in their seed, ``NAME/seed0``, ``NAME/seed1``, .., are one row. Intervals are of a bootstrap over
the validation sequences, the same draws for all rows; how far seeds lie apart is told beside them, because the one
says nothing about the other.
"""

from __future__ import annotations

import csv
import io
import math
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf
from rich import box
from rich.table import Table

from tdcnet.cost import OTHER, count
from tdcnet.data.errors import DataError
from tdcnet.deploy.fold import reparameterize
from tdcnet.deploy.weights import load_detector
from tdcnet.metrics import DetectionMetrics
from tdcnet.metrics.matching import Floats
from tdcnet.metrics.outcomes import Outcomes, average_precision, draws, pd_at, percentiles
from tdcnet.metrics.rules import iou
from tdcnet.models import Detector
from tdcnet.models.detector import MULTIPLE
from tdcnet.report.exchange import read_ground_truth, read_predictions, read_sequences
from tdcnet.results import write_atomically

FIGURES: dict[str, Callable[[Outcomes, Floats], float]] = {
    "AP50": average_precision,
    "Pd@1": lambda outcomes, w: pd_at(outcomes, 1.0, w),
    "Pd@0.1": lambda outcomes, w: pd_at(outcomes, 0.1, w),
    "Pd@0.05": lambda outcomes, w: pd_at(outcomes, 0.05, w),
}
"""AP50 by overlap, the others by the run's own rule (centres within 3 px unless configured)."""
SHOWN = ("AP50", "Pd@0.1")
FOUND = ("run", "runs", *(text for key in SHOWN for text in (key, "95 %", "seeds")))
"""Columns of the first table."""
COMPARED = ("run", *(text for key in SHOWN for text in (key, "95 %")), "M", "GFLOPs", "ms")
"""Columns of the second one: by how much each row differs from the first, and what it costs."""
NOTES = (
    "Percent, means of the seeds. 95 %: bootstrap over sequences; seeds: least and most of single runs.",
    "Points of a percent; 95 %: bootstrap over sequences, the same draws for both. M: millions of parameters; M, "
    "GFLOPs and ms of the deploy form on one clip.",
)
SEED = re.compile(r"seed\d+")
Row = dict[str, Any]


@dataclass
class Entry:
    """A row: the runs of one configuration, one for each seed.

    Attributes:
        folders: of the runs.
        outcomes: of each run, matched by figure.
        parameters, gflops, milliseconds: of the deploy form on one clip; None for a detector without learning.
    """

    name: str
    folders: list[Path] = field(default_factory=list)
    outcomes: list[dict[str, Outcomes]] = field(default_factory=list)
    parameters: int | None = None
    gflops: float | None = None
    milliseconds: float | None = None


def find_runs(folder: Path) -> dict[str, list[Path]]:
    """Finished runs below a folder, those of different seeds together: name -> folders.

    Raises:
        FileNotFoundError: if there is none.
    """
    found: dict[str, list[Path]] = {}
    for config in sorted(folder.glob("**/.hydra/config.yaml")):
        run = config.parents[1]
        if all((run / name).is_file() for name in ("predictions.json", "ground_truth.json")):
            parts = [p for p in run.relative_to(folder).parts if not SEED.fullmatch(p)]
            found.setdefault("/".join(parts) or folder.resolve().name, []).append(run)
    if not found:
        raise FileNotFoundError(
            f"no finished run below {folder}: one has .hydra/config.yaml, predictions.json and ground_truth.json "
            "(stage=train and stage=eval write them unless stage.report=false)"
        )
    return found


def read_entries(runs: dict[str, list[Path]]) -> list[Entry]:
    """The rows of these runs, without times.

    Raises:
        DataError: if a run is of other frames than the first or has another network than its row's, or its files are
            damaged.
    """
    entries = []
    first: tuple[Path, Any, list[str]] | None = None
    for name, folders in runs.items():
        entry = Entry(name)
        network: object = None
        for folder in folders:
            frames = read_ground_truth(folder / "ground_truth.json")
            sequences = read_sequences(folder / "ground_truth.json")
            first = first or (folder, frames, sequences)
            if sequences != first[2] or not np.array_equal(frames.target_boxes, first[1].target_boxes):
                raise DataError(f"{folder} was evaluated on other frames than {first[0]}; compare runs of one data set")
            cfg = OmegaConf.load(folder / ".hydra" / "config.yaml")
            assert isinstance(cfg, DictConfig)
            its = OmegaConf.to_container(cfg.model)
            network = network or its
            if its != network:
                raise DataError(f"{folder} has another network than {folders[0]}; give each row a name of its own")
            found = read_predictions(folder / "predictions.json", frames, list(cfg.dataset.classes))
            metrics: DetectionMetrics = instantiate(OmegaConf.to_container(cfg.module.metrics), _convert_="all")
            near = Outcomes.of(found, sequences, {}, metrics.rule, metrics.within_class)
            over = Outcomes.of(found, sequences, {}, iou(0.5), within_class=True)
            entry.outcomes.append({key: over if key == "AP50" else near for key in FIGURES})
            entry.folders.append(folder)
        entries.append(entry)
    return entries


def add_costs(entries: Sequence[Entry], rounds: int = 7) -> None:
    """Counts each network's parameters and GFLOPs in deploy form, and times it on one clip of its validation size.

    The networks take turns, round by round; the median is told. Detectors without a checkpoint keep None.

    Args:
        rounds: timed ones, after one that warms up; 0 for no times.
    """
    timed: list[tuple[Entry, Detector, torch.Tensor, list[float]]] = []
    for entry in entries:
        cfg = OmegaConf.load(entry.folders[0] / ".hydra" / "config.yaml")
        own = entry.folders[0] / "checkpoints" / "best.ckpt"
        checkpoint = own if own.is_file() else cfg.ckpt_path
        if checkpoint is None or not Path(checkpoint).exists():
            continue
        deployed = reparameterize(load_detector(checkpoint))
        size = [-(-n // MULTIPLE) * MULTIPLE for n in cfg.dataset.size]
        clip = torch.rand(1, deployed.in_channels, cfg.dataset.num_frames, *size)
        with torch.inference_mode():
            cost = count(deployed, lambda net=deployed, x=clip: net(x, x))[OTHER]  # type: ignore[misc]
        entry.parameters, entry.gflops = cost.parameters, cost.flops / 1e9
        timed.append((entry, deployed, clip, []))
    for i in range(rounds + 1 if rounds else 0):
        for _, deployed, clip, seconds in timed:
            start = time.perf_counter()
            with torch.inference_mode():
                deployed(clip, clip)
            if i:
                seconds.append(time.perf_counter() - start)
    for entry, _, _, seconds in timed:
        entry.milliseconds = 1e3 * statistics.median(seconds) if seconds else None


def rows_of(entries: Sequence[Entry], samples: int = 1000) -> list[Row]:
    """Figures, intervals and costs of each row.

    Of several seeds a figure is the mean, ``least`` and ``most`` are those of single runs; ``low`` and ``high`` are the
    95 % interval of the mean over the drawn sequences, ``to first`` its difference to the first row's, with an interval
    of its own.
    """
    first = entries[0].outcomes[0]["AP50"]
    weights = draws(len(first.sequences), samples)
    ones = np.ones(len(first.sequences))
    rows: list[Row] = []
    reference: dict[str, tuple[float, Floats]] = {}
    for entry in entries:
        row: Row = {"name": entry.name, "seeds": len(entry.folders)}
        for key, figure in FIGURES.items():
            each = [figure(outcomes[key], ones) for outcomes in entry.outcomes]
            drawn = np.mean([[figure(outcomes[key], w) for w in weights] for outcomes in entry.outcomes], axis=0)
            value = float(np.mean(each))
            known, known_drawn = reference.setdefault(key, (value, drawn))
            row |= {key: value, f"{key} least": min(each), f"{key} most": max(each)}
            row[f"{key} low"], row[f"{key} high"] = percentiles(drawn)
            row[f"{key} to first"] = value - known
            row[f"{key} to first low"], row[f"{key} to first high"] = percentiles(drawn - known_drawn)
        row |= {"parameters": entry.parameters, "GFLOPs": entry.gflops, "ms": entry.milliseconds}
        rows.append(row)
    return rows


def tables_of(rows: Sequence[Row], title: str) -> Iterator[Table]:
    """For the terminal, 80 columns: figures; then differences to the first row, and costs."""
    for header, lines, heading, note in _tables(rows):
        table = Table(title=heading or title, caption=note, caption_justify="left", box=box.SIMPLE_HEAD)
        for i, column in enumerate(header):
            table.add_column(column, justify="right" if i else "left", no_wrap=i > 0, overflow="fold")
        for line in lines:
            table.add_row(*line)
        yield table


def as_markdown(rows: Sequence[Row]) -> str:
    """The same tables for a document."""
    text = ""
    for header, lines, heading, note in _tables(rows):
        table = [header, ("---", *["---:"] * (len(header) - 1)), *lines]
        text += f"{heading}:\n\n" if heading else ""
        text += "".join(f"| {' | '.join(line)} |\n" for line in table) + f"\n{note}\n\n"
    return text.rstrip("\n") + "\n"


def as_csv(rows: Sequence[Row]) -> str:
    """All figures."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def plot_of(rows: Sequence[Row], metric: str, title: str) -> Figure:
    """``metric`` of each row with its interval and single runs; beside it over GFLOPs and milliseconds, where known."""
    costs = [c for c in ("GFLOPs", "ms") if any(row[c] is not None for row in rows)]
    height = max(3.2, 0.32 * len(rows) + 1.2)
    figure = Figure(figsize=(6.0 + 3.6 * len(costs), height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize="medium")
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
    first.set(yticks=range(len(rows)), yticklabels=[row["name"] for row in rows], ylim=(len(rows) - 0.5, -0.5))
    first.set_xlabel(f"{metric}: mean, least and most of the seeds; bar: 95 % over sequences")
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
    plot_of(rows, metric, title).savefig(picture, format="png", dpi=120)
    contents = {"csv": as_csv(rows).encode(), "md": as_markdown(rows).encode(), "png": picture.getvalue()}
    return [write_atomically(folder / f"comparison.{kind}", data) for kind, data in contents.items()]


def _tables(rows: Sequence[Row]) -> Iterator[tuple[Sequence[str], list[tuple[str, ...]], str, str]]:
    """Header, lines, heading and note of each table."""
    yield FOUND, [_found(row) for row in rows], "", NOTES[0]
    yield (
        COMPARED,
        [_compared(row, i > 0) for i, row in enumerate(rows)],
        f"Against {rows[0]['name']}, and cost",
        NOTES[1],
    )


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
