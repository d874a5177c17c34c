"""Registers all clips of a data set ahead of time: homographies, no images.

python scripts/align.py --format drone_ir --root data/drone_ir --stride 4

Training does the same by itself with dataset.align=ahead; this is to have it done on another machine, or at night.
It goes on where it stopped. Files: OUTPUT/SEQUENCE_T5_s4.npz.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from rich.console import Console

from tdcnet.data.alignment import Aligner
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.homographies import HomographyStore, align_sequences

FORMATS = ("irstd_uav", "irdst", "drone_ir")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line (``sys.argv`` if None)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=FORMATS, required=True, help="layout of the data set")
    parser.add_argument("--root", type=Path, required=True, help="its folder")
    parser.add_argument("--split", choices=("train", "val"), action="append", help="default: both")
    parser.add_argument("--num-frames", type=int, default=5, help="frames per clip (%(default)s)")
    parser.add_argument("--stride", type=int, default=1, help="frames from one to the next (%(default)s)")
    parser.add_argument("--output", type=Path, help="folder (data/cache/homographies/FORMAT, where training looks)")
    parser.add_argument("--cache", type=Path, default=Path("data/cache/frames"), help="of decoded videos (%(default)s)")
    parser.add_argument("--model", choices=("translation", "affine", "homography"), default="homography")
    parser.add_argument("--processes", type=int, help="default: one per core")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Aligns; returns the exit status."""
    given = parse_arguments(arguments)
    output = given.output or Path("data/cache/homographies") / given.format
    store = HomographyStore(output, given.num_frames, given.stride)
    reader = importlib.import_module(f"tdcnet.data.formats.{given.format}")
    try:
        for split in given.split or ("train", "val"):
            problems = Problems("skip")
            sequences = reader.read(given.root, split, problems=problems, cache_dir=given.cache)
            summary = align_sequences(sequences, store, Aligner(given.model), processes=given.processes)
            Console().print(f"{split}: {summary}", highlight=False)
            for message in (*problems.found, *summary.bad_frames):
                Console().print(f"  {message}", highlight=False)
    except (DataError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; what was finished is in {output}, the same command goes on from there", file=sys.stderr)
        return 130
    print(f"homographies in {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
