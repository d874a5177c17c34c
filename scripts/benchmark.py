"""Times the networks against each other, in one run: training step and forward pass in deploy form.

python scripts/benchmark.py                                   # all three, 160x160, batch 4
python scripts/benchmark.py --size 640 640 --batch 1 --threads 2 --json out.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from tdcnet.deploy.fold import reparameterize
from tdcnet.losses import DetectionLoss
from tdcnet.models import tdcnet, tdcnet_nano, tdcnet_small

MODELS = {"tdcnet": tdcnet, "tdcnet_small": tdcnet_small, "tdcnet_nano": tdcnet_nano}


def main(arguments: list[str] | None = None) -> int:
    """Times and tells; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="the first one counts as 1")
    parser.add_argument("--size", type=int, nargs=2, default=(160, 160), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=7, help="each times every model once; medians are told")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="also writes the figures there")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)

    torch.manual_seed(0)
    clip = torch.rand(args.batch, 1, args.frames, *args.size, device=device)
    runs: dict[tuple[str, str], Callable[[], None]] = {}
    for name in args.models:
        model = MODELS[name](num_frames=args.frames).to(device)
        deployed = reparameterize(model.eval())
        runs[name, "training step"] = training_step(model.train(), clip)
        runs[name, "forward, deployed"] = forward(deployed, clip)

    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for i in track(range(args.rounds + 1), "timing"):  # the first round warms up
        for key, run in runs.items():
            seconds = timed(run, device)
            if i:
                times[key].append(seconds)
    report(args, times)
    return 0


def training_step(model: nn.Module, clip: torch.Tensor) -> Callable[[], None]:
    """One step of AdamW on random frames, a target in each."""
    loss, optimizer = DetectionLoss(1), torch.optim.AdamW(model.parameters(), fused=True)
    box = torch.tensor([[50.0, 50.0, 60.0, 58.0]], device=clip.device)
    targets = [{"boxes": box, "labels": torch.zeros(1, dtype=torch.int64, device=clip.device)}] * len(clip)

    def run() -> None:
        optimizer.zero_grad()
        loss(model(clip, clip), targets)["loss"].backward()
        optimizer.step()

    return run


def forward(model: nn.Module, clip: torch.Tensor) -> Callable[[], None]:
    """One pass without gradients."""

    @torch.inference_mode()
    def run() -> None:
        model(clip, clip)

    return run


def timed(run: Callable[[], None], device: torch.device) -> float:
    """Seconds of one call, the device's work included."""
    synchronise = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    synchronise()
    start = time.perf_counter()
    run()
    synchronise()
    return time.perf_counter() - start


def report(args: argparse.Namespace, times: dict[tuple[str, str], list[float]]) -> None:
    """Prints the table, and writes the file."""
    where = torch.cuda.get_device_name() if args.device.startswith("cuda") else platform.machine()
    title = (
        f"{args.batch} clips of {args.frames} frames, {args.size[0]}x{args.size[1]}, {args.threads} threads, {where}, "
        f"PyTorch {torch.__version__}; {args.rounds} rounds"
    )
    table = Table("model", "what", "median s", "least s", "most s", f"ratio to {args.models[0]}", title=title)
    rows = []
    for (name, what), values in times.items():
        # Round by round, so that a slow moment of a shared machine falls on both.
        ratios = [value / first for value, first in zip(values, times[args.models[0], what], strict=True)]
        row = {
            "model": name,
            "what": what,
            "seconds": statistics.median(values),
            "least": min(values),
            "most": max(values),
            "ratio": statistics.median(ratios),
        }
        rows.append(row)
        table.add_row(name, what, *(f"{row[key]:.3f}" for key in ("seconds", "least", "most", "ratio")))
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps({"title": title, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
