"""DAUB on a tiny copy of its layout: folders within folders, a list and a JSON that say the same in two ways."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import daub
from tests.fuzz import layouts

# Frame 2 of data5 is empty; 10 and 9 tell order of numbers from order of strings.
BOXES = {0: (67, 106, 75, 114), 1: (68, 106, 76, 114), 2: None, 9: (120, 0, 128, 8), 10: (122, 0, 128, 8)}


def make(root: Path, folder: str, numbers: list[int]) -> None:
    (root / "images" / folder).mkdir(parents=True)
    for number in numbers:
        assert cv2.imwrite(str(root / f"images/{folder}/{number}.bmp"), np.full((128, 128), number, np.uint8))


def line(folder: str, number: int, box: tuple[int, int, int, int] | None) -> str:
    text = "" if box is None else " " + ",".join(map(str, (*box, 0)))
    return f"/home/public/DAUB/images/{folder}/{number}.bmp{text}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make(tmp_path, "train/data5", list(BOXES))
    make(tmp_path, "test/data6", [0, 1])
    (tmp_path / "train.txt").write_text("\r\n".join(line("train/data5", n, box) for n, box in BOXES.items()))
    (tmp_path / "val.txt").write_text("\n".join(line("test/data6", n, (0, 0, 8, 8)) for n in (0, 1)) + "\n\n")
    return tmp_path


def coco(category: int) -> dict[str, Any]:
    images = [
        {"height": 128, "width": 128, "id": i, "file_name": f"images/train/data5/{n}.bmp"}
        for i, n in enumerate(BOXES, start=1)
    ]
    annotations = [
        {
            "segmentation": [[]],
            "iscrowd": 0,
            "image_id": i,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "category_id": category,
            "id": i,
        }
        for i, box in enumerate(BOXES.values(), start=1)
        if box is not None
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": category, "name": "target"}]}


def check(sequences: list[Any]) -> None:
    (sequence,) = sequences
    assert sequence.name == "train_data5"
    assert [int(sequence.frames.read(i)[0, 0]) for i in range(5)] == [0, 1, 2, 9, 10]
    assert sequence.indices.tolist() == [0, 1, 2, 3, 4]
    assert sequence.segment_start.tolist() == [0] * 5
    assert [boxes.tolist() for boxes in sequence.boxes] == [[] if b is None else [list(b)] for b in BOXES.values()]
    assert [labels.tolist() for labels in sequence.labels] == [[0], [0], [], [0], [0]]
    assert sequence.aligned_files is None


def test_reads_folders_within_folders(root: Path) -> None:
    check(daub.read(root, "train"))
    (sequence,) = daub.read(root, "val")
    assert sequence.name == "test_data6"
    assert len(sequence.indices) == 2


@pytest.mark.parametrize("category", [0, 1])
@pytest.mark.parametrize("name", ["instances_train2017.json", "DAUB_instances_train2017.json"])
def test_json_says_the_same(root: Path, name: str, category: int) -> None:
    (root / "train.txt").unlink()
    (root / name).write_text(json.dumps(coco(category)))
    check(daub.read(root, "train"))


def test_lists_by_their_other_name(root: Path) -> None:
    (root / "train.txt").rename(root / "coco_train_DAUB.txt")
    check(daub.read(root, "train"))
    (root / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.txt, .*coco_val_DAUB\.txt, .*instances_test2017\.json"):
        daub.read(root, "val")


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ("images/train/data5/x.bmp", "expected .../images/FOLDER/NUMBER.bmp"),
        ("/home/images/5.bmp 1,1,9,9,0", "expected .../images/FOLDER/NUMBER.bmp"),
        ("/home/images/../../5.bmp 1,1,9,9,0", "expected .../images/FOLDER/NUMBER.bmp"),
        ("/home/pictures/data5/5.bmp 1,1,9,9,0", "expected .../images/FOLDER/NUMBER.bmp"),
        ("C:\\DAUB\\images\\train\\data5\\1.bmp", "listed a second time"),
        ("images/train/data5/11.bmp 1,1,9,9,0", "its file is missing"),
    ],
)
def test_bad_lines_stop_or_are_left_out(root: Path, bad: str, what: str) -> None:
    with (root / "train.txt").open("a") as file:
        file.write(f"\n{bad}\n")
    with pytest.raises(DataError, match=r"train\.txt:6: ") as raised:
        daub.read(root, "train")
    assert what in str(raised.value)
    problems = Problems("skip")
    check(daub.read(root, "train", problems=problems))
    assert len(problems.found) == 1


@pytest.mark.parametrize("bad", ["1,1,9,9", "1,1,9,9,1", "9,1,1,9,0", "120,1,130,9,0"])
def test_bad_boxes_stop_or_are_left_out(root: Path, bad: str) -> None:
    with (root / "train.txt").open("a") as file:
        file.write(f" {bad}")  # a second box on the last line
    with pytest.raises(DataError, match=r"train\.txt:5: box"):
        daub.read(root, "train")
    problems = Problems("skip")
    check(daub.read(root, "train", problems=problems))
    assert len(problems.found) == 1


def test_bad_json_entries(root: Path) -> None:
    (root / "train.txt").unlink()
    path = root / "instances_train2017.json"
    data = coco(1)
    data["images"].append({"id": 77})
    data["annotations"] += [
        {"image_id": 99, "category_id": 1, "bbox": [1, 1, 8, 8]},
        {"image_id": 1, "category_id": 1, "bbox": [1, 1, 8]},
        {"image_id": 1, "category_id": 2, "bbox": [1, 1, 8, 8]},
    ]
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match=r"image 5: has no id or no file_name"):
        daub.read(root, "train")
    problems = Problems("skip")
    check(daub.read(root, "train", problems=problems))
    assert len(problems.found) == 4
    path.write_text(json.dumps(data | {"categories": [{"id": 1}, {"id": 2}]}))
    with pytest.raises(DataError, match=r"has the categories \[1, 2\], expected 1"):
        daub.read(root, "train")
    path.write_text('{"images": []}')
    with pytest.raises(DataError, match="is no COCO file"):
        daub.read(root, "train")


def test_warns_of_a_video_on_both_sides(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        daub.read(root, "train")
        assert not caplog.records
        make(root, "test/data5", [0])
        with (root / "val.txt").open("a") as file:
            # A fault of the other side is not this side's.
            file.write("nonsense\n" + line("test/data5", 0, (0, 0, 8, 8)))
        daub.read(root, "train")
    assert "1 entries are on both sides of the split, such as data5" in caplog.text


def test_lists_of_daub_r(tmp_path: Path) -> None:
    """MoPKL's division has the form of DAUB; where lists of val and of test lie there, val is val's."""
    layouts.daub(tmp_path)
    for side in ("train", "val"):
        (tmp_path / f"{side}.txt").rename(tmp_path / f"coco_{side}_DAUB-R.txt")
    assert [daub.read(tmp_path, side)[0].name for side in ("train", "val")] == ["train_data5", "test_data6"]
    for path in tmp_path.glob("*.txt"):
        path.unlink()
    layouts.daub_json(tmp_path)
    content = json.loads((tmp_path / "instances_test2017.json").read_text())
    (tmp_path / "instances_val2017.json").write_text(json.dumps({**content, "annotations": []}))
    assert sum(len(boxes) for boxes in daub.read(tmp_path, "val")[0].boxes) == 0
