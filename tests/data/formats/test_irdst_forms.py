"""The other three forms of IRDST on tiny copies, and how the reader tells all four apart."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import irdst
from tdcnet.data.sequence import Sequence


def image(path: Path, value: int = 7, size: tuple[int, int] = (30, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))


def mask(path: Path, *corners: tuple[int, int], size: tuple[int, int] = (30, 40)) -> None:
    """Blobs of 3 x 2 px; one of them is soft."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(size, np.uint8)
    for i, (x, y) in enumerate(corners):
        pixels[y : y + 2, x : x + 3] = 255 - 200 * i
    assert cv2.imwrite(str(path), pixels)


def boxes(sequence: Sequence) -> list[list[list[float]]]:
    return [found.tolist() for found in sequence.boxes]


# -- released ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def released(tmp_path: Path) -> Path:
    base = tmp_path / "IRDST_real"
    lines = ["[3, 4, 5, 6]\n", "1 2 3 4\r\n10 11 6 5\n", "\n", None, "[0, 0, 61, 2]"]
    for i, line in enumerate(lines):
        image(base / f"images/train/{i:08d}.png", i, (50, 60) if i in (1, 4) else (30, 40))
        if line is not None:
            (base / "boxes/train").mkdir(parents=True, exist_ok=True)
            (base / f"boxes/train/{i:08d}.txt").write_text(line)
    image(base / "images/test/00000000.bmp", 9)
    (base / "boxes/test").mkdir()
    (base / "boxes/test/00000000.txt").write_text("[3,4,5,6]")
    return tmp_path


@pytest.mark.parametrize("inner", [False, True])
def test_released_form_is_single_frames(released: Path, inner: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        small, large = irdst.read(released / "IRDST_real" if inner else released, "train")
    assert "IRDST in the form 'released'" in caplog.text
    assert (small.name, large.name) == ("IRDST_real_train_40x30", "IRDST_real_train_60x50")
    assert [int(small.frames.read(i)[0, 0]) for i in range(3)] == [0, 2, 3]
    # Both spellings, several lines, a blank file, no file, a box that ends one pixel outside.
    assert boxes(small) == [[[3, 4, 8, 10]], [], []]
    assert boxes(large) == [[[1, 2, 4, 6], [10, 11, 16, 16]], [[0, 0, 60, 2]]]
    assert small.indices.tolist() == [0, 1, 2]
    assert small.clip_indices(2, 5) == [2] * 5
    (val,) = irdst.read(released, "val")
    assert val.name == "IRDST_real_val_40x30"
    assert boxes(val) == [[[3, 4, 8, 10]]]


def test_released_form_with_a_folder_called_train_txt(released: Path) -> None:
    for kind in ("images", "boxes"):
        (released / f"IRDST_real/{kind}/train").rename(released / f"IRDST_real/{kind}/train.txt")
    assert [len(sequence) for sequence in irdst.read(released, "train")] == [3, 2]


def test_released_simulation_beside_real(released: Path) -> None:
    image(released / "IRDST_simulation/images/train/00000000.png")
    (released / "IRDST_simulation/boxes/train").mkdir(parents=True)
    (released / "IRDST_simulation/boxes/train/00000000.txt").write_text("1 1 2 2")
    (sequence,) = irdst.read(released, "train", part="simulation")
    assert boxes(sequence) == [[[1, 1, 3, 3]]]


@pytest.mark.parametrize("line", ["1 2 3", "[1, 2, 3, 4", "a b c d", "1 2 3 4 5", "1,2,,3"])
def test_released_bad_line(released: Path, line: str) -> None:
    path = released / "IRDST_real/boxes/train/00000003.txt"
    path.write_text(f"\n{line}\n5 5 2 2\n")
    with pytest.raises(DataError, match=r"00000003\.txt:2: expected \[x, y, w, h\] or x y w h"):
        irdst.read(released, "train")
    problems = Problems("skip")
    small, _ = irdst.read(released, "train", problems=problems)
    assert boxes(small)[2] == [[5, 5, 7, 7]]
    assert len(problems.found) == 1


def test_released_files_that_do_not_match(released: Path) -> None:
    base = released / "IRDST_real"
    (base / "boxes/train/00000009.txt").write_text("1 1 2 2")
    (base / "images/train/00000008.png").write_bytes(b"no image")
    problems = Problems("skip")
    assert [len(sequence) for sequence in irdst.read(released, "train", problems=problems)] == [3, 2]
    assert "00000008.png" in problems.found[0]
    assert "00000009.txt: has no frame in" in problems.found[1]
    assert len(problems.found) == 2
    (base / "boxes/test/00000000.txt").unlink()
    with pytest.raises(DataError, match="holds no box file for any of the 1 frames"):
        irdst.read(released, "val")


# -- lists with masks --------------------------------------------------------------------------------------------------


@pytest.fixture
def rdian(tmp_path: Path) -> Path:
    """Scene 41: frames 1, 2, 9, 10 and 11; the target jumps between 10 and 11, and 10 is on the other side."""
    for number, x in ((1, 2), (2, 3), (9, 5), (10, 6), (11, 30)):
        image(tmp_path / f"images/41/1({number}).bmp", number)
        mask(tmp_path / f"masks/41/1({number}).bmp", (x, 4), *([(20, 20)] if number == 1 else []))
    (tmp_path / "train.txt").write_text("/41/1(11)\n/41/1(1)\n/41/1(2)\r\n\n/41/1(9)")
    (tmp_path / "test.txt").write_text("/41/1(10)\n")
    return tmp_path


def test_rdian_lists(rdian: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        (sequence,) = irdst.read(rdian, "train")
    assert "IRDST in the form 'rdian'" in caplog.text
    assert f"1 of the 1 scenes of {rdian / 'train.txt'} are in test.txt too" in caplog.text
    assert [record.levelname for record in caplog.records if "scenes of" in record.message] == ["WARNING"]
    assert sequence.name == "41"
    assert [int(sequence.frames.read(i)[0, 0]) for i in range(5)] == [1, 2, 9, 10, 11]
    assert sequence.indices.tolist() == [0, 1, 2, 4]
    assert boxes(sequence)[0] == [[2, 4, 5, 6], [20, 20, 23, 22]]
    # A gap before 9, a jump of 24 px before 11, told by the mask of a frame that is not in the split.
    assert sequence.segment_start.tolist() == [0, 0, 2, 2, 4]
    (sequence,) = irdst.read(rdian, "val")
    assert sequence.indices.tolist() == [3]
    assert boxes(sequence)[3] == [[6, 4, 9, 6]]


def test_bad_masks_and_lines(rdian: Path) -> None:
    (rdian / "masks/41/1(2).bmp").unlink()
    (rdian / "masks/41/1(10).bmp").unlink()  # of the other side: not asked for
    mask(rdian / "masks/41/1(9).bmp", size=(30, 41))
    with (rdian / "train.txt").open("a") as file:
        file.write("\n/41/1(12)\n/41/1(1)\nnonsense\n/42/1(1)\n/../1(1)\n")
    problems = Problems("skip")
    (sequence,) = irdst.read(rdian, "train", problems=problems)
    assert sequence.indices.tolist() == [0, 4]
    text = "\n".join(problems.found)
    for what in (
        r"train.txt:7: frame /41/1(1) is listed a second time",
        "train.txt:8: expected SCENE/FRAME without suffix",
        "train.txt:10: expected SCENE/FRAME without suffix",
        f"train.txt:6: {rdian / 'images/41/1(12)'} is listed, its file is missing",
        f"train.txt:3: mask of {rdian / 'images/41/1(2).bmp'}: there is none",
        "is 41x30, the frame 40x30",
        f"{rdian / 'images/42'}: holds no usable image, but 1 of its frames are listed",
    ):
        assert what in text
    assert len(problems.found) == 7
    with pytest.raises(DataError, match=r"train\.txt:7"):
        irdst.read(rdian, "train")


@pytest.fixture
def dtum(tmp_path: Path) -> Path:
    for scene in (1, 252):
        for number in (1, 2, 10):
            image(tmp_path / f"images/{scene}/{number}.bmp", number)
            mask(tmp_path / f"masks/{scene}/{number}.bmp", *([] if number == 2 else [(number, 4)]))
    (tmp_path / "img_idx").mkdir()
    (tmp_path / "img_idx/train_IRDST-simulation.txt").write_text("1/1\n1/2\n1/10\n")
    (tmp_path / "img_idx/test_IRDST-simulation.txt").write_text("252/1\n252/2\n252/10\n")
    return tmp_path


def test_dtum_lists(dtum: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        (sequence,) = irdst.read(dtum, "train")
    assert "IRDST in the form 'dtum'" in caplog.text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert sequence.name == "1"
    assert sequence.indices.tolist() == [0, 1, 2]
    assert boxes(sequence) == [[[1, 4, 4, 6]], [], [[10, 4, 13, 6]]]
    assert irdst.read(dtum, "val")[0].name == "252"
    (dtum / "masks").rename(dtum / "mask")
    with pytest.raises(FileNotFoundError, match="folder of IRDST masks not found"):
        irdst.read(dtum, "train")


# -- which of them -----------------------------------------------------------------------------------------------------


def test_lists_with_boxes_go_before_lists_of_frames(rdian: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = "".join(f"/data/images/41/{n}.bmp {n},4,{n + 4},8,0\n" for n in (0, 1))
    (rdian / "coco_val_IRDST.txt").write_text(lines)
    for number in (0, 1):
        image(rdian / f"images/41/{number}.bmp")
        (rdian / f"images/41/1({number}).bmp").unlink(missing_ok=True)
    for path in (rdian / "images/41").glob("1(*"):
        path.unlink()
    with caplog.at_level(logging.INFO):
        (sequence,) = irdst.read(rdian, "val")
    assert "IRDST in the form 'uestc'" in caplog.text
    assert boxes(sequence) == [[[0, 4, 4, 8]], [[1, 4, 5, 8]]]


def test_form_can_be_told(rdian: Path) -> None:
    assert irdst.read(rdian, "train", form="rdian")[0].name == "41"
    with pytest.raises(FileNotFoundError, match="boxes of IRDST"):
        irdst.read(rdian, "train", form="released")
    with pytest.raises(ValueError, match="form is 'dtu'; allowed are auto, uestc, released, rdian, dtum"):
        irdst.read(rdian, "train", form="dtu")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="part is 'fake'; allowed are real, simulation"):
        irdst.read(rdian, "train", part="fake")  # type: ignore[arg-type]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        irdst.read(tmp_path, "val")
    for place in ("IRDST_real/boxes", "img_idx/test_IRDST-simulation.txt", "test.txt", "val.txt", "coco_val_IRDST.txt"):
        assert str(tmp_path / place) in str(raised.value)
