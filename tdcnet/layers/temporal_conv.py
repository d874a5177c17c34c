"""Convolution over a clip, 5x3x3, and batch norm in ways that suit short clips."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.conv import ConvNormAct, Size3, is_eager_on_cpu


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
        first, *others = frames[max(0, t - 2) : t + 3]  # those within the kernel's reach
        y = F.conv2d(slices[first], weight[:, :, first - t + 2], bias, 1, 1, groups=len(weight))
        for s in others:
            y = y.add_(F.conv2d(slices[s], weight[:, :, s - t + 2], None, 1, 1, groups=len(weight)))
        outputs.append(y)
    return torch.stack(outputs, 2)


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


def sees_data(norm: nn.Module, x: Tensor, groups: int) -> bool:
    """Whether :func:`stem_scale_and_shift` can stand for ``norm`` here: in training, on data without a gradient."""
    plain = type(norm) is nn.BatchNorm3d and norm.momentum is not None  # not SyncBatchNorm
    return plain and norm.training and not x.requires_grad and groups == 1 and x.shape[2] <= 5


def stem_scale_and_shift(norm: nn.BatchNorm3d, x: Tensor, kernels: Tensor, stride: Size3) -> tuple[Tensor, Tensor]:
    """What ``norm`` does in training to ``y = temporal_conv3d(x, kernels)``, as ``y * scale + shift``: [O] each.

    y is never formed, nor kept for a backward pass. It is linear in the input's 3x3 patches, so its mean and variance
    follow from theirs. Patches are of the newest frame and of the older ones' differences to it: differences are small
    against the frames, and would be lost in float32 where they are taken last. Updates the running statistics.

    Args:
        x: [B, C, T, H, W], T at most 5.
        kernels: [O, C, 5, 3, 3].
    """
    with torch.autocast(x.device.type, enabled=False):
        mean, var, count = _statistics(x.to(norm.weight.dtype), kernels.to(norm.weight.dtype), stride)
    assert norm.momentum is not None and norm.running_mean is not None and norm.running_var is not None
    assert norm.num_batches_tracked is not None
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(var * (count / max(1, count - 1)), norm.momentum)
    scale = norm.weight * torch.rsqrt(var + norm.eps)
    return scale, norm.bias - mean * scale


def _statistics(x: Tensor, kernels: Tensor, stride: Size3) -> tuple[Tensor, Tensor, int]:
    """Mean and variance [O] of the convolution's output, and how many values each is of."""
    frames = x.shape[2]
    with torch.no_grad():
        differences = torch.cat((x[:, :, :-1] - x[:, :, -1:], x[:, :, -1:]), dim=2)
        patches = F.unfold(differences.flatten(1, 2), 3, padding=1, stride=stride[1:])  # [B, C * T * 9, L]
        count = len(patches) * patches.shape[2]
        centre = patches.mean((0, 2))
        patches -= centre[:, None]
        covariance = (patches @ patches.mT).sum(0) / count
    band, _ = frame_kernels(kernels, None, frames, stride[0])
    band = band.unflatten(1, (-1, frames))  # [O * T', C, T, 3, 3]
    rows = torch.cat((band[:, :, :-1], band.sum(2, keepdim=True)), dim=2).flatten(1)
    means = (rows @ centre).view(len(kernels), -1)
    var = ((rows @ covariance) * rows).sum(1).view(len(kernels), -1).mean(1) + means.var(1, correction=0)
    return means.mean(1), var.clamp(min=0), count * means.shape[1]


class TemporalConv3d(ConvNormAct):
    """5x3x3 convolution over a clip and batch norm: what stands where TDCNet's other backbone has temporal differences.

    ``[B, C, T, H, W] -> [B, out_channels, T', H', W']``.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int | Size3 = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, (5, 3, 3), stride, groups, dims=3)

    def forward(self, x: Tensor) -> Tensor:
        conv, stride = self.conv, triple(self.conv.stride)
        if sees_data(self.norm, x, conv.groups):
            scale, shift = stem_scale_and_shift(self.norm, x, conv.weight, stride)
            return temporal_conv3d(x, conv.weight * scale.view(-1, 1, 1, 1, 1), shift, stride, conv.groups)
        y: Tensor = self.norm(temporal_conv3d(x, conv.weight, conv.bias, stride, conv.groups))
        return y
