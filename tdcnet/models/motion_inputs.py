"""What a 2D network is given of a clip: the newest frame, and how it differs from those before.

Each takes two clips ``[B, C, T, H, W]``, aligned and as they are, oldest frame first, and gives an image
``[B, out_channels, H, W]``. ``frames_needed`` is T where no other number will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from tdcnet.layers.median import median_of

Background = Literal["median", "mean", "none"]


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


class Memory(nn.Module):
    """The newest frame, its differences to some older aligned ones, and its difference to a background made of all.

    What moves slowly hardly differs over a short time, what moves fast is far away after a long one, and clutter that
    stands still differs from no background. Where an aligned frame shows nothing it holds the newest one's pixels, so
    the difference is 0 where half of the frames or more see nothing (with the mean: the less the fewer see).

    Args:
        in_channels: C of the clips.
        num_frames: T of the clips.
        steps: older frames that are subtracted, in frames of the clip before the newest: 1 is the last before it.
        background: the median or the mean of all T - 1 older ones, or none.

    Raises:
        ValueError: if a step reaches beyond the clip, or ``background`` is unknown or needs older frames.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_frames: int = 16,
        steps: Sequence[int] = (1, 3, 6, 12),
        background: Background = "median",
    ) -> None:
        super().__init__()
        if background not in get_args(Background):
            raise ValueError(f"background is {background!r}; allowed are {', '.join(get_args(Background))}")
        if background != "none" and num_frames < 2:
            raise ValueError(f"a background is made of older frames; num_frames is {num_frames}, expected 2 or more")
        if far := [step for step in steps if not 1 <= step < num_frames]:
            raise ValueError(
                f"steps has {far[0]}; a clip of {num_frames} frames has 1 to {num_frames - 1} before its newest. Give "
                "dataset.num_frames a larger number, or other steps"
            )
        self.steps, self.background = tuple(steps), background
        self.frames_needed = num_frames
        self.out_channels = in_channels * (1 + len(self.steps) + (background != "none"))

    def forward(self, aligned: Tensor, frames: Tensor) -> Tensor:
        newest, *older = reversed(aligned.unbind(2))
        seen = [newest - older[step - 1] for step in self.steps]
        if self.background == "median":
            seen.append(newest - median_of(older))
        elif self.background == "mean":
            seen.append(newest - torch.stack(older).mean(0))
        return torch.cat((newest, *seen), dim=1)
