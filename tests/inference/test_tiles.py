"""Tiles cover a frame, and their detections are those of the frame."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tdcnet.inference.tiles import Tile, merge, tiles_of

FRAMES = [(1080, 1920), (512, 640), (257, 320), (256, 321), (100, 700), (256, 320), (90, 120)]
SIZE = (256, 320)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("overlap", [0, 32, 64])
def test_every_pixel_has_one_tile_that_sees_it_well(frame, overlap):
    tiles = tiles_of(frame, SIZE, overlap)
    for y in range(0, frame[0], 7):
        for x in range(0, frame[1], 7):
            (tile,) = [t for t in tiles if t.core[0] <= x < t.core[2] and t.core[1] <= y < t.core[3]]
            for at, start, side, length in ((x, tile.left, SIZE[1], frame[1]), (y, tile.top, SIZE[0], frame[0])):
                assert start <= at < start + side
                low = at - start >= overlap / 2 - 0.5 or start <= 0
                high = start + side - at >= overlap / 2 - 0.5 or start + side >= length
                assert low and high, (frame, at, start)


@pytest.mark.parametrize(("frame", "count"), [((256, 320), 1), ((90, 120), 1), ((257, 320), 2), ((512, 640), 9)])
def test_no_more_tiles_than_there_must_be(frame, count):
    assert len(tiles_of(frame, SIZE, 64)) == count


def test_tiles_lie_inside_a_larger_frame_and_round_a_smaller_one():
    for tile in tiles_of((1080, 1920), SIZE):
        assert 0 <= tile.left <= 1920 - 320 and 0 <= tile.top <= 1080 - 256
    (only,) = tiles_of((90, 121), SIZE)
    assert (only.left, only.top) == (-100, -83) and only.core == (-math.inf, -math.inf, math.inf, math.inf)
    assert np.array_equal(only.matrix @ [0, 0, 1], [100, 83, 1])
    with pytest.raises(ValueError, match="cannot overlap by 256 px"):
        tiles_of((1080, 1920), SIZE, 256)


def detections(*rows):
    boxes = torch.tensor([row[:4] for row in rows], dtype=torch.float32).reshape(-1, 4)
    return {
        "boxes": boxes,
        "scores": torch.tensor([row[4] for row in rows], dtype=torch.float32),
        "labels": torch.tensor([row[5] for row in rows], dtype=torch.int64),
    }


def test_each_detection_comes_from_the_tile_that_answers_for_it():
    tiles = [Tile(0, 0, (-math.inf, -math.inf, 90, math.inf)), Tile(80, 0, (90, -math.inf, math.inf, math.inf))]
    left = detections((10, 10, 20, 20, 0.5, 0), (84, 30, 94, 40, 0.9, 0), (95, 50, 100, 60, 0.99, 0))
    right = detections((5, 30, 15, 40, 0.8, 0), (15, 50, 25, 60, 0.7, 0), (60, 5, 66, 9, 0.6, 1))
    found = merge([left, right], tiles)
    # Both tiles place the second a little differently, each on its own side of the border; the left one cuts the third.
    assert found["boxes"].tolist() == [[84, 30, 94, 40], [95, 50, 105, 60], [140, 5, 146, 9], [10, 10, 20, 20]]
    assert found["scores"].tolist() == pytest.approx([0.9, 0.7, 0.6, 0.5]) and found["labels"].tolist() == [0, 0, 1, 0]
    assert len(merge([left, right], tiles, max_detections=2)["boxes"]) == 2
    assert len(merge([detections(), detections()], tiles)["boxes"]) == 0


def test_objects_of_two_classes_are_two():
    (tile,) = tiles_of((64, 64), (64, 64), 0)
    assert len(merge([detections((1, 1, 9, 9, 0.5, 0), (1, 1, 9, 9, 0.4, 1))], [tile])["boxes"]) == 2
