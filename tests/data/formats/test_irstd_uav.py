"""IRSTD-UAV on a tiny copy of its layout, with the defects that lists and copies have."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import irstd_uav

SIZE = (20, 32)  # height, width


def frame(root: Path, name: str) -> Path:
    """Every pixel has the frame's number modulo 256."""
    path = root / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full(SIZE, int(path.stem) % 256, np.uint8))
    return path


def lists(root: Path, *lines: str, split: str = "train") -> None:
    (root / f"{split}.txt").write_bytes("\n".join(lines).encode())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Recordings 2 (frames 45 to 54 without 50) and 10 (frames 0 to 3)."""
    for number in (45, 46, 47, 48, 49, 51, 52, 53, 54):
        frame(tmp_path, f"2/{number:08d}.png")
    for number in range(4):
        frame(tmp_path, f"10/{number:08d}.png")
    return tmp_path


def test_lists_of_another_machine(root: Path) -> None:
    (root / "train.txt").write_bytes(
        b"\xef\xbb\xbf/Dataset/images/IRSTD-UAV/images/2/00000053.png 3,4,10,9,0 20,10,25,15,0\r\n"
        b"\r\n"
        b"D:\\My \xb5Data\\IRSTD-UAV\\images\\2\\00000046.png\r\n"
        b"images/10/00000003.png 0,0,32,20,0"
    )
    first, second = irstd_uav.read(root, "train")
    assert (first.name, second.name) == ("2", "10")
    assert len(first) == 9
    assert [int(first.frames.read(i)[0, 0]) for i in range(9)] == [45, 46, 47, 48, 49, 51, 52, 53, 54]
    assert first.indices.tolist() == [1, 7]
    assert first.boxes[7].dtype == np.float32
    assert first.boxes[7].tolist() == [[3, 4, 10, 9], [20, 10, 25, 15]]
    assert first.labels[7].dtype == np.int64
    assert first.labels[7].tolist() == [0, 0]
    assert [len(boxes) for boxes in first.boxes] == [0, 0, 0, 0, 0, 0, 0, 2, 0]
    assert first.boxes[1].shape == (0, 4)
    assert second.indices.tolist() == [3]
    assert second.boxes[3].tolist() == [[0, 0, 32, 20]]


def test_recordings_can_be_whole_or_cut_elsewhere(root: Path) -> None:
    lists(root, "images/2/00000053.png 3,4,10,9,0")
    assert irstd_uav.read(root, "train", segment=None)[0].segment_start.tolist() == [0] * 9
    # Numbers 45 to 49 and 51 to 54, cut every 4: at 48 (position 3) and 52 (position 6).
    assert irstd_uav.read(root, "train", segment=4)[0].segment_start.tolist() == [0, 0, 0, 3, 3, 3, 6, 6, 6]
    with pytest.raises(ValueError, match="segment is 0; expected a number of frames, or null"):
        irstd_uav.read(root, "train", segment=0)


def test_segments_count_by_number_not_by_position(root: Path) -> None:
    lists(root, "/x/images/2/00000052.png")
    (sequence,) = irstd_uav.read(root, "train")
    # Number 50 is missing: the second segment starts with 51, at position 5.
    assert sequence.segment_start.dtype == np.int64
    assert sequence.segment_start.tolist() == [0, 0, 0, 0, 0, 5, 5, 5, 5]
    assert sequence.clip_indices(6, 5) == [5, 5, 5, 5, 6]
    numbers = np.array([0, 1, 49, 50, 99, 100, 250])
    assert irstd_uav.segment_starts(numbers).tolist() == [0, 0, 0, 3, 3, 5, 6]


def test_aligned_files(root: Path) -> None:
    lists(root, "/x/images/2/00000045.png", "/x/images/10/00000000.png")
    assert all(sequence.aligned_files is None for sequence in irstd_uav.read(root, "train"))
    folder = root / "matches" / "2" / "00000046"
    folder.mkdir(parents=True)
    first, second = irstd_uav.read(root, "train")
    assert first.aligned_files is not None
    assert first.aligned_files[1] == tuple(folder / f"match_{k}.png" for k in (1, 2, 3, 4, 5))
    assert [files is None for files in first.aligned_files] == [True, False] + [True] * 7
    assert second.aligned_files == [None] * 4


DEFECTS = [
    ("/x/images/2/00000046.png 3,4,10,9", "box '3,4,10,9' is not x1,y1,x2,y2,class"),
    ("/x/images/2/00000046.png 3,4,10,b,0", "box '3,4,10,b,0' is not x1,y1,x2,y2,class"),
    ("/x/images/2/00000046.png 3,4,10,9,1", "class 1; allowed are 0 to 0"),
    ("/x/images/2/00000046.png 10,4,10,9,0", "box 10,4,10,9 has no area"),
    ("/x/images/2/00000046.png 3,9,10,4,0", "box 3,9,10,4 has no area"),
    ("/x/images/2/00000046.png 3,4,34,9,0", "box 3,4,34,9 reaches outside the 32x20 image"),
    ("/x/images/2/00000046.png -1,4,0,9,0", "box -1,4,0,9 reaches outside the 32x20 image"),
    ("/x/images/2/00000046.png nan,4,10,9,0", "box 'nan,4,10,9,0' is not x1,y1,x2,y2,class"),
    ("/x/images/2/00000050.png 3,4,10,9,0", "frame 50 of .*2 is listed, its file is missing"),
    ("/x/2/00000046.png 3,4,10,9,0", "expected .*/images/SEQUENCE/NUMBER.png"),
    ("/x/images/2/mask.png 3,4,10,9,0", "expected .*/images/SEQUENCE/NUMBER.png"),
    ("/x/images/2/00000045.png 3,4,10,9,0", "is listed a second time"),
]


@pytest.mark.parametrize(("line", "what"), DEFECTS)
def test_defects_stop_or_are_left_out(root: Path, line: str, what: str) -> None:
    lists(root, "/x/images/2/00000045.png 1,1,5,5,0", line)
    with pytest.raises(DataError, match=rf"train\.txt:2: .*{what}.*\. \w+"):
        irstd_uav.read(root, "train")
    problems = Problems("skip")
    (sequence,) = irstd_uav.read(root, "train", problems=problems)
    assert len(problems.found) == 1
    assert sum(len(boxes) for boxes in sequence.boxes) == 1
    assert sequence.boxes[0].tolist() == [[1, 1, 5, 5]]
    # A bad box leaves its frame in the split; a bad frame goes.
    assert sequence.indices.tolist() == ([0, 1] if "box" in what or "class" in what else [0])


def test_one_good_box_survives_a_bad_neighbour(root: Path) -> None:
    lists(root, "/x/images/2/00000046.png 3,4,3,9,0 6,5,8,9,0 1,2,3,0")
    problems = Problems("skip")
    (sequence,) = irstd_uav.read(root, "train", problems=problems)
    assert sequence.boxes[1].tolist() == [[6, 5, 8, 9]]
    assert len(problems.found) == 2


def test_one_pixel_too_far_is_clipped(root: Path) -> None:
    lists(root, "/x/images/2/00000046.png -1,4,10,21,0 20,-1,33,9,0")
    (sequence,) = irstd_uav.read(root, "train")
    assert sequence.boxes[1].tolist() == [[0, 4, 10, 20], [20, 0, 32, 9]]


def test_missing_recording_is_one_problem(root: Path) -> None:
    lists(root, *(f"/x/images/7/{n:08d}.png" for n in range(30)), "/x/images/2/00000045.png")
    with pytest.raises(DataError, match=r"images/7: holds no image, but train\.txt lists 30 of its frames"):
        irstd_uav.read(root, "train")
    problems = Problems("skip")
    assert [sequence.name for sequence in irstd_uav.read(root, "train", problems=problems)] == ["2"]
    assert len(problems.found) == 1


def test_stray_files_among_the_frames(root: Path) -> None:
    (root / "images/2/Thumbs.db").touch()
    lists(root, "/x/images/2/00000045.png")
    irstd_uav.read(root, "train")
    frame(root, "2/45.bmp")
    with pytest.raises(DataError, match=r"45\.bmp.* is frame 45, and so is .*45|.*45\.png: is frame 45"):
        irstd_uav.read(root, "train")
    (root / "images/2/45.bmp").rename(root / "images/2/preview.bmp")
    problems = Problems("skip")
    (sequence,) = irstd_uav.read(root, "train", problems=problems)
    assert len(sequence) == 9
    assert "preview.bmp: the name is not a frame number" in problems.found[0]


def test_size_comes_from_the_first_frame_that_can_be_read(root: Path) -> None:
    lists(root, "/x/images/10/00000002.png 3,4,33,9,0")
    (root / "images/10/00000000.png").write_bytes(b"")
    (sequence,) = irstd_uav.read(root, "train")
    assert sequence.boxes[2].tolist() == [[3, 4, 32, 9]]
    for path in (root / "images/10").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"images/10: holds no image that can be read \(.*00000000\.png: is empty"):
        irstd_uav.read(root, "train")


def test_what_is_missing_is_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"looked for .*none/images.*data/README\.md says how to get it"):
        irstd_uav.read(root / "none", "train")
    with pytest.raises(FileNotFoundError, match=r"'val' split.*val\.txt.*data/README\.md says how to get it"):
        irstd_uav.read(root, "val")
    with pytest.raises(ValueError, match="'test'; allowed are 'train' and 'val'"):
        irstd_uav.read(root, "test")
    lists(root, "", split="val")
    with pytest.raises(DataError, match=r"val\.txt: the 'val' split holds no usable frame"):
        irstd_uav.read(root, "val")
