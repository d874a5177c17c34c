"""The detector: three backbones, fusion, neck and head, joined from the parts it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from tdcnet.models.clip_detector import ClipDetector, MakeAttention
from tdcnet.models.motion_inputs import Differences, NewestFrame
from tdcnet.plain_data import is_whole

STREAMS = ("tdc", "3d", "2d")
"""The backbones' names: of aligned frames by temporal differences, of frames as they are, of the newest frame."""


class NoBackbone(nn.Module):
    """Stands where a stream is not used: nothing is computed."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = tuple(channels)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """No features."""
        return []


class Detector(ClipDetector):
    """TDCNet: ``forward(aligned, frames) -> [B, 5 + num_classes, H/8, W/8]``, the head's raw output.

    Args:
        backbone_tdc: clip -> three features [B, C_i, T_i, H_i, W_i]; sees the aligned frames.
        backbone_3d: the same; sees the frames as they are.
        backbone_2d: image -> three features [B, C_i, H_i, W_i]; sees the newest frame as it is.
        fusion: three lists of features -> one list of [B, C_i, H_i, W_i]. If it has ``streams``, some of
            :data:`STREAMS`, the other backbones are left out.
        neck: that list -> one map at stride 8.
        head: that map -> raw output.
        in_channels: channels of both inputs; 1 for grey.
        num_frames: frames of a clip it is meant for; any number works, unless ``differences`` or ``motion`` need it.
        init: ``"default"`` keeps each layer's own start, ``"published"`` draws all convolution weights from N(0, 0.02).
        differences: the 2D backbone sees, beside the newest frame, its difference to each older aligned frame: C * T
            channels in all. What moves then reaches the features themselves; as published (False) it only steers the
            attention over features of the newest frame.
        motion: in place of ``differences``: makes, for C channels and T frames, what turns two clips, aligned and as
            they are, into the 2D backbone's image, see :mod:`~tdcnet.models.motion_inputs`.
        clip_step: the two backbones on clips see every n-th frame, counted from the newest: of clips of many frames,
            which the 2D backbone's image is made of, as many as these were made for.
        attention: makes, for so many channels, an operator that keeps the shape of [B, C, H, W], for instance
            :class:`~tdcnet.layers.CBAM`; None for none.
        attention_on: where it stands: on the three ``fused`` maps, on the ``neck``'s output, or both.

    Raises:
        ValueError: if the parts' channels do not fit each other, ``clip_step`` is no number of frames, or ``init`` or a
            place of attention is unknown.
    """

    def __init__(
        self,
        backbone_tdc: nn.Module,
        backbone_3d: nn.Module,
        backbone_2d: nn.Module,
        fusion: nn.Module,
        neck: nn.Module,
        head: nn.Module,
        in_channels: int = 1,
        num_frames: int = 5,
        init: str = "default",
        differences: bool = False,
        attention: MakeAttention | None = None,
        attention_on: Sequence[str] = ("fused",),
        motion: Callable[[int, int], nn.Module] | None = None,
        clip_step: int = 1,
    ) -> None:
        super().__init__()
        unused = NoBackbone(fusion.in_channels)  # type: ignore[arg-type]
        used = getattr(fusion, "streams", STREAMS)
        self.backbone_tdc = backbone_tdc if "tdc" in used else unused
        self.backbone_3d = backbone_3d if "3d" in used else unused
        self.backbone_2d = backbone_2d if "2d" in used else unused
        self.fusion = fusion
        self.in_channels, self.num_frames = in_channels, num_frames
        self.motion = (motion or (Differences if differences else NewestFrame))(in_channels, num_frames)
        self.clip_step = clip_step
        most = max(1, num_frames - 1)
        if not is_whole(clip_step, 1, most):
            raise ValueError(f"clip_step is {clip_step}; expected 1 to {most} of {num_frames} frames")
        for name in ("backbone_tdc", "backbone_3d", "backbone_2d"):
            given = tuple(getattr(self, name).out_channels)
            if given != tuple(fusion.in_channels):  # type: ignore[arg-type]
                raise ValueError(
                    f"{name} gives {given} channels, the fusion takes {fusion.in_channels}: make them equal"
                )
        needed = self.motion.out_channels
        if getattr(self.backbone_2d, "in_channels", needed) != needed:
            raise ValueError(
                f"backbone_2d takes {self.backbone_2d.in_channels} channels, its image has {needed}: give it as many "
                f"(model.backbone_2d.in_channels={needed})"
            )
        self._join(neck, head, fusion.out_channels, attention, attention_on, init)  # type: ignore[arg-type]

    @property
    def frames_needed(self) -> int | None:
        """T of the clips it takes; None if any number will do."""
        return self.motion.frames_needed  # type: ignore[return-value]

    def features(self, aligned: Tensor, frames: Tensor) -> list[Tensor]:
        """The backbones' features, fused."""
        seen = slice((frames.shape[2] - 1) % self.clip_step, None, self.clip_step)
        fused: list[Tensor] = self.fusion(
            self.backbone_tdc(aligned[:, :, seen]),
            self.backbone_3d(frames[:, :, seen]),
            self.backbone_2d(self.motion(aligned, frames)),
        )
        return fused
