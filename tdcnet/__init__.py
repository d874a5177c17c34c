"""TDCNet: a training framework for detecting small moving targets in infrared video."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tdcnet.inference.detector import Detector

__version__ = "0.2.0"
__all__ = ["list_models", "load"]


def load(path: str | os.PathLike[str], allow: Sequence[str] = ()) -> Detector:
    """A detector, ready for :meth:`~tdcnet.inference.detector.Detector.predict`; see
    :func:`tdcnet.inference.detector.load`."""
    from tdcnet.inference import detector  # brings torch

    return detector.load(path, allow)


def list_models() -> list[str]:
    """Names of the detectors that come with the package, for :func:`load`."""
    from tdcnet import weights

    return weights.list_models()
