"""Videos or folders with one table, on tiny copies: both kinds of boxes and splits, labels, defects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import video_csv

TABLE = """video,frame,x1,y1,x2,y2,label
a,2,10,5,14.5,8.25,drone
a,0,0,0,4,3,drone
a,2,20,9,22,11,bird
b.avi,1,1,1,3,3,bird
c,0,5,5,7,7,drone
"""


def video(path: Path, frames: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Lossless, so that grey levels can be compared.
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 30, (40, 30), False)
    for i in range(frames):
        writer.write(np.full((30, 40), 50 * i, np.uint8))
    writer.release()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Videos ``a`` and ``b``, and ``c`` as a folder of 16-bit images 1, 2, 4, 10."""
    video(tmp_path / "set/videos/a.mkv")
    video(tmp_path / "set/videos/b.avi", 2)
    (tmp_path / "set/videos/c").mkdir()
    for number in (1, 2, 4, 10):
        assert cv2.imwrite(str(tmp_path / f"set/videos/c/{number}.png"), np.full((30, 40), 1000 * number, np.uint16))
    (tmp_path / "set/labels.csv").write_text(TABLE)
    split(tmp_path / "set", {"train": ["a", "c"], "val": ["b"]})
    return tmp_path / "set"


def split(root: Path, sides: Any) -> None:
    (root / "split.json").write_text(json.dumps(sides))


def read(root: Path, side: str, **options: Any) -> list[Any]:
    return video_csv.read(root, side, cache_dir=root.parent / "cache", **options)


def test_frames_boxes_and_labels(root: Path) -> None:
    a, c = read(root, "train")
    assert (a.name, c.name) == ("a", "c")
    assert [int(a.frames.read(i)[0, 0]) for i in (2, 0, 1)] == [100, 0, 50]
    assert [boxes.tolist() for boxes in a.boxes] == [[[0, 0, 4, 3]], [], [[10, 5, 14.5, 8.25], [20, 9, 22, 11]]]
    # By alphabet: bird 0, drone 1.
    assert video_csv.class_names(root) == ("bird", "drone")
    assert [labels.tolist() for labels in a.labels] == [[1], [], [1, 0]]
    assert a.indices.tolist() == [0, 1, 2]
    assert a.segment_start.tolist() == [0, 0, 0]
    (b,) = read(root, "val")
    assert [boxes.tolist() for boxes in b.boxes] == [[], [[1, 1, 3, 3]]]


def test_a_folder_counts_by_position_and_is_cut_at_gaps(root: Path) -> None:
    _, c = read(root, "train")
    assert [int(c.frames.read(i)[0, 0]) for i in range(4)] == [1000, 2000, 4000, 10000]
    assert c.boxes[0].tolist() == [[5, 5, 7, 7]]
    assert c.segment_start.tolist() == [0, 0, 2, 3]


def test_order_of_classes_can_be_given(root: Path) -> None:
    a, _ = read(root, "train", classes=["drone", "bird"])
    assert a.labels[2].tolist() == [0, 1]
    with pytest.raises(DataError, match=r"labels\.csv:4: label is 'bird'; allowed are drone"):
        read(root, "train", classes=["drone"])


def test_numeric_labels_count_by_value(root: Path) -> None:
    (root / "labels.csv").write_text("video,frame,x1,y1,x2,y2,label\na,0,1,1,2,2,10\na,1,1,1,2,2,9\n")
    assert video_csv.class_names(root) == ("9", "10")
    a, _ = read(root, "train")
    assert [labels.tolist() for labels in a.labels] == [[1], [0], []]


def test_width_and_height_without_labels(root: Path) -> None:
    (root / "labels.csv").write_text(
        "\ufeffVideo, Frame, X, Y, W, H\r\na,1,10,5,4.5,3\r\na,2,,,,\r\n", encoding="utf-8"
    )
    a, _ = read(root, "train")
    assert [boxes.tolist() for boxes in a.boxes] == [[], [[10, 5, 14.5, 8]], []]
    assert a.labels[1].tolist() == [0]
    assert video_csv.class_names(root) == ("target",)


def test_split_by_column(root: Path) -> None:
    (root / "split.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"split\.json and for a column 'split' in .*labels\.csv\. Write a line"
    ):
        read(root, "train")
    lines = ["video,frame,x1,y1,x2,y2,split", "a,0,1,1,2,2,train", "b,0,,,,,val", "c,0,1,1,2,2,train"]
    (root / "labels.csv").write_text("\n".join(lines))
    assert [s.name for s in read(root, "train")] == ["a", "c"]
    (b,) = read(root, "val")
    assert [len(boxes) for boxes in b.boxes] == [0, 0]
    (root / "labels.csv").write_text("\n".join([*lines, "a,1,1,1,2,2,val"]))
    with pytest.raises(DataError, match=r"labels\.csv:5: puts a into 'val', .*labels\.csv:2 into 'train'"):
        read(root, "train")


def test_files_beside_the_table_and_videos_without_rows(root: Path) -> None:
    for path in (root / "videos").iterdir():
        path.rename(root / path.name)
    (root / "videos").rmdir()
    (root / "labels.csv").write_text("video,frame,x1,y1,x2,y2\na,0,1,1,2,2\n")
    (b,) = read(root, "val")
    assert [len(boxes) for boxes in b.boxes] == [0, 0]
    assert [s.name for s in video_csv.read_all(root, cache_dir=root.parent / "cache")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,3,1,1,2,2,drone", r"labels\.csv:7: frame 3 is beyond the 3 frames of a"),
        ("a,-1,1,1,2,2,drone", r"frame '-1' is not a whole number from 0"),
        ("a,1,1,1,2,x,drone", r"box '1,1,2,x' is not x1,y1,x2,y2"),
        ("a,1,1,1,2,,drone", r"box '1,1,2,' is not x1,y1,x2,y2"),
        ("a,1,1,1,1,2,drone", r"labels\.csv:7: box 1,1,1,2 has no area"),
        ("a,1,38,1,42,2,drone", r"box 38,1,42,2 reaches outside the 40x30 image"),
        ("a,1,1,1,2,2,", r"the label is blank"),
        ("a,1,1,1,2,2,drone,9", r"more fields than the header"),
        ("x/a,1,1,1,2,2,drone", r"video 'x/a' is not the name of a video"),
        ("z,1,1,1,2,2,drone", r"labels\.csv:7: there is no video 'z'"),
    ],
)
def test_bad_rows_stop_or_are_left_out(root: Path, row: str, message: str) -> None:
    with (root / "labels.csv").open("a") as file:
        file.write(f"{row}\n")
    with pytest.raises(DataError, match=message):
        read(root, "train")
    problems = Problems("skip")
    a, _ = read(root, "train", problems=problems)
    assert [len(boxes) for boxes in a.boxes] == [1, 0, 2]
    assert len(problems.found) == 1


def test_bad_videos(root: Path) -> None:
    (root / "videos/a.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"video 'a': there are a\.mkv and a\.mp4"):
        read(root, "train")
    (root / "videos/a.mkv").unlink()
    with pytest.raises(DataError, match=r"a\.mp4: cannot be used"):
        read(root, "train")
    (root / "videos/a.mp4").unlink()
    with pytest.raises(DataError, match=r"video 'a': no video or folder has it"):
        read(root, "train")
    problems = Problems("skip")
    (c,) = read(root, "train", problems=problems)
    assert c.name == "c"
    assert len(problems.found) == 1


@pytest.mark.parametrize("header", ["video,frame,x1,y1,x2", "frame,x1,y1,x2,y2", ""])
def test_bad_header(root: Path, header: str) -> None:
    (root / "labels.csv").write_text(f"{header}\n")
    with pytest.raises(DataError, match=r"labels\.csv:1: expected the header video,frame,x1,y1,x2,y2,label"):
        read(root, "train")


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ([], "cannot be used as a split"),
        ({"train": ["a"]}, "cannot be used as a split"),
        ({"train": ["a"], "val": [3]}, "3 is not the name"),
        ({"train": ["a"], "val": ["a"]}, "a listed twice"),
    ],
)
def test_bad_split_file(root: Path, sides: Any, message: str) -> None:
    split(root, sides)
    with pytest.raises(DataError, match=message):
        read(root, "train")


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"table of boxes .* not found; looked for .*labels\.csv"):
        read(tmp_path, "train")
