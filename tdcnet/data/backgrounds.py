"""Infrared landscapes out of random numbers: what the camera of the synthetic clips looks at.

Every scene is a canvas float32 [H, W] in 8-bit grey levels. Fine detail is blurred like a lens would, so that nothing
in it is sharper than the point targets laid over it later.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Shape = tuple[int, int]

LENS_SIGMA = 0.65
"""Blur of the optics, px: nothing in a canvas is sharper."""


def fractal(
    rng: np.random.Generator, shape: Shape, beta: float, stretch_x: float = 1.0, stretch_y: float = 1.0
) -> Image:
    """Noise whose power falls with frequency as ``f ** -beta``.

    Args:
        rng: source of randomness.
        shape: height and width, px.
        beta: 0 is white noise, about 2 rough ground, about 3 clouds, 4 and more soft gradients.
        stretch_x: how much longer the structures are horizontally.
        stretch_y: how much longer they are vertically.

    Returns:
        float32 [H, W], mean 0, standard deviation 1.
    """
    height, width = shape
    fy = np.fft.fftfreq(height)[:, None] * stretch_y
    fx = np.fft.rfftfreq(width)[None, :] * stretch_x
    power = fy * fy + fx * fx
    power[0, 0] = 1.0
    gain = power ** (-beta / 4)
    gain[0, 0] = 0.0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * gain, s=shape)
    return (noise / max(float(noise.std()), 1e-12)).astype(np.float32)


def _profile(rng: np.random.Generator, width: int, beta: float) -> Image:
    """One-dimensional fractal noise [W], unit standard deviation: skylines and hills."""
    frequency = np.fft.rfftfreq(width)
    frequency[0] = 1.0
    gain = frequency ** (-beta / 2)
    gain[0] = 0.0
    line = np.fft.irfft(np.fft.rfft(rng.standard_normal(width)) * gain, n=width)
    return (line / max(float(line.std()), 1e-12)).astype(np.float32)


def _step(x: Image, low: float, high: float) -> Image:
    """Smooth rise from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def _rows(shape: Shape) -> Image:
    """Row numbers scaled to 0 (top) .. 1 (bottom), [H, 1]."""
    return np.linspace(0.0, 1.0, shape[0], dtype=np.float32)[:, None]


def _blend(below: Image, above: NDArray[np.floating] | float, alpha: Image) -> Image:
    return np.asarray(below * (1.0 - alpha) + above * alpha, dtype=np.float32)


def sky(rng: np.random.Generator, shape: Shape) -> Image:
    """Clear sky: a soft vertical gradient with haze in layers."""
    base, slope = rng.uniform(70, 125), rng.uniform(-35, 35)
    haze = fractal(rng, shape, beta=3.4, stretch_x=4.0) * rng.uniform(2.0, 5.0)
    return np.asarray(base + slope * (_rows(shape) - 0.5) + haze, dtype=np.float32)


def clouds(rng: np.random.Generator, shape: Shape) -> Image:
    """Broken cloud, brighter than the sky, with ragged edges and shaded flanks."""
    stretch = rng.uniform(1.3, 3.0)
    body = fractal(rng, shape, beta=3.0, stretch_x=stretch)
    cover = _step(body, *sorted((rng.uniform(-0.9, 0.1), rng.uniform(0.5, 1.5))))
    shade = cv2.GaussianBlur(body, (0, 0), 3.0) - cv2.GaussianBlur(np.roll(body, (5, 3), (0, 1)), (0, 0), 3.0)
    wisps = fractal(rng, shape, beta=2.1, stretch_x=stretch)
    level = rng.uniform(35, 65) + 14.0 * shade / max(float(shade.std()), 1e-6) * 0.6 + 4.0 * wisps
    return np.asarray(sky(rng, shape) * 0.75 + cover * level, dtype=np.float32)


def _tree_tops(rng: np.random.Generator, width: int, tallest: float) -> Image:
    """Height of a row of trees above its foot, px [W]: firs as wedges, broadleaves as domes, gaps between."""
    x = np.arange(width, dtype=np.float32)
    tops = np.zeros(width, np.float32)
    firs = rng.uniform(0.0, 1.0)
    for _ in range(width // 4):
        reach = np.abs(x - rng.uniform(0, width)) / rng.uniform(2.5, 7.0)
        height = tallest * rng.uniform(0.45, 1.0)
        tree = height * (1.0 - reach) if rng.random() < firs else height * np.sqrt(np.maximum(0.0, 1.0 - reach**2))
        tops = np.maximum(tops, tree)
    return np.asarray(np.maximum(tops + _profile(rng, width, 1.0) * 0.8, 0.0), dtype=np.float32)


def _ground(rng: np.random.Generator, shape: Shape) -> Image:
    """Fields seen at a flat angle: long structures across, a few furrows and patches."""
    soil = fractal(rng, shape, beta=2.0, stretch_x=5.0) * 7.0 + fractal(rng, shape, beta=1.2, stretch_x=2.0) * 3.0
    patches = _step(fractal(rng, shape, beta=3.0, stretch_x=4.0), 0.4, 0.7) * rng.uniform(-22, 22)
    return np.asarray(rng.uniform(110, 140) + soil + patches, dtype=np.float32)


def horizon(rng: np.random.Generator, shape: Shape) -> Image:
    """Sky that darkens to a bright line of trees, with fields in front."""
    height, width = shape
    foot = height * rng.uniform(0.6, 0.78) + _profile(rng, width, 3.2) * height * 0.02
    tops = foot - _tree_tops(rng, width, tallest=rng.uniform(10, 22))
    y = np.arange(height, dtype=np.float32)[:, None]
    above = float(foot.mean())
    dusk = rng.uniform(30, 60) * np.exp(-np.square((y - above) / (0.25 * height)))
    canvas = np.asarray(sky(rng, shape) - dusk, dtype=np.float32)
    leaves = fractal(rng, shape, beta=1.6, stretch_y=2.5) * 12.0
    trees = rng.uniform(140, 165) + leaves - 0.8 * np.maximum(y - tops, 0.0)
    canvas = _blend(canvas, trees, _step(y - tops, -1.0, 1.0))
    return _blend(canvas, _ground(rng, shape), _step(y - foot, -1.0, 1.5))


def _stamp_crowns(rng: np.random.Generator, canvas: Image, count: int, radii: tuple[float, float], top: float) -> None:
    """Adds tree crowns below row ``top``, in place: domes lit from one side, far (small) ones first."""
    height, width = canvas.shape
    leaves = fractal(rng, (height, width), beta=1.7)
    rows = np.sort(rng.uniform(top, height, count))
    for y, x in zip(rows, rng.uniform(0, width, count), strict=True):
        near = (y - top) / max(height - top, 1.0)
        radius = (radii[0] + (radii[1] - radii[0]) * near) * rng.uniform(0.6, 1.3)
        y0, y1 = max(0, int(y - radius)), min(height, int(y + radius) + 2)
        x0, x1 = max(0, int(x - radius)), min(width, int(x + radius) + 2)
        if y0 >= y1 or x0 >= x1:
            continue
        v = (np.arange(y0, y1, dtype=np.float32)[:, None] - y) / radius
        u = (np.arange(x0, x1, dtype=np.float32)[None, :] - x) / radius
        ragged = leaves[y0:y1, x0:x1]
        distance = u * u + v * v + 0.3 * ragged
        dome = np.sqrt(np.maximum(0.0, 1.0 - distance)) * 16.0 - 9.0 * v + 5.0 * u + 5.0 * ragged
        patch = canvas[y0:y1, x0:x1]
        patch[:] = _blend(patch, rng.uniform(80, 112) + dome, 0.8 * _step(1.0 - distance, 0.0, 0.7))


def vegetation(rng: np.random.Generator, shape: Shape) -> Image:
    """Woods and clearings seen from above: crowns of trees, meadows, a track."""
    height, width = shape
    meadow = 100.0 + fractal(rng, shape, beta=2.4, stretch_x=1.6) * 12.0 + fractal(rng, shape, beta=1.4) * 4.0
    canvas = np.asarray(meadow, dtype=np.float32)
    _stamp_crowns(rng, canvas, count=height * width // 110, radii=(3.0, 8.0), top=-5.0)
    clearing = _step(fractal(rng, shape, beta=3.2, stretch_x=1.5), 0.3, 0.8)
    canvas = _blend(canvas, meadow + rng.uniform(5, 25), clearing)
    start, bend = rng.uniform(0, height), rng.uniform(-0.5, 0.5)
    x = np.arange(width, dtype=np.float32)
    centre = start + bend * x + _profile(rng, width, 3.0) * 8.0
    across = np.abs(np.arange(height, dtype=np.float32)[:, None] - centre)
    return _blend(canvas, rng.uniform(125, 150), 0.7 * (1.0 - _step(across, 1.0, 3.5)))


def _house(rng: np.random.Generator, canvas: Image, left: int, width: int, top: int) -> None:
    """Draws one block down to the bottom edge, in place: two faces, roof edge, rows of windows."""
    level = rng.uniform(75, 125)
    face = canvas[max(0, top) :, max(0, left) : max(0, left + width)]
    if face.size == 0:
        return
    face[:] = level + np.linspace(4.0, -8.0, face.shape[0], dtype=np.float32)[:, None]
    split = int(face.shape[1] * rng.uniform(0.55, 0.85))
    face[:, split:] -= rng.uniform(8, 20)
    face[:1] += rng.uniform(15, 35)
    dx, dy = int(rng.integers(5, 9)), int(rng.integers(6, 10))
    wide, tall = max(2, dx // 2), max(2, dy // 2)
    common = rng.uniform(-18, 18)
    for y in range(4, face.shape[0] - tall, dy):
        for x in range(3, face.shape[1] - wide, dx):
            face[y : y + tall, x : x + wide] += common + rng.normal(0.0, 5.0) + (25.0 if rng.random() < 0.04 else 0.0)


def buildings(rng: np.random.Generator, shape: Shape) -> Image:
    """A town: rows of blocks before the sky, nearer ones lower, trees in the streets."""
    height, width = shape
    canvas = sky(rng, shape) - np.float32(rng.uniform(10, 30))
    for row, line in enumerate((0.4, 0.58, 0.76)):
        left = -int(rng.integers(0, 20))
        while left < width:
            wide = int(rng.integers(12, 48) * (1.0 + 0.3 * row))
            _house(rng, canvas, left, wide, top=int(height * (line + rng.uniform(-0.16, 0.1))))
            left += wide + int(rng.integers(-4, 14))
    _stamp_crowns(rng, canvas, count=width // 5, radii=(4.0, 9.0), top=0.82 * height)
    rough = (
        fractal(rng, shape, beta=1.6) * 5.0 * _step(np.broadcast_to(_rows(shape), shape).astype(np.float32), 0.3, 0.5)
    )
    return np.asarray(canvas + rough, dtype=np.float32)


BACKGROUNDS: dict[str, Callable[[np.random.Generator, Shape], Image]] = {
    "sky": sky,
    "clouds": clouds,
    "horizon": horizon,
    "buildings": buildings,
    "vegetation": vegetation,
}
"""The scenes by the name that a configuration gives."""


def make_background(name: str, rng: np.random.Generator, shape: Shape) -> Image:
    """One random scene of a kind.

    Args:
        name: a key of :data:`BACKGROUNDS`.
        rng: source of randomness; the same state gives the same scene.
        shape: height and width of the canvas, px.

    Returns:
        float32 [H, W], grey levels 15..215, so that a target still has room above and below.

    Raises:
        ValueError: if there is no such scene.
    """
    if name not in BACKGROUNDS:
        raise ValueError(f"background is {name!r}; allowed are {', '.join(BACKGROUNDS)}")
    canvas = BACKGROUNDS[name](rng, shape)
    return np.asarray(np.clip(cv2.GaussianBlur(canvas, (0, 0), LENS_SIGMA), 15.0, 215.0), dtype=np.float32)
