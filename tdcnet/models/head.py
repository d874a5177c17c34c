"""YOLOX's decoupled head at one scale."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tdcnet.models.csp_darknet import conv_silu


class DecoupledHead(nn.Module):
    """``[B, C, H, W] -> [B, 5 + num_classes, finer * H, finer * W]``: 4 box, 1 objectness, classes, before activation.

    Args:
        prior: the probability that objectness and class start with; None leaves PyTorch's own start. With thousands of
            cells and one small target the first steps would otherwise only unlearn false alarms.
        box_prior: side, in cells, that all boxes start with, centred on their cell; of the order of the usual
            side. None leaves PyTorch's own start, boxes of about one cell round its upper left corner.
        finer: cells along either side of one of the input map's: 2 gives an output at stride 4 of a neck at stride 8.

    Source: YOLOX (arXiv 2107.08430), as in TDCNet (arXiv 2511.09352).
    """

    def __init__(
        self,
        in_channels: int = 128,
        num_classes: int = 1,
        width: int = 256,
        prior: float | None = 0.01,
        box_prior: float | None = None,
        finer: int = 1,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; at least 1 is needed")
        if finer < 1:
            raise ValueError(f"finer is {finer}; expected 1 or more cells along a side")
        if box_prior is not None and box_prior <= 0:
            raise ValueError(f"box_prior is {box_prior}; expected cells above 0")
        self.in_channels, self.num_classes = in_channels, num_classes
        self.prior, self.box_prior = prior, box_prior
        self.stem = conv_silu(in_channels, width * finer**2, 1)
        self.spread = nn.PixelShuffle(finer) if finer > 1 else nn.Identity()
        self.class_convs = nn.Sequential(conv_silu(width, width, 3), conv_silu(width, width, 3))
        self.box_convs = nn.Sequential(conv_silu(width, width, 3), conv_silu(width, width, 3))
        self.class_pred = nn.Conv2d(width, num_classes, 1)
        self.box_pred = nn.Conv2d(width, 4, 1)
        self.objectness_pred = nn.Conv2d(width, 1, 1)
        self.reset_prior()

    def reset_prior(self) -> None:
        """Sets the biases so that objectness and class start at ``prior`` and boxes at ``box_prior``."""
        if self.prior is not None:
            for layer in (self.class_pred, self.objectness_pred):
                nn.init.constant_(layer.bias, -math.log((1 - self.prior) / self.prior))  # type: ignore[arg-type]
        if self.box_prior is not None:
            side = math.log(self.box_prior)
            with torch.no_grad():
                self.box_pred.bias.copy_(torch.tensor([0.5, 0.5, side, side]))  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        x = self.spread(self.stem(x))
        box = self.box_convs(x)
        parts = (self.box_pred(box), self.objectness_pred(box), self.class_pred(self.class_convs(x)))
        return torch.cat(parts, dim=1)
