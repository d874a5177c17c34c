from __future__ import annotations

import json

import pytest

from scripts import benchmark_data


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_every_case_is_timed_and_compared(tmp_path, capsys):
    file = tmp_path / "times.json"
    arguments = ["--stored", "64", "96", "--size", "96", "96", "--frames", "6", "--batch", "2", "--published", "4"]
    assert benchmark_data.main([*arguments, "--evaluated", "2", "--rounds", "2", "--json", str(file)]) == 0
    written = json.loads(file.read_text())
    rows = {row["what"]: row for row in written["rows"]}
    assert [row["of"] for row in rows.values()] == ["samples"] * 5 + ["pairs"] + ["frames"] * 2
    for row in rows.values():
        assert 0 < row["least"] <= row["a second"] <= row["most"]
        assert (row["ratio"] is None) == (row["ratio to"] is None)
    assert rows["decoded once, in order"]["ratio to"] == benchmark_data.PUBLISHED
    assert rows["tdcnet_nano: evaluation"]["ratio to"] == "tdcnet_nano: forward passes alone"
    assert "96x64" in written["title"] and "OpenCV" in written["title"]
    assert "decoded once, at random" in capsys.readouterr().out
