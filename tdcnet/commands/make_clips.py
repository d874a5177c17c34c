"""Writes the synthetic data set: infrared clips with small moving targets, in the layout of IRSTD-UAV.

tdcnet make-clips --root data/synthetic --train 24 --val 6
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tdcnet.commands.arguments import parser_of
from tdcnet.data.backgrounds import BACKGROUNDS
from tdcnet.data.errors import DataError
from tdcnet.data.synthetic import SyntheticConfig, write_dataset
from tdcnet.shown import lines


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line (``sys.argv`` if None)."""
    default = SyntheticConfig()
    parser = parser_of("make-clips", __doc__)
    parser.add_argument("--root", type=Path, default=Path("data/synthetic"), help="folder to make (%(default)s)")
    parser.add_argument("--train", type=int, default=24, help="sequences to train on (%(default)s)")
    parser.add_argument("--val", type=int, default=6, help="sequences to validate on (%(default)s)")
    parser.add_argument("--frames", type=int, default=default.frames, help="frames of a sequence (%(default)s)")
    parser.add_argument("--height", type=int, default=default.height, help="px (%(default)s)")
    parser.add_argument("--width", type=int, default=default.width, help="px (%(default)s)")
    parser.add_argument("--bits", type=int, choices=(8, 16), default=default.bits, help="per pixel (%(default)s)")
    parser.add_argument("--seed", type=int, default=default.seed, help="of the whole data set (%(default)s)")
    parser.add_argument(
        "--scr", type=float, nargs=2, default=default.scr, metavar=("LOW", "HIGH"), help="signal-to-clutter ratio"
    )
    parser.add_argument(
        "--speed", type=float, nargs=2, default=default.speed, metavar=("LOW", "HIGH"), help="of targets, px per frame"
    )
    parser.add_argument(
        "--targets", type=int, nargs=2, default=default.targets, metavar=("LOW", "HIGH"), help="per sequence"
    )
    parser.add_argument(
        "--backgrounds", nargs="+", choices=tuple(BACKGROUNDS), default=default.backgrounds, help="scenes, in turn"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a synthetic data set made otherwise")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Writes the data set; returns the exit status."""
    given = parse_arguments(arguments)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        config = SyntheticConfig(
            height=given.height,
            width=given.width,
            frames=given.frames,
            bits=given.bits,
            seed=given.seed,
            backgrounds=tuple(given.backgrounds),
            targets=tuple(given.targets),
            scr=tuple(given.scr),
            speed=tuple(given.speed),
        )
        with Progress(*columns) as progress:
            task = progress.add_task("sequences", total=given.train + given.val)
            root = write_dataset(
                given.root,
                config,
                given.train,
                given.val,
                overwrite=given.overwrite,
                done=lambda _: progress.advance(task),
            )
            progress.update(task, completed=given.train + given.val)
    except (DataError, ValueError, OSError) as error:
        print(f"error: {lines(error)}", file=sys.stderr)
        return 2
    print(f"{root}: {given.train} sequences to train on, {given.val} to validate on, {given.frames} frames each")
    return 0
