"""Detectors of one backbone alone: for the paper's staged training, and to compare with."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor, nn

from tdcnet.models.detector import Detector

STREAMS = ("tdc", "3d", "2d")


class NoBackbone(nn.Module):
    """Stands where a stream is not used: nothing is computed."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = tuple(channels)

    def forward(self, clip: Tensor) -> list[Tensor]:
        return []


class SingleStream(nn.Module):
    """A fusion that takes one stream's features, their mean over time, and ignores the others.

    Args:
        channels: of each scale.
        stream: ``tdc``, ``3d`` or ``2d``.
    """

    def __init__(self, channels: Sequence[int], stream: str) -> None:
        super().__init__()
        if stream not in STREAMS:
            raise ValueError(f"stream is {stream!r}; allowed are {', '.join(STREAMS)}")
        self.in_channels = self.out_channels = tuple(channels)
        self.stream = stream

    def forward(self, tdc: list[Tensor], temporal: list[Tensor], spatial: list[Tensor]) -> list[Tensor]:
        features = {"tdc": tdc, "3d": temporal, "2d": spatial}[self.stream]
        return [x.mean(dim=2) if x.dim() == 5 else x for x in features]


def single_stream(model: Detector, stream: str) -> Detector:
    """A detector of ``model``'s backbone ``stream`` (a copy) with a neck and head of its own, copied from ``model``'s.

    Raises:
        ValueError: if ``stream`` is not ``tdc``, ``3d`` or ``2d``.
    """
    if stream not in STREAMS:
        raise ValueError(f"stream is {stream!r}; allowed are {', '.join(STREAMS)}")
    channels: tuple[int, ...] = tuple(model.fusion.in_channels)  # type: ignore[arg-type]

    def backbone(name: str) -> nn.Module:
        return copy.deepcopy(getattr(model, f"backbone_{name}")) if name == stream else NoBackbone(channels)

    return Detector(
        backbone("tdc"),
        backbone("3d"),
        backbone("2d"),
        fusion=SingleStream(channels, stream),
        neck=copy.deepcopy(model.neck),
        head=copy.deepcopy(model.head),
        in_channels=model.in_channels,
        num_frames=model.num_frames,
        differences=model.differences,
    )
