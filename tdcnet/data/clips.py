"""Clips for the network: frame t and its predecessors, registered, cut to the input's size, with boxes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, default_collate

from tdcnet.data import paste
from tdcnet.data.augment import Augment
from tdcnet.data.degrade import Sometimes, harder_clip
from tdcnet.data.errors import DataError, Policy
from tdcnet.data.images import read_grey
from tdcnet.data.intensity import data_range, grey_level
from tdcnet.data.sampling import Draw
from tdcnet.data.sequence import Sequence
from tdcnet.data.transforms import Image, Matrix, clip_boxes, letterbox_matrix, transform_boxes, warp_clip
from tdcnet.data.views import Register, check_range, pad_grey, register_clip, to_unit, view

if TYPE_CHECKING:
    from tdcnet.data.homographies import HomographyStore

Sample = dict[str, Any]

RETRIES = 10
"""How many other items are tried in place of an unreadable one in training."""


@dataclass(frozen=True)
class BadFrame:
    """Stands for a sample that could not be read; :func:`collate` leaves it out and keeps the message."""

    message: str
    shape: tuple[int, int, int]
    """``T, H, W`` the sample would have had."""


def thin(sequence: Sequence, step: int = 1, offset: int = 0) -> Sequence:
    """The same recording with every ``step``-th of its split's frames from number ``offset`` on."""
    return replace(sequence, indices=sequence.indices[offset::step])


def stored_alignment(sequence: Sequence, newest: int, num_frames: int, stride: int) -> tuple[Path, ...] | None:
    """Files of the registered clip that came with the data set, if they are of this kind of clip.

    Data sets bring one file per frame of a clip of consecutive frames (five, as published).
    """
    if sequence.aligned_files is None or stride != 1:
        return None
    files = sequence.aligned_files[newest]
    return files if files is not None and len(files) == num_frames else None


class ClipDataset(Dataset["Sample | BadFrame"]):
    """Every frame of a split as the newest of a clip.

    Registered frames come from the first of these that has them: the data set's own files, ``homographies``,
    ``aligner``; if none does, they are the frames themselves.

    Args:
        sequences: recordings; those of one data set.
        size: height and width of the samples, px; with ``augment`` its size must be the same.
        num_frames: T, frames per clip.
        stride: frames from one frame of a clip to the next.
        augment: draws geometry and intensity; None gives the letterboxed whole image.
        homographies: homographies computed ahead.
        aligner: ``aligner(frame, newest)`` gives the homography [3, 3] frame -> newest in pixel-centre coordinates.
        intensity_range: stored values that become 0 and 1 in 16-bit images; None for those that the images have, see
            :func:`~tdcnet.data.intensity.data_range`. 8-bit images stay as they are.
        single_class: makes all labels 0.
        on_bad_frame: what to do about a frame that cannot be read, see :meth:`__getitem__`.
        image_step: take every n-th frame of each sequence's part of the split only.
        image_offset: the first of these.
        degrade: ways in which single clips are made harder, in their order; only with ``augment``.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        sequences: list[Sequence],
        size: tuple[int, int],
        num_frames: int = 5,
        stride: int = 1,
        augment: Augment | None = None,
        homographies: HomographyStore | None = None,
        aligner: Register | None = None,
        intensity_range: tuple[float, float] | None = None,
        single_class: bool = False,
        on_bad_frame: Policy = "error",
        image_step: int = 1,
        image_offset: int = 0,
        degrade: Iterable[Sometimes] = (),
    ) -> None:
        if num_frames < 1 or stride < 1 or image_step < 1 or image_offset < 0:
            raise ValueError(
                f"num_frames {num_frames}, stride {stride}, image_step {image_step} must be at least 1 "
                f"and image_offset {image_offset} at least 0"
            )
        if augment is not None and tuple(size) != augment.size:
            raise ValueError(f"size is {tuple(size)} but augment makes samples of {augment.size}; give both the same")
        if on_bad_frame not in ("error", "skip"):
            raise ValueError(f"on_bad_frame is {on_bad_frame!r}; allowed are 'error' and 'skip'")
        check_range(intensity_range)
        self.sequences = [thin(sequence, image_step, image_offset) for sequence in sequences]
        self.size = int(size[0]), int(size[1])
        self.num_frames, self.stride = num_frames, stride
        self.augment, self.homographies, self.aligner = augment, homographies, aligner
        self.degrade = tuple(degrade)
        if self.degrade and augment is None:
            raise ValueError("degrade is for clips that are drawn, with augment; give both or neither")
        self.intensity_range = intensity_range
        self.single_class = single_class
        self.on_bad_frame = on_bad_frame
        # Clips in order share frames: those of one span are kept, unless their distances never meet or order is random.
        span = (num_frames - 1) * stride
        self._most_kept = span + 1 if augment is None and math.lcm(image_step, stride) <= span else 0
        self._kept: dict[tuple[Sequence, int], Image] = {}
        counts = [len(sequence.indices) for sequence in self.sequences]
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of which frames of which recordings these are and of their boxes, wherever they lie."""
        digest = hashlib.sha256()
        for sequence in self.sequences:
            digest.update(sequence.name.encode(errors="surrogateescape") + b"\0" + sequence.indices.tobytes())
            for at in sequence.indices:
                digest.update(np.int64(len(sequence.labels[at])).tobytes() + sequence.boxes[at].tobytes())
                digest.update(sequence.labels[at].tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}}

    @property
    def counts(self) -> list[int]:
        """Items per sequence; the items of a sequence are neighbours."""
        return [int(count) for count in np.diff(self.starts)]

    def locate(self, item: int) -> tuple[Sequence, int]:
        """The sequence of item ``item`` (also its ``image_id``) and the position of its newest frame.

        Raises:
            IndexError: if there is no such item.
        """
        if not 0 <= item < len(self):
            raise IndexError(f"item {item} of a data set of {len(self)} clips")
        which = int(np.searchsorted(self.starts, item, side="right")) - 1
        sequence = self.sequences[which]
        return sequence, int(sequence.indices[item - self.starts[which]])

    def __getitem__(self, item: int | Draw) -> Sample | BadFrame:
        """One sample.

        Args:
            item: its number; with ``augment``, a :class:`~tdcnet.data.sampling.Draw` has a seed of its own (a mere
                number is seeded with itself).

        Returns:
            ``frames`` and ``aligned`` [T, H, W], uint8, or float32 in [0, 1] if the source has 16 bits (one tensor if
            they are the same); ``boxes`` float32 [N, 4] xyxy px of the sample; ``labels`` int64 [N]; ``image_id`` int;
            ``original_size`` int64 [2], height and width; ``original_boxes`` float32 [N, 4] xyxy px of the stored
            image; ``sequence`` name; ``frame`` position of the newest frame in it; ``bad_frames``, messages of items
            that were passed over for this one. Or a :class:`BadFrame`: without ``augment`` no other frame can stand
            for an unreadable one.

        Raises:
            DataError: if a frame cannot be read and ``on_bad_frame`` is ``"error"``, or in training ``RETRIES``
                others cannot be read either.
        """
        item, seed = item if isinstance(item, Draw) else (item, (item,))
        rng = np.random.default_rng(seed) if self.augment is not None else None
        messages: list[str] = []
        while True:
            try:
                sample = self._sample(item, rng)
            except DataError as error:
                if self.on_bad_frame == "error":
                    raise
                messages.append(str(error))
            else:
                return {**sample, "bad_frames": messages}
            if rng is None:
                return BadFrame(messages[0], (self.num_frames, *self.size))
            if len(messages) > RETRIES:
                raise DataError(
                    f"{len(messages)} clips drawn one after another could not be read, so most of the data set cannot. "
                    f"The last: {messages[-1]}"
                )
            item = int(rng.integers(len(self)))

    def _sample(self, item: int, rng: np.random.Generator | None) -> Sample:
        sequence, newest = self.locate(item)
        source, at, in_place = sequence, newest, True  # what is seen of it
        if rng is not None and self.degrade:
            source, at, in_place = harder_clip(sequence, newest, self.degrade, self._level, rng)
        positions = source.clip_indices(at, self.num_frames, self.stride)
        images = self._read(source, positions)
        h, w = (int(side) for side in images[-1].shape)
        original_boxes, labels = source.boxes[at], source.labels[at]

        if self.augment is not None and rng is not None:
            matrix = self.augment.geometry((h, w), original_boxes, rng)
        else:
            matrix = letterbox_matrix((h, w), self.size)
        files = stored_alignment(source, at, self.num_frames, self.stride)
        homographies = None if files is not None else self._homographies(sequence, newest, images, in_place)
        if self.augment is not None and rng is not None and files is None:
            images, original_boxes, labels = self._paste(images, original_boxes, labels, matrix, homographies, rng)
        frames, aligned = view(images, matrix, self.size, homographies)
        if files is not None:
            registered = [_read_aligned(path, images[-1]) for path in files[:-1]]
            aligned = warp_clip([*registered, images[-1]], matrix, self.size)
        frames, aligned = self._finish(frames, aligned, (h, w), matrix, rng, positions)

        if self.augment is not None and rng is not None:
            boxes = self.augment.boxes(original_boxes, matrix, (h, w), rng)
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            inside = ((centres >= 0) & (centres < (self.size[1], self.size[0]))).all(axis=1)
            boxes, labels, original_boxes = boxes[inside], labels[inside], original_boxes[inside]
        else:
            boxes = transform_boxes(original_boxes, matrix)
        tensor = torch.from_numpy(frames)
        return {
            "frames": tensor,
            "aligned": tensor if aligned is frames else torch.from_numpy(aligned),
            "boxes": torch.from_numpy(clip_boxes(boxes, self.size)),
            "labels": torch.zeros(len(labels), dtype=torch.int64) if self.single_class else torch.tensor(labels),
            "image_id": item,
            "original_size": torch.tensor([h, w]),
            "original_boxes": torch.tensor(original_boxes),
            "sequence": sequence.name,
            "frame": newest,
        }

    def _read(self, sequence: Sequence, positions: list[int]) -> list[Image]:
        """Frames at the positions; one that comes several times is read once and is one array."""
        read = {position: self._frame(sequence, position) for position in dict.fromkeys(positions)}
        return [read[position] for position in positions]

    def _frame(self, sequence: Sequence, position: int) -> Image:
        if not self._most_kept:
            return sequence.frames.read(position)
        key = sequence, position
        image = self._kept.pop(key, None)
        if image is None:
            image = sequence.frames.read(position)
        self._kept[key] = image  # now the newest of them
        if len(self._kept) > self._most_kept:
            del self._kept[next(iter(self._kept))]
        return image

    def _homographies(
        self, sequence: Sequence, newest: int, images: list[Image], in_place: bool
    ) -> NDArray[np.float32] | None:
        """[T, 3, 3], each frame -> newest in pixel-centre coordinates; None if nothing is to be registered."""
        homographies = None
        if in_place and self.homographies is not None:
            homographies = self.homographies.get(sequence, newest)
        if homographies is None and self.aligner is not None:
            homographies = register_clip(images, self.aligner)
        return homographies

    def _paste(
        self,
        images: list[Image],
        boxes: NDArray[np.float32],
        labels: NDArray[np.int64],
        matrix: NDArray[np.float64],
        homographies: NDArray[np.float32] | None,
        rng: np.random.Generator,
    ) -> tuple[list[Image], NDArray[np.float32], NDArray[np.int64]]:
        """Puts a moving target and a standing decoy of other clips into this one, as often as ``augment`` says."""
        assert self.augment is not None
        for probability, moving in ((self.augment.paste, True), (self.augment.decoys, False)):
            if not probability or rng.random() >= probability:
                continue
            donor = self._donor(rng, images[-1].dtype)
            if donor is None or (moving and not paste.moves(donor[1])):
                continue
            given, tracked, label = donor
            found = paste.cut(given, tracked)
            if found is None:
                continue
            patches, corners = found
            scale, gain = self.augment.of_pasted(rng)
            if (scale, gain) != (1.0, 1.0):
                patches, corners, tracked = paste.changed(patches, corners, tracked, scale, gain, self.augment.margin)
            region = paste.visible(matrix, self.size, images[-1].shape)
            centre = paste.place(patches[0].shape, region, boxes.astype(np.float64), rng)
            if centre is None:
                continue
            corner = np.round(centre - np.array(patches[0].shape[::-1]) / 2)
            path = np.repeat(corner[None], len(images), axis=0)
            if moving:
                if not paste.stands_out(images[-1], patches[-1], corner):
                    continue
                path = path + corners - corners[-1]
            else:
                patches = [patches[-1]] * len(patches)
            images = [image.copy() for image in images]
            paste.add(images, patches, paste.seen_by_camera(path, homographies))
            if moving:
                box = tracked[-1] + np.tile(corner - corners[-1], 2)
                boxes = np.concatenate([boxes, box[None].astype(np.float32)])
                labels = np.concatenate([labels, np.array([label], np.int64)])
        return images, boxes, labels

    def _donor(
        self, rng: np.random.Generator, dtype: np.dtype[Any]
    ) -> tuple[list[Image], NDArray[np.float64], int] | None:
        """Frames of another clip, one of its targets on each of them [T, 4], and its label; None if it has none."""
        sequence, newest = self.locate(int(rng.integers(len(self))))
        if not len(sequence.boxes[newest]):
            return None
        which = int(rng.integers(len(sequence.boxes[newest])))
        positions = sequence.clip_indices(newest, self.num_frames, self.stride)
        tracked = paste.track([sequence.boxes[position] for position in positions], which)
        if tracked is None:
            return None
        try:
            images = self._read(sequence, positions)
        except DataError:  # told when it is this clip's own turn
            return None
        return (images, tracked, int(sequence.labels[newest][which])) if images[-1].dtype == dtype else None

    def _finish(
        self,
        frames: Image,
        aligned: Image,
        original_size: tuple[int, int],
        matrix: Matrix,
        rng: np.random.Generator | None,
        positions: list[int],
    ) -> tuple[Image, Image]:
        """Scales 16 bits to [0, 1] and draws the intensity; the padding stays grey."""
        if frames.dtype == np.uint8 and (self.augment is None or rng is None):
            return frames, aligned
        same = aligned is frames
        if frames.dtype != np.uint8:
            frames = self._to_float(frames)
            aligned = frames if same else self._to_float(aligned)
        if self.augment is not None and rng is not None:
            frames, aligned = self.augment.intensity(frames, aligned, rng, positions)
        pad_grey(frames, original_size, matrix, self.size)
        if not same:
            pad_grey(aligned, original_size, matrix, self.size)
        return frames, aligned

    def _to_float(self, clip: Image) -> NDArray[np.float32]:
        if self.intensity_range is None:
            self.intensity_range = data_range(self.sequences) or (0.0, 65535.0)
        return to_unit(clip, self.intensity_range)

    @cached_property
    def _level(self) -> float:
        """Stored values that make a grey level."""
        return grey_level(self.sequences, self.intensity_range)


def _read_aligned(path: Path, like: Image) -> Image:
    image = read_grey(path)
    if image.shape != like.shape or image.dtype != like.dtype:
        raise DataError(
            f"{path}: the registered frame is {image.dtype} {image.shape}, its newest frame {like.dtype} {like.shape}. "
            "Fetch it again, or remove the data set's registered frames to have them computed"
        )
    return image


def collate(samples: list[Sample | BadFrame]) -> dict[str, Any]:
    """A batch of samples; unreadable ones are left out.

    Returns:
        ``frames`` and ``aligned`` [B, T, H, W]; ``boxes``, ``labels``, ``original_boxes``, ``sequence`` lists of B;
        ``image_id`` and ``frame`` int64 [B]; ``original_size`` int64 [B, 2]; ``bad_frames`` list of messages.
        B is 0 if no sample could be read.
    """
    good = [sample for sample in samples if not isinstance(sample, BadFrame)]
    bad = [sample for sample in samples if isinstance(sample, BadFrame)]
    batch: dict[str, Any] = {
        key: [sample[key] for sample in good] for key in ("boxes", "labels", "original_boxes", "sequence")
    }
    for key in ("image_id", "frame"):
        batch[key] = torch.tensor([sample[key] for sample in good], dtype=torch.int64)
    batch["bad_frames"] = [m for sample in good for m in sample["bad_frames"]] + [sample.message for sample in bad]
    if not good:
        empty = torch.zeros((0, *bad[0].shape), dtype=torch.uint8)
        return {**batch, "frames": empty, "aligned": empty, "original_size": torch.zeros((0, 2), dtype=torch.int64)}
    batch["original_size"] = torch.stack([sample["original_size"] for sample in good])
    mixed = len({sample["frames"].dtype for sample in good}) > 1
    for key in ("frames", "aligned"):
        # default_collate stacks straight into shared memory when it runs in a worker.
        batch[key] = default_collate([as_float(sample[key]) if mixed else sample[key] for sample in good])
    if all(sample["aligned"] is sample["frames"] for sample in good):
        batch["aligned"] = batch["frames"]
    return batch


def as_float(clip: torch.Tensor) -> torch.Tensor:
    """A clip in [0, 1]: uint8 is divided by 255, float32 is left as it is."""
    return clip.float().div_(255) if clip.dtype == torch.uint8 else clip
