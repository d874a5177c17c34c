"""Readers of published data sets and of common layouts, one module per layout.

Each module has

- ``CLASSES``: the names that labels index into, or ``("target",)`` where each set has its own; sequences tell them;
- ``read(root, split, *, problems=None, cache_dir=None) -> list[Sequence]`` with ``split`` ``"train"`` or ``"val"``
  (SatVideoIRSDT also has ``"test"``), and options of its own.

``data/README.md`` says how to get each set and how it must lie on disk.
"""

import importlib
from types import ModuleType

from tdcnet.data.formats.foreign import of_name

FORMATS = (
    "anti_uav",
    "coco",
    "cvat",
    "daub",
    "drone_ir",
    "irdst",
    "irstd_uav",
    "itsdt",
    "label_studio",
    "mot",
    "nudt_mirsdt",
    "satvideo_irsdt",
    "single_frame",
    "tsirmt",
    "video_csv",
    "voc",
    "yolo",
)
"""Names of the readers."""


def reader(name: str) -> ModuleType:
    """The module of a layout.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in FORMATS:
        known = of_name(name)
        raise ValueError(f"format is {name!r}; allowed are {', '.join(FORMATS)}" + (f". {known}" if known else ""))
    return importlib.import_module(f"tdcnet.data.formats.{name}")
