"""Wrong types and numbers that are none, in every file of labels: a message with file and place, or a counted skip."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import anti_uav, common, irstd_uav, uestc, video_csv, yolo

ODD = [
    "nan",
    "inf",
    "-inf",
    "1e999",
    "1" * 400,
    "1e12",
    "true",
    "x" * 6000,
    "\x1b[2J",
    "1_0",
    "\u0661",
    "0x10",
    "",
    " ",
]
"""Text where a number is expected."""
WRONG = [None, True, 1, 1.5, "x" * 6000, [], [1], [[1]], {}, {"a": 1}, 10**25, float("nan")]
"""Values of JSON and YAML."""


def frames(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / name), np.full((20, 40), 7, np.uint8))


def told(error: Exception, root: Path) -> None:
    text = str(error)
    assert isinstance(error, DataError) and str(root) in text and len(text) < 2500 and text.isprintable(), text[:300]


@pytest.mark.parametrize("odd", ODD)
def test_a_number_in_a_list(tmp_path: Path, odd: str) -> None:
    frames(tmp_path / "images/1", ["0.png", "1.png"])
    for token in (f"{odd},1,5,5,0", f"1,1,5,5,{odd}"):
        lines = [
            "/images/1/0.png 1,1,5,5,0",
            f"/images/1/1.png {token}",
            f"/images/{odd}/1.png",
            f"/images/1/{odd}.png",
        ]
        (tmp_path / "train.txt").write_text("\n".join(lines))
        for read in (
            lambda problems: irstd_uav.read(tmp_path, "train", problems=problems),
            lambda problems: uestc.read_set(tmp_path, "train", "X", ("target",), problems),
        ):
            with pytest.raises(DataError) as raised:
                read(Problems())
            told(raised.value, tmp_path)
            problems = Problems("skip")
            (sequence,) = read(problems)
            assert [len(boxes) for boxes in sequence.boxes] == [1, 0] and problems.found


@pytest.mark.parametrize("odd", ODD)
def test_a_number_in_a_table(tmp_path: Path, odd: str) -> None:
    frames(tmp_path / "a", ["0.png", "1.png"])
    (tmp_path / "split.json").write_text('{"train": ["a"], "val": []}')
    for row in (f"a,{odd},1,1,5,5,t", f"a,1,{odd},1,5,5,t"):
        (tmp_path / "labels.csv").write_text(f"{video_csv.HEADER}\na,0,1,1,5,5,t\n{row}\n")
        with pytest.raises(DataError, match=r"labels\.csv") as raised:
            video_csv.read(tmp_path, "train")
        told(raised.value, tmp_path)
        problems = Problems("skip")
        (sequence,) = video_csv.read(tmp_path, "train", problems=problems)
        assert [len(boxes) for boxes in sequence.boxes] == [1, 0] and len(problems.found) == 1


def test_whole_numbers_as_pandas_writes_them(tmp_path: Path) -> None:
    frames(tmp_path / "a", ["0.png", "1.png"])
    (tmp_path / "labels.csv").write_text(f"{video_csv.HEADER},split\na,1.0,1,1,5,5,t,train\n")
    (sequence,) = video_csv.read(tmp_path, "train")
    assert [len(boxes) for boxes in sequence.boxes] == [0, 1]


def yolo_set(root: Path) -> None:
    frames(root / "images/train/a", ["0.png", "1.png"])
    (root / "labels/train/a").mkdir(parents=True, exist_ok=True)
    (root / "labels/train/a/0.txt").write_text("0.0 .5 .5 .1 .2")
    (root / "data.yaml").write_text("train: images/train\nnames: [a]\n")


@pytest.mark.parametrize("odd", ODD[:-2])
def test_a_number_in_a_yolo_label(tmp_path: Path, odd: str) -> None:
    yolo_set(tmp_path)
    for line in (f"{odd} .5 .5 .1 .2", f"0 {odd} .5 .1 .2"):
        (tmp_path / "labels/train/a/1.txt").write_text(line)
        with pytest.raises(DataError, match=r"1\.txt:1") as raised:
            yolo.read(tmp_path, "train")
        told(raised.value, tmp_path)
        problems = Problems("skip")
        (sequence,) = yolo.read(tmp_path, "train", problems=problems)
        assert [len(boxes) for boxes in sequence.boxes] == [1, 0] and len(problems.found) == 1


@pytest.mark.parametrize("key", ["path", "train", "names", "nc"])
def test_a_wrong_type_in_data_yaml(tmp_path: Path, key: str) -> None:
    for wrong in WRONG:
        yolo_set(tmp_path)
        content = {"train": "images/train", "names": ["a"], key: wrong}
        (tmp_path / "data.yaml").write_text(json.dumps(content).replace("NaN", ".nan"))
        try:
            yolo.read(tmp_path, "train")
        except FileNotFoundError as error:
            assert key == "train" and len(str(error)) < 40_000
        except DataError as error:
            told(error, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nc: 99999999", "nc is 99999999; expected the number of classes, 1 to 10000"),
        ("nc: 0", "nc is 0; expected"),
        ("nc: -1", "nc is -1; expected"),
        ("nc: two", "nc is 'two'; expected"),
        ("nc: 2\nnames: [a]", "nc is 2, but names has 1"),
        ("names: [a, a]", r"names has one name twice"),
        ("names: [yes, no]", r"names is \[True, False\]; expected a list of class names.*quotes"),
        ("names: {0: a, 2: b}", "names has the numbers 0, 2; they must go from 0 up"),
        ("names: {0: a, x: b}", "names has the numbers 0, x; they must go from 0 up"),
    ],
)
def test_numbers_and_names_of_classes(tmp_path: Path, text: str, message: str) -> None:
    yolo_set(tmp_path)
    (tmp_path / "data.yaml").write_text(f"train: images/train\n{text}\n")
    with pytest.raises(DataError, match=rf"data\.yaml: {message}"):
        yolo.read(tmp_path, "train")


@pytest.mark.parametrize("key", ["exist", "gt_rect"])
def test_a_wrong_type_in_anti_uav(tmp_path: Path, key: str) -> None:
    frames(tmp_path / "train/1", ["000001.jpg", "000002.jpg"])
    good: dict[str, Any] = {"exist": [1, 1], "gt_rect": [[1, 1, 4, 4], [2, 1, 4, 4]]}
    for wrong in WRONG:
        for content in ({**good, key: wrong}, {**good, key: [good[key][0], wrong]}, wrong):
            if content == good or (key == "exist" and wrong in (1, True)):
                continue
            (tmp_path / "train/1/IR_label.json").write_text(json.dumps(content))
            with pytest.raises(DataError) as raised:
                anti_uav.read(tmp_path, "train")
            told(raised.value, tmp_path)


def test_a_wrong_type_in_a_split(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    for wrong in [each for each in WRONG if each != []]:
        for content in (wrong, {"train": wrong, "val": []}, {"train": ["a", wrong], "val": []}, {"train": ["a"]}):
            if content == {"train": ["a", "x" * 6000], "val": []}:
                continue
            path.write_text(json.dumps(content))
            with pytest.raises(DataError, match=r"split\.json.* It must be a line such as") as raised:
                common.read_split_file(path)
            told(raised.value, tmp_path)


def test_nan_in_a_name_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"name": "a, NaN, \\" -Infinity", "x": [NaN, 0.12345678901234567890123, -Infinity, 1e999]}')
    assert common.read_labels(path) == {
        "name": 'a, NaN, " -Infinity',
        "x": ["NaN", 0.12345678901234567890123, "-Infinity", "1e999"],
    }
    path.write_text("[" * 200_000)
    started = time.process_time()
    with pytest.raises(DataError, match="nested"):
        common.read_labels(path)
    del started
