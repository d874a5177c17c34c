"""Random choice of geometry and intensity for training samples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.transforms import Image, Matrix, letterbox_matrix, scale_half, transform_boxes


class Augment:
    """Draws how a training sample is cut, scaled, mirrored and lit.

    Everything geometric ends in one matrix, and the same matrix and the same gain and offset hold for all frames of a
    clip: what moves or flickers between frames after augmentation did so before.

    Args:
        size: height and width of the samples, px.
        target_probability: how often a crop is placed round a random target (of frames that have one) and not anywhere.
        flip_horizontal: probability of a left-right mirror.
        flip_vertical: probability of an upside-down mirror.
        scale: smallest and largest factor on the image, drawn evenly in its logarithm.
        translate: how far a crop may hang over the image's border, as a fraction of the crop (the rest is padding);
            with ``letterbox``, how far the image may be moved off the centre, as a fraction of ``size``.
        gain: smallest and largest factor on grey values.
        offset: smallest and largest summand on grey values, as a fraction of full scale.
        noise: largest standard deviation of Gaussian noise, as a fraction of full scale. Drawn per clip as this times a
            cubed uniform number: half of the clips get less than an eighth of it. (Cameras with automatic gain show
            strong noise where a scene is empty.)
        paste: how often a moving target of another clip is put into a clip, see :mod:`tdcnet.data.paste`.
        decoys: how often one of another clip is put there standing still, not as a target: what looks like a target but
            stays where it is must not be taken for one. For sets whose targets move within a clip.
        paste_scale: smallest and largest factor on the size of a pasted target, drawn evenly in its logarithm: small
            ones may be rare in a set.
        paste_gain: smallest and largest factor on its contrast.
        margin: how far boxes reach beyond what is seen of a target, px of the stored image. Where people drew them by
            eye, that is most of a small target's box and does not depend on its size
            (``tdcnet check`` measures it); where an image is scaled, and a pasted target, this part of the
            box is not. 0 scales boxes as the image.
        label_noise: standard deviation of that margin in the set, px of the stored image: each box is made wider or
            narrower by it on both sides, and higher or lower. What one recording's labels reach beyond their targets
            is then not learned as if it held for the next.
        letterbox: start from the whole image, scaled to fit and centred, in place of a crop at the stored resolution.

    Raises:
        ValueError: if a probability is not in [0, 1], a range is reversed, or a scale is not positive.
    """

    def __init__(
        self,
        size: Sequence[int] = (160, 160),
        target_probability: float = 0.9,
        flip_horizontal: float = 0.5,
        flip_vertical: float = 0.0,
        scale: Sequence[float] = (0.8, 1.25),
        translate: float = 0.0,
        gain: Sequence[float] = (0.8, 1.2),
        offset: Sequence[float] = (-0.1, 0.1),
        noise: float = 0.0,
        paste: float = 0.0,
        decoys: float = 0.0,
        paste_scale: Sequence[float] = (1.0, 1.0),
        paste_gain: Sequence[float] = (1.0, 1.0),
        margin: float = 0.0,
        label_noise: float = 0.0,
        letterbox: bool = False,
    ) -> None:
        probabilities = {
            "target_probability": target_probability,
            "flip_horizontal": flip_horizontal,
            "flip_vertical": flip_vertical,
            "paste": paste,
            "decoys": decoys,
        }
        for name, value in probabilities.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; it is a probability, from 0 to 1")
        pairs = {"scale": scale, "gain": gain, "offset": offset, "paste_scale": paste_scale, "paste_gain": paste_gain}
        for name, pair in pairs.items():
            if len(pair) != 2 or pair[0] > pair[1]:
                raise ValueError(f"{name} is {tuple(pair)}; expected the smallest and the largest value")
        for name in ("scale", "paste_scale", "paste_gain"):
            if pairs[name][0] <= 0:
                raise ValueError(f"{name} is {tuple(pairs[name])}; a factor must be above 0")
        for name, value in (
            ("translate", translate),
            ("noise", noise),
            ("margin", margin),
            ("label_noise", label_noise),
        ):
            if value < 0:
                raise ValueError(f"{name} is {value}; it may not be below 0")
        self.size = int(size[0]), int(size[1])
        self.target_probability = target_probability
        self.flip_horizontal = flip_horizontal
        self.flip_vertical = flip_vertical
        self.scale = float(scale[0]), float(scale[1])
        self.translate = translate
        self.gain = float(gain[0]), float(gain[1])
        self.offset = float(offset[0]), float(offset[1])
        self.noise = noise
        self.paste, self.decoys = paste, decoys
        self.paste_scale = float(paste_scale[0]), float(paste_scale[1])
        self.paste_gain = float(paste_gain[0]), float(paste_gain[1])
        self.margin, self.label_noise = margin, label_noise
        self.letterbox = letterbox

    def of_pasted(self, rng: np.random.Generator) -> tuple[float, float]:
        """Draws the factors on size and contrast of a target that is put in; nothing is drawn where both are one."""
        scale = gain = 1.0
        if self.paste_scale != (1.0, 1.0):
            scale = math.exp(rng.uniform(math.log(self.paste_scale[0]), math.log(self.paste_scale[1])))
        if self.paste_gain != (1.0, 1.0):
            gain = float(rng.uniform(*self.paste_gain))
        return scale, gain

    def geometry(self, original_size: tuple[int, int], boxes: NDArray[np.float32], rng: np.random.Generator) -> Matrix:
        """Draws where a sample comes from.

        A crop round a target holds all of its box, at an even chance anywhere in the crop as far as the image reaches.
        A crop larger than the image holds all of the image, somewhere.

        Args:
            original_size: height and width of the stored image, px.
            boxes: float32 [N, 4], xyxy px of the stored image.
            rng: where all draws come from.

        Returns:
            float64 [3, 3], stored image -> sample, edge coordinates.
        """
        out_h, out_w = self.size
        scale = math.exp(rng.uniform(math.log(self.scale[0]), math.log(self.scale[1])))
        if self.letterbox:
            matrix = letterbox_matrix(original_size, self.size)
            middle = np.array([out_w / 2, out_h / 2])
            moved = rng.uniform(-self.translate, self.translate, 2) * (out_w, out_h)
            matrix[:2] *= scale
            matrix[:2, 2] += middle * (1 - scale) + moved
        else:
            target = None
            if len(boxes) and rng.random() < self.target_probability:
                target = boxes[rng.integers(len(boxes))]
            # Windows of whole pixels can be cut out and resized, several times as fast as a warp.
            width, height = max(1, round(out_w / scale)), max(1, round(out_h / scale))
            x = self._start(width, original_size[1], None if target is None else target[0::2], rng)
            y = self._start(height, original_size[0], None if target is None else target[1::2], rng)
            scale_x, scale_y = out_w / width, out_h / height
            matrix = np.array([[scale_x, 0.0, -scale_x * x], [0.0, scale_y, -scale_y * y], [0.0, 0.0, 1.0]])
        if rng.random() < self.flip_horizontal:
            matrix[0] = -matrix[0]
            matrix[0, 2] += out_w
        if rng.random() < self.flip_vertical:
            matrix[1] = -matrix[1]
            matrix[1, 2] += out_h
        return matrix

    def boxes(
        self, boxes: NDArray[np.float32], matrix: Matrix, original_size: tuple[int, int], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Boxes of the stored image on a sample, with ``margin`` and ``label_noise``.

        Args:
            boxes: float32 [N, 4], xyxy px of the stored image.
            matrix: as :meth:`geometry` gives it.
            original_size: height and width of the stored image, px.
            rng: where all draws come from; nothing is drawn without noise.

        Returns:
            float32 [N, 4], xyxy px of the sample; not clipped.
        """
        moved = transform_boxes(boxes, matrix)
        if not len(boxes) or (self.margin, self.label_noise) == (0, 0):
            return moved
        usual = np.diag(letterbox_matrix(original_size, self.size))[:2] if self.letterbox else np.ones(2)
        half = (boxes[:, 2:] - boxes[:, :2]) / 2
        scaled = scale_half(half, np.abs(np.diag(matrix)[:2]) / usual, self.margin)
        if self.label_noise:
            scaled = np.maximum(scaled + rng.normal(0, self.label_noise, half.shape), scaled / 2)
        half = usual * scaled
        centre = (moved[:, :2] + moved[:, 2:]) / 2
        return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)

    def _start(self, window: int, length: int, target: NDArray[np.float32] | None, rng: np.random.Generator) -> int:
        """Where a window begins along one axis of the stored image, px."""
        slack = self.translate * window
        low, high = min(0.0, length - window) - slack, max(0.0, length - window) + slack
        if target is not None:
            start, end = float(target[0]), float(target[1])
            if end - start <= window:
                low, high = max(low, end - window), min(high, start)
            else:
                low = high = min(max((start + end - window) / 2, low), high)
        first, last = math.ceil(low), math.floor(high)
        return int(rng.integers(first, last + 1)) if first <= last else round((low + high) / 2)

    def intensity(
        self, frames: Image, aligned: Image, rng: np.random.Generator, positions: Sequence[int] | None = None
    ) -> tuple[Image, Image]:
        """Draws gain, offset and noise of a clip.

        Gain and offset are the same for all frames. Noise is drawn per frame on the sample's grid, and the very same
        field is added to a frame and to its aligned twin: exact where nothing moved and on the newest frame. (To warp
        it along with the frame would cost one more warp per frame, and noise shifted by some px is as random.)

        Args:
            frames: [T, H, W], uint8, or float32 in [0, 1].
            aligned: the same clip registered; may be the same array, and stays so.
            rng: where all draws come from.
            positions: T numbers; frames of equal number are one frame repeated and get the same noise.

        Returns:
            Frames and aligned, new arrays of the same shape and dtype.
        """
        gain, offset = float(rng.uniform(*self.gain)), float(rng.uniform(*self.offset))
        sigma = self.noise * float(rng.uniform()) ** 3 if self.noise else 0.0
        noise: NDArray[np.float32] | None = None
        if sigma > 0.25 / 255:  # less is lost in rounding
            _, which = np.unique(positions if positions is not None else range(len(frames)), return_inverse=True)
            fields = np.empty((int(which.max()) + 1, *frames.shape[1:]), np.float32)
            # OpenCV's generator takes a third of numpy's time.
            cv2.setRNGSeed(int(rng.integers(1, 2**31)))
            cv2.randn(fields.reshape(-1, fields.shape[-1]), np.zeros(1), np.full(1, sigma))
            noise = fields[which]
        changed = _light(frames, gain, offset, noise)
        return changed, changed if aligned is frames else _light(aligned, gain, offset, noise)


def _light(clip: Image, gain: float, offset: float, noise: NDArray[np.float32] | None) -> Image:
    flat = clip.reshape(-1, clip.shape[-1])
    if clip.dtype == np.uint8:
        if noise is None:
            changed = cv2.addWeighted(flat, gain, flat, 0.0, offset * 255)
        else:
            lit = cv2.addWeighted(flat, gain, flat, 0.0, offset * 255, dtype=cv2.CV_32F)
            changed = cv2.add(lit, noise.reshape(flat.shape) * np.float32(255), dtype=cv2.CV_8U)
        return changed.reshape(clip.shape)
    values = clip.astype(np.float32) * np.float32(gain) + np.float32(offset)
    if noise is not None:
        values += noise
    return np.clip(values, 0, 1, out=values)
