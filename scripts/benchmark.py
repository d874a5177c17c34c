"""Times networks against each other and against a plain implementation of the published computation, in one run.

python scripts/benchmark.py                                            # all three, 160x160, batch 4
python scripts/benchmark.py --models tdcnet_nano tdcnet_nano:3d tdcnet_nano:2d
python scripts/benchmark.py --plain --size 640 640 --batch 1 --threads 2 --models tdcnet --json out.json

Training step and forward pass in deploy form. Ratios are taken round by round, so that a slow moment of a shared
machine falls on all. Memory is what a training step keeps for its backward pass; on a GPU also the most it holds.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # the yardstick is not a part of the package

from tdcnet.cost import kept
from tdcnet.deploy.fold import reparameterize
from tdcnet.losses import DetectionLoss
from tdcnet.models import tdcnet, tdcnet_nano, tdcnet_small
from tdcnet.models.detector import STREAMS
from tdcnet.models.single_stream import single_stream
from tests.plain.network import plain

SIZES = {"tdcnet": tdcnet, "tdcnet_small": tdcnet_small, "tdcnet_nano": tdcnet_nano}
MODELS = [*SIZES, *(f"{name}:{stream}" for name in SIZES for stream in STREAMS)]
"""Networks, and their single streams as ``tdcnet:2d``."""
STEP, FORWARD = "training step", "forward, deployed"


@dataclass
class Case:
    """One thing that is timed.

    Attributes:
        model: name of the network.
        form: ``fast`` or ``plain``.
        what: training step or forward.
        run: does it once.
        seconds: of each round.
        megabytes: kept for the backward pass.
        peak: most megabytes held on the GPU; None elsewhere.
    """

    model: str
    form: str
    what: str
    run: Callable[[], None]
    seconds: list[float] = field(default_factory=list)
    megabytes: float | None = None
    peak: float | None = None


def main(arguments: list[str] | None = None) -> int:
    """Times and tells; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(SIZES), help="the first one counts as 1")
    parser.add_argument("--plain", action="store_true", help="also the plain form of each, which then counts as 1")
    parser.add_argument("--what", nargs="+", choices=("step", "forward"), default=["step", "forward"])
    parser.add_argument("--size", type=int, nargs=2, default=(160, 160), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=7, help="each times every case once; medians are told")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="also writes the figures there")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)

    torch.manual_seed(0)
    clip = torch.rand(given.batch, 1, given.frames, *given.size, device=device)
    cases = [case for name in given.models for case in cases_of(name, clip, given.plain) if _short(case) in given.what]
    for case in cases:
        if case.what == STEP:
            case.megabytes = kept(case.run) / 1e6
    for i in track(range(given.rounds + 1), "timing"):  # the first round warms up
        for case in cases:
            seconds, case.peak = timed(case.run, device)
            if i:
                case.seconds.append(seconds)
    report(given, cases)
    return 0


def _short(case: Case) -> str:
    return "step" if case.what == STEP else "forward"


def cases_of(name: str, clip: Tensor, with_plain: bool) -> list[Case]:
    """What is timed of one network."""
    size, _, stream = name.partition(":")
    model = SIZES[size](num_frames=clip.shape[2]).to(clip.device)
    if stream:
        model = single_stream(model, stream)
    forms = {"fast": (model, reparameterize(model.eval()))}
    if with_plain:
        forms = {"plain": (plain(model.eval()), plain(model.eval(), deployed=True).eval())} | forms
    return [
        case
        for form, (trained, deployed) in forms.items()
        for case in (
            Case(name, form, STEP, training_step(trained.train(), clip)),
            Case(name, form, FORWARD, forward(deployed, clip)),
        )
    ]


def training_step(model: nn.Module, clip: Tensor) -> Callable[[], None]:
    """One step of AdamW on random frames, a target in each."""
    loss, optimizer = DetectionLoss(1), torch.optim.AdamW(model.parameters(), fused=True)
    box = torch.tensor([[50.0, 50.0, 60.0, 58.0]], device=clip.device)
    targets = [{"boxes": box, "labels": torch.zeros(1, dtype=torch.int64, device=clip.device)}] * len(clip)

    def run() -> None:
        optimizer.zero_grad()
        loss(model(clip, clip), targets)["loss"].backward()
        optimizer.step()

    return run


def forward(model: nn.Module, clip: Tensor) -> Callable[[], None]:
    """One pass without gradients."""

    @torch.inference_mode()
    def run() -> None:
        model(clip, clip)

    return run


def timed(run: Callable[[], None], device: torch.device) -> tuple[float, float | None]:
    """Seconds of one call, the device's work included, and the most megabytes that a GPU held."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - start, torch.cuda.max_memory_allocated() / 1e6 if on_gpu else None


def report(given: argparse.Namespace, cases: list[Case]) -> None:
    """Prints the table, and writes the file."""
    where = torch.cuda.get_device_name() if given.device.startswith("cuda") else platform.machine()
    title = (
        f"{given.batch} clips of {given.frames} frames, {given.size[0]}x{given.size[1]}, {given.threads} threads, "
        f"{where}, PyTorch {torch.__version__}; {given.rounds} rounds"
    )
    table = Table(
        Column("model", no_wrap=True),
        "form",
        Column("what", no_wrap=True),
        "median s",
        "least s",
        "most s",
        "ratio",
        "kept MB",
        title=title,
    )
    rows = []
    for case in cases:
        first = next(
            other
            for other in cases
            if other.what == case.what and (not given.plain or (other.model, other.form) == (case.model, "plain"))
        )
        row = {
            "model": case.model,
            "form": case.form,
            "what": case.what,
            "seconds": statistics.median(case.seconds),
            "least": min(case.seconds),
            "most": max(case.seconds),
            "ratio": statistics.median(a / b for a, b in zip(case.seconds, first.seconds, strict=True)),
            "ratio to": f"{first.form} {first.model}",
            "kept megabytes": case.megabytes,
            "peak megabytes": case.peak,
        }
        rows.append(row)
        held = "" if case.megabytes is None else f"{case.megabytes:.0f}"
        table.add_row(
            case.model, case.form, case.what, *(f"{row[k]:.3f}" for k in ("seconds", "least", "most", "ratio")), held
        )
    Console().print(table)
    if given.json:
        given.json.write_text(json.dumps({"title": title, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
