"""TAdaConv V2: a 2D convolution over each frame whose kernel is calibrated by what the clip shows around that frame.

Source: Huang et al., "Temporally-Adaptive Models for Efficient Video Understanding", 2023 (arXiv 2308.05787).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.attention.shared import ChannelLayerNorm
from tdcnet.layers.checks import check_divides, check_option
from tdcnet.layers.conv import Size3
from tdcnet.layers.temporal_conv import triple


class Calibration(nn.Module):
    """Factors for the kernel's channels and its bias, frame by frame: [B, C, T, H, W] -> two of [B, out, T, 1, 1]."""

    def __init__(
        self,
        in_channels: int,
        kernel_channels: int,
        bias_channels: int,
        hidden: int,
        head_dim: int,
        start_at_one: bool,
    ) -> None:
        super().__init__()
        check_divides(hidden, head_dim, "the calibration's hidden channels by head_dim")
        self.head_dim, self.start_at_one = head_dim, start_at_one
        self.reduce = nn.Conv3d(in_channels, hidden, (3, 1, 1), padding=(1, 0, 0))
        self.norm = ChannelLayerNorm(hidden, eps=1e-6)
        self.norm_attention = ChannelLayerNorm(hidden, eps=1e-6)
        self.qkv = nn.Conv3d(hidden, 3 * hidden, 1)
        self.proj = nn.Conv3d(hidden, hidden, 1)
        self.to_kernel = nn.Conv3d(hidden, kernel_channels, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.to_bias = nn.Conv3d(hidden, bias_channels, (3, 1, 1), padding=(1, 0, 0), bias=False)
        if start_at_one:
            nn.init.zeros_(self.to_kernel.weight)
            nn.init.zeros_(self.to_bias.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(self.reduce(x.mean((3, 4), keepdim=True)))
        x = x * torch.sigmoid(1.702 * x)
        x = x + self.proj(self._over_time(self.norm_attention(x)))
        return self._factors(self.to_kernel, x), self._factors(self.to_bias, x)

    def _factors(self, conv: nn.Conv3d, x: Tensor) -> Tensor:
        # A bias even where it is zero: ONNX Runtime refuses what PyTorch exports of a 3D convolution without one.
        bias = x.new_full((conv.out_channels,), float(self.start_at_one))
        return F.conv3d(x, conv.weight, bias, padding=conv.padding)

    def _over_time(self, x: Tensor) -> Tensor:
        """Self-attention among the frames: [B, hidden, T, 1, 1] -> the same shape."""
        heads = x.shape[1] // self.head_dim
        # Published weights depend on this: channels are (q k v, head_dim, heads) here and (heads, head_dim) after.
        q, k, v = self.qkv(x).flatten(2).unflatten(1, (3, self.head_dim, heads)).permute(1, 0, 3, 4, 2)
        y = F.scaled_dot_product_attention(q, k, v, scale=x.shape[1] ** -0.5)  # [B, heads, T, head_dim]
        return y.permute(0, 1, 3, 2).flatten(1, 2)[..., None, None]


class TAdaConv2dV2(nn.Module):
    """``BN_a(y) + BN_b(mean of y over three frames)``, y a 2D convolution with a kernel of its own for each frame.

    ``[B, C, T, H, W] -> [B, out_channels, T', H', W']``. The kernel's channels and its bias are multiplied by factors
    that :class:`Calibration` draws from the clip; that is done to what goes in or comes out, so no kernel is formed
    for a single frame. Frames beyond the ends count as zeros in the mean. BN_b starts at zero.

    Args:
        stride: of time, height and width; in time every so many frames of the output are kept.
        calibrate: whether the factors are for the kernel's input (``"in"``) or output channels (``"out"``).
        hidden: channels of the calibration; a quarter of the input's, at least 8, unless given.
        head_dim: of its attention; 8 unless given, or ``hidden`` where that is not a multiple of 8.
        start_at_one: the factors are 1 plus what is drawn, and that starts at zero, so that training begins with an
            ordinary convolution (as in the first version, arXiv 2110.06178).

    Raises:
        ValueError: if ``calibrate`` is neither, or channels, groups and head_dim do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        stride: int | Size3 = 1,
        groups: int = 1,
        *,
        kernel_size: int = 3,
        calibrate: Literal["in", "out"] = "in",
        hidden: int | None = None,
        head_dim: int | None = None,
        start_at_one: bool = False,
    ) -> None:
        super().__init__()
        out_channels = out_channels or in_channels
        check_option("calibrate", calibrate, ("in", "out"))
        for channels in (in_channels, out_channels):
            check_divides(channels, groups, "channels into groups")
        hidden = hidden or max(8, in_channels // 4)
        self.stride, self.calibrate = triple(stride), calibrate
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, self.stride[1:], kernel_size // 2, groups=groups, bias=False
        )
        self.bias = nn.Parameter(torch.zeros(out_channels))
        kernel_channels = in_channels if calibrate == "in" else out_channels
        head_dim = head_dim or (8 if hidden % 8 == 0 else hidden)
        self.calibration = Calibration(in_channels, kernel_channels, out_channels, hidden, head_dim, start_at_one)
        self.norm_a = nn.BatchNorm3d(out_channels)
        self.norm_b = nn.BatchNorm3d(out_channels)
        nn.init.zeros_(self.norm_b.weight)

    def forward(self, x: Tensor) -> Tensor:
        kernel, bias = self.calibration(x)
        y = self._per_frame(x * kernel) if self.calibrate == "in" else self._per_frame(x) * kernel
        y = y + bias * self.bias.view(-1, 1, 1, 1)
        mean = F.avg_pool2d(y.flatten(3), (3, 1), (self.stride[0], 1), (1, 0)).unflatten(3, y.shape[3:])
        z: Tensor = self.norm_a(y[:, :, :: self.stride[0]]) + self.norm_b(mean)
        return z

    def _per_frame(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x.transpose(1, 2).flatten(0, 1))
        return y.unflatten(0, (-1, x.shape[2])).transpose(1, 2)


class TAdaConvBlock(nn.Module):
    """``x + TAdaConv(x)`` with as many channels out as in, for the place behind a stage: [B, C, T, H, W], same shape.

    Args:
        options: of :class:`TAdaConv2dV2`.
    """

    def __init__(self, channels: int, **options: object) -> None:
        super().__init__()
        self.conv = TAdaConv2dV2(channels, **options)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)
