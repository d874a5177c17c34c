"""Tells how a network's time and memory grow with frame size, frames per clip and batch.

python scripts/benchmark_scaling.py --model tdcnet_nano --plot scaling.png
python scripts/benchmark_scaling.py --model tdcnet --what forward --sizes 320 640 1280 --frames --batches

One axis at a time, the others at --base. Pixels are those of all frames of all clips; time for each should not grow.
"power" p says that the time grew as pixels^p from the line before: 1 is linear. Kept bytes are what a training step
keeps for its backward pass, parameters apart.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # scripts use each other; they are not a part of the package

from scripts.benchmark import MODELS, build
from scripts.profile_model import Meter, Run, forward, training_step
from tdcnet.allocator import keep_freed_memory
from tdcnet.cost import kept
from tdcnet.deploy.fold import reparameterize

AXES = ("size", "frames", "batch")
WHAT = {"step": "training step", "forward": "forward, deployed"}


@dataclass
class Case:
    """A clip along one of the axes: ``at`` is (size, frames, batch)."""

    what: str
    axis: str
    at: tuple[int, int, int]
    run: Run
    kept: int | None
    seconds: list[float] = field(default_factory=list)

    @property
    def pixels(self) -> int:
        """Of all frames of all clips."""
        size, frames, batch = self.at
        return size * size * frames * batch


def main(arguments: list[str] | None = None) -> int:
    """Times and tells; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="tdcnet_nano", metavar="NAME", help="as in benchmark.py")
    parser.add_argument("--what", nargs="+", choices=list(WHAT), default=list(WHAT))
    parser.add_argument("--sizes", type=int, nargs="*", default=[160, 256, 320, 480, 640], help="height and width, px")
    parser.add_argument("--frames", type=int, nargs="*", default=[1, 3, 5, 7, 9])
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--base", type=int, nargs=3, default=(160, 5, 1), metavar=AXES, help="%(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="each times every case once; medians are told")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="also writes the figures there")
    parser.add_argument("--plot", type=Path, help="also draws them there, as PNG, SVG or PDF")
    given = parser.parse_args(arguments)
    keep_freed_memory()  # as train.py does
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)

    cases = cases_of(given, device)
    for i in track(range(given.rounds + 1), "timing"):  # the first round warms up
        for case in cases:
            meter = Meter(device)
            case.run(meter)
            if i:
                case.seconds.append(meter.total())
    where = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    title = f"{given.model}, {given.threads} threads, {where}, PyTorch {torch.__version__}; {given.rounds} rounds"
    rows = rows_of(cases)
    report(title, rows)
    if given.json:
        given.json.write_text(json.dumps({"title": title, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    if given.plot:
        draw(given.plot, title, rows)
    return 0


def cases_of(given: argparse.Namespace, device: torch.device) -> list[Case]:
    """What is timed, by axis and growing along it; the same clip on two axes is timed twice."""
    model = build(given.model, given.base[1]).to(device)
    deployed, optimizer = reparameterize(model), torch.optim.AdamW(model.parameters(), fused=True)
    model.train()
    cases = []
    for what, (i, values) in itertools.product(given.what, enumerate((given.sizes, given.frames, given.batches))):
        for value in sorted(values):
            at = tuple(value if i == j else other for j, other in enumerate(given.base))
            size, frames, batch = at
            clip = torch.rand(batch, 1, frames, size, size, device=device)
            if what == "step":
                run = training_step(model, clip, optimizer)
                held = kept(lambda run=run: run(Meter(device)), model.parameters())
                cases.append(Case(what, AXES[i], at, run, held))
            else:
                cases.append(Case(what, AXES[i], at, forward(deployed, clip), None))
    return cases


def rows_of(cases: list[Case]) -> list[dict[str, Any]]:
    """The figures; ``power`` is that of the growth since the row before on the same axis."""
    rows: list[dict[str, Any]] = []
    for case in cases:
        seconds = statistics.median(case.seconds)
        row: dict[str, Any] = {"what": case.what, "axis": case.axis} | dict(zip(AXES, case.at, strict=True))
        row |= {"pixels": case.pixels, "seconds": seconds, "ns per pixel": 1e9 * seconds / case.pixels}
        row |= {"kept bytes per pixel": None if case.kept is None else case.kept / case.pixels, "power": None}
        before = rows[-1] if rows and (rows[-1]["what"], rows[-1]["axis"]) == (case.what, case.axis) else None
        if before and before["pixels"] < case.pixels:
            growth = math.log(seconds / before["seconds"])
            row["power"] = growth / math.log(case.pixels / before["pixels"])
        rows.append(row)
    return rows


def report(title: str, rows: list[dict[str, Any]]) -> None:
    """Prints the table."""
    table = Table("what", "along", title=title)
    for column in ("size", "T", "batch", "s", "ns per pixel", "power", "kept bytes per pixel"):
        table.add_column(column, justify="right")
    for row, after in itertools.zip_longest(rows, rows[1:]):
        last = after is None or (after["what"], after["axis"]) != (row["what"], row["axis"])
        power = "" if row["power"] is None else f"{row['power']:.2f}"
        held = "" if row["kept bytes per pixel"] is None else f"{row['kept bytes per pixel']:.0f}"
        figures = (f"{row['seconds']:.3f}", f"{row['ns per pixel']:.0f}", power, held)
        table.add_row(row["what"], row["axis"], *(str(row[axis]) for axis in AXES), *figures, end_section=last)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def draw(path: Path, title: str, rows: list[dict[str, Any]]) -> None:
    """Time per pixel along each axis: a level line is linear growth."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(AXES))
    for axis, panel in zip(AXES, panels, strict=True):
        for what in dict.fromkeys(row["what"] for row in rows):
            line = [(row[axis], row["ns per pixel"]) for row in rows if (row["what"], row["axis"]) == (what, axis)]
            panel.plot([x for x, _ in line], [y for _, y in line], marker="o", label=WHAT[what])
        panel.set_xlabel({"size": "height and width, px", "frames": "frames per clip", "batch": "clips"}[axis])
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("ns per pixel of all frames")
    panels[0].legend()
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
