"""The synthetic clips: what they claim of targets, motion and clutter is measured on their pixels."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data import synthetic
from tdcnet.data.backgrounds import BACKGROUNDS, fractal, make_background
from tdcnet.data.errors import DataError
from tdcnet.data.synthetic import SyntheticClip, SyntheticConfig, generate_clip, write_dataset

QUIET = SyntheticConfig(
    frames=20, bits=16, hot_spots=(0, 0), hot_pixels=(0, 0), temporal_noise=0, pixel_noise=0, column_noise=0
)
SMALL = SyntheticConfig(height=48, width=64, frames=6)
GREY = 16383 / 255


def blobs_only(config: SyntheticConfig, seed: int) -> tuple[SyntheticClip, np.ndarray]:
    """The clip, and its frames less those of the same clip without targets, in 8-bit grey levels."""
    clip = generate_clip(config, seed)
    empty = generate_clip(replace(config, targets=(0, 0)), seed)
    return clip, (clip.frames.astype(np.float64) - empty.frames.astype(np.float64)) / GREY


def test_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (generate_clip(SMALL, seed) for seed in (3, 3, 8))
    assert first.frames.dtype == np.uint8
    assert first.frames.shape == (6, 48, 64)
    assert first.frames.tobytes() == again.frames.tobytes()
    assert all(np.array_equal(a, b) for a, b in zip(first.boxes, again.boxes, strict=True))
    assert first.background == other.background
    assert first.frames.tobytes() != other.frames.tobytes()


def test_sixteen_bits_hold_the_same_scene_in_fourteen() -> None:
    wide = generate_clip(replace(SMALL, bits=16), 2).frames
    assert wide.dtype == np.uint16
    assert wide.max() <= 16383
    np.testing.assert_allclose(wide / GREY, generate_clip(SMALL, 2).frames, atol=0.51)


@pytest.mark.parametrize("seed", range(5))
def test_boxes_lie_on_the_blobs(seed: int) -> None:
    clip, blobs = blobs_only(replace(QUIET, targets=(1, 1), jitter=0.5, speed=(2.0, 3.0)), seed)
    low, high = QUIET.box_side
    seen = 0
    for frame, boxes in zip(blobs, clip.boxes, strict=True):
        assert boxes.dtype == np.float32
        if len(boxes) == 0:
            continue
        seen += 1
        np.testing.assert_array_equal(boxes, np.rint(boxes))
        x1, y1, x2, y2 = boxes[0].astype(int)
        assert 0 <= x1 < x2 <= 160
        assert 0 <= y1 < y2 <= 128
        assert x2 - x1 <= high and y2 - y1 <= high
        y, x = np.unravel_index(frame.argmax(), frame.shape)
        assert x1 <= x < x2 and y1 <= y < y2
        if x1 > 0 and y1 > 0 and x2 < 160 and y2 < 128:
            assert min(x2 - x1, y2 - y1) >= low
            # Two sigma either way hold 0.954 ** 2 of a Gaussian; half a pixel of rounding costs some of that.
            assert 0.75 < frame[y1:y2, x1:x2].sum() / frame.sum() < 1.0
            centre = np.array([(frame.sum(0) * np.arange(160)).sum(), (frame.sum(1) * np.arange(128)).sum()])
            offset = centre / frame.sum() - ((x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2)
            assert np.abs(offset).max() < 0.6
    assert seen > 0


def test_a_target_whose_centre_is_outside_has_no_box() -> None:
    config = replace(QUIET, frames=120, targets=(1, 1), speed=(2.5, 3.0), static_fraction=1.0)
    clip = generate_clip(config, 1)
    (target,) = clip.targets
    for (x, y), boxes in zip(target.centre, clip.boxes, strict=True):
        assert len(boxes) == (-0.5 <= x < 159.5 and -0.5 <= y < 127.5)
    counts = [len(boxes) for boxes in clip.boxes]
    # 120 frames at 2.5 px are farther than the diagonal: it enters or leaves.
    assert 0 in counts and 1 in counts


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_scr_is_as_asked(background: str) -> None:
    config = SyntheticConfig(
        frames=20,
        bits=16,
        backgrounds=(background,),
        targets=(1, 1),
        scr=(4.0, 4.0),
        hot_spots=(0, 0),
        hot_pixels=(0, 0),
        box_side=(8.0, 10.0),
        speed=(0.3, 1.0),
    )
    measured = []
    for seed in range(4):
        clip, blobs = blobs_only(config, seed)
        empty = generate_clip(replace(config, targets=(0, 0)), seed).frames / GREY
        for index, boxes in enumerate(clip.boxes):
            if len(boxes) == 0:
                continue
            x, y = np.rint(clip.targets[0].centre[index]).astype(int)
            if 10 <= x < 150 and 10 <= y < 118:
                around = empty[index, y - 10 : y + 11, x - 10 : x + 11]
                measured.append(blobs[index].max() / around.std())
                assert clip.targets[0].scr[index] == pytest.approx(measured[-1], rel=0.35)
    assert np.median(measured) == pytest.approx(4.0, rel=0.15)


def test_cold_targets_are_darker() -> None:
    _, blobs = blobs_only(replace(QUIET, targets=(1, 1), cold_fraction=1.0), 2)
    assert blobs.min() < -1.0
    assert blobs.max() < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_homographies_carry_one_frame_onto_another(seed: int) -> None:
    config = replace(QUIET, targets=(0, 0), static_fraction=0.0, rotation=3.0, zoom=0.03)
    clip = generate_clip(config, seed)
    first, last = clip.frames[0].astype(np.float32), clip.frames[12].astype(np.float32)
    matrix = clip.homography(0, 12)
    size = (config.width, config.height)
    warped = cv2.warpPerspective(first, matrix, size, flags=cv2.INTER_CUBIC)
    common = cv2.erode(cv2.warpPerspective(np.ones_like(first), matrix, size), np.ones((5, 5))) == 1
    assert common.mean() > 0.6
    aligned = np.abs(warped - last)[common].mean()
    assert aligned < 0.25 * np.abs(first - last)[common].mean()
    assert aligned < 1.0 * GREY
    np.testing.assert_allclose(
        clip.homography(12, 0) @ matrix, np.eye(3) * (clip.homography(12, 0) @ matrix)[2, 2], atol=1e-9
    )


def test_targets_move_against_the_background_and_hot_spots_do_not() -> None:
    config = replace(QUIET, targets=(1, 1), speed=(1.0, 2.0), static_fraction=0.0)
    clip = generate_clip(config, 4)
    (target,) = clip.targets
    for index in range(1, 20):
        before = clip.homography(index - 1, index) @ np.append(target.centre[index - 1], 1.0)
        # Rotation and zoom keep lengths to within 1.5 %.
        assert 0.98 <= np.hypot(*(target.centre[index] - before[:2] / before[2])) <= 2.04

    still = replace(QUIET, targets=(0, 0), hot_spots=(4, 4), static_fraction=1.0, backgrounds=("sky",))
    frames = generate_clip(still, 4).frames
    assert (frames == frames[0]).all()
    without = generate_clip(replace(still, hot_spots=(0, 0)), 4).frames
    assert (frames[0].astype(int) - without[0]).max() > 2 * GREY


def test_the_sensor_adds_noise_stripes_and_hot_pixels() -> None:
    base = replace(QUIET, targets=(0, 0), static_fraction=1.0, backgrounds=("sky",), frames=40)
    clean = generate_clip(base, 0).frames / GREY
    noise = generate_clip(replace(base, temporal_noise=3.0), 0).frames / GREY - clean
    assert noise.std(axis=0).mean() == pytest.approx(3.0, rel=0.03)
    stripes = generate_clip(replace(base, column_noise=2.0), 0).frames / GREY - clean
    assert stripes[0].std(axis=0).max() < 0.02
    assert stripes[0].mean(axis=0).std() == pytest.approx(2.0, rel=0.25)
    defects = generate_clip(replace(base, hot_pixels=(3, 3)), 0).frames / GREY - clean
    assert (defects > 10).sum(axis=(1, 2)).tolist() == [3] * 40


def test_fractal_power_falls_as_asked() -> None:
    power = np.abs(np.fft.rfft2(fractal(np.random.default_rng(0), (256, 256), beta=3.0))) ** 2
    radius = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None, :])
    bands = [power[(radius >= low) & (radius < 1.2 * low)].mean() for low in (0.02, 0.2)]
    assert np.log10(bands[0] / bands[1]) == pytest.approx(3.0, abs=0.2)


def parse(line: str) -> tuple[str, list[list[int]]]:
    path, *boxes = line.split(" ")
    return path.split("/images/")[1], [[int(value) for value in box.split(",")] for box in boxes]


def test_written_layout_reads_back(tmp_path: Path) -> None:
    done: list[str] = []
    root = write_dataset(tmp_path / "set", SMALL, 4, 2, done=done.append)
    assert sorted(path.name for path in root.iterdir()) == sorted(
        [
            "images",
            "synthetic.json",
            *(f"{s}{end}" for s in ("train", "val") for end in (".txt", "_tracks.txt", "_coco.json")),
        ]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert done == ["1", "2", "3", "4", "5", "6"]
    empty, frames = 0, {}
    for split, sequences in (("train", {"1", "2", "3", "4"}), ("val", {"5", "6"})):
        lines = [parse(line) for line in (root / f"{split}.txt").read_text().splitlines()]
        coco = json.loads((root / f"{split}_coco.json").read_text())
        assert coco["categories"] == [{"id": 0, "name": "0"}]
        assert {name.split("/")[0] for name, _ in lines} == sequences
        assert [image["file_name"] for image in coco["images"]] == [f"images/{name}" for name, _ in lines]
        assert [image["id"] for image in coco["images"]] == list(range(1, len(lines) + 1))
        assert [annotation["id"] for annotation in coco["annotations"]] == list(range(1, len(coco["annotations"]) + 1))
        for image, (name, boxes) in zip(coco["images"], lines, strict=True):
            frames[name] = cv2.imread(str(root / "images" / name), cv2.IMREAD_UNCHANGED)
            assert frames[name].shape == (image["height"], image["width"]) == (48, 64)
            assert frames[name].dtype == np.uint8
            own = [annotation for annotation in coco["annotations"] if annotation["image_id"] == image["id"]]
            assert [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2, _ in boxes] == [entry["bbox"] for entry in own]
            assert all(entry["area"] == entry["bbox"][2] * entry["bbox"][3] for entry in own)
            assert all(entry["category_id"] == 0 and entry["iscrowd"] == 0 for entry in own)
            empty += not boxes
    assert len(frames) == 36
    assert 0 < empty < 36
    first = [frames[f"{sequence}/00000000.png"].tobytes() for sequence in range(1, 7)]
    assert len(set(first)) == 6


def test_default_set_has_empty_and_crowded_frames_in_both_splits() -> None:
    config = SyntheticConfig(frames=2)
    for sequences in (range(1, 25), range(25, 31)):
        counts = [len(boxes) for sequence in sequences for boxes in generate_clip(config, sequence).boxes]
        assert min(counts) == 0 and max(counts) >= 2


def test_sixteen_bit_frames_are_stored_as_such(tmp_path: Path) -> None:
    config = replace(SMALL, bits=16, frames=1)
    root = write_dataset(tmp_path / "set", config, 1, 1)
    stored = cv2.imread(str(root / "images/2/00000000.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, generate_clip(config, 2).frames[0])


def test_a_finished_set_is_left_alone_and_another_is_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "set", SMALL, 1, 1)
    frame = root / "images/1/00000000.png"
    os.utime(frame, (1, 1))
    write_dataset(root, SMALL, 1, 1)
    assert frame.stat().st_mtime == 1
    with pytest.raises(DataError, match=r"frames 6 -> 7.*overwrite=True"):
        write_dataset(root, replace(SMALL, frames=7), 1, 1)
    with pytest.raises(DataError, match="val_sequences 1 -> 2"):
        write_dataset(root, SMALL, 1, 2)
    assert frame.stat().st_mtime == 1
    write_dataset(root, replace(SMALL, frames=7), 1, 1, overwrite=True)
    assert (root / "images/1/00000006.png").is_file()


def test_data_of_others_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious.png").write_bytes(b"1")
    with pytest.raises(DataError, match="never overwritten"):
        write_dataset(tmp_path, SMALL, 1, 1, overwrite=True)
    assert (tmp_path / "precious.png").read_bytes() == b"1"


def test_an_interrupted_set_is_not_taken_for_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(name: str) -> None:
        if name == "2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", SMALL, 2, 1, done=interrupt)
    assert list(tmp_path.iterdir()) == []
    # Killed outright, nothing tidies up: what is left must still not bear the name of the set.
    monkeypatch.setattr(synthetic.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", SMALL, 2, 1, done=interrupt)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 12}, "allowed are 8 and 16"),
        ({"scr": (5.0, 2.0)}, "lowest, highest"),
        ({"backgrounds": ("sea",)}, "allowed are sky"),
        ({"height": 8}, "at least 32x32"),
        ({"temporal_noise": -1.0}, "negative"),
        ({"box_side": (1.0, 4.0)}, "sides from 2 px"),
    ],
)
def test_impossible_configurations_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyntheticConfig(**change)  # type: ignore[arg-type]


def test_an_unknown_background_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed are sky"):
        make_background("sea", np.random.default_rng(0), (32, 32))
