"""SatVideoIRSDT on a tiny copy of its layout: folders are the split, lists of any grain choose among them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import satvideo_irsdt


def make(root: Path, split: str, *sequences: str, frames: int = 3) -> None:
    for sequence in sequences:
        for n in range(1, frames + 1):
            mask = np.zeros((30, 40), np.uint8)
            if n != 2:
                mask[6, n] = 255
            for kind, image in (("img", np.full((30, 40), n, np.uint8)), ("mask", mask)):
                folder = root / split / sequence / kind
                folder.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(folder / f"{n:06d}.png"), image)


@pytest.fixture
def read(tmp_path: Path):
    return partial(satvideo_irsdt.read, cache_dir=tmp_path / "cache")


def names(sequences: list) -> list[str]:
    return [sequence.name for sequence in sequences]


def test_three_splits_with_names_of_their_own(tmp_path: Path, read) -> None:
    for split in ("train", "val", "test"):
        make(tmp_path, split, "000001", "000002")
    every = [sequence.name for split in ("train", "val", "test") for sequence in read(tmp_path, split)]
    assert every == [f"{split}-00000{n}" for split in ("train", "val", "test") for n in (1, 2)]
    sequence = read(tmp_path, "val")[0]
    assert [boxes.tolist() for boxes in sequence.boxes] == [[[1, 6, 2, 7]], [], [[3, 6, 4, 7]]]
    assert sequence.indices.tolist() == [0, 1, 2]
    # The published loader shows early frames their future; here the first is repeated.
    assert sequence.clip_indices(1, 5) == [0, 0, 0, 0, 1]
    with pytest.raises(ValueError, match=r"split is 'valid'; allowed are 'train', 'val', 'test'"):
        read(tmp_path, "valid")
    with pytest.raises(FileNotFoundError, match=r"'test' split not found; looked for .*nowhere/test"):
        read(tmp_path / "nowhere", "test")


def test_list_that_matches_chooses(tmp_path: Path, read) -> None:
    make(tmp_path, "train", "000001_01", "000001_02", "000002", "000010")
    (tmp_path / "train.txt").write_text("000010\r\n000001_02\r\n")
    assert names(read(tmp_path, "train")) == ["train-000001_02", "train-000010"]


def test_list_of_frames(tmp_path: Path, read) -> None:
    make(tmp_path, "val", "000001", "000002")
    paths = [f"dataset\\SatVideoIRSDT\\val\\000001\\img\\{n:06d}.png" for n in (2, 3, 4)]
    (tmp_path / "val_list.txt").write_text("\n".join(paths))
    with pytest.raises(DataError, match=r"val_list\.txt:3: frame 4 of .*000001/img is listed, its file is missing"):
        read(tmp_path, "val")
    (sequence,) = read(tmp_path, "val", problems=Problems("skip"))
    assert sequence.name == "val-000001"
    assert (len(sequence), sequence.indices.tolist()) == (3, [1, 2])


@pytest.mark.parametrize(
    ("folders", "listed", "read_are"),
    [
        (["000001", "000002", "000003"], ["000001_01", "000001_02", "000002"], ["000001", "000002"]),
        (["000001_01", "000001_02", "000002", "000003"], ["000001", "000003"], ["000001_01", "000001_02", "000003"]),
    ],
)
def test_list_of_other_grain(
    tmp_path: Path, read, folders: list[str], listed: list[str], read_are: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "train", *folders)
    (tmp_path / "train.txt").write_text("\n".join(listed))
    assert names(read(tmp_path, "train")) == [f"train-{name}" for name in read_are]
    assert "cuts 1 recordings otherwise than the folders" in caplog.text
    assert "such as 000001" in caplog.text


def test_listed_but_not_there(tmp_path: Path, read) -> None:
    make(tmp_path, "train", "000001_01", "000002")
    # A part that is missing is no other grain, as long as the list has parts as the folders have.
    (tmp_path / "train.txt").write_text("000001_01\n000001_02\n000002\n000009\n")
    problems = Problems("skip")
    assert names(read(tmp_path, "train", problems=problems)) == ["train-000001_01", "train-000002"]
    assert [message.partition(": ")[2].partition(",")[0] for message in problems.found] == [
        "lists 000001_02",
        "lists 000009",
    ]


def test_split_without_masks(tmp_path: Path, read) -> None:
    make(tmp_path, "test", "000001")
    for path in (tmp_path / "test/000001/mask").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"000001/mask: holds no mask"):
        read(tmp_path, "test")
    with pytest.raises(DataError, match=r"the 'test' split holds no usable frame"):
        read(tmp_path, "test", problems=Problems("skip"))
