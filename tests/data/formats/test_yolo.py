"""YOLO labels on tiny copies: folders and lists, recordings by folder and by prefix, empty frames, defects."""

from __future__ import annotations

import logging
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
        ("0 0.5 0.5 -0.1 0.1", r"9\.txt:2: the width of box 0\.5 0\.5 -0\.1 0\.1 is -0\.1"),
        ("0 0.5 0.5 0.1 -2", r"9\.txt:2: the height of box .* is -2"),
        ("0 0.5 1.02 0.1 0.1", r"9\.txt:2: box .* is not within 0\.\.1; .*\(yc is 1\.02\)"),
        ("0 .5 .5 .6 .5 .6 1.3", r"not within 0\.\.1; .*\(y is 1\.3\)"),
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


# -- all boxes together ------------------------------------------------------------------------------------------------


def one_each(root: Path, *lines: str) -> Path:
    for at, line in enumerate(lines):
        frame(root, f"train/a/{at}.png", 9, line)
    describe(root, val="images/train")
    return root


@pytest.mark.parametrize(
    ("lines", "example"),
    [
        (["0 .9 .9 .95 .95"] * 4, "0.9 0.9 0.95 0.95"),
        ([f"0 .{n} .5 .{n}5 .55" for n in range(1, 9)], r"0\.[78] 0\.5"),
        (["1 .1 .2 .2 .3", "0 .45 .45 .55 .55", "0 .8 .1 .9 .2"], "0.8 0.1 0.9 0.2"),
    ],
)
@pytest.mark.parametrize("policy", ["error", "skip"])
def test_corners_where_centres_are_meant(tmp_path: Path, lines: list[str], example: str, policy: Any) -> None:
    with pytest.raises(DataError, match=rf"data\.yaml: .* corners x1 y1 x2 y2, such as {example}.*Write"):
        yolo.read(one_each(tmp_path, *lines), "train", problems=Problems(policy))


def test_corners_that_could_be_centres(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = one_each(tmp_path, *["0 .45 .45 .55 .55"] * 4)
    with pytest.raises(DataError, match=r"data\.yaml: .*corners.* take up 30% of the image.*on_bad_frame=skip goes on"):
        yolo.read(root, "train")
    with caplog.at_level(logging.WARNING):
        (sequence,) = yolo.read(root, "train", problems=Problems("skip"))
    assert "the boxes seem to be corners" in caplog.text
    np.testing.assert_allclose(sequence.boxes[0], [[14, 7, 58, 29]], atol=1e-4)  # (.45 -+ .55 / 2) of 80 and of 40


@pytest.mark.parametrize(
    "lines",
    [
        ["0 .5 .5 1 1"] * 4,  # whole frames
        ["0 .2 .2 .25 .25", "0 .5 .5 .1 .1", "0 .3 .3 .35 .35"],  # one is smaller than its centre is far
        ["0 .05 .05 .06 .06"] * 3,  # small and in the corner
        ["0 .4 .4 .5 .5"] * 2,  # two may be large
        ["0 .4 .4 .9 .4 .9 .9"] * 3,  # polygons
    ],
)
def test_large_boxes_are_no_corners(tmp_path: Path, lines: list[str], caplog: pytest.LogCaptureFixture) -> None:
    (sequence,) = yolo.read(one_each(tmp_path, *lines), "train")
    assert all(len(boxes) == 1 for boxes in sequence.boxes)
    assert "corners" not in caplog.text


@pytest.mark.parametrize("line", ["0 .5 .5 -.1 .1", "0 1.02 .5 .1 .1", "0 .5 .5 1.4 .1"])
def test_what_is_no_px_is_not_called_so(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match=r"0\.txt:1: .*(is -0\.1|is 1\.02|is 1\.4)") as raised:
        yolo.read(one_each(tmp_path, *[line] * 8), "train")
    assert "seem to be" not in str(raised.value)


def test_labels_without_an_image_are_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "labels/train/a/classes.txt").write_text("drone\nbird\n")
    (root / "labels/train/a/12.txt").write_text("")
    yolo.read(root, "train")
    assert "have no image" not in caplog.text
    (root / "images/train/a/10.png").unlink()
    (root / "labels/train/c").mkdir()
    (root / "labels/train/c/1.txt").write_text("0 .5 .5 .1 .1\n0 .2 .2 .1 .1\n1 .4 .4 .1 .1\n")
    yolo.read(root, "train")
    told = f"2 label files with 5 boxes have no image, such as {root / 'labels/train/a/10.txt'}"
    assert caplog.text.count("have no image") == 1 and told in caplog.text
    caplog.clear()
    # An image that is of no side is no missing one.
    (root / "train.txt").write_text("images/train/a/9.png\n")
    frame(root, "train/a/10.png", 100)
    describe(root, "train.txt")
    yolo.read(root, "train")
    assert "have no image" not in caplog.text
    (root / "images/train/a/10.png").unlink()
    yolo.read(root, "train")
    assert "1 label files with 2 boxes have no image" in caplog.text


def test_labels_beside_the_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for at in range(3):
        path = tmp_path / f"frames/{at}.png"
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), np.full((40, 80), at, np.uint8))
        path.with_suffix(".txt").write_text("0 .5 .5 .1 .1\n")
    (tmp_path / "frames/train.txt").write_text("frames/0.png\n")
    describe(tmp_path, "frames", "frames")
    (sequence,) = yolo.read(tmp_path, "train")
    assert len(sequence) == 3 and "have no image" not in caplog.text
    (tmp_path / "frames/1.png").unlink()
    yolo.read(tmp_path, "train")
    assert "1 label files with 1 boxes have no image" in caplog.text


def test_a_frame_whose_labels_cannot_be_read_is_left_out_and_not_taken_for_empty(root: Path) -> None:
    label = root / "labels/train/a/9.txt"
    label.write_bytes(b"\xe9\xe8 0 1")  # of another encoding
    with pytest.raises(DataError, match=r"9\.txt: cannot be used"):
        yolo.read(root, "train")
    (sequence,) = yolo.read(root, "train", problems=Problems("skip"))
    assert greys(sequence) == [10, 100, 110]
