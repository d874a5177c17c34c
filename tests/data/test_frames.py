"""Frames from folders and videos: order, defects, the decode cache, worker processes."""

from __future__ import annotations

import multiprocessing
import pickle
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError
from tdcnet.data.frames import (
    ImageFiles,
    VideoFrames,
    cache_file,
    default_cache_dir,
    frame_numbers,
    list_images,
    natural_sort,
    open_source,
    read_grey,
)
from tdcnet.files import replacing

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)


def write(path: Path, image: np.ndarray = NOISE) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def video(path: Path, count: int = 8) -> Path:
    """Lossless (FFV1): frame i is 20 i everywhere, but for the pixel at row i + 1, column i + 2."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 25, (64, 48), False)
    for i in range(count):
        writer.write(expected(i))
    writer.release()
    return path


def expected(i: int) -> np.ndarray:
    image = np.full((48, 64), 20 * i, np.uint8)
    image[i + 1, i + 2] = 255
    return image


# -- names -------------------------------------------------------------------------------------------------------------


def test_names_sort_by_number_whatever_the_padding() -> None:
    paths = [Path(name) for name in ("10.png", "2.png", "1(297).bmp", "1(5).bmp", "000.jpg")]
    assert [path.name for path in natural_sort(paths)] == ["000.jpg", "1(5).bmp", "1(297).bmp", "2.png", "10.png"]
    assert frame_numbers(paths).tolist() == [10, 2, 297, 5, 0]
    with pytest.raises(DataError, match=r"preview\.png"):
        frame_numbers([Path("preview.png")])


def test_list_images_passes_over_hidden_and_foreign_files(tmp_path: Path) -> None:
    for name in ("10.PNG", "9.png", "._9.png", "Thumbs.db", "labels.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["9.png", "10.PNG"]


# -- images ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_grey_8_bit_comes_back_as_stored(tmp_path: Path, suffix: str) -> None:
    image = read_grey(write(tmp_path / f"0{suffix}"))
    assert image.dtype == np.uint8
    assert np.array_equal(image, NOISE)


def test_jpeg_is_read_nearly_as_stored(tmp_path: Path) -> None:
    smooth = cv2.GaussianBlur(NOISE, (0, 0), 4)
    image = read_grey(write(tmp_path / "0.jpg", smooth)).astype(int)
    assert np.abs(image - smooth).max() < 8


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_stays_16_bit(tmp_path: Path, suffix: str) -> None:
    deep = NOISE.astype(np.uint16) * 257
    image = read_grey(write(tmp_path / f"0{suffix}", deep))
    assert image.dtype == np.uint16
    assert np.array_equal(image, deep)


def test_colour_becomes_grey(tmp_path: Path) -> None:
    image = read_grey(write(tmp_path / "0.png", np.stack([NOISE] * 3, axis=-1)))
    assert image.shape == (48, 64)
    assert np.array_equal(image, NOISE)


def test_float_images_are_refused_unless_they_hold_counts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0\.tif: pixels are float32 from .*8 and 16 bit.*\+ 273\.15\) \* 100"):
        read_grey(write(tmp_path / "0.tif", NOISE.astype(np.float32) / 4))
    image = read_grey(write(tmp_path / "1.tif", NOISE.astype(np.float32)))
    assert image.dtype == np.uint16 and np.array_equal(image, NOISE)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg", ".tif"])
def test_cut_image_is_an_error_and_nothing_is_printed(
    tmp_path: Path, suffix: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = cut(write(tmp_path / f"7{suffix}"), share)
    with pytest.raises(DataError, match=rf"7\{suffix}"):
        read_grey(path)
    assert capfd.readouterr() == ("", "")


def test_damaged_png_is_an_error_and_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "7.png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"7\.png: is damaged .*IDAT"):
        read_grey(path)
    assert capfd.readouterr() == ("", "")


def test_missing_file_and_text_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"3\.png: cannot be read \(No such file"):
        ImageFiles([tmp_path / "3.png"]).read(0)
    (tmp_path / "4.png").write_text("not an image")
    with pytest.raises(DataError, match=r"4\.png: is not an image"):
        read_grey(tmp_path / "4.png")


def test_frames_of_another_size_or_depth_are_errors(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "0.png"),
        write(tmp_path / "1.png", NOISE[:40]),
        write(tmp_path / "2.png", NOISE.astype(np.uint16)),
        write(tmp_path / "3.png"),
    ]
    source = ImageFiles(paths)
    assert len(source) == 4
    assert source.where(1) == str(paths[1])
    source.read(0)
    for index, form in ((1, "64x40 uint8"), (2, "64x48 uint16")):
        with pytest.raises(DataError, match=rf"{index}\.png: is {form}, but .*0\.png .* is 64x48 uint8"):
            pickle.loads(pickle.dumps(source)).read(index)
    assert np.array_equal(source.read(3), NOISE)


# -- video -------------------------------------------------------------------------------------------------------------


def test_video_at_random_decodes_once(tmp_path: Path) -> None:
    path, cache = video(tmp_path / "clip.avi"), tmp_path / "cache"
    source = VideoFrames(path, cache)
    assert source.where(3) == f"{path}#3"
    assert source.expected() == 8
    assert not cache.exists()
    assert len(source) == 8
    assert source.shape == (48, 64)
    for i in (5, 0, 7, 5):
        image = source.read(i)
        assert type(image) is np.ndarray
        assert image.dtype == np.uint8
        assert np.array_equal(image, expected(i))
    image[:] = 0
    assert np.array_equal(source.read(5), expected(5))
    (kept,) = cache.iterdir()
    before = kept.stat().st_mtime_ns
    VideoFrames(path, cache).read(0)
    assert [file.stat().st_mtime_ns for file in cache.iterdir()] == [before]
    with pytest.raises(IndexError, match="allowed are 0 to 7"):
        source.read(8)


def test_cache_follows_the_file(tmp_path: Path) -> None:
    path, cache = video(tmp_path / "clip.avi", 3), tmp_path / "cache"
    VideoFrames(path, cache).read(0)
    video(path, 5)
    assert np.array_equal(VideoFrames(path, cache).read(4), expected(4))
    other = tmp_path / "other"
    other.mkdir()
    assert cache_file(path, ".npy", cache) != cache_file(video(other / "clip.avi", 5), ".npy", cache)


def test_damaged_cache_is_made_again(tmp_path: Path) -> None:
    path, cache = video(tmp_path / "clip.avi"), tmp_path / "cache"
    VideoFrames(path, cache).read(0)
    cut(next(cache.iterdir()), 0.5)
    assert np.array_equal(VideoFrames(path, cache).read(7), expected(7))


def test_default_cache_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TDCNET_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "tdcnet"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "xdg" / "tdcnet"
    monkeypatch.setenv("TDCNET_CACHE", str(tmp_path / "own"))
    VideoFrames(video(tmp_path / "clip.avi")).read(0)
    assert len(list((tmp_path / "own").iterdir())) == 1


def test_cut_video_gives_the_frames_it_has(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    # Motion JPEG in AVI keeps its frame count at the start, so a copy that broke off still promises all ten.
    whole = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48), False)
    for i in range(10):
        writer.write(expected(i))
    writer.release()
    source = VideoFrames(cut(whole, 0.8), tmp_path / "cache")
    assert source.expected() == 10
    assert 0 < len(source) < 10
    assert len(np.load(next((tmp_path / "cache").iterdir()))) == len(source)
    for i in range(len(source)):
        assert np.abs(source.read(i).astype(int) - expected(i)).mean() < 10
    (record,) = caplog.records
    assert "clip.avi: is cut short or damaged: its header promises 10 frames" in record.getMessage()
    assert f"{len(source)} frames came. Copy it again" in record.getMessage()
    assert VideoFrames(whole, tmp_path / "cache").fault in record.getMessage(), "kept with the frames"
    assert capfd.readouterr().err == ""


def test_files_that_are_no_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(DataError, match=r"text\.mp4: cannot be opened as a video"):
        VideoFrames(tmp_path / "text.mp4")
    with pytest.raises(DataError, match=r"0001\.png: cannot be opened as a video"):
        VideoFrames(write(tmp_path / "0001.png"))
    with pytest.raises(DataError, match=r"none\.mp4: there is no such video"):
        VideoFrames(tmp_path / "none.mp4")
    assert capfd.readouterr() == ("", "")


def test_full_disk_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    source = VideoFrames(video(tmp_path / "clip.avi"), tmp_path / "cache")
    # Eight frames take 24,576 bytes; a limit on the size of files stops the write as a full disk does.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot keep the decoded frames of .*clip\.avi.*TDCNET_CACHE"):
            source.read(0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "cache").iterdir()) == []
    assert np.array_equal(source.read(2), expected(2))


def test_replacing_leaves_nothing_half_written(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.npy"
    with pytest.raises(KeyboardInterrupt), replacing(target) as file:
        file.write(b"half")
        assert not target.exists()
        raise KeyboardInterrupt
    assert list(target.parent.iterdir()) == []
    with replacing(target) as file:
        file.write(b"all")
    assert target.read_bytes() == b"all"
    assert list(target.parent.iterdir()) == [target]


def _read_all(source: VideoFrames) -> bool:
    return all(np.array_equal(source.read(i), expected(i)) for i in range(len(source)))


def test_pickle_carries_no_frames(tmp_path: Path) -> None:
    source = VideoFrames(video(tmp_path / "clip.avi"), tmp_path / "cache")
    source.read(0)
    packed = pickle.dumps(source)
    assert len(packed) < 48 * 64
    assert _read_all(pickle.loads(packed))


@pytest.mark.parametrize("opened_before", [False, True])
def test_spawned_workers_read_at_once(tmp_path: Path, opened_before: bool) -> None:
    source = VideoFrames(video(tmp_path / "clip.avi"), tmp_path / "cache")
    if opened_before:
        source.read(0)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_read_all, [source] * 4) == [True] * 4
    assert len(list((tmp_path / "cache").iterdir())) == 1


# -- either ------------------------------------------------------------------------------------------------------------


def test_open_source(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in (10, 9, 1):
        write(folder / f"frame_{number}.png", np.full((4, 5), number, np.uint8))
    source = open_source(folder)
    assert [int(source.read(i)[0, 0]) for i in range(len(source))] == [1, 9, 10]
    clip = open_source(video(tmp_path / "clip.avi"), tmp_path / "cache")
    assert np.array_equal(clip.read(3), expected(3))


def test_open_source_says_what_it_accepts(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    image = write(tmp_path / "0.png")
    for path, fault in ((empty, "holds no image"), (tmp_path / "no", "no such file"), (image, "is a single image")):
        with pytest.raises(DataError, match=rf"{fault}.*\.png \.bmp.*\.mp4"):
            open_source(path)
    write(empty / "1.png")
    write(empty / "01.bmp")
    with pytest.raises(DataError, match=r"01\.bmp and 1\.png are the same frame number"):
        open_source(empty)
