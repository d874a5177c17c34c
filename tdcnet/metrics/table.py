"""The results of an evaluation as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from tdcnet.shown import printable

_PERCENT = "percent"
_MEANINGS: dict[str, tuple[str, str]] = {
    "AP50": (_PERCENT, "average precision at IoU 0.5"),
    "AP": (_PERCENT, "average precision at IoU 0.5:0.95"),
    "P": (_PERCENT, "mean precision up to recall R, as published"),
    "R": (_PERCENT, "final recall at IoU 0.5"),
    "F1": (_PERCENT, "of P and R"),
    "Pd": (_PERCENT, "targets hit, by centres, at the score threshold"),
    "Fa": ("millionths", "pixels of false boxes / all pixels"),
    "false_alarms_per_frame": ("number", "false boxes per frame"),
    "false_alarms_per_megapixel": ("number", "false boxes per million pixels"),
    "precision": (_PERCENT, "boxes that hit, at the score threshold"),
    "F1_at_threshold": (_PERCENT, "of Pd and precision"),
    "ROC_area": (_PERCENT, "mean Pd over 0 to 1 false alarms per frame"),
    "centre_AP": (_PERCENT, "average precision by matched centres"),
    "AP50_DotD": (_PERCENT, "average precision at dot distance 0.5, fair to tiny boxes"),
    "AP_DotD": (_PERCENT, "the same at 0.5:0.95"),
    "AP50_SAFit": (_PERCENT, "average precision at SAFit 0.5, fair to tiny boxes"),
    "AP_SAFit": (_PERCENT, "the same at 0.5:0.95"),
    "hits": ("count", "targets hit"),
    "false_alarms": ("count", "false boxes"),
    "targets": ("count", "targets"),
    "frames": ("count", "frames"),
    "empty_frames": ("count", "of them without a target"),
}


def format_table(results: Mapping[str, float], title: str = "Evaluation") -> Table:
    """A table of what :class:`~tdcnet.metrics.suite.DetectionMetrics` computes, in its order.

    Ratios are told in percent and Fa in 1e-6, as the field does; a figure with nothing to divide by shows as a dash.
    An entry that is not known is shown as it is.
    """
    table = Table(title=Text(printable(title), "italic"))
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("meaning")
    for key, value in results.items():
        kind, meaning = _kind_and_meaning(key)
        name = f"{key} [1e-6]" if kind == "millionths" else key
        table.add_row(Text(printable(name)), _shown(float(value), kind), Text(printable(meaning)))
    return table


def _kind_and_meaning(key: str) -> tuple[str, str]:
    name, at, budget = key.partition("@")
    if at and name == "Pd":
        return _PERCENT, f"best Pd within {budget} false alarms per frame"
    if at and name == "threshold":
        return "number", "score threshold there"
    base = key.removesuffix("_all_frames")
    kind, meaning = _MEANINGS.get(base, ("number", ""))
    return kind, meaning if base == key else f"{meaning}; empty frames too"


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
