"""Operators, each in a file of its own; pure torch."""

from tdcnet.layers.attention import *  # noqa: F403
from tdcnet.layers.attention import __all__ as _attention
from tdcnet.layers.conv import ConvNormAct
from tdcnet.layers.divided_attention import DividedSpaceTimeAttention
from tdcnet.layers.plain_difference import DifferencePlusConv3d, PlainDifferenceConv3d
from tdcnet.layers.sifa import SIFA
from tdcnet.layers.tadaconv import TAdaConv2dV2, TAdaConvBlock
from tdcnet.layers.temporal_conv import TemporalConv3d
from tdcnet.layers.temporal_difference import RepConv3D, TemporalDifferenceConv3d
from tdcnet.layers.window_attention import CrossAttention3d, SelfAttention3d

__all__ = [
    "SIFA",
    "ConvNormAct",
    "CrossAttention3d",
    "DifferencePlusConv3d",
    "DividedSpaceTimeAttention",
    "PlainDifferenceConv3d",
    "RepConv3D",
    "SelfAttention3d",
    "TAdaConv2dV2",
    "TAdaConvBlock",
    "TemporalConv3d",
    "TemporalDifferenceConv3d",
    *_attention,
]
