"""DAUB (Hui et al., Science Data Bank 2019) in the form of SSTNet and Tridos: one aircraft against air and ground.

Layout::

    root/images/train/data5/0.bmp, root/images/test/data6/0.bmp        (unpadded, 256x256)
    root/train.txt, root/val.txt      .../images/train/data5/0.bmp x1,y1,x2,y2,0

The lists also go by ``coco_train_DAUB.txt`` and ``coco_val_DAUB.txt``; without them the JSON beside them is read
(``instances_train2017.json``, ``instances_test2017.json``, with or without ``DAUB_`` before it).

Every box is a square of 8 px, presumably drawn round the centre points of the original: overlap then measures the error
of the centre only, and statistics of size mean nothing. The original with its points is not read.
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
    """Reads one side of the split, a sequence per folder, called ``train_data5`` and so on.

    Args:
        root: the folder that holds ``images`` and the lists.
        split: ``"train"`` or ``"val"``; the folders of the latter lie in ``images/test``.
        problems: what to do with bad lines, boxes and frames; stops at the first if None.
        cache_dir: not used here; all readers take the same arguments.

    Raises:
        FileNotFoundError: if the root, ``images`` or the list is missing.
        DataError: at the first problem (policy ``"error"``), or if the split holds no usable frame.
    """
    del cache_dir
    return uestc.read_set(Path(root), split, "DAUB", CLASSES, problems or Problems())
