"""Measures background alignment: its error on pans that are known, its speed, and what it does to real clips.

python scripts/measure_alignment.py [--pairs 40] [--clips 24] [--drone-ir data/drone_ir]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.alignment import Aligner, warp
from tdcnet.data.camera import Camera
from tdcnet.data.errors import DataError
from tdcnet.data.formats import drone_ir
from tdcnet.data.sequence import Sequence
from tdcnet.data.synthetic import SyntheticConfig, generate_clip
from tdcnet.shown import lines

Array = NDArray[np.float32]
Shape = tuple[int, int]
SHAPES = ((512, 640), (256, 320))
MOVES = ("pan", "wide pan", "rotation and zoom", "perspective")


def fractal(size: int, exponent: float, rng: np.random.Generator) -> Array:
    """Noise [size, size] of standard deviation 1 whose amplitude falls as frequency ** -exponent, blurred by a lens."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    spectrum *= frequency**-exponent * np.exp(-2 * (np.pi * frequency * 1.4) ** 2)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return (noise / noise.std()).astype(np.float32)


def terrain(size: int, rng: np.random.Generator) -> Array:
    return 25 * fractal(size, 1.6, rng)


def dim_terrain(size: int, rng: np.random.Generator) -> Array:
    return 5 * fractal(size, 1.6, rng)


def clouds(size: int, rng: np.random.Generator) -> Array:
    """Soft and faint: what is sharp enough to register on is weaker than the noise."""
    return 8 * fractal(size, 2.0, rng)


def horizon(size: int, rng: np.random.Generator) -> Array:
    """Terrain below, a nearly empty sky above."""
    height = np.arange(size, dtype=np.float32)[:, None] / size
    ground = height + 0.02 * fractal(size, 1.6, rng) > 0.6
    return np.where(ground, 40 + terrain(size, rng), 2 * fractal(size, 2.2, rng) - 20 * height).astype(np.float32)


def random_move(kind: str, shape: Shape, rng: np.random.Generator) -> NDArray[np.float64]:
    """A homography [3, 3] about the centre of the frame, in px."""
    height, width = shape
    centre = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1]])
    move = np.eye(3)
    move[:2, 2] = rng.uniform(25, 60, 2) * rng.choice([-1, 1], 2) if kind == "wide pan" else rng.uniform(-12, 12, 2)
    if kind in ("rotation and zoom", "perspective"):
        angle, zoom = np.deg2rad(rng.uniform(-2, 2)), rng.uniform(0.98, 1.02)
        move[:2, :2] = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if kind == "perspective":
        move[2, :2] = rng.uniform(-3e-5, 3e-5, 2) * 640 / width
    return centre @ move @ np.linalg.inv(centre)


def pair(
    scene: Callable[[int, np.random.Generator], Array],
    move: NDArray[np.float64],
    shape: Shape,
    rng: np.random.Generator,
    pattern_level: float,
) -> list[NDArray[np.uint8]]:
    """Two frames of a scene: noise of 2 grey levels, and pattern, stripes and hot pixels that stay with the sensor."""
    height, width = shape
    size = 2048 if width > 400 else 1024
    canvas = scene(size, rng)
    to_canvas = np.array([[2, 0, size / 2 - width], [0, 2, size / 2 - height], [0, 0, 1.0]])
    pattern = rng.normal(0, pattern_level, shape) + rng.normal(0, pattern_level / 2, (1, width))
    hot = rng.random(shape) < 2e-4
    pattern[hot] += rng.choice([-80, 100], int(hot.sum()))
    frames = []
    for matrix, brightness in ((np.eye(3), 110), (move, 116)):
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        image = cv2.warpPerspective(
            canvas, to_canvas @ np.linalg.inv(matrix), (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT
        )
        frames.append(np.clip(brightness + image + pattern + rng.normal(0, 2, shape), 0, 255).round().astype(np.uint8))
    return frames


def displacement(homography: NDArray[np.floating], other: NDArray[np.floating], shape: Shape) -> float:
    """Mean distance in px between where two homographies send a grid over the frame."""
    x, y = np.meshgrid(np.linspace(0, shape[1] - 1, 9), np.linspace(0, shape[0] - 1, 9))
    grid = np.stack([x, y], axis=-1).reshape(1, -1, 2)
    sent = [cv2.perspectiveTransform(grid, np.asarray(matrix, np.float64)) for matrix in (homography, other)]
    return float(np.linalg.norm(sent[0] - sent[1], axis=-1).mean())


def report_synthetic(pairs: int, seed: int, pattern_level: float) -> None:
    aligner = Aligner()
    print(f"(a) error in px on {pairs} synthetic pairs each, fixed pattern {pattern_level}, seed {seed}")
    print("(b) ms for a pair from scratch (one thread)")
    print(f"{'frames':9}{'scene':14}{'move':20}{'median':>8}{'p95':>8}{'moved':>8}{'left':>6}{'ms':>7}")
    for shape in SHAPES:
        spent: list[float] = []
        for scene in (terrain, horizon, dim_terrain, clouds):
            for kind in MOVES:
                rng = np.random.default_rng(seed)
                errors, moved, left = [], [], 0
                for _ in range(pairs):
                    move = random_move(kind, shape, rng)
                    frame, newest = pair(scene, move, shape, rng, pattern_level)
                    began = time.perf_counter()
                    found, cause = aligner.register(aligner.prepare(frame), aligner.prepare(newest))
                    spent.append(1e3 * (time.perf_counter() - began))
                    errors.append(displacement(found, move, shape))
                    moved.append(displacement(np.eye(3), move, shape))
                    left += cause is not None
                print(
                    f"{shape[1]}x{shape[0]:<5}{scene.__name__:14}{kind:20}{np.median(errors):8.3f}"
                    f"{np.quantile(errors, 0.95):8.3f}{np.median(moved):8.1f}{left:6}{np.median(spent[-pairs:]):7.1f}"
                )
        report_speed(shape, spent)


def report_speed(shape: Shape, spent: list[float]) -> None:
    aligner, rng = Aligner(), np.random.default_rng(0)
    frame, newest = pair(terrain, random_move("rotation and zoom", shape, rng), shape, rng, 1.0)
    a, b = aligner.prepare(frame), aligner.prepare(newest)

    def best(what: Callable[[], object]) -> float:
        times = []
        for _ in range(30):
            began = time.perf_counter()
            what()
            times.append(1e3 * (time.perf_counter() - began))
        return float(np.median(times))

    one, two, still = (
        best(lambda: aligner.prepare(frame)),
        best(lambda: aligner.register(a, b)),
        best(lambda: aligner.register(b, b)),
    )
    print(
        f"{shape[1]}x{shape[0]}: {np.median(spent):.1f} ms a pair from scratch; {one:.1f} ms to prepare a frame, "
        f"then {two:.1f} ms a pair of a moving camera, {still:.1f} ms of one that stands still\n"
    )


def report_drone_ir(root: Path, stride: int, step: int) -> None:
    """Over a stride, which clips move, and what is left of their background's difference, root mean square and mean."""
    aligner, ratios, means = Aligner(), [], []
    print(
        f"(c) drone_ir, frames {stride} apart, every {step}th pair; moved: by more than 0.5 px; ratio: after / before"
    )
    print(f"{'clip':22}{'pairs':>6}{'moved':>6}{'median px':>11}{'max px':>8}{'rms ratio':>11}{'mean ratio':>12}")
    for sequence in [s for split in ("train", "val") for s in drone_ir.read(root, split)]:
        way, figures = [], []
        for index in range(stride, len(sequence), step):
            frame, newest = sequence.frames.read(index - stride), sequence.frames.read(index)
            homography, _ = aligner.register(aligner.prepare(frame), aligner.prepare(newest))
            way.append(displacement(np.eye(3), homography, (frame.shape[0], frame.shape[1])))
            figures.append(
                [
                    _difference(sequence, index, image, newest, homography)
                    for image in (frame, warp(frame, homography, newest))
                ]
            )
        moves = np.array(way) > 0.5
        if moves.sum() < 3:
            continue
        (rms_before, mean_before), (rms_after, mean_after) = np.moveaxis(np.array(figures)[moves], 0, -1)
        rms, mean = float(np.median(rms_after / rms_before)), float(np.median(mean_after / mean_before))
        ratios.append(rms)
        means.append(mean)
        print(
            f"{sequence.name:22}{len(way):6}{moves.sum():6}{np.median(way):11.2f}{max(way):8.2f}{rms:11.2f}{mean:12.2f}"
        )
    if ratios:
        print(
            f"{len(ratios)} clips with three moving pairs or more; "
            f"median of rms {np.median(ratios):.2f}, of mean {np.median(means):.2f}"
        )


def _difference(
    sequence: Sequence, index: int, image: NDArray[np.uint8], newest: NDArray[np.uint8], homography: Array
) -> tuple[float, float]:
    """Root mean square and mean of the difference without targets and px that come into view."""
    seen = cv2.warpPerspective(
        np.ones_like(newest), homography.astype(np.float64), newest.shape[::-1], flags=cv2.INTER_NEAREST
    )
    for x1, y1, x2, y2 in sequence.boxes[index].astype(int):
        seen[max(y1 - 20, 0) : y2 + 20, max(x1 - 20, 0) : x2 + 20] = 0
    difference = cv2.absdiff(image, newest)[seen > 0].astype(np.float64)
    return float(np.sqrt((difference**2).mean())), float(difference.mean())


def report_distances(clips: int, seed: int, pans: tuple[float, ...] = (1.5, 6.0)) -> None:
    """Over many frames: each pair registered by itself, every 12th frame chained, and composed over keyframes."""
    aligner, shape, distances = Aligner(), (256, 320), (12, 24, 36, 48, 60)
    print(
        f"\nmade-up clips of {shape[1]}x{shape[0]}, px after so many frames, median / 90th percentile of {clips} clips"
    )
    for pan in pans:
        errors: dict[tuple[str, int], list[float]] = {}
        config = SyntheticConfig(height=shape[0], width=shape[1], frames=61, static_fraction=0.0, pan=pan)
        for number in range(clips):
            clip = generate_clip(config, seed + number)
            ready = [aligner.prepare(frame) for frame in clip.frames]
            camera = Camera(aligner.register)
            for position, image in enumerate(ready):
                camera.add(position, image)
            chained = np.eye(3)
            for distance in distances:
                frame = 60 - distance
                chained = chained @ aligner.register(ready[frame], ready[frame + 12])[0]
                pair = aligner.register(ready[frame], ready[60])[0]
                for way, found in (("pairs", pair), ("chained", chained), ("keyframes", camera.between(frame, 60))):
                    away = displacement(found, clip.homography(frame, 60), shape)
                    errors.setdefault((way, distance), []).append(away)
        print(f"camera of up to {pan:g} px a frame" + "".join(f"{distance:>16}" for distance in distances))
        for way in ("pairs", "chained", "keyframes"):
            told = (np.percentile(errors[way, distance], (50, 90)) for distance in distances)
            print(f"{way:<29}" + "".join(f"{f'{median:.2f} / {most:.2f}':>16}" for median, most in told))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40, help="synthetic pairs of each kind, 0 for none (%(default)s)")
    parser.add_argument(
        "--pattern", type=float, default=1.0, help="fixed pattern, grey levels; noise is 2 (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=100, help="not 0 or 1, on which constants were chosen (%(default)s)"
    )
    parser.add_argument("--drone-ir", type=Path, metavar="ROOT", help="folder of the data set drone_ir")
    parser.add_argument(
        "--clips", type=int, default=0, help="made-up ones of 61 frames, for long distances (%(default)s)"
    )
    parser.add_argument("--stride", type=int, default=4, help="frames between real pairs (%(default)s)")
    parser.add_argument("--step", type=int, default=4, help="frames from one real pair to the next (%(default)s)")
    given = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        if given.pairs > 0:
            report_synthetic(given.pairs, given.seed, given.pattern)
        if given.clips > 0:
            report_distances(given.clips, given.seed)
        if given.drone_ir is not None:
            report_drone_ir(given.drone_ir, given.stride, given.step)
    except (DataError, OSError) as error:
        print(lines(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
