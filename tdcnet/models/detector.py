"""The detector: three backbones, fusion, neck and head, joined from the parts it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

MULTIPLE = 32
"""Height and width of the input are multiples of this, the coarsest scale's stride."""

STREAMS = ("tdc", "3d", "2d")
"""The backbones' names: of aligned frames by temporal differences, of frames as they are, of the newest frame."""


PLACES = ("fused", "neck")
"""Where attention may stand."""


class NoBackbone(nn.Module):
    """Stands where a stream is not used: nothing is computed."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = tuple(channels)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """No features."""
        return []


class Detector(nn.Module):
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
        num_frames: frames of a clip it is meant for; any number works, unless ``differences``.
        init: ``"default"`` keeps each layer's own start, ``"published"`` draws all convolution weights from N(0, 0.02).
        differences: the 2D backbone sees, beside the newest frame, its difference to each older aligned frame: C * T
            channels in all. What moves then reaches the features themselves; as published (False) it only steers the
            attention over features of the newest frame.
        attention: makes, for so many channels, an operator that keeps the shape of [B, C, H, W], for instance
            :class:`~tdcnet.layers.CBAM`; None for none.
        attention_on: where it stands: on the three ``fused`` maps, on the ``neck``'s output, or both.

    Raises:
        ValueError: if the parts' channels do not fit each other, or ``init`` or a place of attention is unknown.
    """

    multiple = MULTIPLE
    """Of which a clip's height and width must be whole multiples, px."""

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
        attention: Callable[[int], nn.Module] | None = None,
        attention_on: Sequence[str] = ("fused",),
    ) -> None:
        super().__init__()
        unused = NoBackbone(fusion.in_channels)  # type: ignore[arg-type]
        used = getattr(fusion, "streams", STREAMS)
        self.backbone_tdc = backbone_tdc if "tdc" in used else unused
        self.backbone_3d = backbone_3d if "3d" in used else unused
        self.backbone_2d = backbone_2d if "2d" in used else unused
        self.fusion, self.neck, self.head = fusion, neck, head
        self.in_channels, self.num_frames = in_channels, num_frames
        self.differences = differences
        for name in ("backbone_tdc", "backbone_3d", "backbone_2d"):
            given = tuple(getattr(self, name).out_channels)
            if given != tuple(fusion.in_channels):  # type: ignore[arg-type]
                raise ValueError(
                    f"{name} gives {given} channels, the fusion takes {fusion.in_channels}: make them equal"
                )
        needed = in_channels * num_frames if differences else in_channels
        if getattr(self.backbone_2d, "in_channels", needed) != needed:
            raise ValueError(
                f"backbone_2d takes {self.backbone_2d.in_channels} channels, with differences={differences} it is "
                f"given {needed}: set its in_channels (model.backbone_2d.in_channels={needed})"
            )
        if tuple(neck.in_channels) != tuple(fusion.out_channels):  # type: ignore[arg-type]
            raise ValueError(f"the fusion gives {fusion.out_channels} channels, the neck takes {neck.in_channels}")
        if head.in_channels != neck.out_channels:
            raise ValueError(f"the neck gives {neck.out_channels} channels, the head takes {head.in_channels}")
        self.attention = nn.ModuleDict()
        if attention is not None:
            if unknown := set(attention_on) - set(PLACES):
                raise ValueError(f"attention_on names {', '.join(sorted(unknown))}; allowed are {', '.join(PLACES)}")
            if "fused" in attention_on:
                self.attention["fused"] = nn.ModuleList(attention(c) for c in fusion.out_channels)  # type: ignore
            if "neck" in attention_on:
                self.attention["neck"] = attention(neck.out_channels)  # type: ignore[arg-type]
        if init == "published":
            self.apply(_published_init)
            head.reset_prior()  # type: ignore[operator]
        elif init != "default":
            raise ValueError(f"init is {init!r}; allowed are 'default' and 'published'")

    @property
    def num_classes(self) -> int:
        """Classes the head tells apart."""
        return int(self.head.num_classes)  # type: ignore[arg-type]

    def forward(self, aligned: Tensor, frames: Tensor) -> Tensor:
        """Raw output for two clips ``[B, C, T, H, W]`` in [0, 1], oldest frame first.

        Raises:
            ValueError: if the clips' shapes differ, or do not suit this network.
        """
        self._check(aligned, frames)
        image = newest_and_differences(aligned) if self.differences else frames[:, :, -1]
        features = self.fusion(self.backbone_tdc(aligned), self.backbone_3d(frames), self.backbone_2d(image))
        if "fused" in self.attention:
            features = [attend(x) for attend, x in zip(self.attention["fused"], features, strict=True)]  # type: ignore
        joined = self.neck(features)
        if "neck" in self.attention:
            joined = self.attention["neck"](joined)
        raw: Tensor = self.head(joined)
        return raw

    def _check(self, aligned: Tensor, frames: Tensor) -> None:
        if aligned.shape != frames.shape:
            raise ValueError(f"aligned {tuple(aligned.shape)} and frames {tuple(frames.shape)} must have one shape")
        if frames.dim() != 5 or frames.shape[1] != self.in_channels:
            raise ValueError(
                f"expected clips [B, {self.in_channels}, T, H, W], got {tuple(frames.shape)}; "
                f"grey clips have one channel, model.in_channels=3 makes a network for RGB"
            )
        t, h, w = frames.shape[2:]
        if t < 1 or h < MULTIPLE or w < MULTIPLE or h % MULTIPLE or w % MULTIPLE:
            raise ValueError(
                f"height and width must be multiples of {MULTIPLE} and there must be at least one frame; "
                f"got T={t}, H={h}, W={w}. Letterbox the clip to {-(-h // MULTIPLE) * MULTIPLE} x "
                f"{-(-w // MULTIPLE) * MULTIPLE} first."
            )
        if self.differences and t != self.num_frames:
            raise ValueError(
                f"the 2D backbone sees the differences of {self.num_frames} frames, got clips of {t}; "
                f"give dataset.num_frames={self.num_frames}"
            )


def newest_and_differences(aligned: Tensor) -> Tensor:
    """The newest frame and its difference to each older one: [B, C, T, H, W] -> [B, C * T, H, W]."""
    newest = aligned[:, :, -1:]
    return torch.cat((newest, newest - aligned[:, :, :-1]), dim=2).flatten(1, 2)


def _published_init(module: nn.Module) -> None:
    for name, parameter in module.named_parameters(recurse=False):
        if name == "weight" and parameter.dim() >= 4:
            nn.init.normal_(parameter, 0.0, 0.02)
