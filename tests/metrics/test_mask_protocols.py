from __future__ import annotations

import numpy as np
import pytest

from tdcnet.metrics.mask_protocols import (
    MASK_PROTOCOLS,
    MaskCounts,
    basicirstd,
    dnanet,
    shooting,
    shooting_as_published,
)
from tests.conftest import GOLDEN

SIZE = (20, 30)


def mask(*blobs: tuple[int, int, int, int]) -> np.ndarray:
    """Filled rectangles (y, x, height, width)."""
    image = np.zeros(SIZE, bool)
    for y, x, h, w in blobs:
        image[y : y + h, x : x + w] = True
    return image


@pytest.mark.parametrize(
    ("protocol", "columns"), [(basicirstd, [0, 1, 2]), (dnanet, [3, 4, 5]), (shooting_as_published, [6, 7, 8])]
)
def test_agrees_with_what_the_published_codes_count(protocol, columns):
    data = np.load(GOLDEN / "protocols.npz")
    shape = tuple(data["shape"])
    targets, predictions = (
        np.unpackbits(data[name])[: np.prod(shape)].reshape(shape) for name in ("targets", "predictions")
    )
    counts = [protocol(p, t) for p, t in zip(predictions, targets, strict=True)]
    found = np.array([[c.targets, c.hits, c.false_pixels] for c in counts])
    np.testing.assert_array_equal(found, data["counts"][:, columns])


@pytest.mark.parametrize("protocol", MASK_PROTOCOLS.values())
def test_empty_frames_and_empty_predictions(protocol):
    nothing, blob = mask(), mask((8, 8, 3, 3))
    assert protocol(nothing, nothing) == MaskCounts(0, 0, 0)
    assert protocol(nothing, blob) == MaskCounts(1, 0, 0)
    assert protocol(blob, nothing) == MaskCounts(0, 0, 9)
    assert protocol(blob, blob) == MaskCounts(1, 1, 0)


def test_centroids_exactly_three_pixels_apart_do_not_match():
    target = mask((5, 5, 1, 1))
    assert basicirstd(mask((5, 7, 1, 1)), target) == MaskCounts(1, 1, 0)
    assert basicirstd(mask((5, 8, 1, 1)), target) == MaskCounts(1, 0, 1)


def test_the_first_prediction_in_raster_order_is_taken_though_a_nearer_one_follows():
    target, predictions = mask((6, 10, 1, 1)), mask((4, 10, 1, 1), (6, 10, 2, 2))
    assert basicirstd(predictions, target) == MaskCounts(1, 1, 4)  # the upper one hits, the 2x2 one is false


def test_a_prediction_hits_one_target_only():
    targets, prediction = mask((5, 5, 1, 1), (5, 7, 1, 1)), mask((5, 6, 1, 1))
    assert basicirstd(prediction, targets) == MaskCounts(2, 1, 0)


def test_diagonal_pixels_are_one_component():
    diagonal = mask((5, 5, 1, 1), (6, 6, 1, 1))
    assert basicirstd(diagonal, diagonal).targets == 1


def test_components_come_in_raster_order_of_their_first_pixel():
    """A block-wise labelling meets the lower left one first."""
    predictions = mask((4, 9, 1, 1), (5, 6, 1, 1))
    target = mask((5, 8, 1, 1))
    assert basicirstd(predictions, target) == MaskCounts(1, 1, 1)
    hit = mask((4, 9, 1, 1), (5, 6, 2, 1))
    assert basicirstd(hit, target) == MaskCounts(1, 1, 2)  # the 2 px one comes second and is false


def test_equal_areas_hide_false_alarms_from_dnanet_only():
    target, predictions = mask((5, 5, 2, 2)), mask((5, 5, 2, 2), (12, 20, 2, 2), (16, 3, 1, 3))
    assert basicirstd(predictions, target) == MaskCounts(1, 1, 7)
    assert dnanet(predictions, target) == MaskCounts(1, 1, 3)


def test_shooting_margins():
    target = mask((10, 10, 1, 1))
    assert shooting(mask((11, 11, 1, 1)), target) == MaskCounts(1, 1, 0)
    assert shooting(mask((10, 12, 1, 1)), target) == MaskCounts(1, 0, 0)  # shielded, no hit
    assert shooting(mask((14, 14, 1, 1)), target) == MaskCounts(1, 0, 0)
    assert shooting(mask((10, 15, 1, 1)), target) == MaskCounts(1, 0, 1)
    assert shooting(mask((10, 10, 1, 7)), target) == MaskCounts(1, 1, 2)


@pytest.mark.parametrize(("y", "x"), [(0, 10), (10, 0), (0, 0)])
def test_border_bug_of_shooting(y, x):
    at_border = mask((y, x, 1, 1))
    assert shooting(at_border, at_border) == MaskCounts(1, 1, 0)
    assert shooting_as_published(at_border, at_border) == MaskCounts(1, 0, 1)
    far = mask((19, 29, 1, 1))  # the lower and the right border are safe: a slice may end beyond the image
    assert shooting_as_published(far, far) == MaskCounts(1, 1, 0)


def test_masks_of_different_size_are_refused():
    with pytest.raises(ValueError, match="expected one shape"):
        basicirstd(np.zeros((4, 4), bool), np.zeros((4, 5), bool))


def test_counts_add_up():
    assert sum([MaskCounts(1, 1, 0), MaskCounts(2, 0, 5)], MaskCounts()) == MaskCounts(3, 1, 5)
