"""Anti-UAV on tiny copies of its layouts: images or video, three label names, three ways to write an absent target."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import anti_uav

HEIGHT, WIDTH = 32, 40
LABELS: dict[str, list[Any]] = {
    "exist": [1, 0, 0, 0, 1],
    # The last box ends one pixel outside.
    "gt_rect": [[2, 3, 8, 6], [], [0], [0, 0, 0, 0], [30, 20, 11, 13]],
}
BOXES = [[[2, 3, 10, 9]], [], [], [], [[30, 20, 40, 32]]]


def images(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full((HEIGHT, WIDTH), 20 * i, np.uint8))


def video(path: Path, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 25, (WIDTH, HEIGHT), False)
    for i in range(count):
        writer.write(np.full((HEIGHT, WIDTH), 20 * i, np.uint8))
    writer.release()


def label(path: Path, labels: Any = LABELS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(labels))


def numbered(start: int, count: int = 5) -> list[str]:
    return [f"{start + i:06d}.jpg" for i in range(count)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One training sequence in the form of Anti-UAV410."""
    images(tmp_path / "train/01_1667_0001-1500", numbered(1))
    label(tmp_path / "train/01_1667_0001-1500/IR_label.json", LABELS | {"attributes": ["TC"]})
    return tmp_path


def check(sequences: list[Any], name: str, levels: tuple[int, ...] = (0, 20, 40, 60, 80)) -> None:
    (sequence,) = sequences
    assert sequence.name == name
    found = [int(sequence.frames.read(i).mean().round()) for i in range(5)]
    assert np.abs(np.subtract(found, levels)).max() <= 2  # jpg
    assert [boxes.tolist() for boxes in sequence.boxes] == BOXES
    assert [labels.tolist() for labels in sequence.labels] == [[0], [], [], [], [0]]
    assert sequence.indices.tolist() == [0, 1, 2, 3, 4]
    assert sequence.segment_start.tolist() == [0] * 5


def test_images_beside_their_labels(root: Path) -> None:
    check(anti_uav.read(root, "train"), "train_01_1667_0001-1500")


@pytest.mark.parametrize(
    ("frames", "labels"),
    [("infrared.mp4", "infrared.json"), ("IR.mp4", "IR_label.json"), ("IR.mp4", "label.json")],
)
def test_videos(tmp_path: Path, frames: str, labels: str) -> None:
    folder = tmp_path / "set/val/20190925_101846_1_1"
    video(folder / frames, 5)
    video(folder / "visible.mp4", 2)
    label(folder / labels)
    label(folder / "visible.json", {"exist": [0], "gt_rect": [[]]})
    check(anti_uav.read(tmp_path / "set", "val", cache_dir=tmp_path / "cache"), "val_20190925_101846_1_1")


def test_extracted_frames_go_before_the_video(tmp_path: Path) -> None:
    folder = tmp_path / "train/a"
    images(folder / "infrared", [f"infraredI{i:04d}.jpg" for i in range(5)])
    images(folder / "visible", ["visibleI0000.jpg"])
    video(folder / "infrared.mp4", 2)
    label(folder / "infrared.json")
    check(anti_uav.read(tmp_path, "train"), "train_a")


def test_older_copy_with_unpadded_images(tmp_path: Path) -> None:
    images(tmp_path / "train/a", [f"{i}.jpg" for i in range(8, 13)])  # 8, 9, 10: order of numbers, not of strings
    label(tmp_path / "train/a/label.json")
    check(anti_uav.read(tmp_path, "train"), "train_a")


@pytest.mark.parametrize("name", ["val", "validation", "test"])
def test_names_of_the_other_side(root: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    images(root / name / "03_7951_1500-2999", numbered(1))
    label(root / name / "03_7951_1500-2999/IR_label.json")
    with caplog.at_level(logging.INFO):
        check(anti_uav.read(root, "val"), f"{name}_03_7951_1500-2999")
    assert (f"the 'val' split of Anti-UAV is {root / name}" in caplog.text) == (name != "val")
    images(root / "test/x", numbered(1))
    label(root / "test/x/IR_label.json")
    assert "test_x" in [sequence.name for sequence in anti_uav.read(root, "val", val_split="test")]
    with pytest.raises(FileNotFoundError, match=r"'val' split not found; looked for .*other\. data/README"):
        anti_uav.read(root, "val", val_split="other")


def test_list_says_which_sequences(root: Path) -> None:
    (root / "train/not_listed").mkdir()
    with pytest.raises(DataError, match=r"not_listed: holds no IR_label\.json, infrared\.json or label\.json"):
        anti_uav.read(root, "train")
    (root / "train/list.txt").write_text("01_1667_0001-1500\r\n\n")
    check(anti_uav.read(root, "train"), "train_01_1667_0001-1500")
    (root / "train/list.txt").write_text("../train/01_1667_0001-1500\ngone\n01_1667_0001-1500")
    problems = Problems("skip")
    check(anti_uav.read(root, "train", problems=problems), "train_01_1667_0001-1500")
    assert ["is not the name of a folder" in problems.found[0], "gone: holds no" in problems.found[1]] == [True, True]
    assert len(problems.found) == 2


@pytest.mark.parametrize(
    ("rect", "what"),
    [
        ([5, 5, 0, 4], r"entry 1: box 5,5,5,9 has no area"),
        ([5, 5, 4, 0], r"entry 1: box 5,5,9,5 has no area"),
        ([0, 0, 0, 0], r"entry 1: box 0,0,0,0 has no area"),
        ([38, 5, 4, 4], r"entry 1: box 38,5,42,9 reaches outside the 40x32 image"),
        ([], r"entry 1: expected exist 0, or 1 and a box x, y, w, h; came 1 and \[\]"),
        ([0], r"entry 1: expected exist 0, or 1 and a box"),
        ([5, 5, None, 4], r"entry 1: expected exist 0, or 1 and a box"),
    ],
)
def test_frame_whose_box_cannot_be_used_is_in_no_split(root: Path, rect: list[Any], what: str) -> None:
    rects = [LABELS["gt_rect"][0], rect, *LABELS["gt_rect"][2:]]
    label(root / "train/01_1667_0001-1500/IR_label.json", {"exist": [1, 1, 0, 0, 1], "gt_rect": rects})
    with pytest.raises(DataError, match=what):
        anti_uav.read(root, "train")
    problems = Problems("skip")
    (sequence,) = anti_uav.read(root, "train", problems=problems)
    assert sequence.indices.tolist() == [0, 2, 3, 4]
    assert [boxes.tolist() for boxes in sequence.boxes] == BOXES
    assert len(problems.found) == 1


def test_box_of_an_absent_target_is_not_looked_at(root: Path) -> None:
    rects = [LABELS["gt_rect"][0], [5, 5, 4, 4], None, "?", LABELS["gt_rect"][4]]
    label(root / "train/01_1667_0001-1500/IR_label.json", LABELS | {"gt_rect": rects})
    check(anti_uav.read(root, "train"), "train_01_1667_0001-1500")


def test_lengths_that_differ_are_reported(root: Path) -> None:
    path = root / "train/01_1667_0001-1500/IR_label.json"
    label(path, {"exist": LABELS["exist"], "gt_rect": LABELS["gt_rect"][:3]})
    with pytest.raises(DataError, match="has 5 of exist and 3 of gt_rect"):
        anti_uav.read(root, "train")
    problems = Problems("skip")
    (sequence,) = anti_uav.read(root, "train", problems=problems)
    assert sequence.indices.tolist() == [0, 1, 2]
    assert len(sequence) == 5
    assert "has 3 entries for the 5 frames" in problems.found[1]


def test_missing_image_does_not_shift_the_labels(root: Path) -> None:
    (root / "train/01_1667_0001-1500/000004.jpg").unlink()
    with pytest.raises(DataError, match="has 5 entries for the 4 frames"):
        anti_uav.read(root, "train")
    (sequence,) = anti_uav.read(root, "train", problems=Problems("skip"))
    assert [boxes.tolist() for boxes in sequence.boxes] == [BOXES[0], [], [], BOXES[4]]
    (root / "train/01_1667_0001-1500/000001.jpg").unlink()
    (sequence,) = anti_uav.read(root, "train", problems=Problems("skip"))
    assert [boxes.tolist() for boxes in sequence.boxes] == [[], [], BOXES[4]]


@pytest.mark.parametrize("text", ["{", "[]", '{"res": [[1, 2, 3, 4]]}', '{"exist": 1, "gt_rect": []}'])
def test_labels_of_another_kind(root: Path, text: str) -> None:
    (root / "train/01_1667_0001-1500/IR_label.json").write_text(text)
    with pytest.raises(DataError, match=r'expected \{"exist": '):
        anti_uav.read(root, "train")


def test_no_frames_at_all(tmp_path: Path) -> None:
    label(tmp_path / "train/a/IR_label.json")
    with pytest.raises(DataError, match=r"holds no frames; looked for .* infrared\.mp4 and IR\.mp4"):
        anti_uav.read(tmp_path, "train")


def test_recordings_on_both_sides(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert [
        anti_uav.recording_of(name)
        for name in (
            "02_6319_1500-2999",
            "20190925_101846_1_4",
            "3700000000002_162623_1",
            "wg2022_ir_020_split_03",
            "new4_train_newfix",
        )
    ] == ["02_6319", "20190925_101846", "3700000000002_162623", "wg2022_ir_020", "new4_train_newfix"]
    (root / "val/new4_train_newfix").mkdir(parents=True)
    anti_uav.read(root, "train")
    assert not caplog.records
    (root / "val/01_1667_1500-2999").mkdir()
    anti_uav.read(root, "train")
    assert "1 of 1 sequences are parts of recordings that are in val too, such as 01_1667_0001-1500" in caplog.text
