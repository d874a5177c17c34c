"""YOLO labels on tiny copies: folders and lists, recordings by folder and by prefix, empty frames, defects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import yolo


def frame(root: Path, name: str, grey: int, *lines: str) -> None:
    """A frame of 80x40 px and, if lines are given, its label file."""
    path = root / f"images/{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((40, 80), grey, np.uint8))
    if lines:
        labels = (root / f"labels/{name}").with_suffix(".txt")
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("\n".join(lines))


def describe(root: Path, train: str = "images/train", val: str = "images/val", names: str = "[drone, bird]") -> None:
    (root / "data.yaml").write_text(f"path: .\ntrain: {train}\nval: {val}\nnames: {names}\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folder ``a`` by numbers with 2 missing, one frame with an empty label file and one with none."""
    frame(tmp_path, "train/a/10.png", 100, "1 0.5 0.5 0.1 0.2", "0 0.25 0.75 0.05 0.05")
    frame(tmp_path, "train/a/9.png", 90, "0 0.0625 0.125 0.125 0.25")
    frame(tmp_path, "train/a/1.png", 10)
    frame(tmp_path, "train/a/11.png", 110, "")
    frame(tmp_path, "val/b/0.png", 5, "0 0.5 0.5 0.1 0.1")
    describe(tmp_path)
    return tmp_path


def greys(sequence: Any) -> list[int]:
    return [int(sequence.frames.read(i)[0, 0]) for i in range(len(sequence))]


def test_boxes_order_cuts_and_empty_frames(root: Path) -> None:
    (sequence,) = yolo.read(root, "train")
    assert sequence.name == "train_a"
    assert greys(sequence) == [10, 90, 100, 110]
    assert sequence.indices.tolist() == [0, 1, 2, 3]
    assert sequence.segment_start.tolist() == [0, 1, 1, 1]
    # 80x40 px: the centre 0.0625 of 80 is 5, the width 0.125 of 80 is 10, and so on.
    assert sequence.boxes[0].shape == (0, 4)
    assert sequence.boxes[1].tolist() == [[0, 0, 10, 10]]
    np.testing.assert_allclose(sequence.boxes[2], [[36, 16, 44, 24], [18, 29, 22, 31]], atol=1e-5)
    assert sequence.boxes[3].shape == (0, 4)
    assert [labels.tolist() for labels in sequence.labels] == [[], [0], [1, 0], []]
    assert yolo.class_names(root) == ("drone", "bird")
    (val,) = yolo.read(root, "val")
    assert val.name == "val_b"


def test_recordings_of_one_folder_by_prefix(tmp_path: Path) -> None:
    for name, grey in {"s1_2": 2, "s1_10": 10, "s2_1": 101, "s2_2": 102}.items():
        frame(tmp_path, f"train/{name}.png", grey, "0 0.5 0.5 0.1 0.1")
    describe(tmp_path)
    one, two = yolo.read(tmp_path, "train")
    assert (one.name, two.name) == ("train_s1", "train_s2")
    assert (greys(one), greys(two)) == ([2, 10], [101, 102])
    assert one.segment_start.tolist() == [0, 1]
    assert two.segment_start.tolist() == [0, 0]


def test_only_the_last_images_is_swapped(tmp_path: Path) -> None:
    image = tmp_path / "images/set/images/a/1.png"
    assert yolo.label_file(image) == tmp_path / "images/set/labels/a/1.txt"
    assert yolo.label_file(tmp_path / "myimages/1.png") == tmp_path / "myimages/1.txt"


def test_lists_and_several_places(root: Path) -> None:
    frame(root, "more/c/1.png", 1)
    (root / "lists").mkdir()
    (root / "lists/train.txt").write_text(
        f"{root}/images/train/a/9.png\n\n./../images/train/a/10.png\r\n/home/other/set/images/train/a/11.png\n"
    )
    describe(root, "[lists/train.txt, images/more]")
    first, second = yolo.read(root, "train")
    assert (first.name, greys(first)) == ("train_a", [90, 100, 110])
    assert (second.name, greys(second)) == ("more_c", [1])
    with (root / "lists/train.txt").open("a") as file:
        file.write("images/train/a/77.png\n")
    with pytest.raises(DataError, match=r"train\.txt:5: images/train/a/77\.png is missing"):
        yolo.read(root, "train")


@pytest.mark.parametrize("path", ["/nowhere/set", "../nowhere", None])
def test_a_set_that_was_moved(root: Path, path: str | None) -> None:
    head = f"path: {path}\n" if path else ""
    (root / "data.yaml").write_text(f"{head}train: ../images/train\nvalid: images/val\nnames: {{1: bird, 0: drone}}\n")
    assert yolo.read(root, "train")[0].name == "train_a"
    assert yolo.read(root, "val")[0].name == "val_b"
    assert yolo.class_names(root) == ("drone", "bird")


def test_a_recording_on_both_sides_is_named_by_side(root: Path) -> None:
    (root / "train.txt").write_text("images/train/a/9.png\n")
    (root / "val.txt").write_text("images/train/a/10.png\n")
    describe(root, "train.txt", "val.txt")
    assert yolo.read(root, "train")[0].name == "train_a@train"
    assert yolo.read(root, "val")[0].name == "train_a@val"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1", r"9\.txt:2: expected class xc yc w h .*, came '0 0\.5 0\.5 0\.1'"),
        ("drone 0.5 0.5 0.1 0.1", r"expected class xc yc w h"),
        ("2 0.5 0.5 0.1 0.1", r"class is 2; allowed are 0 to 1"),
        ("0 40 20 8 8", r"box 40 20 8 8 is not within 0\.\.1; expected fractions"),
        ("0 0.99 0.5 0.1 0.1", r"9\.txt:2: box .* reaches outside the 80x40 image"),
        ("0 0.5 0.5 0 0.1", r"has no area"),
    ],
)
def test_bad_lines_stop_or_are_left_out(root: Path, line: str, message: str) -> None:
    with (root / "labels/train/a/9.txt").open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(DataError, match=message):
        yolo.read(root, "train")
    problems = Problems("skip")
    (sequence,) = yolo.read(root, "train", problems=problems)
    assert sequence.boxes[1].tolist() == [[0, 0, 10, 10]]
    assert len(problems.found) == 1


def test_names_without_a_number_and_unreadable_frames(root: Path) -> None:
    frame(root, "train/a/cover.png", 1)
    (root / "images/train/d").mkdir()
    (root / "images/train/d/1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"cover\.png: the name tells no frame number"):
        yolo.read(root, "train")
    problems = Problems("skip")
    assert [s.name for s in yolo.read(root, "train", problems=problems)] == ["train_a"]
    assert len(problems.found) == 2


def test_labels_in_the_wrong_place(root: Path) -> None:
    (root / "labels").rename(root / "annotations")
    with pytest.raises(DataError, match=r"none of the 4 images of 'train' has a label file, .* would have .*\.txt"):
        yolo.read(root, "train")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("train: [", DataError, r"data\.yaml: is not YAML"),
        ("- 1", DataError, r"expected the keys path, train, val and names"),
        ("train: images/train\n", DataError, r"names is None; expected a list"),
        ("train: images/train\nnames: {1: a}\n", DataError, r"names has the numbers 1; they must go from 0"),
        ("val: images/val\nnames: [a]\n", DataError, r"has no 'train'"),
        ("train: {a: 1}\nnames: [a]\n", DataError, r"'train' is .*; expected a folder, a text file"),
        ("train: images/x\nnames: [a]\n", FileNotFoundError, r"'train' names images/x, which is not there; looked for"),
    ],
)
def test_bad_descriptions(root: Path, text: str, error: type[Exception], message: str) -> None:
    (root / "data.yaml").write_text(text)
    with pytest.raises(error, match=message):
        yolo.read(root, "train")


def test_no_description(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"read\.data=FILE.*data\.yaml, .*dataset\.yml\. data/README"):
        yolo.read(tmp_path, "train")
