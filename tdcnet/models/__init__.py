"""Networks and their parts; pure torch."""

from tdcnet.models.csp_darknet import CSPDarknet
from tdcnet.models.detector import Detector
from tdcnet.models.fusion import ConcatFusion, DividedSpaceTimeFusion, SumFusion
from tdcnet.models.head import DecoupledHead
from tdcnet.models.motion_detector import Motion2D
from tdcnet.models.motion_inputs import Differences, Memory, NewestFrame
from tdcnet.models.neck import TopDownNeck
from tdcnet.models.postprocess import postprocess
from tdcnet.models.presets import (
    motion_2d,
    motion_2d_fine,
    motion_2d_nano,
    motion_2d_small,
    tdcnet,
    tdcnet_nano,
    tdcnet_small,
)
from tdcnet.models.shufflenet3d import ShuffleNet3D
from tdcnet.models.single_stream import SingleStream
from tdcnet.models.tdcsta import TDCSTA

__all__ = [
    "TDCSTA",
    "CSPDarknet",
    "ConcatFusion",
    "DecoupledHead",
    "Detector",
    "Differences",
    "DividedSpaceTimeFusion",
    "Memory",
    "Motion2D",
    "NewestFrame",
    "ShuffleNet3D",
    "SingleStream",
    "SumFusion",
    "TopDownNeck",
    "motion_2d",
    "motion_2d_fine",
    "motion_2d_nano",
    "motion_2d_small",
    "postprocess",
    "tdcnet",
    "tdcnet_nano",
    "tdcnet_small",
]
