"""The table shows figures as the field tells them."""

from __future__ import annotations

from rich.console import Console

from tdcnet.metrics import format_table


def test_units() -> None:
    table = format_table(
        {"AP50": 0.93829, "Fa": 1.25e-5, "Pd": float("nan"), "Pd@0.1": 0.5, "frames": 15106.0, "P_all_frames": 1.0}
    )
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capture.get().splitlines() if "│" in line]
    assert rows == [
        ["AP50", "93.83 %", "average precision at IoU 0.5"],
        ["Fa [1e-6]", "12.500", "pixels of false boxes / all pixels"],
        ["Pd", "-", "targets hit, by centres, at the score threshold"],
        ["Pd@0.1", "50.00 %", "best Pd within 0.1 false alarms per frame"],
        ["frames", "15,106", "frames"],
        ["P_all_frames", "100.00 %", "mean precision up to recall R, as published; empty frames too"],
    ]
