"""What makes recordings harder, by hand: strengths, places, boxes, and that nothing hangs on the order of reading."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from tdcnet.data.degradations import (
    APART,
    Blur,
    Contrast,
    DeadPixels,
    Dropped,
    FixedPattern,
    GainSteps,
    LookAlikes,
    Noise,
    Repeated,
    Shake,
    background,
)
from tdcnet.data.degrade import Sometimes, Steps, degraded, harder_clip
from tdcnet.data.errors import DataError
from tdcnet.data.sequence import Sequence

HEIGHT, WIDTH, COUNT = 60, 90, 40


@dataclass
class Frames:
    """A slope of grey with a square of 4 px that moves 1 px a frame, 40 grey levels above it."""

    dtype: type = np.uint8
    factor: int = 1
    bare: bool = False

    def __len__(self):
        return COUNT

    def read(self, index):
        image = np.tile(60 + np.arange(WIDTH) // 3, (HEIGHT, 1)).astype(np.float32)
        if not self.bare:
            image[20:24, 10 + index : 14 + index] += 40
        return (image * self.factor).astype(self.dtype)

    def where(self, index):
        return f"square#{index}"


def recording(frames=None, indices=None, starts=None, boxes=True) -> Sequence:
    box = [np.array([[10 + i, 20, 14 + i, 24]], np.float32)[: int(boxes)].copy() for i in range(COUNT)]
    return Sequence(
        "square",
        frames or Frames(),
        box,
        [np.zeros(len(each), np.int64) for each in box],
        np.arange(COUNT) if indices is None else np.array(indices),
        np.zeros(COUNT, np.int64) if starts is None else np.array(starts),
        classes=("target",),
    )


ALL = [
    Contrast(0.5),
    LookAlikes(2),
    Noise(3),
    FixedPattern(2),
    DeadPixels(0.01, 1),
    Blur(0.8),
    GainSteps(0.2),
    Shake(1.5),
    Repeated(0.3),
    Dropped(0.3),
]


@pytest.mark.parametrize("way", ALL, ids=lambda way: type(way).__name__)
def test_a_frame_hangs_on_seed_recording_and_frame_alone(way):
    first, again, other = (degraded(recording(), [way], seed) for seed in (0, 0, 1))
    forward = [first.frames.read(i) for i in range(len(first))]
    for i in reversed(range(len(again))):
        np.testing.assert_array_equal(again.frames.read(i), forward[i])
    assert (
        len(other) != len(first)
        or any(not np.array_equal(other.frames.read(i), forward[i]) for i in range(len(first)))
        or isinstance(way, Contrast | Blur)
    ), "drawn anew"
    assert forward[0].dtype == np.uint8 and any(
        not np.array_equal(forward[i], Frames().read(i)) for i in range(len(first))
    )


@pytest.mark.parametrize(
    "way", [Contrast(1), LookAlikes(0), Noise(0), FixedPattern(0), DeadPixels(0), Blur(0), GainSteps(0), Shake(0)]
)
def test_no_strength_is_no_change(way):
    for frames in (Frames(), Frames(np.uint16, 200)):
        made = degraded(recording(frames), [way])
        np.testing.assert_array_equal(made.frames.read(7), frames.read(7))
        assert made.frames.read(7).dtype == frames.dtype and made.frames.where(7) == "square#7"


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8])
def test_contrast_is_what_is_kept(keep):
    made = degraded(recording(Frames(np.uint16, 100)), [Contrast(keep)]).frames.read(5).astype(float) / 100
    added = made - Frames(bare=True).read(5)
    np.testing.assert_allclose(added[20:24, 15:19], 40 * keep, atol=0.7)
    away = np.ones(added.shape, bool)
    away[18:26, 13:21] = False
    assert np.abs(added[away]).max() == 0


def test_a_target_is_more_than_its_box():
    """Boxes are cut close at times: 2 px round them are taken as well."""
    box = [np.array([[12 + i, 22, 12.5 + i, 22.5]], np.float32) for i in range(COUNT)]
    made = degraded(replace(recording(), boxes=box), [Contrast(0.0)]).frames.read(5).astype(int)
    assert np.abs(made - Frames(bare=True).read(5)).max() <= 1


def test_values_stay_in_their_range():
    class Bright(Frames):
        def read(self, index):
            return np.full((HEIGHT, WIDTH), 250, np.uint8)

    made = degraded(recording(Bright()), [Noise(5)]).frames.read(3)
    assert made.min() > 200 and made.max() == 255, "none runs over"


def test_the_background_below_a_target_is_filled_in():
    image = Frames(bare=True).read(0).astype(np.float32)
    place = (slice(20, 28), slice(30, 38))
    assert np.abs(background(image, place) - image[place]).max() < 1.0
    assert (background(np.full((8, 8), 7, np.float32), (slice(0, 8), slice(0, 8))) == 7).all(), "nothing round it"


def test_look_alikes_stand_still_away_from_targets_and_look_alike():
    for seed in range(20):
        frame = degraded(recording(), [LookAlikes(9)], seed=seed).frames.read(0).astype(int) - Frames().read(0)
        for y, x in np.argwhere(frame > 30):
            assert not (20 - APART < y < 24 + APART - 1 and 10 - APART < x < 14 + COUNT + APART - 1), (seed, y, x)
    assert APART == 12
    made = degraded(recording(), [LookAlikes(3)], seed=2)
    added = np.stack([made.frames.read(i).astype(int) - Frames().read(i) for i in range(COUNT)])
    assert (added == added[0]).all(), "the same in all frames"
    places = np.argwhere(added[0] > 30)
    assert len(places) == 3 * 16, "three squares of 4 px"
    for y, x in places:
        assert not (20 - APART < y < 24 + APART - 1 and 10 - APART < x < 14 + COUNT + APART - 1)
    weaker = degraded(recording(), [LookAlikes(3, gain=0.5)], seed=2)
    assert (weaker.frames.read(0).astype(int) - Frames().read(0)).max() in (20, 21)
    assert degraded(recording(boxes=False), [LookAlikes(3)]).frames.read(0).tolist() == Frames().read(0).tolist()


def test_noise_and_patterns_have_the_strength_they_say():
    frames = Frames(np.uint16, 100)
    noise = [
        degraded(recording(frames), [Noise(3)], level=100).frames.read(i) - frames.read(i).astype(float) for i in (0, 1)
    ]
    assert (
        np.std(noise) == pytest.approx(300, rel=0.05) and np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1] < 0.05
    )
    made = degraded(recording(frames), [FixedPattern(2)], level=100)
    pattern = [made.frames.read(i) - frames.read(i).astype(float) for i in (0, 9)]
    np.testing.assert_array_equal(*pattern)
    assert pattern[0].std() == pytest.approx(200, rel=0.2) and pattern[0].mean(axis=0).std() > 100, "columns, too"


def test_dead_pixels_hold_an_extreme_in_all_frames():
    made = degraded(recording(), [DeadPixels(0.02, lines=2)])
    stack = np.stack([made.frames.read(i) for i in range(COUNT)])
    extremes = (Frames().read(0).min(), Frames().read(0).max())
    still = (stack == stack[0]).all(axis=0) & np.isin(stack[0], extremes)
    assert still.all(axis=1).sum() == 2
    dead = np.stack([stack[i] != Frames().read(i) for i in range(COUNT)]).any(axis=0) & ~still.all(axis=1)[:, None]
    assert 0.01 < dead.mean() < 0.03


def test_gain_jumps_round_the_middle_value():
    made = degraded(recording(), [GainSteps(0.3, every=10)])
    spans = [np.ptp(made.frames.read(i)[0].astype(int)) for i in range(COUNT)]
    assert len(set(spans)) >= 3 and all(len(set(spans[i : i + 10])) == 1 for i in range(0, COUNT, 10))
    assert all(abs(int(np.median(made.frames.read(i))) - int(np.median(Frames().read(i)))) <= 1 for i in range(COUNT))


def test_boxes_shake_with_what_is_in_them():
    made = degraded(recording(), [Shake(2.0)])
    moved = []
    for i in range(0, COUNT, 5):
        (box,) = made.boxes[i]
        rows, columns = np.nonzero(made.frames.read(i).astype(int) - Frames(bare=True).read(i) > 20)
        assert abs(columns.mean() + 0.5 - (box[0] + box[2]) / 2) < 0.7
        assert abs(rows.mean() + 0.5 - (box[1] + box[3]) / 2) < 0.7
        moved.append(box[0] - (10 + i))
    assert np.std(moved) > 1 and recording().boxes[0][0, 0] == 10, "the recording stays as it is"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Noise(-3), "sigma is -3; expected a number from 0"),
        (lambda: FixedPattern(float("nan")), "sigma is nan"),
        (lambda: Blur(-1), "sigma is -1"),
        (lambda: Shake(float("inf")), "sigma is inf"),
        (lambda: Contrast(1.5), "keep is 1.5; expected a number from 0 and at most 1"),
        (lambda: LookAlikes(2.5), "count is 2.5; expected a whole number from 0"),
        (lambda: LookAlikes(2, gain=-1), "gain is -1"),
        (lambda: DeadPixels(2), "share is 2"),
        (lambda: DeadPixels(0.1, lines=-1), "lines is -1"),
        (lambda: GainSteps(0.1, every=0), "every is 0; expected a whole number from 1"),
        (lambda: GainSteps(3), "size is 3"),
        (lambda: Repeated(-0.1), "share is -0.1"),
        (lambda: Dropped("x"), "share is x"),
    ],
)
def test_strengths_that_are_none_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_targets_are_not_changed_where_they_no_longer_are():
    with pytest.raises(ValueError, match="give Shake after it"):
        degraded(recording(), [Shake(2.0), Noise(1), Contrast(0.5)])
    degraded(recording(), [Contrast(0.5), Shake(2.0)]).frames.read(0)


def test_a_stream_that_stutters_shows_what_it_showed():
    made = degraded(recording(), [Repeated(0.4)])
    assert len(made) == COUNT and made.indices.tolist() == list(range(COUNT))
    again = [i for i in range(1, COUNT) if np.array_equal(made.frames.read(i), made.frames.read(i - 1))]
    assert 8 < len(again) < 24
    for i in range(COUNT):
        (box,) = made.boxes[i]
        assert made.frames.read(i)[21, int(box[0])] > Frames(bare=True).read(i)[21, int(box[0])] + 30


def test_lost_frames_are_gone_with_their_boxes_and_cuts_stay():
    starts = [0] * 20 + [20] * 20
    made = degraded(recording(indices=range(10, 30), starts=starts), [Dropped(0.4)], seed=3)
    shown = [int(made.frames.where(i).partition("#")[2]) for i in range(len(made))]
    assert shown == sorted(set(shown)) and shown[0] == 0 and 15 < len(shown) < 33
    assert [shown[i] for i in made.indices] == [at for at in shown if 10 <= at < 30]
    for i, at in enumerate(shown):
        first = int(made.segment_start[i])
        assert shown[first] == min(each for each in shown if each >= starts[at]) and first <= i
        assert made.boxes[i][0, 0] == 10 + at
    for seed in range(9):
        assert degraded(recording(), [Dropped(0.6)], seed).frames.where(0) == "square#0"
    with pytest.raises(ValueError, match="give one of them"):
        degraded(recording(), [Dropped(0.1), Repeated(0.1)])


# -- for training clips ------------------------------------------------------------------------------------------------


def test_strengths_are_drawn_evenly_between_their_ends_and_counts_whole():
    rng = np.random.default_rng(0)
    noise = [way for _ in range(4000) if (way := Sometimes(Noise, 0.25, sigma=[1, 3]).drawn(rng)) is not None]
    assert len(noise) == pytest.approx(1000, abs=80)
    sigmas = np.array([way.sigma for way in noise])
    assert sigmas.min() >= 1 and sigmas.max() <= 3
    assert np.histogram(sigmas, 4, (1, 3))[0] == pytest.approx(len(noise) / 4, abs=50)
    counts = [Sometimes(LookAlikes, count=[1, 3], gain=[0.5, 1]).drawn(rng).count for _ in range(300)]
    assert set(counts) == {1, 2, 3} and all(type(count) is int for count in counts)


def test_one_clip_is_made_harder_as_a_recording_would_be():
    plain = recording()
    clip, at, in_place = harder_clip(plain, 12, [Sometimes(Contrast, keep=[0.5, 0.5])], 1.0, np.random.default_rng(0))
    assert at == 12 and in_place
    assert np.array_equal(clip.frames.read(12), degraded(plain, [Contrast(0.5)]).frames.read(12))
    untouched = harder_clip(plain, 12, [Sometimes(Contrast, 0.0, keep=[0.5, 0.5])], 1.0, np.random.default_rng(0))
    assert untouched == (plain, 12, True)


def test_a_clip_that_shakes_or_stutters_is_registered_anew():
    plain = recording()
    rng = np.random.default_rng(0)
    assert not harder_clip(plain, 12, [Sometimes(Shake, sigma=[1, 2])], 1.0, rng)[2]
    assert not harder_clip(plain, 12, [Sometimes(Repeated, share=[0.2, 0.4])], 1.0, rng)[2]
    for way in (Sometimes(Dropped, share=[0.5, 0.9]), Sometimes(Repeated, share=[0.5, 0.9])):
        for _ in range(20):
            clip, at, in_place = harder_clip(plain, 12, [way], 1.0, rng)
            assert not in_place and clip.frames.shown[at] == 12, "the newest always comes: others may have no labels"
            assert np.array_equal(clip.boxes[at], plain.boxes[12])


def test_a_clip_that_shakes_has_its_newest_boxes_shaken():
    plain = recording()
    clip, at, _ = harder_clip(plain, 12, [Sometimes(Shake, sigma=[2, 2])], 1.0, np.random.default_rng(3))
    image = clip.frames.read(at).astype(float)
    y, x = np.unravel_index((image - np.tile(60 + np.arange(WIDTH) // 3, (HEIGHT, 1))).argmax(), image.shape)
    x1, y1, x2, y2 = clip.boxes[at][0]
    assert x1 - 1 <= x <= x2 + 1 and y1 - 1 <= y <= y2 + 1
    assert not np.array_equal(clip.boxes[at], plain.boxes[at]) and clip.boxes[5] is plain.boxes[5]


def test_only_what_the_split_labels_is_evaluated():
    """Every other frame is of the split: one that comes again in its place has no labels, so nothing is looked for."""
    plain = recording(indices=range(0, COUNT, 2))
    again = degraded(plain, [Repeated(0.5)], 2)
    shown = again.frames.shown
    assert 0 < len(again.indices) < COUNT // 2
    assert again.indices.tolist() == [t for t in range(0, COUNT, 2) if shown[t] % 2 == 0]
    lost = degraded(plain, [Dropped(0.5)], 1)
    assert [lost.frames.shown[t] for t in lost.indices] == [t for t in lost.frames.shown if t % 2 == 0]


def test_targets_that_shake_out_of_the_frame_are_not_looked_for():
    plain = recording()
    for boxes in plain.boxes:
        boxes[:] = (0, 0, 2, 2)
    shaken = degraded(plain, [Shake(5)])
    assert {len(boxes) for boxes in shaken.boxes} == {0, 1}
    assert [len(labels) for labels in shaken.labels] == [len(boxes) for boxes in shaken.boxes]
    assert all((boxes[:, :2] + boxes[:, 2:] >= 0).all() for boxes in shaken.boxes)


def test_contrast_of_neighbours_is_what_is_kept_of_each():
    """Two targets of 3 px, 5 px apart: each lies in the ring that the other's background is told from."""

    @dataclass
    class Pair(Frames):
        def read(self, index):
            image = np.full((HEIGHT, WIDTH), 50, np.uint8)
            image[20:23, 20:23] = image[20:23, 25:28] = 150
            return image

    plain = recording(Pair())
    plain.boxes[3] = np.array([[20, 20, 23, 23], [25, 20, 28, 23]], np.float32)
    plain.labels[3] = np.zeros(2, np.int64)
    seen = degraded(plain, [Contrast(0.2)]).frames.read(3)
    assert (seen[20:23, 20:23] == 70).all() and (seen[20:23, 25:28] == 70).all()
    seen[20:23, 20:23] = seen[20:23, 25:28] = 50
    assert (seen == 50).all()


def test_an_unreadable_first_frame_is_passed_over():
    @dataclass
    class Broken(Frames):
        def read(self, index):
            if index == 0:
                raise DataError("broken on purpose")
            return super().read(index)

    for way in (FixedPattern(3), DeadPixels(0.1), GainSteps(0.3), LookAlikes(2), Shake(1)):
        assert degraded(recording(Broken()), [way]).frames.read(3).shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sometimes(Noise, sigma=[3, 1]), r"sigma is \[3, 1\]; expected the lowest and the highest"),
        (lambda: Sometimes(Noise, sigma=[1]), "expected the lowest and the highest"),
        (lambda: Sometimes(Noise, 1.5, sigma=[1, 2]), "probability is 1.5"),
        (lambda: Sometimes(Contrast, keep=[0.5, 2]), "keep is 2"),
        (lambda: Sometimes(Noise, sigma=3), "sigma is 3; expected the lowest and the highest"),
        (lambda: Steps(Noise, sigma=2), "sigma is 2; expected a list of numbers"),
        (lambda: Steps(Noise, sigma=[1, "x"]), "expected a list of numbers"),
        (lambda: Steps(Noise), "nothing: expected one or more steps"),
        (lambda: Steps(DeadPixels, share=[0.1, 0.2], lines=[1]), "as many for each argument"),
        (lambda: Steps(Contrast, keep=[0.5, -1]), "keep is -1"),
    ],
)
def test_ranges_and_steps_that_are_none_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_steps_are_told_by_their_first_argument():
    steps = Steps(DeadPixels, "dead", share=[0.1, 0.2], lines=[0, 3])
    assert steps.axis == "dead" and steps.strengths == [0.1, 0.2]
    assert [(way.share, way.lines) for way in steps.ways] == [(0.1, 0), (0.2, 3)]
