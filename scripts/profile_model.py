"""Tells what each part of a network costs: parameters, arithmetic, memory for the backward pass, and time.

python scripts/profile_model.py --model tdcnet_nano                        # 4 clips of 160x160, both forms
python scripts/profile_model.py --model tdcnet --backward --threads 2      # a whole training step by part
python scripts/profile_model.py --checkpoint logs/deploy/TIME/deploy --size 512 640 --batch 1
python scripts/profile_model.py --model tdcnet_nano --parts backbone_2d.stage1 fusion.scales.0.query
python scripts/profile_model.py --budget tests/golden/cost.json           # renews what tests/models/test_cost.py reads

GFLOPs are those of convolutions, matrix products and attention in one forward pass, two FLOPs for each multiply-add;
kept MB are the tensors that a training step keeps for its backward pass, parameters apart (tdcnet/cost.py says more).
Times are medians of rounds, and shares are taken round by round. A part counts with its stem; "other" is what lies
between the parts. On a GPU each part is waited for, which takes longer in all than one pass without; peak MB is the
most it held while the part was at work, what others had left there included.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # scripts use each other; they are not a part of the package

from scripts.benchmark import LIGHT, MODELS, SIZES, build
from tdcnet.allocator import keep_freed_memory
from tdcnet.cost import OTHER, Cost, count, following, parts_of
from tdcnet.deploy.fold import reparameterize
from tdcnet.deploy.weights import CheckpointError, load_detector
from tdcnet.losses import DetectionLoss
from tdcnet.models.clip_detector import ClipDetector

TRAINING, DEPLOY = "training", "deploy"
FORWARD, BACKWARD = "forward", "backward"
LOSS, UPDATE = "loss", "optimiser"
Run = Callable[["Meter"], object]

BUDGET = {"batch": 2, "frames": 5, "size": [96, 96]}
"""The clips of the budget: 12, 6 and 3 positions, so windows are padded and shifted at every scale."""
VARIANTS = (*SIZES, *LIGHT, *(name for name in MODELS if name.startswith("tdcnet_nano:")), "tdcnet_nano differences")


def main(arguments: list[str] | None = None) -> int:
    """Counts, times and tells; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="tdcnet", metavar="NAME", help=f"one of {', '.join(MODELS)}")
    parser.add_argument("--checkpoint", type=Path, help="a .ckpt or .safetensors instead; a deployed one has one form")
    parser.add_argument("--parts", nargs="+", metavar="NAME", help="other sub-modules than the usual ones")
    parser.add_argument("--size", type=int, nargs=2, default=(160, 160), metavar=("H", "W"))
    parser.add_argument("--frames", type=int, help="T; what the network is meant for unless given")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--backward", action="store_true", help="also the training step: backward pass, loss, AdamW")
    parser.add_argument("--rounds", type=int, default=7, help="after one that warms up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="also writes the figures there")
    parser.add_argument("--budget", type=Path, help="only writes the counts of all variants there, nothing is timed")
    given = parser.parse_args(arguments)
    keep_freed_memory()  # as train.py does
    torch.set_num_threads(given.threads)
    if given.budget:
        costs = {name: budget_of(name) for name in track(VARIANTS, "counting")}
        given.budget.write_text(json.dumps({"input": BUDGET, "costs": costs}, indent=1) + "\n", encoding="utf-8")
        return 0

    torch.manual_seed(0)
    device = torch.device(given.device)
    try:
        model = load_detector(given.checkpoint) if given.checkpoint else build(given.model, given.frames or 5)
    except (CheckpointError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    if unknown := set(given.parts or ()) - dict(model.named_modules()).keys():
        parser.error(f"--parts names {', '.join(sorted(unknown))}; {given.model} has no such sub-module")
    frames = given.frames or model.num_frames
    clip = torch.rand(given.batch, model.in_channels, frames, *given.size, device=device)
    cases = cases_of(model.to(device), clip, given.backward, given.parts or parts_of(model))
    for i in track(range(given.rounds + 1), "timing"):
        for case in cases:
            meter = Meter(device)
            with following(case.model, case.costs, meter.switch):
                meter.since = time.perf_counter()  # hooking in is no part of it
                case.run(meter)
            if i:
                case.rounds.append(meter)
    report(given, frames, cases)
    return 0


def budget_of(variant: str) -> dict[str, dict[str, int]]:
    """What one forward pass of a variant costs in either form, on clips of :data:`BUDGET`."""
    torch.manual_seed(0)
    name, _, differences = variant.partition(" ")
    model = build(name, BUDGET["frames"], **({"differences": True} if differences else {})).train()
    clip = torch.rand(BUDGET["batch"], 1, BUDGET["frames"], *BUDGET["size"])
    deployed = reparameterize(model)
    trained = count(model, lambda: model(clip, clip))[OTHER]
    with torch.inference_mode():
        return {TRAINING: asdict(trained), DEPLOY: asdict(count(deployed, lambda: deployed(clip, clip))[OTHER])}


class Meter:
    """Seconds of each part in either pass and, on a GPU, the most bytes held meanwhile; from when it is made."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.seconds: dict[tuple[str, str], float] = defaultdict(float)
        self.peak: dict[str, int] = defaultdict(int)
        self.part, self.phase = OTHER, FORWARD
        self.since = time.perf_counter()

    def switch(self, part: str, phase: str | None = None) -> None:
        """From now on ``part`` is at work, in ``phase`` where that changes."""
        if self.on_gpu:
            torch.cuda.synchronize()
            self.peak[self.part] = max(self.peak[self.part], torch.cuda.max_memory_allocated())
            torch.cuda.reset_peak_memory_stats()
        self.seconds[self.part, self.phase] += time.perf_counter() - self.since
        self.part, self.phase = part, phase or self.phase
        self.since = time.perf_counter()

    def total(self, phase: str | None = None) -> float:
        """Seconds of one pass, or of all."""
        return sum(s for (_, its), s in self.seconds.items() if phase in (None, its))


@dataclass
class Case:
    """A form of a network: how it runs, what its parts cost, and a meter for each round."""

    form: str
    model: ClipDetector
    run: Run
    costs: dict[str, Cost]
    rounds: list[Meter] = field(default_factory=list)


def cases_of(model: ClipDetector, clip: Tensor, backward: bool, parts: list[str]) -> list[Case]:
    """The training form, if the network has one, and the deploy form."""
    deployed = reparameterize(model)
    with torch.inference_mode():
        cases = [Case(DEPLOY, deployed, forward(deployed, clip), count(deployed, lambda: deployed(clip, clip), parts))]
    if any(p.requires_grad for p in model.parameters()):
        costs = count(model.train(), lambda: model(clip, clip), parts)
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        run = training_step(model, clip, optimizer) if backward else forward(model, clip, grad=True)
        cases.insert(0, Case(TRAINING, model, run, costs))
    for case in cases:
        del case.costs[OTHER]
    return cases


def forward(model: ClipDetector, clip: Tensor, grad: bool = False) -> Run:
    """One pass; with gradients it builds the graph, which is dropped after the time is taken."""

    def run(meter: Meter) -> Tensor:
        with torch.inference_mode(not grad):
            raw: Tensor = model(clip, clip)
        meter.switch(OTHER)
        return raw

    return run


def training_step(model: ClipDetector, clip: Tensor, optimizer: torch.optim.Optimizer) -> Run:
    """One step on random frames, a target in the middle of each."""
    loss = DetectionLoss(model.num_classes)
    h, w = clip.shape[-2:]
    middle = torch.tensor([[w / 2 - 5, h / 2 - 4, w / 2 + 5, h / 2 + 4]], device=clip.device)
    targets = [{"boxes": middle, "labels": torch.zeros(1, dtype=torch.int64, device=clip.device)}] * len(clip)

    def run(meter: Meter) -> None:
        optimizer.zero_grad()
        raw = model(clip, clip)
        meter.switch(LOSS)
        total = loss(raw, targets)["loss"]
        meter.switch(LOSS, BACKWARD)  # from here on hooks on the parts' outputs switch
        total.backward()
        meter.switch(UPDATE)
        optimizer.step()
        meter.switch(OTHER)

    return run


def rows_of(case: Case) -> list[dict[str, Any]]:
    """The figures of each part and, last, of the whole; shares in percent."""
    whole = sum(case.costs.values(), Cost())
    parts = [*case.costs, *sorted({part for m in case.rounds for part, _ in m.seconds} - set(case.costs)), None]
    rows = []
    for part in parts:
        cost = whole if part is None else case.costs.get(part, Cost())
        row: dict[str, Any] = {"form": case.form, "part": part or "total", "parameters": cost.parameters}
        row |= {"GFLOPs": cost.flops / 1e9, "kept MB": cost.kept_bytes / 1e6}
        row["kept %"] = 100 * cost.kept_bytes / whole.kept_bytes if whole.kept_bytes else 0.0
        for phase, total in ((FORWARD, FORWARD), (BACKWARD, BACKWARD), ("step", None)):
            took = [(_seconds(m, part, total), m.total(total)) for m in case.rounds]
            row[f"{phase} ms"] = 1000 * statistics.median(s for s, _ in took)
            row[f"{phase} %"] = statistics.median(100 * s / all_of_it if all_of_it else 0.0 for s, all_of_it in took)
        peaks = [b for m in case.rounds for its, b in m.peak.items() if part in (None, its)]
        row["peak MB"] = max(peaks, default=0) / 1e6
        rows.append(row)
    return rows


def _seconds(meter: Meter, part: str | None, phase: str | None) -> float:
    return sum(s for (a, b), s in meter.seconds.items() if part in (None, a) and phase in (None, b))


def _with_share(figure: float, percent: float) -> str:
    return f"{figure:.1f} {percent:3.0f}%" if figure else ""


def report(given: argparse.Namespace, frames: int, cases: list[Case]) -> None:
    """Prints the table, and writes the file."""
    where = torch.cuda.get_device_name() if given.device.startswith("cuda") else platform.machine()
    title = (
        f"{given.checkpoint or given.model}: {given.batch} clips of {frames} frames, {given.size[0]}x{given.size[1]}, "
        f"{given.threads} threads, {where}, PyTorch {torch.__version__}; {given.rounds} rounds"
    )
    phases = (FORWARD, BACKWARD, "step") if given.backward else (FORWARD,)
    table = Table("part", title=title, box=box.SIMPLE)
    for column in ("parameters", "GFLOPs", "kept MB", *(f"{phase} ms" for phase in phases)):
        table.add_column(column, justify="right")
    on_gpu = given.device.startswith("cuda")
    if on_gpu:
        table.add_column("peak MB", justify="right")
    rows = []
    for case in cases:
        for row in rows_of(case):
            rows.append(row)
            shown = [f"{row['parameters']:,}", f"{row['GFLOPs']:.3f}"]
            shown += [_with_share(row["kept MB"], row["kept %"])]
            shown += [_with_share(row[f"{phase} ms"], row[f"{phase} %"]) for phase in phases]
            shown += [f"{row['peak MB']:.0f}"] if on_gpu else []
            is_last = row["part"] == "total"
            table.add_row(f"{case.form} form" if is_last else row["part"], *shown, end_section=is_last)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if given.json:
        given.json.write_text(json.dumps({"title": title, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
