"""Convolution, batch norm, activation: the block nearly everything is made of, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

Size3 = tuple[int, int, int]


class ConvNormAct(nn.Module):
    """Convolution without bias, batch norm, activation.

    ``[B, C, H, W] -> [B, out_channels, H', W']`` with ``dims=2``, with a time axis before H when ``dims=3``.
    Padding is half the kernel, so stride 1 keeps the size.

    Args:
        act: makes the activation (``nn.SiLU``), or None for none.
        eps, momentum: of the batch norm; PyTorch's defaults unless given.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Size3 = 1,
        stride: int | Size3 = 1,
        groups: int = 1,
        *,
        dims: int = 2,
        act: Callable[[], nn.Module] | None = None,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        conv: Any = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        norm: Any = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dims]
        kernel = (kernel_size,) * dims if isinstance(kernel_size, int) else kernel_size
        padding = tuple(k // 2 for k in kernel)
        self.conv = conv(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        self.norm = norm(out_channels, eps=eps, momentum=momentum)
        self.act = act() if act is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y

    @torch.no_grad()
    def fold(self) -> None:
        """Puts the batch norm's running statistics into the convolution, in place; eval mode only from then on."""
        if isinstance(self.norm, nn.Identity):
            return
        self.conv.weight, self.conv.bias = fuse_conv_bn_weights(
            self.conv.weight,
            None,
            self.norm.running_mean,
            self.norm.running_var,
            self.norm.eps,
            self.norm.weight,
            self.norm.bias,
        )
        self.norm = nn.Identity()


def temporal_conv3d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Size3, groups: int) -> Tensor:
    """``conv3d`` with a 5x3x3 kernel and padding (2, 1, 1): [B, C, T, H, W] -> [B, O, T', H', W'].

    Up to five frames it runs as a 2D convolution that sees the frames as channels: its kernel holds each tap where
    one frame meets another and zero elsewhere. Same sums without the taps that only ever meet padding, and 2D
    convolutions are the better tuned ones (one grouped 5x3x3 layer on 2 frames: a third of the time).
    """
    t_in, step = x.shape[2], stride[0]
    if t_in > 5:
        return F.conv3d(x, weight, bias, stride, (2, 1, 1), groups=groups)
    if t_in > 1 and stride == (1, 1, 1) and groups == len(weight) and is_eager_on_cpu(x):
        return _depthwise(x, weight, bias)
    y = F.conv2d(x.flatten(1, 2), *frame_kernels(weight, bias, t_in, step), stride[1:], 1, groups=groups)
    return y.unflatten(1, (-1, (t_in - 1) // step + 1))


def _depthwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One depthwise 2D convolution for each pair of frames: faster by far than one whose groups hold the frames."""
    frames = range(x.shape[2])
    slices = x.unbind(2)
    outputs = []
    for t in frames:
        y = F.conv2d(slices[0], weight[:, :, 2 - t], bias, 1, 1, groups=len(weight))
        for s in frames[1:]:
            y = y.add_(F.conv2d(slices[s], weight[:, :, s - t + 2], None, 1, 1, groups=len(weight)))
        outputs.append(y)
    return torch.stack(outputs, 2)


def is_eager_on_cpu(x: Tensor) -> bool:
    """Whether ``x`` is worked on by the CPU, step by step: compilers and exporters want the plain operation."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def frame_kernels(weight: Tensor, bias: Tensor | None, t_in: int, step: int) -> tuple[Tensor, Tensor | None]:
    """Kernels [O, I, 5, 3, 3] over time as 2D kernels [O * T', I * T, 3, 3] over ``t_in`` frames, every ``step``-th."""
    t_out = (t_in - 1) // step + 1
    tap = torch.arange(t_in, device=weight.device)[None] - step * torch.arange(t_out, device=weight.device)[:, None] + 2
    tap = tap.where((tap >= 0) & (tap < 5), 5)  # tap 5 is a zero put behind the kernel
    band = F.pad(weight, (0, 0, 0, 0, 0, 1))[:, :, tap]  # [O, I, T', T, 3, 3]
    band = band.transpose(1, 2).flatten(2, 3).flatten(0, 1)
    return band, None if bias is None else bias.repeat_interleave(t_out)


def triple(stride: int | Size3) -> Size3:
    """A stride for time, height and width."""
    return (stride, stride, stride) if isinstance(stride, int) else (stride[0], stride[1], stride[2])


class TemporalConv3d(ConvNormAct):
    """5x3x3 convolution over a clip and batch norm: what stands where TDCNet's other backbone has temporal differences.

    ``[B, C, T, H, W] -> [B, out_channels, T', H', W']``.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int | Size3 = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, (5, 3, 3), stride, groups, dims=3)

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        y: Tensor = self.norm(temporal_conv3d(x, conv.weight, conv.bias, triple(conv.stride), conv.groups))
        return y
