"""stage=stress on small clips: what it writes, and that its figures are those of an evaluation."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from tdcnet.data.degradations import Shake
from tdcnet.data.degrade import degraded
from tdcnet.data.sequence import Sequence
from tdcnet.report.stress import sheet

ONLY = "stage.only=[contrast,dropped,hard]"


def test_a_target_that_shakes_out_of_the_frame_is_still_drawn():
    """Its picture is of where it was: the page is written after all evaluations, which must not be lost."""

    class Grey:
        def __len__(self):
            return 2

        def read(self, index):
            return np.full((48, 64), 90, np.uint8)

    boxes = [np.array([[0, 0, 4, 4]], np.float32), np.zeros((0, 4), np.float32)]
    labels = [np.zeros(1, np.int64), np.zeros(0, np.int64)]
    plain = Sequence("a", Grey(), boxes, labels, np.arange(2), np.zeros(2, np.int64))
    gone = next(made for seed in range(50) if not len((made := degraded(plain, [Shake(20)], seed)).boxes[0]))
    picture = sheet([("plain", plain), ("shake 20", gone)], 0)
    assert picture is not None and picture.shape[1] > 2 * 320


def test_every_step_is_told_and_comes_out_again(trained, run, tmp_path):
    _, parts = trained
    output, checkpoint = tmp_path / "run", parts["ckpt_path"]
    metrics, objects = run(
        "stage=stress", f"ckpt_path={checkpoint}", ONLY, f"stage.compare=[{checkpoint}]", "stage.baselines=[top_hat]"
    )
    told = json.loads((output / "stress.json").read_text())
    names = [row["detector"] for row in told["detectors"]]
    assert names[1:] == [f"{names[0]} (2)", "top_hat"]
    ways = ["plain", *["contrast"] * 4, *["dropped"] * 3, "hard"]
    rows = told["rows"]
    assert [row["way"] for row in rows] == ways * 3
    assert [row["strength"] for row in rows[1:5]] == [0.8, 0.6, 0.4, 0.2] and rows[8]["strength"] is None
    assert told["degradations"]["contrast"][2] == [{"way": "Contrast", "keep": 0.4}]
    assert [each["way"] for each in told["degradations"]["hard"][0]] == ["Contrast", "LookAlikes", "Noise"]

    # The one figure: the mean of the ways, each the mean of its steps.
    figure = {way: [row["Pd@0.1"] for row in rows[:9] if row["way"] == way] for way in ways[1:]}
    mean = sum(sum(each) / len(each) for each in figure.values()) / 3
    assert metrics == {"mean Pd@0.1": pytest.approx(mean)} and told["detectors"][0]["mean"] == pytest.approx(mean)

    # A detector beside itself: every figure again, and no difference.
    assert [{**row, "detector": ""} for row in rows[:9]] == [{**row, "detector": ""} for row in rows[9:18]]
    assert [told["detectors"][1][key] for key in ("to first", "to first low", "to first high")] == [0, 0, 0]

    with (output / "stress.csv").open() as file:
        assert [row["way"] for row in csv.DictReader(file)] == ways * 3
    page = (output / "report.html").read_text()
    assert all(f'alt="{way}"' in page for way in figure) and "Contrast (keep 0.4) + LookAlikes" in page
    assert page.count('alt="contrast"') == 2 and page.count('alt="dropped"') == 1, (
        "frames that are lost have no picture"
    )
    assert objects["report"] == output / "report.html"


def test_figures_are_those_of_an_evaluation(trained, run, tmp_path):
    _, parts = trained
    given = f"ckpt_path={parts['ckpt_path']}"
    run("stage=stress", given, "stage.only=[hard]", "stage.baselines=[]", "stage.seed=3")
    rows = json.loads((tmp_path / "run" / "stress.json").read_text())["rows"]
    plain, _ = run("stage=eval", given, "stage.report=false")
    hard, _ = run("stage=eval", given, "stage.report=false", "+dataset/degrade=hard", "+dataset.degrade_seed=3")
    for row, metrics in zip(rows, (plain, hard), strict=True):
        assert row["Pd@1"] == pytest.approx(metrics["Pd@1"]) and row["targets"] == metrics["targets"]
    assert rows[1]["to plain"] == pytest.approx(rows[1]["Pd@0.1"] - rows[0]["Pd@0.1"])


def test_what_cannot_be_compared_is_told_before_the_work(trained, run, tmp_path):
    _, parts = trained
    given = f"ckpt_path={parts['ckpt_path']}"
    with pytest.raises(ValueError, match=r"stage.only names fog; there are contrast, .*, hard"):
        run("stage=stress", given, "stage.only=[fog]")
    with pytest.raises(ValueError, match="is empty; expected null"):
        run("stage=stress", given, "stage.only=[]")
    with pytest.raises(ValueError, match="held against those as they are"):
        run("stage=stress", given, "+dataset/degrade=hard")
    with pytest.raises(ValueError, match="motion_2d_nano, which has to learn"):
        run("stage=stress", given, "stage.only=hard", "stage.baselines=motion_2d_nano")
    with pytest.raises(ValueError, match="seed is -1"):
        run("stage=stress", given, "stage.seed=-1")
    (tmp_path / "rival.json").write_text("[]")
    with pytest.raises(ValueError, match="expected a checkpoint"):
        run("stage=stress", given, f"stage.compare=[{tmp_path / 'rival.json'}]")
