"""After a sweep (``-m`` with ``key=a,b``): its runs side by side, those that differ only in their seed as one row."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from tdcnet.run_folder import OVERRIDES, read_overrides
from tdcnet.shown import lines
from tdcnet.stages.overrides import override_key

log = logging.getLogger(__name__)

STAGES = ("train", "eval")
"""Whose runs have figures to compare."""


class Compare(Callback):
    """Hydra's callback that ends a sweep with a table and a plot."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compares what the sweep ran; a comparison that cannot be made takes nothing from the runs."""
        if config.stage.name in STAGES and config.stage.get("report"):
            folder = Path(config.hydra.sweep.dir)
            try:
                compare(folder, f"{config.name}: sweep on {config.dataset.name}")
            except Exception as error:  # its runs are done, and in their folders
                log.warning("the runs cannot be compared: %s\nEach has its figures below %s", lines(error), folder)


def compare(folder: Path, title: str) -> list[Path]:
    """Shows a sweep's finished runs as a table, and writes ``comparison.csv``, ``.md`` and ``.png`` to its folder.

    Raises:
        DataError: if they were evaluated on different frames.
    """
    from tdcnet.comparison import add_costs, read_entries, rows_of  # where a sweep is not run, nothing needs them
    from tdcnet.report.comparison import tables_of, write_comparison
    from tdcnet.stages.parts import say

    runs = rows_by_options(folder)
    if sum(map(len, runs.values())) < 2:
        return []
    entries = read_entries(runs)
    add_costs(entries)
    rows = rows_of(entries)
    Console().print(*tables_of(rows, title))
    files = write_comparison(folder, rows, "AP50", title)
    say(f"table and plot: [bold]{', '.join(map(str, files))}[/]")
    return files


def rows_by_options(folder: Path) -> dict[str, list[Path]]:
    """Finished runs of a sweep's folder by the options that only some of them have; in the order they were run in."""
    given = {
        path.parents[1]: read_overrides(path.parents[1])
        for path in sorted(folder.glob(f"*/{OVERRIDES}"), key=lambda path: _number(path.parents[1]))
        if all((path.parents[1] / name).is_file() for name in ("predictions.json", "ground_truth.json"))
    }
    common = set.intersection(*map(set, given.values())) if given else set()
    rows: dict[str, list[Path]] = {}
    for run, options in given.items():
        own = [o for o in options if o not in common and override_key(o) != "seed"]
        rows.setdefault(" ".join(own) or "all", []).append(run)
    return rows


def _number(run: Path) -> tuple[int, str]:
    """Jobs in their order: 10 after 9."""
    return (int(run.name), "") if run.name.isdecimal() else (0, run.name)
