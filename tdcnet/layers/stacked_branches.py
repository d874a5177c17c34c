"""What several convolutions over a clip with a batch norm each have in common: in deploy form they are one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.conv import Size3
from tdcnet.layers.temporal_conv import sees_data, stem_scale_and_shift, temporal_conv3d, triple


class StackedBranches(nn.Module):
    """``ReLU(sum over branches of BN(convolution))``: [B, C, T, H, W] -> [B, out_channels, T', H', W'].

    In training all branches run as one stacked convolution with one batch norm over their channels. In eval mode the
    batch norms fold into one kernel on the way, so that it costs one convolution already; :meth:`fold` makes that
    kernel the module's own, ``weight``. A branch is whatever :meth:`kernels` makes of the parameters.

    Args:
        branches: how many.

    Attributes:
        fold_in_eval: False computes branch by branch in eval mode too, to check the folding against.
    """

    weight: nn.Parameter

    def __init__(self, out_channels: int, branches: int, stride: int | Size3, groups: int) -> None:
        super().__init__()
        self.stride, self.groups = triple(stride), groups
        self.fold_in_eval = True
        # Channel o * branches + b: a group's branches lie side by side, so the stacked convolution keeps its groups.
        self.norm = nn.BatchNorm3d(out_channels * branches)

    def kernels(self) -> Tensor:
        """The branches' kernels over frames, [O, branches, C / groups, 5, 3, 3]."""
        raise NotImplementedError

    def name(self) -> str:
        """Of the training form, to be printed."""
        return f"{len(self.kernels()[0])} branches"

    @property
    def is_deployed(self) -> bool:
        """Whether :meth:`fold` has been called."""
        return self.bias is not None

    def folded(self) -> tuple[Tensor, Tensor]:
        """Kernel [O, C / groups, 5, 3, 3] and bias [O] that compute this block in eval mode, before ReLU."""
        if self.bias is not None:
            return self.weight, self.bias
        scale, shift = self._eval_scale_and_shift()
        return torch.einsum("ob,obityx->oityx", scale, self.kernels()), shift

    def _eval_scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """What the batch norms multiply each branch by, [O, branches], and add to their sum, [O], in eval mode."""
        norm, out = self.norm, len(self.weight)
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return scale.view(out, -1), (norm.bias - norm.running_mean * scale).view(out, -1).sum(1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.before_relu(x))

    def before_relu(self, x: Tensor) -> Tensor:
        """What the block gives without its ReLU, for those who can take that later, on less."""
        if self.is_deployed or (self.fold_in_eval and not self.training):
            kernel, bias = self.folded()
            return temporal_conv3d(x, kernel, bias, self.stride, self.groups)
        kernels = self.kernels()
        branches, kernels = kernels.shape[1], kernels.flatten(0, 1)  # [O * branches, C / groups, 5, 3, 3]
        if sees_data(self.norm, x, self.groups):
            scale, shift = stem_scale_and_shift(self.norm, x, kernels, self.stride)
            kernel = (kernels * scale.view(-1, 1, 1, 1, 1)).unflatten(0, (-1, branches)).sum(1)
            bias = shift.unflatten(0, (-1, branches)).sum(1)
            return temporal_conv3d(x, kernel, bias, self.stride, self.groups)
        y: Tensor = self.norm(temporal_conv3d(x, kernels, None, self.stride, self.groups))
        return y.unflatten(1, (-1, branches)).sum(2)

    @torch.no_grad()
    def fold(self) -> None:
        """Switches to deploy form in place: one kernel with bias, no batch norm; inference only from then on."""
        if self.is_deployed:
            return
        kernel, bias = self.folded()
        for name in [n for n, _ in self.named_parameters(recurse=False) if n != "weight"]:
            delattr(self, name)
        self.weight = nn.Parameter(kernel, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        del self.norm

    def extra_repr(self) -> str:
        form = "deployed" if self.is_deployed else self.name()
        channels = f"{self.weight.shape[-4] * self.groups} -> {self.weight.shape[0]}"
        return f"{channels}, stride={self.stride}, groups={self.groups}, {form}"
