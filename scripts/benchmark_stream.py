"""Frames a second and latency of a stream from arrival to tracks, beside frame-by-frame `predict`, in one run.

python scripts/benchmark_stream.py                                            # all sizes, the detectors of the package
python scripts/benchmark_stream.py --detectors motion_2d --runtimes pytorch openvino --sizes 320x256 --json out.json

Made-up clips; the camera pans, or stands still (registration is on in both, as nothing tells it). First frames are
taken as fast as they can be, registration and tracking included; then they arrive at a rate (--rate, or 0.8 of what was
reached where that is less), and latency is that of each frame from its arrival. `predict` is timed on the same frames.
A graph's input has one size: it is exported for each, and what does not fit is cut into tiles of 640x512 px.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import tdcnet
from tdcnet.allocator import keep_freed_memory
from tdcnet.data.synthetic import SyntheticConfig, generate_clip
from tdcnet.deploy import formats
from tdcnet.deploy.weights import export
from tdcnet.inference.detector import Detector, load

TILE = (512, 640)
WARM = 10


def frames_of(size: tuple[int, int], count: int, moves: bool) -> list[NDArray[np.uint8]]:
    """Frames of a made-up clip, of a camera that pans or stands still."""
    config = SyntheticConfig(
        height=size[0], width=size[1], frames=count, targets=(1, 3), static_fraction=0.0 if moves else 1.0
    )
    return list(generate_clip(config, 1).frames)


def prepared(name: str, runtime: str, size: tuple[int, int], folder: Path) -> Detector:
    """A detector for frames of a size."""
    detector = tdcnet.load(name)
    fits = size[0] <= TILE[0] and size[1] <= TILE[1]
    detector.size = size if fits else TILE
    if runtime == "pytorch":
        return detector
    place = folder / f"{name}_{detector.size[1]}"
    if not place.exists():
        place.mkdir()
        record = detector.record
        export(place, detector.network, record)
        clip = torch.rand(1, 1, detector.num_frames, *detector.size)
        formats.write_graphs(place, detector.network, ["onnx", "openvino"], [(clip, clip)])
    return load(place / ("model.onnx" if runtime == "onnxruntime" else "model.xml"))


def paced(frames: list[NDArray[np.uint8]], rate: float) -> Iterator[NDArray[np.uint8]]:
    """Frames as a camera gives them."""
    start = time.monotonic()
    for number, frame in enumerate(frames):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        yield frame


def measure(detector: Detector, frames: list[NDArray[np.uint8]], rate: float) -> dict[str, Any]:
    """Rate, and latency at a rate of arrival, in ms."""
    for _ in detector.track(frames[:WARM], rate=30.0):
        pass
    start = time.perf_counter()
    for _ in detector.track(frames, rate=30.0):
        pass
    reached = len(frames) / (time.perf_counter() - start)
    arriving = min(rate, 0.8 * reached)
    late = []
    for tracked in detector.track(paced(frames, arriving), rate=30.0):
        late.append(1e3 * (time.monotonic() - tracked.frame.arrival))
    some = frames[: max(WARM, len(frames) // 4)]
    start = time.perf_counter()
    for _ in detector.predict(iter(some)):
        pass
    predicted = len(some) / (time.perf_counter() - start)
    p50, p95, p99 = np.percentile(late[WARM:], [50, 95, 99])
    return {
        "frames_per_second": reached,
        "predict_frames_per_second": predicted,
        "ratio": reached / predicted,
        "arriving": arriving,
        "latency_ms": {"p50": float(p50), "p95": float(p95), "p99": float(p99)},
    }


def main() -> None:
    """Measures and shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", nargs="+", default=tdcnet.list_models())
    parser.add_argument("--runtimes", nargs="+", default=["pytorch", "onnxruntime", "openvino"])
    parser.add_argument("--sizes", nargs="+", default=["320x256", "640x512", "1920x1080"], help="width x height")
    parser.add_argument("--cameras", nargs="+", default=["pans", "stands"], choices=["pans", "stands"])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rate", type=float, default=1e9, help="frames a second that arrive, at most")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the network")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(given.threads)
    rows = []
    table = Table(
        title=f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {given.threads} threads"
    )
    for column in ("detector", "runtime", "size", "camera", "frames/s", "predict", "ratio", "p50 ms", "p95", "p99"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as folder:
        for size in given.sizes:
            width, height = map(int, size.split("x"))
            count = given.frames if width <= 640 else max(30, given.frames // 6)
            for camera in given.cameras:
                frames = frames_of((height, width), count, camera == "pans")
                for name in given.detectors:
                    for runtime in given.runtimes:
                        detector = prepared(name, runtime, (height, width), Path(folder))
                        found = measure(detector, frames, given.rate)
                        rows.append({"detector": name, "runtime": runtime, "size": size, "camera": camera, **found})
                        late = [f"{value:.0f}" for value in found["latency_ms"].values()]
                        rates = [f"{found[key]:.1f}" for key in ("frames_per_second", "predict_frames_per_second")]
                        table.add_row(name, runtime, size, camera, *rates, f"{found['ratio']:.2f}", *late)
                        print(rows[-1], file=sys.stderr, flush=True)
    Console().print(table)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
