"""Results of other tools and damaged ground truth: each fault is named with its entry, none counts silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdcnet.data.errors import DataError
from tdcnet.report.exchange import read_ground_truth, read_predictions

NAN = float("nan")


def truth() -> dict[str, Any]:
    """Two frames of 40x30 px, a target on the first."""
    images = [{"id": i, "file_name": f"{i}.png", "height": 30, "width": 40, "video_id": 1} for i in (1, 2)]
    target = {"id": 1, "image_id": 1, "category_id": 2, "bbox": [4, 5, 6, 7], "area": 42, "iscrowd": 0}
    names = [{"id": 1, "name": "bird"}, {"id": 2, "name": "drone"}]
    return {"videos": [{"id": 1, "name": "v"}], "images": images, "annotations": [target], "categories": names}


def save(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def good(**keys: Any) -> dict[str, Any]:
    return {"image_id": 1, "category_id": 2, "bbox": [4, 5, 6, 7], "score": 0.5, **keys}


def predictions(tmp_path: Path, content: object) -> Any:
    frames, _ = read_ground_truth(save(tmp_path / "ground_truth.json", truth()))
    return read_predictions(save(tmp_path / "rival.json", content), frames, ["bird", "drone"])


def test_what_is_right(tmp_path: Path) -> None:
    found = predictions(tmp_path, [good(image_id=2, score=1), good(image_id=1.0, score=0, bbox=[4, 5, 0, 7.5])])
    assert found.pred_frames.tolist() == [0, 1] and found.pred_scores.tolist() == [0, 1]
    assert found.pred_boxes.tolist() == [[4, 5, 4, 12.5], [4, 5, 10, 12]] and found.pred_labels.tolist() == [1, 1]
    assert found.target_boxes.tolist() == [[4, 5, 10, 12]] and found.target_labels.tolist() == [1]
    assert len(predictions(tmp_path, []).pred_scores) == 0
    assert len(predictions(tmp_path, {"annotations": [good()]}).pred_scores) == 1


FAULTS = {
    "per cent": ({"score": 90}, r"score is 90, expected a number from 0 to 1"),
    "negative score": ({"score": -0.1}, r"score is -0\.1"),
    "score is NaN": ({"score": NAN}, r"score is 'NaN'"),
    "score is text": ({"score": "0.5"}, r"score is '0\.5'"),
    "score is true": ({"score": True}, r"score is True"),
    "negative width": ({"bbox": [4, 5, -6, 7]}, r"bbox is \[4, 5, -6, 7\], expected x, y, w, h in px"),
    "NaN width": ({"bbox": [4, 5, NAN, 7]}, r"bbox is \[4, 5, 'NaN', 7\]"),
    "infinite": ({"bbox": [-float("inf"), 5, 6, 7]}, r"bbox is \['-Infinity', 5, 6, 7\]"),
    "too large": ({"bbox": [1e300, 5, 6, 7]}, r"bbox is \[1e\+300"),
    "box of three": ({"bbox": [4, 5, 6]}, r"bbox is \[4, 5, 6\]"),
    "box is text": ({"bbox": "4 5 6 7"}, r"bbox is '4 5 6 7'"),
    "unknown image": ({"image_id": 3}, r"image_id 3 is none of the evaluated frames"),
    "image from 0": ({"image_id": 0}, r"image_id 0 is none"),
    "image as text": ({"image_id": "1"}, r"image_id '1' is none"),
    "image as a stem": ({"image_id": "000001"}, r"image_id '000001' is none"),
    "image as a list": ({"image_id": [1]}, r"image_id \[1\] is none"),
    "category from 0": ({"category_id": 0}, r"category_id is 0, expected category_id 1 to 2 \(1 bird, 2 drone\)"),
    "category beyond": ({"category_id": 3}, r"category_id is 3"),
    "category as a list": ({"category_id": [2]}, r"category_id is \[2\]"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_of_an_entry(tmp_path: Path, case: str) -> None:
    keys, message = FAULTS[case]
    with pytest.raises(DataError, match=rf"rival\.json, entry 1: {message}"):
        predictions(tmp_path, [good(), good(**keys)])


@pytest.mark.parametrize("entry", [None, 1, "x", [], [1, 2, 3, 4, 5], {"image_id": 1}, {"x" * 9000: 1}])
def test_an_entry_of_another_type(tmp_path: Path, entry: object) -> None:
    with pytest.raises(DataError, match=r"entry 0: expected image_id, category_id, bbox and score, came") as raised:
        predictions(tmp_path, [entry])
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("content", [None, 1, "x", {}, {"annotations": 1}])
def test_results_of_another_type(tmp_path: Path, content: object) -> None:
    with pytest.raises(DataError, match=r"rival\.json: expected a list of"):
        predictions(tmp_path, content)


def test_corners_in_place_of_sides(tmp_path: Path) -> None:
    corners = [good(bbox=[x, 5, x + 6, 12]) for x in (4, 12, 30)]
    with pytest.raises(DataError, match=r"rival\.json: the boxes seem to be corners .*\[30\.0, 5\.0, 36\.0, 12\.0\]"):
        predictions(tmp_path, corners)
    predictions(tmp_path, [*corners, good(bbox=[30, 5, 6, 7])])  # one that is none says otherwise


@pytest.mark.parametrize("wrong", [None, True, -1, 0, 1.5, "1", "x" * 5000, [], [1], {}, 10**25, NAN])
@pytest.mark.parametrize(
    ("of", "key"),
    [
        *[("images", k) for k in ("id", "height", "width", "video_id")],
        *[("annotations", k) for k in ("image_id", "category_id", "bbox")],
        *[("categories", "id"), ("videos", "id")],
    ],
)
def test_ground_truth_of_a_wrong_kind_is_one_named_error(tmp_path: Path, of: str, key: str, wrong: Any) -> None:
    content = truth()
    content[of][0][key] = wrong
    if (of, wrong) == ("categories", 0) or (of, wrong) == ("categories", -1):
        return  # other numbers, but each its own
    with pytest.raises(DataError, match=r"ground_truth\.json: is no ground_truth\.json .*Evaluate again") as raised:
        read_ground_truth(save(tmp_path / "ground_truth.json", content))
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("key", ["images", "annotations", "categories", "videos"])
@pytest.mark.parametrize("wrong", [None, 1, "x", {}, [1], [[]]])
def test_lists_of_another_type(tmp_path: Path, key: str, wrong: Any) -> None:
    with pytest.raises(DataError, match=rf"it has no list '{key}' of objects"):
        read_ground_truth(save(tmp_path / "ground_truth.json", {**truth(), key: wrong}))


def test_boxes_of_the_truth(tmp_path: Path) -> None:
    for box in ([4, 5, 0, 7], [4, 5, -1, 7], [NAN, 5, 6, 7], [4, 5, 6], ["4", 5, 6, 7]):
        content = truth()
        content["annotations"][0]["bbox"] = box
        with pytest.raises(DataError, match=r"annotations\[0\] is .*Evaluate again"):
            read_ground_truth(save(tmp_path / "ground_truth.json", content))
    twice = truth()
    twice["images"][1]["id"] = 1
    with pytest.raises(DataError, match=r"images\[1\] has the id 1, expected are whole numbers from 1, each once"):
        read_ground_truth(save(tmp_path / "ground_truth.json", twice))
    frames, names = read_ground_truth(save(tmp_path / "ground_truth.json", truth()))
    assert names == ["v", "v"] and np.array_equal(frames.sizes, [[30, 40], [30, 40]])
