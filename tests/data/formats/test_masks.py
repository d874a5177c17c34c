"""Masks to boxes, the kept results, lists, and pairs of folders with what can be wrong in them."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common, masks
from tdcnet.masks import mask_to_boxes

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def blank(size: tuple[int, int] = (40, 60), dtype: type = np.uint8) -> np.ndarray:
    return np.zeros(size, dtype)


def spot(x: int, y: int, w: int = 3, h: int = 2, value: int = 255, size: tuple[int, int] = (40, 60)) -> np.ndarray:
    image = blank(size)
    image[y : y + h, x : x + w] = value
    return image


def make_pair(root: Path, numbers: range, name: str = "7") -> masks.FolderPair:
    """Frame n is grey n; its target is 3x2 px at (n, 5)."""
    for n in numbers:
        write(root / f"images/{name}/{n:05d}.png", np.full((40, 60), n, np.uint8))
        write(root / f"masks/{name}/{n:05d}.png", spot(n, 5))
    return masks.FolderPair(name, root / "images" / name, root / "masks" / name, {})


# -- one mask ----------------------------------------------------------------------------------------------------------


def test_threshold_is_above(tmp_path: Path) -> None:
    image = blank()
    image[0, :5] = 1, 127, 128, 255, 0
    path = write(tmp_path / "soft.png", image)
    assert masks.read_mask(path)[0, :6].tolist() == [True, True, True, True, False, False]
    assert masks.read_mask(path, 127)[0, :6].tolist() == [False, False, True, True, False, False]
    for threshold in (-1, 255):
        with pytest.raises(ValueError, match=f"threshold is {threshold}; allowed are 0 to 254"):
            masks.read_mask(path, threshold)


def test_every_channel_counts_but_transparency_does_not(tmp_path: Path) -> None:
    colour = np.zeros((40, 60, 3), np.uint8)
    colour[2, 3] = 1, 0, 0  # blue 1 is 0.114 of grey and would round to 0
    colour[4, 5] = 0, 0, 1
    path = write(tmp_path / "colour.bmp", colour)
    assert np.argwhere(masks.read_mask(path)).tolist() == [[2, 3], [4, 5]]
    opaque = np.dstack([colour, np.full((40, 60), 255, np.uint8)])
    path = write(tmp_path / "opaque.png", opaque)
    assert np.argwhere(masks.read_mask(path)).tolist() == [[2, 3], [4, 5]]


def test_sixteen_bit_is_on_the_same_scale(tmp_path: Path) -> None:
    image = blank(dtype=np.uint16)
    image[0, :3] = 1, 127 * 257, 127 * 257 + 1
    path = write(tmp_path / "deep.png", image)
    assert masks.read_mask(path)[0, :4].tolist() == [True, True, True, False]
    assert masks.read_mask(path, 127)[0, :4].tolist() == [False, False, True, False]


def test_what_cannot_be_told_is_refused(tmp_path: Path) -> None:
    jpeg = write(tmp_path / "lossy.jpg", spot(9, 9, 8, 8))
    with pytest.raises(DataError, match=r"lossy\.jpg: is a JPEG.*threshold=127"):
        masks.read_mask(jpeg)
    assert masks.read_mask(jpeg, 127).sum() == 64
    ones = write(tmp_path / "ones.png", spot(9, 9, value=1))
    with pytest.raises(DataError, match=r"ones\.png: has values up to 1, none above 127.*threshold=0"):
        masks.read_mask(ones, 127)
    assert not masks.read_mask(write(tmp_path / "empty.png", blank()), 127).any()


# -- kept results ------------------------------------------------------------------------------------------------------


def test_second_run_decodes_nothing_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair(tmp_path, range(4))
    decoded: list[str] = []
    read_mask = masks.read_mask
    monkeypatch.setattr(masks, "read_mask", lambda path, *rest: decoded.append(path.name) or read_mask(path, *rest))

    def read(threshold: int = 0) -> list[list[float]]:
        (recording,) = masks.load_recordings([pair], Problems(), threshold=threshold, cache_dir=tmp_path / "cache")
        return [boxes[0].tolist() for boxes in recording.boxes]

    expected = [[n, 5, n + 3, 7] for n in range(4)]
    assert read() == expected
    assert decoded == [f"0000{n}.png" for n in range(4)]
    assert read() == expected
    assert len(decoded) == 4
    # Another threshold is another result.
    assert read(127) == expected
    assert len(decoded) == 8
    # Of the same length in bytes, so that only the time tells.
    path = pair.masks / "00002.png"
    before = path.stat()
    write(path, spot(2, 6))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    expected[2] = [2, 6, 5, 8]
    assert read() == expected
    assert decoded[8:] == ["00002.png"]
    # The same time and another length.
    before = path.stat()
    write(path, np.random.default_rng(0).integers(1, 255, (40, 60), np.uint8))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    expected[2] = [0, 0, 60, 40]
    assert read() == expected
    assert decoded[9:] == ["00002.png"]


def test_damaged_and_missing_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pair = make_pair(tmp_path, range(2))
    masks.load_recordings([pair], Problems(), cache_dir=tmp_path / "cache")
    (kept,) = (tmp_path / "cache/masks").iterdir()
    whole = kept.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"nothing of the kind"):
        kept.write_bytes(damaged)
        (recording,) = masks.load_recordings([pair], Problems(), cache_dir=tmp_path / "cache")
        assert recording.boxes[1].tolist() == [[1, 5, 4, 7]]
        assert f"{kept}: is damaged" in caplog.text
        assert kept.stat().st_size == len(whole)
    caplog.clear()
    (tmp_path / "file").write_text("in the way")
    (recording,) = masks.load_recordings([pair], Problems(), cache_dir=tmp_path / "file")
    assert len(recording.indices) == 2
    assert "is not kept in" in caplog.text


def test_several_writers_add_up(tmp_path: Path) -> None:
    make_pair(tmp_path, range(40))
    folder = tmp_path / "masks/7"
    paths = sorted(folder.iterdir())
    tables = [masks.mask_folder(folder, paths[k::4], 0, tmp_path / "cache") for k in range(4)]
    threads = [threading.Thread(target=table.update) for table in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not [path for path in (tmp_path / "cache/masks").iterdir() if path.suffix != ".npz"]
    left = masks.mask_folder(folder, paths, 0, tmp_path / "cache")
    left.update()
    assert [left.get(path).boxes[0, 0] for path in paths] == list(range(40))
    # One after the other, nothing is lost.
    assert not masks.mask_folder(folder, paths, 0, tmp_path / "cache").stale
    masks.mask_folder(folder, paths[:3], 0, tmp_path / "cache").update()
    assert not masks.mask_folder(folder, paths, 0, tmp_path / "cache").stale


# -- lists -------------------------------------------------------------------------------------------------------------


def test_lists_of_sequences_and_of_frames(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(
        b"\xef\xbb\xbfSequence1/Mix/00001.mat\r\n\r\nSequence1\\Mix\\00003.mat\r\nSequence12\r\nnonsense\nSequence12\n"
        b"SequenceX/Mix/1.mat\nSequence1/Mix/3.mat\nSequence1/Mix/last.mat\nset/val/Sequence2/img/7.png"
    )
    problems = Problems("skip")
    listed = masks.read_sequence_list(path, r"Sequence\d+", problems)
    assert {name: list(frames) for name, frames in listed.items()} == {
        "Sequence1": [1, 3],
        "Sequence12": [],
        "Sequence2": [7],
    }
    assert listed["Sequence1"][3] == f"{path}:3"
    assert [message.split(":")[1] for message in problems.found] == ["5", "6", "7", "8", "9"]


# -- pairs of folders --------------------------------------------------------------------------------------------------


def test_empty_frames_and_several_targets(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, range(3))
    write(pair.masks / "00001.png", blank())
    write(pair.masks / "00002.png", spot(4, 5) + spot(30, 20, 1, 1))
    (recording,) = masks.load_recordings([pair], Problems(), cache_dir=tmp_path)
    assert recording.indices.tolist() == [0, 1, 2]
    assert recording.boxes[1].shape == (0, 4)
    assert recording.boxes[2].tolist() == [[4, 5, 7, 7], [30, 20, 31, 21]]
    assert recording.labels[2].tolist() == [0, 0]
    assert recording.boxes[2].dtype == np.float32
    assert recording.labels[1].dtype == np.int64


def test_boxes_are_those_of_the_whole_mask(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    paths = []
    for n, density in enumerate((0.0, 0.0005, 0.01, 0.3, 1.0)):
        mask = (rng.random((37, 53)) < density).astype(np.uint8)
        paths.append(write(tmp_path / f"masks/{n}.png", mask * 255))
    table = masks.mask_folder(tmp_path / "masks", paths, 0, tmp_path / "cache")
    table.update()
    for path in paths:
        found = table.get(path)
        assert found.size == (37, 53)
        assert found.boxes.tolist() == mask_to_boxes(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0).tolist()
    assert len(table.get(paths[2]).boxes) > 5
    assert table.get(paths[4]).boxes.tolist() == [[0, 0, 53, 37]]


def test_names_without_padding_are_in_order_of_number(tmp_path: Path) -> None:
    for n in (2, 10, 9):
        write(tmp_path / f"images/a/{n}.bmp", blank())
        write(tmp_path / f"masks/a/{n:04d}.png", spot(n, 5))
    pair = masks.FolderPair("a", tmp_path / "images/a", tmp_path / "masks/a", {})
    (recording,) = masks.load_recordings([pair], Problems(), cache_dir=tmp_path)
    assert [path.name for path in recording.paths] == ["2.bmp", "9.bmp", "10.bmp"]
    assert [boxes[0, 0] for boxes in recording.boxes] == [2, 9, 10]


def defects(root: Path) -> masks.FolderPair:
    pair = make_pair(root, range(8))
    (pair.masks / "00001.png").unlink()
    write(pair.masks / "00002.png", spot(2, 5, size=(40, 61)))
    whole = (pair.masks / "00003.png").read_bytes()
    (pair.masks / "00003.png").write_bytes(whole[:-9])
    (pair.images / "00004.png").unlink()
    (pair.masks / "00005.png").unlink()
    (pair.masks / "00005.png").symlink_to(root / "nowhere.png")
    write(pair.masks / "mask.png", blank())
    write(pair.masks / "6.png", blank())
    return pair


def test_defects_are_left_out_one_by_one(tmp_path: Path) -> None:
    problems, pair = Problems("skip"), defects(tmp_path)
    (recording,) = masks.load_recordings([pair], problems, cache_dir=tmp_path)
    assert [path.stem for path in recording.paths] == ["00000", "00001", "00002", "00003", "00005", "00006", "00007"]
    assert recording.numbers[recording.indices].tolist() == [0, 6, 7]
    text = "\n".join(problems.found)
    for message in (
        r"images/7/00001.png: has no mask in",
        r"masks/7/00002.png: is 61x40, its image 60x40; they must be of one size",
        r"masks/7/00003.png: cannot be used",
        r"masks/7/00004.png: is the mask of frame 4, which is not in",
        r"masks/7/00005.png: cannot be used",
        r"masks/7/mask.png: has no frame number in its name",
        r"is frame 6, and so is",
    ):
        assert message in text
    assert len(problems.found) == 7
    # What is bad is not kept as good: a second run finds it again.
    again = Problems("skip")
    masks.load_recordings([pair], again, cache_dir=tmp_path)
    assert again.found == problems.found


def test_defects_stop(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, range(2))
    write(pair.masks / "00001.png", spot(0, 0, size=(20, 30)))
    with pytest.raises(DataError, match=r"masks/7/00001\.png: is 30x20, its image 60x40"):
        masks.load_recordings([pair], Problems(), cache_dir=tmp_path)


def test_only_wanted_frames_belong_to_the_split(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, range(4))
    (pair.masks / "00003.png").unlink()  # not asked for, so nobody misses it
    pair = masks.FolderPair(pair.name, pair.images, pair.masks, {1: "list:1", 2: "list:2", 9: "list:3"})
    problems = Problems("skip")
    (recording,) = masks.load_recordings([pair], problems, cache_dir=tmp_path)
    assert recording.indices.tolist() == [1, 2]
    assert len(recording.paths) == 4
    assert [message.partition(" is listed")[0] for message in problems.found] == [f"list:3: frame 9 of {pair.images}"]


def test_folders_without_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = make_pair(tmp_path, range(1))
    (tmp_path / "none").mkdir()
    problems = Problems("skip")
    pairs = [
        masks.FolderPair("a", tmp_path / "none", pair.masks, {}),
        masks.FolderPair("b", pair.images, tmp_path / "nowhere", {}),
        pair,
    ]
    assert [recording.name for recording in masks.load_recordings(pairs, problems, cache_dir=tmp_path)] == ["7"]
    assert "holds no image" in problems.found[0]
    assert f"{tmp_path / 'nowhere'}: there is no such folder" in problems.found[1]
    assert "reading masks" in capsys.readouterr().out
    masks.load_recordings([pair], problems, cache_dir=tmp_path)
    assert "reading masks" not in capsys.readouterr().out


def test_shared_entries_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        common.warn_shared(["a", "b"], ["c"], tmp_path)
    assert not caplog.text
    common.warn_shared(["a", "c", "b"], ["c", "b"], tmp_path)
    assert "2 entries are on both sides of the split, such as b" in caplog.text


@pytest.mark.parametrize("name", ["nudt_mirsdt", "tsirmt", "satvideo_irsdt", "single_frame"])
def test_configs_call_their_readers(name: str, tmp_path: Path) -> None:
    with initialize_config_dir(str(CONFIGS), version_base=None):
        config = compose("config", [f"dataset={name}"]).dataset
    assert all(side % 32 == 0 for side in config.size)
    read = instantiate(config.read)
    assert read.func.__module__ == f"tdcnet.data.formats.{name}"
    with pytest.raises(FileNotFoundError, match=r"data/README\.md says how to get it"):
        read(tmp_path / "none", "val", problems=Problems(), cache_dir=tmp_path)
