"""The filter against formulas of its own: batch least squares, and derivatives by differences."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from tdcnet.tracking import kalman

RNG = np.random.default_rng(0)


def states(n=3):
    mean = RNG.normal(0, 10, (n, 4)) + np.array([100, 80, 0, 0])
    root = RNG.normal(0, 1, (n, 4, 4))
    return mean, root @ np.swapaxes(root, 1, 2) + np.eye(4)


def test_positions_follow_velocities_and_grow_unsure():
    mean, cov = states()
    later, spread = kalman.predict(mean, cov, 0.5, 20.0)
    assert_allclose(later[:, :2], mean[:, :2] + 0.5 * mean[:, 2:])
    assert_allclose(later[:, 2:], mean[:, 2:])
    twice = kalman.predict(*kalman.predict(mean, cov, 0.25, 20.0), 0.25, 20.0)
    assert_allclose(twice[1], spread, rtol=1e-10, err_msg="two short steps are one long one: noise is white")
    alone = kalman.predict(np.zeros((1, 4)), np.zeros((1, 4, 4)), 2.0, 3.0)[1][0]
    assert_allclose(np.diag(alone), [9 * 8 / 3, 9 * 8 / 3, 18, 18])


def test_without_noise_of_its_own_it_is_a_straight_line_through_all_measurements():
    times = np.array([0.0, 0.3, 0.5, 1.1, 1.6])
    seen = np.stack([5 + 3 * times, 7 - 2 * times], axis=1) + RNG.normal(0, 0.5, (5, 2))
    mean, cov = np.array([[*seen[0], 0, 0]]), np.diag([0.25, 0.25, 1e8, 1e8])[None]
    for i in range(1, 5):
        mean, cov = kalman.predict(mean, cov, times[i] - times[i - 1], 0.0)
        mean, cov = kalman.update(mean, cov, seen[i][None], np.array([0.5]))
    design = np.stack([np.ones(5), times - times[-1]], axis=1)
    fit, *_ = np.linalg.lstsq(design, seen, rcond=None)
    assert_allclose(mean[0], [*fit[0], *fit[1]], atol=1e-5)
    assert_allclose(cov[0][:2, :2], 0.25 * np.linalg.inv(design.T @ design)[0, 0] * np.eye(2), atol=1e-6)


def test_a_camera_that_moves_takes_states_along():
    mean, cov = states()
    homography = np.array([[0.99, -0.05, 4.0], [0.04, 1.02, -3.0], [1e-4, -5e-5, 1.0]])

    def project(x, y):
        a, b, c = homography @ [x, y, 1]
        return np.array([a / c, b / c])

    to, spread = kalman.moved(mean, cov, homography)
    for i in range(3):
        x, y, vx, vy = mean[i]
        assert_allclose(to[i, :2], project(x, y))
        step = 1e-5
        assert_allclose(to[i, 2:], (project(x + step * vx, y + step * vy) - project(x, y)) / step, rtol=1e-3)
        turn = np.stack(
            [(project(x + step, y) - project(x, y)) / step, (project(x, y + step) - project(x, y)) / step], axis=1
        )
        whole = np.kron(np.eye(2), turn)
        assert_allclose(spread[i], whole @ cov[i] @ whole.T, rtol=1e-3)


def test_distances_are_those_of_a_normal_density():
    mean, cov = states(2)
    seen, deviation = mean[[0, 1, 1], :2] + [[1, 2], [0, 0], [3, -1]], np.array([0.5, 1.0, 2.0])
    squared, density = kalman.distances(mean, cov, seen, deviation)
    for i in range(2):
        for j in range(3):
            spread = cov[i, :2, :2] + np.eye(2) * deviation[j] ** 2
            way = seen[j] - mean[i, :2]
            assert_allclose(squared[i, j], way @ np.linalg.inv(spread) @ way)
            exact = np.exp(-0.5 * squared[i, j]) / (2 * np.pi * np.sqrt(np.linalg.det(spread)))
            assert_allclose(density[i, j], np.log(exact))
    assert kalman.distances(mean[:0], cov[:0], seen, deviation)[0].shape == (0, 3)
