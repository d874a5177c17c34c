"""The readers that are tried: a valid input of each, and what it reads from it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdcnet.data.errors import Problems
from tdcnet.data.formats import FORMATS, reader
from tests.fuzz import contents, layouts, networks, others

Read = Callable[[Path, Problems], Any]


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: for the command line.
        make: writes a valid input to a folder.
        read: gives what is in it, as :func:`contents.digest` takes it; None where nothing usable is there, which then
            is made again.
        files: patterns of the paths that are damaged.
        exact: patterns of those that carry a checksum, so that damage is never taken for other content.
        special: a mutator of well-formed files with other content; None for one file that it does not know.
        keep: whether what lies in the input's folder beside its files, such as a cache, is a part of the input.
        weight: how often, compared with others.
        slow: whether it imports torch.
    """

    name: str
    make: Callable[[Path], None]
    read: Read
    files: tuple[str, ...] = ("*",)
    exact: tuple[str, ...] = ()
    special: Any = None
    keep: bool = False
    weight: int = 1
    slow: bool = False


def _data_set(name: str, options: dict[str, Any] | None = None) -> Read:
    def read(root: Path, problems: Problems) -> Any:
        module, given = reader(name), options or {}
        classes = module.class_names(root, **given) if hasattr(module, "class_names") else module.CLASSES
        found: list[Any] = [classes]
        for split in ("train", "val"):
            sequences = module.read(root, split, problems=problems, cache_dir=root / "cache", **given)
            found += contents.of_sequences(sequences, classes, problems)
        return found

    return read


_LAYOUTS = {
    **{name: (getattr(layouts, name), _data_set(name)) for name in FORMATS},
    "daub_json": (layouts.daub_json, _data_set("daub")),
    "irdst_released": (layouts.irdst_released, _data_set("irdst")),
    "irdst_rdian": (layouts.irdst_rdian, _data_set("irdst")),
    "irdst_dtum": (layouts.irdst_dtum, _data_set("irdst")),
    "irdst_jump": (layouts.irdst, _data_set("irdst", {"jump": 1.0})),
}

TARGETS = {
    target.name: target
    for target in (
        *(Target(name, make, read, keep=name == "drone_ir") for name, (make, read) in _LAYOUTS.items()),
        Target("masks_cache", layouts.single_frame, others.read_kept_masks, ("cache/*",), ("cache/*",), keep=True),
        Target("labels_cache", layouts.drone_ir, _data_set("drone_ir"), ("cache/*.npz",), ("cache/*",), keep=True),
        Target("images", others.make_images, others.read_images, weight=2),
        Target("videos", others.make_videos, others.read_videos, ("*.mp4", "*.avi", "*.mkv"), weight=2),
        Target(
            *("frame_cache", others.make_frame_cache, others.read_frame_cache, ("cache/*",), ("cache/*",)),
            keep=True,
            weight=2,
        ),
        Target(
            *("homographies", others.make_homographies, others.read_homographies, ("*.npz",), ("*.npz",)),
            special=others.other_homographies,
            weight=2,
        ),
        Target("synthetic", others.make_synthetic, others.read_synthetic, ("set/synthetic.json",)),
        Target("split", others.make_split, others.read_split),
        Target("ground_truth", others.make_exchange, others.read_exchange, ("ground_truth.json",)),
        Target("rival", others.make_exchange, others.read_exchange, ("rival.json",)),
        Target("run_folder", others.make_run, others.read_run, slow=True),
        Target(
            *("export", networks.make_export, networks.read_detector, ("model.safetensors", "config.json")),
            exact=("model.safetensors",),
            special=networks.other_tensors,
            weight=2,
            slow=True,
        ),
        Target("graph", networks.make_graph, networks.read_graph, ("config.json",), slow=True),
        Target(
            *("checkpoint", networks.make_checkpoint, networks.read_detector, ("*.ckpt",), ("*.ckpt",)),
            special=networks.other_checkpoint,
            weight=2,
            slow=True,
        ),
    )
}


def prepare(target: Target, root: Path) -> str:
    """Writes the valid input and reads it once; its digest."""
    os.environ["TDCNET_CACHE"] = str(root / "cache")
    target.make(root)
    problems = Problems("error")
    first = contents.digest(target.read(root, problems))
    if first != contents.digest(target.read(root, problems)):
        raise RuntimeError(f"{target.name}: the same input read twice gives different content")
    return first
