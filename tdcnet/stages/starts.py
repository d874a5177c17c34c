"""stage=starts: one recipe from many starts, to see whether its outcome hangs on the draw.

Each is a run of its own, see :mod:`tdcnet.stages.runs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from tdcnet.report.starts import Start, read_start, table_of, verdict, write_starts
from tdcnet.stages.parts import Results, check_metric, say
from tdcnet.stages.runs import RunsFailed, data_of, run_all


def compare(cfg: DictConfig, overrides: Sequence[str] = ()) -> Results:
    """Trains from ``stage.seeds`` starts, then tells how many came to ``stage.least``, the worst, and how they spread.

    Raises:
        ValueError: if there is not one start, the metric is unknown, or a folder holds a run with other options.
        RunsFailed: after the table of the others.
    """
    output = Path(cfg.paths.output_dir)
    if not isinstance(cfg.stage.seeds, int) or cfg.stage.seeds < 1:
        raise ValueError(f"stage.seeds is {cfg.stage.seeds}; expected a number of starts from 1")
    check_metric(cfg)
    data_of(cfg)
    own = ["stage=train", "logger=csv", "trainer.log_every_n_steps=5"]
    if cfg.stage.steps is not None:
        own.append(f"+trainer.max_steps={cfg.stage.steps}")
    runs = {f"seed{seed}": [*own, f"seed={seed}"] for seed in range(cfg.seed, cfg.seed + cfg.stage.seeds)}
    failed = run_all(runs, overrides, output)
    starts = [read_start(output / name, name, cfg.stage.metric) for name in runs if name not in failed]
    results: Results = ({}, {})
    if starts:
        results = _tell(cfg, output, starts)
    if failed:
        raise RunsFailed.of(failed, runs, output)
    return results


def _tell(cfg: DictConfig, output: Path, starts: Sequence[Start]) -> Results:
    metric, least = str(cfg.stage.metric), float(cfg.stage.least)
    title = f"{cfg.name}: {len(starts)} starts on {cfg.dataset.name}"
    Console().print(table_of(starts, metric, least, title))
    say(verdict(starts, metric, least))
    files = write_starts(output, starts, metric, least, title)
    say(f"table and curves: [bold]{', '.join(map(str, files))}[/]")
    passed = sum(start.passes(least) for start in starts)
    return {"passed": passed / len(starts), "worst": min(s.figure for s in starts)}, {"starts": starts, "files": files}
