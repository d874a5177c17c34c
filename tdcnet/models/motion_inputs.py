"""What a 2D network is given of a clip: the newest frame, and how it differs from those before.

Each takes two clips ``[B, C, T, H, W]``, aligned and as they are, oldest frame first, and gives an image
``[B, out_channels, H, W]``. ``frames_needed`` is T where no other number will do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def newest_and_differences(aligned: Tensor) -> Tensor:
    """The newest frame and its difference to each older one: [B, C, T, H, W] -> [B, C * T, H, W]."""
    newest = aligned[:, :, -1:]
    return torch.cat((newest, newest - aligned[:, :, :-1]), dim=2).flatten(1, 2)


class Differences(nn.Module):
    """The newest frame and its difference to each older aligned one: what moves stands out, what stands still is gone.

    Args:
        in_channels: C of the clips.
        num_frames: T of the clips.
    """

    def __init__(self, in_channels: int = 1, num_frames: int = 5) -> None:
        super().__init__()
        self.out_channels, self.frames_needed = in_channels * num_frames, num_frames

    def forward(self, aligned: Tensor, frames: Tensor) -> Tensor:
        return newest_and_differences(aligned)


class NewestFrame(nn.Module):
    """The newest frame alone: a detector on single frames, to compare with.

    Args:
        in_channels: C of the clips.
        num_frames: T of the clips; any will do.
    """

    frames_needed = None

    def __init__(self, in_channels: int = 1, num_frames: int = 5) -> None:
        super().__init__()
        self.out_channels = in_channels

    def forward(self, aligned: Tensor, frames: Tensor) -> Tensor:
        return frames[:, :, -1]
