"""NUDT-MIRSDT (Li et al., DTUM, TNNLS 2023): 120 sequences of 100 frames with synthetic targets.

Layout::

    root/SequenceN/images/00001.png
    root/SequenceN/masks/00001.png                  all zero on an empty frame
    root/train.txt, root/test.txt                   SequenceN/Mix/00001.mat, of DTUM; built in where absent
    root/train_new.txt, root/val_new.txt            SequenceN, of LMAFormer

``Mix`` and ``masks_centroid`` may lie beside them and are never read. Frame sizes differ from sequence to sequence.

The Noise (HiNo) set has frames only; its masks are those of the clean set, given as ``masks_root``.

The two published splits contradict each other: 16 of DTUM's 20 test sequences are in LMAFormer's training list. DTUM's
leaves 20 of the 120 sequences out.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from tdcnet.data.errors import Problems
from tdcnet.data.formats import common, masks
from tdcnet.data.sequence import Sequence

log = logging.getLogger(__name__)

CLASSES: tuple[str, ...] = ("target",)
Subset = Literal["low_snr"]
Published = Literal["dtum", "lmaformer"]

LOW_SNR = frozenset(f"Sequence{n}" for n in (47, 56, 59, 76, 92, 101, 105, 119))
"""Sequences with a signal-to-noise ratio of 3 and less (DTUM's README)."""

_TEST = (*range(85, 98), 47, 56, 59, 76, 101, 105, 119)
DTUM: dict[str, tuple[str, ...]] = {
    "train": tuple(f"Sequence{n}" for n in range(1, 85) if n not in _TEST),
    "val": tuple(f"Sequence{n}" for n in _TEST),
}
"""The split in DTUM's lists, in their order."""

_LISTS: dict[str, dict[str, str]] = {
    "dtum": {"train": "train.txt", "val": "test.txt"},
    "lmaformer": {"train": "train_new.txt", "val": "val_new.txt"},
}


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    subset: Subset | None = None,
    published: Published = "dtum",
    masks_root: Path | str | None = None,
    threshold: int = 0,
) -> list[Sequence]:
    """Reads one side of a published split, a sequence per folder. Frames come from ``root`` alone.

    Args:
        root: the folder that holds ``Sequence1`` and so on.
        split: ``"train"``, or ``"val"`` for the test list.
        problems: what to do with bad lines, frames and masks; stops at the first if None.
        cache_dir: for parsed masks; the default cache if None.
        subset: ``"low_snr"`` evaluates on :data:`LOW_SNR` only; the training side stays whole.
        published: whose split; that of LMAFormer needs its lists.
        masks_root: where ``SequenceN/masks`` lie if not in ``root`` (Noise set: the clean set).
        threshold: see :func:`~tdcnet.data.formats.masks.read_mask`.

    Raises:
        ValueError: if ``split``, ``subset`` or ``published`` is unknown.
        FileNotFoundError: if the root, the list, all frames or all masks are missing.
        DataError: at the first problem (policy ``"error"``), or if the split holds no usable frame.
    """
    common.check_split(split)
    if subset not in (None, *get_args(Subset)):
        raise ValueError(f"subset is {subset!r}; allowed are None and 'low_snr'")
    if published not in get_args(Published):
        raise ValueError(f"published is {published!r}; allowed are {', '.join(map(repr, get_args(Published)))}")
    root, problems = Path(root), problems or Problems()
    masks_root = root if masks_root is None else Path(masks_root)
    listed, where = _split(root, split, published, problems)
    if subset == "low_snr" and split == "val":
        listed = {name: frames for name, frames in listed.items() if name in LOW_SNR}
    pairs = [
        masks.FolderPair(name, root / name / "images", masks_root / name / "masks", frames)
        for name, frames in listed.items()
    ]
    _check_folders(pairs, root, masks_root)
    recordings = masks.load_recordings(pairs, problems, threshold=threshold, cache_dir=cache_dir)
    sequences = [recording.sequence(np.zeros(len(recording.paths), np.int64), None) for recording in recordings]
    return common.finish(sequences, split, where, problems, CLASSES)


def _split(root: Path, split: str, published: str, problems: Problems) -> tuple[dict[str, dict[int, str]], Path]:
    common.find(root, ["."], "folder of NUDT-MIRSDT")
    names = _LISTS[published]
    if published == "dtum" and not (root / names[split]).is_file():
        log.info("%s has no %s; DTUM's split as published is used", root, names[split])
        return {name: {} for name in DTUM[split]}, root
    path = common.find(root, [names[split], f"ImageSets/{names[split]}"], f"{published}'s list of the {split!r} split")
    listed = masks.read_sequence_list(path, r"Sequence\d+", problems)
    other = path.with_name(names["val" if split == "train" else "train"])
    if other.is_file():
        common.warn_shared(listed, masks.read_sequence_list(other, r"Sequence\d+", Problems("skip")), path)
    return listed, path


def _check_folders(pairs: list[masks.FolderPair], root: Path, masks_root: Path) -> None:
    """One sentence instead of a hundred where the whole layout is another one."""
    if pairs and not any(pair.images.is_dir() for pair in pairs):
        raise FileNotFoundError(
            f"NUDT-MIRSDT frames not found; looked for {pairs[0].images.absolute()} and {len(pairs) - 1} more below "
            f"{root.absolute()}. Mix/*.mat is not read, nor the images/SEQUENCE tree of LMAFormer's "
            f"rearrange_dataset.py, which renames sequences. {common.HOW_TO_GET}"
        )
    if pairs and not any(pair.masks.is_dir() for pair in pairs):
        raise FileNotFoundError(
            f"NUDT-MIRSDT masks not found; looked for {pairs[0].masks.absolute()} and {len(pairs) - 1} more below "
            f"{masks_root.absolute()}. For the Noise set give the clean set as masks_root. {common.HOW_TO_GET}"
        )
