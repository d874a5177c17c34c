"""What happens around training and evaluation."""

from tdcnet.callbacks.bad_frames import BadFrames
from tdcnet.callbacks.ema import EMA
from tdcnet.callbacks.interrupted import SaveInterrupted
from tdcnet.callbacks.predictions import PredictionWriter
from tdcnet.callbacks.reparam import Reparam
from tdcnet.callbacks.report import ReportValidation
from tdcnet.callbacks.visualize import Visualize

__all__ = ["EMA", "BadFrames", "PredictionWriter", "Reparam", "ReportValidation", "SaveInterrupted", "Visualize"]
