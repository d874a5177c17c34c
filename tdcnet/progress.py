"""The bar that shows how far a long task is."""

from __future__ import annotations

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {self.unit}/s", style="progress.data.speed")


def progress_bar(hidden: bool = False, unit: str | None = None) -> Progress:
    """A bar for the terminal: text, share, count, and the time that is left.

    Args:
        hidden: shows nothing.
        unit: of what is counted; shows how many of it are done in a second, and the time taken.
    """
    columns = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()]
    speed = [] if unit is None else [_Rate(unit), TimeElapsedColumn()]
    return Progress(*columns, *speed, TimeRemainingColumn(), disable=hidden)
