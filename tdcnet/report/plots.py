"""The plots of an evaluation, for one detector or several."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tdcnet.metrics.outcomes import Outcomes, draws, roc
from tdcnet.shown import printable

Row = Mapping[str, Any]
COLOURS = ("#d9730d", "#1f6fb2", "#2e8b57", "#8e44ad", "#b03a48", "#5f6a6a", "#c9a227", "#17a2b8", "#e377c2", "#7f5539")
LEAST_RATE = 1e-3
"""False alarms per frame at which the ROC begins; below it a curve has too few of them to be drawn from."""
RATES = np.geomspace(LEAST_RATE, 10, 120)


def roc_figure(runs: Mapping[str, Outcomes], samples: int = 200) -> Figure:
    """Pd over false alarms per frame; the band of a single detector is its 95 % bootstrap interval over sequences."""
    figure, axis = empty_figure()
    for colour, (name, outcomes) in zip(colours(len(runs)), runs.items(), strict=True):
        axis.plot(RATES, _pd_over(outcomes, None), color=colour, label=label(name), lw=1.8)
        if len(runs) == 1 and len(outcomes.sequences) > 1:
            curves = np.array([_pd_over(outcomes, w) for w in draws(len(outcomes.sequences), samples)])
            low, high = np.nanpercentile(curves, [2.5, 97.5], axis=0)
            axis.fill_between(RATES, low, high, color=colour, alpha=0.18, lw=0, label="95 % over sequences")
    axis.set(xscale="log", xlabel="false alarms per frame", ylabel="Pd", ylim=(0, 1.02), xlim=(LEAST_RATE, 10))
    axis.legend(loc="lower right", frameon=False)
    return figure


def precision_recall_figure(runs: Mapping[str, Outcomes]) -> Figure:
    """Precision over recall by matched centres, every threshold a point."""
    figure, axis = empty_figure()
    for colour, (name, outcomes) in zip(colours(len(runs)), runs.items(), strict=True):
        rate, pd, _ = roc(outcomes)
        hits, alarms = pd * len(outcomes.found), rate * outcomes.frames.sum()
        kept = hits + alarms > 0
        axis.plot(pd[kept], hits[kept] / (hits + alarms)[kept], color=colour, label=label(name), lw=1.8)
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axis.legend(loc="lower left", frameon=False)
    return figure


def attribute_figure(rows: Sequence[Row], what: str) -> Figure:
    """Pd in bins of what makes a target hard; the number of targets stands below each bin.

    Args:
        rows: of every detector, see :func:`~tdcnet.metrics.breakdown.by_attribute`; bins without targets are left out,
            numbers that are not the same for all detectors, too.
    """
    figure, axis = empty_figure()
    of_each = _by_detector(rows)
    kept = sorted({(row["from"], row["to"]) for row in rows if row["targets"]})
    width = 0.8 / max(1, len(of_each))
    for i, (colour, (name, bins)) in enumerate(zip(colours(len(of_each)), of_each.items(), strict=True)):
        at = np.arange(len(kept)) + (i - (len(of_each) - 1) / 2) * width
        of_bin = {(row["from"], row["to"]): row["Pd"] for row in bins}
        axis.bar(at, [of_bin[edges] for edges in kept], 0.92 * width, color=colour, label=label(name))
    counts = [{row["targets"] for row in rows if (row["from"], row["to"]) == edges} for edges in kept]
    told = [f"{_span(*edges)}\n{n.pop() if len(n) == 1 else ''}" for edges, n in zip(kept, counts, strict=True)]
    axis.set_xticks(np.arange(len(kept)), told)
    axis.set(xlabel=f"{what}; below: targets", ylabel="Pd", ylim=(0, 1.02))
    if len(of_each) > 1:
        figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=8)  # bars leave no free place
    return figure


def sequence_figure(rows: Sequence[Row], most: int = 25) -> Figure:
    """False alarms (to the right) and missed targets (to the left) of the worst sequences, at a threshold.

    Args:
        rows: of every detector, see :func:`~tdcnet.metrics.breakdown.by_sequence`.
        most: sequences shown.
    """
    of_each = _by_detector(rows)
    counts: dict[str, dict[str, tuple[float, float]]] = {}
    for row in rows:
        misses = row["targets"] * (1 - row["Pd"]) if row["targets"] else 0.0
        alarms = row["false_alarms_per_frame"] * row["frames"]
        counts.setdefault(row["sequence"], {})[row["detector"]] = (misses, alarms)
    worst = sorted(counts, key=lambda s: -max(sum(pair) for pair in counts[s].values()))
    worst = [s for s in worst if max(sum(pair) for pair in counts[s].values()) > 0][:most][::-1]
    figure = Figure(figsize=(6.4, max(2.0, 0.9 + 0.24 * len(worst))), layout="constrained")
    FigureCanvasAgg(figure)
    axis = _styled(figure.add_subplot())
    height = 0.8 / max(1, len(of_each))
    for i, (colour, name) in enumerate(zip(colours(len(of_each)), of_each, strict=True)):
        at = np.arange(len(worst)) + ((len(of_each) - 1) / 2 - i) * height
        pairs = [counts[s].get(name, (0.0, 0.0)) for s in worst]
        axis.barh(at, [alarms for _, alarms in pairs], 0.92 * height, color=colour, label=label(name))
        axis.barh(at, [-misses for misses, _ in pairs], 0.92 * height, color=colour, alpha=0.45)
    axis.axvline(0, color="0.3", lw=0.8)
    axis.set_yticks(np.arange(len(worst)), [label(name) for name in worst], fontsize=8)
    axis.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axis.set_xlabel("missed targets   |   false alarms")
    if len(of_each) > 1:
        axis.legend(frameon=False)
    return figure


def as_data_uri(figure: Figure) -> str:
    """A figure as an SVG that a page holds in itself."""
    text = io.BytesIO()
    save(figure, text, format="svg")
    return "data:image/svg+xml;base64," + base64.b64encode(text.getvalue()).decode()


def label(name: object, most: int = 40) -> str:
    """A name from anywhere as matplotlib's text: printable, not too long for a plot, and no formula."""
    text = printable(name)
    text = text if len(text) <= most else f"{text[: most // 2 - 1]}..{text[1 - most // 2 :]}"
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text  # such labels are left out of legends


def save(figure: Figure, file: io.BytesIO, **options: Any) -> None:
    """Saves a figure; letters that the font lacks are drawn as boxes, which need not be said for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(file, **options)


def _pd_over(outcomes: Outcomes, weights: np.ndarray | None) -> np.ndarray:
    rate, pd, _ = roc(outcomes, weights)
    return np.asarray(pd[np.searchsorted(rate, RATES, side="right") - 1])


def _by_detector(rows: Sequence[Row]) -> dict[str, list[Row]]:
    of_each: dict[str, list[Row]] = {}
    for row in rows:
        of_each.setdefault(row["detector"], []).append(row)
    return of_each


def _span(low: float, high: float) -> str:
    return f"{low:g}-{high:g}" if np.isfinite(high) else f"from {low:g}"


def empty_figure() -> tuple[Figure, Axes]:
    """A figure with one plot in it."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, _styled(figure.add_subplot())


def _styled(axis: Axes) -> Axes:
    axis.grid(color="0.9")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    return axis


def colours(count: int) -> list[str]:
    """A colour for each of so many detectors."""
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
