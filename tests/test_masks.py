from __future__ import annotations

import numpy as np
import pytest

from tdcnet.masks import boxes_to_mask, components, mask_to_boxes


def test_components_of_a_hand_drawn_mask():
    mask = np.array(
        [
            [0, 0, 0, 0, 1],
            [1, 0, 0, 0, 0],
            [0, 1, 0, 1, 1],
            [0, 0, 0, 1, 1],
        ]
    )
    found = components(mask)
    np.testing.assert_array_equal(found.areas, [1, 2, 4])
    np.testing.assert_allclose(found.centroids, [[4, 0], [0.5, 1.5], [3.5, 2.5]])
    np.testing.assert_array_equal(found.boxes, [[4, 0, 5, 1], [0, 1, 2, 3], [3, 2, 5, 4]])
    assert found.labels[2, 1] == 2


def test_order_is_that_of_first_pixels_on_random_masks():
    rng = np.random.default_rng(0)
    for _ in range(50):
        found = components(rng.random((25, 31)) < 0.2)
        first = [np.flatnonzero(found.labels.ravel() == i + 1)[0] for i in range(len(found))]
        assert first == sorted(first)
        np.testing.assert_array_equal(np.bincount(found.labels.ravel())[1:], found.areas)


@pytest.mark.parametrize("value", [0, 1])
def test_masks_of_one_value(value):
    assert len(components(np.full((3, 4), value))) == value


def test_boxes_and_masks_go_both_ways():
    boxes = np.array([[2, 3, 5, 4], [7, 0, 9, 6]], np.float32)
    np.testing.assert_array_equal(mask_to_boxes(boxes_to_mask(boxes, (8, 10)))[::-1], boxes)


def test_a_box_smaller_than_a_pixel_keeps_one():
    assert np.argwhere(boxes_to_mask(np.array([[3.6, 2.6, 3.9, 2.9]]), (5, 6))).tolist() == [[2, 3]]
    assert not boxes_to_mask(np.array([[-3.0, 1, -2.0, 2]]), (5, 6)).any()
    assert boxes_to_mask(np.zeros((0, 4)), (5, 6)).shape == (5, 6)


def test_a_mask_has_two_axes():
    with pytest.raises(ValueError, match=r"\[H, W\]"):
        components(np.zeros((1, 3, 3)))
