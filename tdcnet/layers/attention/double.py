"""Double attention."""

from __future__ import annotations

from torch import Tensor, nn

from tdcnet.layers.attention.shared import reduced
from tdcnet.layers.checks import check_positive


class DoubleAttention(nn.Module):
    """Gathers features of the whole map, then hands them out to each position: [B, C, H, W] -> the same shape.

    Source: Chen et al., NeurIPS 2018, "A2-Nets: Double Attention Networks".

    Args:
        c_m: channels of what is gathered; a quarter of ``channels`` if None, all of them without ``reconstruct``.
        c_n: how many things are gathered; a quarter of ``channels`` if None.
        reconstruct: ends with a 1x1 convolution from ``c_m`` channels back to ``channels``.
    """

    def __init__(self, channels: int, c_m: int | None = None, c_n: int | None = None, reconstruct: bool = True) -> None:
        super().__init__()
        if c_m is None:
            c_m = reduced(channels, 4) if reconstruct else channels
        if c_n is None:
            c_n = reduced(channels, 4)
        check_positive(c_m=c_m, c_n=c_n)
        if not reconstruct and c_m != channels:
            raise ValueError(
                f"without reconstruct c_m must be the {channels} channels of the map, got {c_m}; leave c_m out"
            )
        self.features = nn.Conv2d(channels, c_m, 1)
        self.gather = nn.Conv2d(channels, c_n, 1)
        self.distribute = nn.Conv2d(channels, c_n, 1)
        self.proj = nn.Conv2d(c_m, channels, 1) if reconstruct else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        where = self.gather(x).flatten(2).softmax(2)  # [B, c_n, H * W], over positions
        gathered = self.features(x).flatten(2) @ where.mT  # [B, c_m, c_n]
        shares = self.distribute(x).flatten(2).softmax(1)  # [B, c_n, H * W], over channels
        y: Tensor = self.proj((gathered @ shares).unflatten(2, x.shape[2:]))
        return y
