from __future__ import annotations

import logging
import pickle
from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest

from tdcnet.data.alignment import Aligner
from tdcnet.data.errors import DataError
from tdcnet.data.homographies import HomographyStore, align_sequences
from tdcnet.data.sequence import Sequence
from tdcnet.files import FolderError, read_arrays, write_arrays

STEP = (2, -1)  # px that the scene moves from frame to frame
TEXTURE = cv2.GaussianBlur(np.random.default_rng(0).standard_normal((192, 256)), (0, 0), 2)
TEXTURE = (128 + 30 * TEXTURE / TEXTURE.std()).clip(0, 255).astype(np.uint8)


@dataclass
class Pan:
    """Frames cut out of one texture, some of them bad."""

    count: int
    bad: tuple[int, ...] = ()
    reads: list[int] = field(default_factory=list)

    def __len__(self):
        return self.count

    def read(self, index):
        self.reads.append(index)
        if index in self.bad:
            raise DataError(f"{self.where(index)}: cannot be decoded")
        x, y = 100 - STEP[0] * index, 20 - STEP[1] * index
        return TEXTURE[y : y + 128, x : x + 128].copy()

    def where(self, index):
        return f"pan.mp4#{index}"


def sequence(name="pan", count=12, indices=None, bad=(), cut=0):
    starts = np.where(np.arange(count) < cut, 0, cut)
    return Sequence(
        name,
        Pan(count, bad),
        [np.zeros((0, 4), np.float32)] * count,
        [np.zeros(0, np.int64)] * count,
        np.arange(count) if indices is None else np.array(indices),
        starts,
    )


def align(sequences, store, processes=1, model="translation"):
    return align_sequences(sequences, store, Aligner(model), processes=processes, progress=False)


def test_homographies_lead_from_each_frame_to_the_newest(tmp_path):
    clip, store = sequence(), HomographyStore(tmp_path, 3, 2)
    summary = align([clip], store)
    assert (tmp_path / "pan_T3_s2.npz").is_file()
    expected = [[4 * STEP[0], 4 * STEP[1]], [2 * STEP[0], 2 * STEP[1]], [0, 0]]
    found = store.get(clip, 9)
    assert found.dtype == np.float32
    assert found.shape == (3, 3, 3)
    np.testing.assert_allclose(found[:, :2, 2], expected, atol=0.15)
    np.testing.assert_array_equal(found[-1], np.eye(3))
    # Clips at 0 and 1 are one frame repeated and so on: 0: none, 1: 0, 2: 0, 3: 0 and 1, 4: 0 and 2, ... 11: 7 and 9.
    assert summary.pairs == 0 + 1 + 1 + 9 * 2
    assert sorted(clip.frames.reads) == list(range(12))
    assert summary.skipped == 0
    assert summary.pairs_per_second > 0


def test_clips_stay_within_their_segment(tmp_path):
    clip, store = sequence(cut=6), HomographyStore(tmp_path, 3, 1)
    summary = align([clip], store)
    np.testing.assert_array_equal(store.get(clip, 6), [np.eye(3)] * 3)
    np.testing.assert_allclose(store.get(clip, 7)[:, :2, 2], [STEP, STEP, [0, 0]], atol=0.15)
    assert summary.pairs == 2 * (0 + 1 + 4 * 2)


def test_a_second_run_does_nothing_and_a_deleted_file_is_redone(tmp_path):
    clips, store = [sequence("a"), sequence("b")], HomographyStore(tmp_path, 3, 1)
    first = align(clips, store)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(stamps) == 2
    assert align(clips, store).pairs == 0
    store.path(clips[0]).unlink()
    assert align(clips, store).pairs == first.pairs / 2
    assert store.path(clips[0]).is_file()
    assert store.path(clips[1]).stat().st_mtime_ns == stamps[store.path(clips[1])]


def test_frames_of_another_split_are_added(tmp_path):
    train, val = sequence(indices=[0, 1, 2, 3, 4, 5]), sequence(indices=[6, 7, 8])
    store = HomographyStore(tmp_path, 3, 1)
    align([train], store)
    assert store.get(train, 7) is None
    before = store.get(train, 4)
    assert store.missing(val) == [6, 7, 8]
    assert align([val], store).pairs == 6
    assert store.get(val, 7) is not None
    assert store.get(val, 9) is None
    np.testing.assert_array_equal(store.get(train, 4), before)


def test_a_bad_frame_costs_its_pairs_only(tmp_path, caplog):
    clip, store = sequence(bad=(6,)), HomographyStore(tmp_path, 3, 1)
    with caplog.at_level(logging.WARNING):
        summary = align([clip], store)
    # 6 is the newest of one clip and history of the next two.
    assert summary.skipped == 4
    assert summary.problems == ["pan.mp4#6: cannot be decoded"]
    assert "pan.mp4#6" in caplog.text
    assert "4 skipped" in str(summary)
    np.testing.assert_array_equal(store.get(clip, 6), [np.eye(3)] * 3)
    np.testing.assert_allclose(store.get(clip, 7)[0, :2, 2], [2 * STEP[0], 2 * STEP[1]], atol=0.15)
    np.testing.assert_array_equal(store.get(clip, 7)[1], np.eye(3))
    assert store.missing(clip) == []


def test_workers_give_what_one_process_gives(tmp_path):
    clips = [sequence("a", 36, cut=10), sequence("b", bad=(3,))]
    alone, together = HomographyStore(tmp_path / "1", 3, 1), HomographyStore(tmp_path / "2", 3, 1)
    one, two = align(clips, alone), align(clips, together, processes=2)
    assert (one.pairs, one.skipped, one.problems) == (two.pairs, two.skipped, two.problems)
    for clip in clips:
        np.testing.assert_array_equal(alone.load(clip), together.load(clip))


def test_a_long_sequence_is_split_among_workers_without_seams(tmp_path, monkeypatch):
    whole, split, clip = HomographyStore(tmp_path / "1", 4, 2), HomographyStore(tmp_path / "2", 4, 2), sequence()
    align([clip], whole)
    monkeypatch.setattr("tdcnet.data.homographies._CHUNK", 5)
    align([clip], split)
    np.testing.assert_array_equal(whole.load(clip), split.load(clip))


def test_homographies_of_another_aligner_are_rebuilt(tmp_path, caplog):
    clip, store = sequence(), HomographyStore(tmp_path, 2, 1)
    align([clip], store)
    other = HomographyStore(tmp_path, 2, 1, Aligner("affine").tag)
    with caplog.at_level(logging.WARNING):
        assert other.get(clip, 5) is None
    assert "made by aligner translation" in caplog.text
    assert align([clip], store, model="affine").pairs == 11
    assert HomographyStore(tmp_path, 2, 1, Aligner("affine").tag).get(clip, 5) is not None


@pytest.mark.parametrize("damage", ["cut short", "other cuts", "other length"])
def test_a_file_that_does_not_fit_is_told_and_rebuilt(tmp_path, caplog, damage):
    clip = sequence()
    align([clip], HomographyStore(tmp_path, 3, 1))
    store = HomographyStore(tmp_path, 3, 1)
    if damage == "cut short":
        store.path(clip).write_bytes(store.path(clip).read_bytes()[:300])
    else:
        clip = sequence(cut=4) if damage == "other cuts" else sequence(count=11)
    with caplog.at_level(logging.WARNING):
        assert store.get(clip, 5) is None
    assert "not used" in caplog.text
    assert align([clip], store).pairs > 0
    assert store.get(clip, 5) is not None


def rewrite(path, **changed):
    """A whole file, checksum included, with other content."""
    content = read_arrays(path, ("homographies", "tag", "segments", "recording"))
    for name, value in changed.items():
        content[name] = value(content[name]) if callable(value) else value
    write_arrays(path, content)


def put(value, place=(5, 0, 0, 2)):
    def change(array):
        array = array.copy()
        array[place] = value
        return array

    return change


@pytest.mark.parametrize(
    "changed",
    [
        {"homographies": put(np.inf)},
        {"homographies": put(np.nan)},
        {"homographies": put(1e30)},
        {"homographies": put(0, (5, 0))},
        {"homographies": put(np.diag([-1, 1, 1]), (5, 0))},
        {"homographies": put(40, (5, 0, 2, 2))},
        {"homographies": lambda array: array.astype(np.float16)},
        {"homographies": lambda array: array.astype("U5")},
        {"homographies": lambda array: array[0, 0, 0, 0]},
        {"segments": np.zeros((2, 2))},
        {"segments": np.array("x")},
        {"recording": np.array(5)},
        {"tag": np.array([["x"]])},
    ],
    ids=[f"fault{i}" for i in range(13)],
)
def test_what_cannot_be_homographies_is_not_used(tmp_path, changed):
    clip, store = sequence(), HomographyStore(tmp_path, 3, 1, Aligner("translation").tag)
    align([clip], store)
    assert store.load(clip) is not None
    rewrite(store.path(clip), **changed)
    assert store.load(clip) is None


def test_recordings_of_one_name_are_told_apart(tmp_path, caplog):
    """Two data sets, each with a video of that name and length; moving a set changes nothing."""
    store = HomographyStore(tmp_path / "kept", 3, 1)
    clips = []
    for folder, size in (("one/set", 10), ("two/set", 11), ("three/set", 10)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "pan.mp4").write_bytes(bytes(size))
        clips.append(sequence())
        clips[-1].frames.where = lambda index, folder=folder: f"{tmp_path / folder}/pan.mp4#{index}"
    align(clips[:1], store)
    assert store.load(clips[0]) is not None and store.load(clips[2]) is not None
    assert store.load(clips[1]) is None
    assert "made from another recording of that name" in caplog.text


def test_many_files_of_an_older_version_are_one_line(tmp_path, caplog):
    clips, store = [sequence(name, 4) for name in "abc"], HomographyStore(tmp_path, 2, 1)
    for clip in clips:
        np.savez(store.path(clip), homographies=np.zeros((4, 1, 3, 3)), tag=np.array("x"), segments=np.array(0))
    with caplog.at_level(logging.WARNING):
        align(clips, store)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "3 files of homographies are damaged or of an older version and are made again, such as: " in caplog.text
    assert all(store.load(clip) is not None for clip in clips)


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_computed(tmp_path):
    (tmp_path / "file").touch()
    clip = sequence()
    with pytest.raises(FolderError, match=r"file/x: cannot be written to \(Not a directory\)\. .*homography_dir"):
        align([clip], HomographyStore(tmp_path / "file" / "x", 2, 1))
    assert clip.frames.reads == []


def test_what_another_process_stored_meanwhile_is_kept(tmp_path, monkeypatch):
    """It computes the other side of the split at the same time."""
    train, val = sequence(indices=[0, 1, 2]), sequence(indices=[3, 4])
    store = HomographyStore(tmp_path, 2, 1)
    real, began = HomographyStore.look, []

    def look(self, clip):
        found = real(self, clip)
        if not began:
            began.append(True)
            align([val], store)
        return found

    monkeypatch.setattr(HomographyStore, "look", look)
    align([train], store)
    assert store.missing(train) == store.missing(val) == []


def test_any_name_has_a_file(tmp_path):
    clips = [sequence("é" * 200 + end, 3) for end in "ab"]
    store = HomographyStore(tmp_path, 2, 1)
    align(clips, store)
    assert len(list(tmp_path.iterdir())) == 2 and all(store.load(clip) is not None for clip in clips)


def test_saving_is_all_or_nothing(tmp_path, monkeypatch):
    clip, store = sequence(), HomographyStore(tmp_path, 2, 1)
    align([clip], store)
    before = store.load(clip)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        store.save(clip, np.zeros_like(before))
    np.testing.assert_array_equal(store.load(clip), before)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_pickled_store_reads_the_same_files(tmp_path):
    clip, store = sequence(), HomographyStore(tmp_path, 2, 1)
    align([clip], store)
    found = store.get(clip, 5)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).get(clip, 5), found)


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="stride 0"):
        HomographyStore(tmp_path, 5, 0)
    with pytest.raises(ValueError, match="processes is 0"):
        align([sequence()], HomographyStore(tmp_path, 2, 1), processes=0)
    with pytest.raises(ValueError, match=r"needs \(12, 1, 3, 3\)"):
        HomographyStore(tmp_path, 2, 1).save(sequence(), np.zeros((3, 1, 3, 3), np.float32))
