"""Operators, each in a file of its own; pure torch."""

from tdcnet.layers.conv import ConvNormAct
from tdcnet.layers.temporal_conv import TemporalConv3d
from tdcnet.layers.temporal_difference import RepConv3D, TemporalDifferenceConv3d
from tdcnet.layers.window_attention import CrossAttention3d, SelfAttention3d

__all__ = [
    "ConvNormAct",
    "CrossAttention3d",
    "RepConv3D",
    "SelfAttention3d",
    "TemporalConv3d",
    "TemporalDifferenceConv3d",
]
