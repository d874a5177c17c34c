from __future__ import annotations

import pickle
import warnings

import cv2
import numpy as np
import pytest

from tdcnet.data import alignment
from tdcnet.data.alignment import Aligner, AlignmentWarning, warp
from tdcnet.data.errors import DataError

SHAPE = (192, 256)
GRID = np.stack(np.meshgrid(np.linspace(0, 255, 7), np.linspace(0, 191, 7)), -1).reshape(1, -1, 2)


@pytest.fixture(autouse=True)
def forget_warnings(monkeypatch):
    monkeypatch.setattr(alignment, "_warned", set())


def scene(rng, amplitude=25.0):
    """A smooth random texture on a canvas twice as fine and twice as wide as the frame."""
    layers = [(1.0, 4.0), (1.0, 10.0), (1.0, 30.0)]
    canvas = sum(w * s * cv2.GaussianBlur(rng.standard_normal((1024, 1024)), (0, 0), s) for w, s in layers)
    return amplitude * canvas / canvas.std()


def view(canvas, move=None):
    """The frame that a camera moved by ``move`` sees: its px y shows what px move^-1 y showed before."""
    to_canvas = np.array([[2, 0, 256], [0, 2, 320], [0, 0, 1.0]])
    matrix = to_canvas @ np.linalg.inv(np.eye(3) if move is None else move)
    return cv2.warpPerspective(canvas, matrix, SHAPE[::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)


def digitise(image, rng, noise=1.0):
    return np.clip(120 + image + rng.normal(0, noise, SHAPE), 0, 255).round().astype(np.uint8)


def shift(x, y):
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def error(found, move):
    a, b = (cv2.perspectiveTransform(GRID, np.asarray(h, np.float64)) for h in (found, move))
    return np.linalg.norm(a - b, axis=-1).max()


@pytest.mark.parametrize("move", [(0.5, 0.25), (-3.3, 4.6), (25.0, -14.5)])
@pytest.mark.parametrize("model", ["translation", "affine", "homography"])
def test_finds_a_known_translation(move, model):
    rng = np.random.default_rng(0)
    canvas = scene(rng)
    found = Aligner(model)(digitise(view(canvas), rng), digitise(view(canvas, shift(*move)), rng))
    assert found.dtype == np.float32
    assert error(found, shift(*move)) < 0.15


def test_a_pan_is_not_explained_by_a_homography():
    rng = np.random.default_rng(1)
    canvas = scene(rng)
    found = Aligner()(digitise(view(canvas), rng, 3), digitise(view(canvas, shift(2.4, 1.3)), rng, 3))
    np.testing.assert_allclose(found[:2, :2], np.eye(2), atol=1e-6)
    np.testing.assert_allclose(found[2], [0, 0, 1], atol=1e-8)


def test_finds_a_known_homography():
    rng = np.random.default_rng(2)
    canvas = scene(rng)
    move = shift(128, 96) @ [[1.01, 0.02, 5], [-0.02, 1.01, -3], [1e-4, -6e-5, 1]] @ shift(-128, -96)
    found = Aligner()(digitise(view(canvas), rng), digitise(view(canvas, move), rng))
    assert error(found, move) < 0.4
    assert error(Aligner("translation")(digitise(view(canvas), rng), digitise(view(canvas, move), rng)), move) > 2


def test_a_large_frame_is_mapped_in_its_own_pixels():
    rng = np.random.default_rng(3)
    canvas = cv2.resize(scene(rng)[:704, :768], (1536, 1408), interpolation=cv2.INTER_CUBIC)
    a, b = canvas[100:868, 100:1124], canvas[97:865, 107:1131]
    frames = [np.clip(120 + image, 0, 255).astype(np.uint8) for image in (a, b)]
    np.testing.assert_allclose(Aligner()(*frames), shift(-7, 3), atol=0.1)


def test_sixteen_bits_with_another_brightness_and_gain():
    rng = np.random.default_rng(4)
    canvas = scene(rng)
    a = 7000 + 8 * view(canvas) + rng.normal(0, 4, SHAPE)
    b = 7900 + 9 * view(canvas, shift(3.2, -2.7)) + rng.normal(0, 4, SHAPE)
    found = Aligner()(a.round().astype(np.uint16), b.round().astype(np.uint16))
    assert error(found, shift(3.2, -2.7)) < 0.15


def test_static_hot_pixels_and_stripes_do_not_hold_back_a_pan():
    rng = np.random.default_rng(5)
    canvas = scene(rng, amplitude=12)
    pattern = rng.normal(0, 1, (1, SHAPE[1])) + rng.normal(0, 1, SHAPE)
    hot = rng.random(SHAPE) < 0.004
    pattern[hot] = rng.choice([-120, 130], hot.sum())
    frame = digitise(view(canvas) + pattern, rng)
    newest = digitise(view(canvas, shift(1.6, -2.2)) + pattern, rng)
    assert error(Aligner()(frame, newest), shift(1.6, -2.2)) < 0.3


def test_a_target_that_moves_by_itself_is_ignored():
    rng = np.random.default_rng(6)
    canvas = scene(rng, amplitude=10)
    frame, newest = view(canvas), view(canvas, shift(-2.0, 1.0))
    frame[60:66, 80:88] += 110
    newest[75:81, 100:108] += 110
    assert error(Aligner()(digitise(frame, rng), digitise(newest, rng)), shift(-2.0, 1.0)) < 0.2


def test_a_target_that_moves_before_a_still_scene_gives_the_identity():
    rng = np.random.default_rng(7)
    canvas = scene(rng, amplitude=10)
    frame, newest = view(canvas), view(canvas)
    frame[60:66, 80:88] += 110
    newest[75:81, 100:108] += 110
    assert error(Aligner()(digitise(frame, rng), digitise(newest, rng)), np.eye(3)) < 0.05


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_too_little_to_be_seen_gives_the_identity_and_one_warning(noise):
    rng = np.random.default_rng(8)
    frame, newest = (digitise(np.zeros(SHAPE), rng, noise) for _ in range(2))
    with pytest.warns(AlignmentWarning, match="unregistered"):
        found = Aligner()(frame, newest)
    np.testing.assert_array_equal(found, np.eye(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Aligner()(frame, newest)


def test_fixed_pattern_alone_gives_the_identity():
    rng = np.random.default_rng(9)
    pattern = rng.normal(0, 6, SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlignmentWarning)
        found = Aligner()(digitise(pattern, rng), digitise(pattern, rng))
    np.testing.assert_array_equal(found, np.eye(3))


def test_none_does_nothing():
    rng = np.random.default_rng(10)
    canvas = scene(rng)
    found = Aligner("none")(digitise(view(canvas), rng), digitise(view(canvas, shift(5, 5)), rng))
    np.testing.assert_array_equal(found, np.eye(3))


def test_pickled_it_gives_the_same():
    rng = np.random.default_rng(11)
    canvas = scene(rng)
    frames = digitise(view(canvas), rng), digitise(view(canvas, shift(5, 5)), rng)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(Aligner()))(*frames), Aligner()(*frames))


def test_refuses_what_is_no_grey_frame():
    frame = np.zeros(SHAPE, np.uint8)
    with pytest.raises(ValueError, match="allowed are none, translation, affine, homography"):
        Aligner("rigid")
    with pytest.raises(DataError, match="expected uint8 or uint16"):
        Aligner()(frame.astype(np.float32), frame)
    with pytest.raises(DataError, match="expected uint8 or uint16"):
        Aligner()(np.zeros((*SHAPE, 3), np.uint8), frame)
    with pytest.raises(DataError, match="256x192 and 192x192"):
        Aligner()(frame, frame[:, :192])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_warp_moves_by_whole_pixels_and_fills_from_the_newest(dtype):
    rng = np.random.default_rng(12)
    frame, newest = (rng.integers(0, 200, (40, 50)).astype(dtype) for _ in range(2))
    kept = newest.copy()
    moved = warp(frame, shift(3, -2), newest)
    np.testing.assert_array_equal(moved[:-2, 3:], frame[2:, :-3])
    np.testing.assert_array_equal(moved[-2:], newest[-2:])
    np.testing.assert_array_equal(moved[:, :3], newest[:, :3])
    np.testing.assert_array_equal(newest, kept)
    np.testing.assert_array_equal(warp(frame, np.eye(3), newest), frame)
