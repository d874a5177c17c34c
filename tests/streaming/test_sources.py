"""Cameras, addresses, files, pipes and arrays as frames with time; cameras and streams that fail."""

from __future__ import annotations

import io
import os
import threading
import time

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError
from tdcnet.data.sequence import Sequence
from tdcnet.streaming.addresses import device_of, name_of, without_password
from tdcnet.streaming.capture import Capture, _Clock
from tdcnet.streaming.files import FileStream, SequenceStream
from tdcnet.streaming.raw import NewestRaw, RawStream
from tdcnet.streaming.readers import CameraOptions, Picture
from tdcnet.streaming.sources import open_source
from tests.streaming.test_live import until


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("rtsp://admin:s3cret@10.0.0.2:554/live?user=admin&pass=s3cret", "rtsp://10.0.0.2:554/live?..."),
        ("http://cam/video#s3cret", "http://cam/video?..."),
        ("rtsp://a:s3cret@[fe80::1]/x", "rtsp://[fe80::1]/x"),
        ("rtsp://a:s3cret@host:99999/x", "rtsp://..."),
        ("rtsp://a:s3c@ret@host/x", "rtsp://host/x"),
        ("rtsp://[s3cret/x", "rtsp://..."),
        ("rtsp://u:12/s3cret@host/x", "rtsp://..."),
        ("rtsp://h/user=admin&password=s3cret&channel=1", "rtsp://h/user=...&password=...&channel=1"),
        ("rtsp:/u:s3cret@h/x", "rtsp://..."),
    ],
)
def test_no_password_is_told(address, told):
    assert without_password(address) == told
    with pytest.raises(DataError) as error:
        open_source(address.replace("://", "x://"))
    assert "s3cret" not in str(error.value) and "s3c" not in name_of(address)


@pytest.mark.parametrize(
    "bad", ["rtsp://", "rtsp:///path", "http://ho st/", "rtsp://host:0/", "rtmp://host/x", "file:///etc/passwd"]
)
def test_addresses_that_are_none(bad):
    with pytest.raises(DataError, match=r"expected|an address begins with"):
        open_source(bad)


def test_what_is_a_camera():
    assert [device_of(each) for each in ("0", "12", "/dev/video2", "./0", "clip.mp4", "12345", "٣")] == [
        *(0, 12, "/dev/video2"),
        *(None,) * 4,
    ]
    with pytest.raises(DataError, match=r"there is no /dev/video97\. See"):
        next(open_source("97").frames())
    with pytest.raises(DataError, match="there is no such file or folder"):
        open_source("missing.mp4")
    with pytest.raises(DataError, match=r"source is 3\.5; expected a camera"):
        open_source(3.5)


def test_an_address_that_nobody_answers_is_told_without_its_password():
    source = open_source("rtsp://admin:s3cret@127.0.0.1:9/live", camera=CameraOptions(open_s=2))
    with pytest.raises(DataError, match=r"rtsp://127.0.0.1:9/live: nothing answers at this port") as error:
        next(source.frames())
    assert "s3cret" not in str(error.value) and error.value.__cause__ is None
    assert source.state == "ended"


@pytest.mark.parametrize(
    ("option", "told"),
    [({"policy": "some"}, "policy is 'some'"), ({"rate": 0}, "rate"), ({"rate": float("inf")}, "rate")],
)
def test_options_are_checked(option, told):
    with pytest.raises(ValueError, match=told):
        open_source([], **option)
    for wrong in ({"transport": "icmp"}, {"fourcc": "TOOLONG"}, {"read_s": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CameraOptions(**wrong)


# -- cameras and streams ----------------------------------------------------------------------------------------------


class Reader:
    """Gives numbered frames, and then what it is told to."""

    rate = 25.0

    def __init__(self, numbers, end=None, pause=0.0):
        self.numbers, self.end, self.pause = iter(numbers), end, pause
        self.closed = False

    def read(self):
        time.sleep(self.pause)
        for number in self.numbers:
            image = np.full((4, 6), number, np.uint8)
            return Picture(image, image, None)
        if isinstance(self.end, Exception):
            raise self.end
        return self.end() if callable(self.end) else None

    def close(self):
        self.closed = True


def numbers(frames):
    return [int(frame.image[0, 0]) for frame in frames]


def test_every_frame_is_taken_where_none_may_be_dropped():
    source = Capture(lambda: Reader(range(50)), "cam", live=False, again=False)
    assert numbers(source.frames()) == list(range(50))
    assert (source.state, source.dropped, source.rate) == ("ended", 0, 25.0)


def test_the_newest_frame_is_taken_and_the_others_are_counted():
    taken = threading.Event()

    def wait():
        taken.wait(5)

    source = Capture(lambda: Reader(range(40), wait), "cam", again=False)
    frames = source.frames()
    first = next(frames)
    deadline = time.monotonic() + 5
    while source._count < 40 and time.monotonic() < deadline:
        time.sleep(0.01)
    newest = next(frames)
    taken.set()
    assert list(frames) == []
    assert int(newest.image[0, 0]) == newest.index == 39
    assert source.dropped == 40 - 2 and first.index < 39


def test_a_source_that_is_lost_comes_back(caplog):
    caplog.set_level("INFO")
    readers = [
        Reader([0, 1], DataError("cam: gives no more frames")),
        DataError("cam: not there"),
        DataError("cam: not there"),
        Reader([2, 3]),
        Reader([4]),
    ]
    opened = []

    def open_reader():
        made = readers[len(opened)] if len(opened) < len(readers) else DataError("cam: not there")
        opened.append(made)
        if isinstance(made, Exception):
            raise made
        return made

    source = Capture(open_reader, "cam", live=False, pauses=(0.01,))
    frames = source.frames()
    assert numbers(next(frames) for _ in range(5)) == [0, 1, 2, 3, 4]
    assert source.restored == 2 and readers[0].closed and readers[3].closed
    source.close()
    assert list(frames) == [] and source.state == "ended"
    said = caplog.text
    assert said.count("gives no more frames; it is opened again") == 1 and said.count("frames come again") == 2


def test_a_reader_that_never_returns_is_left_to_itself():
    hang = threading.Event()
    readers = [Reader([0], lambda: hang.wait(20) and None), Reader([1])]
    source = Capture(lambda: readers.pop(0), "cam", live=False, again=True, stall=0.2, pauses=(0.01,))
    frames = source.frames()
    assert numbers([next(frames), next(frames)]) == [0, 1]
    source.close()
    hang.set()


def test_a_source_that_cannot_be_opened_at_first_is_an_error_unless_it_is_waited_for():
    def fails():
        raise DataError("cam: not there")

    with pytest.raises(DataError, match="cam: not there"):
        next(Capture(fails, "cam").frames())
    tries = []

    def comes():
        tries.append(1)
        if len(tries) < 4:
            raise DataError("cam: not there")
        return Reader([7])

    source = Capture(comes, "cam", wait=True, pauses=(0.01,))
    assert numbers([next(source.frames())]) == [7]
    source.close()


def test_a_stream_can_be_closed_while_nothing_comes():
    hang = threading.Event()
    source = Capture(lambda: Reader([], lambda: hang.wait(20) and None), "cam")
    threading.Timer(0.2, source.close).start()
    assert list(source.frames()) == []
    hang.set()


def test_time_is_the_streams_own_until_it_jumps():
    clock = _Clock()
    came = [(7.0, 100.0), (7.04, 100.3), (7.08, 100.31), (7.12, 109.0), (7.16, 109.01)]
    told = [clock.time(at, arrival) for at, arrival in came]
    assert told == pytest.approx([0, 0.04, 0.08, 0.12, 0.16]), "as it was sent, however late it came"
    assert clock.time(99.0, 109.1) == pytest.approx(0.25), "a clock that was set: what has passed"
    assert clock.time(99.04, 109.11) == pytest.approx(0.29)
    assert clock.time(3.0, 109.31) == pytest.approx(0.49), "and one that was set back"
    clock.lost()
    assert clock.time(0.0, 139.31) == pytest.approx(30.49), "after it was lost: the pause is there"
    assert clock.time(None, 139.41) == pytest.approx(30.59)
    fast = _Clock()
    assert [fast.time(0.04 * i, 0.004 * i) for i in range(200)][-1] == pytest.approx(0.04 * 199), (
        "faster than it was made"
    )
    later = [clock.time(0.05, 139.41) for i in range(3)]
    assert later == sorted(later) and len(set(later)) == 3, "never backwards"


# -- files, pipes, arrays ---------------------------------------------------------------------------------------------


def test_raw_frames():
    images = np.arange(3 * 4 * 6, dtype=np.uint16).reshape(3, 4, 6) * 300
    little, big = images.astype("<u2").tobytes(), images.astype(">u2").tobytes()
    for data, kind in ((little, "uint16"), (big, "uint16be")):
        frames = list(RawStream(io.BytesIO(data), f"6x4:{kind}", 10.0).frames())
        assert all(np.array_equal(frame.image, image) for frame, image in zip(frames, images, strict=True))
        assert [frame.time for frame in frames] == [0, 0.1, 0.2] and frames[0].image.dtype == np.uint16
    colour = np.zeros((4, 6, 3), np.uint8)
    colour[..., 0] = 200
    (frame,) = RawStream(io.BytesIO(colour.tobytes()), "6x4:rgb24").frames()
    assert frame.given.shape == (4, 6, 3) and frame.image[0, 0] == round(0.299 * 200)
    with pytest.raises(DataError, match="5 bytes were left after 1 frames of 24 bytes"):
        list(RawStream(io.BytesIO(bytes(29)), "6x4").frames())


@pytest.mark.parametrize("form", ["6x4:float32", "6", "x4", "0x4", "99999x99999", "6x4:uint8:le", "-6x4"])
def test_what_raw_frames_are_is_checked(form):
    with pytest.raises(DataError):
        RawStream(io.BytesIO(), form)


def test_raw_frames_that_never_come_are_told():
    with pytest.raises(DataError, match="stdin: ended before a frame came"):
        list(RawStream(io.BytesIO(), "6x4").frames())


def test_the_newest_raw_frames_are_taken():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        source = NewestRaw(RawStream(pipe, "6x4", 10.0))
        frames = source.frames()
        os.write(writing, bytes([1] * 24))
        assert next(frames).image.max() == 1
        for value in (2, 3, 4):
            os.write(writing, bytes([value] * 24))
        assert until(lambda: source.dropped == 2)
        newest = next(frames)
        assert newest.image.max() == 4 and newest.index == 3 and newest.time == pytest.approx(0.3, abs=0.01)
        os.close(writing)
        assert next(frames, None) is None and source.state == "ended"


def test_a_silent_pipe_of_the_newest_can_be_closed():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        source = NewestRaw(RawStream(pipe, "6x4"))
        taken = []
        thread = threading.Thread(target=lambda: taken.extend(source.frames()))
        thread.start()
        source.close()
        thread.join(5)
        assert not thread.is_alive() and not taken
        assert until(lambda: all(each.name != "camera stdin" for each in threading.enumerate()))
        os.close(writing)


def test_raw_frames_of_a_terminal_are_not_waited_for(monkeypatch):
    with pytest.raises(DataError, match="needs what its raw frames are"):
        open_source("-")
    monkeypatch.setattr("sys.stdin", type("Tty", (), {"isatty": lambda self: True})())
    with pytest.raises(DataError, match="is a terminal"):
        open_source("-", raw="6x4")


def test_folders_come_with_their_gaps(tmp_path):
    for number in (0, 1, 2, 7, 8):
        cv2.imwrite(str(tmp_path / f"{number:03d}.png"), np.full((4, 6), number, np.uint8))
    frames = list(FileStream(tmp_path, rate=10.0).frames())
    assert numbers(frames) == [0, 1, 2, 7, 8]
    assert [frame.begins for frame in frames] == [True, False, False, True, False]


def test_a_picture_that_cannot_be_read_is_left_out(tmp_path, caplog):
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number:03d}.png"), np.full((4, 6), number, np.uint8))
    (tmp_path / "002.png").write_bytes(b"no picture")
    assert numbers(FileStream(tmp_path, rate=10.0).frames()) == [0, 1, 3]
    assert "left out" in caplog.text and "002.png" in caplog.text


def test_arrays_are_taken_one_by_one():
    asked = []

    def camera():
        for number in range(5):
            asked.append(number)
            yield np.full((4, 6), number, np.uint8)

    source = open_source(camera(), rate=5.0)
    frames = source.frames()
    assert next(frames).time == 0 and asked == [0] and next(frames).time == 0.2 and asked == [0, 1]
    source.close()
    assert list(frames) == [] and source.state == "ended"
    with pytest.raises(DataError, match=r"frame 1 is an array \(3,\)"):
        list(open_source([np.zeros((4, 6), np.uint8), np.zeros(3)]).frames())


def test_a_file_in_real_time_is_no_faster(tmp_path):
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number:03d}.png"), np.full((4, 6), number, np.uint8))
    frames = list(FileStream(tmp_path, realtime=True, rate=20.0).frames())
    gaps = np.diff([frame.arrival for frame in frames])
    assert (np.cumsum(gaps) >= np.array([1, 2, 3]) / 20 - 0.01).all()


def recording(missing=()):
    """Frames 0 to 5 and, after a gap, 6 to 9, of which some cannot be read."""

    class Frames:
        rate = 10.0

        def __len__(self):
            return 10

        def read(self, index):
            if index in missing:
                raise DataError(f"frame {index} is cut short")
            return np.full((32, 32), index, np.uint8)

        def where(self, index):
            return f"x#{index}"

    nothing = [np.zeros((0, 4), np.float32)] * 10
    starts = np.array([0] * 6 + [6] * 4)
    labels = [np.zeros(0, np.int64)] * 10
    return Sequence("x", Frames(), nothing, labels, np.arange(10), starts)


def test_a_recording_begins_anew_after_a_gap():
    frames = list(SequenceStream(recording()).frames())
    assert [frame.begins for frame in frames] == [index in (0, 6) for index in range(10)]
    assert [frame.time for frame in frames] == pytest.approx([index / 10 for index in range(10)])


def test_a_frame_that_cannot_be_read_is_left_out_or_told(caplog):
    frames = list(SequenceStream(recording(missing=(3,))).frames())
    assert [frame.index for frame in frames] == [0, 1, 2, 4, 5, 6, 7, 8, 9] and "frame 3 is cut short" in caplog.text
    with pytest.raises(DataError, match="frame 3"):
        list(SequenceStream(recording(missing=(3,)), on_bad_frame="error").frames())
