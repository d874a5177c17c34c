"""What several attention operators need."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.conv import ConvNormAct

Size2 = tuple[int, int]


def reduced(channels: int, reduction: int) -> int:
    """``channels // reduction``.

    Raises:
        ValueError: if no channel would be left.
    """
    if not 1 <= reduction <= channels:
        raise ValueError(f"reduction must be from 1 to the {channels} channels, got {reduction}; choose one in between")
    return channels // reduction


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, C, H, W] -> [B, heads, H * W, C / heads]."""
    return x.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3)


def join_heads(x: Tensor, height: int) -> Tensor:
    """[B, heads, H * W, C / heads] -> [B, C, H, W]."""
    return x.transpose(2, 3).flatten(1, 2).unflatten(2, (height, -1))


def depthwise(channels: int, kernel_size: int | tuple[int, int]) -> nn.Conv2d:
    """Depthwise convolution that keeps the size."""
    return nn.Conv2d(channels, channels, kernel_size, padding="same", groups=channels)


class ChannelLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of each position: [B, C, *spatial] -> the same shape."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels, eps)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that also trains on one value per channel, [1, C, 1, 1].

    Such a value has no variance, and PyTorch raises an error; here it is normalised as in eval mode, with the running
    statistics, which stay as they are.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class ConvBlock(ConvNormAct):
    """:class:`~tdcnet.layers.conv.ConvNormAct` of stride 1 for maps of any size: [B, C, H, W] -> [B, C', H, W].

    Its batch norm takes a single value per channel (see :class:`BatchNorm2d`).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        groups: int = 1,
        dilation: int = 1,
        act: Callable[[], nn.Module] | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, groups=groups, act=act)
        self.norm = BatchNorm2d(out_channels)
        if dilation > 1:
            self.conv = nn.Conv2d(
                in_channels, out_channels, kernel_size, padding="same", dilation=dilation, groups=groups, bias=False
            )


class SqueezeMLP(nn.Sequential):
    """The MLP on pooled maps of SE, CBAM and CPCA: [B, C, 1, 1] -> the same shape, C / reduction channels between."""

    def __init__(self, channels: int, reduction: int, bias: bool = False) -> None:
        hidden = reduced(channels, reduction)
        super().__init__(
            nn.Conv2d(channels, hidden, 1, bias=bias),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, bias=bias),
        )


def pooled_mean(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 1, 1]."""
    return x.mean((2, 3), keepdim=True)


def pooled_max(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 1, 1]."""
    return x.amax((2, 3), keepdim=True)
