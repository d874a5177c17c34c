from __future__ import annotations

import json

import pytest

from scripts import benchmark


def timed(tmp_path, *arguments):
    file = tmp_path / "times.json"
    assert benchmark.main([*arguments, "--size", "64", "64", "--batch", "2", "--rounds", "1", "--json", str(file)]) == 0
    return json.loads(file.read_text())["rows"]


def test_models_are_compared_with_the_first(tmp_path, capsys):
    rows = timed(tmp_path, "--models", "tdcnet_nano", "tdcnet_nano:2d", "--what", "forward")
    assert [row["model"] for row in rows] == ["tdcnet_nano", "tdcnet_nano:2d"]
    assert rows[0]["ratio"] == 1 and {row["ratio to"] for row in rows} == {"fast tdcnet_nano"}
    assert all(0 < row["least"] <= row["seconds"] <= row["most"] for row in rows)
    assert "64x64" in capsys.readouterr().out


def test_forms_are_compared_with_the_first_of_the_same_model(tmp_path):
    plot = tmp_path / "ratios.png"
    forms = ("plain", "fast", "recompute")
    rows = timed(tmp_path, "--models", "tdcnet_nano", "--what", "step", "--forms", *forms, "--plot", str(plot))
    assert [row["form"] for row in rows] == list(forms)
    assert {row["ratio to"] for row in rows} == {"plain tdcnet_nano"}
    kept = [row["kept megabytes"] for row in rows]
    assert kept[0] > kept[1] > kept[2] and all(row["peak megabytes"] > 0 for row in rows)
    assert plot.stat().st_size > 1000


def test_exported_graphs_are_timed(tmp_path):
    pytest.importorskip("openvino")
    rows = timed(tmp_path, "--models", "tdcnet_nano:2d", "--forms", "fast", "openvino", "--what", "step", "forward")
    assert [(row["form"], row["what"]) for row in rows] == [
        ("fast", benchmark.STEP),
        ("fast", benchmark.FORWARD),
        ("openvino", benchmark.FORWARD),
    ]


def test_a_process_that_ends_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="tdcnet_nano, fast, forward, deployed: the process ended"):
        benchmark.main(["--models", "tdcnet_nano", "--what", "forward", "--size", "50", "50", "--rounds", "1"])
