"""The table shows figures as the field tells them."""

from __future__ import annotations

from rich.console import Console

from tdcnet.metrics import DetectionMetrics, format_table
from tdcnet.metrics.matching import Frames


def rows(results: dict[str, float], score_threshold: float | None = None) -> list[list[str]]:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(format_table(results, score_threshold=score_threshold))
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in capture.get().splitlines() if "│" in line]


def test_units() -> None:
    assert rows({"AP50": 0.93829, "Fa": 1.25e-5, "Pd": float("nan"), "frames": 15106.0, "own": 0.25}) == [
        ["AP50", "93.83 %", "average precision at IoU 0.5"],
        ["Fa [1e-6]", "12.500", "pixels of false boxes / all pixels, there"],
        ["Pd", "-", "targets hit, by centres, at the score threshold"],
        ["frames", "15,106", "that were looked at"],
        ["own", "0.25", ""],
    ]


def test_budgets_tell_their_scores_in_words() -> None:
    told = {"Pd@1": 0.5, "threshold@1": 0.1234, "Pd@0.1": 0.0, "threshold@0.1": float("inf")}
    assert rows(told | {"Pd@0.01": float("nan"), "threshold@0.01": float("nan")}) == [
        ["Pd@1", "50.00 %", "within 1 false alarms per frame: scores from 0.123"],
        ["Pd@0.1", "0.00 %", "within 0.1 false alarms per frame: no score keeps to that"],
        ["Pd@0.01", "-", "within 0.01 false alarms per frame"],
    ]


def test_a_dozen_of_all_figures_are_shown() -> None:
    figures = DetectionMetrics(budgets=(1.0, 0.1, 0.05, 0.01)).figures(Frames.from_lists([], []))
    shown = [row[0] for row in rows(figures)]
    assert len(shown) <= 13 < len(figures) and {"AP50", "Pd@0.1", "Fa [1e-6]", "targets"} <= set(shown)


def test_the_score_that_pd_is_counted_at_is_told() -> None:
    assert rows({"Pd": 0.5}, 0.25) == [["Pd", "50.00 %", "targets hit, by centres, at scores from 0.25"]]
