"""Samples and batches, from sequences held in memory."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tdcnet.data.augment import Augment
from tdcnet.data.clips import BadFrame, ClipDataset, collate
from tdcnet.data.degradations import Dropped, Noise, Repeated
from tdcnet.data.degrade import Sometimes
from tdcnet.data.errors import DataError
from tdcnet.data.sampling import Draw
from tdcnet.data.sequence import Sequence


class FakeFrames:
    """Frames in memory; some of them unreadable."""

    def __init__(self, images: np.ndarray, bad: tuple[int, ...] = ()) -> None:
        self.images, self.bad = images, bad
        self.reads: collections.Counter[int] = collections.Counter()

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> np.ndarray:
        self.reads[index] += 1
        if index in self.bad:
            raise DataError(f"memory#{index}: broken on purpose")
        return self.images[index]

    def where(self, index: int) -> str:
        return f"memory#{index}"


class FakeStore:
    """Homographies by newest frame."""

    def __init__(self, known: dict[int, np.ndarray]) -> None:
        self.known = known

    def get(self, sequence: Sequence, newest: int) -> np.ndarray | None:
        return self.known.get(newest)


def sequence(
    name: str = "a",
    frames: int = 8,
    size: tuple[int, int] = (48, 64),
    dtype: type = np.uint8,
    segment: int = 100,
    bad: tuple[int, ...] = (),
    indices: list[int] | None = None,
    empty: tuple[int, ...] = (),
) -> Sequence:
    """Frame t has the grey level 10 + t throughout and one box at (t, t), 4 px wide and 3 high."""
    images = np.stack([np.full(size, 10 + t, dtype) for t in range(frames)])
    boxes = [
        np.array([[t, t, t + 4, t + 3]] if t not in empty else [], np.float32).reshape(-1, 4) for t in range(frames)
    ]
    return Sequence(
        name,
        FakeFrames(images, bad),
        boxes,
        [np.full(len(b), 2, np.int64) for b in boxes],
        np.arange(frames) if indices is None else np.array(indices, np.int64),
        np.arange(frames) // segment * segment,
    )


def levels(clip: torch.Tensor) -> list[int]:
    """The grey level in the middle of each frame."""
    return clip[:, clip.shape[1] // 2, clip.shape[2] // 2].tolist()


# -- made harder -------------------------------------------------------------------------------------------------------


def harder(*ways: Sometimes, store: FakeStore | None = None, **given) -> ClipDataset:
    augment = Augment((48, 64), 0.0, flip_horizontal=0, scale=(1, 1), gain=(1, 1), offset=(0, 0), noise=0)
    return ClipDataset([sequence(frames=8)], (48, 64), 3, augment=augment, homographies=store, degrade=ways, **given)


def test_training_clips_are_made_harder_each_for_itself() -> None:
    noise = Sometimes(Noise, 1.0, sigma=[0.5, 3])
    plain, hard = harder(), harder(noise)
    first, again, other = hard[Draw(5, (1,))], hard[Draw(5, (1,))], hard[Draw(5, (2,))]
    assert torch.equal(first["frames"], again["frames"]) and not torch.equal(first["frames"], other["frames"])
    apart = [(each["frames"].float() - plain[5]["frames"].float()).std() for each in (first, other)]
    assert apart[0] != apart[1], "strengths are drawn, too"
    assert levels(plain[5]["frames"]) == [13, 14, 15]


def test_what_was_registered_counts_only_where_frames_stay() -> None:
    """A stored homography that shifts older frames is used with noise; with frames dropped it is of others."""
    shift = np.tile(np.eye(3, dtype=np.float32), (3, 1, 1))
    shift[:-1, 0, 2] = 5
    store = FakeStore(dict.fromkeys(range(8), shift))
    kept = harder(Sometimes(Noise, 1.0, sigma=[2, 2]), store=store)[5]
    assert not torch.equal(kept["aligned"], kept["frames"])
    lost = harder(Sometimes(Dropped, 1.0, share=[0.5, 0.5]), store=store)[5]
    assert torch.equal(lost["aligned"], lost["frames"])


def test_the_newest_frame_of_a_clip_always_comes() -> None:
    dataset = harder(Sometimes(Repeated, 1.0, share=[1, 1]))
    sample = dataset[5]
    assert levels(sample["frames"]) == [10, 10, 15], "of the others nothing but the first is ever shown"
    assert sample["original_boxes"].tolist() == [[5, 5, 9, 8]]


def test_grey_levels_are_of_the_range_in_training_as_in_evaluation() -> None:
    eight = harder(Sometimes(Noise, sigma=[1, 1]), intensity_range=(0, 16383))
    assert eight._level == 1, "a range is of 16 bits"
    sixteen = [sequence(dtype=np.uint16)]
    assert ClipDataset(sixteen, (48, 64), intensity_range=(0, 16320))._level == 64


def test_only_drawn_clips_are_made_harder_at_random() -> None:
    with pytest.raises(ValueError, match="degrade is for clips that are drawn, with augment"):
        ClipDataset([sequence()], (48, 64), degrade=[Sometimes(Noise, sigma=[0, 1])])


# -- samples -----------------------------------------------------------------------------------------------------------


def test_sample_by_hand() -> None:
    sample = ClipDataset([sequence("a", 3), sequence("b")], (96, 96))[3 + 5]
    # 64x48 in 96x96: 1.5 times as large, 72 px high, 12 px down. The box of frame 5: (5, 5, 9, 8).
    assert sample["frames"].dtype == torch.uint8 and sample["frames"].shape == (5, 96, 96)
    assert levels(sample["frames"]) == [11, 12, 13, 14, 15]
    assert (sample["frames"][:, :12] == 128).all() and (sample["frames"][:, 84:] == 128).all()
    assert (sample["frames"][4, 12:84] == 15).all()
    assert sample["boxes"].tolist() == [[7.5, 19.5, 13.5, 24.0]] and sample["boxes"].dtype == torch.float32
    assert sample["original_boxes"].tolist() == [[5, 5, 9, 8]]
    assert sample["labels"].tolist() == [2] and sample["labels"].dtype == torch.int64
    assert sample["original_size"].tolist() == [48, 64] and sample["original_size"].dtype == torch.int64
    assert (sample["image_id"], sample["sequence"], sample["frame"], sample["bad_frames"]) == (8, "b", 5, [])
    assert sample["aligned"] is sample["frames"]


@pytest.mark.parametrize(
    ("item", "num_frames", "stride", "segment", "expected"),
    [
        (0, 5, 1, 100, [0, 0, 0, 0, 0]),
        (2, 5, 1, 100, [0, 0, 0, 1, 2]),
        (7, 5, 2, 100, [0, 1, 3, 5, 7]),
        (6, 5, 1, 5, [5, 5, 5, 5, 6]),
        (7, 3, 2, 100, [3, 5, 7]),
    ],
)
def test_clip_stops_at_the_start_of_its_segment(
    item: int, num_frames: int, stride: int, segment: int, expected: list[int]
) -> None:
    one = sequence(segment=segment)
    sample = ClipDataset([one], (48, 64), num_frames, stride)[item]
    assert levels(sample["frames"]) == [10 + t for t in expected]
    assert dict(one.frames.reads) == dict.fromkeys(set(expected), 1)  # a frame that comes often is read once


def test_thinned_items_and_frames_outside_the_split_as_history() -> None:
    both = [sequence("a", 12), sequence("b", 40, indices=list(range(20, 40)))]
    dataset = ClipDataset(both, (48, 64), image_step=10, image_offset=5)
    assert [(s.name, t) for s, t in map(dataset.locate, range(len(dataset)))] == [("a", 5), ("b", 25), ("b", 35)]
    assert dataset.counts == [1, 2]
    assert levels(dataset[1]["frames"]) == [31, 32, 33, 34, 35]
    whole = ClipDataset([both[1]], (48, 64))
    assert levels(whole[0]["frames"]) == [26, 27, 28, 29, 30]
    with pytest.raises(IndexError):
        dataset[3]


def test_sixteen_bits_are_scaled() -> None:
    one = sequence(dtype=np.uint16, size=(48, 96))
    one.frames.images[:] = np.arange(8)[:, None, None] * 1000 + 1000
    sample = ClipDataset([one], (96, 96), intensity_range=(3000, 7000))[7]
    assert sample["frames"].dtype == torch.float32
    # Frames 3 .. 7 hold 4000 .. 8000, the last beyond the range.
    torch.testing.assert_close(sample["frames"][:, 48, 48], torch.tensor([0.25, 0.5, 0.75, 1.0, 1.0]))
    torch.testing.assert_close(sample["frames"][:, 0, 0], torch.full((5,), 128 / 255))
    # The frames hold 1000 .. 8000: with a tenth of 7000 on either side 300 .. 8700.
    dataset = ClipDataset([one], (96, 96))
    torch.testing.assert_close(dataset[7]["frames"][0, 48, 48], torch.tensor(3700 / 8400))
    assert dataset.intensity_range == (300, 8700)


def test_single_class_and_empty_frame() -> None:
    dataset = ClipDataset([sequence(empty=(3,))], (96, 96), single_class=True)
    assert dataset[2]["labels"].tolist() == [0]
    assert dataset[3]["boxes"].shape == (0, 4) and dataset[3]["original_boxes"].shape == (0, 4)
    assert dataset[3]["labels"].shape == (0,) and dataset[3]["labels"].dtype == torch.int64


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="num_frames 0"):
        ClipDataset([], (96, 96), num_frames=0)
    with pytest.raises(ValueError, match="augment"):
        ClipDataset([], (96, 96), augment=Augment((64, 64)))
    with pytest.raises(ValueError, match="intensity_range"):
        ClipDataset([], (96, 96), intensity_range=(5, 5))
    with pytest.raises(ValueError, match="'error' and 'skip'"):
        ClipDataset([], (96, 96), on_bad_frame="ignore")  # type: ignore[arg-type]


# -- registration ------------------------------------------------------------------------------------------------------


def moving(frames: int = 6) -> Sequence:
    """A camera that moves 2 px to the right per frame over a still scene."""
    scene = cv2.GaussianBlur(np.random.default_rng(0).random((48, 100), np.float32), (0, 0), 2)
    scene = ((scene - scene.min()) / np.ptp(scene) * 255).astype(np.uint8)
    one = sequence(frames=frames)
    one.frames.images = np.stack([scene[:, 2 * t : 2 * t + 64] for t in range(frames)])
    return one


def shift(by: float) -> np.ndarray:
    return np.array([[1, 0, by], [0, 1, 0], [0, 0, 1]], np.float32)


def test_store_comes_before_the_aligner_and_the_aligner_fills_its_gaps() -> None:
    calls = []

    def aligner(frame: np.ndarray, newest: np.ndarray) -> np.ndarray:
        calls.append((frame, newest))
        return shift(-2.0 * (3 - len(calls)))

    one = moving()
    store = FakeStore({4: np.stack([shift(-2.0 * back) for back in (4, 3, 2, 1, 0)])})
    dataset = ClipDataset([one], (48, 64), homographies=store, aligner=aligner)
    sample = dataset[4]
    assert not calls
    assert (sample["aligned"] == sample["aligned"][4]).all()
    assert (sample["frames"][0] != sample["frames"][4]).float().mean() > 0.5
    torch.testing.assert_close(sample["aligned"][4], sample["frames"][4])
    # Frame 2 with its history 0 0 0 1 2: the aligner sees frames 0 and 1, once each.
    sample = dataset[2]
    assert len(calls) == 2 and all(
        newest is one.frames.images[2] or (newest == one.frames.images[2]).all() for _, newest in calls
    )
    assert (sample["aligned"] == sample["aligned"][4]).all()


def with_files(folder: Path) -> Sequence:
    one = sequence()
    files = []
    for t in range(8):
        paths = tuple(folder / f"{t}_{k}.png" for k in range(5))
        for k, path in enumerate(paths):
            cv2.imwrite(str(path), np.full((48, 64), 100 + 10 * t + k, np.uint8))
        files.append(paths)
    files[6] = None
    one.frames.images[:] = (104 + 10 * np.arange(8))[:, None, None]
    return Sequence("a", one.frames, one.boxes, one.labels, one.indices, one.segment_start, files)


def test_registered_frames_of_the_data_set_come_first(tmp_path: Path) -> None:
    one = with_files(tmp_path)
    store = FakeStore({t: np.stack([np.eye(3, dtype=np.float32)] * 5) for t in range(8)})
    dataset = ClipDataset([one], (48, 64), homographies=store)
    assert levels(dataset[3]["aligned"]) == [130, 131, 132, 133, 134]
    assert levels(dataset[6]["aligned"]) == [124, 134, 144, 154, 164]  # no files for this one: from the store
    assert levels(ClipDataset([one], (48, 64), stride=2)[3]["aligned"]) == [104, 104, 104, 114, 134]
    assert levels(ClipDataset([one], (48, 64), num_frames=3)[3]["aligned"]) == [114, 124, 134]


def test_registered_frames_of_another_size_are_an_error(tmp_path: Path) -> None:
    one = with_files(tmp_path)
    cv2.imwrite(str(tmp_path / "3_1.png"), np.zeros((40, 64), np.uint8))
    with pytest.raises(DataError, match=r"3_1\.png.*\(40, 64\).*\(48, 64\)"):
        ClipDataset([one], (48, 64))[3]
    (tmp_path / "2_1.png").unlink()
    assert isinstance(ClipDataset([one], (48, 64), on_bad_frame="skip")[2], BadFrame)


# -- training ----------------------------------------------------------------------------------------------------------


def test_boxes_outside_the_crop_go_and_the_rest_stay_matched() -> None:
    one = sequence(size=(200, 200))
    for t in range(8):
        one.boxes[t] = np.array([[10, 10, 12, 12], [100, 100, 103, 103], [190, 20, 191, 21]], np.float32)
        one.labels[t] = np.array([0, 1, 2], np.int64)
    dataset = ClipDataset([one], (40, 40), augment=Augment((40, 40), target_probability=1, scale=(0.8, 1.25)))
    seen = collections.Counter()
    for place in range(60):
        sample = dataset[Draw(5, (0, 0, place))]
        boxes, original, labels = sample["boxes"], sample["original_boxes"], sample["labels"]
        assert len(boxes) == len(original) == len(labels) == 1  # the targets are too far apart for two
        assert (boxes >= 0).all() and (boxes <= 40).all() and (boxes[:, 2:] - boxes[:, :2] >= 0.999).all()
        assert original[0].tolist() == one.boxes[5][labels[0]].tolist()
        seen[int(labels[0])] += 1
    assert set(seen) == {0, 1, 2}


def test_padding_stays_grey_whatever_the_light() -> None:
    augment = Augment((80, 80), scale=(1, 1), gain=(1.5, 1.5), offset=(0.1, 0.1), noise=0.05)
    for dtype, grey in ((np.uint8, 128), (np.uint16, 128 / 255)):
        clip = ClipDataset([sequence(dtype=dtype)], (80, 80), augment=augment)[0]["frames"]
        padding = torch.isclose(clip.double(), torch.tensor(grey, dtype=torch.float64), atol=1e-6)
        assert (padding.sum(dim=(1, 2)) >= 80 * 80 - 48 * 64).all()
        assert clip.dtype == (torch.uint8 if dtype == np.uint8 else torch.float32)


def test_a_sample_depends_on_its_draw_and_on_nothing_else() -> None:
    """On no generator of the process, and not on what was drawn before it."""
    one = sequence(size=(200, 200))
    dataset = ClipDataset([one], (40, 40), augment=Augment((40, 40), noise=0.02))
    first, second = dataset[Draw(3, (5, 1, 1))], dataset[Draw(3, (5, 1, 2))]
    torch.manual_seed(torch.initial_seed() + 1)
    again = dataset[Draw(3, (5, 1, 1))]
    assert torch.equal(first["frames"], again["frames"]) and torch.equal(first["boxes"], again["boxes"])
    assert not torch.equal(first["frames"], second["frames"])
    for seed in ((6, 1, 1), (5, 2, 1)):
        assert not torch.equal(dataset[Draw(3, seed)]["frames"], first["frames"])


def test_dataset_can_be_pickled() -> None:
    dataset = pickle.loads(pickle.dumps(ClipDataset([sequence()], (40, 40), augment=Augment((40, 40)))))
    assert dataset[1]["frames"].shape == (5, 40, 40)


# -- bad frames --------------------------------------------------------------------------------------------------------


def test_bad_frame_stops_under_error() -> None:
    dataset = ClipDataset([sequence(bad=(3,))], (48, 64))
    assert dataset[2]["frame"] == 2
    with pytest.raises(DataError, match="memory#3"):
        dataset[5]


def test_bad_frame_in_training_is_replaced() -> None:
    dataset = ClipDataset([sequence(frames=20, bad=(3,))], (40, 40), augment=Augment((40, 40)), on_bad_frame="skip")
    sample = dataset[5]
    assert sample["frame"] not in range(3, 8) and sample["image_id"] == sample["frame"]
    assert sample["bad_frames"] and set(sample["bad_frames"]) == {"memory#3: broken on purpose"}
    assert dataset[12]["bad_frames"] == []
    again = dataset[5]
    assert again["frame"] == sample["frame"] and torch.equal(again["frames"], sample["frames"])
    others = {dataset[Draw(5, (0, 1, place))]["frame"] for place in range(5)}
    assert len(others) > 1, "what stands in for it is drawn from the same seed"


def test_data_set_of_bad_frames_does_not_try_for_ever() -> None:
    bad = sequence(bad=tuple(range(8)))
    dataset = ClipDataset([bad], (40, 40), augment=Augment((40, 40)), on_bad_frame="skip")
    with pytest.raises(DataError, match=r"11 clips.*broken on purpose"):
        dataset[5]


def test_bad_frame_in_evaluation_is_left_out_and_told() -> None:
    dataset = ClipDataset([sequence(bad=(3,))], (48, 64), on_bad_frame="skip")
    sample = dataset[5]
    assert isinstance(sample, BadFrame) and sample.message == "memory#3: broken on purpose"
    batch = collate([dataset[1], sample, dataset[2]])
    assert batch["image_id"].tolist() == [1, 2] and batch["frames"].shape == (2, 5, 48, 64)
    assert batch["bad_frames"] == ["memory#3: broken on purpose"]


# -- batches -----------------------------------------------------------------------------------------------------------


def test_collate_by_hand() -> None:
    dataset = ClipDataset([sequence(empty=(2,)), sequence("b", size=(96, 96))], (96, 96))
    batch = collate([dataset[1], dataset[2], dataset[11]])
    assert batch["frames"].shape == (3, 5, 96, 96) and batch["frames"].dtype == torch.uint8
    assert batch["frames"][:, 4, 48, 48].tolist() == [11, 12, 13]
    assert [len(boxes) for boxes in batch["boxes"]] == [1, 0, 1] == [len(labels) for labels in batch["labels"]]
    assert batch["boxes"][2].tolist() == [[3, 3, 7, 6]] and batch["original_boxes"][0].tolist() == [[1, 1, 5, 4]]
    assert batch["original_size"].tolist() == [[48, 64], [48, 64], [96, 96]]
    assert batch["sequence"] == ["a", "a", "b"] and batch["frame"].tolist() == [1, 2, 3]
    assert batch["image_id"].tolist() == [1, 2, 11] and batch["bad_frames"] == []


def test_wholly_bad_batch_has_the_same_keys_and_no_images() -> None:
    dataset = ClipDataset([sequence(bad=(3,))], (48, 64), on_bad_frame="skip")
    good, bad = collate([dataset[0]]), collate([dataset[4], dataset[5]])
    assert set(good) == set(bad)
    for key, value in good.items():
        if isinstance(value, torch.Tensor):
            assert bad[key].shape == (0, *value.shape[1:]) and bad[key].dtype == value.dtype
        elif key != "bad_frames":
            assert bad[key] == []
    assert len(bad["bad_frames"]) == 2


def test_eight_and_sixteen_bits_in_one_batch() -> None:
    dataset = ClipDataset([sequence(), sequence("b", dtype=np.uint16)], (96, 96), intensity_range=(0, 34))
    batch = collate([dataset[7], dataset[15]])
    torch.testing.assert_close(batch["frames"][:, 4, 48, 48], torch.tensor([17 / 255, 0.5]))


# -- neighbours --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride, step", [(1, 1), (2, 1), (2, 4), (1, 3)])
def test_in_order_each_frame_is_read_once(stride: int, step: int) -> None:
    long = sequence(frames=20)
    dataset = ClipDataset([long, sequence("b", frames=20)], (48, 64), 5, stride, image_step=step)
    expected = [ClipDataset(dataset.sequences, (48, 64), 5, stride)[i]["frames"] for i in range(len(dataset))]
    long.frames.reads.clear()
    for item, frames in enumerate(expected):
        assert torch.equal(dataset[item]["frames"], frames)
    assert set(long.frames.reads.values()) == {1}
    assert len(dataset._kept) <= 4 * stride + 1
    assert not pickle.loads(pickle.dumps(dataset))._kept


def test_no_frame_is_kept_where_none_comes_again() -> None:
    for dataset in (
        ClipDataset([sequence(frames=30)], (48, 64), 5, image_step=5),
        ClipDataset([sequence()], (48, 64), 1),
        ClipDataset([sequence()], (32, 32), augment=Augment((32, 32))),
    ):
        dataset[1]
        assert not dataset._kept


def test_a_bad_frame_is_bad_each_time() -> None:
    dataset = ClipDataset([sequence(bad=(3,))], (48, 64), on_bad_frame="skip")
    assert [isinstance(dataset[i], BadFrame) for i in range(8)] == [False] * 3 + [True] * 5


def test_a_camera_that_stands_still_gives_one_tensor() -> None:
    still = np.tile(np.eye(3, dtype=np.float32), (5, 1, 1))
    panned = still.copy()
    panned[0, 0, 2] = 3
    dataset = ClipDataset([sequence()], (48, 64), homographies=FakeStore({6: still, 7: panned}))
    for item, same in ((6, True), (7, False)):
        sample = dataset[item]
        assert (sample["aligned"] is sample["frames"]) == same
