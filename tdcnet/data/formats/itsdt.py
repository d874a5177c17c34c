"""ITSDT-15K (UESTC, from ITSDT: Fu et al., Science Data Bank 2022): vehicles seen from the air, many per frame.

Layout::

    root/images/1/0.bmp               (unpadded, 250 frames per folder)
    root/train.txt, root/val.txt      .../images/1/0.bmp x1,y1,x2,y2,0 x1,y1,x2,y2,0 ...

The lists also go by ``coco_train_ITSDT.txt`` and ``coco_val_ITSDT.txt``; without them the JSON beside them is read
(``instances_train2017.json``, ``instances_test2017.json``, with or without ``ITSDT_`` before it).

69 training frames hold no target, the very first line of the list among them; they are kept. Early links led to the
original ITSDT, whose images do not fit these lists.
"""

from __future__ import annotations

from pathlib import Path

from tdcnet.data.errors import Problems
from tdcnet.data.formats import uestc
from tdcnet.data.sequence import Sequence

CLASSES: tuple[str, ...] = ("target",)


def read(
    root: Path | str, split: str, *, problems: Problems | None = None, cache_dir: Path | None = None
) -> list[Sequence]:
    """Reads one side of the split, a sequence per folder.

    Args:
        root: the folder that holds ``images`` and the lists.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad lines, boxes and frames; stops at the first if None.
        cache_dir: not used here; all readers take the same arguments.

    Raises:
        FileNotFoundError: if the root, ``images`` or the list is missing.
        DataError: at the first problem (policy ``"error"``), or if the split holds no usable frame.
    """
    del cache_dir
    return uestc.read_set(Path(root), split, "ITSDT", CLASSES, problems or Problems())
