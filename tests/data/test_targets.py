from __future__ import annotations

import numpy as np
import pytest

from tdcnet.data.targets import margins, sides, signal_to_clutter, size_bin, speeds


def test_sizes_and_their_bins():
    np.testing.assert_allclose(sides(np.array([[0, 0, 4, 9], [1, 1, 3, 3]])), [6, 2])
    assert sides(np.zeros((0, 4))).shape == (0,)
    assert [size_bin(s) for s in (1.9, 2, 9.99, 10, 19.9, 20, 500)] == [
        "below",
        "tiny",
        "tiny",
        "mini",
        "mini",
        "small",
        "small",
    ]


def test_signal_to_clutter_by_hand():
    """A checkerboard of 90 and 110 (mean 100, deviation 10) with a 4x4 target of 150."""
    image = np.where(np.indices((80, 80)).sum(axis=0) % 2, 90, 110).astype(np.uint8)
    image[40:44, 40:44] = 150
    box = np.array([[40.0, 40, 44, 44]])
    assert signal_to_clutter(image, box) == pytest.approx([5.0])
    # The same picture in 16 bit has the same ratio, and a dark target counts like a bright one.
    assert signal_to_clutter(image.astype(np.uint16) * 200, box) == pytest.approx([5.0])
    assert signal_to_clutter(200 - image, box) == pytest.approx([5.0])


def test_signal_to_clutter_of_the_few_counts_of_a_raw_frame():
    """14 bit in 16: a scene spans some hundred counts, its noise a few."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 8, (80, 80)).astype(np.uint16)
    image[40:44, 40:44] += 20
    box = np.array([[40.0, 40, 44, 44]])
    ratio = signal_to_clutter(image, box)
    assert ratio == pytest.approx(20 / np.sqrt(63 / 12), rel=0.15)  # the deviation of a die of eight sides
    for scaled in (image + 12000, image * 4 + 12000, image * 150 + 12000):
        assert signal_to_clutter(scaled.astype(np.uint16), box) == pytest.approx(ratio)


def test_another_target_is_not_background():
    image = np.where(np.indices((80, 80)).sum(axis=0) % 2, 90, 110).astype(np.uint8)
    image[40:44, 40:44] = 150
    image[50:60, 50:60] = 255
    boxes = np.array([[40.0, 40, 44, 44], [50, 50, 60, 60]])
    assert signal_to_clutter(image, boxes)[0] == pytest.approx(5.0)
    assert signal_to_clutter(image, boxes[:1])[0] < 4


def test_signal_to_clutter_at_the_border_and_on_flat_ground():
    flat = np.full((30, 30), 100, np.uint8)
    flat[0:3, 0:3] = 110
    assert signal_to_clutter(flat, np.array([[0.0, 0, 3, 3]])) == pytest.approx([20.0])
    assert np.isnan(signal_to_clutter(flat, np.array([[40.0, 40, 45, 45]]))).all()
    everything = signal_to_clutter(flat, np.array([[0.0, 0, 30, 30]]))
    assert np.isnan(everything).all()


def test_margins_by_hand():
    """A target of 4x2 px in boxes 10 px wide and 6 px high, and in one that fits."""
    image = np.where(np.indices((80, 80)).sum(axis=0) % 2, 98, 102).astype(np.uint8)
    image[40:42, 40:44] = 150
    image[38, 37] = 130  # as bright as it need be to count, and away from the target
    image[39, 40:44] = 120  # a blurred edge that is less than half as bright
    boxes = np.array([[36.0, 38, 46, 44], [40, 40, 44, 42]])
    assert margins(image, boxes[:1]) == pytest.approx([(3 + 2) / 2])
    assert margins(image, boxes[1:]) == pytest.approx([0])
    assert margins(200 - image, boxes[:1]) == pytest.approx([2.5]), "a dark target"
    assert margins(image.astype(np.float32) / 255, boxes[:1]) == pytest.approx([2.5])
    assert np.isnan(margins(image, np.array([[10.0, 10, 20, 20]]))).all(), "nothing stands out"
    assert np.isnan(margins(image, np.array([[90.0, 10, 99, 20]]))).all(), "outside"


def test_speeds():
    def at(*points):
        return np.array([[x - 1, y - 1, x + 1, y + 1] for x, y in points], np.float32).reshape(-1, 4)

    boxes = [at((0, 0)), at((3, 4), (50, 50)), at(), at((9, 9)), at((9, 10))]
    found = speeds(boxes)
    assert [len(f) for f in found] == [1, 2, 0, 1, 1]
    assert np.isnan(found[0]).all() and np.isnan(found[3]).all()
    assert found[1][0] == 5 and found[4][0] == 1
    cut = speeds(boxes, np.array([0, 0, 0, 0, 4]))
    assert np.isnan(cut[4]).all()
