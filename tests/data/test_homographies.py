from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from tdcnet.data.alignment import Aligner
from tdcnet.data.errors import DataError
from tdcnet.data.homographies import HomographyStore, align_sequences
from tdcnet.data.sequence import Sequence

STEP = np.array([1.5, -0.75])  # px the background moves from frame to frame


@dataclass
class Pan:
    """Frames cut from one textured scene, each ``STEP`` further; frame ``bad`` cannot be read."""

    count: int = 12
    bad: int | None = None

    def __len__(self) -> int:
        return self.count

    def where(self, index: int) -> str:
        return f"frame {index}"

    def read(self, index: int) -> np.ndarray:
        if index == self.bad:
            raise DataError(f"frame {index} is broken")
        scene = cv2.GaussianBlur(np.random.default_rng(0).standard_normal((160, 200)), (0, 0), 2)
        scene = (128 + 40 * scene / scene.std()).clip(0, 255).astype(np.float32)
        shift = np.array([[1, 0, -20 + index * STEP[0]], [0, 1, -20 + index * STEP[1]]])
        return cv2.warpAffine(scene, shift, (128, 96), flags=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def sequence(name="pan", bad=None, indices=None):
    n = 12
    return Sequence(
        name=name,
        frames=Pan(n, bad),
        boxes=[np.zeros((0, 4), np.float32)] * n,
        labels=[np.zeros(0, np.int64)] * n,
        indices=np.arange(n) if indices is None else np.array(indices),
        segment_start=np.zeros(n, np.int64),
    )


@pytest.fixture
def store(tmp_path):
    return HomographyStore(tmp_path, num_frames=3, stride=2)


def align(sequences, store, processes=1):
    return align_sequences(sequences, store, Aligner(), processes=processes, progress=False)


def test_homographies_follow_the_known_motion(store):
    summary = align([sequence()], store)
    for newest, older in ((8, [4, 6]), (1, [0, 0]), (3, [0, 1])):
        found = HomographyStore(store.root, 3, 2).get(sequence(), newest)
        assert found is not None and found.shape == (3, 3, 3)
        for homography, position in zip(found[:2], older, strict=True):
            moved = homography @ np.array([64, 48, 1])
            assert_allclose(moved[:2] / moved[2] - (64, 48), (newest - position) * STEP, atol=0.15)
        assert_allclose(found[2], np.eye(3))
    # Of 12 frames: the first has no predecessor, the next two (one and two frames in) only the first frame once.
    assert summary.pairs == 0 + 1 + 1 + 9 * 2
    assert not summary.unregistered and not summary.bad_frames


def test_second_run_does_nothing_and_a_lost_file_is_made_again(store):
    both = [sequence("a"), sequence("b")]
    align(both, store)
    fresh = HomographyStore(store.root, 3, 2)
    assert align(both, fresh).pairs == 0
    before = fresh.path(both[0]).read_bytes()
    fresh.path(both[1]).unlink()
    again = HomographyStore(store.root, 3, 2)
    assert align(both, again).pairs == 20
    assert again.path(both[0]).read_bytes() == before


def test_damaged_and_foreign_files_count_as_absent(store):
    align([sequence()], store)
    path = store.path(sequence())
    assert HomographyStore(store.root, 3, 2, tag="another aligner").get(sequence(), 8) is None
    path.write_bytes(path.read_bytes()[:200])
    assert HomographyStore(store.root, 3, 2).get(sequence(), 8) is None
    assert HomographyStore(store.root, 5, 1).get(sequence(), 8) is None


def test_frames_outside_the_split_are_added_later(store):
    align([sequence(indices=[8])], store)
    assert store.get(sequence(), 7) is None
    first = store.get(sequence(), 8)
    align([sequence(indices=[7, 8])], store)
    assert store.get(sequence(), 7) is not None
    assert_allclose(store.get(sequence(), 8), first)


def test_a_bad_frame_costs_its_own_pairs_only(store):
    summary = align([sequence(bad=4)], store)
    assert summary.bad_frames == ["frame 4 is broken"]
    assert_allclose(store.get(sequence(), 8)[0], np.eye(3))
    moved = store.get(sequence(), 8)[1] @ np.array([64, 48, 1])
    assert_allclose(moved[:2] / moved[2] - (64, 48), 2 * STEP, atol=0.15)


def test_processes_give_what_one_gives(tmp_path, monkeypatch):
    monkeypatch.setattr("tdcnet.data.homographies.SERIAL", 0)
    both = [sequence("a"), sequence("b")]
    one, two = HomographyStore(tmp_path / "1", 3, 2), HomographyStore(tmp_path / "2", 3, 2)
    align(both, one)
    summary = align(both, two, processes=2)
    assert summary.pairs == 40
    for s in both:
        assert_allclose(two.load(s), one.load(s))


def test_single_frames_need_no_homographies(tmp_path):
    store = HomographyStore(tmp_path, 1, 1)
    assert align([sequence()], store).pairs == 0
    assert_allclose(
        store.get(sequence(), 3) if store.load(sequence()) is not None else np.eye(3)[None], np.eye(3)[None]
    )
