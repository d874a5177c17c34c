"""Which runs of a sweep are one row."""

from __future__ import annotations

from pathlib import Path

from tdcnet.stages.sweeps import rows_by_options


def run(folder: Path, *options: str, finished: bool = True) -> Path:
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {option}\n" for option in options))
    for name in ("predictions.json", "ground_truth.json") if finished else ():
        (folder / name).write_text("")
    return folder


def test_runs_that_differ_in_their_seed_alone_are_one_row(tmp_path):
    given = [("module.lr=0.1", "seed=0"), ("module.lr=0.1", "seed=1"), ("module.lr=0.2", "seed=0"), ("+x=1", "seed=0")]
    runs = [run(tmp_path / str(i), "+experiment=demo", *options) for i, options in enumerate(given)]
    runs.append(run(tmp_path / "broken", "module.lr=0.3", finished=False))
    assert rows_by_options(runs) == {"module.lr=0.1": runs[:2], "module.lr=0.2": [runs[2]], "+x=1": [runs[3]]}


def test_seeds_alone_are_a_row_without_options(tmp_path):
    runs = [run(tmp_path / str(i), "name=a", f"seed={i}") for i in range(3)]
    assert rows_by_options(runs) == {"all": runs}
    assert rows_by_options([]) == {}
