"""A light detector: a 2D network that is given motion as channels of its image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tdcnet.layers.conv import is_eager_on_cpu
from tdcnet.models.clip_detector import ClipDetector, MakeAttention


class Motion2D(ClipDetector):
    """``forward(aligned, frames) -> [B, 5 + num_classes, H/s, W/s]``, the head's raw output at its stride s.

    One 2D backbone sees the newest frame together with what :mod:`~tdcnet.models.motion_inputs` makes of the older
    ones. TDCNet's 2D backbone, neck and head without its two motion backbones and their attention.

    Args:
        motion: makes, for C channels and T frames, what turns two clips [B, C, T, H, W], aligned and as they are, into
            an image [B, C', H, W].
        backbone: makes, for C' channels, a network of the image that gives features at strides 8, 16 and 32.
        neck: makes, for the channels of these, what joins them into one map.
        head: makes, for the channels of that, what gives the raw output.
        in_channels: C of both clips; 1 for grey.
        num_frames: T of the clips.
        init: ``"default"`` keeps each layer's own start, ``"published"`` draws all convolution weights from N(0, 0.02).
        attention: makes, for so many channels, an operator that keeps the shape of [B, C, H, W]; None for none.
        attention_on: where it stands: on the three maps of the backbone (``fused``, as in TDCNet), on the ``neck``'s
            output, or both.

    Raises:
        ValueError: if the parts do not fit each other, or ``init`` or a place of attention is unknown.
    """

    def __init__(
        self,
        motion: Callable[[int, int], nn.Module],
        backbone: Callable[[int], nn.Module],
        neck: Callable[[Sequence[int]], nn.Module],
        head: Callable[[int], nn.Module],
        in_channels: int = 1,
        num_frames: int = 5,
        init: str = "default",
        attention: MakeAttention | None = None,
        attention_on: Sequence[str] = ("fused",),
    ) -> None:
        super().__init__()
        self.in_channels, self.num_frames = in_channels, num_frames
        self.motion = motion(in_channels, num_frames)
        self.backbone = backbone(self.motion.out_channels)  # type: ignore[arg-type]
        channels: tuple[int, ...] = tuple(self.backbone.out_channels)  # type: ignore[arg-type]
        joined = neck(channels)
        self._join(joined, head(joined.out_channels), channels, attention, attention_on, init)  # type: ignore[arg-type]

    @property
    def frames_needed(self) -> int | None:
        """T of the clips it takes; None if any number will do."""
        return self.motion.frames_needed  # type: ignore[return-value]

    def features(self, aligned: Tensor, frames: Tensor) -> list[Tensor]:
        """The backbone's features of the motion's image."""
        image: Tensor = self.motion(aligned, frames)
        if is_eager_on_cpu(image):  # channels last, and so all maps after it: narrow convolutions are faster so
            image = image.contiguous(memory_format=torch.channels_last)
        found: list[Tensor] = self.backbone(image)
        return found
