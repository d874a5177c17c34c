"""The published computation, step by step as its formulas say it: what speed and memory are measured against.

Nothing here is clever. Grey is repeated to three channels, every branch of a RepConv3D is a 3D convolution with a batch
norm of its own, attention forms its whole matrix and masks what does not belong together, the newest frame's features
are repeated over time before anything else, and batch norms stay where they are, except that the three branches of a
RepConv3D become one convolution in deploy form, as in the paper.
"""

from __future__ import annotations

import copy
import functools
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tdcnet.layers.conv import Size3
from tdcnet.layers.temporal_conv import TemporalConv3d
from tdcnet.layers.temporal_difference import RepConv3D
from tdcnet.layers.window_attention import CrossAttention3d, SelfAttention3d, WindowAttention, relative_position_index
from tdcnet.models import Detector
from tdcnet.models.csp_darknet import SpatialPyramidPooling
from tdcnet.models.tdcsta import ScaleAttention

CHANNELS = 3


def unmasked(model: Detector) -> Detector:
    """``model`` with the attention's padding as published."""
    for part in model.modules():
        if isinstance(part, SelfAttention3d | CrossAttention3d):
            part.mask_padding = False
    return model


def plain(model: Detector, deployed: bool = False) -> nn.Module:
    """A network with the weights of ``model`` (in training form, grey) that computes as published.

    Also where windows are padded: compare with :func:`unmasked`.

    Args:
        deployed: branches of each RepConv3D as one convolution; for inference.
    """
    network = copy.deepcopy(model)
    for parent in list(network.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, RepConv3D):
                setattr(parent, name, OneConvolution(part) if deployed else Branches(part))
            elif isinstance(part, TemporalConv3d):
                is_stem = part.conv.in_channels == 1 and part.conv.groups == 1
                activation = [nn.ReLU()] if is_stem else []
                setattr(parent, name, nn.Sequential(part.conv, part.norm, *activation))
            elif isinstance(part, SelfAttention3d):
                setattr(parent, name, SelfAttention(part))
            elif isinstance(part, CrossAttention3d):
                setattr(parent, name, CrossAttention(part))
            elif isinstance(part, SpatialPyramidPooling):
                setattr(parent, name, Pooling(part))
            elif isinstance(part, ScaleAttention):
                part.forward = functools.partial(_fuse, part)  # type: ignore[method-assign]
    _to_colour(network)
    return Colour(network)


def _to_colour(network: Detector) -> None:
    """Makes the stems take three channels, each with a third of the weight."""
    for backbone in (network.backbone_tdc, network.backbone_3d, network.backbone_2d):
        for part in getattr(backbone, "stem", nn.Identity()).modules():
            if isinstance(part, Branches):
                part.weights = nn.ParameterList(_in_colour(weight) for weight in part.weights)
            elif isinstance(part, nn.Conv2d | nn.Conv3d):
                part.weight = _in_colour(part.weight)
                part.in_channels *= CHANNELS
    network.in_channels = network.backbone_2d.in_channels = CHANNELS  # type: ignore[assignment]


def _in_colour(weight: Tensor) -> nn.Parameter:
    # Focus packs the channels of one pixel next to each other.
    return nn.Parameter(weight.detach().repeat_interleave(CHANNELS, dim=1) / CHANNELS)


class Colour(nn.Module):
    """Repeats grey over three channels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, aligned: Tensor, frames: Tensor) -> Tensor:
        raw: Tensor = self.network(*(x.repeat(1, CHANNELS, 1, 1, 1) for x in (aligned, frames)))
        return raw


# -- temporal differences ---------------------------------------------------------------------------------------------


class OneConvolution(nn.Module):
    """RepConv3D in deploy form: one 5x3x3 convolution and ReLU."""

    def __init__(self, part: RepConv3D) -> None:
        super().__init__()
        weight, bias = (x.detach() for x in part.folded())
        channels = weight.shape[1] * part.groups
        self.conv = nn.Conv3d(channels, len(weight), (5, 3, 3), part.stride, (2, 1, 1), groups=part.groups)
        self.conv.weight, self.conv.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))


class Branches(nn.Module):
    """RepConv3D in training form: a convolution and a batch norm per branch, summed, ReLU."""

    def __init__(self, part: RepConv3D) -> None:
        super().__init__()
        self.names, self.stride, self.groups = part.branches, part.stride, part.groups
        self.weights = nn.ParameterList(part.weight.detach()[:, i].clone() for i in range(len(self.names)))
        self.norms = nn.ModuleList()
        for i in range(len(self.names)):
            norm = nn.BatchNorm3d(len(part.weight))
            own = slice(i, None, len(self.names))
            norm.load_state_dict({k: v[own] if v.dim() else v for k, v in part.norm.state_dict().items()})
            self.norms.append(norm)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor | float = 0.0
        for name, weight, norm in zip(self.names, self.weights, self.norms, strict=True):
            total = total + norm(F.conv3d(x, _kernel(name, weight), None, self.stride, (2, 1, 1), groups=self.groups))
        return F.relu(total)  # type: ignore[arg-type]


def _kernel(branch: str, w: Tensor) -> Tensor:
    """The kernel over frames that a kernel over differences amounts to, as TDCNET's formulas list it."""
    w0, w1, w2, w3, w4 = w.unbind(2)
    if branch == "short":
        taps = [-w1, w1 - w2, w2 - w3, w3 - w4, w4]
    elif branch == "mid":
        taps = [-w2, -w3, w2 - w4, w3, w4]
    else:
        taps = [-w0, -w1, -w2, -w3, w0 + w1 + w2 + w3 + w4]
    return torch.stack(taps, dim=2)


# -- attention --------------------------------------------------------------------------------------------------------


def _fuse(part: ScaleAttention, tdc: Tensor, temporal: Tensor, spatial: Tensor) -> Tensor:
    repeated = spatial[:, :, None].repeat(1, 1, tdc.shape[2], 1, 1)
    q, k, v = (x.permute(0, 2, 3, 4, 1).contiguous() for x in (tdc, temporal, repeated))
    y: Tensor = part.cross(part.query(q), part.key(k), part.value(v)).permute(0, 4, 1, 2, 3).contiguous()
    return y.mean(dim=2)


def _partition(x: Tensor, window: Size3) -> Tensor:
    b, t, h, w, c = x.shape
    a, d, e = window
    x = x.view(b, t // a, a, h // d, d, w // e, e, c)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).contiguous().view(-1, a * d * e, c)


def _reverse(windows: Tensor, window: Size3, shape: tuple[int, ...]) -> Tensor:
    b, t, h, w, c = shape
    a, d, e = window
    x = windows.view(b, t // a, h // d, w // e, a, d, e, c)
    return x.permute(0, 1, 4, 2, 5, 3, 6, 7).contiguous().view(b, t, h, w, c)


def _windows(size: Size3, configured: Size3) -> tuple[Size3, Size3]:
    """Window and shift in effect."""
    pairs = [(n, 0) if n <= w else (w, w // 2) for n, w in zip(size, configured, strict=True)]
    window, shift = zip(*pairs, strict=True)
    return window, shift


def _padded(x: Tensor, window: Size3) -> Tensor:
    t, h, w = (-n % size for n, size in zip(x.shape[1:4], window, strict=True))
    return F.pad(x, (0, 0, 0, w, 0, h, 0, t))


@functools.lru_cache(maxsize=16)
def _mask(padded: Size3, window: Size3, configured: Size3) -> Tensor:
    regions = torch.zeros(1, *padded, 1)
    cuts = [(slice(0, -w), slice(-w, -(w // 2)), slice(-(w // 2), None)) for w in configured]
    for number, (t, h, w) in enumerate(itertools.product(*cuts)):
        regions[:, t, h, w] = number
    flat = _partition(regions, window).squeeze(-1)
    difference = flat[:, None] - flat[:, :, None]
    return difference.masked_fill(difference != 0, -100.0).masked_fill(difference == 0, 0.0)


def _softmax_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
    """[windows, heads, N, d] each -> [windows, N, heads * d]."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias
    if mask is not None:
        count, heads, n, _ = scores.shape
        scores = (scores.view(-1, len(mask), heads, n, n) + mask[None, :, None]).view(count, heads, n, n)
    y = scores.softmax(dim=-1) @ v
    return y.transpose(1, 2).reshape(len(q), q.shape[2], -1)


def _bias(table: Tensor, index: Tensor, n: int) -> Tensor:
    return table[index[:n, :n].reshape(-1)].reshape(n, n, -1).permute(2, 0, 1).contiguous()[None]


class Attention(nn.Module):
    """Self-attention of windows."""

    def __init__(self, part: WindowAttention, window: Size3) -> None:
        super().__init__()
        self.heads, self.table, self.qkv, self.proj = part.num_heads, part.bias.table, part.qkv, part.proj
        self.register_buffer("index", relative_position_index(window), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        count, n, c = x.shape
        q, k, v = self.qkv(x).reshape(count, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y: Tensor = self.proj(_softmax_attention(q, k, v, _bias(self.table, self.index, n), mask))
        return y


class SelfAttention(nn.Module):
    """SA: two layers, the second one shifted."""

    def __init__(self, part: SelfAttention3d) -> None:
        super().__init__()
        self.window: Size3 = part.window  # type: ignore[assignment]
        self.norms = nn.ModuleList([part.norm1, part.norm2, part.norm3, part.norm4])
        self.attention = nn.ModuleList(Attention(each, self.window) for each in (part.attn1, part.attn2))
        self.mlps = nn.ModuleList([part.mlp1, part.mlp2])

    def forward(self, x: Tensor) -> Tensor:
        _, t, h, w, _ = x.shape
        window, shift = _windows((t, h, w), self.window)
        y = _padded(self.norms[0](x), window)
        shape = tuple(y.shape)
        y = _reverse(self.attention[0](_partition(y, window), None), window, shape)
        x = _padded(x, window) + y
        x = x + self.mlps[0](self.norms[1](x))
        y = self.norms[2](x)
        if any(shift):
            y = torch.roll(y, tuple(-s for s in shift), dims=(1, 2, 3))
            mask = _mask(shape[1:4], window, self.window).to(x)
            y = _reverse(self.attention[1](_partition(y, window), mask), window, shape)
            y = torch.roll(y, shift, dims=(1, 2, 3))
        x = (x + y)[:, :t, :h, :w].contiguous()
        x = x + self.mlps[1](self.norms[3](x))
        return x


class CrossAttention(nn.Module):
    """CA: queries, keys and values of three streams."""

    def __init__(self, part: CrossAttention3d) -> None:
        super().__init__()
        self.window: Size3 = part.window  # type: ignore[assignment]
        self.heads, self.table, self.proj, self.mlp = part.num_heads, part.bias.table, part.proj, part.mlp
        self.norms = nn.ModuleList([part.norm_q, part.norm_k, part.norm_v])
        self.norm = part.norm
        self.register_buffer("index", relative_position_index(self.window), persistent=False)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        _, t, h, w, _ = v.shape
        window, _ = _windows((t, h, w), self.window)
        padded = [_padded(norm(x), window) for norm, x in zip(self.norms, (q, k, v), strict=True)]
        shape = tuple(padded[0].shape)
        heads = []
        for x in padded:
            x = _partition(x, window)
            heads.append(x.reshape(len(x), x.shape[1], self.heads, -1).permute(0, 2, 1, 3))
        bias = _bias(self.table, self.index, heads[0].shape[2])
        y = self.proj(_softmax_attention(*heads, bias, None))
        x = v + _reverse(y, window, shape)[:, :t, :h, :w].contiguous()
        x = x + self.mlp(self.norm(x))
        return x


class Pooling(nn.Module):
    """Three max-pools side by side."""

    def __init__(self, part: SpatialPyramidPooling) -> None:
        super().__init__()
        self.conv1, self.conv2 = part.conv1, part.conv2

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        pooled = [F.max_pool2d(x, side, stride=1, padding=side // 2) for side in (5, 9, 13)]
        y: Tensor = self.conv2(torch.cat([x, *pooled], dim=1))
        return y
