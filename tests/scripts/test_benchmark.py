from __future__ import annotations

import argparse
import json

import pytest

from scripts import benchmark


def timed(tmp_path, *arguments):
    file = tmp_path / "times.json"
    assert benchmark.main([*arguments, "--size", "64", "64", "--batch", "2", "--rounds", "1", "--json", str(file)]) == 0
    return json.loads(file.read_text())["rows"]


def test_forms_are_compared_with_the_first_of_the_same_model(tmp_path):
    plot = tmp_path / "ratios.png"
    forms = ("plain", "fast", "recompute")
    rows = timed(tmp_path, "--models", "tdcnet_nano", "--what", "step", "--forms", *forms, "--plot", str(plot))
    assert [row["form"] for row in rows] == list(forms)
    assert {row["ratio to"] for row in rows} == {"plain tdcnet_nano"}
    kept = [row["kept megabytes"] for row in rows]
    assert kept[0] > kept[1] > kept[2] and all(row["peak megabytes"] > 0 for row in rows)
    assert plot.stat().st_size > 1000


def test_exported_graphs_are_timed(tmp_path, capsys):
    rows = timed(tmp_path, "--models", "tdcnet_nano:2d", "--forms", "fast", "openvino", "--what", "forward")
    assert [(row["form"], row["ratio to"]) for row in rows] == [
        (f, "fast tdcnet_nano:2d") for f in ("fast", "openvino")
    ]
    assert all(0 < row["least"] <= row["seconds"] <= row["most"] for row in rows)
    assert "64x64" in capsys.readouterr().out


def test_models_are_compared_with_the_first(tmp_path):
    file = tmp_path / "times.json"
    shown = {"bf16": False, "forms": ["fast"], "json": file, "plot": None}
    given = argparse.Namespace(batch=1, frames=5, size=(64, 64), threads=1, rounds=3, device="cpu", **shown)
    first = benchmark.Case("tdcnet", "fast", benchmark.STEP, [1.0, 2.0, 4.0], kept=1.0)
    second = benchmark.Case("tdcnet_nano", "fast", benchmark.STEP, [0.5, 0.4, 8.0], kept=1.0)
    benchmark.report(given, [first, second])
    rows = json.loads(file.read_text())["rows"]
    assert [row["ratio"] for row in rows] == [1.0, 0.5]  # the median of the rounds' ratios, not the ratio of medians
    assert {row["ratio to"] for row in rows} == {"fast tdcnet"}


def test_a_process_that_ends_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="tdcnet_nano, fast, forward, deployed: the process ended"):
        benchmark.main(["--models", "tdcnet_nano", "--what", "forward", "--size", "50", "50", "--rounds", "1"])
