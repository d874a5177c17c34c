"""Single-frame sets with masks: SIRST v1, NUDT-SIRST, IRSTD-1K, NUDT-SIRST-Sea, SIRST3 and others of their layout.

Layout::

    root/images/ID.png                              or bmp
    root/masks/ID.png                               or bmp, or ID_pixels0.png as SIRST v1 has them
    root/img_idx/train_SET.txt, test_SET.txt        an ID per line (BasicIRSTD); SET is the name of the folder
    root/50_50/train.txt, test.txt                  the same in DNANet

Every image is a sequence of one frame: a clip repeats it, and the network sees no motion.

Known faults: some pairs of SIRST v1 differ in size; 85 masks of IRSTD-1K are not pure 0 and 255, so values are cut in
the middle; the masks of 45-01-11, 48-07-11, 48-11-03 and 48-11-05 of NUDT-SIRST-Sea are reported wrong.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common, masks
from tdcnet.data.frames import IMAGE_SUFFIXES, ImageFiles, list_images
from tdcnet.data.sequence import Sequence
from tdcnet.shown import shown

CLASSES: tuple[str, ...] = ("target",)
_SUFFIX_OF_SIRST = "_pixels0"


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    threshold: int = 127,
) -> list[Sequence]:
    """Reads one side of the split, a sequence per image, in the order of the list.

    Args:
        root: the folder that holds ``images``, ``masks`` and the lists.
        split: ``"train"``, or ``"val"`` for the test list.
        problems: what to do with bad lines, images and masks; stops at the first if None.
        cache_dir: for parsed masks and image sizes; the default cache if None.
        threshold: see :func:`~tdcnet.data.formats.masks.read_mask`; 0 for masks of 0 and 1.

    Raises:
        FileNotFoundError: if the root, ``images``, ``masks`` or the list is missing.
        DataError: at the first problem (policy ``"error"``), if it is not clear which list is meant, or if the split
            holds no usable image.
    """
    common.check_split(split)
    root, problems = Path(root), problems or Problems()
    images = _by_id(common.find(root, ["images"], "folder of images"))
    found = _by_id(common.find(root, ["masks"], "folder of masks"))
    side, opposite = ("train", "test") if split == "train" else ("test", "train")
    list_file = _list_file(root, side)
    ids = _ids(list_file, problems)
    other = list_file.with_name(opposite + list_file.name.removeprefix(side))
    if other.is_file():
        common.warn_shared(ids, _ids(other, Problems("skip")), list_file)
    pairs: dict[str, tuple[Path, Path]] = {}
    for name, where in ids.items():
        image, mask = images.get(name), found.get(name) or found.get(name + _SUFFIX_OF_SIRST)
        if image is None or mask is None:
            folder, what = (root / "images", "image") if image is None else (root / "masks", "mask")
            problems.report(where, f"{name} is listed, but {folder} has no {what} of it", "Copy it or delete the line")
        else:
            pairs[name] = image, mask
    sizes = masks.image_folder(root / "images", (image for image, _ in pairs.values()), cache_dir)
    table = masks.mask_folder(root / "masks", (mask for _, mask in pairs.values()), threshold, cache_dir)
    masks.update([sizes, table], "reading images and masks")
    sequences = []
    for name, (image, mask) in pairs.items():
        try:
            size = sizes.get(image).size
        except DataError as error:
            problems.report(image, f"cannot be used ({error})", f"Copy it again; {common.HOW_TO_GET}")
            continue
        boxes = masks.checked(table, mask, size, problems)
        if boxes is not None:
            sequences.append(
                Sequence(
                    name=name,
                    frames=ImageFiles([image]),
                    boxes=[boxes],
                    labels=[np.zeros(len(boxes), np.int64)],
                    indices=np.zeros(1, np.int64),
                    segment_start=np.zeros(1, np.int64),
                )
            )
    return common.finish(sequences, split, list_file, problems, CLASSES)


def _by_id(folder: Path) -> dict[str, Path]:
    """Images by stem; of one stem in several formats the png, then the bmp."""
    # Later entries of a dict replace earlier ones.
    order = {suffix: at for at, suffix in enumerate(IMAGE_SUFFIXES)}
    worst_first = sorted(list_images(folder), key=lambda path: -order.get(path.suffix.lower(), len(order)))
    return {path.stem: path for path in worst_first}


def _list_file(root: Path, side: str) -> Path:
    name = root.absolute().name
    names = [f"img_idx/{side}_{name}.txt", f"{side}_{name}.txt", f"50_50/{side}.txt", f"img_idx/{side}.txt"]
    if not any((root / each).is_file() for each in names):
        # The folder may go by another name than the set.
        others = sorted([*root.glob(f"img_idx/{side}_*.txt"), *root.glob(f"{side}_*.txt")])
        if len(others) > 1:
            raise DataError(
                f"{root}: expected {names[0]}, found {', '.join(str(path.relative_to(root)) for path in others)}. "
                "Leave one of them there, or give the folder the name of the set"
            )
        if others:
            return others[0]
    return common.find(root, names, f"list of the {side} images")


def _ids(path: Path, problems: Problems) -> dict[str, str]:
    """Ids in order, and where each is listed."""
    ids: dict[str, str] = {}
    for where, line in masks.list_lines(path):
        name = line.rpartition("/")[2]
        if name.lower().endswith(IMAGE_SUFFIXES):
            name = Path(name).stem
        if not name or not common.can_be_a_path(name):
            problems.report(where, f"{shown(line)} is no name of an image", "Correct or delete the line")
        elif name in ids:
            problems.report(where, f"{name} is listed a second time", "Keep one of the lines")
        else:
            ids[name] = where
    return ids
