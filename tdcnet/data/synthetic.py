"""Synthetic infrared clips: the built-in data set of the demo and of the tests.

A camera moves over a wide landscape, so the true homography between any two frames is known. Targets are small blobs
that move against the landscape; static hot spots look the same in one frame and do not move: only motion tells them
apart.
The signal-to-clutter ratio (SCR) of a target is |peak contrast| / standard deviation of what surrounds it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.backgrounds import BACKGROUNDS, Image, make_background
from tdcnet.data.errors import DataError
from tdcnet.files import FolderError, check_writable, read_json
from tdcnet.shown import shown

Range = tuple[float, float]

CLUTTER_WINDOW = 21
"""Side of the square in which the clutter round a target is measured, px."""

MAX_CONTRAST = 130.0
"""Brightest target against its surroundings, 8-bit grey levels: beyond it the sensor would clip."""

CLUTTER_MEMORY = 5.0
"""A target's brightness follows the clutter under it over this many frames, so that it does not flicker at edges."""

SIDE_PER_SIGMA = 4.0
"""A box reaches to two sigma on either side of the peak."""

MARKER = "synthetic.json"
GENERATOR_VERSION = 1


@dataclass(frozen=True)
class SyntheticConfig:
    """What the clips look like. Ranges are (lowest, highest) and drawn from uniformly; grey levels are 8-bit ones.

    Attributes:
        height: of a frame, px.
        width: of a frame, px.
        frames: per clip; more than 50 makes more than one segment of the IRSTD-UAV layout.
        bits: 8, or 16 for uint16 frames that hold 14 bits.
        seed: of the whole data set.
        backgrounds: scenes, keys of :data:`tdcnet.data.backgrounds.BACKGROUNDS`; clip seeds take them in turn.
        targets: number of targets of a clip, both ends included.
        scr: signal-to-clutter ratio of a target.
        box_side: side of a target's box, px; small ones are drawn more often.
        aspect: width of a target over its height.
        speed: of a target against the background, px per frame.
        cold_fraction: share of the targets that are darker than what is behind them.
        hot_spots: number of static hot spots per frame area, both ends included.
        static_fraction: share of the clips whose camera stands still.
        pan: largest speed of the camera, px per frame.
        jitter: standard deviation of the camera's shake, px.
        rotation: largest roll of the camera, degrees.
        zoom: largest change of scale, 0.02 is 2 %.
        temporal_noise: standard deviation from frame to frame, grey levels.
        pixel_noise: standard deviation of the fixed pattern, grey levels.
        column_noise: standard deviation of the fixed column stripes, grey levels.
        hot_pixels: number of defective pixels of the sensor, both ends included.
    """

    height: int = 128
    width: int = 160
    frames: int = 60
    bits: int = 8
    seed: int = 0
    backgrounds: tuple[str, ...] = tuple(BACKGROUNDS)
    targets: tuple[int, int] = (0, 3)
    scr: Range = (4.0, 9.0)
    box_side: Range = (4.0, 12.0)
    aspect: Range = (0.8, 1.6)
    speed: Range = (0.4, 3.0)
    cold_fraction: float = 0.0
    hot_spots: tuple[int, int] = (0, 1)
    static_fraction: float = 0.25
    pan: float = 1.5
    jitter: float = 0.2
    rotation: float = 1.0
    zoom: float = 0.015
    temporal_noise: float = 2.0
    pixel_noise: float = 0.8
    column_noise: float = 0.8
    hot_pixels: tuple[int, int] = (0, 2)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, tuple):
                object.__setattr__(self, field.name, tuple(value))
                if field.name != "backgrounds" and not (len(value) == 2 and 0 <= value[0] <= value[1]):
                    raise ValueError(f"{field.name} is {value}; expected (lowest, highest), neither of them negative")
            elif value < 0:
                raise ValueError(f"{field.name} is {value}; it must not be negative")
        if min(self.height, self.width) < 32 or self.frames < 1:
            raise ValueError(
                f"{self.frames} frames of {self.height}x{self.width}; expected at least 1 frame of at least 32x32 px"
            )
        if self.bits not in (8, 16):
            raise ValueError(f"bits is {self.bits}; allowed are 8 and 16")
        if self.box_side[0] < 2 or self.aspect[0] <= 0:
            raise ValueError(
                f"box_side is {self.box_side}, aspect {self.aspect}; expected sides from 2 px, aspects over 0"
            )
        if not self.backgrounds or not set(self.backgrounds) <= set(BACKGROUNDS):
            raise ValueError(f"backgrounds are {self.backgrounds}; allowed are {', '.join(BACKGROUNDS)}")


@dataclass(frozen=True, eq=False)
class TargetTruth:
    """What is known of one target, on all N frames, in view or not.

    Attributes:
        centre: float64 [N, 2], x and y in px of the frame, 0 is the middle of the first pixel.
        sigma: of the blob, horizontally and vertically, px.
        box_size: width and height of its uncut box, px.
        contrast: float64 [N], peak above the background in 8-bit grey levels; negative if cold.
        scr: float64 [N], |contrast| over the clutter round the target, noise included.
        visible: bool [N], whether the centre lies inside the frame.
    """

    centre: NDArray[np.float64]
    sigma: tuple[float, float]
    box_size: tuple[int, int]
    contrast: NDArray[np.float64]
    scr: NDArray[np.float64]
    visible: NDArray[np.bool_]

    def box(self, index: int, height: int, width: int) -> NDArray[np.float32] | None:
        """Box on frame ``index``: whole px, x1, y1, x2, y2, exclusive right and lower edge; None if out of view."""
        if not self.visible[index]:
            return None
        # + 0.5: from pixel middles to pixel edges.
        first = np.floor(self.centre[index] + 0.5 - np.array(self.box_size) / 2 + 0.5)
        corners = np.concatenate([first, first + self.box_size])
        return np.asarray(np.clip(corners, 0, (width, height, width, height)), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class SyntheticClip:
    """A clip with everything that is true of it.

    Attributes:
        frames: [N, H, W], uint8, or uint16 in 0..16383.
        boxes: per frame float32 [M, 4], whole px, ``x1, y1, x2, y2``, exclusive right and lower edge; M may be 0.
        to_world: float64 [N, 3, 3], from pixels of each frame to those of the landscape.
        targets: the targets, also those that leave no box anywhere.
        background: name of the scene.
        target_ids: per frame, which of ``targets`` each box is of.
    """

    frames: NDArray[np.uint8] | NDArray[np.uint16]
    boxes: list[NDArray[np.float32]]
    to_world: NDArray[np.float64]
    targets: tuple[TargetTruth, ...]
    background: str
    target_ids: list[list[int]]

    def homography(self, source: int, destination: int) -> NDArray[np.float64]:
        """[3, 3] that takes pixels of frame ``source`` to those of frame ``destination`` where the background is."""
        matrix = np.linalg.solve(self.to_world[destination], self.to_world[source])
        return np.asarray(matrix / matrix[2, 2], dtype=np.float64)


def _wave(rng: np.random.Generator, frames: int, periods: Range) -> NDArray[np.float64]:
    """A smooth curve [N] in -1..1: two sines of random period and phase."""
    time = np.arange(frames)
    parts = [np.sin(2 * np.pi * (time / rng.uniform(*periods) + rng.random())) for _ in range(2)]
    return np.asarray(0.65 * parts[0] + 0.35 * parts[1])


def _camera(config: SyntheticConfig, rng: np.random.Generator) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """The path of the camera: frame to canvas [N, 3, 3], and the canvas it needs (height, width)."""
    n, middle = config.frames, np.array([(config.width - 1) / 2, (config.height - 1) / 2])
    moves = 0.0 if rng.random() < config.static_fraction else 1.0
    # A sine of period p and speed v swings by v * p / 2 pi: the canvas stays small however long the clip is.
    swing = moves * config.pan * 120 / (2 * np.pi)
    shift = np.stack([swing * _wave(rng, n, (100, 180)), 0.35 * swing * _wave(rng, n, (100, 180))], axis=1)
    shift += moves * config.jitter * rng.standard_normal((n, 2))
    angle = moves * np.radians(config.rotation) * _wave(rng, n, (60, 150))
    scale = 1.0 + moves * config.zoom * _wave(rng, n, (60, 150))
    to_world = np.tile(np.eye(3), (n, 1, 1))
    to_world[:, 0, 0] = to_world[:, 1, 1] = scale * np.cos(angle)
    to_world[:, 1, 0] = scale * np.sin(angle)
    to_world[:, 0, 1] = -to_world[:, 1, 0]
    to_world[:, :2, 2] = shift - to_world[:, :2, :2] @ middle

    right, low = config.width - 1, config.height - 1
    corners = np.array([[0, 0, 1], [right, 0, 1], [0, low, 1], [right, low, 1]], dtype=np.float64)
    seen = (to_world[:, :2] @ corners.T).transpose(0, 2, 1).reshape(-1, 2)
    # Room for the interpolation at the edges; a whole number keeps a still camera on the grid of the canvas.
    border = 4
    to_world[:, :2, 2] += border - seen.min(axis=0)
    x, y = np.ceil(np.ptp(seen, axis=0)).astype(int) + 2 * border + 1
    return to_world, (int(y), int(x))


def _add_blob(image: Image, centre: NDArray[np.float64], sigma: Range, contrast: float) -> None:
    """Adds a Gaussian of peak ``contrast`` at sub-pixel ``centre`` (x, y), in place; parts outside are cut off."""
    (x, y), (sx, sy) = centre, sigma
    height, width = image.shape
    x0, x1 = max(0, int(np.floor(x - 4 * sx))), min(width, int(np.ceil(x + 4 * sx)) + 1)
    y0, y1 = max(0, int(np.floor(y - 4 * sy))), min(height, int(np.ceil(y + 4 * sy)) + 1)
    if x0 >= x1 or y0 >= y1:
        return
    across = np.exp(-0.5 * np.square((np.arange(x0, x1) - x) / sx))
    down = np.exp(-0.5 * np.square((np.arange(y0, y1) - y) / sy))
    image[y0:y1, x0:x1] += contrast * down[:, None] * across[None, :]


def _draw_sigma(config: SyntheticConfig, rng: np.random.Generator) -> Range:
    low, high = config.box_side
    side = low * (high / low) ** rng.random()
    stretch = np.sqrt(rng.uniform(*config.aspect))
    sx, sy = np.clip(np.array([side * stretch, side / stretch]), low, high) / SIDE_PER_SIGMA
    return float(sx), float(sy)


def _clutter(canvas: Image, config: SyntheticConfig) -> Image:
    """Standard deviation round every pixel of the canvas as the sensor sees it, [H, W]."""
    window = (CLUTTER_WINDOW, CLUTTER_WINDOW)
    flat = canvas - canvas.mean()
    variance = np.maximum(cv2.blur(flat * flat, window) - np.square(cv2.blur(flat, window)), 0.0)
    noise = config.temporal_noise**2 + config.pixel_noise**2 + config.column_noise**2
    # 1: in a scene without noise or clutter a target would have no contrast at all.
    return np.asarray(np.sqrt(np.maximum(variance + noise, 1.0)), dtype=np.float32)


def _add_hot_spots(canvas: Image, config: SyntheticConfig, rng: np.random.Generator) -> None:
    """Adds what looks like a target and stays where it is, in place."""
    low, high = config.hot_spots
    areas = canvas.size / (config.height * config.width)
    clutter = _clutter(canvas, config)
    for _ in range(round(int(rng.integers(low, high + 1)) * areas)):
        centre = rng.uniform((0, 0), (canvas.shape[1], canvas.shape[0]))
        contrast = rng.uniform(*config.scr) * float(clutter[int(centre[1]), int(centre[0])])
        _add_blob(canvas, centre, _draw_sigma(config, rng), min(contrast, MAX_CONTRAST))


def _track(config: SyntheticConfig, rng: np.random.Generator, to_world: NDArray[np.float64]) -> NDArray[np.float64]:
    """A smooth path over the landscape [N, 2] that is in view at one random frame at least."""
    n = config.frames
    anchor = int(rng.integers(n))
    seen = rng.uniform((0.1, 0.1), (0.9, 0.9)) * (config.width - 1, config.height - 1)
    start = to_world[anchor, :2] @ np.append(seen, 1.0)
    slow, fast = config.speed
    middle = rng.uniform(slow, fast)
    speed = np.clip(middle * (1.0 + 0.2 * _wave(rng, n, (30, 90))), slow, fast)
    heading = rng.uniform(0, 2 * np.pi) + 0.6 * _wave(rng, n, (50, 120))
    steps = speed[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    path = np.cumsum(steps, axis=0)
    return np.asarray(path - path[anchor] + start)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian mean over time, ends repeated."""
    reach = int(3 * CLUTTER_MEMORY)
    weights = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / CLUTTER_MEMORY))
    return np.convolve(np.pad(values, reach, mode="edge"), weights / weights.sum(), mode="valid")


def _make_target(
    config: SyntheticConfig, rng: np.random.Generator, to_world: NDArray[np.float64], clutter: Image
) -> TargetTruth:
    world = _track(config, rng, to_world)
    sigma = _draw_sigma(config, rng)
    polarity = -1.0 if rng.random() < config.cold_fraction else 1.0
    wanted = rng.uniform(*config.scr)
    x, y = np.clip(np.rint(world), 0, (clutter.shape[1] - 1, clutter.shape[0] - 1)).astype(int).T
    around = clutter[y, x].astype(np.float64)
    contrast = polarity * np.minimum(wanted * _smooth(around), MAX_CONTRAST)
    to_frame = np.linalg.inv(to_world)
    centre = (to_frame[:, :2, :2] @ world[:, :, None])[:, :, 0] + to_frame[:, :2, 2]
    edges = centre + 0.5
    visible = np.all((edges >= 0) & (edges < (config.width, config.height)), axis=1)
    box_size = (max(3, round(SIDE_PER_SIGMA * sigma[0])), max(3, round(SIDE_PER_SIGMA * sigma[1])))
    return TargetTruth(centre, sigma, box_size, contrast, np.abs(contrast) / around, visible)


def _expose(config: SyntheticConfig, rng: np.random.Generator, scene: Image) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """What the sensor makes of a scene [N, H, W] in 8-bit grey levels (changed in place)."""
    _, height, width = scene.shape
    fixed = config.pixel_noise * rng.standard_normal((height, width), dtype=np.float32)
    fixed += config.column_noise * rng.standard_normal(width, dtype=np.float32)
    low, high = config.hot_pixels
    for _ in range(int(rng.integers(low, high + 1))):
        fixed[rng.integers(height), rng.integers(width)] += rng.uniform(15, 45)
    scene += fixed
    scene += config.temporal_noise * rng.standard_normal(scene.shape, dtype=np.float32)
    if config.bits == 8:
        return np.asarray(np.rint(np.clip(scene, 0, 255)), dtype=np.uint8)
    return np.asarray(np.rint(np.clip(scene * (16383 / 255), 0, 16383)), dtype=np.uint16)


def generate_clip(config: SyntheticConfig, seed: int) -> SyntheticClip:
    """Makes one clip.

    Camera, landscape, hot spots, targets and sensor draw from streams of their own, so the same seed with
    ``targets=(0, 0)`` gives the same clip without targets, and so on.

    Args:
        config: what the clip looks like; its own ``seed`` is not used here.
        seed: of this clip, not negative; ``seed % len(config.backgrounds)`` is its scene.
    """
    camera, landscape, spots, targets, sensor = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5)
    )
    to_world, shape = _camera(config, camera)
    background = config.backgrounds[seed % len(config.backgrounds)]
    canvas = make_background(background, landscape, shape)
    _add_hot_spots(canvas, config, spots)
    clutter = _clutter(canvas, config)
    low, high = config.targets
    truths = tuple(
        _make_target(config, targets, to_world, clutter) for _ in range(int(targets.integers(low, high + 1)))
    )

    scene = np.empty((config.frames, config.height, config.width), np.float32)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    for index, matrix in enumerate(to_world):
        scene[index] = cv2.warpPerspective(
            canvas, matrix, (config.width, config.height), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        for truth in truths:
            _add_blob(scene[index], truth.centre[index], truth.sigma, float(truth.contrast[index]))
    frames = _expose(config, sensor, scene)

    boxes, ids = [], []
    for index in range(config.frames):
        placed = ((t.box(index, config.height, config.width), at) for at, t in enumerate(truths))
        found = [(box, at) for box, at in placed if box is not None]
        boxes.append(np.array([box for box, _ in found], dtype=np.float32).reshape(-1, 4))
        ids.append([at for _, at in found])
    return SyntheticClip(frames, boxes, to_world, truths, background, ids)


def _write_split(
    root: Path, split: str, config: SyntheticConfig, sequences: range, done: Callable[[str], None] | None
) -> None:
    """Writes the frames of some sequences and the two lists of their boxes."""
    lines: list[str] = []
    tracks: list[str] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for sequence in sequences:
        # The seed tells data sets apart; consecutive clips take the scenes in turn.
        clip = generate_clip(config, config.seed * 100_000 + sequence)
        folder = root / "images" / str(sequence)
        folder.mkdir(parents=True)
        for index, (frame, boxes) in enumerate(zip(clip.frames, clip.boxes, strict=True)):
            name = f"images/{sequence}/{index:08d}.png"
            if not cv2.imwrite(str(root / name), frame):
                raise OSError(f"{root / name}: could not be written; is the disk full?")
            images.append({"file_name": name, "height": config.height, "width": config.width, "id": len(images) + 1})
            whole = [[int(value) for value in box] for box in boxes]
            # As in the released lists the path is absolute on somebody else's machine: readers rebase at /images/.
            lines.append(" ".join([f"/synthetic/{name}", *(",".join(map(str, [*box, 0])) for box in whole)]))
            targets = clip.target_ids[index]
            tracks.append(" ".join([f"/synthetic/{name}", *map(str, targets)]))
            for (x1, y1, x2, y2), target in zip(whole, targets, strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": len(images),
                        "category_id": 0,
                        "track_id": sequence * 1000 + target,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": 0,
                        "segmentation": [],
                    }
                )
        if done is not None:
            done(str(sequence))
    (root / f"{split}.txt").write_text("".join(line + "\n" for line in lines))
    (root / f"{split}_tracks.txt").write_text("".join(line + "\n" for line in tracks))
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "0"}]}
    (root / f"{split}_coco.json").write_text(json.dumps(coco))


def _is_complete(root: Path, recipe: dict[str, Any], overwrite: bool) -> bool:
    """Whether ``root`` holds just this data set already.

    Raises:
        DataError: if something else is there that must not be replaced.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    marker = root / MARKER
    if not marker.is_file():
        raise DataError(
            f"{root}: expected a synthetic data set, an empty folder or nothing, but it holds files and no {MARKER}. "
            "Give another folder, or if these are data of your own, their layout beside it: dataset=yolo, coco, ..; "
            "data that was not made here is never overwritten"
        )
    try:
        found = read_json(marker, 1 << 20)
    except DataError:
        found = None
    if found == recipe:
        return True
    if not overwrite:
        before = found if isinstance(found, dict) else {}
        inner = before.get("config")
        old, new = before | (inner if isinstance(inner, dict) else {}), {**recipe, **recipe["config"]}
        changed = [f"{key} {shown(old.get(key))} -> {value!r}" for key, value in new.items() if old.get(key) != value]
        differences = "; ".join(entry for entry in changed if not entry.startswith("config "))
        raise DataError(
            f"{root}: holds a synthetic data set made otherwise ({differences}). "
            "Give another folder, or overwrite=True to replace it"
        )
    return False


def write_dataset(
    root: str | Path,
    config: SyntheticConfig,
    train_sequences: int = 24,
    val_sequences: int = 6,
    *,
    overwrite: bool = False,
    done: Callable[[str], None] | None = None,
) -> Path:
    """Writes clips in the layout of IRSTD-UAV, without ``matches/``.

    The validation sequences are whole clips of other seeds. The folder appears under its name only when all of it is
    written. Where the same data set lies already, nothing is done.

    Args:
        root: folder to make.
        config: what the clips look like.
        train_sequences: how many to train on; they are named ``1`` upwards.
        val_sequences: how many to validate on; their names follow.
        overwrite: replaces a synthetic data set of another configuration. Other data is never replaced.
        done: called with the name of each sequence that is written, for a progress bar.

    Returns:
        ``root`` as a path.

    Raises:
        DataError: if ``root`` holds something else.
        ValueError: if there is no sequence to train or to validate on.
        FolderError: if it cannot be written.
    """
    if train_sequences < 1 or val_sequences < 1:
        raise ValueError(
            f"{train_sequences} sequences to train, {val_sequences} to validate on; expected at least 1 each"
        )
    root = Path(root)
    recipe = json.loads(
        json.dumps(
            {
                "generator": GENERATOR_VERSION,
                "train_sequences": train_sequences,
                "val_sequences": val_sequences,
                "config": asdict(config),
            }
        )
    )
    if _is_complete(root, recipe, overwrite):
        return root
    check_writable(root.parent, "The data set is made there; give another folder (dataset.root)")
    partial = root.parent / f".{root.name}.partial-{os.getpid()}"
    before = partial.with_name(f"{partial.name}-before")
    shutil.rmtree(partial, ignore_errors=True)  # of a process of that number that was killed
    partial.mkdir()
    try:
        _write_split(partial, "train", config, range(1, train_sequences + 1), done)
        _write_split(partial, "val", config, range(train_sequences + 1, train_sequences + val_sequences + 1), done)
        (partial / MARKER).write_text(json.dumps(recipe, indent=2) + "\n")
        if overwrite and root.exists():
            # At one stroke: half of it might have no marker, and be taken for other data.
            root.rename(before)
        try:
            partial.rename(root)
        except OSError:
            # Another process may have finished the same data set meanwhile.
            if not _is_complete(root, recipe, overwrite=False):
                raise
    except OSError as error:
        if error.filename is not None or not error.errno:
            raise
        raise FolderError(
            f"{partial}: cannot be written ({error.strerror}). Make room, or give another folder"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if before.exists() and not root.exists():
            before.rename(root)
        shutil.rmtree(before, ignore_errors=True)
    return root
