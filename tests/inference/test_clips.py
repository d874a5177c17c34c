"""Clips of frames that come one by one are those of a recording on disk."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from tdcnet.data.errors import DataError
from tdcnet.data.folders import unlabelled
from tdcnet.inference.clips import ClipStream, evenly, of_sequence


class Frames:
    """Twenty frames that hold their own number."""

    def __init__(self, times=None):
        if times is not None:
            self.times = np.array(times, np.float64)

    def __len__(self):
        return 20

    def read(self, index):
        return np.full((4, 6), index, np.uint8)

    def where(self, index):
        return str(index)


def clips_of(images, reach):
    return filter(None, map(ClipStream(reach, None).add, images))


def numbers(clip):
    return [int(image[0, 0]) for image in clip.images]


@pytest.mark.parametrize(("num_frames", "stride"), [(5, 1), (3, 4), (1, 1), (2, 12)])
def test_they_are_those_of_the_recording(num_frames, stride):
    starts = np.zeros(20, np.int64)
    starts[8:] = 8  # a gap: no clip reaches over it
    sequence = unlabelled("a", Frames(), starts)
    images = (sequence.frames.read(i) for i in range(20))
    found = list(clips_of(images, of_sequence(sequence, num_frames, stride)))
    assert [clip.newest for clip in found] == list(range(20))
    for clip in found:
        first = 8 if clip.newest >= 8 else 0
        assert numbers(clip) == [max(first, clip.newest - stride * back) for back in range(num_frames - 1, -1, -1)]
        assert clip.whole == (clip.newest - stride * (num_frames - 1) >= first)


def test_frames_at_uneven_times_are_taken_by_time():
    times = np.cumsum([0, 1, 1, 5, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    sequence = unlabelled("a", Frames(times))
    assert sequence.uneven_times is not None
    images = (sequence.frames.read(i) for i in range(20))
    for clip in clips_of(images, of_sequence(sequence, 4, 2)):
        assert numbers(clip) == sequence.clip_indices(clip.newest, 4, 2)
        assert clip.whole == (times[clip.newest] >= 5.5)  # six steps of 1 s, but for half of one


def test_no_more_frames_are_kept_than_a_clip_spans():
    alive = weakref.WeakSet()

    class Image(np.ndarray):
        __hash__ = object.__hash__

    def camera():
        for number in range(100):
            image = np.full((4, 6), number, np.uint8).view(Image)
            alive.add(image)
            yield image

    most = 0
    for clip in clips_of(camera(), evenly(3, 4)):
        assert numbers(clip) == [max(0, clip.newest - 8), max(0, clip.newest - 4), clip.newest]
        assert clip.whole == (clip.newest >= 8)
        most = max(most, len(alive))
    assert most <= 10  # nine, and the one that just came


def test_another_size_is_told():
    frames = [np.zeros((4, 6), np.uint8)] * 3 + [np.zeros((6, 4), np.uint8)]
    with pytest.raises(DataError, match="frame 3 is 4x6 uint8, those before it are 6x4 uint8; give recordings"):
        list(clips_of(frames, evenly(2, 1)))
