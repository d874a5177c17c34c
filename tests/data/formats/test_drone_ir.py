"""Drone-detection-dataset: on tiny videos with a stub for mat-io, and on real clips where they are at hand."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import drone_ir

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "drone_ir"
NOTHING = np.zeros((0, 0))

# Per video the rows, per row the boxes by class, as MATLAB has them: x, y, w, h from 1.
LABELS: dict[str, list[dict[str, list[list[float]]]]] = {
    "IR_DRONE_001": [
        {"DRONE": [[1, 1, 4, 3]]},
        {"DRONE": [[11, 6, 4.5, 3.25], [20, 9, 2, 2]], "BIRD": [[30, 20, 5, 5]]},
        {},
    ],
    "IR_BIRD_002": [{"BIRD": [[5, 5, 2, 2]]}] * 3,
    "IR_PLANE_003": [{"AIRPLANE": [[5, 5, 2, 2]]}, {"HELICOPTER": [[6, 6, 2, 2]]}, {}],
}


def table(rows: list[dict[str, list[list[float]]]]) -> np.ndarray:
    """A struct array N x 1 as mat-io gives it; a class without a box is 0 x 0."""
    fields = ("Time", *drone_ir.CLASSES)
    array = np.empty((len(rows), 1), dtype=[(name, object) for name in fields])
    for at, row in enumerate(rows):
        for name in drone_ir.CLASSES:
            array[name][at, 0] = np.array(row[name], np.float64) if name in row else NOTHING
    return array


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces mat-io; gives the names of the files that were parsed."""
    names: list[str] = []

    def load(path: Path) -> np.ndarray:
        names.append(path.name)
        return table(LABELS[path.stem.removesuffix("_LABELS")])

    monkeypatch.setattr(drone_ir, "load_label_data", load)
    return names


@pytest.fixture
def root(tmp_path: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TDCNET_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set" / "videos"
    folder.mkdir(parents=True)
    for name in LABELS:
        # Lossless, so that grey levels can be compared.
        writer = cv2.VideoWriter(str(folder / f"{name}.mp4"), cv2.VideoWriter_fourcc(*"FFV1"), 30, (40, 30), False)
        for i in range(3):
            writer.write(np.full((30, 40), 50 * i, np.uint8))
        writer.release()
        (folder / f"{name}_LABELS.mat").write_bytes(b"stub")
    split(tmp_path / "set", {"train": ["IR_DRONE_001", "IR_PLANE_003"], "val": ["IR_BIRD_002"]})
    return tmp_path / "set"


def split(root: Path, sides: Any) -> None:
    (root / "split.json").write_text(json.dumps(sides))


def test_boxes_classes_and_frames(root: Path) -> None:
    drone, plane = drone_ir.read(root, "train")
    assert (drone.name, plane.name) == ("IR_DRONE_001", "IR_PLANE_003")
    assert drone_ir.CLASSES == ("AIRPLANE", "BIRD", "DRONE", "HELICOPTER")
    assert drone.boxes[0].dtype == np.float32
    assert drone.boxes[0].tolist() == [[0, 0, 4, 3]]
    got = sorted(zip(drone.boxes[1].tolist(), drone.labels[1].tolist(), strict=True))
    assert got == [([10, 5, 14.5, 8.25], 2), ([19, 8, 21, 10], 2), ([29, 19, 34, 24], 1)]
    assert drone.boxes[2].shape == (0, 4)
    assert drone.labels[2].shape == (0,)
    assert drone.indices.tolist() == [0, 1, 2]
    assert drone.segment_start.tolist() == [0, 0, 0]
    assert drone.aligned_files is None
    assert [labels.tolist() for labels in plane.labels] == [[0], [3], []]
    assert [int(drone.frames.read(i)[0, 0]) for i in (2, 0, 1)] == [100, 0, 50]
    (bird,) = drone_ir.read(root, "val")
    assert [boxes.tolist() for boxes in bird.boxes] == [[[4, 4, 6, 6]]] * 3
    (root / "other.json").write_text(json.dumps({"train": ["IR_BIRD_002"], "val": ["IR_DRONE_001"]}))
    for file in ("other.json", root / "other.json"):
        (only,) = drone_ir.read(root, "val", split_file=file)
        assert only.name == "IR_DRONE_001"


def test_files_beside_the_split(root: Path) -> None:
    for path in (root / "videos").iterdir():
        path.rename(root / path.name)
    (root / "videos").rmdir()
    assert [sequence.name for sequence in drone_ir.read(root, "val")] == ["IR_BIRD_002"]


def test_labels_are_parsed_once(root: Path, parsed: list[str]) -> None:
    first = drone_ir.read(root, "val")
    again = drone_ir.read(root, "val")
    assert parsed == ["IR_BIRD_002_LABELS.mat"]
    assert again[0].boxes[1].tolist() == first[0].boxes[1].tolist()
    labels = root / "videos" / "IR_BIRD_002_LABELS.mat"
    labels.write_bytes(b"another stub")
    drone_ir.read(root, "val")
    assert len(parsed) == 2
    for kept in (root.parent / "cache").glob("*.npz"):
        kept.write_bytes(kept.read_bytes()[:40])
    assert drone_ir.read(root, "val")[0].boxes[1].tolist() == [[4, 4, 6, 6]]


@pytest.mark.parametrize("rows", [2, 5])
def test_rows_that_do_not_match_the_frames(root: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setitem(LABELS, "IR_BIRD_002", [{"BIRD": [[5, 5, 2, 2]]}] * rows)
    with pytest.raises(DataError, match=rf"IR_BIRD_002_LABELS\.mat: has {rows} rows for the 3 frames"):
        drone_ir.read(root, "val")
    problems = Problems("skip")
    (sequence,) = drone_ir.read(root, "val", problems=problems)
    assert len(problems.found) == 1
    assert sequence.indices.tolist() == list(range(min(rows, 3)))
    assert sum(len(boxes) for boxes in sequence.boxes) == min(rows, 3)


def test_bad_boxes_are_named_by_row(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"BIRD": [[0, 5, 3, 2]]}, {"BIRD": [[5, 5, 0, 2], [38, 5, 9, 9]]}, {"BIRD": [[5, 5, 2, 2]]}]
    monkeypatch.setitem(LABELS, "IR_BIRD_002", rows)
    with pytest.raises(DataError, match=r"IR_BIRD_002_LABELS\.mat, row 2: box 4,4,4,6 has no area"):
        drone_ir.read(root, "val")
    problems = Problems("skip")
    (sequence,) = drone_ir.read(root, "val", problems=problems)
    # The first box starts one pixel before the image and is clipped.
    assert [boxes.tolist() for boxes in sequence.boxes] == [[[0, 4, 2, 6]], [], [[4, 4, 6, 6]]]
    assert len(problems.found) == 2
    assert "reaches outside the 40x30 image" in problems.found[1]


def test_missing_and_broken_files(root: Path) -> None:
    (root / "videos/IR_DRONE_001.mp4").unlink()
    with pytest.raises(DataError, match=r"videos: has no IR_DRONE_001\.mp4\. Copy it; data/README\.md says"):
        drone_ir.read(root, "train")
    (root / "videos/IR_DRONE_001.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"IR_DRONE_001\.mp4: cannot be used \(.*cannot be opened as a video"):
        drone_ir.read(root, "train")
    problems = Problems("skip")
    assert [sequence.name for sequence in drone_ir.read(root, "train", problems=problems)] == ["IR_PLANE_003"]
    assert len(problems.found) == 1


def test_tables_of_another_kind(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        drone_ir, "load_label_data", lambda path: np.zeros((3, 1), [("Time", float), ("DRONE", object)])
    )
    with pytest.raises(DataError, match=r"expected columns AIRPLANE, BIRD, DRONE, HELICOPTER, found Time, DRONE"):
        drone_ir.read(root, "val")
    monkeypatch.setattr(drone_ir, "load_label_data", lambda path: table([{}, {"BIRD": [[1, 2, 3]]}, {}]))
    with pytest.raises(DataError, match=r"row 2: BIRD is \(1, 3\) float64, expected k x 4"):
        drone_ir.read(root, "val")


def test_split_file_is_explained(root: Path) -> None:
    example = r'\{"train": \["NAME_1", "NAME_2"\], "val": \["NAME_3"\]\}'
    for content, fault in (
        ("{", "cannot be used as a split"),
        ('{"train": []}', "cannot be used as a split"),
        ('{"train": [1], "val": []}', "1 is not the name of a recording"),
        ('{"train": ["../x"], "val": []}', "'../x' is not the name of a recording"),
    ):
        (root / "split.json").write_text(content)
        with pytest.raises(DataError, match=rf"split\.json: .*{fault}.*{example}"):
            drone_ir.read(root, "train")
    split(root, {"train": ["IR_DRONE_001"], "val": ["IR_DRONE_001"]})
    with pytest.raises(DataError, match="IR_DRONE_001 listed twice"):
        drone_ir.read(root, "train")
    split(root, {"train": ["IR_DRONE_001"], "val": []})
    with pytest.raises(DataError, match="the 'val' split holds no usable frame"):
        drone_ir.read(root, "val")
    (root / "split.json").unlink()
    assert [s.name for s in drone_ir.read_all(root)] == sorted(path.stem for path in root.rglob("*.mp4"))
    with pytest.raises(FileNotFoundError, match=rf"looked for .*split\.json.*Write a line such as {example}"):
        drone_ir.read(root, "val")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere, where.*dataset\.root=PATH"):
        drone_ir.read(root / "nowhere", "val")


def test_bytes_that_are_no_ground_truth(tmp_path: Path) -> None:
    path = tmp_path / "IR_DRONE_001_LABELS.mat"
    for content in (b"", b"no MATLAB file", b"\0" * 200):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"IR_DRONE_001_LABELS\.mat: mat-io finds no groundTruth table"):
            drone_ir.load_label_data(path)


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared clips are not here")
@pytest.mark.parametrize("name", ["IR_BIRD_071", "IR_AIRPLANE_001"])
def test_real_clips_equal_the_parsed_labels(name: str, tmp_path: Path) -> None:
    truth = json.loads((REAL / "labels.json").read_text())
    (video,) = (video["id"] for video in truth["videos"] if video["name"] == name)
    frame_of = {image["id"]: image["frame_id"] for image in truth["images"] if image["video_id"] == video}
    boxes: dict[int, list[list[float]]] = defaultdict(list)
    for annotation in truth["annotations"]:
        if annotation["video_id"] == video:
            x, y, w, h = annotation["bbox"]
            boxes[frame_of[annotation["image_id"]]].append([x, y, x + w, y + h, annotation["category_id"] - 1])
    (tmp_path / "videos").symlink_to(REAL / "videos")
    split(tmp_path, {"train": [name], "val": []})
    (sequence,) = drone_ir.read(tmp_path, "train", cache_dir=tmp_path / "cache")
    assert len(sequence) == len(sequence.indices) == len(frame_of)
    for at in range(len(sequence)):
        got = np.column_stack([sequence.boxes[at], sequence.labels[at]])
        np.testing.assert_allclose(sorted(got.tolist()), sorted(boxes[at]), atol=1.1e-3)  # rounded to 3 decimals there
    assert max(map(len, sequence.boxes)) == (2 if name == "IR_BIRD_071" else 1)
    assert sequence.frames.read(len(sequence) - 1).shape == (256, 320)
