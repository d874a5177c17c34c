"""Conversion to COCO: what comes back through the COCO reader is what went in, bit by bit."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tdcnet.commands import convert
from tdcnet.data import formats
from tdcnet.data.formats import coco, drone_ir, irdst, irstd_uav, video_csv


def noise(seed: int, dtype: Any = np.uint16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (30, 40), dtype=dtype, endpoint=True)


@pytest.fixture
def uav(tmp_path: Path) -> Path:
    """Recording 1 with 102 frames of 16 bit: a segment to train on, one to validate on, and two frames of neither."""
    root = tmp_path / "uav"
    (root / "images/1").mkdir(parents=True)
    for at in range(102):
        assert cv2.imwrite(str(root / f"images/1/{at:08d}.png"), noise(at))
    lines = [f"/data/images/1/{at:08d}.png {at % 30},3,{at % 30 + 4},9,0" for at in range(100)]
    lines[7] = "/data/images/1/00000007.png"
    (root / "train.txt").write_text("\n".join(lines[:50]))
    (root / "val.txt").write_text("\n".join(lines[50:]))
    return root


def run(fmt: str, root: Path, out: Path, *more: str) -> int:
    return convert.main(["--format", fmt, "--root", str(root), str(out), *more])


def test_frames_and_boxes_come_back_equal(uav: Path, tmp_path: Path) -> None:
    assert run("irstd_uav", uav, tmp_path / "out") == 0
    for split in ("train", "val"):
        (before,) = irstd_uav.read(uav, split)
        (after,) = coco.read(tmp_path / "out", split)
        assert len(after) == 50
        for at, old in enumerate(map(int, before.indices)):
            frame = after.frames.read(at)
            assert frame.dtype == np.uint16
            np.testing.assert_array_equal(frame, before.frames.read(old))
            np.testing.assert_array_equal(after.boxes[at], before.boxes[old])
            np.testing.assert_array_equal(after.labels[at], before.labels[old])
            assert len(after.clip_indices(at, 5)) == 5
            assert [old - at + i for i in after.clip_indices(at, 5)] == before.clip_indices(old, 5)
    assert [len(boxes) for boxes in coco.read(tmp_path / "out", "train")[0].boxes].count(0) == 1


def test_keys_of_coco_vid(uav: Path, tmp_path: Path) -> None:
    assert run("irstd_uav", uav, tmp_path / "out", "--splits", "val") == 0
    assert not (tmp_path / "out/annotations/instances_train.json").exists()
    content = json.loads((tmp_path / "out/annotations/instances_val.json").read_text())
    assert content["videos"] == [{"id": 1, "name": "1_000050"}]
    first = {"id": 1, "file_name": "images/1/000050.png", "height": 30, "width": 40, "video_id": 1, "frame_id": 0}
    assert content["images"][0] == first
    # Frame 50: x from 50 % 30 = 20.
    box = {"id": 1, "image_id": 1, "video_id": 1, "category_id": 1, "bbox": [20, 3, 4, 6], "area": 24}
    assert content["annotations"][0].items() >= box.items()
    assert [category["name"] for category in content["categories"]] == ["target"]
    assert [image["frame_id"] for image in content["images"]] == list(range(50))


def test_cuts_stay(tmp_path: Path) -> None:
    root = tmp_path / "irdst"
    (root / "images/1").mkdir(parents=True)
    for at in range(4):
        assert cv2.imwrite(str(root / f"images/1/{at}.bmp"), np.full((30, 60), at, np.uint8))
    corners = [1, 2, 40, 41]
    lines = [f"/x/images/1/{at}.bmp {x},5,{x + 3},8,0" for at, x in enumerate(corners)]
    (root / "train.txt").write_text("\n".join(lines))
    assert irdst.read(root, "train")[0].segment_start.tolist() == [0, 0, 2, 2]
    assert run("irdst", root, tmp_path / "out", "--splits", "train") == 0
    assert [(s.name, len(s)) for s in coco.read(tmp_path / "out", "train")] == [("1_000000", 2), ("1_000002", 2)]
    assert run("irdst", root, tmp_path / "whole", "--splits", "train", "--set", "jump=null") == 0
    assert [(s.name, len(s)) for s in coco.read(tmp_path / "whole", "train")] == [("1", 4)]


def test_videos_classes_and_parts_of_px(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TDCNET_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "set"
    root.mkdir()
    writer = cv2.VideoWriter(str(root / "v.mkv"), cv2.VideoWriter_fourcc(*"FFV1"), 30, (40, 30), False)
    for at in range(3):
        writer.write(np.ascontiguousarray(noise(at, np.uint8)))
    writer.release()
    rows = ["v,0,0.1,0.2,7.3,5.7,drone", "v,2,1.15,3,4,6.05,bird", "v,2,11.1,3,14.7,6,drone"]
    (root / "labels.csv").write_text("\n".join(["video,frame,x1,y1,x2,y2,label", *rows]))
    (root / "split.json").write_text('{"train": ["v"], "val": []}')
    assert run("video_csv", root, tmp_path / "out", "--splits", "train") == 0
    (before,), (after,) = video_csv.read(root, "train"), coco.read(tmp_path / "out", "train")
    assert coco.class_names(tmp_path / "out") == ("bird", "drone")
    for at in range(3):
        np.testing.assert_array_equal(after.frames.read(at), before.frames.read(at))
        np.testing.assert_array_equal(after.boxes[at], before.boxes[at])
        np.testing.assert_array_equal(after.labels[at], before.labels[at])


def test_a_second_run_keeps_whole_frames_of_the_right_size(uav: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("irstd_uav", uav, out, "--splits", "train") == 0
    annotations = (out / "annotations/instances_train.json").read_bytes()
    frames = sorted((out / "images/1").iterdir())
    for frame in frames:
        os.utime(frame, ns=(0, 0))
    frames[3].unlink()
    frames[4].write_bytes(frames[5].read_bytes()[:20])
    assert cv2.imwrite(str(frames[6]), np.zeros((30, 41), np.uint16))
    assert cv2.imwrite(str(frames[8]), np.zeros((30, 40), np.uint8))
    assert run("irstd_uav", uav, out, "--splits", "train") == 0
    again = [at for at, frame in enumerate(frames) if frame.stat().st_mtime_ns != 0]
    assert again == [3, 4, 6, 8]
    for at in again:
        np.testing.assert_array_equal(cv2.imread(str(frames[at]), cv2.IMREAD_UNCHANGED), noise(at))
    assert (out / "annotations/instances_train.json").read_bytes() == annotations
    assert not list(out.rglob("*.part"))


def test_links(uav: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        assert run("irstd_uav", uav, out, "--link") == 0
        assert (out / "images/1/000012.png").is_symlink()
        assert (out / "images/1/000012.png").resolve() == (uav / "images/1/00000012.png").resolve()
    (sequence,) = coco.read(out, "train")
    np.testing.assert_array_equal(sequence.frames.read(12), noise(12))
    # Without the option the same folder gets copies, and what was linked to is not written through.
    assert run("irstd_uav", uav, out) == 0
    assert not (out / "images/1/000012.png").is_symlink()
    np.testing.assert_array_equal(irstd_uav.read(uav, "train")[0].frames.read(12), noise(12))


def test_bad_frames_stop_or_are_left_out(uav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (uav / "images/1/00000020.png").write_bytes(b"no image")
    assert run("irstd_uav", uav, tmp_path / "out", "--splits", "train") == 1
    assert "00000020.png: is not an image" in capsys.readouterr().err
    assert run("irstd_uav", uav, tmp_path / "out", "--splits", "train", "--on-bad-frame", "skip") == 0
    assert "1 bad entries were left out, the first: 1: frame 20 cannot be used" in capsys.readouterr().out
    (sequence,) = coco.read(tmp_path / "out", "train")
    assert len(sequence) == 49
    # frame_id keeps the place of the frame left out, so the reader cuts there.
    assert sequence.segment_start.tolist() == [0] * 20 + [20] * 29


def test_two_sets_do_not_mix(uav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("irstd_uav", uav, tmp_path / "out") == 0
    assert run("irdst", uav, tmp_path / "out") == 1
    assert "holds a conversion of {'format': 'irstd_uav'" in capsys.readouterr().err
    assert run("irstd_uav", tmp_path / "nowhere", tmp_path / "other") == 1
    assert "not found; looked for" in capsys.readouterr().err


def test_every_reader_is_offered() -> None:
    modules = {path.stem for path in Path(formats.__file__).parent.glob("*.py")}
    readers = {name for name in modules - {"__init__"} if hasattr(import_module(f"{formats.__name__}.{name}"), "read")}
    assert readers == set(formats.FORMATS)
    assert drone_ir.CLASSES == ("AIRPLANE", "BIRD", "DRONE", "HELICOPTER")
    with pytest.raises(ValueError, match="allowed are anti_uav, coco"):
        formats.reader("common")


def test_16_bit_video_becomes_16_bit_png(tmp_path):
    frames = [np.arange(32 * 40, dtype=np.uint16).reshape(32, 40) + np.uint16(20000 + i) for i in range(4)]
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 40, 32, "gray16le"
        stream.codec_context.thread_count = 1  # other tests fork
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray16le")))
        container.mux(stream.encode())
    (tmp_path / "labels.csv").write_text("video,frame,x1,y1,x2,y2\na,0,2,2,6,6\n")
    (tmp_path / "split.json").write_text('{"train": ["a"], "val": []}')
    out = tmp_path / "out"
    given = [str(out), "--format", "video_csv", "--root", str(tmp_path), "--splits", "train"]
    assert convert.main(given) == 0
    for i, frame in enumerate(frames):
        assert np.array_equal(cv2.imread(str(out / "images" / "a" / f"{i:06d}.png"), cv2.IMREAD_UNCHANGED), frame)
