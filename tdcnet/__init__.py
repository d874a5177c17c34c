"""TDCNet: a training framework for detecting small moving targets in infrared video."""

__version__ = "0.1.0"
