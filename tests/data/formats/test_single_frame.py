"""Single-frame sets on tiny copies of both list layouts, with the faults reported of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import single_frame


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def make(root: Path, name: str, x: int = 4, suffix: str = ".png", mask: str = "", size: tuple = (20, 30)) -> None:
    target = np.zeros(size, np.uint8)
    target[5:8, x : x + 2] = 255
    target[5:8, x + 2] = 100  # soft
    write(root / f"images/{name}{suffix}", np.full(size, x, np.uint8))
    write(root / f"masks/{mask or name}{suffix}", target)


@pytest.fixture
def read(tmp_path: Path):
    return partial(single_frame.read, cache_dir=tmp_path / "cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "NUAA-SIRST"
    make(root, "Misc_10", 1, mask="Misc_10_pixels0", size=(20, 31))
    make(root, "Misc_2", 2, mask="Misc_2_pixels0", size=(22, 30))
    make(root, "Misc_3", 3, suffix=".bmp")
    (root / "img_idx").mkdir()
    (root / "img_idx/train_NUAA-SIRST.txt").write_text("Misc_10\nMisc_2\n")
    (root / "img_idx/test_NUAA-SIRST.txt").write_text("Misc_3")
    return root


def names(sequences: list) -> list[str]:
    return [sequence.name for sequence in sequences]


def test_every_image_is_a_sequence(root: Path, read) -> None:
    first, second = read(root, "train")
    assert (first.name, second.name) == ("Misc_10", "Misc_2")
    assert (first.frames.read(0).shape, second.frames.read(0).shape) == ((20, 31), (22, 30))
    assert (len(first), first.indices.tolist()) == (1, [0])
    assert first.clip_indices(0, 5) == [0] * 5
    assert first.boxes[0].tolist() == [[1, 5, 3, 8]]
    assert first.labels[0].tolist() == [0]
    assert single_frame.CLASSES == ("target",)
    (third,) = read(root, "val")  # bmp
    assert third.frames.where(0).endswith("Misc_3.bmp")
    assert third.boxes[0].tolist() == [[3, 5, 5, 8]]
    (third,) = read(root, "val", threshold=0)
    assert third.boxes[0].tolist() == [[3, 5, 6, 8]]


def test_png_before_bmp(root: Path, read) -> None:
    make(root, "Misc_3", 9)
    (third,) = read(root, "val")
    assert third.frames.where(0).endswith("Misc_3.png")
    assert third.boxes[0].tolist() == [[9, 5, 11, 8]]


def test_lists_of_dnanet(root: Path, read) -> None:
    for path in (root / "img_idx").iterdir():
        path.unlink()
    (root / "50_50").mkdir()
    (root / "50_50/train.txt").write_text("Misc_3.bmp\r\n")
    (root / "50_50/test.txt").write_text("\nMisc_2\n")
    assert names(read(root, "train")) == ["Misc_3"]
    assert names(read(root, "val")) == ["Misc_2"]


def test_folder_of_another_name(root: Path, read) -> None:
    root = root.rename(root.with_name("sirst"))
    assert names(read(root, "val")) == ["Misc_3"]
    (root / "img_idx/test_SIRST3.txt").write_text("Misc_2")
    with pytest.raises(DataError, match=r"expected img_idx/test_sirst\.txt, found .*test_NUAA-SIRST.*test_SIRST3"):
        read(root, "val")
    (root / "50_50").mkdir()
    (root / "50_50/test.txt").write_text("Misc_10")
    assert names(read(root, "val")) == ["Misc_10"]


def test_faults_are_left_out_one_by_one(root: Path, read, caplog: pytest.LogCaptureFixture) -> None:
    make(root, "Misc_4")
    write(root / "masks/Misc_4.png", np.zeros((20, 60), np.uint8))
    make(root, "Misc_5")
    (root / "images/Misc_5.png").write_bytes(b"")
    make(root, "Misc_6")
    (root / "masks/Misc_6.png").unlink()
    make(root, "Misc_7")
    write(root / "masks/Misc_7.png", np.zeros((20, 30), np.uint8))
    listed = ["Misc_10", *(f"Misc_{n}" for n in (4, 5, 6, 7, 8)), "Misc_7"]
    (root / "img_idx/train_NUAA-SIRST.txt").write_text("\n".join(listed))
    (root / "img_idx/test_NUAA-SIRST.txt").write_text("Misc_7")
    problems = Problems("skip")
    for _ in range(2):  # the second time from what was kept
        problems.found.clear()
        first, empty = read(root, "train", problems=problems)
        assert (first.name, empty.name) == ("Misc_10", "Misc_7")
        assert empty.boxes[0].shape == (0, 4)
        text = "\n".join(problems.found)
        for message in (
            "train_NUAA-SIRST.txt:7: Misc_7 is listed a second time",
            f"train_NUAA-SIRST.txt:4: Misc_6 is listed, but {root / 'masks'} has no mask of it",
            f"train_NUAA-SIRST.txt:6: Misc_8 is listed, but {root / 'images'} has no image of it",
            "Misc_4.png: is 60x20, its image 30x20",
            "Misc_5.png: cannot be used",
        ):
            assert message in text
        assert len(problems.found) == 5
    assert "both sides of the split, such as Misc_7" in caplog.text
    with pytest.raises(DataError, match=r"Misc_7 is listed a second time"):
        read(root, "train")


def test_what_is_missing_is_named(root: Path, read) -> None:
    for path in (root / "img_idx").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"img_idx/train_NUAA-SIRST\.txt, .*50_50/train\.txt"):
        read(root, "train")
    with pytest.raises(FileNotFoundError, match=r"folder of images not found; looked for .*nowhere/images"):
        read(root / "nowhere", "train")
