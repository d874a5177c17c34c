"""Velocity filters against sums written out, and against what noise and targets must give."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from tdcnet.layers import velocity_filters
from tdcnet.layers.velocity_filters import strongest_tracks


def brute(frames: torch.Tensor, fastest: float, steps: int) -> torch.Tensor:
    """Every velocity by itself, pixel by pixel, with zeros beyond the edges; [2, H, W]."""
    count, height, width = frames.shape
    sums = []
    for down in range(-steps, steps + 1):
        for along in range(-steps, steps + 1):
            if down**2 + along**2 > (steps + 0.5) ** 2:
                continue
            total = torch.zeros(height, width)
            for k in range(count):
                block, inside = divmod(k, 4)
                y = round(down * fastest / steps * 4 * block) + round(down * fastest / steps * inside)
                x = round(along * fastest / steps * 4 * block) + round(along * fastest / steps * inside)
                for row in range(height):
                    for column in range(width):
                        if 0 <= row - y < height and 0 <= column - x < width:
                            total[row, column] += frames[k, row - y, column - x]
            sums.append(total)
    stacked = torch.stack(sums)
    return torch.stack((stacked.amax(0), stacked.amin(0))) / count**0.5


def test_all_tracks_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(velocity_filters, "COARSE", 1)
    frames = torch.randn(8, 7, 9, generator=torch.Generator().manual_seed(0))
    velocity_filters._velocities.cache_clear()
    try:
        found = strongest_tracks(frames[None], fastest=1.25, steps=2)[0]
    finally:
        velocity_filters._velocities.cache_clear()
    assert_close(found, brute(frames, 1.25, 2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("velocity", [(0.0, 0.0), (1.2, -0.6), (-0.6, 0.6), (0.0, -1.5)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_dim_target_adds_up_to_the_root_of_its_frames(velocity: tuple[float, float], sign: int) -> None:
    """A blob of 3 px and contrast 1 in each of 12 frames: 12 / sqrt(12) where it now is, hot or cold."""
    frames = torch.zeros(1, 12, 48, 48)
    for back in range(12):
        y, x = 24 - round(velocity[0] * back), 24 - round(velocity[1] * back)
        frames[0, back, y - 1 : y + 2, x - 1 : x + 2] = sign
    most, least = strongest_tracks(frames)[0]
    here = (most if sign > 0 else least)[24, 24]
    assert here == pytest.approx(sign * 12**0.5)
    assert float((most if sign > 0 else -least).max()) == pytest.approx(12**0.5)


def test_few_velocities_within_a_block_lose_little() -> None:
    """Of a blob that moves at any velocity at least 10 of 12 frames are added up."""
    rng = torch.Generator().manual_seed(0)
    for _ in range(20):
        speed, angle = torch.rand(2, generator=rng).tolist()
        vy, vx = 1.5 * speed * math.sin(6.28 * angle), 1.5 * speed * math.cos(6.28 * angle)
        frames = torch.zeros(1, 12, 60, 60)
        for back in range(12):
            y, x = 30 - round(vy * back), 30 - round(vx * back)
            frames[0, back, y - 1 : y + 2, x - 1 : x + 2] = 1
        assert float(strongest_tracks(frames)[0, 0].max()) * 12**0.5 >= 10


def test_batches_are_apart_and_edges_hold_nothing() -> None:
    frames = torch.rand(3, 4, 10, 12)
    assert_close(strongest_tracks(frames), torch.cat([strongest_tracks(each[None]) for each in frames]))
    corner = strongest_tracks(torch.ones(1, 4, 10, 12))[0]
    assert corner[0, 0, 0] == pytest.approx(2) and corner[1, 0, 0] == pytest.approx(0.5), "1 of 4 frames, or all"


def test_the_number_of_frames_is_checked() -> None:
    with pytest.raises(ValueError, match="6 frames; tracks are added up over a multiple of 4"):
        strongest_tracks(torch.zeros(1, 6, 8, 8))
