"""Constant-velocity Kalman filters of many points at once, in px of the newest frame and seconds.

Notation of Bar-Shalom, Li and Kirubarajan, "Estimation with Applications to Tracking and Navigation" (2001), chapter 6:
states are ``[x, y, vx, vy]``, and between two frames acceleration is white noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def predict(mean: Floats, cov: Floats, dt: float, acceleration: float) -> tuple[Floats, Floats]:
    """States ``dt`` seconds later.

    Args:
        mean: [N, 4].
        cov: [N, 4, 4].
        dt: seconds.
        acceleration: standard deviation, px per second squared, of what changes a target's velocity over a second.
    """
    move = np.eye(4)
    move[0, 2] = move[1, 3] = dt
    q = acceleration**2
    noise = np.zeros((4, 4))
    noise[[0, 1], [0, 1]] = q * dt**3 / 3
    noise[[0, 1], [2, 3]] = noise[[2, 3], [0, 1]] = q * dt**2 / 2
    noise[[2, 3], [2, 3]] = q * dt
    return mean @ move.T, move @ cov @ move.T + noise


def update(mean: Floats, cov: Floats, seen: Floats, deviation: Floats) -> tuple[Floats, Floats]:
    """States that know of a measurement each.

    Args:
        mean: [N, 4].
        cov: [N, 4, 4].
        seen: [N, 2], px.
        deviation: [N], standard deviation of the measurements in each direction, px.
    """
    spread = innovation(cov, deviation)
    gain = np.swapaxes(np.linalg.solve(spread, cov[:, :2, :]), 1, 2)  # [N, 4, 2]
    better = mean + (gain @ (seen - mean[:, :2])[..., None])[..., 0]
    left = cov - gain @ cov[:, :2, :]
    return better, (left + np.swapaxes(left, 1, 2)) / 2


def innovation(cov: Floats, deviation: Floats) -> Floats:
    """Covariance [N, 2, 2] of where a measurement is expected."""
    return cov[:, :2, :2] + np.eye(2) * (np.asarray(deviation) ** 2)[:, None, None]


def moved(mean: Floats, cov: Floats, homography: Floats) -> tuple[Floats, Floats]:
    """States seen by a camera that has moved.

    Args:
        mean: [N, 4].
        cov: [N, 4, 4].
        homography: [3, 3], from the frame of the states to another one, pixel-centre coordinates.
    """
    places = np.concatenate([mean[:, :2], np.ones((len(mean), 1))], axis=1) @ homography.T
    w = places[:, 2:]
    to = places[:, :2] / w
    # Derivative of the projection at each place.
    turn = (homography[None, :2, :2] - to[:, :, None] * homography[None, 2:, :2]) / w[:, :, None]
    whole = np.zeros((len(mean), 4, 4))
    whole[:, :2, :2] = whole[:, 2:, 2:] = turn
    velocity = (turn @ mean[:, 2:, None])[..., 0]
    return np.concatenate([to, velocity], axis=1), whole @ cov @ np.swapaxes(whole, 1, 2)


def distances(mean: Floats, cov: Floats, seen: Floats, deviation: Floats) -> tuple[Floats, Floats]:
    """How far measurements are from where states expect them.

    Args:
        mean: [N, 4].
        cov: [N, 4, 4].
        seen: [M, 2], px.
        deviation: [M], px.

    Returns:
        squared Mahalanobis distances [N, M], and the logarithm of the likelihood [N, M], of a density per px squared.
    """
    n, m = len(mean), len(seen)
    if not n or not m:
        return np.zeros((n, m)), np.zeros((n, m))
    spread = cov[:, None, :2, :2] + np.eye(2) * (np.asarray(deviation) ** 2)[None, :, None, None]
    a, b, c = spread[..., 0, 0], spread[..., 0, 1], spread[..., 1, 1]
    determinant = a * c - b * b
    way = seen[None] - mean[:, None, :2]
    x, y = way[..., 0], way[..., 1]
    squared = (c * x * x - 2 * b * x * y + a * y * y) / determinant
    return squared, -0.5 * squared - 0.5 * np.log(determinant) - np.log(2 * np.pi)
