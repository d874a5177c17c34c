from __future__ import annotations

import numpy as np
import pytest

from tdcnet.data.errors import DataError
from tdcnet.data.inspection import leaks, survey, thumbnail
from tdcnet.data.sequence import Sequence


class Given:
    """Frames from an array; None stands for one that cannot be read."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def read(self, index):
        if self.images[index] is None:
            raise DataError(f"frame {index} is broken")
        return self.images[index]

    def where(self, index):
        return f"#{index}"


def sequence(name, images, boxes=None, indices=None):
    n = len(images)
    boxes = boxes or [np.zeros((0, 4), np.float32)] * n
    return Sequence(
        name,
        Given(images),
        boxes,
        [np.zeros(len(b), np.int64) for b in boxes],
        np.arange(n) if indices is None else np.array(indices),
        np.zeros(n, np.int64),
    )


def noise(seed, shape=(60, 80)):
    return np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)


def test_survey_counts_what_is_there():
    first, second = noise(0), noise(1)
    second[20:24, 30:34] = 255
    box = np.array([[30, 20, 34, 24]], np.float32)
    images = [first, second, second, None]
    found = survey(sequence("s", images, [box[:0], box, box, box], indices=[0, 1, 2, 3]))
    assert (found.frames, found.per_frame, found.size) == (4, [0, 1, 1, 1], (60, 80))
    assert found.repeated == [2] and found.bad == ["frame 3 is broken"]
    target = found.targets[0]
    assert (target.frame, target.side, target.place) == (1, 4.0, (32 / 80, 22 / 60))
    assert target.scr > 1 and np.isnan(target.speed) and found.targets[1].speed == 0
    assert np.isnan(found.targets[2].scr)


def test_a_step_looks_at_fewer_frames_and_calls_none_repeated():
    same = noise(0)
    calls = []
    found = survey(sequence("s", [same] * 9), step=3, done=lambda: calls.append(1))
    assert found.frames == 3 and len(calls) == 3 and found.repeated == []


def test_thumbnails_are_of_structure():
    assert thumbnail(np.full((50, 50), 7, np.uint8)) is None
    ours, brighter = thumbnail(noise(3)), thumbnail((noise(3) // 2 + 60).astype(np.uint8))
    assert float(ours @ brighter) == pytest.approx(1, abs=0.02)
    assert float(ours @ thumbnail(noise(4))) < 0.2


def test_leaks_are_found_and_named():
    shared, moved = noise(5), noise(6)
    blurred = np.clip(moved.astype(int) + np.random.default_rng(0).integers(-6, 7, moved.shape), 0, 255).astype(
        np.uint8
    )
    train = [
        survey(s) for s in (sequence("a", [noise(1)]), sequence("b", [noise(2), shared]), sequence("c", [moved] * 3))
    ]
    val = [
        survey(s)
        for s in (
            sequence("a", [noise(11)]),
            sequence("x", [shared]),
            sequence("y", [blurred]),
            sequence("z", [noise(9)]),
        )
    ]
    found = leaks({"train": train, "val": val})
    assert [(leak.one, leak.other, leak.kind) for leak in found] == [
        ("a", "a", "same sequence"),
        ("b", "x", "same frames"),
        ("c", "y", "near-duplicates"),
    ]
    assert found[2].frames == 1 and 0.9 < found[2].likeness <= 1


def test_recordings_cut_in_two_are_told_by_their_names():
    def one(name, seed):
        return survey(sequence(name, [noise(seed)]))

    splits = {"train": [one("02_0-99", 1), one("03_0-99", 2)], "val": [one("02_100-199", 3)], "test": [one("03_1", 4)]}
    assert leaks(splits) == []
    found = leaks(splits, recording=lambda name: name.partition("_")[0])
    assert {(leak.splits, leak.one, leak.other, leak.kind) for leak in found} == {
        (("train", "val"), "02_0-99", "02_100-199", "same recording"),
        (("train", "test"), "03_0-99", "03_1", "same recording"),
    }
