from __future__ import annotations

import json

import pytest

from scripts import benchmark_scaling


def test_growth_along_each_axis_is_told_and_drawn(tmp_path, capsys):
    file, plot = tmp_path / "scaling.json", tmp_path / "scaling.png"
    arguments = ["--model", "tdcnet_nano:2d", "--sizes", "64", "32", "--frames", "1", "--batches", "2", "3"]
    arguments += ["--base", "64", "2", "2", "--rounds", "1", "--json", str(file), "--plot", str(plot)]
    assert benchmark_scaling.main(arguments) == 0
    rows = json.loads(file.read_text())["rows"]
    clips = [(row["axis"], row["size"], row["frames"], row["batch"]) for row in rows if row["what"] == "step"]
    assert clips == [
        ("size", 32, 2, 2),
        ("size", 64, 2, 2),
        ("frames", 64, 1, 2),
        ("batch", 64, 2, 2),
        ("batch", 64, 2, 3),
    ]
    assert len(rows) == 10
    for row in rows:
        assert row["pixels"] == row["size"] ** 2 * row["frames"] * row["batch"]
        assert row["ns per pixel"] == pytest.approx(1e9 * row["seconds"] / row["pixels"])
        assert (row["kept bytes per pixel"] is None) == (row["what"] == "forward")
    first, second, third = rows[:3]
    assert second["seconds"] == pytest.approx(first["seconds"] * 4 ** second["power"])
    assert first["power"] is None and third["power"] is None
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "ns per pixel" in capsys.readouterr().out
