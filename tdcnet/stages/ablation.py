"""stage=ablation: variants of a network on one data set with one budget, each with several seeds, side by side.

Each is a run of its own, see :mod:`tdcnet.stages.runs`; the table is :mod:`tdcnet.comparison`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from tdcnet.comparison import add_costs, read_entries, rows_of
from tdcnet.report.comparison import tables_of, write_comparison
from tdcnet.stages.parts import Results, say
from tdcnet.stages.runs import RunsFailed, data_of, run_all


def compare(cfg: DictConfig, overrides: Sequence[str] = ()) -> Results:
    """Runs every variant of ``stage.runs`` with every seed of ``stage.seeds``, then compares them.

    Raises:
        ValueError: if a folder holds a run with other options, or ``stage.only`` names a row that is not there.
        RunsFailed: after the table of the others.
    """
    output = Path(cfg.paths.output_dir)
    data_of(cfg)
    names = list(cfg.stage.only or cfg.stage.runs)
    if unknown := set(names) - set(cfg.stage.runs):
        known = ", ".join(cfg.stage.runs)
        raise ValueError(f"stage.only names {', '.join(sorted(unknown))}; {cfg.stage.table} has {known}")
    runs = {
        f"{name}/seed{seed}": [*cfg.stage.runs[name], "stage=train", f"seed={seed}"]
        for seed in cfg.stage.seeds  # a comparison that is broken off has all variants, with fewer seeds
        for name in names
    }
    failed = run_all(runs, overrides, output)
    finished = {
        name: [output / name / f"seed{seed}" for seed in cfg.stage.seeds if f"{name}/seed{seed}" not in failed]
        for name in names
    }
    entries = read_entries({name: folders for name, folders in finished.items() if folders})
    results: Results = ({}, {})
    if entries:
        add_costs(entries)
        rows = rows_of(entries)
        title = f"{cfg.stage.table}: {cfg.dataset.name}"
        Console().print(*tables_of(rows, title))
        files = write_comparison(output, rows, cfg.stage.metric, title)
        say(f"table and plot: [bold]{', '.join(map(str, files))}[/]")
        results = {}, {"rows": rows, "files": files}
    if failed:
        raise RunsFailed.of(failed, runs, output)
    return results
