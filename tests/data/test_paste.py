from __future__ import annotations

import numpy as np
import pytest

from tdcnet.data import paste
from tdcnet.data.augment import Augment
from tdcnet.data.clips import ClipDataset
from tdcnet.data.sampling import Draw
from tdcnet.data.sequence import Sequence

SIZE = (96, 128)


class Frames:
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def read(self, index):
        image = self.images[index]
        image.setflags(write=False)  # as a memory map is
        return image

    def where(self, index):
        return f"#{index}"


def slope() -> np.ndarray:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return 60 + 0.3 * x + 0.2 * y


def recording(name, step, length=9, brightness=90.0, first=0):
    """A 5x5 spot that moves ``step`` px a frame over a slope; without ``brightness`` an empty scene."""
    images, boxes = [], []
    for t in range(length):
        image = slope()
        x, y = 30 + step * t, 50
        image[y : y + 5, x : x + 5] += brightness
        images.append(image.round().astype(np.uint8))
        boxes.append(np.array([[x, y, x + 5, y + 5]] if brightness else [], np.float32).reshape(-1, 4))
    labels = [np.zeros(len(b), np.int64) for b in boxes]
    return Sequence(name, Frames(images), boxes, labels, np.arange(first, length), np.zeros(length, np.int64))


def clip_of(sequence, positions=(0, 2, 4, 6, 8)):
    images = [sequence.frames.read(p) for p in positions]
    return images, paste.track([sequence.boxes[p] for p in positions], 0)


def test_track_follows_the_nearest_target_back():
    far = np.array([[80, 80, 84, 84]], np.float32)
    boxes = [np.concatenate([far, [[10 + 3 * t, 10, 14 + 3 * t, 14]]]).astype(np.float32) for t in range(4)]
    assert paste.track(boxes, 1)[:, 0].tolist() == [10, 13, 16, 19]
    assert paste.track(boxes, 0)[:, 0].tolist() == [80] * 4
    assert paste.track([far[:0], far], 0) is None


def test_what_is_cut_is_the_target_without_its_background():
    images, tracked = clip_of(recording("a", 3))
    patches, corners = paste.cut(images, tracked)
    assert len({patch.shape for patch in patches}) == 1
    for patch, corner, box in zip(patches, corners, tracked, strict=True):
        x, y = (box[:2] - corner).astype(int)
        np.testing.assert_allclose(patch[y : y + 5, x : x + 5].mean(), 90, atol=12)
        assert max(abs(patch[0]).max(), abs(patch[:, 0]).max()) < 0.5  # rounding of the slope
    assert (np.diff(corners[:, 0]) == 6).all() and (np.diff(corners[:, 1]) == 0).all()


def test_a_target_that_does_not_stand_out_is_not_cut():
    images, tracked = clip_of(recording("a", 3, brightness=30.0))
    assert paste.cut(images, tracked) is not None
    rng = np.random.default_rng(0)
    rough = [np.clip(image + rng.normal(0, 40, SIZE), 0, 255).astype(np.uint8) for image in images]
    assert paste.cut(rough, tracked) is None
    assert paste.cut(images, tracked - [29, 0, 29, 0]) is None  # leaves the image


def test_added_patches_clip_and_are_cut_at_the_border():
    image = np.full((10, 10), 250, np.uint8)
    paste.add([image], [np.full((4, 4), 20, np.float32)], np.array([[8.0, -2.0]]))
    assert (image[:2, 8:] == 255).all() and image.sum() == 250 * 96 + 255 * 4
    paste.add([image], [np.full((4, 4), 20, np.float32)], np.array([[50.0, 50.0]]))


def test_saturated_and_rough_places_are_refused():
    patch = np.full((6, 6), 50, np.float32)
    at = np.array([10.0, 10.0])
    assert paste.stands_out(np.full(SIZE, 100, np.uint8), patch, at)
    assert not paste.stands_out(np.full(SIZE, 240, np.uint8), patch, at)
    assert not paste.stands_out(np.random.default_rng(0).integers(0, 200, SIZE).astype(np.uint8), patch, at)
    assert not paste.stands_out(np.full(SIZE, 100, np.uint8), patch, np.array([-2.0, 10.0]))


def test_place_keeps_clear_of_other_boxes_and_of_the_border():
    rng = np.random.default_rng(0)
    taken = np.array([[20.0, 20, 40, 40]])
    for _ in range(50):
        x, y = paste.place((10, 6), (0, 0, 60, 60), taken, rng)
        assert 3 <= x <= 57 and 5 <= y <= 55
        assert abs(x - 30) >= 13 or abs(y - 30) >= 15
    assert paste.place((10, 6), (0, 0, 5, 60), taken, rng) is None
    assert paste.place((10, 6), (20, 20, 40, 40), taken, rng) is None


def test_visible_part_of_a_mirrored_and_scaled_crop():
    matrix = np.array([[-2.0, 0, 60], [0, 2.0, -20], [0, 0, 1]])  # x: 30 -> 0, -2 -> 64
    assert paste.visible(matrix, (64, 64), (100, 100)) == (0.0, 10.0, 30.0, 42.0)


def test_a_decoy_stands_still_on_the_ground_while_the_camera_moves():
    shift = np.tile(np.eye(3, dtype=np.float32), (3, 1, 1))
    shift[:, 0, 2] = [8, 4, 0]  # older frames -> newest
    path = paste.seen_by_camera(np.full((3, 2), 50.0), shift)
    assert path.tolist() == [[42, 50], [46, 50], [50, 50]]


def sample(augment, seed=0, host=0.0):
    sequences = [recording("donor", 3, first=4), recording("host", 0, brightness=host, first=4)]
    dataset = ClipDataset(sequences, SIZE, num_frames=3, stride=2, augment=Augment(size=SIZE, **augment))
    return dataset[Draw(len(dataset) - 1, (seed, 0, 1))]


PLAIN = {"flip_horizontal": 0.0, "scale": (1.0, 1.0), "gain": (1.0, 1.0), "offset": (0.0, 0.0)}


def test_a_pasted_target_moves_and_has_a_box():
    found = [s for seed in range(12) if len((s := sample(PLAIN | {"paste": 1.0}, seed))["boxes"])]
    assert len(found) >= 3, "half of the donors are the empty host"
    clean = slope().round()
    for each in found:
        x1, y1, x2, y2 = each["boxes"][0].tolist()
        assert (x2 - x1, y2 - y1) == (5, 5) and each["original_boxes"].tolist() == each["boxes"].tolist()
        for back, frame in enumerate(reversed(each["frames"].numpy())):
            change = frame - clean
            bright = change[int(y1) : int(y2), int(x1) - 6 * back : int(x2) - 6 * back]
            assert bright.size == 0 or bright.mean() == pytest.approx(90, abs=15)


def test_a_smaller_and_dimmer_target_by_hand():
    images, boxes = clip_of(recording("donor", 3))
    patches, corners = paste.cut(images, boxes)
    small, moved, fitting = paste.changed(patches, corners, boxes, 0.5, 0.5)
    ratio = np.array(small[0].shape[::-1]) / patches[0].shape[::-1]
    assert (abs(ratio - 0.5) < 0.06).all() and (moved == moved.round()).all()
    np.testing.assert_allclose(fitting[:, 2:] - fitting[:, :2], 5 * np.tile(ratio, (5, 1)))
    # The box lies on what is bright, to half a px, and what is bright is half as bright and half as wide.
    for patch, corner, box in zip(small, moved, fitting, strict=True):
        weight = patch.clip(0)
        y, x = np.mgrid[: patch.shape[0], : patch.shape[1]] + 0.5
        centre = corner + np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
        np.testing.assert_allclose(centre, (box[:2] + box[2:]) / 2, atol=0.5)
        assert patch.sum() == pytest.approx(patches[0].sum() * 0.5 * ratio.prod(), rel=0.1)
    same, there, still = paste.changed(patches, corners, boxes, 1.0, 1.0)
    np.testing.assert_allclose(same, patches)
    np.testing.assert_allclose(there, corners)
    np.testing.assert_allclose(still, boxes)


def test_pasted_targets_are_drawn_smaller_and_dimmer_and_move_as_far():
    sizes, steps = [], []
    for seed in range(40):
        each = sample(PLAIN | {"paste": 1.0, "paste_scale": (0.4, 0.8), "paste_gain": (0.5, 0.9)}, seed)
        if not len(each["boxes"]):
            continue
        x1, y1, x2, y2 = each["boxes"][0].tolist()
        sizes.append(x2 - x1)
        change = each["frames"].numpy() - slope().round()
        assert 20 < change[2][int(y1) : int(y2) + 1, int(x1) : int(x2) + 1].max() < 92
        if x1 > 20:  # inside of both older frames, too
            columns = [np.average(np.arange(SIZE[1]), weights=(frame * (frame > 10)).sum(0)) for frame in change]
            steps.append((columns[2] - columns[0]) / 2)
    assert 1.5 < min(sizes) < 2.7 < 3.3 < max(sizes) < 4.5
    assert steps and all(abs(step - 6) < 1 for step in steps)


def test_the_margin_of_a_pasted_box_stays():
    patches = [np.ones((8, 12), np.float32)] * 2
    boxes = np.array([[4.0, 5, 14, 11], [5, 5, 15, 11]])  # 10 x 6 px
    corners = np.array([[3.0, 4], [4, 4]])
    _, _, whole = paste.changed(patches, corners, boxes, 0.5, 1.0)
    _, _, kept = paste.changed(patches, corners, boxes, 0.5, 1.0, margin=2)
    np.testing.assert_allclose(whole[:, 2:] - whole[:, :2], [[5, 3]] * 2)
    np.testing.assert_allclose(kept[:, 2:] - kept[:, :2], [[7, 5]] * 2)  # 6 and 2 px seen become 3 and 1
    np.testing.assert_allclose(whole[:, :2] + whole[:, 2:], kept[:, :2] + kept[:, 2:])


def test_factors_are_checked_and_draw_nothing_where_they_are_one():
    with pytest.raises(ValueError, match=r"paste_scale is .*a factor must be above 0"):
        Augment(paste_scale=(0, 1))
    with pytest.raises(ValueError, match=r"paste_gain is .*smallest and the largest"):
        Augment(paste_gain=(1, 0.5))
    rng = np.random.default_rng(0)
    assert Augment().of_pasted(rng) == (1, 1) and rng.random() == np.random.default_rng(0).random()


def test_a_decoy_stands_still_and_has_none():
    found = 0
    for seed in range(12):
        each = sample(PLAIN | {"decoys": 1.0}, seed)
        assert not len(each["boxes"])
        change = each["frames"].numpy() - slope().round()
        if change.max() > 50:
            found += 1
            assert (change[0] == change[2]).all()
    assert found >= 3


def test_frames_of_the_source_stay_as_they_are():
    sequences = [recording("donor", 3), recording("host", 0, brightness=0.0)]
    before = [image.copy() for s in sequences for image in s.frames.images]
    augment = Augment(size=SIZE, paste=1.0, decoys=1.0)
    dataset = ClipDataset(sequences, SIZE, num_frames=3, stride=2, augment=augment)
    for item in range(len(dataset)):
        dataset[item]
    for image, old in zip([image for s in sequences for image in s.frames.images], before, strict=True):
        np.testing.assert_array_equal(image, old)
