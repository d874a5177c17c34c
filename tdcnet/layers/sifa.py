"""SIFA: stand-alone inter-frame attention with deformable neighbourhoods.

Source: Long et al., "Stand-Alone Inter-Frame Attention in Video Models", CVPR 2022 (arXiv 2206.06931).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.checks import check_odd
from tdcnet.layers.window_attention import touch


class SIFA(nn.Module):
    """Adds to each frame what the next one shows around the same place: [B, C, T, H, W] -> the same shape.

    Each position of the older frame is compared with ``kernel_size ** 2`` positions of the newer one, which lie on the
    regular neighbourhood moved by offsets drawn from the newer frame's features, weighted by how they change. What they
    show is added, weighted by how alike it is (mean over channels of the product; no softmax). The last frame stays as
    it is, so one frame alone does.

    Ordinary tensor operations; the sampled neighbourhood takes ``kernel_size ** 2`` times a clip's memory.

    Args:
        kernel_size: odd; 3 as published.

    Raises:
        ValueError: if ``kernel_size`` is even.
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        check_odd(kernel_size=kernel_size)
        self.kernel_size = kernel_size
        self.to_offset = nn.Conv2d(channels, 2 * kernel_size**2, 3, padding=1, bias=False)
        nn.init.zeros_(self.to_offset.weight)  # starts with the regular neighbourhood

    def offsets(self, newer: Tensor, older: Tensor) -> Tensor:
        """How far neighbours of frames [N, C, H, W] are moved: (dy, dx) in positions, row by row, [N, 2 K^2, H, W]."""
        moved: Tensor = self.to_offset(newer + torch.sigmoid(newer - older) * newer)
        return moved

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] == 1:
            return touch(x, self.parameters()) if self.training else x
        older, newer = x[:, :, :-1], x[:, :, 1:]
        older, newer = (y.transpose(1, 2).flatten(0, 1) for y in (older, newer))  # [B * (T - 1), C, H, W]
        around = self._sample(newer, self.offsets(newer, older))  # [B * (T - 1), C, K^2, H, W]
        alike = (older[:, :, None] * around).mean(1, keepdim=True)
        found = (alike * around).sum(2).unflatten(0, (-1, x.shape[2] - 1)).transpose(1, 2)
        return x + F.pad(found, (0, 0, 0, 0, 0, 1))

    def _sample(self, frames: Tensor, moved: Tensor) -> Tensor:
        """[N, C, H, W] at the moved neighbours of each position, zero outside: [N, C, K^2, H, W]."""
        h, w = frames.shape[-2:]
        k = self.kernel_size
        reach = torch.arange(k, device=frames.device, dtype=moved.dtype) - k // 2
        dy, dx = moved.unflatten(1, (k * k, 2)).unbind(2)  # [N, K^2, H, W]
        y = dy + reach.repeat_interleave(k).view(-1, 1, 1) + torch.arange(h, device=frames.device).view(-1, 1)
        x = dx + reach.repeat(k).view(-1, 1, 1) + torch.arange(w, device=frames.device)
        # grid_sample's measure, where -1 and 1 are the outer borders of the outermost pixels
        grid = torch.stack(((2 * x + 1) / w - 1, (2 * y + 1) / h - 1), dim=-1).flatten(1, 2)  # [N, K^2 * H, W, 2]
        around = F.grid_sample(frames, grid.to(frames.dtype), padding_mode="zeros", align_corners=False)
        return around.unflatten(2, (k * k, h))
