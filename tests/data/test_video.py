"""Videos as they come: counts that headers get wrong, depth, time, rotation, damage, and what is refused."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tdcnet.data import video
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import video_csv
from tdcnet.data.frames import open_source
from tdcnet.data.homographies import HomographyStore
from tdcnet.data.sequence import Sequence
from tdcnet.data.video import VideoFrames

H, W = 48, 64
UNEVEN = np.cumsum([0, 20, 66, 33, 20, 20, 66, 66, 33, 20, 33, 66]).tolist()


def byte(i: int) -> np.ndarray:
    image = np.full((H, W), 40 + 10 * (i % 12), np.uint8)
    image[4:20, 4:12] = 200
    return image


def word(i: int) -> np.ndarray:
    ramp = np.arange(H * W, dtype=np.uint16).reshape(H, W)
    return ramp + np.uint16(20000 + 7 * i)


def write(
    path: Path,
    codec: str = "ffv1",
    fmt: str = "gray",
    image: Callable[[int], np.ndarray] = byte,
    count: int = 12,
    times: list[int] | None = None,
    rate: Fraction | int = 30,
    **options: str,
) -> Path:
    """A video of ``count`` frames, at ``times`` in ms if given."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = W, H, fmt
        stream.codec_context.thread_count = 1  # other tests fork
        stream.codec_context.gop_size = 4 if codec == "mpeg4" else 1
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(count):
            pixels = image(i)
            native = fmt in ("gray10le", "gray12le", "gray14le")
            source = fmt if native else "gray16le" if pixels.dtype == np.uint16 else "gray"
            frame = av.VideoFrame.from_ndarray(pixels, format=source).reformat(format=fmt, threads=1)
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def frames_of(path: Path) -> VideoFrames:
    return VideoFrames(path, path.parent / "cache")


# -- counts and times --------------------------------------------------------------------------------------------------


def test_all_frames_come_whatever_the_header_estimates(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    low = write(tmp_path / "low.mkv", "mpeg4", "yuv420p", count=40, times=[33 * i for i in range(40)], rate=10)
    half = write(tmp_path / "half.ts", "mpeg2video", "yuv420p", count=40)
    glued = tmp_path / "glued.ts"
    glued.write_bytes(2 * half.read_bytes())
    live = write(tmp_path / "live.mkv", "mpeg4", "yuv420p", live="1")
    uneven = write(tmp_path / "uneven.mp4", "mpeg4", "yuv420p", times=UNEVEN)
    for path, count in ((low, 40), (glued, 80), (live, 12), (uneven, 12)):
        source = frames_of(path)
        assert len(source) == count, path
        assert source.fault == ""
        assert source.times is not None and (np.diff(source.times) > 0).all()
    assert not caplog.records
    assert frames_of(low).rate == pytest.approx(1000 / 33)
    assert np.diff(frames_of(glued).times) == pytest.approx(np.full(79, 1 / 30))
    assert frames_of(uneven).times == pytest.approx(np.array(UNEVEN) / 1000)


def test_opening_a_known_video_reads_the_cache_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mkv", image=word, fmt="gray16le", times=UNEVEN)
    first = frames_of(path)
    form = first.form
    monkeypatch.setattr(video.av, "open", None)
    again = frames_of(path)
    assert (len(again), again.form, again.rate, again.fault) == (12, form, first.rate, "")
    assert np.array_equal(again.times, first.times)
    assert np.array_equal(again.read(11), word(11))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="tells threads on Linux only")
def test_no_thread_is_left_that_a_forked_worker_would_wait_for(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.mkv", fmt="gbrp16le", image=word), write(tmp_path / "b.mp4", "mpeg4", "yuv420p")]
    before = len(os.listdir("/proc/self/task"))
    for path in paths:
        with video._opened(path) as (container, stream):
            frames = [frame for packet in container.demux(stream) for frame in packet.decode()]
            assert len([video._grey(frame, path) for frame in frames]) == 12
            assert len(os.listdir("/proc/self/task")) == before


@pytest.mark.parametrize(
    ("name", "rate"), [("a.mp4", Fraction(60000, 1001)), ("a.mkv", Fraction(60000, 1001)), ("a.avi", Fraction(25, 2))]
)
def test_rate_is_that_of_the_source(tmp_path: Path, name: str, rate: Fraction) -> None:
    source = frames_of(write(tmp_path / name, "mpeg4", "yuv420p", rate=rate))
    assert source.rate == pytest.approx(float(rate), rel=1e-6)
    assert source.times == pytest.approx(np.arange(12) / float(rate), abs=0.0006)


def sequence(source: VideoFrames, starts: list[int] | None = None) -> Sequence:
    n = len(source)
    empty = [np.zeros((0, 4), np.float32)] * n, [np.zeros(0, np.int64)] * n
    return Sequence("a", source, *empty, np.arange(n), np.array(starts or [0] * n))


def test_clips_are_taken_by_time_where_it_is_uneven(tmp_path: Path) -> None:
    #         0  1   2   3    4    5    6    7    8    9    10   11
    assert UNEVEN == [0, 20, 86, 119, 139, 159, 225, 291, 324, 344, 377, 443]
    uneven = sequence(frames_of(write(tmp_path / "a.mkv", "mpeg4", "yuv420p", times=UNEVEN)))
    # The middle step is 33 ms. From 443 ms: 410 (377 is as near as any before 443), 377, 344, 311.
    assert uneven.clip_indices(11, 5) == [8, 9, 10, 10, 11]
    # From 159 ms, two steps apart: 93, 27, before the start.
    assert uneven.clip_indices(5, 4, stride=2) == [0, 1, 2, 5]
    cut = sequence(uneven.frames, [0] * 4 + [4] * 8)
    assert cut.clip_indices(5, 4, stride=2) == [4, 4, 4, 5]
    # Times that are only rounded change nothing.
    for name, rate in (("b.mkv", Fraction(30000, 1001)), ("b.mp4", Fraction(24)), ("b.avi", Fraction(25))):
        even = sequence(frames_of(write(tmp_path / name, "mpeg4", "yuv420p", rate=rate)))
        assert even.uneven_times is None
        assert even.clip_indices(7, 3, 2) == [3, 5, 7]


def test_homographies_of_other_times_are_not_used(tmp_path: Path) -> None:
    even = sequence(frames_of(write(tmp_path / "a.mkv", "mpeg4", "yuv420p")))
    uneven = sequence(frames_of(write(tmp_path / "b.mkv", "mpeg4", "yuv420p", times=UNEVEN)))
    store = HomographyStore(tmp_path / "h", 3, 1)
    store.save(even, np.tile(np.eye(3, dtype=np.float32), (12, 2, 1, 1)))
    assert store.load(even) is not None
    assert store.load(uneven) is None


# -- depth and values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "fmt"), [("a.mkv", "gray16le"), ("a.avi", "gray16le"), ("a.nut", "gray16le")])
def test_16_bits_stay(tmp_path: Path, name: str, fmt: str) -> None:
    source = frames_of(write(tmp_path / name, fmt=fmt, image=word))
    assert len(source) == 12
    for i in (0, 11):
        assert source.read(i).dtype == np.uint16
        assert np.array_equal(source.read(i), word(i))


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_counts_of_fewer_bits_are_as_stored(tmp_path: Path, bits: int) -> None:
    def image(i: int) -> np.ndarray:
        return np.asarray((word(i) * 3 + i) % (1 << bits), np.uint16)

    source = frames_of(write(tmp_path / "a.mkv", fmt=f"gray{bits}le", image=image))
    assert np.array_equal(source.read(5), image(5))


def test_deep_colour_becomes_deep_grey(tmp_path: Path) -> None:
    source = frames_of(write(tmp_path / "a.mkv", fmt="gbrp16le", image=word))
    assert np.array_equal(source.read(3), word(3))
    luma = frames_of(write(tmp_path / "b.mkv", fmt="yuv420p10le", image=word)).read(3)
    # 64 to 940 stand for black to white.
    assert luma.dtype == np.uint16
    assert np.abs(luma - (64 + word(3) / 65535 * 876)).max() <= 1


@pytest.mark.parametrize(
    ("codec", "fmt", "name"),
    [
        ("mpeg4", "yuv420p", "a.mp4"),
        ("mjpeg", "yuvj422p", "a.avi"),
        ("rawvideo", "bgr24", "a.avi"),
        ("ffv1", "gray", "a.mkv"),
    ],
)
def test_8_bits_are_what_opencv_gives(tmp_path: Path, codec: str, fmt: str, name: str) -> None:
    path = tmp_path / name
    if codec == "mjpeg":
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (W, H), False)
        for i in range(12):
            writer.write(byte(i))
        writer.release()
    else:
        write(path, codec, fmt)
    source, capture = frames_of(path), cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    for i in range(12):
        assert np.array_equal(source.read(i), cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2GRAY))


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((0, 1, -1, 0), lambda a: np.fliplr(a.T)),  # a quarter turn with the clock
        ((0, -1, 1, 0), lambda a: np.flipud(a.T)),
        ((-1, 0, 0, -1), lambda a: np.flipud(np.fliplr(a))),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda a: a.T),
        ((0, -1, -1, 0), lambda a: np.flipud(np.fliplr(a.T))),
    ],
)
def test_rotation_and_mirror_are_applied(
    tmp_path: Path, matrix: tuple[int, ...], turned: Callable[[np.ndarray], np.ndarray]
) -> None:
    plain = write(tmp_path / "a.mp4", "mpeg4", "yuv420p")
    data = bytearray(plain.read_bytes())
    at = data.index(b"tkhd") + 4 + 24 + 16
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "b.mp4").write_bytes(data)
    source = frames_of(tmp_path / "b.mp4")
    expected = turned(frames_of(plain).read(2))
    assert source.shape == expected.shape
    assert np.array_equal(source.read(2), expected)


def test_odd_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 51, 33, "gray16le"
        stream.codec_context.thread_count = 1
        container.mux(stream.encode(av.VideoFrame.from_ndarray(word(0)[:33, :51].copy(), format="gray16le")))
        container.mux(stream.encode())
    assert np.array_equal(frames_of(path).read(0), word(0)[:33, :51])


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "fmt", "options"),
    [
        ("a.mkv", "ffv1", "gray", {}),
        ("a.avi", "ffv1", "gray", {}),
        ("a.mp4", "mpeg4", "yuv420p", {"movflags": "faststart"}),
    ],
)
def test_a_cut_video_is_told_and_gives_what_it_has(
    tmp_path: Path, name: str, codec: str, fmt: str, options: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / name, codec, fmt, count=40, image=lambda i: byte(i) + np.uint8(i), **options)
    whole = frames_of(path)
    pixels = [whole.read(i) for i in range(40)]
    assert not caplog.records
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    source = frames_of(path)
    assert 2 < len(source) < 40
    for i in range(len(source) - 1):
        assert np.array_equal(source.read(i), pixels[i])
    (record,) = caplog.records
    assert f"{name}: is cut short or damaged" in record.message
    assert f"{len(source)} frames came. Copy it again" in record.message
    caplog.clear()
    assert frames_of(path).fault
    assert not caplog.records, "said once per process"


def test_damage_in_the_middle_is_told_and_moves_no_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.avi", fmt="gray16le", image=word)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    at, size = packets[5]
    # The first bits of the packet: FFV1 can do nothing with it. And pixels of the ninth: only its checksum tells.
    data[at : at + size] = b"\xff" * size
    at, size = packets[8]
    data[at + size // 2] ^= 0x10
    path.write_bytes(data)
    source = frames_of(path)
    assert len(source) == 12
    assert np.array_equal(source.read(4), word(4))
    assert np.array_equal(source.read(11), word(11)), "frames behind keep their number"
    with pytest.raises(DataError, match=r"a\.avi, frame 5: is damaged and could not be decoded"):
        source.read(5)
    (record,) = caplog.records
    assert "a.avi: is cut short or damaged: 1 parts cannot be decoded; 1 parts are damaged and" in record.message
    assert "FFmpeg: " in record.message and "11 frames came" in record.message
    assert source.times == pytest.approx(np.arange(12) / 30, abs=1e-6)


def test_labels_are_judged_by_the_frames_there_are(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write(tmp_path / "videos" / "low.mkv", times=[33 * i for i in range(12)], rate=5)
    cut = write(tmp_path / "videos" / "cut.mkv", count=40, image=lambda i: byte(i) + np.uint8(i))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    rows = [f"{name},{i},4,4,12,20,t" for name, n in (("low", 12), ("cut", 40)) for i in range(n)]
    (tmp_path / "labels.csv").write_text("\n".join([video_csv.HEADER, *rows]))
    problems = Problems("skip")
    half, low = video_csv.read_all(tmp_path, problems=problems, cache_dir=tmp_path / "c")
    assert len(low) == 12 and all(len(boxes) == 1 for boxes in low.boxes)
    assert len(problems.found) == 40 - len(half) > 0
    assert f"frame {len(half)} is beyond the {len(half)} frames of cut" in problems.found[0]
    assert "which is cut short or damaged" in problems.found[0]


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_playlists_and_scripts_open_no_other_file(tmp_path: Path) -> None:
    write(tmp_path / "secret.ts", "mpeg2video", "yuv420p")
    for name, text in (
        ("a.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n"),
        ("b.mp4", "ffconcat version 1.0\nfile secret.ts\n"),
        ("c.mp4", "v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=f"{name}: cannot be opened as a video"):
            VideoFrames(tmp_path / name)


def test_names_are_paths_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a:b.mkv", "concat:x.mkv", "frame%03d.mkv", "видео 1.mkv"):
        write(tmp_path / "plain.mkv").rename(tmp_path / name)
        assert len(open_source(tmp_path / name, tmp_path / "cache")) == 12


def test_large_frames_pipes_and_sound_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mkv")
    monkeypatch.setattr(video, "check_pixels", lambda *given: (_ for _ in ()).throw(DataError(str(given[1:]))))
    with pytest.raises(DataError, match=r"\(64, 48\)"):
        frames_of(path)
    monkeypatch.undo()
    os.mkfifo(tmp_path / "b.mkv")
    with pytest.raises(DataError, match="is no file but a pipe"):
        VideoFrames(tmp_path / "b.mkv")
    with av.open(str(tmp_path / "c.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(DataError, match="holds no video"):
        VideoFrames(tmp_path / "c.mkv")
