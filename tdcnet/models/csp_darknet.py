"""CSPDarknet as in YOLOX-s: TDCNet's 2D backbone on the newest frame.

Source: YOLOX (Ge et al., arXiv 2107.08430), depth 0.33 and width 0.5 in TDCNet (arXiv 2511.09352).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from tdcnet.layers.conv import ConvNormAct
from tdcnet.layers.pool import max_pool_image

conv_silu = partial(ConvNormAct, act=nn.SiLU, eps=1e-3, momentum=0.03)
"""The block of the 2D backbone, the neck and the head: SiLU and YOLOX's batch norm."""


def space_to_depth(x: Tensor) -> Tensor:
    """Focus: [B, C, H, W] -> [B, 4C, H/2, W/2]; of four pixels (y, x) in the order (0, 0), (1, 0), (0, 1), (1, 1)."""
    return torch.cat((x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), dim=1)


class Bottleneck(nn.Module):
    """1x1 then 3x3, with a residual where asked."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = conv_silu(channels, channels, 1)
        self.conv2 = conv_silu(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y


class CSPLayer(nn.Module):
    """Two 1x1 branches, one through bottlenecks, joined by a 1x1."""

    def __init__(self, channels: int, depth: int, shortcut: bool = True) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = conv_silu(channels, half, 1)
        self.conv2 = conv_silu(channels, half, 1)
        self.conv3 = conv_silu(2 * half, channels, 1)
        self.blocks = nn.Sequential(*(Bottleneck(half, shortcut) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv3(torch.cat((self.blocks(self.conv1(x)), self.conv2(x)), dim=1))
        return y


class SpatialPyramidPooling(nn.Module):
    """Max-pools of 5, 9 and 13 beside the map itself, between two 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = conv_silu(channels, half, 1)
        self.conv2 = conv_silu(4 * half, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.conv1(x)]
        for _ in range(3):  # a 5x5 max-pool over a 5x5 max-pool is one of 9x9, over that one of 13x13
            parts.append(max_pool_image(parts[-1]))
        y: Tensor = self.conv2(torch.cat(parts, dim=1))
        return y


class CSPDarknet(nn.Module):
    """``[B, C, H, W]`` -> features at 1/8, 1/16, 1/32 of the size; before them at 1/4 if ``fine``.

    Args:
        in_channels: 1 for grey.
        width: times 256, 512, 1024 gives the channels of the three outputs.
        depth: times 3 gives the bottlenecks of a stage, at least one.
        fine: also gives the features at 1/4, of half as many channels as those at 1/8.
    """

    def __init__(self, in_channels: int = 1, width: float = 0.5, depth: float = 0.33, fine: bool = False) -> None:
        super().__init__()
        base, n = int(64 * width), max(1, round(3 * depth))
        self.in_channels = in_channels
        self.out_channels = (*([2 * base] if fine else []), 4 * base, 8 * base, 16 * base)
        self.fine = fine
        self.stem = conv_silu(4 * in_channels, base, 3)
        self.stage1 = nn.Sequential(conv_silu(base, 2 * base, 3, 2), CSPLayer(2 * base, n))
        self.stage2 = nn.Sequential(conv_silu(2 * base, 4 * base, 3, 2), CSPLayer(4 * base, 3 * n))
        self.stage3 = nn.Sequential(conv_silu(4 * base, 8 * base, 3, 2), CSPLayer(8 * base, 3 * n))
        self.stage4 = nn.Sequential(
            conv_silu(8 * base, 16 * base, 3, 2),
            SpatialPyramidPooling(16 * base),
            CSPLayer(16 * base, n, shortcut=False),
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stage1(self.stem(space_to_depth(image)))
        out1 = self.stage2(x)
        out2 = self.stage3(out1)
        return [*([x] if self.fine else []), out1, out2, self.stage4(out2)]
