"""ITSDT-15K on a tiny copy of its layout: several boxes per frame, and a list that starts with an empty frame."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data.clips import ClipDataset
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import itsdt


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Train 1: frames 0 (empty), 1 (two boxes), 2 (empty); train 2: frame 0; val 58: frame 0."""
    for folder, count in (("1", 3), ("2", 1), ("58", 1)):
        (tmp_path / "images" / folder).mkdir(parents=True)
        for number in range(count):
            assert cv2.imwrite(str(tmp_path / f"images/{folder}/{number}.bmp"), np.full((48, 64), 9, np.uint8))
    prefix = "/home/dww/dataset/ITSDT/images"
    (tmp_path / "coco_train_ITSDT.txt").write_text(
        f"{prefix}/1/0.bmp\n{prefix}/1/1.bmp 1,2,11,8,0 50,40,64,48,0\n{prefix}/1/2.bmp \n{prefix}/2/0.bmp 0,0,4,4,0"
    )
    (tmp_path / "coco_val_ITSDT.txt").write_text(f"{prefix}/58/0.bmp 5,5,9,9,0\n")
    return tmp_path


def test_empty_frames_are_kept(root: Path) -> None:
    first, second = itsdt.read(root, "train")
    assert (first.name, second.name) == ("1", "2")
    assert first.indices.tolist() == [0, 1, 2]
    assert [boxes.tolist() for boxes in first.boxes] == [[], [[1, 2, 11, 8], [50, 40, 64, 48]], []]
    assert first.boxes[0].shape == (0, 4)
    assert len(ClipDataset([first, second], (64, 64))) == 4
    (val,) = itsdt.read(root, "val")
    assert val.boxes[0].tolist() == [[5, 5, 9, 9]]


def test_images_without_annotation_are_kept(root: Path) -> None:
    (root / "coco_train_ITSDT.txt").unlink()
    (root / "annotations").mkdir()
    data = {
        "images": [{"id": i, "file_name": f"images/1/{i}.bmp", "height": 48, "width": 64} for i in range(3)],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1.0, 2.0, 10.0, 6.0], "segmentation": [[]]}
        ],
        "categories": [{"id": 1, "name": "target"}],
    }
    (root / "annotations/instances_train2017.json").write_text(json.dumps(data))
    (sequence,) = itsdt.read(root, "train")
    assert sequence.indices.tolist() == [0, 1, 2]
    assert [boxes.tolist() for boxes in sequence.boxes] == [[], [[1, 2, 11, 8]], []]


def test_folder_that_is_not_there(root: Path) -> None:
    with (root / "coco_train_ITSDT.txt").open("a") as file:
        file.write("\nx/images/40/0.bmp 1,1,5,5,0\n")
    with pytest.raises(DataError, match=r"40: holds no image, but coco_train_ITSDT\.txt lists 1 of its frames"):
        itsdt.read(root, "train")
    problems = Problems("skip")
    assert [sequence.name for sequence in itsdt.read(root, "train", problems=problems)] == ["1", "2"]
    assert len(problems.found) == 1
