"""The yardstick loads what the data set loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tdcnet.data.alignment import warp
from tdcnet.data.clips import ClipDataset
from tdcnet.data.frames import ImageFiles
from tdcnet.data.sequence import Sequence
from tests.plain import loader

SIZE = (64, 96)
T = 5


@pytest.mark.parametrize(
    "stored",
    [(48, 72), pytest.param((64, 80), id="fits"), pytest.param((30, 100), id="shrinks"), pytest.param((96, 100))],
)
def test_samples_agree_to_one_grey_level(tmp_path: Path, stored: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(T)]
    for path in paths:
        assert cv2.imwrite(str(path), cv2.GaussianBlur(rng.integers(0, 256, stored, dtype=np.uint8), (0, 0), 1.5))
    registered = tuple(tmp_path / f"match_{i}.png" for i in range(1, T + 1))
    images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    for i, path in enumerate(registered):
        shift = np.array([[1, 0, 0.7 * (T - 1 - i)], [0, 1, 0.2], [0, 0, 1]])
        assert cv2.imwrite(str(path), warp(images[i], shift, images[-1]))
    boxes = np.array([[10, 12, 16, 20]], np.float32)
    sequence = Sequence(
        "clip",
        ImageFiles(paths),
        [boxes] * T,
        [np.zeros(1, np.int64)] * T,
        np.array([T - 1]),
        np.zeros(T, np.int64),
        [None] * (T - 1) + [(*registered[:-1], paths[-1])],
    )
    ours = ClipDataset([sequence], SIZE)[0]
    theirs = loader.collate([loader.PublishedLoader([([*registered[:-1], paths[-1]], paths, boxes)], SIZE)[0]])
    for key in ("frames", "aligned"):
        assert theirs[key].shape == (1, 3, T, *SIZE) and theirs[key].dtype == torch.float32
        for channel in theirs[key][0]:
            assert_close(channel * 255, ours[key].float(), atol=1.001, rtol=0)
    assert_close(theirs["boxes"][0], ours["boxes"])
    alone = ClipDataset([replace(sequence, aligned_files=None)], SIZE)[0]
    assert (alone["aligned"].float() - theirs["aligned"][0, 0] * 255).abs().max() > 5, "the two clips do differ"
