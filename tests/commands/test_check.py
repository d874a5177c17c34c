from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import pytest

from tdcnet.commands import check
from tdcnet.data.synthetic import SyntheticConfig, write_dataset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    config = SyntheticConfig(height=96, width=96, frames=6, targets=(1, 2), hot_spots=(0, 0))
    return write_dataset(tmp_path / "set", config, train_sequences=3, val_sequences=2)


def test_report_of_a_set_with_everything_wrong(root, tmp_path, capsys):
    """A broken file, a frame that comes twice, and a recording on both sides."""
    images = root / "images"
    sequence = sorted(p.name for p in images.iterdir())[0]
    frames = sorted((images / sequence).glob("*.png"))
    frames[3].write_bytes(frames[2].read_bytes())
    frames[4].write_bytes(b"no image")
    lines = (root / "train.txt").read_text().splitlines()
    with (root / "val.txt").open("a") as file:
        file.write("\n" + "\n".join(line for line in lines if f"/images/{sequence}/" in line) + "\n")
    assert check.main([str(tmp_path / "out"), "--format", "irstd_uav", "--root", str(root)]) == 0
    printed = capsys.readouterr().out
    assert "what is in it" in printed and "leak" in printed and "same sequence" in printed

    report = json.loads((tmp_path / "out" / "report.json").read_text())
    train = report["splits"]["train"]
    assert train["unreadable frames"] == 1 and train["repeated frames"] == 1
    assert any(leak["kind"] == "same sequence" and leak["other"] == sequence for leak in report["leaks"])
    assert sum(train["targets by size"].values()) == train["targets"] > 0
    with (tmp_path / "out" / "targets.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(row["split"] == "train" for row in rows) == train["targets"]
    for name in ("histograms.png", "targets.png"):
        assert cv2.imread(str(tmp_path / "out" / name)) is not None


def test_recordings_by_name(root, tmp_path, capsys):
    given = [str(tmp_path / "out"), "--format", "irstd_uav", "--root", str(root)]
    assert check.main([*given, "--group", "^"]) == 0
    leaks = json.loads((tmp_path / "out" / "report.json").read_text())["leaks"]
    assert len(leaks) == 6 and {leak["kind"] for leak in leaks} <= {"same recording", "near-duplicates"}
    assert check.main([*given, "--group", "nowhere"]) == 1
    assert "finds nothing in" in capsys.readouterr().err


def test_a_missing_set_is_told_in_one_line(tmp_path, capsys):
    assert check.main([str(tmp_path / "out"), "--format", "irdst", "--root", str(tmp_path / "nowhere")]) == 1
    assert "looked for" in capsys.readouterr().err
