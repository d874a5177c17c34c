"""Times networks against each other, and against a plain implementation of the published computation, in one run.

python scripts/benchmark.py                                            # all three, 160x160, batch 4
python scripts/benchmark.py --models tdcnet_nano tdcnet_nano:3d tdcnet_nano:2d
python scripts/benchmark.py --forms plain fast recompute --what step --models tdcnet --size 256 256 --batch 2
python scripts/benchmark.py --forms plain fast onnxruntime openvino int8 --what forward --models tdcnet --size 640 640 \
    --batch 1 --threads 2 --json out.json --plot out.png

Training step, and forward pass in deploy form. Forms: "plain" is the published computation, step by step
(tests/plain/network.py); "fast" is this project's, "recompute" its training with model.fusion.recompute=true,
"compiled" goes through torch.compile; "onnxruntime", "openvino" and "int8" are what stage=deploy exports (int8 is
calibrated on noise here, which only its speed does not mind).

Each case is a process of its own, set up as its users run it: all but "plain" as train.py sets the allocator up. They
take turns, and ratios are taken round by round, so that a slow moment of a shared machine falls on all. Kept MB is what
a training step keeps for its backward pass; peak MB is the most memory the process took, or the GPU held, beyond what
it had before its first pass.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # the yardstick is not a part of the package

from tdcnet.allocator import keep_freed_memory
from tdcnet.cost import kept
from tdcnet.deploy import graph
from tdcnet.deploy.backends import OnnxRuntime, OpenVINO
from tdcnet.deploy.fold import reparameterize
from tdcnet.deploy.quantize import quantize
from tdcnet.losses import DetectionLoss
from tdcnet.models import motion_2d, motion_2d_fine, motion_2d_nano, motion_2d_small, tdcnet, tdcnet_nano, tdcnet_small
from tdcnet.models.clip_detector import ClipDetector
from tdcnet.models.detector import STREAMS
from tdcnet.models.single_stream import single_stream
from tests.plain.network import plain

SIZES = {"tdcnet": tdcnet, "tdcnet_small": tdcnet_small, "tdcnet_nano": tdcnet_nano}
LIGHT = {
    "motion_2d": motion_2d,
    "motion_2d_small": motion_2d_small,
    "motion_2d_fine": motion_2d_fine,
    "motion_2d_nano": motion_2d_nano,
}
MODELS = [*SIZES, *LIGHT, *(f"{name}:{stream}" for name in SIZES for stream in STREAMS)]
"""Networks, and TDCNet's single streams as ``tdcnet:2d``."""
STEP, FORWARD = "training step", "forward, deployed"
FORMS = {
    **dict.fromkeys(("plain", "fast", "compiled"), (STEP, FORWARD)),
    "recompute": (STEP,),
    **dict.fromkeys(("onnxruntime", "openvino", "int8"), (FORWARD,)),
}
"""Form -> what it can do."""
OF_TDCNET = ("plain", "recompute")
"""Forms that the light networks do not have: nothing in them was made faster, they have no attention."""


@dataclass
class Case:
    """One thing that is timed, in a process of its own.

    Attributes:
        seconds: of each round.
        kept: MB for the backward pass; None for a forward pass.
        peak: MB, the most so far.
    """

    model: str
    form: str
    what: str
    seconds: list[float] = field(default_factory=list)
    kept: float | None = None
    peak: float = 0.0


def main(arguments: list[str] | None = None) -> int:
    """Times and tells; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(SIZES), metavar="NAME", help="tdcnet:2d ..")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["fast"], help="the first counts as 1, if several")
    parser.add_argument("--what", nargs="+", choices=("step", "forward"), default=["step", "forward"])
    parser.add_argument("--size", type=int, nargs=2, default=(160, 160), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=7, help="each times every case once; medians are told")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="mixed precision: autocast, or OpenVINO's hint")
    parser.add_argument("--json", type=Path, help="also writes the figures there")
    parser.add_argument("--plot", type=Path, help="also draws the ratios there, as PNG, SVG or PDF")
    given = parser.parse_args(arguments)

    wanted = [{"step": STEP, "forward": FORWARD}[what] for what in given.what]
    cases = [
        Case(name, form, what)
        for name in given.models
        for form in given.forms
        for what in wanted
        if what in FORMS[form] and not (name in LIGHT and form in OF_TDCNET)
    ]
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        workers = []
        for i, case in enumerate(cases):
            here, there = context.Pipe()
            inputs = (there, case.model, case.form, case.what, given, Path(folder) / str(i))
            context.Process(target=work, args=inputs, daemon=True).start()
            there.close()  # or its end would not be noticed
            workers.append(here)
        for case, worker in zip(track(cases, "starting"), workers, strict=True):
            case.kept = receive(worker, case)
        for i in track(range(given.rounds + 1), "timing"):  # the first round warms up
            for case, worker in zip(cases, workers, strict=True):
                worker.send("run")
                seconds, case.peak = receive(worker, case)
                if i:
                    case.seconds.append(seconds)
        for worker in workers:
            worker.send("end")
    report(given, cases)
    return 0


def receive(worker: Connection, case: Case) -> Any:
    """What a worker sends.

    Raises:
        RuntimeError: if it has ended instead; its own message stands before.
    """
    try:
        return worker.recv()
    except EOFError as error:
        raise RuntimeError(f"{case.model}, {case.form}, {case.what}: the process ended, see above") from error


# -- in the processes --------------------------------------------------------------------------------------------------


def work(pipe: Connection, name: str, form: str, what: str, given: argparse.Namespace, folder: Path) -> None:
    """Builds a case, sends the MB it keeps, then runs it whenever told and sends seconds and peak MB."""
    if form != "plain":
        keep_freed_memory()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    torch.manual_seed(0)
    clip = torch.rand(given.batch, 1, given.frames, *given.size, device=device)
    model = build(name, given.frames).to(device)
    if form == "recompute":
        for scale in model.fusion.scales:  # type: ignore[union-attr]
            scale.recompute = True
    if what == STEP:
        network = plain(model.train()) if form == "plain" else model.train()
        run = training_step(torch.compile(network) if form == "compiled" else network, clip, given.bf16)
        before = _resident()
        pipe.send(kept(run, model.parameters()) / 1e6)
    else:
        network = plain(model.eval(), deployed=True).eval() if form == "plain" else reparameterize(model.eval())
        network = torch.compile(network) if form == "compiled" else network
        if form in ("onnxruntime", "openvino", "int8"):
            network = exported(form, network, clip, folder, given)
        run = forward(network, clip, given.bf16)
        before = _resident()
        pipe.send(None)
    while pipe.recv() == "run":
        pipe.send(timed(run, device, before))


def build(name: str, frames: int, **options: Any) -> ClipDetector:
    """A network by its name, or a single stream as ``tdcnet:2d``."""
    if name in LIGHT:
        return LIGHT[name](num_frames=frames, **options)
    size, _, stream = name.partition(":")
    model = SIZES[size](num_frames=frames, **options)
    return single_stream(model, stream) if stream else model


def exported(form: str, model: nn.Module, clip: Tensor, folder: Path, given: argparse.Namespace) -> nn.Module:
    """The network in another runtime."""
    path = graph.to_onnx(model, folder / "model.onnx", tuple(clip.shape[1:]))  # type: ignore[arg-type]
    if form == "onnxruntime":
        return OnnxRuntime(path, given.threads)
    path = graph.to_openvino(path, folder / "model.xml")
    if form == "int8":
        path = quantize(path, folder / "model_int8.xml", [(clip[:1], clip[:1])] * 4)
    return OpenVINO(path, given.threads, "bf16" if given.bf16 else "f32")


def training_step(model: nn.Module, clip: Tensor, bf16: bool = False) -> Callable[[], None]:
    """One step of AdamW on random frames, a target in each."""
    loss, optimizer = DetectionLoss(1), torch.optim.AdamW(model.parameters(), fused=True)
    box = torch.tensor([[50.0, 50.0, 60.0, 58.0]], device=clip.device)
    targets = [{"boxes": box, "labels": torch.zeros(1, dtype=torch.int64, device=clip.device)}] * len(clip)

    def run() -> None:
        optimizer.zero_grad()
        with torch.autocast(clip.device.type, torch.bfloat16, enabled=bf16):
            raw = model(clip, clip)
        loss(raw, targets)["loss"].backward()
        optimizer.step()

    return run


def forward(model: nn.Module, clip: Tensor, bf16: bool = False) -> Callable[[], None]:
    """One pass without gradients."""

    @torch.inference_mode()
    def run() -> None:
        with torch.autocast(clip.device.type, torch.bfloat16, enabled=bf16):
            model(clip, clip)

    return run


def timed(run: Callable[[], None], device: torch.device, before: int) -> tuple[float, float]:
    """Seconds of one call, the device's work included, and the most MB so far."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    if on_gpu:
        return seconds, torch.cuda.max_memory_allocated() / 1e6
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6


def _resident() -> int:
    """Bytes of memory this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


# -- what was found ----------------------------------------------------------------------------------------------------


def report(given: argparse.Namespace, cases: list[Case]) -> None:
    """Prints the table, writes the file, draws the plot."""
    where = torch.cuda.get_device_name() if given.device.startswith("cuda") else platform.machine()
    title = (
        f"{given.batch} clips of {given.frames} frames, {given.size[0]}x{given.size[1]}, {given.threads} threads, "
        f"{where}, PyTorch {torch.__version__}{', bf16' if given.bf16 else ''}; {given.rounds} rounds"
    )
    columns = ("model", "form", Column("what", no_wrap=True), "median s", "least s", "most s", "ratio")
    table = Table(*columns, "kept MB", "peak MB", title=title)
    rows = []
    for case in cases:
        first = next(
            other for other in cases if other.what == case.what and (len(given.forms) == 1 or other.model == case.model)
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
            "kept megabytes": case.kept,
            "peak megabytes": case.peak,
        }
        rows.append(row)
        told = [f"{row[key]:.3f}" for key in ("seconds", "least", "most", "ratio")]
        held = "" if case.kept is None else f"{case.kept:.0f}"
        table.add_row(case.model, case.form, case.what, *told, held, f"{case.peak:.0f}")
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if given.json:
        given.json.write_text(json.dumps({"title": title, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    if given.plot:
        draw(given.plot, title, rows)


def draw(path: Path, title: str, rows: list[dict[str, Any]]) -> None:
    """Bars of the ratios, a panel for each of what is timed."""
    what = list(dict.fromkeys(row["what"] for row in rows))
    figure = Figure(figsize=(10, 1 + 0.35 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, name in zip(figure.subplots(len(what), squeeze=False)[:, 0], what, strict=True):
        shown = [row for row in rows if row["what"] == name][::-1]
        bars = panel.barh([f"{row['model']}, {row['form']}" for row in shown], [row["ratio"] for row in shown])
        panel.bar_label(bars, [f"{row['ratio']:.2f} ({row['seconds']:.3f} s)" for row in shown], padding=3)
        panel.set_xlabel(f"{name}: share of the time of {shown[-1]['ratio to']}")
        panel.margins(x=0.2)
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
