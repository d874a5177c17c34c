"""TSIRMT on a tiny copy of both its layouts."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import tsirmt


def make(root: Path, sequence: str, numbers: list[int]) -> None:
    for n in numbers:
        mask = np.zeros((30, 40), np.uint8)
        mask[4:6, n : n + 3] = 1
        for kind, image in (("images", np.full((30, 40), n, np.uint8)), ("masks", mask)):
            folder = root / kind / sequence
            folder.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(folder / f"{n}.png"), image)


@pytest.fixture
def read(tmp_path: Path):
    return partial(tsirmt.read, cache_dir=tmp_path / "cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for sequence in ("00001", "00002", "00003"):
        make(tmp_path / "set", sequence, [9, 10, 11])
    (tmp_path / "set/ImageSets").mkdir()
    (tmp_path / "set/ImageSets/train_new.txt").write_text("00003\r\n00001\r\n\r\n")
    (tmp_path / "set/ImageSets/val_new.txt").write_text("00002")
    return tmp_path / "set"


def test_reads_what_the_list_names(root: Path, read) -> None:
    assert [sequence.name for sequence in read(root, "train")] == ["00003", "00001"]
    (sequence,) = read(root, "val")
    # As text, 10 would come before 9; a mask of ones is a mask.
    assert [int(sequence.frames.read(i)[0, 0]) for i in range(3)] == [9, 10, 11]
    assert [boxes.tolist() for boxes in sequence.boxes] == [[[n, 4, n + 3, 6]] for n in (9, 10, 11)]
    assert sequence.indices.tolist() == [0, 1, 2]
    # The published loader wraps round the end of a sequence; here a clip stays in it.
    assert sequence.clip_indices(1, 5) == [0, 0, 0, 0, 1]


def test_low_snr_is_a_published_list(root: Path, read) -> None:
    for sequence in ("00004", "00005"):
        make(root, sequence, [1])
    (root / "ImageSets/val_new.txt").write_text("00002\n00004\n00005")
    (root / "val_snr_smaller_than_10.txt").write_text("00005\n00002\n00001\n")  # one is not of the split
    assert [sequence.name for sequence in read(root, "val", subset="low_snr")] == ["00002", "00005"]
    assert [sequence.name for sequence in read(root, "train", subset="low_snr")] == ["00003", "00001"]
    (root / "val_snr_smaller_than_10.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"low SNR.*looked for .*ImageSets/val_snr_smaller_than_10\.txt"):
        read(root, "val", subset="low_snr")
    with pytest.raises(ValueError, match=r"subset is 'dim'; allowed are None and 'low_snr'"):
        read(root, "val", subset="dim")


def test_folders_as_split(tmp_path: Path, read) -> None:
    make(tmp_path / "train", "00010", [1])
    make(tmp_path / "train", "00009", [1])
    make(tmp_path / "test", "00002", [1])
    assert [sequence.name for sequence in read(tmp_path, "train")] == ["00009", "00010"]
    assert [sequence.name for sequence in read(tmp_path, "val")] == ["00002"]


def test_what_is_missing_is_named(root: Path, read, caplog: pytest.LogCaptureFixture) -> None:
    (root / "ImageSets/val_new.txt").write_text("00002\n00003\n00007\nsix\n")
    with pytest.raises(DataError, match=r"val_new\.txt:4: expected a sequence .*, came 'six'"):
        read(root, "val")
    problems = Problems("skip")
    assert [sequence.name for sequence in read(root, "val", problems=problems)] == ["00002", "00003"]
    assert "both sides of the split, such as 00003" in caplog.text
    assert "images/00007: there is no such folder" in problems.found[1]
    (root / "ImageSets/val_new.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"looked for .*ImageSets/val_new\.txt, .*set/val_new\.txt"):
        read(root, "val")
    with pytest.raises(FileNotFoundError, match=r"looked for .*nowhere/images, .*nowhere/test/images"):
        read(root / "nowhere", "val")
