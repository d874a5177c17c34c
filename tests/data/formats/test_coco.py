"""COCO JSON on tiny copies of its forms: COCO-VID, TAO, plain; ids from 0 or 1, files in several places, defects."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import coco, recordings


def frame(path: Path, grey: int, size: tuple[int, int] = (30, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full(size, grey, np.uint8))


def image(number: int, name: str, **keys: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "height": 30, "width": 40, **keys}


def annotation(number: int, owner: int, box: list[float], category: int = 0, **keys: Any) -> dict[str, Any]:
    return {"id": number, "image_id": owner, "category_id": category, "bbox": box, "iscrowd": 0, **keys}


def write(path: Path, images: list[Any], annotations: list[Any], **keys: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "drone"}], **keys}
    path.write_text(json.dumps(content))


def greys(sequence: Any) -> list[int]:
    return [int(sequence.frames.read(i)[0, 0]) for i in range(len(sequence))]


@pytest.fixture
def vid(tmp_path: Path) -> Path:
    """COCO-VID: two videos, entries and frames out of order, frame_id 3 of the first is missing, one frame is empty."""
    names = {0: "c", 1: "a", 2: "b", 4: "d", 5: "e"}
    for at, stem in names.items():
        frame(tmp_path / f"images/{stem}.png", 10 * at)
    frame(tmp_path / "images/z.png", 200)
    order = (4, 0, 2, 5, 1)
    images = [image(100 + at, f"images/{names[at]}.png", video_id=7, frame_id=at) for at in order]
    images.insert(1, image(1, "images/z.png", video_id=3, frame_id=0))
    boxes = [annotation(at + 1, 100 + at, [at + 0.5, 2, 3, 4.25], 9 if at % 2 else 4) for at in (5, 4, 1, 0)]
    write(
        tmp_path / "annotations/instances_train.json",
        images,
        boxes,
        videos=[{"id": 3, "name": "night/2"}, {"id": 7, "name": "day"}],
        categories=[{"id": 9, "name": "bird"}, {"id": 4, "name": "drone"}],
    )
    return tmp_path


def test_video_keys_give_recordings_order_and_cuts(vid: Path) -> None:
    day, night = coco.read(vid, "train")
    assert (day.name, night.name) == ("day", "night_2")
    assert greys(day) == [0, 10, 20, 40, 50]
    assert greys(night) == [200]
    assert day.indices.tolist() == [0, 1, 2, 3, 4]
    # No clip reaches from frame 4 back over the missing frame 3.
    assert day.segment_start.tolist() == [0, 0, 0, 3, 3]
    assert [boxes.tolist() for boxes in day.boxes] == [
        [[0.5, 2, 3.5, 6.25]],
        [[1.5, 2, 4.5, 6.25]],
        [],
        [[4.5, 2, 7.5, 6.25]],
        [[5.5, 2, 8.5, 6.25]],
    ]
    assert day.boxes[0].dtype == np.float32


def test_labels_count_categories_in_order_of_id(vid: Path) -> None:
    day, _ = coco.read(vid, "train")
    assert [labels.tolist() for labels in day.labels] == [[0], [1], [], [0], [1]]
    assert coco.class_names(vid) == ("drone", "bird")


def test_tao_says_frame_index(tmp_path: Path) -> None:
    for at in range(3):
        frame(tmp_path / f"{9 - at}.png", at)
    images = [image(at + 1, f"{9 - at}.png", video_id=0, frame_index=at) for at in (2, 0, 1)]
    write(tmp_path / "val.json", images, [], videos=[{"id": 0, "name": "v"}])
    (sequence,) = coco.read(tmp_path, "val")
    assert greys(sequence) == [0, 1, 2]


@pytest.mark.parametrize("category", [0, 1])
def test_plain_coco_goes_by_folder_and_number(tmp_path: Path, category: int) -> None:
    numbers = {"1": [2, 10, 1], "2": [0]}
    images = []
    for folder, listed in numbers.items():
        for number in listed:
            frame(tmp_path / f"images/{folder}/{number}.bmp", 10 * number)
            images.append(image(len(images), f"images/{folder}/{number}.bmp"))
    write(
        tmp_path / "train_coco.json",
        images,
        [annotation(1, 0, [1, 1, 2, 2], category)],
        categories=[{"id": category, "name": "0"}],
    )
    one, two = coco.read(tmp_path, "train")
    assert (one.name, two.name) == ("1", "2")
    assert greys(one) == [10, 20, 100]
    assert one.segment_start.tolist() == [0, 0, 2]
    assert one.boxes[1].tolist() == [[1, 1, 3, 3]]
    assert one.labels[1].tolist() == [0]


def test_recordings_of_one_folder_are_told_apart_by_their_prefix(tmp_path: Path) -> None:
    names = ["cam1_001.png", "cam1_002.png", "cam2_001.png", "cam2_002.png"]
    for at, name in enumerate(names):
        frame(tmp_path / "images/train" / name, at)
    write(tmp_path / "train.json", [image(at, name) for at, name in enumerate(names)], [])
    one, two = coco.read(tmp_path, "train")
    assert (one.name, two.name) == ("cam1", "cam2")
    assert (greys(one), greys(two)) == ([0, 1], [2, 3])


@pytest.mark.parametrize("name", ["/home/other/set/images/3/5.png", "C:\\set\\images\\3\\5.png"])
def test_paths_of_another_machine(tmp_path: Path, name: str) -> None:
    frame(tmp_path / "images/3/5.png", 7)
    write(tmp_path / "annotations/train.json", [image(1, name)], [])
    (sequence,) = coco.read(tmp_path, "train")
    assert greys(sequence) == [7]


def test_options_name_files_and_folder(tmp_path: Path) -> None:
    frame(tmp_path / "frames/far/1.png", 9)
    write(tmp_path / "here/mine.json", [image(1, "1.png")], [])
    with pytest.raises(FileNotFoundError, match=r"annotations/instances_val\.json, .*val_coco\.json.*README"):
        coco.read(tmp_path, "val")
    with pytest.raises(FileNotFoundError, match=r"mine\.json: none of its images .*1\.png; looked in .*images=FOLDER"):
        coco.read(tmp_path, "val", val="here/mine.json")
    (sequence,) = coco.read(tmp_path, "val", val="here/mine.json", images="frames/far")
    assert greys(sequence) == [9]


def test_crowds_are_left_out(tmp_path: Path) -> None:
    frame(tmp_path / "1.png", 0)
    boxes = [annotation(1, 1, [0, 0, 30, 20], iscrowd=1, segmentation={"counts": []}), annotation(2, 1, [3, 4, 5, 6])]
    write(tmp_path / "train.json", [image(1, "1.png")], boxes)
    (sequence,) = coco.read(tmp_path, "train")
    assert sequence.boxes[0].tolist() == [[3, 4, 8, 10]]


GOOD = [image(1, "v/1.png"), image(2, "v/2.png"), image(3, "v/3.png")]
BAD_IMAGES = {
    "id_twice": (image(1, "v/4.png"), r"image 1: its id is that of an earlier image"),
    "missing": (image(4, "v/9.png"), r"image 4: its file .*9\.png is missing"),
    "size": (image(4, "v/4.png", width=41), r"image 4: says 41x30, but the frames of v are 40x30"),
    "no_number": (image(4, "v/x.png"), r"image 4: 'v/x\.png' tells no frame number"),
    "no_name": ({"id": 4}, r"image 4: file_name is None"),
    "frame_twice": (image(4, "v/03.png"), r"image 4: is frame 3 of v, and so is 3\.png"),
}
BAD_ANNOTATIONS = {
    "unknown_image": (annotation(5, 77, [1, 1, 2, 2]), r"annotation 5: there is no image 77"),
    "id_twice": (annotation(1, 2, [1, 1, 2, 2]), r"annotation 1: its id is that of an earlier annotation"),
    "category": (annotation(5, 2, [1, 1, 2, 2], 3), r"annotation 5: category_id is 3; allowed are 0"),
    "bbox": (annotation(5, 2, [1, 1, 2]), r"annotation 5: bbox is \[1, 1, 2\], expected \[x, y, width, height\]"),
    "outside": (annotation(5, 2, [38, 1, 4, 2]), r"annotation 5: box 38,1,42,3 reaches outside the 40x30 image"),
}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    for at in ("1", "2", "3", "03", "4"):
        frame(tmp_path / f"v/{at}.png", int(at))
    return tmp_path


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_images_stop_or_are_left_out(good: Path, case: str) -> None:
    entry, message = BAD_IMAGES[case]
    write(good / "train.json", [*GOOD, entry], [annotation(1, 1, [1, 1, 2, 2])])
    with pytest.raises(DataError, match=message):
        coco.read(good, "train")
    problems = Problems("skip")
    (sequence,) = coco.read(good, "train", problems=problems)
    assert greys(sequence) == [1, 2, 3]
    assert len(problems.found) == 1


@pytest.mark.parametrize("case", BAD_ANNOTATIONS)
def test_bad_annotations_stop_or_are_left_out(good: Path, case: str) -> None:
    entry, message = BAD_ANNOTATIONS[case]
    write(good / "train.json", GOOD, [annotation(1, 1, [1, 1, 2, 2]), entry])
    with pytest.raises(DataError, match=message):
        coco.read(good, "train")
    problems = Problems("skip")
    (sequence,) = coco.read(good, "train", problems=problems)
    assert [len(boxes) for boxes in sequence.boxes] == [1, 0, 0]
    assert len(problems.found) == 1


def test_annotations_of_a_missing_file_are_not_reported_again(good: Path) -> None:
    write(good / "train.json", [*GOOD, image(4, "v/9.png")], [annotation(1, 4, [1, 1, 2, 2])])
    problems = Problems("skip")
    coco.read(good, "train", problems=problems)
    assert len(problems.found) == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"images": []}', '{"images": [1], "annotations": []}'])
def test_what_is_not_coco(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DataError, match=r"train\.json: .*(again|holds no usable frame)"):
        coco.read(tmp_path, "train")


def test_a_recording_on_both_sides_is_reported_and_named_by_side(good: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(good / "train.json", GOOD[:2], [])
    write(good / "val.json", GOOD[2:], [])
    with caplog.at_level(logging.WARNING):
        (train,) = coco.read(good, "train")
        (val,) = coco.read(good, "val")
    # One name would mean one file of homographies for both.
    assert (train.name, val.name) == ("v@train", "v@val")
    assert "1 of 1 recordings of 'train' are on the other side too, such as v" in caplog.text


def test_sides_with_other_categories(good: Path) -> None:
    write(good / "train.json", GOOD[:2], [])
    write(good / "val.json", GOOD[2:], [], categories=[{"id": 0, "name": "bird"}])
    with pytest.raises(DataError, match=r"train\.json: has the categories drone, but val\.json has bird"):
        coco.read(good, "train")


def test_frames_that_never_follow_each_other_are_mentioned(good: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(good / "train.json", [GOOD[0], GOOD[2]], [])
    with caplog.at_level(logging.WARNING):
        coco.read(good, "train")
    assert "in 1 of 1 recordings no frame follows another" in caplog.text


def test_a_split_file_deals_out_anew(tmp_path: Path) -> None:
    for folder in "abc":
        frame(tmp_path / f"images/{folder}/0.png", ord(folder))
    write(tmp_path / "train.json", [image(1, "a/0.png"), image(2, "b/0.png")], [annotation(1, 2, [1, 2, 3, 4])])
    write(tmp_path / "val.json", [image(1, "c/0.png")], [])
    assert [s.name for s in coco.read_all(tmp_path)] == ["a", "b", "c"]
    (tmp_path / "split.json").write_text('{"train": ["c", "a"], "val": ["b"]}')
    (val,) = coco.read(tmp_path, "val", split_file="split.json")
    assert (val.name, val.boxes[0].tolist()) == ("b", [[1, 2, 4, 6]])
    assert [s.name for s in coco.read(tmp_path, "train", split_file="split.json")] == ["c", "a"]
    (tmp_path / "split.json").write_text('{"train": ["d"], "val": ["b"]}')
    with pytest.raises(DataError, match=r"split\.json: names 'd', which no JSON file has"):
        coco.read(tmp_path, "train", split_file="split.json")


def test_names_of_recordings() -> None:
    own = [("images/1", ""), ("x/images", "a_"), ("x/images", "b_"), ("", ""), ("s/1", ""), ("s_1", "")]
    names = recordings.name_recordings(own, [], "train")
    assert names == {
        ("images/1", ""): "1",
        ("x/images", "a_"): "x_a",
        ("x/images", "b_"): "x_b",
        ("", ""): "frames",
        ("s/1", ""): "s_1",
        ("s_1", ""): "s_1-2",
    }
