"""Scores a folder of predicted masks against a folder of true ones, by every published way of counting.

tdcnet score-masks PREDICTED TRUE --json scores.json

Both hold images at the same relative paths (the suffix may differ), 8 or 16 bits, or of 0 and 1; every true mask needs
a predicted one, an empty one where nothing was found. Prints IoU, nIoU, and Pd and Fa as BasicIRSTD, DNANet (with its
known bug) and DTUM/DeepPro (without and with theirs) count them. For curves, intervals and pictures: stage=eval with
stage.compare=[PREDICTED].
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tdcnet.commands.arguments import exit_status, parser_of
from tdcnet.data.errors import DataError
from tdcnet.data.formats.masks import read_mask, zero_and_one
from tdcnet.data.frames import natural_sort, pick_images
from tdcnet.data.images import read_grey
from tdcnet.data.transforms import full_scale
from tdcnet.results import write_json


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line (``sys.argv`` if None)."""
    parser = parser_of("score-masks", __doc__)
    parser.add_argument("predicted", type=Path, metavar="PREDICTED")
    parser.add_argument("true", type=Path, metavar="TRUE")
    parser.add_argument(
        "--threshold", type=int, default=127, help="a predicted pixel above it is target, of 0 to 254 (%(default)s)"
    )
    parser.add_argument("--true-threshold", type=int, default=0, help="the same for true masks (%(default)s)")
    parser.add_argument("--json", type=Path, help="also writes the figures there")
    return parser.parse_args(arguments)


def pairs(predicted: Path, true: Path) -> list[tuple[Path, Path]]:
    """Predicted and true mask of every frame.

    Raises:
        DataError: if there is no true mask, or one has no predicted one.
    """
    wanted = _images(true)
    if not wanted:
        raise DataError(f"{true}: holds no images. TRUE is the folder of the true masks")
    found = {p.relative_to(predicted).with_suffix(""): p for p in _images(predicted)}
    names = [path.relative_to(true).with_suffix("") for path in wanted]
    if missing := [name for name in names if name not in found]:
        raise DataError(
            f"{predicted}: {len(missing)} of {len(names)} frames have no predicted mask, the first: {missing[0]}. "
            "A frame on which nothing was found needs an empty one"
        )
    return [(found[name], path) for name, path in zip(names, wanted, strict=True)]


def _images(folder: Path) -> list[Path]:
    return natural_sort(pick_images(path for path in folder.rglob("*") if not path.is_dir()))


def score(given: argparse.Namespace) -> None:
    """Scores, prints and writes; one frame is in memory at a time.

    Raises:
        DataError: if a mask is bad, sizes differ, or no predicted pixel reaches the threshold though some have values.
    """
    import torch  # these take seconds, which --help need not

    from tdcnet.metrics.mask_protocols import MASK_PROTOCOLS
    from tdcnet.metrics.segmentation import MaskMetrics

    metric = MaskMetrics(tuple(MASK_PROTOCOLS))
    highest, both = 0.0, pairs(given.predicted, given.true)
    ones = zero_and_one(path for path, _ in both)
    for path, true in track(both, "scoring"):
        image, target = read_grey(path), read_mask(true, given.true_threshold)
        if image.shape != target.shape:
            sizes = [f"{shape[1]}x{shape[0]}" for shape in (image.shape, target.shape)]
            raise DataError(f"{path}: is {sizes[0]}, {true} is {sizes[1]}. Export it at the frame's own size")
        share = image.astype(np.float64) if ones else image / full_scale(image)
        highest = max(highest, float(share.max()))
        metric.update(torch.from_numpy(share > given.threshold / 255)[None], torch.from_numpy(target)[None])
    if 0 < highest <= given.threshold / 255:
        raise DataError(
            f"{given.predicted}: no pixel of any mask is above {given.threshold}, the highest is {255 * highest:g} "
            "of 255. Give a lower --threshold, or export them from 0 to 255"
        )
    figures = metric.compute()
    show(figures, MASK_PROTOCOLS)
    if given.json:
        print(write_json(given.json, figures))


def show(figures: dict[str, float], protocols: Iterable[str]) -> None:
    """Prints the table."""
    table = Table("protocol", "Pd", "Fa [1e-6]", title=f"{figures['frames']:.0f} frames")
    for name in protocols:
        table.add_row(name, f"{figures[f'Pd_{name}']:.4f}", f"{1e6 * figures[f'Fa_{name}']:.2f}")
    console = Console()
    console.print(table)
    console.print(f"IoU {figures['IoU']:.4f}, nIoU {figures['nIoU']:.4f}", highlight=False)


def main(arguments: list[str] | None = None) -> int:
    """Scores; returns the exit status."""
    return exit_status(partial(score, parse_arguments(arguments)))
