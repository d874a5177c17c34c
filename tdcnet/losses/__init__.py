"""What is minimised; pure torch. A loss is put together from parts, each in a file of its own."""

from tdcnet.losses.box_terms import NWD, IoUBelow, WeightedSum, giou, log_box, pairwise_nwd, squared_iou
from tdcnet.losses.centre_prior import SoftCentrePrior
from tdcnet.losses.class_targets import hard, overlap
from tdcnet.losses.detection import DetectionLoss
from tdcnet.losses.inside import in_box, in_box_or_cell
from tdcnet.losses.nearest import NearestCells
from tdcnet.losses.simota import SimOTA

__all__ = [
    "NWD",
    "DetectionLoss",
    "IoUBelow",
    "NearestCells",
    "SimOTA",
    "SoftCentrePrior",
    "WeightedSum",
    "giou",
    "hard",
    "in_box",
    "in_box_or_cell",
    "log_box",
    "overlap",
    "pairwise_nwd",
    "squared_iou",
]
