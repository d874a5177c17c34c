"""Several trainings of one command: a search, which may be broken off, and a sweep, which ends with a table."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tdcnet import stages
from tdcnet.deploy.weights import read_weights
from tdcnet.run_folder import read_overrides, read_run
from tdcnet.stages.runs import RunsFailed, _broken_off
from tdcnet.stages.sweeps import compare
from tests.integration.conftest import SMALL

ROOT = Path(__file__).parents[2]
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
    _, again = stages.run(*configure(*given, "stage.trials=2", base=BASE))
    assert (output / "trial0" / "report.html").stat().st_mtime_ns == before
    assert [t.options for t in again["trials"]] == [t.options for t in result["trials"]]
    assert again["trials"][1].figure == pytest.approx(result["trials"][1].figure, abs=0.05)
    assert (output / "search.csv").read_text().count("\n") == 3 and (output / "search.png").is_file()
    with pytest.raises(ValueError, match="is of another search"):
        stages.run(*configure(*given, "stage.trials=3", "stage.metric=AP50", base=BASE))


def test_a_search_whose_trials_all_fail_stops(configure, tmp_path):
    given = ('stage.space=["model.head.width=-1,-2,-3,-4,-5"]', "stage.trials=5")
    with pytest.raises(RunsFailed, match="3 of 3 runs failed: trial0, trial1, trial2"):
        stages.run(*configure("stage=search", *given, base=BASE))


def tdcnet(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own: a sweep sets up logging and signals for good."""
    command = [sys.executable, "-m", "tdcnet", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)


def test_a_failed_run_takes_nothing_from_a_sweep(clips, tmp_path):
    """Two processes train together; an older, larger sweep lies in the same folder; options follow -m."""
    sweep, old = tmp_path / "sweep", tmp_path / "sweep" / "2"
    (old / ".hydra").mkdir(parents=True)
    for name in ("predictions.json", "ground_truth.json", ".hydra/overrides.yaml"):
        (old / name).write_text("[]")
    base = [o for o in BASE if not o.startswith(("trainer.devices", "trainer.strategy", "trainer="))]
    data = ["trainer=cpu", f"dataset.root={clips}", f"paths.cache_dir={tmp_path / 'cache'}"]
    done = tdcnet("train", "-m", *base, *data, "module.lr=-1,1e-3", f"hydra.sweep.dir={sweep}")
    assert done.returncode == 1 and f"1 runs of the sweep failed: {sweep}/0" in done.stderr
    assert (sweep / "1" / "metrics.json").is_file() and not (sweep / "comparison.csv").exists(), (
        "one is none to compare"
    )
    assert "module.lr is -1; expected a number above 0" in done.stderr


def test_a_sweep_of_evaluations_tells_what_the_checkpoints_are(clips, run, tmp_path):
    """A table ends it. Size and network are those of the checkpoint's record, not of the configs."""
    _, parts = run()
    sweep = tmp_path / "sweep"
    given = [f"ckpt_path={parts['ckpt_path']}", "dataset=synthetic", f"dataset.root={clips}", "dataset.generate=null"]
    given += ["trainer=cpu", "trainer.devices=1", "trainer.strategy=auto", f"paths.cache_dir={tmp_path / 'cache'}"]
    done = tdcnet("eval", "-m", *given, "module.nms_iou=0.5,0.6", f"hydra.sweep.dir={sweep}")
    assert done.returncode == 0, done.stderr
    assert "tdcnet: sweep on synthetic" in done.stdout and f"{sweep}/comparison.csv" in done.stdout.replace("\n", "")
    assert "iou=0.6" in (sweep / "comparison.md").read_text() and (sweep / "comparison.png").is_file()
    assert compare(sweep, [sweep / "1", tmp_path], "one run is no comparison") == []
    assert read_run(sweep / "1").size == (64, 64)
    assert read_run(sweep / "1").network == read_weights(parts["ckpt_path"]).record.model
    with (sweep / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["module.nms_iou=0.5", "module.nms_iou=0.6"]
    assert rows[0]["parameters"] == rows[1]["parameters"] != ""


def test_a_run_that_is_stopped_saves_what_it_has_and_goes_on(clips, tmp_path):
    """A signal to the command alone reaches the training; its checkpoint is where the next one goes on from."""
    output = tmp_path / "starts"
    options = [*BASE, "stage=starts", "stage.seeds=1", "trainer.max_epochs=400", "trainer.check_val_every_n_epoch=400"]
    options += [f"dataset.root={clips}", f"paths.cache_dir={tmp_path / 'cache'}", f"hydra.run.dir={output}"]
    command = [sys.executable, "-m", "tdcnet", *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    record = output / "seed0" / "csv" / "metrics.csv"
    until = time.monotonic() + 120
    while not (record.is_file() and record.read_text().count("\n") > 3) and time.monotonic() < until:
        time.sleep(0.2)
    process.terminate()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 143 and f"with hydra.run.dir={output} goes on from here" in said.replace("\n", " ")
    saved = output / "seed0" / "checkpoints" / "interrupted.ckpt"
    assert saved.is_file()
    given = read_overrides(output / "seed0")
    assert _broken_off(output / "seed0", given) == [f"ckpt_path={saved}"]
    assert _broken_off(output / "seed0", [*given, "seed=7"]) == [], "another training"
    assert _broken_off(tmp_path, given) == []
