"""Attention on maps: every operator takes the number of channels first and maps [B, C, H, W] to the same shape."""

from tdcnet.layers.attention.bam import BAM
from tdcnet.layers.attention.biformer import (
    BiLevelRoutingAttention,
    LocallyEnhancedAttention,
    MultiHeadAttention2d,
    regional_routing_attention,
)
from tdcnet.layers.attention.caa import CAA, ContextAnchorAttention
from tdcnet.layers.attention.cbam import CBAM
from tdcnet.layers.attention.clo import CloAttention
from tdcnet.layers.attention.coordinate import CoordinateAttention
from tdcnet.layers.attention.cot import ContextualTransformer
from tdcnet.layers.attention.cpca import CPCA
from tdcnet.layers.attention.criss_cross import CrissCrossAttention
from tdcnet.layers.attention.deformable import DeformableAttention
from tdcnet.layers.attention.double import DoubleAttention
from tdcnet.layers.attention.squeeze_excitation import SqueezeExcitation

__all__ = [
    "BAM",
    "CAA",
    "CBAM",
    "CPCA",
    "BiLevelRoutingAttention",
    "CloAttention",
    "ContextAnchorAttention",
    "ContextualTransformer",
    "CoordinateAttention",
    "CrissCrossAttention",
    "DeformableAttention",
    "DoubleAttention",
    "LocallyEnhancedAttention",
    "MultiHeadAttention2d",
    "SqueezeExcitation",
    "regional_routing_attention",
]
