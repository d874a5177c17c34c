"""Registers one infrared frame onto another, so that what still differs has moved by itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import DataError

Model = Literal["none", "translation", "affine", "homography"]
AlignBy = Literal["pairs", "keyframes"]
Array = NDArray[Any]

VERSION = 1
"""Raised when the result for the same frames changes; homographies stored by another version are rebuilt."""

# These were chosen on synthetic pans and on drone_ir; scripts/measure_alignment.py shows what they lead to.
_LARGEST = 480  # px; a frame with a longer side is registered at a fraction of its size, which also averages noise out
_BLANK = 0.02  # grey levels; less of a standard deviation is rounding
_SAME = 0.98  # correlation of frames so alike that no other guess than standing still is needed
_ALIKE = 2.0  # px between a tracked feature and a guess that it supports
_SUPPORT, _SHARE = 10, 0.2  # features that must agree on a guess, and the share of all
_PINNED = (np.inf, 0.5, 0.16, 0.16)  # px of the half-size image; standard error in the worst corner allowed, per model
_SHARP = 0.9  # correlation from which on the full-size image is trusted; below, fixed pattern may hold it back
_MATCHING = 3.0  # correlation of registered frames, in standard deviations of what chance gives
_STILL = 0.02  # px; frames closer than this are registered already
_LOWER = 0.98  # the difference of the frames must fall to this share
_warned: set[str] = set()


def _ladder() -> list[NDArray[np.float32]]:
    """How h11 h12 h13 h21 h22 h23 h31 h32 (and a gain) depend on the parameters of each model, the simplest first."""
    eye = np.eye(9, dtype=np.float32)
    similarity = np.stack([eye[0] + eye[4], eye[3] - eye[1], eye[2], eye[5], eye[8]], axis=1)
    return [eye[:, [2, 5, 8]], similarity, eye[:, [0, 1, 2, 3, 4, 5, 8]], eye]


_LADDER = _ladder()
_RUNGS = {"translation": 1, "affine": 3, "homography": 4}


class AlignmentWarning(UserWarning):
    """Frames that could not be registered, and are left as they are."""


class Level(NamedTuple):
    """A band-passed image and the pixels of it that are compared.

    Positions are counted from the centre in units of half the longer side, so that they are the same on all levels.
    """

    centre: NDArray[np.float64]  # x, y in px
    unit: float  # px
    deviation: float  # of the band before it is scaled, in grey levels
    image: NDArray[np.float32]  # [h, w], of standard deviation 1
    points: NDArray[np.float32]  # [3, P], homogeneous
    values: NDArray[np.float32]  # [P]
    slopes: NDArray[np.float32]  # [P, 9], change of the value with each element of a homography, and with the gain

    @property
    def to_px(self) -> Array:
        """Matrix [3, 3] from units to px of the image."""
        return np.array([[self.unit, 0, self.centre[0]], [0, self.unit, self.centre[1]], [0, 0, 1]])


class Prepared(NamedTuple):
    """A frame made ready for registration; may be kept for its next partner."""

    shape: tuple[int, int]  # of the frame, px
    factor: int  # px of the frame for one px of ``fine``
    fine: Level
    coarse: Level  # half as large: noise and fixed pattern hardly show
    tracked: Array  # uint8, coarse.image for the tracker
    features: Array  # float32 [N, 2], px of it
    plain: Array  # float32, coarse, with its stripes and brightness


class _Fit(NamedTuple):
    back: Array  # [3, 3], newest to frame, in units
    cost: float  # mean difference that is left, in standard deviations of the band
    error: float  # px, standard error in the worst corner
    match: float  # correlation


@dataclass(frozen=True)
class Aligner:
    """Estimates the motion of the background between two frames of one camera.

    Tracked features give first guesses; robust Gauss-Newton on the pixels themselves (inverse compositional
    Lucas-Kanade, Baker and Matthews, IJCV 2004) refines them, first at half the resolution. Images are band-passed,
    freed of hot pixels and stripes, so that neither brightness nor the sensor's pattern counts. The simplest model
    (translation, similarity, affine, homography) that explains the motion is chosen by the Bayesian information
    criterion among those that the scene pins down up to the corners of the frame.

    Args:
        model: the richest model allowed; ``"none"`` always gives the identity.
        by: what clips are registered by: ``"pairs"``, each frame of a clip and its newest, or ``"keyframes"``, each
            frame of a recording and one before it, see :class:`~tdcnet.data.camera.Camera`.

    Raises:
        ValueError: for a model or a way that is not one of these.
    """

    model: Model = "homography"
    by: AlignBy = "pairs"

    def __post_init__(self) -> None:
        if self.model not in get_args(Model):
            raise ValueError(f"alignment model is {self.model!r}; allowed are {', '.join(get_args(Model))}")
        if self.by not in get_args(AlignBy):
            raise ValueError(f"align_by is {self.by!r}; allowed are {', '.join(get_args(AlignBy))}")

    @property
    def tag(self) -> str:
        """Tells homographies of this aligner from those of another or an older one."""
        return f"{self.model}-v{VERSION}" + ("" if self.by == "pairs" else f"-{self.by}")

    def __call__(self, frame: Array, newest: Array) -> NDArray[np.float32]:
        """Homography [3, 3] from ``frame`` to ``newest``, both uint8 or uint16 [H, W].

        It maps pixel-centre coordinates (x, y, 1), in px with the first pixel's centre at 0. It is the identity, with
        an :class:`AlignmentWarning` once per cause and process, if too little is to be seen.

        Raises:
            DataError: if the frames are not grey images of the same size.
        """
        return self.between(self.prepare(frame), self.prepare(newest))

    def between(self, frame: Prepared, newest: Prepared) -> NDArray[np.float32]:
        """The same for two frames that are ready."""
        homography, cause = self.register(frame, newest)
        if cause is not None and cause not in _warned:
            _warned.add(cause)
            message = f"frames left unregistered: {cause}. Usual for a nearly empty sky; said once per process"
            warnings.warn(message, AlignmentWarning, stacklevel=2)
        return homography

    def prepare(self, frame: Array) -> Prepared:
        """Does what concerns one frame only, so that a frame with several partners is done once.

        Raises:
            DataError: if the frame is not uint8 or uint16 [H, W] with sides of at least 32 px.
        """
        if frame.ndim != 2 or frame.dtype not in (np.uint8, np.uint16) or min(frame.shape) < 32:
            raise DataError(
                f"frame of shape {frame.shape} and type {frame.dtype}: expected uint8 or uint16 [H, W], "
                "at least 32 px a side. Convert it to grey, or check the data set"
            )
        height, width = frame.shape
        # Hot pixels stay with the sensor while the scene moves: the median takes them out before anything is averaged.
        image = cv2.medianBlur(frame, 3)
        factor = -(-max(height, width) // _LARGEST)
        h, w = height // factor, width // factor
        if factor > 1:
            image = cv2.resize(image[: h * factor, : w * factor], (w, h), interpolation=cv2.INTER_AREA)
        image = image.astype(np.float32)
        plain = cv2.pyrDown(image)
        for size, axis in (((9, 1), 0), ((1, 9), 1)):
            # Stripes of the read-out stay with the sensor too. The limit keeps a straight horizon from being one.
            band = image - cv2.blur(image, size)
            limit = 1.5 * float(np.median(np.abs(band[::3, ::3])))
            image -= np.clip(band, -limit, limit).mean(axis=axis, keepdims=True)
        centre = np.array([w, h]) / 2
        fine, coarse = _level(image, 6, centre), _level(cv2.pyrDown(image), 3, centre / 2)
        tracked = cv2.convertScaleAbs(coarse.image + 4.0, alpha=32)
        return Prepared((height, width), factor, fine, coarse, tracked, _features(tracked), plain)

    def register(self, frame: Prepared, newest: Prepared) -> tuple[NDArray[np.float32], str | None]:
        """Homography [3, 3] as from calling the aligner, and why it is the identity if it had to be.

        Raises:
            DataError: if the frames differ in size.
        """
        if frame.shape != newest.shape:
            raise DataError(
                f"frames of {frame.shape[1]}x{frame.shape[0]} and {newest.shape[1]}x{newest.shape[0]} px: "
                "frames of one recording must be of one size. Check the data set"
            )
        identity = np.eye(3, dtype=np.float32)
        if self.model == "none":
            return identity, None
        if min(frame.coarse.deviation, newest.coarse.deviation) < _BLANK:
            return identity, "a frame is blank"
        basis, fit = self._coarse(frame, newest)
        refined = _fit(fit.back, frame.fine, newest.fine, basis, 3)
        fit = refined if refined.match > _SHARP else fit
        if not _plausible(fit.back, newest.shape):
            return identity, "the motion found is implausible"
        if fit.match < min(0.95, _MATCHING / float(np.sqrt(len(newest.coarse.values) / 4))):
            return identity, "nothing in the frames matches"
        factor, (x, y) = newest.factor, newest.fine.centre
        unit, corners = newest.fine.unit * factor, _corners(newest.shape)
        way = unit * float(np.hypot(*(_project(fit.back, corners) - corners).T).max())
        if way < max(_STILL, fit.error):
            return identity, None
        if not _better(fit.back, frame, newest):
            return identity, None if way < 0.5 else "registration does not lower the difference"
        # A pixel of the reduced image has its centre between those that it averages.
        shift = (factor - 1) / 2
        to_px = np.array([[unit, 0, factor * x + shift], [0, unit, factor * y + shift], [0, 0, 1]])
        result = to_px @ np.linalg.inv(to_px @ fit.back)
        return (result / result[2, 2]).astype(np.float32), None

    def _coarse(self, frame: Prepared, newest: Prepared) -> tuple[Array, _Fit]:
        """The model that explains the motion best at half the size, and its fit."""
        a, b, ladder = frame.coarse, newest.coarse, _LADDER[: _RUNGS[self.model]]
        guesses: list[Array] = [np.eye(3)]
        if _fit(guesses[0], a, b, ladder[0], 1).match < _SAME:
            guesses += _guesses(frame, newest)
        middle = ladder[min(1, len(ladder) - 1)]
        best = min((_fit(guess, a, b, middle, 5) for guess in guesses), key=lambda fit: fit.cost)
        shift = np.eye(3)
        shift[:2, 2] = best.back[:2, 2]
        fits = [_fit(shift, a, b, ladder[0], 3), best][: len(ladder)]
        for basis in ladder[2:]:
            fits.append(_fit(fits[-1].back, a, b, basis, 3))
        # Neighbouring pixels share their noise: a quarter of them counts. The penalty is twice the usual, since what is
        # left also holds motion that no model explains.
        count = len(b.values) / 4
        score = [
            2 * count * np.log(max(fit.cost, 1e-9)) + 2 * basis.shape[1] * np.log(count)
            if fit.error < limit
            else np.inf
            for fit, basis, limit in zip(fits, ladder, _PINNED, strict=False)
        ]
        chosen = int(np.argmin(score))
        return ladder[chosen], fits[chosen]


def warp(frame: Array, homography: Array, onto: Array) -> Array:
    """``frame`` registered by ``homography``; px that it does not show are those of ``onto``, so they differ by 0.

    Args:
        frame: [H, W].
        homography: [3, 3], from ``frame`` to ``onto``, in px.
        onto: [H, W], of the same type.
    """
    if np.array_equal(homography, np.eye(3)):
        return frame.copy()
    size = (onto.shape[1], onto.shape[0])
    matrix = np.asarray(homography, np.float64)
    return cv2.warpPerspective(
        frame, matrix, size, dst=onto.copy(), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
    )


def _level(image: Array, block: int, centre: Array) -> Level:
    band = cv2.GaussianBlur(image, (5, 5), 1.0) - cv2.blur(image, (31, 31))
    deviation = max(float(band.std()), 1e-3)
    # A small hot target must not weigh more than the scene.
    band = np.clip(band / deviation, -4, 4)
    gx, gy = (cv2.Scharr(band, -1, dx, 1 - dx, scale=1 / 32) for dx in (1, 0))
    # Near the border the band depends on how the image is continued.
    ys, xs = (np.arange(min(14, n // 8), n - min(14, n // 8), block) for n in band.shape)
    pick = np.ix_(ys, xs)
    unit = float(centre.max())
    x, y = np.meshgrid((xs - centre[0]) / unit, (ys - centre[1]) / unit)
    x, y, values = x.ravel(), y.ravel(), band[pick].ravel()
    gx, gy = unit * gx[pick].ravel(), unit * gy[pick].ravel()
    inward = -(x * gx + y * gy)
    points = np.stack([x, y, np.ones_like(x)]).astype(np.float32)
    slopes = np.stack([x * gx, y * gx, gx, x * gy, y * gy, gy, x * inward, y * inward, values], axis=1)
    return Level(centre, unit, deviation, band, points, values, slopes.astype(np.float32))


def _features(image: Array) -> Array:
    corners = cv2.goodFeaturesToTrack(image, 160, 0.005, 6, blockSize=5)
    return np.empty((0, 2), np.float32) if corners is None else corners.reshape(-1, 2)


def _guesses(frame: Prepared, newest: Prepared) -> list[Array]:
    """Motions [3, 3] from ``newest`` to ``frame``, in units, that many features agree on."""
    size = newest.tracked.shape[::-1]
    a, b = (p.tracked.astype(np.float32) for p in (newest, frame))
    shift, _ = cv2.phaseCorrelate(a, b, cv2.createHanningWindow(size, cv2.CV_32F))
    guesses = [np.array([[1, 0, shift[0]], [0, 1, shift[1]]])]
    if len(newest.features) >= _SUPPORT:
        to, status, _ = cv2.calcOpticalFlowPyrLK(
            newest.tracked, frame.tracked, newest.features, newest.features.copy(), winSize=(15, 15), maxLevel=3
        )
        found = status.ravel() == 1
        x, y = newest.features[found], to[found]
        support = max(_SUPPORT, int(_SHARE * len(newest.features)))
        # What stays on the screen (fixed pattern, a logo) may outnumber the features of a scene that moves.
        moving = np.hypot(*(x - y).T) > 0.7
        if moving.sum() >= support:
            motion, inliers = cv2.estimateAffinePartial2D(
                x[moving], y[moving], ransacReprojThreshold=_ALIKE, maxIters=300, confidence=0.99, refineIters=2
            )
            if motion is not None and inliers.sum() >= support:
                guesses.append(motion)
    to_px = newest.coarse.to_px
    return [np.linalg.inv(to_px) @ np.vstack([g, [0, 0, 1]]) @ to_px for g in guesses]


@np.errstate(all="ignore")
def _fit(start: Array, frame: Level, newest: Level, basis: Array, steps: int) -> _Fit:
    """Refines the motion ``start`` by up to ``steps`` steps within the model of ``basis``."""
    slopes = newest.slopes @ basis
    unit, to_px = newest.unit, newest.to_px
    back, gain, scale = start, 0.0, 0.0
    for step in range(steps + 1):
        x, y, z = (to_px @ back).astype(np.float32) @ newest.points
        values = cv2.remap(frame.image, (x / z)[None], (y / z)[None], cv2.INTER_LINEAR, borderValue=np.nan)[0]
        rest = values - np.float32(1 + gain) * newest.values
        seen = ~np.isnan(rest)
        if not seen.all():
            if seen.mean() < 0.25:
                return _Fit(back, np.inf, np.inf, 0.0)
            rest[~seen], values[~seen] = 1e6, 0
        # Geman-McClure, with three standard deviations for what hardly counts any more.
        square = rest * rest
        if step in (0, 1, steps):
            scale = 9 * 2.2 * max(float(np.partition(square, len(square) // 2)[len(square) // 2]), 1e-6)
        weights = 1 / np.square(1 + square / np.float32(scale))
        weighted = slopes * weights[:, None]
        normal = weighted.T @ slopes
        normal.ravel()[:: len(normal) + 1] += 1e-6
        if step == steps:
            break
        delta = basis @ np.linalg.solve(normal, weighted.T @ rest)
        gain += float(delta[8])
        back = back @ np.linalg.inv(np.eye(3) + np.append(delta[:8], 0).reshape(3, 3))
        back /= back[2, 2]
        if np.abs(delta[:8]).max() * unit < 0.01:
            steps = step + 1
    cost = float(np.abs(rest[seen]).mean())
    shown = newest.values * seen
    match = float(shown @ values / np.sqrt((shown @ shown) * (values @ values) + 1e-9))
    rows = _moves(_corners(newest.image.shape)) @ basis
    # scale is 9 variances; times 4 since neighbouring pixels share their noise.
    variance = np.einsum("ij,jk,ik->i", rows, np.linalg.inv(normal), rows).max() * 4 * scale / 9
    return _Fit(back, cost, unit * float(np.sqrt(variance)), match)


def _moves(points: Array) -> Array:
    """How x and y of points depend on the elements of a homography near the identity (and on the gain), [2N, 9]."""
    x, y = points.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    move_x = np.stack([x, y, one, zero, zero, zero, -x * x, -x * y, zero], axis=1)
    move_y = np.stack([zero, zero, zero, x, y, one, -x * y, -y * y, zero], axis=1)
    return np.vstack([move_x, move_y]).astype(np.float32)


def _better(back: Array, frame: Prepared, newest: Prepared) -> bool:
    """Whether registration lowers the difference of the frames, the sensor's pattern included, which it doubles."""
    to_px = newest.coarse.to_px
    matrix = to_px @ back @ np.linalg.inv(to_px)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(frame.plain, matrix, frame.plain.shape[::-1], flags=flags, borderValue=np.nan)
    seen = ~np.isnan(moved)
    after, before = (image[seen] - newest.plain[seen] for image in (moved, frame.plain))
    # Capped, since a target or a caption on the screen differs in either case.
    cap = 2 * newest.coarse.deviation
    after, before = (np.clip(d - d.mean(), -cap, cap) for d in (after, before))
    return bool(after @ after < _LOWER * (before @ before))


def _corners(shape: tuple[int, ...]) -> Array:
    """Corners of a frame in units, [4, 2], in order of rotation."""
    h, w = np.array(shape[:2]) / max(shape)
    return np.array([[-w, -h], [w, -h], [w, h], [-w, h]])


def _project(h: Array, x: Array) -> Array:
    z = x @ h[:, :2].T + h[:, 2]
    return z[:, :2] / z[:, 2:]


def _plausible(h: Array, shape: tuple[int, ...]) -> bool:
    corners = _corners(shape)
    moved = _project(h, corners)
    if not np.isfinite(moved).all():
        return False
    area = cv2.contourArea(moved.astype(np.float32)) / cv2.contourArea(corners.astype(np.float32))
    # Units are half the longer side; two frames of one clip show much of the same.
    return bool(np.abs(moved - corners).max() < 0.7 and 0.5 < area < 2)
