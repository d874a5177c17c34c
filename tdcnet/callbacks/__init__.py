"""What happens around training and evaluation."""

from tdcnet.callbacks.bad_frames import BadFrames
from tdcnet.callbacks.checkpoint_io import NotSaved, WholeCheckpointIO
from tdcnet.callbacks.checkpoints import Checkpoints
from tdcnet.callbacks.early_stopping import StopEarly
from tdcnet.callbacks.ema import EMA
from tdcnet.callbacks.interrupted import SaveInterrupted
from tdcnet.callbacks.plateau import Plateau
from tdcnet.callbacks.reparam import Reparam
from tdcnet.callbacks.report import ReportValidation
from tdcnet.callbacks.signals import StopAtSignal, Stopped
from tdcnet.callbacks.visualize import Visualize

__all__ = [
    "EMA",
    "BadFrames",
    "Checkpoints",
    "NotSaved",
    "Plateau",
    "Reparam",
    "ReportValidation",
    "SaveInterrupted",
    "StopAtSignal",
    "StopEarly",
    "Stopped",
    "Visualize",
    "WholeCheckpointIO",
]
