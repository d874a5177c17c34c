"""After a sweep (``-m`` with ``key=a,b``): its runs side by side, those that differ only in their seed as one row."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console

from tdcnet.run_folder import read_overrides
from tdcnet.shown import lines
from tdcnet.stages.overrides import override_key

log = logging.getLogger(__name__)

STAGES = ("train", "eval")
"""Whose runs have figures to compare."""


class Compare(Callback):
    """Hydra's callback that ends a sweep with a table and a plot."""

    def __init__(self) -> None:
        self.runs: list[Path] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Notes a run that came to its end."""
        if job_return.status == JobStatus.COMPLETED and job_return.return_value is not None:
            self.runs.append(Path(config.hydra.runtime.output_dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compares what the sweep ran; a comparison that cannot be made takes nothing from the runs."""
        if config.stage.name in STAGES and config.stage.get("report"):
            folder = Path(config.hydra.sweep.dir)
            try:
                compare(folder, self.runs, f"{config.name}: sweep on {config.dataset.name}")
            except Exception as error:  # its runs are done, and in their folders
                log.warning("the runs cannot be compared: %s\nEach has its figures below %s", lines(error), folder)


def compare(folder: Path, runs: Sequence[Path], title: str) -> list[Path]:
    """Shows a sweep's finished runs as a table, and writes ``comparison.csv``, ``.md`` and ``.png`` to its folder.

    Args:
        folder: of the sweep.
        runs: folders of its runs.
        title: of table and plot.

    Returns:
        The files; none where there are not two runs.

    Raises:
        DataError: if they were evaluated on different frames.
    """
    from tdcnet.comparison import add_costs, read_entries, rows_of  # where a sweep is not run, nothing needs them
    from tdcnet.report.comparison import tables_of, write_comparison
    from tdcnet.stages.parts import say

    rows_of_runs = rows_by_options(runs)
    if sum(map(len, rows_of_runs.values())) < 2:
        return []
    entries = read_entries(rows_of_runs)
    add_costs(entries)
    rows = rows_of(entries)
    Console().print(*tables_of(rows, title))
    files = write_comparison(folder, rows, "AP50", title)
    say(f"table and plot: [bold]{', '.join(map(str, files))}[/]")
    return files


def rows_by_options(runs: Sequence[Path]) -> dict[str, list[Path]]:
    """Runs that have what is compared, by the options that only some of them have; in their order."""
    given = {
        run: read_overrides(run)
        for run in runs
        if all((run / name).is_file() for name in ("predictions.json", "ground_truth.json"))
    }
    common = set.intersection(*map(set, given.values())) if given else set()
    rows: dict[str, list[Path]] = {}
    for run, options in given.items():
        own = [o for o in options if o not in common and override_key(o) != "seed"]
        rows.setdefault(" ".join(own) or "all", []).append(run)
    return rows
