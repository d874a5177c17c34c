"""3D ShuffleNetV2 over a clip: TDCNet's motion backbones, with whatever stands for the convolution over time.

Source: TDCNet (arXiv 2511.09352), the 3D and TDC backbones; blocks after ShuffleNetV2 (Ma et al., ECCV 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.conv import ConvNormAct
from tdcnet.layers.pool import max_pool_clip
from tdcnet.layers.temporal_conv import TemporalConv3d

TemporalConv = Callable[..., nn.Module]
"""Called as ``conv(in_channels, out_channels, stride=..., groups=...)``; brings its own norm."""

TemporalBlock = Callable[[int], nn.Module]
"""Called with the channels of a stage; keeps a clip's shape."""

pointwise = partial(ConvNormAct, kernel_size=1, dims=3, act=nn.ReLU)


def channel_shuffle(x: Tensor, groups: int = 2) -> Tensor:
    """Interleaves the channels of ``groups`` groups: [B, C, ...] -> the same shape."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class ShuffleBlock(nn.Module):
    """Stride 1: half of the channels pass untouched. Stride 2: two branches, each to half of the output's channels."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, temporal_conv: TemporalConv) -> None:
        super().__init__()
        half = out_channels // 2
        self.stride = stride
        if stride == 2:
            self.shortcut = nn.Sequential(
                temporal_conv(in_channels, in_channels, stride=2, groups=in_channels), pointwise(in_channels, half)
            )
        self.main = nn.Sequential(
            pointwise(in_channels if stride == 2 else half, half),
            temporal_conv(half, half, stride=stride, groups=half),
            pointwise(half, half),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 2:
            parts = (self.shortcut(x), self.main(x))
        else:
            left, right = x.chunk(2, dim=1)
            parts = (left, self.main(right))
        return channel_shuffle(torch.cat(parts, dim=1))


class ShuffleNet3D(nn.Module):
    """``[B, C, T, H, W]`` -> features at 1/8, 1/16, 1/32 of the size, each ``[B, C_i, T_i, H_i, W_i]``.

    Time is halved by the pool and by every stage: T = 5 leaves 2, 1, 1 steps.

    Args:
        in_channels: 1 for grey.
        stem_channels: channels of the stem; 24 as published.
        widths: channels of stages 2, 3, 4; 128, 256, 512 at width 1.0.
        depths: blocks of each stage.
        temporal_conv: what is used for the stem and every depthwise convolution: :class:`TemporalConv3d` makes the 3D
            backbone, :class:`~tdcnet.layers.RepConv3D` the TDC backbone.
        temporal_block: what follows each stage, for instance :class:`~tdcnet.layers.SIFA`; None for nothing.
    """

    def __init__(
        self,
        in_channels: int = 1,
        stem_channels: int = 24,
        widths: Sequence[int] = (128, 256, 512),
        depths: Sequence[int] = (4, 8, 4),
        temporal_conv: TemporalConv = TemporalConv3d,
        temporal_block: TemporalBlock | None = None,
    ) -> None:
        super().__init__()
        if len(widths) != 3 or len(depths) != 3 or any(w % 2 for w in widths):
            raise ValueError(f"three even widths and three depths are needed, got widths {widths}, depths {depths}")
        self.out_channels = tuple(widths)
        self.stem = temporal_conv(in_channels, stem_channels, stride=(1, 2, 2))
        self.stages = nn.ModuleList()
        channels = stem_channels
        for width, depth in zip(widths, depths, strict=True):
            blocks: list[nn.Module] = [ShuffleBlock(channels, width, 2, temporal_conv)]
            blocks += [ShuffleBlock(width, width, 1, temporal_conv) for _ in range(depth - 1)]
            if temporal_block is not None:
                blocks.append(temporal_block(width))
            self.stages.append(nn.Sequential(*blocks))
            channels = width

    def forward(self, clip: Tensor) -> list[Tensor]:
        stem = getattr(self.stem, "before_relu", self.stem)
        x = F.relu(max_pool_clip(stem(clip)))  # the same as pooling after ReLU, on less
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
