"""Computes the homographies of all clips of a data set ahead of training; a run that was stopped goes on.

tdcnet align --format drone_ir --root data/drone_ir --num-frames 5 --stride 4

Training looks in dataset.homography_dir; give the folder that this prints.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from tdcnet.commands.arguments import add_arguments, exit_status, parser_of
from tdcnet.data.alignment import Aligner
from tdcnet.data.errors import Problems
from tdcnet.data.formats import reader
from tdcnet.data.frames import default_cache_dir
from tdcnet.data.homographies import HomographyStore, align_sequences


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line (``sys.argv`` if None)."""
    parser = parser_of("align", __doc__)
    add_arguments(parser, on_bad_frame="skip")
    parser.add_argument(
        "--split", nargs="+", choices=("train", "val"), default=("train", "val"), help="both by default"
    )
    parser.add_argument("--num-frames", type=_at_least_one, default=5, help="frames of a clip (%(default)s)")
    parser.add_argument("--stride", type=_at_least_one, default=1, help="frames from one to the next (%(default)s)")
    parser.add_argument(
        "--output", type=Path, help="folder for the homographies (in ROOT, or the cache if ROOT is read-only)"
    )
    parser.add_argument("--model", choices=("translation", "affine", "homography"), default="homography")
    parser.add_argument("--processes", type=_at_least_one, help="worker processes (one per processor)")
    return parser.parse_args(arguments)


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def output_folder(root: Path) -> Path:
    """``ROOT/homographies``, or a folder of the cache if nothing can be written there."""
    if os.access(root, os.W_OK):
        return root / "homographies"
    return default_cache_dir() / "homographies" / root.resolve().name


def align(given: argparse.Namespace) -> None:
    """Computes what is missing."""
    read = partial(reader(given.format).read, problems=Problems(given.on_bad_frame), **dict(given.set))
    sequences = {split: read(given.root, split) for split in given.split}
    store = HomographyStore(given.output or output_folder(given.root), given.num_frames, given.stride)
    print(f"homographies: {store.root}")
    for split, found in sequences.items():
        summary = align_sequences(found, store, Aligner(given.model), processes=given.processes)
        clips = sum(len(sequence.indices) for sequence in found)
        print(f"{split}: {len(found)} sequences, {clips} clips; {summary}")


def main(arguments: list[str] | None = None) -> int:
    """Aligns; returns the exit status."""
    return exit_status(partial(align, parse_arguments(arguments)), "stopped; the same command goes on from here")
