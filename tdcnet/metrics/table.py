"""The results of an evaluation as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from tdcnet.shown import printable

_PERCENT = "percent"
_SHOWN: dict[str, tuple[str, str]] = {
    "AP50": (_PERCENT, "average precision at IoU 0.5"),
    "AP": (_PERCENT, "average precision at IoU 0.5:0.95"),
    "F1": (_PERCENT, "of precision and recall at IoU 0.5, as published"),
    "Pd": (_PERCENT, "targets hit, by centres, at the score threshold"),
    "Fa": ("millionths", "pixels of false boxes / all pixels, there"),
    "false_alarms_per_frame": ("number", "false boxes per frame, there"),
    "AP50_DotD": (_PERCENT, "average precision at dot distance 0.5, fair to tiny boxes"),
    "targets": ("count", "that were looked for"),
    "frames": ("count", "that were looked at"),
}
_ONLY_IN_FILE = {
    *("P", "R", "false_alarms_per_megapixel", "precision", "F1_at_threshold", "ROC_area", "centre_AP", "AP_DotD"),
    *("AP50_SAFit", "AP_SAFit", "hits", "false_alarms", "empty_frames"),
}
"""What ``metrics.json`` tells and the table does not, nor thresholds and what counts empty frames."""


def format_table(
    results: Mapping[str, float], title: str = "Evaluation", score_threshold: float | None = None
) -> Table:
    """A table of the main figures of :class:`~tdcnet.metrics.suite.DetectionMetrics`, in its order.

    Ratios are told in percent and Fa in 1e-6, as the field does; a figure with nothing to divide by shows as a dash.
    Entries that are not known are shown as they are.

    Args:
        results: figures by name.
        title: above the table.
        score_threshold: at which Pd and Fa were counted, to be told.
    """
    table = Table(title=Text(printable(title), "italic"))
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("meaning")
    for key, value in results.items():
        if key in _ONLY_IN_FILE or key.startswith("threshold@") or key.endswith("_all_frames"):
            continue
        kind, meaning = _kind_and_meaning(key, results)
        name = f"{key} [1e-6]" if kind == "millionths" else key
        if key == "Pd" and score_threshold is not None:
            meaning = meaning.replace("the score threshold", f"scores from {score_threshold:g}")
        table.add_row(Text(printable(name)), _shown(float(value), kind), Text(printable(meaning)))
    return table


def class_table(classes: Sequence[str], rows: Sequence[Mapping[str, float]]) -> Table:
    """A table of :func:`tdcnet.metrics.by_class.by_class`, a row for each class."""
    table = Table(title=Text("by class, each against the rest", "italic"))
    table.add_column("class")
    kinds = {key: _kind_and_meaning(key, {})[0] for key in rows[0]}
    for key, kind in kinds.items():
        table.add_column(f"{key} [1e-6]" if kind == "millionths" else key, justify="right")
    for name, row in zip(classes, rows, strict=True):
        table.add_row(Text(printable(name)), *(_shown(float(row[key]), kind) for key, kind in kinds.items()))
    return table


def _kind_and_meaning(key: str, results: Mapping[str, float]) -> tuple[str, str]:
    name, at, budget = key.partition("@")
    if at and name == "Pd":
        return _PERCENT, f"within {budget} false alarms per frame{_score(results.get(f'threshold@{budget}', math.nan))}"
    return _SHOWN.get(key, ("number", ""))


def _score(threshold: float) -> str:
    if math.isnan(threshold):
        return ""
    return ": no score keeps to that" if math.isinf(threshold) else f": scores from {threshold:.3g}"


def _shown(value: float, kind: str) -> str:
    if math.isnan(value):
        return "-"
    if kind == _PERCENT:
        return f"{100 * value:.2f} %"
    if kind == "millionths":
        return f"{1e6 * value:.3f}"
    if kind == "count":
        return f"{value:,.0f}"
    return f"{value:.4g}"
