"""Frames decoded once: as the files have them, made anew when they change, safe where things go wrong."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import pickle
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data import cache
from tdcnet.data.cache import check_room, decode_ahead
from tdcnet.data.errors import DataError
from tdcnet.data.frames import DecodedImages, ImageFiles, VideoFrames

H, W = 24, 40
Usage = namedtuple("Usage", "total used free")


def image(i: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(i).integers(0, np.iinfo(dtype).max, (H, W), dtype=dtype, endpoint=True)


def folder(path: Path, count: int = 5, dtype: type = np.uint8) -> ImageFiles:
    path.mkdir(parents=True)
    for i in range(count):
        assert cv2.imwrite(str(path / f"{i}.png"), image(i, dtype))
    return ImageFiles([path / f"{i}.png" for i in range(count)])


def kept(tmp_path: Path) -> Path:
    (file,) = (tmp_path / "cache").iterdir()
    return file


@pytest.fixture
def decoded(tmp_path: Path) -> Callable[[], DecodedImages]:
    """Opens five frames as a new process would."""
    images = folder(tmp_path / "clip")
    return lambda: DecodedImages(ImageFiles(images.paths), tmp_path / "cache")


def damage(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


# -- what is kept ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_frames_are_those_of_the_files_bit_by_bit(tmp_path: Path, dtype: type) -> None:
    images = folder(tmp_path / "clip", dtype=dtype)
    source = DecodedImages(images, tmp_path / "cache")
    assert len(source) == 5
    assert source.where(2) == str(images.paths[2])
    assert not (tmp_path / "cache").exists()
    for i in (3, 0, 4, 3, 1, 2):
        frame = source.read(i)
        assert frame.dtype == dtype
        assert np.array_equal(frame, images.read(i))
    frame[:] = 0
    assert np.array_equal(source.read(2), image(2, dtype))
    assert np.array_equal(np.load(kept(tmp_path)), np.stack([image(i, dtype) for i in range(5)])), "it is a .npy file"
    with pytest.raises(IndexError, match="allowed are 0 to 4"):
        source.read(5)


def test_files_are_decoded_once(decoded: Callable[[], DecodedImages], monkeypatch: pytest.MonkeyPatch) -> None:
    decoded().read(0)
    monkeypatch.setattr(ImageFiles, "read", None)
    assert np.array_equal(decoded().read(3), image(3))


def test_folders_of_one_name_and_parts_of_a_folder_have_files_of_their_own(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "a" / "1"), folder(tmp_path / "b" / "1", 3)
    sources = [DecodedImages(i, tmp_path / "cache") for i in (one, other, ImageFiles(one.paths[1:]))]
    decode_ahead(sources, progress=False)
    assert [source.read(1).tolist() for source in sources] == [image(i).tolist() for i in (1, 1, 2)]
    assert len(list((tmp_path / "cache").iterdir())) == 3


# -- what is made anew -------------------------------------------------------------------------------------------------


def test_a_changed_file_is_decoded_again_in_place_of_the_old(
    tmp_path: Path, decoded: Callable[[], DecodedImages]
) -> None:
    opened = decoded()
    assert np.array_equal(opened.read(2), image(2))
    path = tmp_path / "clip" / "2.png"
    assert cv2.imwrite(str(path), image(9))
    assert not decoded().is_made()
    assert np.array_equal(decoded().read(2), image(9))
    assert kept(tmp_path).is_file()
    assert np.array_equal(opened.read(2), image(2)), "who has the old file open still sees it"
    time = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(time, time))
    assert not decoded().is_made()


@pytest.mark.parametrize("left", [0, 60, 0.5, -1])
def test_a_cut_file_is_made_again(tmp_path: Path, decoded: Callable[[], DecodedImages], left: float) -> None:
    decoded().read(0)
    file = kept(tmp_path)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * left) if left == 0.5 else left])
    assert np.array_equal(decoded().read(4), image(4))
    assert file.read_bytes() == data


def test_a_file_without_checksums_is_made_again(tmp_path: Path, decoded: Callable[[], DecodedImages]) -> None:
    decoded().read(0)
    file = kept(tmp_path)
    np.save(file, np.zeros((5, H, W), np.uint8))
    assert np.array_equal(decoded().read(4), image(4))


def test_a_damaged_frame_is_found_and_made_again(
    tmp_path: Path, decoded: Callable[[], DecodedImages], caplog: pytest.LogCaptureFixture
) -> None:
    decoded().read(0)
    file = kept(tmp_path)
    damage(file, 128 + 3 * H * W + 17)
    source = decoded()
    assert np.array_equal(source.read(2), image(2))
    assert not caplog.records, "a frame is looked at when it is read"
    assert np.array_equal(source.read(3), image(3))
    assert "damaged at frame 3" in caplog.text
    assert np.array_equal(decoded().read(3), image(3))


def test_a_disk_that_does_not_keep_what_is_written(
    decoded: Callable[[], DecodedImages], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cache.zlib.crc32
    monkeypatch.setattr(cache.zlib, "crc32", lambda data: 2 if isinstance(data, memoryview) else real(data))
    with pytest.raises(OSError, match=r"damaged as soon as it is written\. Check that disk"):
        decoded().read(0)


def test_damage_to_any_byte_is_found(
    tmp_path: Path, decoded: Callable[[], DecodedImages], caplog: pytest.LogCaptureFixture
) -> None:
    decoded().read(0)
    whole = kept(tmp_path).read_bytes()
    frames = range(128, 128 + 5 * H * W)
    places = [at for at in range(len(whole)) if at not in frames]
    assert 300 < len(places) < 600
    for at in [*places[::3], *frames[:: H * W]]:
        for bit in (0x01, 0x80) if at % 7 == 0 else (0x10,):
            data = bytearray(whole)
            data[at] ^= bit
            kept(tmp_path).write_bytes(data)
            source = decoded()
            assert all(np.array_equal(source.read(i), image(i)) for i in range(5)), at
            assert kept(tmp_path).read_bytes() == whole
    assert {record.levelname for record in caplog.records} == {"WARNING"}


@pytest.mark.parametrize("head", [b"\x93NUMPY\x01\x00\x76\x00{'descr': ((((", b"\xff" * 128, b"", b"tdcnet 2" * 40])
def test_what_is_no_cache_is_made_again(tmp_path: Path, decoded: Callable[[], DecodedImages], head: bytes) -> None:
    decoded().read(0)
    whole = kept(tmp_path).read_bytes()
    kept(tmp_path).write_bytes(head + whole[len(head) :] if head.startswith(b"\x93") else head)
    assert np.array_equal(decoded().read(4), image(4))
    assert kept(tmp_path).read_bytes() == whole
    file = kept(tmp_path)
    file.unlink()
    os.mkfifo(file)
    assert np.array_equal(decoded().read(4), image(4))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    source = DecodedImages(folder(tmp_path / "clip"), tmp_path / "file" / "cache")
    with pytest.raises(OSError, match=r"cannot keep the decoded frames of .* can be written to") as error:
        source.read(0)
    assert "\n" not in str(error.value)


# -- frames that are bad -----------------------------------------------------------------------------------------------


def test_bad_frames_give_the_errors_that_the_files_give(tmp_path: Path) -> None:
    images = folder(tmp_path / "clip", 6)
    images.paths[0].write_bytes(images.paths[0].read_bytes()[:100])
    images.paths[2].unlink()
    assert cv2.imwrite(str(images.paths[4]), image(4)[:10])
    plain = ImageFiles(images.paths)
    plain.read(1)
    for source in (DecodedImages(images, tmp_path / "cache") for _ in range(2)):  # the second finds the file there
        for i in (1, 3, 5):
            assert np.array_equal(source.read(i), image(i))
        for i in (0, 2, 4):
            with pytest.raises(DataError) as expected:
                plain.read(i)
            with pytest.raises(DataError) as found:
                pickle.loads(pickle.dumps(source)).read(i)
            assert str(found.value) == str(expected.value)
    assert "4.png: is 40x10 uint8, but" in str(found.value)


def test_a_recording_of_bad_frames_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = folder(tmp_path / "clip", 3)
    for path in images.paths:
        path.write_text("not an image")
    source, good = DecodedImages(images, tmp_path / "cache"), DecodedImages(folder(tmp_path / "b"), tmp_path / "cache")
    decode_ahead([source, good], progress=False)
    assert "0.png: is not an image" in caplog.text
    assert good.is_made()
    with pytest.raises(DataError, match=r"1\.png: is not an image"):
        source.images.read(1)
    with pytest.raises(DataError, match=r"png: is not an image"):
        source.read(1)


# -- room --------------------------------------------------------------------------------------------------------------


def test_size_is_told_before_and_a_full_disk_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tdcnet.data.cache")
    big = 1000 * 1000 // (H * W)
    sources = [DecodedImages(folder(tmp_path / name, n), tmp_path / "cache") for name, n in (("a", big), ("b", 2))]
    needed = sum(source.needed() for source in sources)
    assert needed == (big + 2) * H * W
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, needed - 1))
    with pytest.raises(
        OSError, match=r"frames of 2 recordings, decoded once, take 1 MB in .*, but only 1 MB are free"
    ) as e:
        decode_ahead(sources, progress=False)
    assert e.value.errno == errno.ENOSPC and "dataset.decode=on_the_fly" in str(e.value)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 100))
    with pytest.raises(OSError, match=r"cannot keep the decoded frames of .*b in .*only 0 MB are free.*they take 0 MB"):
        sources[1].read(0)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, needed))
    caplog.clear()
    decode_ahead([*sources, sources[1], ImageFiles([])], progress=False)
    (record,) = caplog.records
    assert f"{big + 2} frames of 2 recordings, decoded once, take 1 MB in {tmp_path / 'cache'}" in record.getMessage()
    caplog.clear()
    decode_ahead(sources, progress=False)
    assert not caplog.records


def test_room_is_looked_for_where_the_folder_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or Usage(2, 1, 1))
    check_room(tmp_path / "a" / "b", 1)
    assert asked == [tmp_path]


def test_what_is_stopped_leaves_nothing_behind(tmp_path: Path, decoded: Callable[[], DecodedImages]) -> None:
    def step() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoded().make(step)
    assert list((tmp_path / "cache").iterdir()) == []


def test_videos_are_decoded_ahead_too(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 25, (W, H), False)
    for i in range(3):
        writer.write(image(i))
    writer.release()
    source = VideoFrames(path, tmp_path / "cache")
    assert source.needed() == 3 * H * W
    decode_ahead([source], progress=False)
    assert VideoFrames(path, tmp_path / "cache").is_made()
    assert np.array_equal(source.read(2), image(2))


# -- processes ---------------------------------------------------------------------------------------------------------


def test_pickle_carries_no_frames(decoded: Callable[[], DecodedImages]) -> None:
    source = decoded()
    source.read(0)
    packed = pickle.dumps(source)
    assert len(packed) < H * W
    assert np.array_equal(pickle.loads(packed).read(1), image(1))


def _read_all(source: DecodedImages) -> bool:
    return all(np.array_equal(source.read(i), image(i)) for i in range(len(source)))


def test_two_processes_at_once(tmp_path: Path, decoded: Callable[[], DecodedImages]) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_read_all, [decoded() for _ in range(4)], chunksize=1) == [True] * 4
    assert kept(tmp_path).suffix == ".npy"


def test_few_files_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST_OPEN", 2)
    monkeypatch.setattr(cache, "_opened", cache.deque())
    sources = [DecodedImages(folder(tmp_path / str(i), i + 2), tmp_path / "cache") for i in range(4)]
    for _ in range(2):
        for source in sources:
            assert np.array_equal(source.read(1), image(1))
            assert sum(s._file is not None for s in sources) <= 2
