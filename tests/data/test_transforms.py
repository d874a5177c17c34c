"""Geometry and intensity of samples, against independent computations."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tdcnet.data.augment import Augment
from tdcnet.data.transforms import (
    clip_boxes,
    content_rect,
    letterbox_matrix,
    transform_boxes,
    undo_letterbox,
    warp_clip,
)


def noise_image(h: int, w: int, seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    """A smooth random image, so that interpolation matters but does not dominate."""
    image = np.random.default_rng(seed).random((h, w), np.float32)
    image = cv2.GaussianBlur(image, (0, 0), 1.5)
    image = (image - image.min()) / (image.max() - image.min())
    return (image * np.iinfo(dtype).max).astype(dtype)


def bilinear(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The textbook formula at pixel-centre coordinates, border replicated."""
    h, w = image.shape
    x, y = np.clip(x, 0, w - 1), np.clip(y, 0, h - 1)
    x0, y0 = np.minimum(x.astype(int), w - 2), np.minimum(y.astype(int), h - 2)
    fx, fy = x - x0, y - y0
    image = image.astype(float)
    top = image[y0, x0] * (1 - fx) + image[y0, x0 + 1] * fx
    bottom = image[y0 + 1, x0] * (1 - fx) + image[y0 + 1, x0 + 1] * fx
    return top * (1 - fy) + bottom * fy


# -- letterbox ---------------------------------------------------------------------------------------------------------


def test_letterbox_matrix_by_hand() -> None:
    # 640x512 in 640x640: as it is, 64 px down. 320x256: twice as large. 100x300 in 64x96: 32x96 px, 16 px down.
    assert letterbox_matrix((512, 640), (640, 640)).tolist() == [[1, 0, 0], [0, 1, 64], [0, 0, 1]]
    assert letterbox_matrix((256, 320), (640, 640)).tolist() == [[2, 0, 0], [0, 2, 64], [0, 0, 1]]
    np.testing.assert_allclose(letterbox_matrix((100, 300), (64, 96)), [[0.32, 0, 0], [0, 0.32, 16], [0, 0, 1]])


@pytest.mark.parametrize("original", [(512, 640), (256, 320), (97, 131), (300, 211), (64, 64)])
@pytest.mark.parametrize("size", [(160, 160), (96, 192), (640, 640)])
def test_letterbox_is_the_published_one(original: tuple[int, int], size: tuple[int, int]) -> None:
    image = noise_image(*original)
    (h, w), (out_h, out_w) = original, size
    scale = min(out_w / w, out_h / h)
    nw, nh = int(w * scale), int(h * scale)
    expected = np.full(size, 128, np.uint8)
    left, top = (out_w - nw) // 2, (out_h - nh) // 2
    expected[top : top + nh, left : left + nw] = cv2.resize(image, (nw, nh), interpolation=cv2.INTER_LINEAR)
    matrix = letterbox_matrix(original, size)
    got = warp_clip([image], matrix, size)[0]
    assert np.abs(got.astype(int) - expected).max() <= 1

    # The same through the general warp, which a shift by a hair enforces.
    matrix[:2, 2] += 1e-6
    got = warp_clip([image], matrix, size)[0]
    assert np.abs(got.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("size", [(160, 160), (96, 192), (640, 640)])
def test_undo_letterbox_is_the_inverse(size: tuple[int, int]) -> None:
    boxes = np.array([[10, 20, 13.5, 24], [0, 0, 211, 300], [100, 7, 101, 8]], np.float32)
    there = transform_boxes(boxes, letterbox_matrix((300, 211), size))
    back = undo_letterbox(torch.from_numpy(there), (300, 211), size)
    np.testing.assert_allclose(back.numpy(), boxes, atol=1e-3)


def test_undo_letterbox_clips_and_takes_no_boxes() -> None:
    # 320x256 on 640x640: px / 2, after 64 px above. (-10, 0, 700, 640) reaches beyond the image on all sides.
    back = undo_letterbox(
        torch.tensor([[-10.0, 0.0, 700.0, 640.0], [100.0, 164.0, 120.0, 180.0]]), (256, 320), (640, 640)
    )
    assert back.tolist() == [[0, 0, 320, 256], [50, 50, 60, 58]]
    assert undo_letterbox(torch.zeros(0, 4), (256, 320), (640, 640)).shape == (0, 4)


# -- warps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("flip_x", [False, True])
@pytest.mark.parametrize("flip_y", [False, True])
@pytest.mark.parametrize(("x", "y"), [(13, 7), (0, 0), (-9, -5), (60, 40), (31, 14)])
def test_unit_scale_is_exact(dtype: type, flip_x: bool, flip_y: bool, x: int, y: int) -> None:
    image = noise_image(50, 80, dtype=dtype)
    # A window of 36 x 49 px at (x, y), cut from a padded copy, then mirrored.
    expected = np.pad(image, 100, constant_values=128)[100 + y : 136 + y, 100 + x : 149 + x]
    matrix = np.array([[1.0, 0, -x], [0, 1, -y], [0, 0, 1]])
    if flip_x:
        expected, matrix = expected[:, ::-1], np.array([[-1.0, 0, 49], [0, 1, 0], [0, 0, 1]]) @ matrix
    if flip_y:
        expected, matrix = expected[::-1], np.array([[1.0, 0, 0], [0, -1, 36], [0, 0, 1]]) @ matrix
    np.testing.assert_array_equal(warp_clip([image], matrix, (36, 49))[0], expected)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("scale", "x", "y"), [(1.3, 11.3, 6.8), (0.7, 3.2, 1.9), (0.9, -10.4, 20.5)])
def test_warp_is_the_bilinear_formula(sign: int, scale: float, x: float, y: float) -> None:
    image = noise_image(60, 90)
    size = (32, 48)
    matrix = np.array(
        [[sign * scale, 0, -sign * scale * x + (48 if sign < 0 else 0)], [0, scale, -scale * y], [0, 0, 1]]
    )
    columns, rows = np.meshgrid(np.arange(48) + 0.5, np.arange(32) + 0.5)
    edge_x, edge_y = (columns - matrix[0, 2]) / matrix[0, 0], (rows - matrix[1, 2]) / matrix[1, 1]
    expected = bilinear(image, edge_x - 0.5, edge_y - 0.5)
    seen = (edge_x >= 0) & (edge_x < 90) & (edge_y >= 0) & (edge_y < 60)
    got = warp_clip([image], matrix, size)[0]
    assert np.abs(got[seen] - expected[seen]).max() <= 1
    assert (got[~seen] == 128).all()
    x1, y1, x2, y2 = content_rect((60, 90), matrix, size)
    assert seen.sum() == (x2 - x1) * (y2 - y1) and seen[y1:y2, x1:x2].all()


def test_image_out_of_view_is_padding() -> None:
    matrix = np.array([[1.0, 0, 500], [0, 1, 0], [0, 0, 1]])
    assert (warp_clip([noise_image(20, 20)] * 2, matrix, (16, 16)) == 128).all()


@pytest.mark.parametrize("seed", range(12))
def test_boxes_follow_a_bright_dot(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = int(rng.integers(5, 115)), int(rng.integers(5, 75))
    image = np.zeros((80, 120), np.uint8)
    image[y : y + 3, x : x + 2] = 255
    box = np.array([[x, y, x + 2, y + 3]], np.float32)
    augment = Augment((48, 64), target_probability=1, flip_vertical=0.5, scale=(0.6, 2.0), letterbox=seed % 3 == 2)
    matrix = augment.geometry((80, 120), box, rng)
    moved = transform_boxes(box, matrix)[0]
    out = warp_clip([image], matrix, (48, 64), fill=0)[0].astype(float)
    if seed % 3 != 2:  # a crop holds its target, wholly
        assert (moved[:2] >= -1e-3).all() and (moved[2:] <= (64 + 1e-3, 48 + 1e-3)).all()
    elif not ((moved[:2] > 1).all() and (moved[2:] < (63, 47)).all()):
        return
    rows, columns = np.nonzero(out > 127)
    # Pixels at least half covered by the dot lie inside its box, by their centres, to half a pixel.
    assert len(rows) > 0
    assert columns.min() + 0.5 >= moved[0] - 0.5 and columns.max() + 0.5 <= moved[2] + 0.5
    assert rows.min() + 0.5 >= moved[1] - 0.5 and rows.max() + 0.5 <= moved[3] + 0.5
    weight = out.sum()
    centre = ((np.arange(64) + 0.5) * out).sum() / weight, ((np.arange(48) + 0.5)[:, None] * out).sum() / weight
    assert np.abs(np.array(centre) - (moved[:2] + moved[2:]) / 2).max() < 0.5


def test_the_margin_of_a_box_is_not_scaled_with_the_image() -> None:
    """A target of 4x2 px in a box that reaches 3 px beyond it, and one whose box is narrower than twice that."""
    rng = np.random.default_rng(0)
    boxes = np.array([[20, 30, 30, 38], [40, 40, 44, 41]], np.float32)
    twice = np.array([[-2.0, 0, 200], [0, 2, -10], [0, 0, 1]])  # mirrored, too
    # Centres (25, 34), (42, 40.5) go to (150, 58) and (116, 71); 4 and 2 px seen become 8 and 4, with 3 on each side.
    found = Augment((96, 128), margin=3).boxes(boxes, twice, (80, 120), rng)
    np.testing.assert_allclose(found, [[143, 53, 157, 63], [114, 70.5, 118, 71.5]])
    np.testing.assert_allclose(Augment((96, 128)).boxes(boxes, twice, (80, 120), rng), transform_boxes(boxes, twice))
    # From the letterbox on: what is halved to fit is so at the detector's work, too, box and margin. Twice as large as
    # that, 4 and 2 px seen are as stored, and half of the margin is on each side.
    fitted = Augment((40, 60), letterbox=True, margin=3)
    half = letterbox_matrix((80, 120), (40, 60))
    np.testing.assert_allclose(fitted.boxes(boxes, half, (80, 120), rng), boxes / 2)
    as_it_is = np.eye(3)
    np.testing.assert_allclose(
        fitted.boxes(boxes[:1], as_it_is, (80, 120), rng), [[25 - 3.5, 34 - 2.5, 25 + 3.5, 34 + 2.5]]
    )


def test_noise_of_labels_is_of_the_given_deviation_round_the_same_centre() -> None:
    rng = np.random.default_rng(0)
    boxes = np.tile(np.array([[20, 30, 30, 38]], np.float32), (4000, 1))
    found = Augment((96, 128), label_noise=0.7).boxes(boxes, np.eye(3), (96, 128), rng)
    np.testing.assert_allclose((found[:, :2] + found[:, 2:]) / 2, np.tile([25, 34], (4000, 1)), atol=1e-4)
    sides = found[:, 2:] - found[:, :2]
    np.testing.assert_allclose(sides.mean(axis=0), [10, 8], atol=0.08)
    np.testing.assert_allclose(np.cov(sides.T), np.diag([1.4**2] * 2), atol=0.12)
    tiny = Augment((96, 128), label_noise=5).boxes(boxes, np.eye(3), (96, 128), rng)
    assert (tiny[:, 2:] - tiny[:, :2]).min(axis=0) == pytest.approx([5, 4]), "half of it stays at least"
    before = rng.bit_generator.state
    Augment((96, 128), margin=3).boxes(boxes, np.eye(3), (96, 128), rng)
    assert rng.bit_generator.state == before, "draws nothing without it, so that trainings stay what they were"


def test_clip_boxes_keeps_tiny_ones() -> None:
    boxes = np.array([[-3, 5, 4, 9], [10.2, 10.2, 10.6, 12.2], [19.8, 2, 23, 4], [5, 5, 6, 6]], np.float32)
    # Cut; 0.4 px wide -> 1 px round 10.4; 0.2 px left at the border -> 1 px moved inside; as it was.
    expected = [[0, 5, 4, 9], [9.9, 10.2, 10.9, 12.2], [19, 2, 20, 4], [5, 5, 6, 6]]
    np.testing.assert_allclose(clip_boxes(boxes, (16, 20)), expected, atol=1e-5)
    assert clip_boxes(np.zeros((0, 4), np.float32), (16, 20)).shape == (0, 4)


# -- registration ------------------------------------------------------------------------------------------------------


def panning_clip(step: tuple[int, int] = (3, 2), frames: int = 5) -> tuple[list[np.ndarray], np.ndarray]:
    """A camera moving over a still scene: 100x140 views, ``step`` px (x, y) on per frame; and the homographies."""
    scene = noise_image(200, 240, 3)
    views = [scene[20 + t * step[1] : 120 + t * step[1], 30 + t * step[0] : 170 + t * step[0]] for t in range(frames)]
    # A point at x in frame t is at x - step * (frames - 1 - t) in the newest.
    back = np.arange(frames)[::-1]
    homographies = np.tile(np.eye(3, dtype=np.float32), (frames, 1, 1))
    homographies[:, 0, 2], homographies[:, 1, 2] = -step[0] * back, -step[1] * back
    return views, homographies


@pytest.mark.parametrize("seed", range(8))
def test_panning_clip_is_aligned_in_a_random_crop(seed: int) -> None:
    views, homographies = panning_clip()
    rng = np.random.default_rng(seed)
    matrix = Augment((64, 80), flip_vertical=0.5, scale=(0.8, 1.6)).geometry(
        (100, 140), np.zeros((0, 4), np.float32), rng
    )
    frames = warp_clip(views, matrix, (64, 80))
    aligned = warp_clip(views, matrix, (64, 80), homographies)
    np.testing.assert_array_equal(aligned, warp_clip(views, matrix, (64, 80), homographies, warped=frames))
    np.testing.assert_array_equal(aligned[-1], frames[-1])
    difference = np.abs(aligned.astype(int) - aligned[-1])
    # Also where a frame has no pixel at all: the newest's stands there. Only on the line between, where one tap of the
    # interpolation lies beyond the frame's border, may they differ, and by a quarter of the steepest step at most.
    columns, rows = (
        (np.arange(80) + 0.5 - matrix[0, 2]) / matrix[0, 0] - 0.5,
        (np.arange(64) + 0.5 - matrix[1, 2]) / matrix[1, 1] - 0.5,
    )
    steepest = max(np.abs(np.diff(views[-1].astype(int), axis=axis)).max() for axis in (0, 1))
    for t in range(5):
        x, y = columns - homographies[t, 0, 2], rows - homographies[t, 1, 2]
        partly = ((x > 139) & (x < 140)) | ((y > 99) & (y < 100))[:, None]
        assert difference[t][~partly].max() <= 1
        assert difference[t].max() <= steepest / 4 + 1
    assert np.abs(frames.astype(int) - frames[-1])[0].mean() > 10


def test_a_true_homography_composes_with_the_crop() -> None:
    newest = noise_image(120, 160, 5)
    homography = np.array([[1.02, 0.03, -4.0], [-0.02, 0.98, 3.0], [1e-4, -5e-5, 1.0]], np.float32)
    # The older frame shows at p what the newest shows at H p.
    columns, rows = np.meshgrid(np.arange(160.0), np.arange(120.0))
    x, y, z = np.tensordot(homography.astype(float), np.stack([columns, rows, np.ones_like(rows)]), axes=1)
    older = np.rint(bilinear(newest, x / z, y / z)).astype(np.uint8)
    matrix = np.array([[-1.4, 0, 140.7], [0, 1.4, -42.3], [0, 0, 1]])
    aligned = warp_clip([older, newest], matrix, (64, 64), np.stack([homography, np.eye(3, dtype=np.float32)]))
    assert np.abs(aligned[0].astype(int) - aligned[1]).mean() < 1.5
    frames = warp_clip([older, newest], matrix, (64, 64))
    assert np.abs(frames[0].astype(int) - frames[1]).mean() > 10


def test_registered_letterbox_keeps_padding_and_shows_the_newest_where_nothing_is_known() -> None:
    older, newest = np.full((40, 80), 50, np.uint8), np.full((40, 80), 200, np.uint8)
    shift = np.array([[1, 0, 30], [0, 1, 10], [0, 0, 1]], np.float32)
    aligned = warp_clip(
        [older, newest], letterbox_matrix((40, 80), (80, 80)), (80, 80), np.stack([shift, np.eye(3, dtype=np.float32)])
    )[0]
    expected = np.full((80, 80), 128)
    expected[20:60] = 200
    expected[30:60, 30:] = 50
    np.testing.assert_array_equal(aligned, expected)


def test_frame_that_did_not_move_is_the_frame() -> None:
    views, homographies = panning_clip()
    homographies[2] = np.eye(3)
    matrix = letterbox_matrix((100, 140), (96, 96))
    aligned = warp_clip(views, matrix, (96, 96), homographies)
    np.testing.assert_array_equal(aligned[2], warp_clip(views, matrix, (96, 96))[2])


# -- augmentation ------------------------------------------------------------------------------------------------------


def test_target_is_anywhere_in_its_crop() -> None:
    augment = Augment((40, 40), target_probability=1, flip_horizontal=0, scale=(1, 1))
    box = np.array([[300, 250, 304, 254]], np.float32)
    rng = np.random.default_rng(0)
    starts = np.array([transform_boxes(box, augment.geometry((512, 640), box, rng))[0, :2] for _ in range(800)])
    # Uniform on 0 .. 36: mean 18, standard deviation 36 / sqrt(12) = 10.4.
    assert starts.min() >= 0 and starts.max() <= 36
    np.testing.assert_allclose(starts.mean(axis=0), 18, atol=1.5)
    np.testing.assert_allclose(starts.std(axis=0), 10.4, atol=0.8)


def test_crop_stays_in_the_image_unless_it_may_hang_over() -> None:
    rng = np.random.default_rng(0)
    empty = np.zeros((0, 4), np.float32)
    inside = [Augment((40, 60)).geometry((100, 120), empty, rng) for _ in range(100)]
    assert all(content_rect((100, 120), m, (40, 60)) == (0, 0, 60, 40) for m in inside)
    over = [Augment((40, 60), translate=0.3).geometry((100, 120), empty, rng) for _ in range(100)]
    shown = [content_rect((100, 120), m, (40, 60)) for m in over]
    assert any(rect != (0, 0, 60, 40) for rect in shown)
    assert all(rect[2] - rect[0] >= 0.65 * 60 and rect[3] - rect[1] >= 0.65 * 40 for rect in shown)


def test_crop_larger_than_the_image_holds_all_of_it() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        matrix = Augment((64, 64), scale=(1, 1)).geometry((30, 50), np.zeros((0, 4), np.float32), rng)
        x1, y1, x2, y2 = content_rect((30, 50), matrix, (64, 64))
        assert (x2 - x1, y2 - y1) == (50, 30)


def test_augmented_letterbox_without_draws_is_the_letterbox() -> None:
    augment = Augment((96, 96), flip_horizontal=0, scale=(1, 1), letterbox=True)
    matrix = augment.geometry((50, 80), np.zeros((0, 4), np.float32), np.random.default_rng(0))
    np.testing.assert_array_equal(matrix, letterbox_matrix((50, 80), (96, 96)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_intensity_is_one_line_for_the_whole_clip(dtype: type) -> None:
    full = 255 if dtype == np.uint8 else 1.0
    clip = np.linspace(0, full, 5 * 8 * 8).reshape(5, 8, 8).astype(dtype)
    aligned = clip[:, ::-1].copy()
    augment = Augment(gain=(1.5, 1.5), offset=(-0.2, -0.2))
    frames, twins = augment.intensity(clip, aligned, np.random.default_rng(0))
    expected = np.clip(clip.astype(float) * 1.5 - 0.2 * full, 0, full)
    assert frames.dtype == dtype
    np.testing.assert_allclose(frames, expected, atol=0.51 if dtype == np.uint8 else 1e-6)
    np.testing.assert_array_equal(twins, frames[:, ::-1])
    same, also = augment.intensity(clip, clip, np.random.default_rng(0))
    assert same is also


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_noise_is_new_per_frame_and_shared_by_the_aligned_twin(dtype: type) -> None:
    full = 255 if dtype == np.uint8 else 1
    clip = np.full((4, 100, 100), 100 if dtype == np.uint8 else 100 / 255, dtype)
    augment = Augment(gain=(1, 1), offset=(0, 0), noise=0.04)
    frames, aligned = augment.intensity(clip, clip.copy(), np.random.default_rng(3), [0, 0, 1, 2])
    np.testing.assert_array_equal(frames, aligned)
    np.testing.assert_array_equal(frames[0], frames[1])
    noise = (frames.astype(float) - clip) / full
    assert abs(np.corrcoef(noise[1].ravel(), noise[2].ravel())[0, 1]) < 0.05
    assert 0 < noise.std() <= 0.041 and abs(noise.mean()) < 0.001
    again = augment.intensity(clip, clip, np.random.default_rng(3), [0, 0, 1, 2])[0]
    np.testing.assert_array_equal(frames, again)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("flip_horizontal", 1.5),
        ("scale", (1.2, 0.8)),
        ("scale", (0, 1)),
        ("translate", -0.1),
        ("margin", -1),
        ("label_noise", -0.1),
        ("gain", (1,)),
    ],
)
def test_augment_names_the_bad_argument(argument: str, value: object) -> None:
    with pytest.raises(ValueError, match=argument):
        Augment(**{argument: value})


@pytest.mark.parametrize("window", [(40, 56), (32, 48), (26, 34), (16, 24)])
@pytest.mark.parametrize("sign", [1, -1])
def test_windows_of_whole_pixels_are_the_bilinear_formula_too(window: tuple[int, int], sign: int) -> None:
    image = noise_image(80, 90)
    scale_y, scale_x = 32 / window[0], 48 / window[1]
    matrix = np.array(
        [[sign * scale_x, 0, -sign * scale_x * 9 + (48 if sign < 0 else 0)], [0, scale_y, -scale_y * 13], [0, 0, 1]]
    )
    columns, rows = np.meshgrid(np.arange(48) + 0.5, np.arange(32) + 0.5)
    x, y = (columns - matrix[0, 2]) / matrix[0, 0] - 0.5, (rows - matrix[1, 2]) / matrix[1, 1] - 0.5
    expected = bilinear(image, x, y)
    assert np.abs(warp_clip([image], matrix, (32, 48))[0] - expected).max() <= 1
