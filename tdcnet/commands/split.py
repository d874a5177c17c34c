"""Deals the recordings of a data set out to training and validation, so that no recording is on both sides.

tdcnet split --format coco --root data/mine --val 0.2 --seed 0 --group '^[^_]+_[^_]+' data/mine/split.json

Names for which the regular expression finds the same text (its groups, if it has some) are parts of one recording and
stay together. So do, with --scenes, recordings that show one scene, which their frames tell. drone_ir and video_csv
look for the file in ROOT/split.json; dataset.read.split_file=FILE, also of coco, names another.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tdcnet.commands.arguments import add_arguments, add_group, add_names, exit_status, parser_of, recording_of
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common, reader
from tdcnet.data.frames import natural_sort
from tdcnet.data.inspection import scenes, survey
from tdcnet.data.names import naming
from tdcnet.data.sequence import Sequence
from tdcnet.files import replacing

PICTURES = 20
"""Frames of a sequence that are compared with those of others."""


@dataclass
class Count:
    """What is known of one sequence: frames and targets on frames of either split."""

    frames: int = 0
    targets: int = 0


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line (``sys.argv`` if None)."""
    parser = parser_of("split", __doc__)
    parser.add_argument("output", type=Path, metavar="OUT.json", help="file to write")
    add_arguments(parser, on_bad_frame="skip")
    parser.add_argument("--val", type=_fraction, default=0.2, help="share of the frames to validate on (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (%(default)s)")
    add_group(parser)
    add_names(parser)
    parser.add_argument(
        "--scenes", action="store_true", help="recordings that show one scene stay together, too; their frames tell"
    )
    parser.add_argument(
        "--likeness", type=float, default=0.9, help="correlation from which on two frames show one scene (%(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
    return parser.parse_args(arguments)


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def read_pool(name: str, root: Path, problems: Problems, options: dict[str, Any]) -> list[Sequence]:
    """All sequences of a data set, whatever split they are in now.

    Raises:
        FileNotFoundError: if neither split can be found.
    """
    module = reader(name)
    if hasattr(module, "read_all"):
        return list(module.read_all(root, problems=problems, **options))
    found, missing = [], []
    for split in common.SPLITS:
        try:
            found += module.read(root, split, problems=problems, **options)
        except FileNotFoundError as error:
            missing.append(error)
    if len(missing) == len(common.SPLITS):
        raise missing[0]
    return found


def count(sequences: Iterable[Sequence]) -> dict[str, Count]:
    """Frames and targets by name; a sequence that both splits hold a part of is counted once, with both parts."""
    counts: dict[str, Count] = {}
    for sequence in sequences:
        entry = counts.setdefault(sequence.name, Count())
        entry.frames += len(sequence.indices)
        entry.targets += sum(len(sequence.boxes[at]) for at in sequence.indices)
    return counts


def groups_of(names: Iterable[str], pattern: re.Pattern[str] | None) -> dict[str, list[str]]:
    """Recording -> its sequences.

    Raises:
        DataError: if the pattern finds nothing in a name: that one could be a part of any recording.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(recording_of(name, pattern), []).append(name)
    return groups


def joined(groups: dict[str, list[str]], scenes: list[list[str]]) -> dict[str, list[str]]:
    """Groups that hold sequences of one scene, made one; each by the name of its first."""
    for scene in scenes:
        apart = [key for key, names in groups.items() if set(names) & set(scene)]
        together = [name for key in apart for name in groups[key]]
        groups = {key: names for key, names in groups.items() if key not in apart} | {apart[0]: together}
    return groups


def choose(frames: dict[str, int], share: float, seed: int) -> set[str]:
    """Groups for validation: drawn in random order, each taken if it brings the frames closer to ``share`` of all.

    Raises:
        DataError: if there are fewer than two groups.
    """
    if len(frames) < 2:
        raise DataError(f"only {len(frames)} recording; two are needed for two sides. Let --group match less in common")
    wanted, taken, held = share * sum(frames.values()), set(), 0
    names = sorted(frames)
    for at in np.random.default_rng(seed).permutation(len(names)):
        size = frames[names[at]]
        if abs(held + size - wanted) < abs(held - wanted):
            taken.add(names[at])
            held += size
    # A side must not be empty, however few and uneven the recordings are.
    if not taken:
        taken = {min(names, key=lambda name: frames[name])}
    if len(taken) == len(names):
        taken.remove(min(names, key=lambda name: frames[name]))
    return taken


def show(sides: dict[str, list[str]], counts: dict[str, Count], groups: dict[str, list[str]]) -> None:
    """Prints what each side holds."""
    recording = {name: key for key, names in groups.items() for name in names}
    total = sum(entry.frames for entry in counts.values())
    table = Table("side")
    for title in ("recordings", "sequences", "frames", "share", "targets"):
        table.add_column(title, justify="right")
    for side, names in sides.items():
        frames = sum(counts[name].frames for name in names)
        targets = sum(counts[name].targets for name in names)
        held = len({recording[name] for name in names})
        share = f"{100 * frames / total:.1f} %" if total else "-"
        table.add_row(side, str(held), str(len(names)), str(frames), share, str(targets))
    Console().print(table)


def split(given: argparse.Namespace) -> None:
    """Deals, writes and tells.

    Raises:
        DataError: if the file is there, or the data set cannot be dealt out.
    """
    if given.output.exists() and not given.overwrite:
        raise DataError(f"{given.output}: is there already. Give another name, or --overwrite")
    problems = Problems(given.on_bad_frame)
    pool = read_pool(given.format, given.root, problems, dict(given.set))
    counts = count(pool)
    groups = groups_of(counts, given.group)
    if given.scenes:
        seen = [survey(each, max(1, len(each.indices) // PICTURES)) for each in pool]
        groups = joined(groups, scenes(seen, given.likeness))
        if len(groups) < 2 <= len(pool):
            raise DataError(
                f"all {len(pool)} recordings show one scene, so no side would have another. --likeness "
                f"{(1 + given.likeness) / 2:g} tells scenes apart that are less alike; or leave --scenes out"
            )
    frames = {key: sum(counts[name].frames for name in names) for key, names in groups.items()}
    held_out = choose(frames, given.val, given.seed)
    sides: dict[str, list[str]] = {side: [] for side in common.SPLITS}
    for key, names in groups.items():
        sides["val" if key in held_out else "train"] += names
    sides = {side: [path.name for path in natural_sort(map(Path, names))] for side, names in sides.items()}
    with replacing(given.output) as file:
        file.write((json.dumps(sides, indent=2, ensure_ascii=False) + "\n").encode())
    show(sides, counts, groups)
    if problems.found:
        print(f"{len(problems.found)} bad entries were not counted, the first: {problems.found[0]}")
    print(given.output)


def main(arguments: list[str] | None = None) -> int:
    """Writes the split; returns the exit status."""
    given = parse_arguments(arguments)
    with naming(given.names):
        return exit_status(partial(split, given))
