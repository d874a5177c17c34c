"""A network with every part, small enough that its graph is made in seconds."""

from __future__ import annotations

import pytest
import torch

from tdcnet.deploy.fold import reparameterize
from tdcnet.layers import RepConv3D
from tdcnet.models import CSPDarknet, DecoupledHead, Detector, ShuffleNet3D, TopDownNeck
from tdcnet.models.tdcsta import ScaleAttention
from tests.conftest import randomise_norms

SIZE = (64, 96)


class FinestAttention(torch.nn.Module):
    """TDCSTA at the finest scale, whose windows are padded, masked and shifted here; of the others the 2D features."""

    in_channels = out_channels = (16, 32, 64)

    def __init__(self) -> None:
        super().__init__()
        self.finest = ScaleAttention(16, (2, 8, 8), 2, mask_padding=True)

    def forward(self, tdc, temporal, spatial):
        return [self.finest(tdc[0], temporal[0], spatial[0]), *spatial[1:]]


@pytest.fixture(scope="session")
def network() -> Detector:
    """In deploy form, with batch norms as after training."""
    torch.manual_seed(0)
    widths = FinestAttention.in_channels
    model = Detector(
        backbone_tdc=ShuffleNet3D(1, 8, widths, (1, 1, 1), RepConv3D),
        backbone_3d=ShuffleNet3D(1, 8, widths, (1, 1, 1)),
        backbone_2d=CSPDarknet(1, 0.0625, 0.33),
        fusion=FinestAttention(),
        neck=TopDownNeck(widths),
        head=DecoupledHead(widths[0], 2, 16),
    )
    with torch.no_grad():  # at PyTorch's own start nearly nothing of the clips reaches the output
        for weight in model.parameters():
            if weight.dim() > 1:
                weight *= 2.5
    return reparameterize(randomise_norms(model))
