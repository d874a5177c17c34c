"""Temporal difference convolution (TDC) and its re-parameterised block, RepConv3D.

Source: "Spatio-Temporal Context Learning with Temporal Difference Convolution for Moving Infrared Small Target
Detection", AAAI 2026, arXiv 2511.09352, the section on TDC and re-parameterisation.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.conv import Size3
from tdcnet.layers.temporal_conv import sees_data, stem_scale_and_shift, temporal_conv3d, triple

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


class RepConv3D(nn.Module):
    """``ReLU(sum over branches of BN(TDC(x)))``, one plain convolution once it is deployed.

    ``[B, C, T, H, W] -> [B, out_channels, T', H', W']``. In training all branches run as one stacked convolution with
    one batch norm over their channels. In eval mode the batch norms fold into one kernel on the way, so that it
    costs one convolution already; :meth:`fold` makes that kernel the module's own.

    Args:
        branches: which of the differences take part.
        pure_long: the paper's long branch instead of the released code's (see :func:`difference_matrix`).

    Attributes:
        fold_in_eval: False computes branch by branch in eval mode too, to check the folding against.
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
        super().__init__()
        if not branches:
            raise ValueError("branches is empty; name one or more of 'short', 'mid' and 'long'")
        self.stride, self.groups = triple(stride), groups
        self.branches = tuple(branches)
        self.fold_in_eval = True
        self.weight = nn.Parameter(torch.empty(out_channels, len(branches), in_channels // groups, *KERNEL))
        nn.init.kaiming_uniform_(self.weight.view(-1, *self.weight.shape[2:]), a=5**0.5)
        # Channel o * branches + b: a group's branches lie side by side, so the stacked convolution keeps its groups.
        self.norm = nn.BatchNorm3d(out_channels * len(branches))
        matrices = torch.stack([difference_matrix(b, pure=pure_long) for b in branches])
        self.register_buffer("matrices", matrices, persistent=False)
        self.matrices: Tensor
        self.register_parameter("bias", None)

    @property
    def is_deployed(self) -> bool:
        """Whether :meth:`fold` has been called."""
        return self.bias is not None

    def folded(self) -> tuple[Tensor, Tensor]:
        """Kernel [O, C / groups, 5, 3, 3] and bias [O] that compute this block in eval mode, before ReLU."""
        if self.bias is not None:
            return self.weight, self.bias
        out, k = self.weight.shape[:2]
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        shift = (norm.bias - norm.running_mean * scale).view(out, k).sum(1)
        # One contraction: the matrices weighted by the scales, so the stacked kernels never exist.
        mix = torch.einsum("ob,bkt->obkt", scale.view(out, k), self.matrices.to(scale.dtype))
        return torch.einsum("obkt,obityx->oikyx", mix, self.weight), shift

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.before_relu(x))

    def before_relu(self, x: Tensor) -> Tensor:
        """What the block gives without its ReLU, for those who can take that later, on less."""
        if self.is_deployed or (self.fold_in_eval and not self.training):
            kernel, bias = self.folded()
            return temporal_conv3d(x, kernel, bias, self.stride, self.groups)
        kernels = _difference_kernels(self.weight, self.matrices).flatten(0, 1)  # [O*K, C/groups, 5, 3, 3]
        if sees_data(self.norm, x, self.groups):
            scale, shift = stem_scale_and_shift(self.norm, x, kernels, self.stride)
            kernel = (kernels * scale.view(-1, 1, 1, 1, 1)).unflatten(0, (-1, len(self.branches))).sum(1)
            bias = shift.unflatten(0, (-1, len(self.branches))).sum(1)
            return temporal_conv3d(x, kernel, bias, self.stride, self.groups)
        y: Tensor = self.norm(temporal_conv3d(x, kernels, None, self.stride, self.groups))
        return y.unflatten(1, (-1, len(self.branches))).sum(2)

    @torch.no_grad()
    def fold(self) -> None:
        """Switches to deploy form in place: one kernel with bias, no batch norm; inference only from then on."""
        if self.is_deployed:
            return
        kernel, bias = self.folded()
        self.weight = nn.Parameter(kernel, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        del self.norm, self.matrices

    def extra_repr(self) -> str:
        form = "deployed" if self.is_deployed else "+".join(self.branches)
        return f"{self.weight.shape[-4]} -> {self.weight.shape[0]}, stride={self.stride}, groups={self.groups}, {form}"
