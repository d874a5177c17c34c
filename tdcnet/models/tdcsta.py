"""TDCSTA: TDC-guided spatio-temporal attention, which joins the three backbones' features.

Source: TDCNet (arXiv 2511.09352), the section on TDCSTA.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tdcnet.layers.conv import Size3
from tdcnet.layers.window_attention import CrossAttention3d, SelfAttention3d
from tdcnet.layers.windows import WindowGrid
from tdcnet.models.detector import STREAMS

WINDOWS: tuple[Size3, ...] = ((2, 8, 8), (2, 4, 4), (2, 2, 2))


class ScaleAttention(nn.Module):
    """TDCSTA at one scale: ``mean over time of CA(SA_q(TDC), SA_k(3D), SA_v(2D repeated over time))``.

    Query, key and value, each either [B, C, T, H, W] or, of one frame that is repeated over time, [B, C, H, W]; not all
    of one frame -> [B, C, H, W].
    """

    def __init__(
        self, channels: int, window: Size3, num_heads: int, recompute: bool = False, mask_padding: bool = False
    ) -> None:
        super().__init__()
        self.window, self.recompute = window, recompute
        self.query, self.key, self.value = (
            SelfAttention3d(channels, window, num_heads, mask_padding=mask_padding) for _ in range(3)
        )
        self.cross = CrossAttention3d(channels, window, num_heads, mask_padding=mask_padding)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        def run(part: nn.Module, *inputs: Any) -> Any:
            if self.recompute and torch.is_grad_enabled():
                return checkpoint(part, *inputs, use_reentrant=False)
            return part(*inputs)

        def attended(part: nn.Module, x: Tensor) -> Any:  # [B * windows, N, C]
            if x.dim() == 5:
                return run(part, grid.split(x.permute(0, 2, 3, 4, 1)), grid)
            frame = x.permute(0, 2, 3, 1)[:, None]  # [B, 1, H, W, C]
            if grid.is_whole_in_time:
                return run(part, grid.first_frame().split(frame), grid, grid.size[0])
            return run(part, grid.split(frame.expand(-1, grid.size[0], -1, -1, -1)), grid)

        clip = next(x for x in (query, key, value) if x.dim() == 5)
        grid = WindowGrid.of(clip.shape[2:], self.window)
        q, k, v = (attended(*x) for x in ((self.query, query), (self.key, key), (self.value, value)))
        y = run(self.cross, q, k, v, grid)
        if grid.is_whole_in_time:
            y = y.unflatten(1, (grid.size[0], -1)).mean(1)
            grid = grid.first_frame()
        return grid.join(y).mean(1).permute(0, 3, 1, 2)


class TDCSTA(nn.Module):
    """Spatio-temporal attention at every scale: three lists of features in, one list of ``[B, C_i, H_i, W_i]`` out.

    Args:
        channels: of each scale, the same in all three backbones.
        num_heads: of each scale; must divide its channels.
        order: the streams that are query, key and value. What comes out is the value's, moved by what query and key
            have in common. A stream may serve twice; one that does not serve is left out of the detector.
        windows: (t, h, w) of each scale, in positions of its map.
        recompute: keep only what goes into each attention, and compute it again in the backward pass: about half the
            memory of a training step for some more time (scripts/benchmark.py tells both).
        mask_padding: attend to nothing beyond a map that windows (64 px at every scale) do not divide. Published is
            False: a window on such an edge sees zeros, too, and differs from one on the edge of a larger input.
        quiet_start: what attention and its perceptrons add begins at zero, so that a training sets out from the value's
            features and takes in the others as they become of use (as Fixup, arXiv 1901.09321, and its successors do
            with residual branches). Published is False.

    Raises:
        ValueError: if ``order`` is not three of the streams, or names ``2d`` alone, or heads do not divide channels.
    """

    def __init__(
        self,
        channels: Sequence[int] = (128, 256, 512),
        num_heads: Sequence[int] = (4, 4, 4),
        windows: Sequence[Size3] = WINDOWS,
        recompute: bool = False,
        order: Sequence[str] = STREAMS,
        mask_padding: bool = False,
        quiet_start: bool = False,
    ) -> None:
        super().__init__()
        if len(order) != 3 or not set(order) <= set(STREAMS) or set(order) == {"2d"}:
            raise ValueError(
                f"order is {', '.join(order)}; query, key and value are each one of {', '.join(STREAMS)}, and not all "
                "the newest frame"
            )
        self.order = tuple(order)
        self.streams = tuple(s for s in STREAMS if s in order)
        self.in_channels = self.out_channels = tuple(channels)
        self.scales = nn.ModuleList(
            ScaleAttention(c, tuple(w), n, recompute, mask_padding)  # type: ignore[arg-type]
            for c, w, n in zip(channels, windows, num_heads, strict=True)
        )
        if quiet_start:
            for part in self.modules():
                if isinstance(part, SelfAttention3d | CrossAttention3d):
                    part.start_quietly()

    def forward(self, tdc: list[Tensor], temporal: list[Tensor], spatial: list[Tensor]) -> list[Tensor]:
        given = dict(zip(STREAMS, (tdc, temporal, spatial), strict=True))
        return [scale(*x) for scale, *x in zip(self.scales, *(given[s] for s in self.order), strict=True)]
