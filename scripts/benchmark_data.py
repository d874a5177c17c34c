"""Times loading, alignment and evaluation, against the published loader and against bare forward passes, in one run.

python scripts/benchmark_data.py                                    # made-up clips, 640x512 to 640x640, one worker
python scripts/benchmark_data.py --rounds 9 --model tdcnet --evaluated 8 --json out.json

Clips are made up in a temporary folder (some 100 MB). The published loader (tests/plain/loader.py) decodes ten PNG
files for each sample; ours reads five frames and registers them by homographies computed before, from PNG files or
from frames decoded once (dataset.decode=ahead), drawn at random as in training or one after another as in evaluation.
All load through one worker process that is warm. Each round times every case once, and ratios are taken round by
round, so that a slow moment of a shared machine falls on all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parents[1]))  # the yardstick is not a part of the package

from tdcnet.allocator import keep_freed_memory
from tdcnet.data.alignment import Aligner, warp
from tdcnet.data.clips import ClipDataset
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.data.formats import irstd_uav
from tdcnet.data.homographies import HomographyStore, align_sequences
from tdcnet.data.synthetic import SyntheticConfig, write_dataset
from tdcnet.detection import DetectionModule
from tdcnet.models import tdcnet, tdcnet_nano, tdcnet_small
from tests.plain import loader

MODELS = {"tdcnet": tdcnet, "tdcnet_small": tdcnet_small, "tdcnet_nano": tdcnet_nano}
PUBLISHED, BARE = "published loader", "forward passes alone"
T = 5


@dataclass
class Case:
    """One thing that is timed.

    Attributes:
        name: what it is.
        of: what a round does many of.
        run: does it once; returns how many that were.
        against: name of the case that it is compared with.
        rates: how many a second, of each round.
    """

    name: str
    of: str
    run: Callable[[], int]
    against: str | None = None
    rates: list[float] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> int:
    """Times and tells; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stored", type=int, nargs=2, default=(512, 640), metavar=("H", "W"), help="size of frames")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 640), metavar=("H", "W"), help="size of samples")
    parser.add_argument("--frames", type=int, default=50, help="of each of 5 sequences (%(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="samples at once (%(default)s)")
    parser.add_argument("--published", type=int, default=24, help="samples a round of that loader (%(default)s)")
    parser.add_argument("--evaluated", type=int, default=12, help="frames evaluated a round; 0 for none (%(default)s)")
    parser.add_argument("--model", choices=MODELS, default="tdcnet_nano", help="that evaluates (%(default)s)")
    parser.add_argument("--device", default="cpu", help="of the evaluation")
    parser.add_argument("--rounds", type=int, default=5, help="medians are told (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; the worker has one (%(default)s)")
    parser.add_argument("--json", type=Path, help="also writes the figures there")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(1)

    with tempfile.TemporaryDirectory() as folder:
        root = make_clips(Path(folder), given)
        cases, sizes = cases_of(root, given)
        for i in track(range(given.rounds + 1), "timing"):  # the first round warms up
            for case in cases:
                start = time.perf_counter()
                count = case.run()
                if i:
                    case.rates.append(count / (time.perf_counter() - start))
    report(given, cases, sizes)
    return 0


def make_clips(folder: Path, given: argparse.Namespace) -> Path:
    """Four sequences to train on and one to evaluate, from cameras that move."""
    height, width = given.stored
    config = SyntheticConfig(height=height, width=width, frames=given.frames, static_fraction=0.0, targets=(1, 3))
    return write_dataset(folder / "clips", config, 4, 1)


def cases_of(root: Path, given: argparse.Namespace) -> tuple[list[Case], str]:
    """What is timed, and how large a frame is as PNG."""
    modules = {
        "PNG": data_module(root, given, decode="on_the_fly"),
        "decoded once": data_module(root, given, decode="ahead"),
    }
    trained = modules["PNG"].train_dataset
    assert trained is not None
    cases = [Case(PUBLISHED, "samples", counted(published(root, trained, given)))]
    for kind, module in modules.items():
        for order, batches in (("at random", module.train_dataloader()), ("in order", module.val_dataloader())):
            cases.append(Case(f"{kind}, {order}", "samples", counted(batches), PUBLISHED))
    cases.append(Case("alignment, PNG, one core", "pairs", alignment(root)))
    if given.evaluated:
        cases += evaluation(root, given)
    bytes_each = statistics.mean(path.stat().st_size for path in (root / "images").rglob("*.png"))
    return cases, f"PNG of {bytes_each / 1e3:.0f} kB"


def data_module(root: Path, given: argparse.Namespace, **options: Any) -> ClipDataModule:
    """The clips as training gets them, decoded and registered."""
    options = {"batch_size": given.batch, "samples_per_epoch": min(100, 4 * given.frames)} | options
    module = ClipDataModule(
        irstd_uav.read,
        root,
        tuple(given.size),
        num_frames=T,
        num_workers=1,
        homography_dir=root.parent / "homographies",
        cache_dir=root.parent / "cache",
        **options,
    )
    module.prepare_data()
    module.setup()
    return module


def counted(batches: Iterable[Any]) -> Callable[[], int]:
    """Loads all batches; returns the number of samples."""
    return lambda: sum(len(batch["frames"]) for batch in batches)


def published(root: Path, dataset: ClipDataset, given: argparse.Namespace) -> DataLoader[Any]:
    """The published loader on random clips, whose registered frames are written as PNG."""
    clips = []
    for item in np.random.default_rng(0).permutation(len(dataset))[: given.published]:
        sequence, newest = dataset.locate(int(item))
        positions = sequence.clip_indices(newest, T)
        images = [sequence.frames.read(position) for position in positions]
        assert dataset.homographies is not None
        matrices = dataset.homographies.get(sequence, newest)
        assert matrices is not None
        folder = root.parent / "matches" / sequence.name / str(newest)
        folder.mkdir(parents=True)
        registered = [folder / f"match_{number}.png" for number in range(1, T + 1)]
        for path, image, matrix in zip(registered, images, matrices, strict=True):
            cv2.imwrite(str(path), warp(image, matrix, images[-1]))
        frames = [Path(sequence.frames.where(position)) for position in positions]
        clips.append((registered, frames, sequence.boxes[newest]))
    return DataLoader(
        loader.PublishedLoader(clips, tuple(given.size)),
        given.batch,
        shuffle=True,
        num_workers=1,
        collate_fn=loader.collate,
        persistent_workers=True,
    )


def alignment(root: Path) -> Callable[[], int]:
    """Registers all clips of one sequence, its frames read from PNG; returns the number of pairs."""
    sequences = irstd_uav.read(root, "val")

    def run() -> int:
        with tempfile.TemporaryDirectory() as folder:
            store = HomographyStore(Path(folder), T, 1)
            return align_sequences(sequences, store, Aligner(), processes=1, progress=False).pairs

    return run


def evaluation(root: Path, given: argparse.Namespace) -> list[Case]:
    """Forward passes on clips that are there, and all that validation does, its loader included."""
    step = max(1, given.frames // given.evaluated)
    data = data_module(root, given, decode="ahead", val_step=step)
    torch.manual_seed(0)
    module = DetectionModule(MODELS[given.model](num_frames=T)).eval().to(given.device)
    batches = data.val_dataloader()
    ready = [module.inputs(moved(batch, given.device)) for batch in batches]

    @torch.inference_mode()
    def bare() -> int:
        keep_freed_memory()  # as train.py does; here, when the workers that load are running, which have it or have not
        for aligned, frames in ready:
            module(aligned, frames)
        wait(given.device)
        return sum(len(frames) for _, frames in ready)

    @torch.inference_mode()
    def validation() -> int:
        for number, batch in enumerate(batches):
            module.validation_step(moved(batch, given.device), number)
        module.metrics.compute()
        module.metrics.reset()
        wait(given.device)
        return sum(len(frames) for _, frames in ready)

    return [
        Case(f"{given.model}: {BARE}", "frames", bare),
        Case(f"{given.model}: evaluation", "frames", validation, f"{given.model}: {BARE}"),
    ]


def moved(batch: dict[str, Any], device: str) -> dict[str, Any]:
    """A batch on a device, as Lightning moves it."""
    batch = {k: v.to(device, non_blocking=True) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    return batch | {k: [v.to(device) for v in batch[k]] for k in ("boxes", "labels", "original_boxes")}


def wait(device: str) -> None:
    """Until a GPU has done its work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def report(given: argparse.Namespace, cases: list[Case], sizes: str) -> None:
    """Prints the table, and writes the file."""
    title = (
        f"T = {T}, {given.stored[1]}x{given.stored[0]} ({sizes}) to {given.size[1]}x{given.size[0]}, batches of "
        f"{given.batch}, one worker of one thread, {given.threads} of PyTorch; {given.rounds} rounds; "
        f"PyTorch {torch.__version__}, OpenCV {cv2.__version__}, numpy {np.__version__}"
    )
    columns = (Column("what", no_wrap=True), "a second", "least", "most", "ratio")
    table = Table(*columns, title=title, caption=f"loading: ratio to {PUBLISHED}; evaluation: to {BARE}")
    rates, rows = {case.name: case.rates for case in cases}, []
    for case in cases:
        ratio = None
        if case.against is not None:
            ratio = statistics.median(a / b for a, b in zip(case.rates, rates[case.against], strict=True))
        row = {
            "what": case.name,
            "a second": statistics.median(case.rates),
            "least": min(case.rates),
            "most": max(case.rates),
            "of": case.of,
            "ratio": ratio,
            "ratio to": case.against,
        }
        rows.append(row)
        told = [f"{row[key]:.1f}" for key in ("a second", "least", "most")]
        table.add_row(f"{case.name} ({case.of})", *told, "" if ratio is None else f"{ratio:.2f}")
    Console().print(table)
    if given.json:
        given.json.write_text(json.dumps({"title": title, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
