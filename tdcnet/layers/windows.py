"""How a clip [B, T, H, W, C] is cut into windows for attention, plain and shifted.

Source: windows after Video Swin (Liu et al., CVPR 2022), as in TDCNet (arXiv 2511.09352). Details that released
weights depend on are marked where they are.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tdcnet.layers.conv import Size3


@dataclass(frozen=True)
class WindowGrid:
    """How a clip of ``size`` (T, H, W) is cut into windows.

    Where the clip does not exceed the configured window along an axis, the window shrinks to it and the shift is 0.
    """

    size: Size3
    window: Size3
    shift: Size3
    padded: Size3
    configured: Size3

    @classmethod
    def of(cls, size: Sequence[int], window: Size3) -> WindowGrid:
        """The grid for a clip of ``size`` with the configured ``window``; shifts are half a window."""
        used, shift, padded = [], [], []
        for n, w in zip(size, window, strict=True):
            used.append(min(n, w))
            shift.append(w // 2 if n > w else 0)
            padded.append(-(-n // used[-1]) * used[-1])
        return cls(tuple(size), tuple(used), tuple(shift), tuple(padded), tuple(window))  # type: ignore[arg-type]

    @property
    def counts(self) -> Size3:
        """Windows along each axis."""
        t, h, w = (p // n for p, n in zip(self.padded, self.window, strict=True))
        return t, h, w

    @property
    def is_whole_in_time(self) -> bool:
        """Whether one window holds all frames, and no padding among them."""
        return self.window[0] == self.size[0] == self.padded[0]

    def first_frame(self) -> WindowGrid:
        """The same grid over one frame."""
        (_, h, w), (_, wh, ww), (_, sh, sw), (_, ph, pw) = self.size, self.window, self.shift, self.padded
        return replace(self, size=(1, h, w), window=(1, wh, ww), shift=(0, sh, sw), padded=(1, ph, pw))

    def shifted(self) -> WindowGrid:
        """The grid of the second attention: as this one, but frame by frame where no frame may see another.

        That is so for two frames and a configured window of two (see :func:`shift_mask`), the usual case: half of
        each window would be masked away, so windows of one frame give the same at half the work.
        """
        apart = self.padded[0] == self.configured[0] == 2
        return replace(self, window=(1, *self.window[1:])) if apart else self

    def split(self, x: Tensor) -> Tensor:
        """Windows [B * windows, N, C] of a clip [B, T, H, W, C], N positions a window; zeros where it is padded."""
        if self.padded != self.size:
            t, h, w = (p - n for p, n in zip(self.padded, self.size, strict=True))
            x = F.pad(x, (0, 0, 0, w, 0, h, 0, t))
        wt, wh, ww = self.window
        x = x.unflatten(3, (-1, ww)).unflatten(2, (-1, wh)).unflatten(1, (-1, wt))
        return x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6).flatten(0, 3)

    def join(self, windows: Tensor) -> Tensor:
        """The inverse of :meth:`split`; what stands on the padding is dropped."""
        x = windows.unflatten(1, self.window).unflatten(0, (-1, *self.counts))  # [B, nT, nH, nW, wt, wh, ww, C]
        x = x.permute(0, 1, 4, 2, 5, 3, 6, 7).flatten(5, 6).flatten(3, 4).flatten(1, 2)
        t, h, w = self.size
        return x if self.padded == self.size else x[:, :t, :h, :w]

    def blank(self, windows: Tensor) -> Tensor:
        """Windows with zeros on the padding."""
        if self.padded == self.size:
            return windows
        inside = _inside(self, windows.device)  # [windows, N, 1]
        return (windows.unflatten(0, (-1, len(inside))) * inside).flatten(0, 1)

    def shift_windows(self, windows: Tensor, *, back: bool = False) -> Tensor:
        """Windows of this grid [B * windows, N, C] as those of :meth:`shifted` moved by the shift, or the way back."""
        target = self if back else self.shifted()
        there, again = _orders(self, windows.device)
        order, inverse = (again, there) if back else (there, again)
        x = windows.reshape(-1, len(order), windows.shape[-1])
        x = _Reorder.apply(x, order, inverse) if torch.is_grad_enabled() else x.index_select(1, order)
        return x.view(-1, target.window[0] * target.window[1] * target.window[2], x.shape[-1])


class _Reorder(torch.autograd.Function):
    """A permutation along axis 1, whose gradient is one, too, and not the sum that indexing would make of it."""

    @staticmethod
    def forward(ctx, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(inverse)
        return x.index_select(1, order)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        (inverse,) = ctx.saved_tensors
        return grad.index_select(1, inverse), None, None


# What follows is made once per size. Not in inference mode: such tensors could not be used in training afterwards.


@functools.lru_cache(maxsize=64)
def padding_mask(grid: WindowGrid, device: torch.device, shifted: bool = False) -> Tensor | None:
    """-100 for keys on the padding, else 0: [windows, 1, 1, N], or None where a grid has no padding.

    Args:
        shifted: for the windows of :meth:`WindowGrid.shifted` moved by the shift.
    """
    if grid.padded == grid.size:
        return None
    with torch.inference_mode(False), torch.no_grad():
        inside = _inside(grid, device)
        if shifted:
            inside = grid.shift_windows(inside)
        return (inside.mT[:, None] - 1) * 100


@functools.lru_cache(maxsize=64)
def shift_mask(grid: WindowGrid, device: torch.device) -> Tensor:
    """-100 between positions of one shifted window that come from different regions, else 0: [windows, 1, N, N].

    Released weights depend on this: the regions are cut with the *configured* window and shift, also along an axis
    where the window shrank and nothing is shifted. With two frames and a window of two, the second attention
    therefore never crosses the frames.
    """
    with torch.inference_mode(False), torch.no_grad():
        regions = torch.zeros(grid.padded)
        cuts = [(slice(0, -w), slice(-w, -(w // 2)), slice(-(w // 2), None)) for w in grid.configured]
        for number, area in enumerate(itertools.product(*cuts)):
            regions[area] = number
        flat = replace(grid, size=grid.padded).split(regions[None, ..., None]).squeeze(-1)
        mask = torch.where(flat[:, :, None] == flat[:, None, :], 0.0, -100.0)
        return mask[:, None].to(device)


@functools.lru_cache(maxsize=64)
def _inside(grid: WindowGrid, device: torch.device) -> Tensor:
    """1 where a window shows the clip, 0 on the padding: [windows, N, 1]."""
    with torch.inference_mode(False), torch.no_grad():
        return grid.split(torch.ones(1, *grid.size, 1)).to(device)


@functools.lru_cache(maxsize=64)
def _orders(grid: WindowGrid, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where each position of the shifted windows lies among the unshifted ones, and the inverse: int64 [positions]."""
    with torch.inference_mode(False), torch.no_grad():
        grid = replace(grid, size=grid.padded)
        t, h, w = grid.padded
        number = torch.arange(t * h * w).view(1, t, h, w, 1)
        back = tuple(-s for s in grid.shift)
        plain = grid.split(number).flatten()
        moved = grid.shifted().split(number.roll(back, dims=(1, 2, 3))).flatten()
        order = plain.argsort()[moved]
        return order.to(device), order.argsort().to(device)
