"""Convolution, batch norm, activation: the block nearly everything is made of, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
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


def is_eager_on_cpu(x: Tensor) -> bool:
    """Whether ``x`` is worked on by the CPU, step by step: compilers and exporters want the plain operation."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()
