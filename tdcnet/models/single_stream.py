"""Detectors of one backbone alone: for the paper's staged training, and to compare with."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor, nn

from tdcnet.models.detector import STREAMS, Detector


class SingleStream(nn.Module):
    """A fusion that takes one stream's features, their mean over time; the detector leaves the other backbones out.

    Args:
        channels: of each scale.
        stream: ``tdc``, ``3d`` or ``2d``.

    Raises:
        ValueError: if ``stream`` is another.
    """

    def __init__(self, channels: Sequence[int], stream: str) -> None:
        super().__init__()
        if stream not in STREAMS:
            raise ValueError(f"stream is {stream!r}; allowed are {', '.join(STREAMS)}")
        self.in_channels = self.out_channels = tuple(channels)
        self.streams = (stream,)

    def forward(self, tdc: list[Tensor], temporal: list[Tensor], spatial: list[Tensor]) -> list[Tensor]:
        """The features of the one stream."""
        (features,) = (x for x in (tdc, temporal, spatial) if x)
        return [x.mean(dim=2) if x.dim() == 5 else x for x in features]


def single_stream(model: Detector, stream: str) -> Detector:
    """A detector of ``model``'s backbone ``stream`` with a neck and head of its own: copies of ``model``'s.

    Raises:
        ValueError: if ``stream`` is not ``tdc``, ``3d`` or ``2d``.
    """
    fusion = SingleStream(tuple(model.fusion.in_channels), stream)  # type: ignore[arg-type]
    parts = {
        name: copy.deepcopy(getattr(model, name))
        for name in ("backbone_tdc", "backbone_3d", "backbone_2d", "neck", "head")
    }
    return Detector(
        **parts,
        fusion=fusion,
        in_channels=model.in_channels,
        num_frames=model.num_frames,
        motion=lambda *_: copy.deepcopy(model.motion),
        clip_step=model.clip_step,
    )
