"""Classes by name, boxes that are there twice, and units, on readers of several layouts and on sequences by hand."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data.classes import select, without_repeats
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.data.duplicates import repeats
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import coco, irstd_uav, uestc, video_csv, yolo
from tdcnet.data.sequence import Sequence

# -- by hand -----------------------------------------------------------------------------------------------------------


class Blank:
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> np.ndarray:
        return np.zeros((32, 32), np.uint8)

    def where(self, index: int) -> str:
        return f"memory#{index}"


def sequence(labels: list[list[int]], classes: tuple[str, ...] = ("bird", "drone")) -> Sequence:
    """Box number i of a frame is 4 px wide and starts at 5 * i."""
    n = len(labels)
    boxes = [
        np.array([[5 * i, 2, 5 * i + 4, 6] for i in range(len(each))], np.float32).reshape(-1, 4) for each in labels
    ]
    return Sequence(
        *("s", Blank(n), boxes, [np.array(each, np.int64) for each in labels]),
        *(np.arange(n), np.zeros(n, np.int64), None, classes),
    )


def found(sequences: list[Sequence]) -> list[list[tuple[int, float]]]:
    return [
        list(zip(labels.tolist(), boxes[:, 0].tolist(), strict=True))
        for s in sequences
        for labels, boxes in zip(s.labels, s.boxes, strict=True)
    ]


def test_one_name_keeps_its_boxes_and_tells_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        chosen = select([sequence([[0, 1], [0], []])], ["drone"], "set, val")
    assert found(chosen) == [[(0, 5.0)], [], []] and chosen[0].classes == ("drone",)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("set, val: 1 boxes of 'drone' are used, 2 of others are left out ('bird' 2)")


def test_names_map_in_the_order_given_whatever_the_sets_own() -> None:
    one, other = sequence([[0, 1]]), sequence([[0, 1, 2]], ("plane", "drone", "bird"))
    assert found(select([one, other], ["drone", "bird"], "set")) == [[(1, 0.0), (0, 5.0)], [(0, 5.0), (1, 10.0)]]


def test_target_is_one_of_all_unless_the_set_has_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert found(select([sequence([[0, 1]])], ["target"], "set")) == [[(0, 0.0), (0, 5.0)]]
        assert not caplog.records
        has_it = sequence([[0, 1]], ("decoy", "target"))
        assert found(select([has_it], ["target"], "set")) == [[(0, 5.0)]]


@pytest.mark.parametrize("wanted", [["plane"], ["drone", "plane"], ["drone", "target"], ["Drone"]])
def test_an_unknown_name_lists_what_the_set_has(wanted: list[str]) -> None:
    with pytest.raises(DataError, match=r"^set: dataset\.classes names .*; it has 'bird', 'drone'\. Name "):
        select([sequence([[0, 1]])], wanted, "set")


def test_faults_of_names() -> None:
    with pytest.raises(DataError, match="names 'drone' twice"):
        select([sequence([[0]])], ["drone", "drone"], "set")
    with pytest.raises(DataError, match="'s' has a label 2, but there are 2 classes"):
        select([sequence([[2]], ())], ["a", "b"], "set")
    # A reader that tells no names keeps its labels, and one name makes one class.
    assert found(select([sequence([[1, 0]], ())], ["a", "b"], "set")) == [[(1, 0.0), (0, 5.0)]]
    assert found(select([sequence([[1, 0]], ())], ["a"], "set")) == [[(0, 0.0), (0, 5.0)]]


def test_one_thing_called_by_two_names_is_one_of_all(caplog: pytest.LogCaptureFixture) -> None:
    twice = sequence([[0, 1]])
    twice.boxes[0][1] = twice.boxes[0][0]
    assert found(select([twice], ["bird", "drone"], "set")) == [[(0, 0.0), (1, 0.0)]]
    with caplog.at_level(logging.WARNING):
        assert found(select([twice], ["target"], "set")) == [[(0, 0.0)]]
    assert "1 boxes repeat another" in caplog.text
    assert without_repeats(sequence([[0, 0], []]))[1] == 0


# -- boxes that are there twice ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ([10, 10, 17, 17], [10, 10, 17, 17], True),
        ([10, 10, 17, 17], [10.1, 10, 17.1, 17], True),  # IoU 0.972
        ([10, 10, 17, 17], [10.5, 10, 17.5, 17], False),  # IoU 0.867
        ([10, 10, 11, 11], [11, 10, 12, 11], False),  # neighbours of 1 px
        ([10, 10, 11, 11], [10.02, 10, 11.02, 11], True),  # IoU 0.961
        ([10, 10, 13, 13], [10, 10, 13, 12.5], False),  # IoU 0.833
        ([10, 10, 110, 110], [11, 10, 111, 110], False),  # IoU 0.98, but 1 px apart
    ],
)
def test_near_boxes_of_small_targets(first: list[float], second: list[float], same: bool) -> None:
    boxes = np.array([first, second], np.float64)
    for order in ([0, 1], [1, 0]):
        assert repeats(np.zeros(2, np.int64), boxes[order], np.zeros(2, np.int64)).tolist() == [False, same]
    assert not repeats(np.array([0, 1]), boxes, np.zeros(2, np.int64)).any()
    assert not repeats(np.zeros(2, np.int64), boxes, np.array([0, 1])).any()


def test_repeats_agree_with_a_search_through_all_pairs() -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform(0, 20, (300, 2))
    boxes = np.concatenate([first, first + rng.uniform(1, 4, (300, 2))], axis=1)
    boxes[150:] = boxes[:150] + rng.choice([0, 0.01, 0.2, 0.6], (150, 1))
    frames, labels = (np.tile(rng.integers(0, most, 150), 2) for most in (4, 2))
    order = np.argsort(frames, kind="stable")
    frames, labels, boxes = frames[order], labels[order], boxes[order]
    expected = []
    kept: list[int] = []
    for i in range(300):
        same = False
        for j in kept:
            sides = np.minimum(boxes[i, 2:], boxes[j, 2:]) - np.maximum(boxes[i, :2], boxes[j, :2])
            shared = max(0.0, sides[0]) * max(0.0, sides[1])
            areas = [np.prod(boxes[k, 2:] - boxes[k, :2]) for k in (i, j)]
            apart = np.linalg.norm(boxes[i].reshape(2, 2).mean(0) - boxes[j].reshape(2, 2).mean(0))
            of_a_kind = frames[i] == frames[j] and labels[i] == labels[j]
            same |= bool(of_a_kind and apart < 0.5 and shared > 0.9 * (sum(areas) - shared))
        expected.append(same)
        kept += [] if same else [i]
    assert repeats(frames, boxes, labels).tolist() == expected and any(expected)


def test_a_million_times_the_same_box() -> None:
    boxes = np.tile(np.array([[1.0, 2, 4, 5]]), (1_000_000, 1))
    assert int(repeats(np.zeros(1_000_000, np.int64), boxes, np.zeros(1_000_000, np.int64)).sum()) == 999_999


# -- sets --------------------------------------------------------------------------------------------------------------

BOX = (8, 4, 12, 8)  # on frames of 40x20 px


def frames_of(root: Path, folder: str, count: int = 4) -> None:
    for t in range(count):
        path = root / folder / f"{t:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((20, 40), 10 * t, np.uint8))


def yolo_set(root: Path, lines: list[str], names: str = "[bird, drone]") -> Path:
    for split in ("train", "val"):
        frames_of(root, f"images/{split}/rec")
        for t in range(4):
            path = root / f"labels/{split}/rec/{t:06d}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines))
    (root / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\nnames: {names}\n")
    return root


def coco_set(root: Path, boxes: list[list[float]], sides: tuple[str, ...] = ("train",)) -> Path:
    frames_of(root, "images/rec")
    images = [{"id": t, "file_name": f"rec/{t:06d}.png", "width": 40, "height": 20} for t in range(4)]
    annotations = [
        {"id": 10 * t + i, "image_id": t, "category_id": 1, "bbox": box}
        for t in range(4)
        for i, box in enumerate(boxes)
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "drone"}]}
    for side in sides:
        (root / f"{side}.json").write_text(json.dumps(content))
    return root


def csv_set(root: Path, boxes: list[tuple[float, ...]]) -> Path:
    frames_of(root, "rec")
    rows = [f"rec,{t},{','.join(map(str, box))},drone" for t in range(4) for box in boxes]
    (root / "labels.csv").write_text("video,frame,x1,y1,x2,y2,label\n" + "\n".join(rows))
    (root / "split.json").write_text('{"train": ["rec"], "val": []}')
    return root


def list_set(root: Path, boxes: list[tuple[float, ...]]) -> Path:
    frames_of(root, "images/rec")
    for path in (root / "images/rec").iterdir():
        path.rename(path.with_name(f"{int(path.stem)}.png"))
    lines = [f"x/images/rec/{t}.png " + " ".join(f"{','.join(map(str, box))},0" for box in boxes) for t in range(4)]
    (root / "train.txt").write_text("\n".join(lines))
    return root


def test_readers_tell_their_classes(tmp_path: Path) -> None:
    assert yolo.read(yolo_set(tmp_path / "y", ["0 .5 .5 .1 .2"]), "train")[0].classes == ("bird", "drone")
    assert coco.read(coco_set(tmp_path / "c", [[8, 4, 4, 4]]), "train")[0].classes == ("drone",)
    assert video_csv.read(csv_set(tmp_path / "v", [BOX]), "train")[0].classes == ("drone",)
    assert irstd_uav.read(list_set(tmp_path / "l", [BOX]), "train")[0].classes == ("target",)


def test_the_data_module_selects_and_says_where_nothing_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = yolo_set(tmp_path, ["0 .25 .5 .1 .2", "1 .75 .5 .1 .2"])

    def module(*classes: str) -> ClipDataModule:
        made = ClipDataModule(yolo.read, root, (32, 64), classes=classes, align="none", num_frames=1)
        made.setup("validate")
        return made

    sample = module("drone").val_dataset[0]  # type: ignore[index]
    assert sample["labels"].tolist() == [0] and sample["original_boxes"].tolist() == [[28, 8, 32, 12]]
    sample = module("drone", "bird").val_dataset[0]  # type: ignore[index]
    assert sample["labels"].tolist() == [1, 0]
    assert module("target").val_dataset[0]["labels"].tolist() == [0, 0]  # type: ignore[index]
    with pytest.raises(DataError, match="names 'plane', 'helicopter', which the data set does not have"):
        module("plane", "helicopter", "bird", "drone")
    yolo_set(tmp_path, ["0 .25 .5 .1 .2"])
    with caplog.at_level(logging.WARNING):
        module("drone")
    assert "no frame has a target ('drone')" in caplog.text


def test_sides_whose_files_count_categories_differently(tmp_path: Path) -> None:
    coco_set(tmp_path, [[8, 4, 4, 4]], ("train", "val"))
    both = [{"id": 1, "name": "drone"}, {"id": 2, "name": "bird"}]
    for side, categories in (("train", both), ("val", [{"id": 1, "name": "bird"}, {"id": 2, "name": "drone"}])):
        path = tmp_path / f"{side}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "categories": categories}))
    assert coco.read(tmp_path, "train")[0].labels[0].tolist() == [0]
    (val,) = coco.read(tmp_path, "val")
    assert val.classes == coco.class_names(tmp_path) == ("drone", "bird") and val.labels[0].tolist() == [1]


MANY = {
    "yolo": lambda root: yolo.read(yolo_set(root, ["1 .25 .5 .1 .2", "1 .25 .5 .1 .2", "1 .75 .5 .1 .2"]), "train"),
    "coco": lambda root: coco.read(coco_set(root, [[8, 4, 4, 4], [8.05, 4, 4, 4], [20, 4, 4, 4]]), "train"),
    "video_csv": lambda root: video_csv.read(csv_set(root, [BOX, BOX, (20, 4, 24, 8)]), "train"),
    "lists": lambda root: irstd_uav.read(list_set(root, [BOX, BOX, (20, 4, 24, 8)]), "train"),
    "uestc": lambda root: uestc.read_set(
        list_set(root, [BOX, BOX, (20, 4, 24, 8)]), "train", "X", ("target",), Problems()
    ),
}


@pytest.mark.parametrize("layout", MANY)
def test_boxes_there_twice_count_once_and_are_told(
    layout: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        (read,) = MANY[layout](tmp_path)
    assert [len(boxes) for boxes in read.boxes] == [2] * 4
    told = [record.getMessage() for record in caplog.records if "repeat another" in record.getMessage()]
    assert len(told) == 1 and ": 4 boxes repeat another of the same class and frame, such as that of" in told[0]


FRACTIONS = (0.2, 0.2, 0.3, 0.4)
IN_PX = {
    "coco": lambda root: coco.read(coco_set(root, [[0.2, 0.2, 0.1, 0.2]]), "train", problems=Problems("skip")),
    "video_csv": lambda root: video_csv.read(csv_set(root, [FRACTIONS]), "train", problems=Problems("skip")),
    "lists": lambda root: irstd_uav.read(list_set(root, [FRACTIONS]), "train", problems=Problems("skip")),
    "all": lambda root: coco.read_all(coco_set(root, [[0.2, 0.2, 0.1, 0.2]])),
}


@pytest.mark.parametrize("layout", IN_PX)
def test_fractions_where_px_are_meant(layout: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all 4 boxes lie within the first pixel .*They seem to be fractions"):
        IN_PX[layout](tmp_path)


def test_a_target_in_the_corner_is_no_fraction(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(coco.read(coco_set(tmp_path / "whole", [[0, 0, 1, 1]]), "train")[0].boxes[0]) == 1
    with caplog.at_level(logging.WARNING):
        coco.read(coco_set(tmp_path / "one", [[0.2, 0.2, 0.5, 0.5], [8, 4, 4, 4]]), "train")
    assert "4 of 8 boxes lie within the first pixel" in caplog.text


@pytest.mark.parametrize("policy", ["error", "skip"])
def test_px_where_fractions_are_meant(policy: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"data\.yaml: 4 of 4 boxes are beyond 0\.\.1, such as 10 6 4 4 .*seem to be px"
    ):
        yolo.read(yolo_set(tmp_path, ["1 10 6 4 4"]), "train", problems=Problems(policy))  # type: ignore[arg-type]


def test_a_yolo_polygon_gives_its_box(tmp_path: Path) -> None:
    (read,) = yolo.read(yolo_set(tmp_path, ["1 .25 .2 .5 .4 .25 .8"]), "train")
    assert read.boxes[0].tolist() == [[10, 4, 20, 16]]
