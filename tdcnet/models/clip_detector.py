"""What all detectors here share: a clip's features at three scales, by whatever means, then neck and head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

MULTIPLE = 32
"""Height and width of the input are multiples of this, the coarsest scale's stride."""

PLACES = ("fused", "neck")
"""Where attention may stand."""

MakeAttention = Callable[[int], nn.Module]
"""For so many channels, an operator that keeps the shape of [B, C, H, W]."""


class ClipDetector(nn.Module):
    """``forward(aligned, frames) -> [B, 5 + num_classes, H/s, W/s]``, the head's raw output at its stride s.

    A kind of detector builds its own parts, joins them with :meth:`_join` and gives :meth:`features`.
    """

    multiple = MULTIPLE
    """Of which a clip's height and width must be whole multiples, px."""

    in_channels: int
    num_frames: int
    neck: nn.Module
    head: nn.Module
    attention: nn.ModuleDict

    def _join(
        self,
        neck: nn.Module,
        head: nn.Module,
        channels: Sequence[int],
        attention: MakeAttention | None,
        attention_on: Sequence[str],
        init: str,
    ) -> None:
        """Adds neck, head and attention to features of ``channels``, and draws the weights where asked.

        Raises:
            ValueError: if channels do not fit, or ``init`` or a place of attention is unknown.
        """
        if tuple(neck.in_channels) != tuple(channels):  # type: ignore[arg-type]
            raise ValueError(f"the features have {tuple(channels)} channels, the neck takes {neck.in_channels}")
        if head.in_channels != neck.out_channels:
            raise ValueError(f"the neck gives {neck.out_channels} channels, the head takes {head.in_channels}")
        self.neck, self.head = neck, head
        self.attention = nn.ModuleDict()
        if attention is not None:
            if unknown := set(attention_on) - set(PLACES):
                raise ValueError(f"attention_on names {', '.join(sorted(unknown))}; allowed are {', '.join(PLACES)}")
            if "fused" in attention_on:
                self.attention["fused"] = nn.ModuleList(attention(c) for c in channels)
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

    @property
    def frames_needed(self) -> int | None:
        """T of the clips it takes; None if any number will do."""
        raise NotImplementedError

    def features(self, aligned: Tensor, frames: Tensor) -> list[Tensor]:
        """Two clips [B, C, T, H, W] -> maps [B, C_i, H_i, W_i] at strides 8, 16 and 32."""
        raise NotImplementedError

    def forward(self, aligned: Tensor, frames: Tensor) -> Tensor:
        """Raw output for two clips ``[B, C, T, H, W]`` in [0, 1], oldest frame first.

        Raises:
            ValueError: if the clips' shapes differ, or do not suit this network.
        """
        self._check(aligned, frames)
        features = self.features(aligned, frames)
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
        if self.frames_needed not in (None, t):
            raise ValueError(
                f"the 2D backbone's image is made of {self.frames_needed} frames, got clips of {t}; "
                f"give dataset.num_frames={self.frames_needed}"
            )


def _published_init(module: nn.Module) -> None:
    for name, parameter in module.named_parameters(recurse=False):
        if name == "weight" and parameter.dim() >= 4:
            nn.init.normal_(parameter, 0.0, 0.02)
