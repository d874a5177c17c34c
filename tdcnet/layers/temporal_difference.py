"""Temporal difference convolution (TDC) and its re-parameterised block, RepConv3D.

Source: "Spatio-Temporal Context Learning with Temporal Difference Convolution for Moving Infrared Small Target
Detection", AAAI 2026, arXiv 2511.09352, the section on TDC and re-parameterisation.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tdcnet.layers.conv import Size3
from tdcnet.layers.stacked_branches import StackedBranches
from tdcnet.layers.temporal_conv import temporal_conv3d, triple

Branch = Literal["short", "mid", "long"]
KERNEL = (5, 3, 3)


def difference_matrix(branch: Branch, *, pure: bool = False) -> Tensor:
    """The matrix [5, 5] that turns a kernel W over differences of frames into one kernel W' over the frames.

    ``W'[k] = sum over t of matrix[k, t] * W[t]``; index 0 is the oldest frame.

    - short: sum over t = 1..4 of W_t * (F_t - F_(t-1))
    - mid: sum over t = 2..4 of W_t * (F_t - F_(t-2))
    - long: sum over t = 0..3 of W_t * (F_4 - F_t)

    Args:
        pure: only for ``long``. The released code adds W_4 to the newest frame's kernel, which leaves a plain
            convolution beside the differences; every released checkpoint was trained so (False). True is the formula
            of the paper, whose kernels sum to zero over time.

    Raises:
        ValueError: if ``branch`` is none of the three.
    """
    matrix = torch.zeros(5, 5)
    if branch in ("short", "mid"):
        step = 1 if branch == "short" else 2
        for t in range(step, 5):
            matrix[t, t] += 1
            matrix[t - step, t] -= 1
    elif branch == "long":
        for t in range(4):
            matrix[t, t] = -1
            matrix[4, t] = 1
        matrix[4, 4] = 0 if pure else 1
    else:
        raise ValueError(f"branch is {branch!r}; allowed are 'short', 'mid' and 'long'")
    return matrix


def _difference_kernels(weight: Tensor, matrices: Tensor) -> Tensor:
    """Kernels over frames, [O, K, I, 5, 3, 3], from kernels over differences, of K branches each with its matrix."""
    return torch.einsum("bkt,obityx->obikyx", matrices.to(weight.dtype), weight)


class TemporalDifferenceConv3d(nn.Module):
    """One branch of temporal difference convolution, ``[B, C, T, H, W] -> [B, out_channels, T', H', W']``.

    Beyond the ends of a clip lie zeros, as in any padded convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        branch: Branch = "short",
        stride: int | Size3 = 1,
        groups: int = 1,
        *,
        pure_long: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.groups = triple(stride), groups
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *KERNEL))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        matrix = difference_matrix(branch, pure=pure_long)[None]
        self.register_buffer("matrix", matrix, persistent=False)
        self.matrix: Tensor

    def forward(self, x: Tensor) -> Tensor:
        kernel = _difference_kernels(self.weight[:, None], self.matrix)[:, 0]
        return temporal_conv3d(x, kernel, None, self.stride, self.groups)


class RepConv3D(StackedBranches):
    """``ReLU(sum over branches of BN(TDC(x)))``, one plain convolution once it is deployed.

    ``[B, C, T, H, W] -> [B, out_channels, T', H', W']``; :class:`StackedBranches` says how it runs.

    Args:
        branches: which of the differences take part.
        pure_long: the paper's long branch instead of the released code's (see :func:`difference_matrix`).

    Raises:
        ValueError: if ``branches`` is empty, or names another.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int | Size3 = 1,
        groups: int = 1,
        *,
        branches: tuple[Branch, ...] = ("short", "mid", "long"),
        pure_long: bool = False,
    ) -> None:
        if not branches:
            raise ValueError("branches is empty; name one or more of 'short', 'mid' and 'long'")
        super().__init__(out_channels, len(branches), stride, groups)
        self.branches = tuple(branches)
        self.weight = nn.Parameter(torch.empty(out_channels, len(branches), in_channels // groups, *KERNEL))
        nn.init.kaiming_uniform_(self.weight.view(-1, *self.weight.shape[2:]), a=5**0.5)
        matrices = torch.stack([difference_matrix(b, pure=pure_long) for b in branches])
        self.register_buffer("matrices", matrices, persistent=False)
        self.matrices: Tensor
        self.register_parameter("bias", None)

    def kernels(self) -> Tensor:
        """The branches' kernels over frames, [O, branches, C / groups, 5, 3, 3]."""
        return _difference_kernels(self.weight, self.matrices)

    def name(self) -> str:
        """Its branches."""
        return "+".join(self.branches)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Kernel [O, C / groups, 5, 3, 3] and bias [O] that compute this block in eval mode, before ReLU."""
        if self.bias is not None:
            return self.weight, self.bias
        scale, shift = self._eval_scale_and_shift()
        # One contraction: the matrices weighted by the scales, so the stacked kernels never exist.
        mix = torch.einsum("ob,bkt->obkt", scale, self.matrices.to(scale.dtype))
        return torch.einsum("obkt,obityx->oikyx", mix, self.weight), shift

    @torch.no_grad()
    def fold(self) -> None:
        """See :class:`StackedBranches`."""
        if not self.is_deployed:
            super().fold()
            del self.matrices
