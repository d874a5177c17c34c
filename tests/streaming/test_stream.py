"""What is found while frames come is what is found on the same file, whatever is lost on the way."""

from __future__ import annotations

import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tdcnet.data.alignment import Aligner
from tdcnet.data.clips import ClipDataset
from tdcnet.data.errors import DataError
from tdcnet.data.folders import unlabelled
from tdcnet.data.synthetic import SyntheticConfig, generate_clip
from tdcnet.data.transforms import letterbox_matrix
from tdcnet.data.views import view
from tdcnet.inference.clips import ByTime, ClipStream, evenly
from tdcnet.inference.detector import Detector
from tdcnet.streaming.ahead import Ahead
from tests.inference.test_detector import RECORD, Bright, same, scene

pytestmark = pytest.mark.filterwarnings("ignore::tdcnet.data.alignment.AlignmentWarning")


@pytest.fixture
def detector():
    return Detector(Bright().eval(), replace(RECORD, rate=30.0))


def video(path, frames, rate=30.0):
    h, w = frames[0].shape
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), rate, (w, h), isColor=False)
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize("rate", [30.0, 15.0])
def test_a_video_is_as_predicted(detector, tmp_path, threads, rate):
    path = video(tmp_path / "clip.avi", scene((64, 96), 12), rate)
    expected = [found for _, found in detector.predict(path, cache_dir=tmp_path / "cache")]
    with detector.stream(path, threads=threads) as stream:
        seen = list(stream)
    assert len(seen) == len(expected) == 12 and sum(map(len, expected)) > 30
    for each, wanted in zip(seen, expected, strict=True):
        same(each.found, wanted)
        assert each.found.whole == wanted.whole and each.found.index == wanted.index
        assert each.found.time == pytest.approx(wanted.time, abs=1e-3) and each.latency >= 0


def test_a_damaged_video_is_told(detector, tmp_path, caplog):
    path = video(tmp_path / "clip.avi", scene((64, 96), 12))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 0 < len(list(detector.stream(path))) < 12
    assert "clip.avi is cut short or damaged" in caplog.text


def test_arrays_are_as_predicted(detector):
    frames = scene((64, 96), 12)
    expected = [found for _, found in detector.predict(frames)]
    for each, wanted in zip(detector.stream(frames, threads=False), expected, strict=True):
        same(each.found, wanted)


def test_each_frame_is_done_with_before_the_next_is_asked_for(detector):
    asked = []

    def camera():
        for number, frame in enumerate(scene((64, 96), 6)):
            asked.append(number)
            yield frame

    for number, seen in enumerate(detector.stream(camera(), threads=False)):
        assert asked == list(range(number + 1)) and seen.found.index == number


def test_the_first_frame_has_detections(detector):
    first = next(detector.stream(scene((64, 96), 3)))
    assert len(first.found) > 0 and not first.found.whole and first.scene == 0


@pytest.mark.parametrize("seed", [1, 3])
def test_clips_of_a_moving_camera_are_those_of_the_data_set(seed):
    """To 0.1 px of direct registration in the middle, and of the truth."""
    points = np.array([[80, 64, 1], [240, 64, 1], [80, 192, 1], [240, 192, 1]], float)

    def project(matrix):
        moved = points @ np.asarray(matrix, float).T
        return moved[:, :2] / moved[:, 2:]

    def off(matrix, other):
        return float(np.linalg.norm(project(matrix) - project(other), axis=1).mean())

    made = generate_clip(SyntheticConfig(height=256, width=320, frames=60, static_fraction=0.0), seed)
    aligner, stream = Aligner(), ClipStream(evenly(5, 12), Aligner())
    apart, ours, direct = [], [], []
    for index, frame in enumerate(made.frames):
        clip = stream.add(frame)
        if index < 48 or index % 4:
            continue
        for position, homography in zip(clip.positions[:-1], clip.homographies[:-1], strict=True):
            expected, truth = aligner(made.frames[position], frame), made.homography(position, index)
            apart.append(off(homography, expected))
            ours.append(off(homography, truth))
            direct.append(off(expected, truth))
    assert np.median(apart) < 0.1 and max(apart) < 0.3
    assert np.mean(ours) < 0.1 and np.mean(direct) < 0.1


def test_a_clip_is_warped_as_that_of_the_data_set():
    """The same homographies give the same clip, to the grey level."""
    frames = scene((64, 96), 12)
    (sequence,) = [unlabelled("a", Listed(frames))]
    stream = ClipStream(evenly(3, 2), Aligner())
    matrix = letterbox_matrix((64, 96), (64, 96))
    dataset = ClipDataset([sequence], (64, 96), 3, 2, aligner=Aligner())
    for index, frame in enumerate(frames):
        clip = stream.add(frame)
        plain, aligned = view(clip.images, matrix, (64, 96), clip.homographies)
        assert np.array_equal(plain, dataset[index]["frames"].numpy())
        expected = dataset[index]["aligned"].numpy().astype(float)
        slope = np.hypot(*np.gradient(expected, axis=(1, 2)))
        assert (np.abs(aligned - expected) <= 1 + 0.2 * slope)[:, 4:-4, 4:-4].mean() > 0.99


class Listed:
    def __init__(self, frames):
        self.frames = frames

    def __len__(self):
        return len(self.frames)

    def read(self, index):
        return self.frames[index]

    def where(self, index):
        return str(index)


# -- time --------------------------------------------------------------------------------------------------------------


def test_frames_that_were_dropped_do_not_change_a_clip():
    every = ByTime(4, 0.2)
    some = ByTime(4, 0.2)
    rng = np.random.default_rng(0)
    kept = []
    for index in range(60):
        every.seen(index, index / 30)
        whole = every(index)
        if index % 6 and rng.random() < 0.5:
            continue
        kept.append(index)
        some.seen(len(kept) - 1, index / 30)
        if index % 6 == 0:
            positions, full = some(len(kept) - 1)
            assert [kept[i] for i in positions] == whole[0] and full == whole[1] == (index >= 18)


def test_the_nearest_frame_stands_for_one_that_is_not_there():
    clock = ByTime(3, 1.0)
    for position, time in enumerate([0.0, 0.9, 1.3, 2.0, 2.9]):
        clock.seen(position, time)
    assert clock(4) == ([1, 3, 4], True)


def test_after_a_long_pause_nothing_before_counts():
    clock = ByTime(3, 0.1)
    assert [clock.seen(i, i / 10) for i in range(4)] == [None] * 4
    assert clock.seen(4, 1.2) is None, "short clips: a second does not matter"
    assert "nothing came for 1.8 s" in clock.seen(5, 3.0) and clock(5) == ([5, 5, 5], False)
    assert "went back by 0.4 s" in clock.seen(6, 2.6)
    long = ByTime(5, 0.4)
    assert [long.seen(i, t) for i, t in enumerate([0.0, 1.5])] == [None, None]
    assert long.seen(2, 3.2) is not None


def test_a_stream_with_lost_frames_finds_the_same(detector, caplog):
    """Every second frame of a camera of 60 frames a second, and a pause: what is left is told in time."""
    caplog.set_level("INFO")
    frames = scene((64, 96), 24)
    expected = [found for _, found in detector.predict(frames, stride=2)]

    class Source:
        name, live, state, dropped, rate = "cam", True, "running", 0, None

        def frames(self):
            from tdcnet.streaming.frames import LiveFrame

            for index in [0, 2, 4, 6, 8, 10, 12]:
                yield LiveFrame(frames[index], frames[index], index, index / 30, 0.0, "cam")
            for index in [14, 16, 18]:
                yield LiveFrame(frames[index], frames[index], index, index / 30 + 5, 0.0, "cam")

        def close(self):
            pass

    seen = list(detector.stream(Source()))
    for each in seen[:7]:
        same(each.found, expected[each.found.index])
    assert [each.scene for each in seen] == [0] * 7 + [1] * 3
    assert not seen[7].found.whole and np.array_equal(seen[7].since, np.eye(3))
    assert caplog.text.count("nothing came for") == 1


def test_another_size_and_another_scene_begin_anew(detector, caplog):
    caplog.set_level("INFO")
    other = [np.ascontiguousarray(frame[::-1, ::-1]) for frame in scene((64, 96), 8, seed=5)]
    frames = scene((64, 96), 16) + other + scene((96, 128), 6)
    seen = list(detector.stream(frames))
    assert [each.scene for each in seen] == [0] * 16 + [1] * 8 + [2] * 6
    assert "shows another scene" in caplog.text and "frames are 128x96 px now" in caplog.text
    alone = list(detector.stream(other))
    for each, wanted in zip(seen[16:24], alone, strict=True):
        same(each.found, wanted.found)


def test_where_the_camera_went_is_told(detector):
    """The scene moves by a px to the left in each frame."""
    seen = list(detector.stream(scene((64, 96), 10)))
    steps = np.stack([each.since for each in seen[1:]])
    np.testing.assert_allclose(steps[:, 0, 2], -1, atol=0.2)
    np.testing.assert_allclose(steps[:, 1, 2], 0, atol=0.2)


def test_where_the_camera_went_is_told_to_a_slow_detector(detector):
    """A frame each quarter of a second: of each clip's past there is nothing, but tracks must be moved."""
    seen = list(detector.stream(scene((64, 96), 8), rate=4.0))
    np.testing.assert_allclose([each.since[0, 2] for each in seen[1:]], -1, atol=0.2)


def test_16_bits_from_the_first_frame_on(detector):
    frames = scene((64, 96), 12, dtype=np.uint16)
    with detector.stream(frames) as stream:
        first = next(stream)
        low, high = first.intensity_range
        assert len(first.found) and 8000 < low < 9200 and high > 13000
        assert len(list(stream)) == 11


def test_a_bad_frame_ends_a_stream_with_what_is_wrong(detector):
    frames = [*scene((64, 96), 4), np.zeros(5)]
    stream = detector.stream(frames)
    with pytest.raises(DataError, match="frame 4 is an array"):
        list(stream)


# -- threads -----------------------------------------------------------------------------------------------------------


def test_work_ahead_is_bounded_and_in_order():
    made = []

    def numbers():
        for i in range(100):
            made.append(i)
            yield i

    ahead = Ahead(numbers(), 2)
    taken = [next(ahead) for _ in range(5)]
    assert taken == list(range(5)) and len(made) <= 5 + 2 + 2
    assert list(ahead) == list(range(5, 100))
    assert list(ahead) == []


def test_threads_end_with_their_stream(detector):
    before = threading.active_count()
    stream = detector.stream(scene((64, 96), 50))
    next(stream)
    stream.close()
    stream.close()
    assert threading.active_count() == before


def test_an_error_is_raised_where_its_item_would_come():
    def some():
        yield 1
        raise KeyError("here")

    ahead = Ahead(some())
    assert next(ahead) == 1
    with pytest.raises(KeyError, match="here"):
        next(ahead)
    assert next(ahead, None) is None
