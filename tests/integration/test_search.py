"""Several trainings of one command: a search, which may be broken off, and a sweep, which ends with a table."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from tdcnet import stages
from tdcnet.stages import app
from tdcnet.stages.runs import RunsFailed
from tdcnet.stages.sweeps import compare, rows_by_options
from tests.integration.conftest import SMALL

QUICK = [o for o in SMALL if not o.startswith(("model", "dataset.samples"))]
BASE = [*QUICK, "model=motion_2d_nano", "dataset.samples_per_epoch=4"]


def test_a_search_goes_on_where_it_was_broken_off(configure, tmp_path, capsys):
    output = tmp_path / "run"
    space = 'stage.space=["module.lr=tag(log, interval(1e-4, 1e-2))", "model.head.box_prior=null,1.5"]'
    given = ("stage=search", space, "stage.metric=Pd@1")
    figures, result = stages.run(*configure(*given, "stage.trials=2", base=BASE))
    best = result["best"]
    assert figures == {"Pd@1": max(t.figure for t in result["trials"])} and len(result["trials"]) == 2
    told = capsys.readouterr().out
    assert f"module.lr={best.options['module.lr']}" in told.replace("\n", "") and "the best as a training" in told
    record = json.loads((output / "search.json").read_text())
    assert [set(t["options"]) for t in record["trials"]] == [{"module.lr", "model.head.box_prior"}] * 2
    config = (output / "trial0" / ".hydra" / "overrides.yaml").read_text()
    assert f"module.lr={record['trials'][0]['options']['module.lr']}" in config and "stage.space" not in config
    shutil.rmtree(output / "trial1")  # as if it was stopped there
    before = (output / "trial0" / "report.html").stat().st_mtime_ns
    _, again = stages.run(*configure(*given, "stage.trials=3", base=BASE))
    assert (output / "trial0" / "report.html").stat().st_mtime_ns == before
    assert [t.options for t in again["trials"][:2]] == [t.options for t in result["trials"]]
    assert again["trials"][1].figure == pytest.approx(result["trials"][1].figure, abs=0.05)
    assert (output / "search.csv").read_text().count("\n") == 4 and (output / "search.png").is_file()
    with pytest.raises(ValueError, match="is of another search"):
        stages.run(*configure(*given, "stage.trials=3", "stage.metric=AP50", base=BASE))


def test_a_search_whose_trials_all_fail_stops(configure, tmp_path):
    given = ('stage.space=["model.head.width=-1,-2,-3,-4,-5"]', "stage.trials=5")
    with pytest.raises(RunsFailed, match="3 of 3 runs failed: trial0, trial1, trial2"):
        stages.run(*configure("stage=search", *given, base=BASE))


def test_a_sweep_ends_with_a_table(clips, tmp_path, monkeypatch, capfd):
    """Two options and two seeds: two rows of two runs."""
    options = ["module.lr=1e-3,2e-3", "seed=0,1", f"dataset.root={clips}", f"paths.cache_dir={tmp_path / 'cache'}"]
    sweep = tmp_path / "sweep"
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", *BASE, *options, f"hydra.sweep.dir={sweep}"])
    app.run()
    assert {name: [run.name for run in runs] for name, runs in rows_by_options(sweep).items()} == {
        "module.lr=0.001": ["0", "1"],
        "module.lr=0.002": ["2", "3"],
    }
    told = capfd.readouterr().out
    assert "tdcnet: sweep on synthetic" in told and f"{sweep}/comparison.csv" in told.replace("\n", "")
    assert "module.lr=0.002" in (sweep / "comparison.md").read_text() and (sweep / "comparison.png").is_file()
    shutil.rmtree(sweep / "1")
    shutil.rmtree(sweep / "2")
    shutil.rmtree(sweep / "3")
    assert compare(sweep, "one run is no comparison") == []
