"""What is minimised; pure torch."""

from tdcnet.losses.detection import DetectionLoss

__all__ = ["DetectionLoss"]
