"""Sets finished runs side by side: figures with their intervals, parameters, GFLOPs and time, as table and plot.

tdcnet compare logs/ablation/branches/drone_ir/TIME                # what an ablation has so far
tdcnet compare logs/train/drone_ir/RUN1 logs/train/drone_ir/RUN2 --out compared --metric Pd@0.1

Every finished run below the folders is a row, or several rows' worth of seeds one (NAME/seed0, NAME/seed1, ..). All
must be of the same validation frames. Times are medians of rounds in which the networks take turns, on one clip, in
deploy form.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from tdcnet.allocator import keep_freed_memory
from tdcnet.commands.arguments import parser_of
from tdcnet.data.errors import DataError
from tdcnet.deploy.errors import CheckpointError
from tdcnet.files import check_writable
from tdcnet.shown import emphasised, lines

FIGURES = ("AP50", "Pd@1", "Pd@0.1", "Pd@0.05")
"""That a plot may show."""


def main(arguments: list[str] | None = None) -> int:
    """Reads, measures and tells; returns the exit status."""
    parser = parser_of("compare", __doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="a run, or a folder with runs below it")
    parser.add_argument(
        "--first", metavar="NAME", help="the row that the others are compared with; the first unless given"
    )
    parser.add_argument("--metric", choices=FIGURES, default="AP50", help="in the plot")
    parser.add_argument(
        "--out", type=Path, help="folder for comparison.csv, .md and .png; the first folder unless given"
    )
    parser.add_argument("--title", default="")
    parser.add_argument("--rounds", type=int, default=7, help="timed ones; 0 for no times")
    parser.add_argument("--samples", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    import torch  # these take seconds, which --help need not

    from tdcnet.comparison import add_costs, find_runs, read_entries, rows_of
    from tdcnet.report.comparison import tables_of, write_comparison

    keep_freed_memory()  # as train.py does
    torch.set_num_threads(given.threads)
    try:
        runs: dict[str, list[Path]] = {}
        for folder in given.folders:
            for name, found in find_runs(folder).items():
                runs.setdefault(name, []).extend(found)
        if given.first is not None:
            if given.first not in runs:
                parser.error(f"--first is {given.first}; there are {', '.join(runs)}")
            runs = {given.first: runs.pop(given.first)} | runs
        check_writable(given.out or given.folders[0], "The comparison is written there; --out names another folder")
        entries = read_entries(runs)
        add_costs(entries, given.rounds)
        rows = rows_of(entries, given.samples)
        console = Console()
        console.print(*tables_of(rows, given.title or ", ".join(map(str, given.folders))))
        for path in write_comparison(given.out or given.folders[0], rows, given.metric, given.title):
            console.print(emphasised(f"[bold]{path}[/]"), highlight=False, soft_wrap=True)
    except (DataError, CheckpointError, OSError) as error:
        print(lines(error), file=sys.stderr)
        return 1
    return 0
