"""Reads a data set as training would and says what is in it, what is wrong with it, and what its splits share.

tdcnet check --format drone_ir --root data/drone_ir OUT

With --group REGEX, which finds the recording in a sequence's name, it also tells recordings that were cut in two.
Prints a table and writes to OUT: report.json (everything by sequence), targets.csv (every target with size,
signal-to-clutter ratio and speed), histograms.png, and targets.png (the smallest, the dimmest and the oddest).
"""

from __future__ import annotations

import argparse
import csv
import io
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tdcnet.commands.arguments import add_arguments, add_group, add_names, exit_status, parser_of, recording_of
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common, reader
from tdcnet.data.frames import ImageFiles
from tdcnet.data.inspection import Leak, Survey, Target, leaks, survey
from tdcnet.data.lone_frames import MOST_LONE
from tdcnet.data.names import naming, numbers
from tdcnet.data.sequence import Sequence
from tdcnet.data.targets import SIZE_BINS, size_bin
from tdcnet.drawing import contact_sheet, draw_boxes, write_png
from tdcnet.files import write_atomically
from tdcnet.results import write_json
from tdcnet.shown import printable

CUT = 64
"""Side of the cut-outs on the contact sheet, px of the frame."""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line (``sys.argv`` if None)."""
    parser = parser_of("check", __doc__)
    parser.add_argument("output", type=Path, metavar="OUT", help="folder to write")
    add_arguments(parser, on_bad_frame="skip")
    parser.add_argument(
        "--splits", nargs="+", default=list(common.SPLITS), help="train and val by default; some sets have more"
    )
    add_group(parser)
    add_names(parser)
    parser.add_argument("--step", type=int, default=1, help="look at every n-th frame (%(default)s)")
    parser.add_argument(
        "--likeness", type=float, default=0.9, help="correlation from which on frames are near-duplicates (%(default)s)"
    )
    return parser.parse_args(arguments)


# -- figures by split --------------------------------------------------------------------------------------------------


def summary(surveys: list[Survey]) -> dict[str, Any]:
    """The figures of one split."""
    targets = [target for found in surveys for target in found.targets]
    per_frame = [n for found in surveys for n in found.per_frame]
    scr, speed, margin = (_finite([getattr(t, name) for t in targets]) for name in ("scr", "speed", "margin"))
    names = ["below", *(name for name, *_ in SIZE_BINS)]
    bins = [size_bin(target.side) for target in targets]
    return {
        "sequences": len(surveys),
        "frames": sum(found.frames for found in surveys),
        "empty frames": per_frame.count(0),
        "targets": len(targets),
        "most targets on a frame": max(per_frame, default=0),
        "frame sizes": sorted({f"{found.size[1]}x{found.size[0]}" for found in surveys if found.size}),
        "targets by size": {name: bins.count(name) for name in names if bins.count(name) or name != "below"},
        "signal-to-clutter ratio": _quartiles(scr),
        "box beyond what is seen, px a side": _quartiles(margin),
        "speed in px per frame": _quartiles(speed),
        "unreadable frames": sum(len(found.bad) for found in surveys),
        "repeated frames": sum(len(found.repeated) for found in surveys),
    }


def _finite(values: list[float]) -> np.ndarray:
    array = np.array(values, np.float64)
    return array[np.isfinite(array)]


def _quartiles(values: np.ndarray) -> list[float] | None:
    """5th, 25th, 50th, 75th and 95th percentile."""
    return [round(float(v), 2) for v in np.percentile(values, [5, 25, 50, 75, 95])] if len(values) else None


def show(figures: dict[str, dict[str, Any]], found: list[Leak], problems: dict[str, list[str]]) -> None:
    """Prints what :func:`summary` gave, and the leaks."""
    console = Console()
    table = Table("", *figures, title="what is in it")
    for row in next(iter(figures.values())):
        table.add_row(row, *(_text(split[row]) for split in figures.values()))
    table.add_row("bad entries left out", *(str(len(problems[split])) for split in figures))
    console.print(table)
    console.print("Five figures: 5th, 25th, 50th, 75th and 95th percentile.", style="dim")
    if not found:
        console.print("The splits share no sequence, no frame, and nothing that looks alike.")
        return
    table = Table("splits", "sequence", "and", "share", "frames", "likeness", title=f"{len(found)} pairs leak")
    for leak in found[:15]:
        likeness = f"{leak.likeness:.3f}" if np.isfinite(leak.likeness) else "-"
        table.add_row(" / ".join(leak.splits), leak.one, leak.other, leak.kind, str(leak.frames), likeness)
    console.print(table)
    if len(found) > 15:
        console.print(f"and {len(found) - 15} more in report.json", style="dim")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    if isinstance(value, list):
        return "  ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def show_bad(surveys: dict[str, list[Survey]], most: int = 5) -> None:
    """Prints the first of the frames that cannot be read."""
    bad = [message for every in surveys.values() for each in every for message in each.bad]
    for message in bad[:most]:
        print(f"unreadable: {printable(message)}")
    if len(bad) > most:
        print(f"and {len(bad) - most} more in report.json")


def show_names(sequences: dict[str, list[Sequence]], most: int = 6) -> None:
    """Prints of a few frames what recording and frame their names were taken for."""
    lines = []
    for split, every in sequences.items():
        chosen = [each for each in every if isinstance(each.frames, ImageFiles)]
        for each in chosen[:: max(1, len(chosen) // (most // 2))][: most // 2]:
            names = [Path(each.frames.where(at)).name for at in range(len(each))]
            found = numbers(names)
            for at in sorted({0, len(each) - 1}):
                frame = f"frame {'?' if found[at] is None else found[at]} ({at + 1} of {len(each)})"
                lines.append(f"{split}: {printable(names[at])} -> recording {printable(each.name)}, {frame}")
            if cuts := int((each.segment_start == np.arange(len(each))).sum()) - 1:
                lines.append(f"  no clip reaches over {cuts} places between them, where frames are missing")
        if (lone := sum(len(each) == 1 for each in chosen)) > MOST_LONE * len(every):
            lines.append(f"{split}: {lone} of {len(every)} recordings have one frame only; clips of theirs do not move")
    if lines:
        print("names of frames, and what they are taken for (--names REGEX says it otherwise):")
        print("\n".join(f"  {line}" for line in lines))


# -- pictures ----------------------------------------------------------------------------------------------------------


def histograms(surveys: dict[str, list[Survey]]) -> Figure:
    """Side, signal-to-clutter ratio, targets per frame and speed by split, and where targets are."""
    figure = Figure(figsize=(13, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3).ravel()
    targets = {split: [t for found in every for t in found.targets] for split, every in surveys.items()}
    for axis, name, title in (
        (axes[0], "side", "side, px"),
        (axes[1], "scr", "signal-to-clutter ratio"),
        (axes[2], "speed", "speed, px per frame"),
    ):
        values = {split: _finite([getattr(t, name) for t in every]) for split, every in targets.items()}
        together = np.concatenate([v for v in values.values() if len(v)] or [np.zeros(1)])
        edges = np.linspace(0, max(1e-6, float(np.percentile(together, 99))), 40)
        for split, each in values.items():
            if len(each):
                axis.hist(
                    each.clip(0, edges[-1]), edges, weights=np.full(len(each), 1 / len(each)), alpha=0.6, label=split
                )
        axis.set(title=title, ylabel="share of targets")
    for at, low in enumerate(bin_[1] for bin_ in SIZE_BINS):
        if low <= axes[0].get_xlim()[1]:
            axes[0].axvline(low, color="0.6", lw=0.8, ls=":")
            axes[0].text(low, axes[0].get_ylim()[1], f" {SIZE_BINS[at][0]}", va="top", fontsize=8, color="0.4")
    counts = {split: [n for found in every for n in found.per_frame] for split, every in surveys.items()}
    most = max((max(each, default=0) for each in counts.values()), default=0)
    for at, (split, each_frame) in enumerate(counts.items()):
        share = np.bincount(np.array(each_frame, np.int64), minlength=most + 1) / max(1, len(each_frame))
        width = 0.8 / len(counts)
        axes[3].bar(np.arange(most + 1) + (at - (len(counts) - 1) / 2) * width, share, width, alpha=0.8, label=split)
    axes[3].set(title="targets on a frame", ylabel="share of frames")
    for axis, (split, every) in zip(axes[4:], targets.items(), strict=False):
        x, y = np.array([t.place for t in every]).reshape(-1, 2).T
        axis.hist2d(x, y, bins=24, range=[[0, 1], [0, 1]], cmap="magma")
        axis.set(title=f"where they are: {split}", xlabel="x / width", ylabel="y / height")
        axis.invert_yaxis()
    for axis in axes[4 + len(targets) :]:
        axis.remove()
    axes[0].legend()
    return figure


def remarkable(targets: list[Target], each: int = 8) -> list[tuple[str, Target]]:
    """The smallest, the dimmest, the fastest and the most oblong targets, at most two of a sequence in each group."""

    def aspect(target: Target) -> float:
        x1, y1, x2, y2 = target.box
        return max((x2 - x1) / (y2 - y1), (y2 - y1) / (x2 - x1))

    groups = (
        ("side", lambda t: t.side, "side {:.1f} px"),
        ("scr", lambda t: t.scr, "SCR {:.2f}"),
        ("speed", lambda t: -t.speed, "{:.1f} px/frame"),
        ("aspect", lambda t: -aspect(t), "1 : {:.1f}"),
    )
    chosen: list[tuple[str, Target]] = []
    for _, key, text in groups:
        seen: dict[str, int] = {}
        for target in sorted((t for t in targets if np.isfinite(key(t))), key=key):
            if seen.get(target.sequence, 0) < 2 and sum(seen.values()) < each:
                seen[target.sequence] = seen.get(target.sequence, 0) + 1
                chosen.append((text.format(abs(key(target))), target))
    return chosen


def cut_outs(chosen: list[tuple[str, Target]], sequences: dict[str, Sequence]) -> np.ndarray | None:
    """A contact sheet of targets, each in the middle of what surrounds it."""
    pictures, captions = [], []
    for text, target in chosen:
        sequence = sequences[target.sequence]
        try:
            image = sequence.frames.read(target.frame)
        except DataError:
            continue
        x1, y1, x2, y2 = target.box
        side = max(CUT, round(1.5 * max(x2 - x1, y2 - y1)))
        left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
        rows, columns = (
            np.clip(np.arange(a, a + side), 0, n - 1) for a, n in zip((top, left), image.shape, strict=True)
        )
        part = image[np.ix_(rows, columns)].astype(np.float32)
        box = np.array([[x1 - left, y1 - top, x2 - left, y2 - top]])
        zoom = max(1, 256 // side)
        pictures.append(draw_boxes(part, truth=box, zoom=zoom))
        captions.append(f"{text}  {target.sequence} {target.frame}")
    return contact_sheet(pictures, captions, columns=8) if pictures else None


# -- the whole ---------------------------------------------------------------------------------------------------------


def check(given: argparse.Namespace) -> None:
    """Reads, looks, prints and writes.

    Raises:
        DataError: if a split holds nothing that can be used.
    """
    options = dict(given.set)
    sequences: dict[str, list[Sequence]] = {}
    problems = {split: Problems(given.on_bad_frame) for split in given.splits}
    for split in given.splits:
        with naming(given.names):
            sequences[split] = reader(given.format).read(given.root, split, problems=problems[split], **options)
    with naming(given.names):
        show_names(sequences)
    surveys: dict[str, list[Survey]] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    for split, every in sequences.items():
        with Progress(*columns) as bar:
            task = bar.add_task(f"{split}: frames", total=sum(len(s.indices[:: given.step]) for s in every))
            surveys[split] = [survey(s, given.step, done=partial(bar.advance, task)) for s in every]
    figures = {split: summary(every) for split, every in surveys.items()}
    found = leaks(surveys, given.likeness, partial(recording_of, pattern=given.group))
    messages = {split: each.found for split, each in problems.items()}
    classes = {split: next((each.classes for each in every), ()) for split, every in sequences.items()}
    for split in figures:
        figures[split] = {"classes": ", ".join(map(printable, classes[split])) or "-", **figures[split]}
    show(figures, found, messages)
    show_bad(surveys)
    write(given.output, figures, surveys, found, messages, sequences)
    print(f"written to {given.output}: report.json, targets.csv, histograms.png, targets.png")


def write(
    output: Path,
    figures: dict[str, dict[str, Any]],
    surveys: dict[str, list[Survey]],
    found: list[Leak],
    problems: dict[str, list[str]],
    sequences: dict[str, list[Sequence]],
) -> None:
    """Writes the files."""
    by_sequence = {
        split: {
            each.name: {
                **summary([each]),
                "unreadable": each.bad,
                "repeated": each.repeated,
            }
            for each in every
        }
        for split, every in surveys.items()
    }
    report = {
        "splits": figures,
        "leaks": [asdict(leak) for leak in found],
        "bad entries": problems,
        "sequences": by_sequence,
    }
    write_json(output / "report.json", report)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["split", "sequence", "frame", "x1", "y1", "x2", "y2", "label", "side", "scr", "speed", "margin"])
    every_target = {split: [t for each in every for t in each.targets] for split, every in surveys.items()}
    for split, targets in every_target.items():
        table.writerows(
            [split, t.sequence, t.frame, *t.box, t.label, *(f"{v:.3f}" for v in (t.side, t.scr, t.speed, t.margin))]
            for t in targets
        )
    write_atomically(output / "targets.csv", text.getvalue().encode())
    picture = io.BytesIO()
    histograms(surveys).savefig(picture, format="png", dpi=110)
    write_atomically(output / "histograms.png", picture.getvalue())
    sheets = [
        sheet
        for split, targets in every_target.items()
        if (sheet := cut_outs(remarkable(targets), {s.name: s for s in sequences[split]})) is not None
    ]
    if sheets:
        write_png(
            output / "targets.png", contact_sheet(sheets, [f"{s}" for s in every_target][: len(sheets)], columns=1)
        )


def main(arguments: list[str] | None = None) -> int:
    """Checks; returns the exit status."""
    return exit_status(partial(check, parse_arguments(arguments)))
