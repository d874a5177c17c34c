"""TDCNet as published, the light detector beside it, and smaller ones of each; one is for tiny targets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tdcnet.layers.temporal_conv import TemporalConv3d
from tdcnet.layers.temporal_difference import RepConv3D
from tdcnet.models.csp_darknet import CSPDarknet
from tdcnet.models.detector import Detector
from tdcnet.models.head import DecoupledHead
from tdcnet.models.motion_detector import Motion2D
from tdcnet.models.motion_inputs import Differences
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
    published: bool = False,
) -> Detector:
    return Detector(
        backbone_tdc=ShuffleNet3D(in_channels, stem, widths, temporal_conv=RepConv3D),
        backbone_3d=ShuffleNet3D(in_channels, stem, widths, temporal_conv=TemporalConv3d),
        backbone_2d=CSPDarknet(in_channels * num_frames if differences else in_channels, width_2d),
        fusion=TDCSTA(widths, heads, mask_padding=not published, quiet_start=not published),
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
        published=True,
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


def _motion_2d(
    num_classes: int, in_channels: int, num_frames: int, *, width: float, head_width: int, fine: bool = False
) -> Motion2D:
    return Motion2D(
        motion=Differences,
        backbone=partial(CSPDarknet, width=width, fine=fine),
        neck=TopDownNeck,
        head=partial(DecoupledHead, num_classes=num_classes, width=head_width),
        in_channels=in_channels,
        num_frames=num_frames,
    )


def motion_2d(num_classes: int = 1, in_channels: int = 1, num_frames: int = 5) -> Motion2D:
    """TDCNet's 2D backbone on the newest frame and its differences to the older; ``configs/model/motion_2d.yaml``.

    Takes and gives what :class:`Motion2D` says.
    """
    return _motion_2d(num_classes, in_channels, num_frames, width=0.5, head_width=256)


def motion_2d_small(num_classes: int = 1, in_channels: int = 1, num_frames: int = 5) -> Motion2D:
    """Half the width of :func:`motion_2d` and less; ``configs/model/motion_2d_small.yaml``."""
    return _motion_2d(num_classes, in_channels, num_frames, width=0.1875, head_width=128)


def motion_2d_fine(num_classes: int = 1, in_channels: int = 1, num_frames: int = 5) -> Motion2D:
    """:func:`motion_2d_small` with features and output at stride 4; ``configs/model/motion_2d_fine.yaml``."""
    return _motion_2d(num_classes, in_channels, num_frames, width=0.1875, head_width=48, fine=True)


def motion_2d_nano(num_classes: int = 1, in_channels: int = 1, num_frames: int = 5) -> Motion2D:
    """A quarter of the width of :func:`motion_2d`; ``configs/model/motion_2d_nano.yaml``."""
    return _motion_2d(num_classes, in_channels, num_frames, width=0.125, head_width=64)
