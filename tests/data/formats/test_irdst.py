"""IRDST on a tiny copy of its layout: unpadded names, no fixed segments, scenes that are several videos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import irdst


def make(root: Path, scene: int, numbers: range | list[int], suffix: str = ".bmp") -> None:
    folder = root / "images" / str(scene)
    folder.mkdir(parents=True)
    for number in numbers:
        assert cv2.imwrite(str(folder / f"{number}{suffix}"), np.full((60, 90), number, np.uint8))


def line(scene: int, number: int, *corners: tuple[int, int]) -> str:
    boxes = "".join(f" {x},{y},{x + 4},{y + 4},0" for x, y in corners)
    return f"/home/public/IRDST/images/{scene}/{number}.bmp{boxes}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Scene 1: the target moves 15 px per frame, jumps 21 px to frame 3 and 20 px to frame 11; frame 7 is missing."""
    make(tmp_path, 1, [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11])
    x = {0: 0, 1: 15, 2: 30, 3: 51, 4: 51, 5: 51, 6: 51, 8: 52, 9: 53, 10: 53, 11: 73}
    (tmp_path / "train.txt").write_text("\n".join(line(1, number, (at, 8)) for number, at in x.items()))
    return tmp_path


def test_frames_are_in_order_of_number(root: Path) -> None:
    (sequence,) = irdst.read(root, "train")
    assert [int(sequence.frames.read(i)[0, 0]) for i in range(11)] == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    assert sequence.indices.tolist() == list(range(11))
    assert sequence.boxes[2].tolist() == [[30, 8, 34, 12]]


def test_cuts_at_jumps_and_gaps(root: Path) -> None:
    (sequence,) = irdst.read(root, "train")
    # 21 px into position 3 is a cut, 20 px into position 10 is not; position 7 follows a gap.
    assert sequence.segment_start.tolist() == [0, 0, 0, 3, 3, 3, 3, 7, 7, 7, 7]
    (sequence,) = irdst.read(root, "train", jump=None)
    assert sequence.segment_start.tolist() == [0] * 7 + [7] * 4
    (sequence,) = irdst.read(root, "train", jump=14.9)
    assert sequence.segment_start.tolist() == [0, 1, 2, 3, 3, 3, 3, 7, 7, 7, 10]


def test_jump_is_that_of_the_nearest_boxes() -> None:
    def boxes(*corners: tuple[int, int]) -> np.ndarray:
        return np.array([[x, y, x + 4, y + 4] for x, y in corners], np.float32).reshape(-1, 4)

    numbers = np.arange(5)
    one_stays = [boxes((0, 0)), boxes((50, 50), (1, 0)), boxes((51, 50)), boxes(), boxes((0, 0))]
    assert irdst.segment_starts(numbers, one_stays, 20.0).tolist() == [0, 0, 0, 0, 0]
    # 3-4-5: 12 across and 16 down are 20 px apart, 13 across are more.
    assert irdst.segment_starts(numbers[:2], [boxes((0, 0)), boxes((12, 16))], 20.0).tolist() == [0, 0]
    assert irdst.segment_starts(numbers[:2], [boxes((0, 0)), boxes((13, 16))], 20.0).tolist() == [0, 1]


def test_aligned_files_do_not_reach_over_a_cut(root: Path) -> None:
    for number in (0, 1, 3, 4, 6, 8, 11):
        (root / f"matches/1/{number}").mkdir(parents=True)
    (sequence,) = irdst.read(root, "train")
    assert sequence.aligned_files is not None
    given = [None if files is None else files[0].parent.name for files in sequence.aligned_files]
    # Windows of five frames: those of 3, 4, 6, 8 and 11 reach before the cuts at positions 3 and 7.
    assert given == ["0", "1"] + [None] * 9
    assert sequence.aligned_files[1] == tuple(root / f"matches/1/1/img_{k}.png" for k in (1, 2, 3, 4, 5))
    (sequence,) = irdst.read(root, "train", jump=None)
    assert sequence.aligned_files is not None
    given = [None if files is None else files[0].parent.name for files in sequence.aligned_files]
    assert given == ["0", "1", None, "3", "4", None, "6", None, None, None, None]


def test_lists_by_their_other_name_and_png_on_disk(tmp_path: Path) -> None:
    make(tmp_path, 2, range(3), ".png")
    (tmp_path / "coco_val_IRDST.txt").write_text("\n".join(line(2, n, (5, 5), (50, 50)) for n in range(3)))
    (sequence,) = irdst.read(tmp_path, "val")
    assert sequence.name == "2"
    assert [boxes.shape for boxes in sequence.boxes] == [(2, 4)] * 3
    with pytest.raises(FileNotFoundError, match=r"train\.txt, .*coco_train_IRDST-H\.txt\. data/README\.md says"):
        irdst.read(tmp_path, "train")


def test_defects_stop_or_are_left_out(root: Path) -> None:
    with (root / "train.txt").open("a") as file:
        file.write("\n" + line(1, 7, (5, 5)) + "\n" + line(3, 0, (5, 5)) + "\n")
    with pytest.raises(DataError, match=r"train\.txt:12: frame 7 .* its file is missing"):
        irdst.read(root, "train")
    problems = Problems("skip")
    (sequence,) = irdst.read(root, "train", problems=problems)
    assert len(sequence.indices) == 11
    assert len(problems.found) == 2
