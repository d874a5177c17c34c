"""COCO as tools export it: shapes without boxes, ids as text, numbers that are none. Each is read right or named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import coco, coco_shapes

Content = dict[str, Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "v").mkdir()
    for t in range(3):
        cv2.imwrite(str(tmp_path / f"v/{t}.png"), np.full((30, 40), t, np.uint8))
    return tmp_path


def content() -> Content:
    """A box of 4 x 5 px at (10 + t, 6) on each of three frames."""
    return {
        "images": [{"id": t, "file_name": f"v/{t}.png", "height": 30, "width": 40} for t in range(3)],
        "annotations": [
            {"id": t, "image_id": t, "category_id": 1, "bbox": [10 + t, 6, 4, 5], "iscrowd": 0} for t in range(3)
        ],
        "categories": [{"id": 1, "name": "drone"}],
    }


def read(root: Path, changed: Content, policy: str = "error") -> tuple[list[list[list[float]]], list[str]]:
    (root / "train.json").write_text(json.dumps(changed))
    problems = Problems(policy)  # type: ignore[arg-type]
    (sequence,) = coco.read(root, "train", problems=problems)
    assert all(labels.tolist() == [0] * len(labels) for labels in sequence.labels)
    return [boxes.tolist() for boxes in sequence.boxes], problems.found


EXPECTED = [[[10 + t, 6, 14 + t, 11]] for t in range(3)]


def polygons(c: Content) -> None:
    for a in c["annotations"]:
        x, y, w, h = a.pop("bbox")
        a["segmentation"] = [[x, y, x + w, y, x + w, y + h], [x, y + h, x + 1, y + h - 1, x, y + 1]]


def pairs(c: Content) -> None:
    for a in c["annotations"]:
        x, y, w, h = a["bbox"]
        a.update(bbox=None, segmentation=[[[x, y], [x + w, y], [x + w, y + h]]])


def runs(c: Content) -> None:
    for a in c["annotations"]:
        x, y, w, h = a.pop("bbox")
        counts = [30 * x + y, *([h, 30 - h] * w)]
        counts[-1] += 30 * 40 - sum(counts)
        a["segmentation"] = {"size": [30, 40], "counts": counts}


def each(key: str, change: Callable[[Any], Any], of: str = "annotations") -> Callable[[Content], None]:
    def changed(c: Content) -> None:
        for entry in c[of]:
            entry[key] = change(entry[key])

    return changed


def zeros(c: Content) -> None:
    each("id", "{:04d}".format, "images")(c)
    each("image_id", "{:04d}".format)(c)


RIGHT: dict[str, Callable[[Content], Any]] = {
    "polygon": polygons,
    "polygon of pairs": pairs,
    "run lengths": runs,
    "text in bbox": each("bbox", lambda box: [f" {v}.0" for v in box]),
    "image ids as text": each("image_id", str),
    "image ids as float": each("image_id", float),
    "ids of images as text": each("id", str, "images"),
    "ids of images as float": each("id", float, "images"),
    "ids with zeros": zeros,
    "category as text": each("category_id", str),
    "category as float": each("category_id", float),
    "iscrowd as bool": each("iscrowd", bool),
    "iscrowd is null": each("iscrowd", lambda _: None),
    "sizes as text": each("height", str, "images"),
    "no categories": lambda c: c.pop("categories"),
    "no category": lambda c: c.update(categories=[]),
}


@pytest.mark.parametrize("case", RIGHT)
def test_read_right(root: Path, case: str) -> None:
    changed = content()
    RIGHT[case](changed)
    assert read(root, changed)[0] == EXPECTED


def test_crowds_are_left_out_whatever_their_shape(root: Path) -> None:
    for shape in ({"counts": "abc", "size": [30, 40]}, {"counts": [1]}, [[1, 2]], "x", None):
        changed = content()
        changed["annotations"][1].update(iscrowd=1, segmentation=shape, bbox=shape)
        assert read(root, changed)[0] == [EXPECTED[0], [], EXPECTED[2]]


NAN, HUGE = float("nan"), 10**30
NAMED: dict[str, tuple[dict[str, Any], str]] = {
    "NaN": ({"bbox": [NAN, 6, 4, 5]}, r"1: bbox is \['NaN', 6, 4, 5\], expected"),
    "infinity": ({"bbox": [-float("inf"), 6, 4, 5]}, r"1: bbox is \['-Infinity'"),
    "huge": ({"bbox": [HUGE, 6, 4, 5]}, r"1: bbox is \['1000"),
    "large": ({"bbox": [1e12, 6, 4, 5]}, r"1: bbox is \[1000"),
    "negative width": ({"bbox": [14, 11, -4, -5]}, r"1: box 14,11,10,6 has no area"),
    "no width": ({"bbox": [14, 11, 0, 0]}, r"1: box 14,11,14,11 has no area"),
    "box and shape missing": ({"bbox": None}, r"1: has neither a bbox"),
    "box of words": ({"bbox": ["a", 1, 2, 3]}, r"1: bbox is \['a', 1, 2, 3\]"),
    "box as an object": ({"bbox": {"x": 1}}, r"1: bbox is \{'x': 1\}"),
    "shape of two points": ({"bbox": None, "segmentation": [[1, 2, 3, 4]]}, r"1: has no bbox, and no box can"),
    "shape of NaN": ({"bbox": None, "segmentation": [[1, 2, 3, 4, NAN, 5]]}, r"1: has no bbox, and no box"),
    "runs of no size": ({"bbox": None, "segmentation": {"counts": "abc"}}, r"1: has no bbox, and no box can"),
    "image id as a list": ({"image_id": [1]}, r"1: there is no image \[1\]"),
    "image id of half": ({"image_id": 1.5}, r"1: there is no image 1\.5"),
    "category as an object": ({"category_id": {}}, r"1: category_id is \{\}; allowed are 1"),
    "category is true": ({"category_id": True}, r"1: category_id is True; allowed are 1"),
    "iscrowd is text": ({"iscrowd": "yes"}, r"1: iscrowd is 'yes', expected 0 or 1"),
    "id of an annotation": ({"id": 0}, r"0: its id is that of an earlier annotation"),
}


@pytest.mark.parametrize("case", NAMED)
def test_named_or_left_out(root: Path, case: str) -> None:
    keys, message = NAMED[case]
    changed = content()
    changed["annotations"][1].update(keys)
    with pytest.raises(DataError, match=rf"train\.json, annotation {message}"):
        read(root, changed)
    boxes, found = read(root, changed, "skip")
    assert boxes == [EXPECTED[0], [], EXPECTED[2]] and len(found) == 1


WRONG = [None, True, 1.5, "", "x" * 5000, "\x1b[2J", [], [1], {}, {"a": [1]}, 10**25, -1, NAN]
KEYS = {
    "images": ("id", "file_name", "height", "video_id", "frame_id"),
    "annotations": ("id", "image_id", "category_id", "bbox", "segmentation", "iscrowd"),
    "categories": ("id", "name"),
    "videos": ("id", "name"),
}


@pytest.mark.parametrize(("of", "key"), [(of, key) for of, keys in KEYS.items() for key in keys])
@pytest.mark.parametrize("policy", ["error", "skip"])
def test_a_wrong_type_anywhere_is_told_in_a_message_or_does_no_harm(root: Path, of: str, key: str, policy: str) -> None:
    for wrong in WRONG:
        changed = content()
        changed["videos"] = [{"id": 1, "name": "v"}]
        changed["images"] = [image | {"video_id": 1, "frame_id": image["id"]} for image in changed["images"]]
        changed[of][0][key] = wrong
        (root / "train.json").write_text(json.dumps(changed))
        try:
            coco.read(root, "train", problems=Problems(policy))  # type: ignore[arg-type]
        except (DataError, FileNotFoundError) as error:
            assert "train.json" in str(error) and len(str(error)) < 2500 and str(error).isprintable()


@pytest.mark.parametrize("key", ["images", "annotations", "categories", "videos"])
@pytest.mark.parametrize("wrong", [1, "x", {"a": 1}, [1], [[]], [None]])
def test_lists_of_another_type(root: Path, key: str, wrong: Any) -> None:
    with pytest.raises(DataError, match=r"train\.json"):
        read(root, {**content(), key: wrong})


def test_an_image_under_two_ids_is_named(root: Path) -> None:
    changed = content()
    changed["images"].append({**changed["images"][1], "id": 99})
    with pytest.raises(DataError, match=r"image 99: is frame 1 of v, and so is 1\.png"):
        read(root, changed)


@pytest.mark.parametrize("keys", [{}, {"area": 20}])
@pytest.mark.parametrize("policy", ["error", "skip"])
def test_corners_in_place_of_sides_are_told_of_all_boxes(root: Path, keys: dict[str, int], policy: str) -> None:
    changed = content()
    for a in changed["annotations"]:
        x, y, w, h = a["bbox"]
        a.update(bbox=[x, y, x + w, y + h], **keys)
    if not keys:  # told by the size
        changed["annotations"][2].update(bbox=[30, 6, 34, 11])
    with pytest.raises(DataError, match=r"train\.json: the boxes seem to be corners x1, y1, x2, y2, such as \[\d+, 6"):
        read(root, changed, policy)
    read(root, {**changed, "annotations": [{**changed["annotations"][0], "area": 14 * 11}]})


def test_compressed_runs_give_the_box_of_the_mask() -> None:
    """COCO's letters written by an encoder of our own, for masks that wrap round columns or do not."""

    def letters(runs: list[int]) -> str:
        text = ""
        for at, run in enumerate(runs):
            value = run - runs[at - 2] if at > 2 else run
            more = True
            while more:
                low, value = value & 31, value >> 5
                more = value != (-1 if low & 16 else 0)
                text += chr(48 + low + 32 * more)
        return text

    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = np.zeros((37, 300), bool)
        x, y = rng.integers(0, 290), rng.integers(0, 30)
        mask[y : y + rng.integers(1, 8), x : x + rng.integers(1, 10)] = True
        if rng.random() < 0.3:
            mask[:, x] = True
        flat = np.concatenate([[0], mask.T.ravel().astype(int)])
        runs = np.diff([0, *np.flatnonzero(np.diff(flat)).tolist(), mask.size]).tolist()
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert coco_shapes.of_mask({"size": [37, 300], "counts": letters(runs)}) == box
        assert coco_shapes.of_mask({"size": [37, 300], "counts": runs}) == box


def test_other_tools_json_is_known(root: Path) -> None:
    for found, name in (
        ([{"id": 1, "data": {"image": "x"}, "annotations": []}], "Label Studio"),
        ({"shapes": [], "imagePath": "x.png"}, "labelme"),
        ({"a.png123": {"filename": "a.png", "regions": []}}, "VGG Image Annotator"),
    ):
        (root / "train.json").write_text(json.dumps(found))
        with pytest.raises(DataError, match=rf"train\.json: .*{name}.* is (not read; export or|read with)"):
            coco.read(root, "train")
