"""SatVideoIRSDT (TinaLRJ, DeepPro; Science Data Bank): small targets seen from satellites, three published splits.

Layout::

    root/train/000001/img/000001.png                and so on in val and test
    root/train/000001/mask/000001.png               above 0 is target, all zero on an empty frame
    root/train.txt, val.txt, test.txt               may be absent; also train_list.txt and so on

The folders are the split. Lists circulate in different grain, some with a recording cut into parts (``000001_01`` ..
``000001_09``) where others have it whole, some with one line per frame. A list chooses among the folders: a name that
is a folder is taken with the frames listed, one of another grain stands for the folders of the same recording.

The numbers start anew in each split: 000001 of train and of val are different recordings.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from tdcnet.data.errors import Problems
from tdcnet.data.formats import common, masks
from tdcnet.data.frames import natural_sort
from tdcnet.data.sequence import Sequence

log = logging.getLogger(__name__)

CLASSES: tuple[str, ...] = ("target",)
SPLITS = ("train", "val", "test")
_NAME = r"\d+(_\d+)?"


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    threshold: int = 0,
) -> list[Sequence]:
    """Reads one split, a sequence per folder, named ``SPLIT-FOLDER``.

    Args:
        root: the folder that holds ``train``, ``val`` and ``test``.
        split: ``"train"``, ``"val"`` or ``"test"``.
        problems: what to do with bad lines, frames and masks; stops at the first if None.
        cache_dir: for parsed masks; the default cache if None.
        threshold: see :func:`~tdcnet.data.formats.masks.read_mask`.

    Raises:
        ValueError: if ``split`` is unknown.
        FileNotFoundError: if the root or the split's folder is missing.
        DataError: at the first problem (policy ``"error"``), or if the split holds no usable frame.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; allowed are {', '.join(map(repr, SPLITS))}")
    root, problems = Path(root), problems or Problems()
    side = common.find(root, [split], f"folder of the SatVideoIRSDT {split!r} split")
    folders = {path.name: path for path in natural_sort(path for path in side.iterdir() if path.is_dir())}
    chosen: dict[str, dict[int, str]] = {name: {} for name in folders}
    tried = [path for path in (root / f"{split}.txt", root / f"{split}_list.txt") if path.is_file()]
    if tried:
        chosen = _choose(tried[0], chosen, side, problems)
    pairs = [
        masks.FolderPair(f"{split}-{name}", folders[name] / "img", folders[name] / "mask", frames)
        for name, frames in chosen.items()
    ]
    recordings = masks.load_recordings(pairs, problems, threshold=threshold, cache_dir=cache_dir)
    sequences = [recording.sequence(np.zeros(len(recording.paths), np.int64), None) for recording in recordings]
    return common.finish(sequences, split, tried[0] if tried else side, problems, CLASSES)


def _choose(
    list_file: Path, folders: dict[str, dict[int, str]], side: Path, problems: Problems
) -> dict[str, dict[int, str]]:
    """The folders that a list names, in the order of the folders, with the frames listed (none for all)."""
    listed = masks.read_sequence_list(list_file, _NAME, problems)
    recordings = {_recording(name) for name in folders if name != _recording(name)}
    other_grain = set()
    for name in listed:
        if name in folders:
            continue
        if _recording(name) in folders or name in recordings:
            other_grain.add(_recording(name))
        else:
            problems.report(list_file, f"lists {name}, which is no folder in {side}", "Copy it or delete its lines")
    if other_grain:
        log.warning(
            "%s cuts %d recordings otherwise than the folders in %s do, such as %s; the folders are read whole",
            list_file,
            len(other_grain),
            side,
            min(other_grain),
        )
    chosen = {name: listed.get(name, {}) for name in folders if name in listed or _recording(name) in other_grain}
    if left := len(folders) - len(chosen):
        log.info("%s: %d folders in %s are not listed and left out", list_file, left, side)
    return chosen


def _recording(name: str) -> str:
    return name.partition("_")[0]
