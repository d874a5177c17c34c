"""TDCNet as published, and two smaller ones for little machines."""

from __future__ import annotations

from collections.abc import Sequence

from tdcnet.layers.temporal_conv import TemporalConv3d
from tdcnet.layers.temporal_difference import RepConv3D
from tdcnet.models.csp_darknet import CSPDarknet
from tdcnet.models.detector import Detector
from tdcnet.models.head import DecoupledHead
from tdcnet.models.neck import TopDownNeck
from tdcnet.models.shufflenet3d import ShuffleNet3D
from tdcnet.models.tdcsta import TDCSTA


def _build(
    num_classes: int,
    in_channels: int,
    num_frames: int,
    differences: bool,
    *,
    stem: int,
    widths: Sequence[int],
    width_2d: float,
    heads: Sequence[int],
    head_width: int,
) -> Detector:
    return Detector(
        backbone_tdc=ShuffleNet3D(in_channels, stem, widths, temporal_conv=RepConv3D),
        backbone_3d=ShuffleNet3D(in_channels, stem, widths, temporal_conv=TemporalConv3d),
        backbone_2d=CSPDarknet(in_channels * num_frames if differences else in_channels, width_2d),
        fusion=TDCSTA(widths, heads),
        neck=TopDownNeck(widths),
        head=DecoupledHead(widths[0], num_classes, head_width),
        in_channels=in_channels,
        num_frames=num_frames,
        differences=differences,
    )


def tdcnet(num_classes: int = 1, in_channels: int = 1, num_frames: int = 5, differences: bool = False) -> Detector:
    """TDCNet as published (AAAI 2026, arXiv 2511.09352), less what nothing uses; ``configs/model/tdcnet.yaml``.

    Takes and gives what :class:`Detector` says.
    """
    return _build(
        num_classes,
        in_channels,
        num_frames,
        differences,
        stem=24,
        widths=(128, 256, 512),
        width_2d=0.5,
        heads=(4, 4, 4),
        head_width=256,
    )


def tdcnet_small(
    num_classes: int = 1, in_channels: int = 1, num_frames: int = 5, differences: bool = False
) -> Detector:
    """Half the width of :func:`tdcnet` and less; ``configs/model/tdcnet_small.yaml``."""
    return _build(
        num_classes,
        in_channels,
        num_frames,
        differences,
        stem=16,
        widths=(48, 96, 192),
        width_2d=0.1875,
        heads=(2, 4, 4),
        head_width=128,
    )


def tdcnet_nano(num_classes: int = 1, in_channels: int = 1, num_frames: int = 5, differences: bool = False) -> Detector:
    """A quarter of the width of :func:`tdcnet`, about 1.8 M parameters; ``configs/model/tdcnet_nano.yaml``."""
    return _build(
        num_classes,
        in_channels,
        num_frames,
        differences,
        stem=8,
        widths=(32, 64, 128),
        width_2d=0.125,
        heads=(1, 2, 4),
        head_width=64,
    )
