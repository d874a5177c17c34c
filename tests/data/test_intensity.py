"""The range of 16-bit frames: from the data, the same everywhere, told once, and below a range that is given."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tdcnet.data.datamodule import ClipDataModule
from tdcnet.data.errors import DataError
from tdcnet.data.frames import ImageFiles
from tdcnet.data.intensity import data_range
from tdcnet.data.notices import tell_scale
from tdcnet.data.sequence import Sequence


def folder(root: Path, low: int, span: int, count: int = 6, dtype: type = np.uint16) -> Sequence:
    """Frames of evenly spread values from ``low`` to ``low + span``, with a dead and a hot pixel."""
    root.mkdir(parents=True)
    for i in range(count):
        values = np.random.default_rng(i).permutation(np.linspace(low, low + span, 64 * 80).round()).reshape(64, 80)
        values[3, 3], values[4, 4] = 0, np.iinfo(dtype).max
        assert cv2.imwrite(str(root / f"{i}.png"), values.astype(dtype))
    boxes, labels = [np.array([[1, 1, 5, 5]], np.float32)] * count, [np.zeros(1, np.int64)] * count
    frames = ImageFiles(root / f"{i}.png" for i in range(count))
    return Sequence(root.name, frames, boxes, labels, np.arange(count), np.zeros(count, np.int64))


def test_range_holds_nearly_all_with_a_margin(tmp_path: Path) -> None:
    found = data_range([folder(tmp_path / "a", 7000, 1000)])
    # Percentiles 7001 and 7999, and a tenth of 998 on each side; the two odd pixels of 5120 are outside.
    assert found == pytest.approx((6901, 8099), abs=2)
    both = data_range([folder(tmp_path / "b", 7000, 1000), folder(tmp_path / "c", 9000, 1000)])
    assert both == pytest.approx((7001 - 300, 9999 + 300), abs=4)
    assert data_range([folder(tmp_path / "d", 0, 65535)]) == (0, 65535)
    low, high = data_range([folder(tmp_path / "e", 5000, 0)]) or (0, 0)
    assert low < 5000 < high
    assert data_range([folder(tmp_path / "f", 10, 100, dtype=np.uint8)]) is None
    assert data_range([]) is None


def test_range_needs_no_frame_that_cannot_be_read(tmp_path: Path) -> None:
    sequence = folder(tmp_path / "a", 7000, 1000)
    expected = data_range([sequence])
    (tmp_path / "a" / "2.png").write_text("nothing")
    with pytest.raises(DataError):
        sequence.frames.read(2)
    assert data_range([sequence]) == pytest.approx(expected, abs=2)


def module(tmp_path: Path, **options: Any) -> ClipDataModule:
    def read(root: Path, split: str, **_: Any) -> list[Sequence]:
        path = tmp_path / split
        start = 7000 if split == "train" else 8000
        return [folder(path, start, 1000)] if not path.exists() else [_again(path)]

    return ClipDataModule(read, tmp_path, (64, 80), num_frames=2, align="none", **options)


def _again(path: Path) -> Sequence:
    files = sorted(path.glob("*.png"))
    n = len(files)
    empty = [np.zeros((0, 4), np.float32)] * n, [np.zeros(0, np.int64)] * n
    return Sequence(path.name, ImageFiles(files), *empty, np.arange(n), np.zeros(n, np.int64))


def test_training_and_evaluation_use_the_range_of_the_training_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    data = module(tmp_path)
    assert data.intensity_range is None
    data.setup("fit")
    assert data.intensity_range == pytest.approx((6901, 8099), abs=2)
    assert data.train_dataset and data.train_dataset.intensity_range == data.intensity_range
    assert data.val_dataset and data.val_dataset.intensity_range == data.intensity_range
    (told,) = [r.message for r in caplog.records if "frames have 16 bits" in r.message]
    assert "split 'train'" in told and "dataset.intensity_range=[low,high]" in told
    alone = module(tmp_path)
    alone.setup("validate")
    assert alone.intensity_range == pytest.approx((7901, 9099), abs=2)
    low, high = alone.intensity_range or (0, 0)
    assert alone.val_dataset is not None
    stored = torch.from_numpy(alone.val_dataset.sequences[0].frames.read(3).astype(np.float32))
    expected = ((stored - low) / (high - low)).clip(0, 1)
    torch.testing.assert_close(alone.val_dataset[3]["frames"][-1], expected)


def test_a_range_that_is_given_wins(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"intensity_range is \[5\]; expected two values"):
        module(tmp_path, intensity_range=[5])
    data = module(tmp_path, intensity_range=(0, 16383))
    data.setup("fit")
    assert data.intensity_range == (0, 16383)
    assert data.val_dataset and data.val_dataset.intensity_range == (0, 16383)


def test_frames_that_are_shrunk_far_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = module(tmp_path)
    data.size = (32, 32)
    data.setup("validate")
    assert "frames of 80x64 are shrunk to 0.40 of their size, the middle target of 4.0 px to 1.6 px" in caplog.text
    assert "dataset.size=[64,96]" in caplog.text
    caplog.clear()
    unlabelled = [replace(each, boxes=[np.zeros((0, 4), np.float32)] * len(each)) for each in data._read("val")]
    assert tell_scale("source", unlabelled, (32, 32)) == pytest.approx(0.4)
    assert "a target of 8.0 px to 3.2 px" in caplog.text
    caplog.clear()
    data = module(tmp_path)
    data.size = (32, 40)
    data.setup("validate")
    assert "are shrunk" not in caplog.text


def test_uneven_times_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sequence = folder(tmp_path / "source", 0, 255, dtype=np.uint8)
    sequence.frames.times = np.array([0, 0.02, 0.04, 0.06, 0.2, 0.22])  # type: ignore[attr-defined]
    data = module(tmp_path, stride=2)
    data._sequences["val"] = [sequence]
    data.setup("validate")
    (record,) = caplog.records
    assert "1 of 1 recordings have no constant frame rate, such as source (20 to 140 ms" in record.message
    assert "nearest to every 40 ms" in record.message
