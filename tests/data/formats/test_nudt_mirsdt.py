"""NUDT-MIRSDT on a tiny copy of its layout: splits by name, frames from images/ only, masks of another folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import nudt_mirsdt


def make(root: Path, sequences: list[int], frames: int = 2, grey: int = 9, masks: bool = True) -> None:
    """Sequence n is n+10 px wide; its target is at (n % 5, 3) in frame 1, and frame 2 is empty."""
    for n in sequences:
        size = (20, n + 10)
        for frame in range(1, frames + 1):
            mask = np.zeros(size, np.uint8)
            if frame == 1:
                mask[3:5, n % 5 : n % 5 + 2] = 255
            kinds = {"images": np.full(size, grey, np.uint8)} | ({"masks": mask} if masks else {})
            for kind, image in kinds.items():
                folder = root / f"Sequence{n}/{kind}"
                folder.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(folder / f"{frame:05d}.png"), image)


def lines(*sequences: int, frames: int = 2) -> str:
    return "".join(f"Sequence{n}/Mix/{frame:05d}.mat\n" for n in sequences for frame in range(1, frames + 1))


@pytest.fixture
def read(tmp_path: Path):
    return partial(nudt_mirsdt.read, cache_dir=tmp_path / "cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "NUDT-MIRSDT"
    make(root, [1, 2, 85, 92, 47])
    (root / "train.txt").write_text(lines(1, 2))
    (root / "test.txt").write_text(lines(85, 92, 47))
    return root


def names(sequences: list) -> list[str]:
    return [sequence.name for sequence in sequences]


def test_lists_name_mat_files_and_images_are_read(root: Path, read) -> None:
    (root / "Sequence1/Mix").mkdir()
    (root / "Sequence1/Mix/00001.mat").write_bytes(b"never opened")
    one, two = read(root, "train")
    assert (one.name, two.name) == ("Sequence1", "Sequence2")
    assert one.indices.tolist() == [0, 1]
    assert one.boxes[0].tolist() == [[1, 3, 3, 5]]
    assert one.boxes[1].shape == (0, 4)
    assert one.segment_start.tolist() == [0, 0]
    assert one.frames.where(1) == str(root / "Sequence1/images/00002.png")
    assert (one.frames.read(0).shape, two.frames.read(0).shape) == ((20, 11), (20, 12))
    assert names(read(root, "val")) == ["Sequence85", "Sequence92", "Sequence47"]


@pytest.mark.parametrize("order", [(85, 92, 47), (47, 85, 92), (92, 47, 85)])
def test_low_snr_goes_by_name(root: Path, read, order: tuple[int, ...]) -> None:
    (root / "test.txt").write_text(lines(*order))
    assert sorted(names(read(root, "val", subset="low_snr"))) == ["Sequence47", "Sequence92"]
    assert names(read(root, "train", subset="low_snr")) == ["Sequence1", "Sequence2"]


def test_split_of_dtum_is_known() -> None:
    train, test = nudt_mirsdt.DTUM["train"], nudt_mirsdt.DTUM["val"]
    assert (len(train), len(test), len(set(train) & set(test))) == (80, 20, 0)
    # By DATASETS: low-SNR sequences stand at these places of the list.
    assert {test[at] for at in (7, *range(13, 20))} == nudt_mirsdt.LOW_SNR
    left = {int(name.removeprefix("Sequence")) for name in train + test} ^ set(range(1, 121))
    assert left == {98, 99, 100, 102, 103, 104, *range(106, 119), 120}


def test_without_lists(root: Path, read) -> None:
    (root / "train.txt").unlink()
    (root / "test.txt").unlink()
    problems = Problems("skip")
    assert names(read(root, "val", problems=problems)) == ["Sequence85", "Sequence92", "Sequence47"]
    assert len(problems.found) == 17  # of the 20
    with pytest.raises(DataError, match=r"Sequence3/images: there is no such folder"):
        read(root, "train")


def test_list_of_lmaformer(root: Path, read, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(FileNotFoundError, match=r"lmaformer's list .* looked for .*train_new\.txt"):
        read(root, "train", published="lmaformer")
    (root / "train_new.txt").write_text("Sequence92\nSequence47\n")
    (root / "val_new.txt").write_text("Sequence1\nSequence85\nSequence92")
    assert names(read(root, "train", published="lmaformer")) == ["Sequence92", "Sequence47"]
    assert "1 entries are on both sides of the split, such as Sequence92" in caplog.text
    assert names(read(root, "val", published="lmaformer")) == ["Sequence1", "Sequence85", "Sequence92"]


def test_noise_set_takes_masks_from_the_clean_one(root: Path, read, tmp_path: Path) -> None:
    noisy = tmp_path / "NUDT-MIRSDT-Noise8.0_FJY(g0.15-o1.3)"
    make(noisy, [1, 2], grey=77, masks=False)
    with pytest.raises(FileNotFoundError, match=r"masks not found; looked for .*Sequence1/masks.* as masks_root"):
        read(noisy, "train", problems=Problems("skip"))
    (noisy / "train.txt").write_text(lines(1, 2))
    one, two = read(noisy, "train", masks_root=root)
    assert int(one.frames.read(0)[0, 0]) == 77
    assert two.boxes[0].tolist() == [[2, 3, 4, 5]]


def test_clean_frames_never_stand_in(root: Path, read, tmp_path: Path) -> None:
    noisy = tmp_path / "noisy"
    (noisy / "Sequence1/Mix").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"frames not found; .*Mix/\*\.mat is not read"):
        read(noisy, "train", masks_root=root)
    make(noisy, [1], frames=1, grey=77, masks=False)
    (noisy / "train.txt").write_text(lines(1, 2))
    problems = Problems("skip")
    (one,) = read(noisy, "train", masks_root=root, problems=problems)
    assert (len(one.frames), one.indices.tolist()) == (1, [0])
    assert len(problems.found) == 2  # frame 2 of sequence 1, all of sequence 2
    assert f"train.txt:2: frame 2 of {noisy / 'Sequence1/images'} is listed, its file is missing" in problems.found[1]


def test_bad_options(root: Path, read) -> None:
    with pytest.raises(ValueError, match=r"split is 'test'; allowed are"):
        read(root, "test")
    with pytest.raises(ValueError, match=r"subset is 'hard'; allowed are None and 'low_snr'"):
        read(root, "val", subset="hard")
    with pytest.raises(ValueError, match=r"published is 'DTUM'; allowed are 'dtum', 'lmaformer'"):
        read(root, "val", published="DTUM")
