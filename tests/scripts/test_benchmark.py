from __future__ import annotations

import json

import pytest

from scripts import benchmark


def test_every_model_is_timed_and_compared_with_the_first(tmp_path, capsys):
    file = tmp_path / "times.json"
    arguments = [
        "--models",
        "tdcnet_small",
        "tdcnet_nano",
        "tdcnet_nano:2d",
        "--size",
        "32",
        "64",
        "--batch",
        "2",
        "--rounds",
        "2",
    ]
    assert benchmark.main([*arguments, "--json", str(file)]) == 0
    rows = {(row["model"], row["what"]): row for row in json.loads(file.read_text())["rows"]}
    assert len(rows) == 6
    assert rows["tdcnet_small", "training step"]["ratio"] == pytest.approx(1)
    for row in rows.values():
        assert 0 < row["least"] <= row["seconds"] <= row["most"]
    assert "32x64" in capsys.readouterr().out


def test_against_the_plain_form(tmp_path):
    file = tmp_path / "times.json"
    arguments = ["--models", "tdcnet_nano", "--plain", "--size", "64", "64", "--batch", "2", "--rounds", "1"]
    assert benchmark.main([*arguments, "--json", str(file)]) == 0
    rows = {(row["form"], row["what"]): row for row in json.loads(file.read_text())["rows"]}
    assert len(rows) == 4 and {row["ratio to"] for row in rows.values()} == {"plain tdcnet_nano"}
    assert rows["plain", "training step"]["ratio"] == 1
    assert rows["fast", "training step"]["kept megabytes"] < rows["plain", "training step"]["kept megabytes"]
