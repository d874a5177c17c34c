"""TSIRMT, also HIT-TSIRMT (LMAFormer, TGRS 2024): 200 sequences, 140 to train and 60 to validate.

Layout::

    root/images/00001/FRAME.png
    root/masks/00001/FRAME.png                              above 0 is target
    root/ImageSets/train_new.txt, val_new.txt               00001, a sequence per line
    root/ImageSets/val_snr_smaller_than_10.txt              the dim ones among val_new.txt

or, as another reader expects, without lists: ``root/train/images/00001``, ``root/train/masks/00001`` and the same in
``test``. How frames are named is not documented: they are ordered by the last number in their names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from tdcnet.data.errors import Problems
from tdcnet.data.formats import common, masks
from tdcnet.data.frames import natural_sort
from tdcnet.data.sequence import Sequence

CLASSES: tuple[str, ...] = ("target",)
LOW_SNR = "val_snr_smaller_than_10.txt"
Subset = Literal["low_snr"]


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    threshold: int = 0,
    subset: Subset | None = None,
) -> list[Sequence]:
    """Reads one side of the split, a sequence per folder.

    Args:
        root: the folder that holds ``images``, ``masks`` and ``ImageSets``, or ``train`` and ``test``.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad lines, frames and masks; stops at the first if None.
        cache_dir: for parsed masks; the default cache if None.
        threshold: see :func:`~tdcnet.data.formats.masks.read_mask`.
        subset: ``"low_snr"`` evaluates on the sequences of the published list of those with an SNR under 10 only; the
            training side stays whole.

    Raises:
        FileNotFoundError: if the root, its folders or the list is missing.
        DataError: at the first problem (policy ``"error"``), or if the split holds no usable frame.
        ValueError: if the subset is unknown.
    """
    common.check_split(split)
    if subset not in (None, "low_snr"):
        raise ValueError(f"subset is {subset!r}; allowed are None and 'low_snr'")
    root, problems = Path(root), problems or Problems()
    side = "train" if split == "train" else "test"
    images = common.find(root, ["images", f"{side}/images"], f"folder of TSIRMT frames ({split!r} split)")
    mask_root = common.find(images.parent, ["masks"], "folder of TSIRMT masks")
    if images.parent == root:
        listed, where = _listed(root, split, problems)
    else:
        folders = natural_sort(path for path in images.iterdir() if path.is_dir())
        listed, where = {folder.name: {} for folder in folders}, images
    if subset == "low_snr" and split == "val":
        path = common.find(root, [f"ImageSets/{LOW_SNR}", LOW_SNR], "list of the TSIRMT sequences with a low SNR")
        dim = masks.read_sequence_list(path, r"\d+", problems)
        listed, where = {name: frames for name, frames in listed.items() if name in dim}, path
    pairs = [masks.FolderPair(name, images / name, mask_root / name, frames) for name, frames in listed.items()]
    recordings = masks.load_recordings(pairs, problems, threshold=threshold, cache_dir=cache_dir)
    sequences = [recording.sequence(np.zeros(len(recording.paths), np.int64), None) for recording in recordings]
    return common.finish(sequences, split, where, problems, CLASSES)


def _listed(root: Path, split: str, problems: Problems) -> tuple[dict[str, dict[int, str]], Path]:
    name, other = (f"{split}_new.txt", "val_new.txt" if split == "train" else "train_new.txt")
    path = common.find(root, [f"ImageSets/{name}", name], f"list of the TSIRMT {split!r} split")
    listed = masks.read_sequence_list(path, r"\d+", problems)
    if path.with_name(other).is_file():
        common.warn_shared(listed, masks.read_sequence_list(path.with_name(other), r"\d+", Problems("skip")), path)
    return listed, path
