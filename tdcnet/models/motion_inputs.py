"""What a 2D network is given of a clip: the newest frame, and how it differs from those before.

Each takes two clips ``[B, C, T, H, W]``, aligned and as they are, oldest frame first, and gives an image
``[B, out_channels, H, W]``. ``frames_needed`` is T where no other number will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from tdcnet.finite import number
from tdcnet.layers.median import median_of
from tdcnet.layers.velocity_filters import BLOCK, strongest_tracks
from tdcnet.plain_data import is_whole

WINDOW = 7
"""Side, in pixels of 2 px, of the square in which the spread of what moves is told."""
LEAST_SPREAD = 0.5 / 255
"""Half a grey level: what a grey level of noise is in the mean of four pixels."""
MOST = 3.0
"""Times the spread that a pixel of one frame adds to a track at most."""
LONGEST, FASTEST = 64, 8.0
"""Frames and px per frame of tracks, at most: frames are padded by as far as these reach."""
MISSED = 2.2
"""Px of 2 px by which the nearest of the velocities may miss a target at its oldest frame: a blob's own size."""
TRACK_SCALE = 0.1
"""Brings tracks to about the size of grey values."""

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
        sensor: also the differences to older frames as they are. What belongs to the camera, dirt and dead pixels,
            moves against the scene when the camera does, and is gone in these.
    """

    def __init__(self, in_channels: int = 1, num_frames: int = 5, sensor: bool = False) -> None:
        super().__init__()
        self.sensor, self.frames_needed = sensor, num_frames
        self.out_channels = in_channels * (2 * num_frames - 1 if sensor else num_frames)

    def forward(self, aligned: Tensor, frames: Tensor) -> Tensor:
        seen = newest_and_differences(aligned)
        if not self.sensor:
            return seen
        return torch.cat((seen, (frames[:, :, -1:] - frames[:, :, :-1]).flatten(1, 2)), dim=1)


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

    A dim target that moves slowly drowns in the noise of one frame; in the mean of some it stands out.

    Args:
        in_channels: C of the clips.
        num_frames: T of the clips.
        steps: older frames that are subtracted, in frames of the clip before the newest: 1 is the last before it.
        background: the median or the mean of the T - 1 - ``recent`` oldest ones, or none.
        means: newest frames of which a mean is taken, less the background; each number gives an image.
        recent: older frames that are not part of the background: a slow target still stands there.
        tracks: newest frames that are added up along straight tracks, a multiple of 4; 0 for none. The strongest hot
            track that ends at a pixel, and the strongest cold one, give an image each: what is too dim for one frame,
            see :func:`~tdcnet.layers.velocity_filters.strongest_tracks`.
        fastest: largest velocity of these, px per frame of the clip, up to 8.

    Raises:
        ValueError: if a step, a mean or the tracks reach beyond the clip, ``background`` is unknown or has no frames,
            or means or tracks lack one.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_frames: int = 16,
        steps: Sequence[int] = (1, 3, 6, 12),
        background: Background = "median",
        means: Sequence[int] = (),
        recent: int = 0,
        tracks: int = 0,
        fastest: float = 3.0,
    ) -> None:
        super().__init__()
        if background not in get_args(Background):
            raise ValueError(f"background is {background!r}; allowed are {', '.join(get_args(Background))}")
        if background != "none" and num_frames < 2:
            raise ValueError(f"a background is made of older frames; num_frames is {num_frames}, expected 2 or more")
        if background != "none" and not is_whole(recent, 0, num_frames - 2):
            raise ValueError(f"recent is {recent}; of {num_frames} frames 0 to {num_frames - 2} can be left out")
        if (means or tracks) and background == "none":
            raise ValueError("means and tracks are told from a background; give background=median or mean")
        if isinstance(steps, int) or isinstance(means, int):
            raise ValueError(f"steps is {steps} and means {means}; expected lists of numbers of frames")
        most = min(num_frames, LONGEST)
        if not is_whole(tracks, 0, most) or tracks % BLOCK:
            raise ValueError(
                f"tracks is {tracks}; expected a multiple of {BLOCK} from 0 to {most}, in {num_frames} frames"
            )
        number("fastest", fastest, 0, FASTEST, above=True)
        for name, given, least in (("steps", steps, 1), ("means", means, 2)):
            if far := [each for each in given if not is_whole(each, least, num_frames - 1)]:
                raise ValueError(
                    f"{name} has {far[0]}; a clip of {num_frames} frames allows {least} to {num_frames - 1}. Give "
                    f"dataset.num_frames a larger number, or other {name}"
                )
        self.steps, self.background, self.means, self.recent = tuple(steps), background, tuple(means), recent
        self.frames_needed = num_frames
        self.tracks, self.fastest = tracks, fastest
        images = 1 + len(self.steps) + (background != "none") + len(self.means) + 2 * bool(tracks)
        self.out_channels = in_channels * images

    def forward(self, aligned: Tensor, frames: Tensor) -> Tensor:
        newest, *older = reversed(aligned.unbind(2))
        seen = [newest, *(newest - older[step - 1] for step in self.steps)]
        if self.background == "none":
            return torch.cat(seen, dim=1)
        behind = older[self.recent :]
        background = median_of(behind) if self.background == "median" else torch.stack(behind).mean(0)
        seen.append(newest - background)
        for count in self.means:
            seen.append(aligned[:, :, -count:].mean(2) - background)
        if self.tracks:
            recent = aligned[:, :, -self.tracks :].flip(2)
            seen += self._tracks(_halved(recent.flatten(0, 1)) - _halved(background.flatten(0, 1)[:, None]), seen[0])
        return torch.cat(seen, dim=1)

    def _tracks(self, moving: Tensor, newest: Tensor) -> list[Tensor]:
        """Two images like the newest, of what moves [B * C, K, H / 2, W / 2] at half the size, newest first."""
        height, width = newest.shape[-2:]
        # Noise is not the same everywhere, and where clutter is not quite registered a single frame would outweigh all.
        energy = moving.square().mean(1, keepdim=True)
        for window in ((WINDOW, 1), (1, WINDOW)):
            around = window[0] // 2, window[1] // 2
            energy = functional.avg_pool2d(energy, window, 1, around, count_include_pad=False)
        told = (moving / energy.sqrt().clamp_min(LEAST_SPREAD)).clamp_(-MOST, MOST)
        fastest = self.fastest / 2
        velocities = max(1, round(fastest * self.tracks / (2 * MISSED)))
        found = _doubled(strongest_tracks(told, fastest, velocities) * TRACK_SCALE, height, width)
        return list(found.view(*newest.shape[:2], 2, height, width).unbind(2))


def _halved(image: Tensor) -> Tensor:
    """The mean of each 2 x 2 pixels, at an odd edge with those beside them; faster than average pooling."""
    height, width = image.shape[-2:]
    if height % 2 or width % 2:
        image = functional.pad(image, (0, width % 2, 0, height % 2), mode="replicate")
    lines = image[..., ::2, :] + image[..., 1::2, :]
    return (lines[..., ::2] + lines[..., 1::2]) / 4


def _doubled(image: Tensor, height: int, width: int) -> Tensor:
    """Each pixel as 2 x 2, cut to a size."""
    return image.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, :height, :width]
