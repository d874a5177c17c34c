from __future__ import annotations

import json
import math

import numpy as np
import pytest
from rich.console import Console

from tdcnet.data.errors import DataError
from tdcnet.report.starts import Start, read_start, table_of, verdict, write_starts


def start(name, figure, curve=(8.0, 6.0, 4.0), constant=math.nan):
    return Start(name, figure, np.arange(len(curve)) * 5, np.array(curve), np.full(len(curve), constant))


def test_share_worst_and_spread_by_hand():
    starts = [start("seed0", 0.9), start("seed1", 0.5), start("seed2", 1.0)]
    assert verdict(starts, "Pd@0.1", 0.9) == (
        "2 of 3 starts end with Pd@0.1 of 0.9 or more; worst 0.500, median 0.900, best 1.000, standard deviation 0.265"
    )
    assert "standard deviation" not in verdict(starts[:1], "Pd@0.1", 0.9)
    assert not start("dead", math.nan).passes(0.0)


def test_a_curve_is_the_mean_of_five():
    found = start("a", 1, [8.0, 6, 4, 2, 0, 5]).smooth
    assert found.tolist() == pytest.approx([8, 7, 6, 5, 4, 17 / 5])
    assert not len(start("a", 1, []).smooth)


def test_when_a_training_began_to_learn_by_hand():
    slow, quick = [6.0, 6, 6, 6, 6, 0, 0, 0, 0], [1.0] * 6
    assert start("a", 1, slow, 6.0).begun == 35, "the mean of steps 15 to 35 is 2.4, that up to 30 was 3.6"
    assert start("a", 1, quick, 6.0).begun == 20, "not before there are five"
    assert start("a", 1, [6.0] * 9, 6.0).begun is None and start("a", 1, slow).begun is None
    assert start("a", 1, [], 6.0).begun is None

    both = [start("a", 1, slow, 6.0), start("b", 1, quick, 6.0)]
    assert verdict(both, "AP50", 0.5).endswith(". They began to learn after 28 steps, the last after 35")
    both.append(start("c", 0, [6.0] * 9, 6.0))
    assert verdict(both, "AP50", 0.5).endswith("after 28 steps, the last after 35, 1 did not")
    assert verdict(both[2:], "AP50", 0.5).endswith(". None began to learn")
    assert "began" not in verdict([*both, start("d", 1, slow)], "AP50", 0.5), "a loss of one's own"


def test_a_run_is_read_from_its_folder(tmp_path):
    (tmp_path / "csv").mkdir()
    (tmp_path / "metrics.json").write_text(json.dumps({"Pd@0.1": 0.75, "AP50": None}))
    (tmp_path / "csv" / "metrics.csv").write_text(
        "lr,step,train/loss_objectness,train/loss_constant,val/AP50\n0.1,4,,,\n,4,5.5,6,\n,9,2.5,7,\n,9,,,0.3\n"
    )
    found = read_start(tmp_path, "seed0", "Pd@0.1")
    assert (found.figure, found.steps.tolist(), found.curve.tolist()) == (0.75, [4, 9], [5.5, 2.5])
    assert found.constant.tolist() == [6, 7]
    assert math.isnan(read_start(tmp_path, "seed0", "AP50").figure)
    with pytest.raises(DataError, match=r"metrics\.json: has no F2, but Pd@0\.1, AP50"):
        read_start(tmp_path, "seed0", "F2")
    (tmp_path / "csv" / "metrics.csv").write_text("step,train/loss_objectness\nx,1\n")
    with pytest.raises(DataError, match=r"metrics\.csv: is no record of a training"):
        read_start(tmp_path, "seed0", "Pd@0.1")


def test_what_is_written(tmp_path):
    starts = [start("seed0", 0.95, [1.0] * 6, 6.0), start("seed1", 0.2), start("seed2", math.nan, [])]
    files = write_starts(tmp_path, starts, "Pd@0.1", 0.9, "demo")
    assert [path.name for path in files] == ["starts.csv", "starts.json", "starts.png"]
    assert (tmp_path / "starts.csv").read_text().splitlines()[:3] == [
        "start,Pd@0.1,passed,began",
        "seed0,0.95,1,20",
        "seed1,0.2,0,",
    ]
    assert json.loads((tmp_path / "starts.json").read_text())["figures"] == [0.95, 0.2, None]
    console = Console(record=True, width=80)
    console.print(table_of(starts, "Pd@0.1", 0.9, "demo"))
    text = console.export_text()
    assert text.index("seed1") < text.index("seed0") and "below 0.9" in text and "step 20" in text
