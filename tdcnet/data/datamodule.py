"""Training and validation clips for Lightning: reads a data set, has it aligned, makes loaders."""

from __future__ import annotations

import copy
import hashlib
import logging
import multiprocessing
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from tdcnet.allocator import keep_freed_memory
from tdcnet.data.alignment import AlignBy, Aligner
from tdcnet.data.augment import Augment
from tdcnet.data.cache import decode_ahead
from tdcnet.data.classes import select
from tdcnet.data.clips import ClipDataset, collate, stored_alignment, thin
from tdcnet.data.degrade import AnyWay, Sometimes, check_together, degraded
from tdcnet.data.errors import DataError, Policy, Problems
from tdcnet.data.frames import DecodedImages, ImageFiles
from tdcnet.data.homographies import HomographyStore, align_sequences
from tdcnet.data.intensity import data_range, grey_level
from tdcnet.data.loader import EpochLoader
from tdcnet.data.lone_frames import Lone, check_lone
from tdcnet.data.name_patterns import NamePattern
from tdcnet.data.names import naming
from tdcnet.data.notices import tell_scale, tell_times, usual_rate
from tdcnet.data.safe_names import named_safely
from tdcnet.data.sampling import Balance, EpochSampler
from tdcnet.data.sequence import FrameSource, Sequence
from tdcnet.data.views import check_range
from tdcnet.processors import processors
from tdcnet.shown import shown

log = logging.getLogger(__name__)


Align = Literal["ahead", "on_the_fly", "none"]
Decode = Literal["ahead", "on_the_fly"]
Read = Callable[..., list[Sequence]]


class ClipDataModule(pl.LightningDataModule):
    """A data set as batches of clips.

    Args:
        read: ``read(root, split, *, problems, cache_dir)`` of one of ``tdcnet.data.formats``.
        root: folder of the data set.
        size: height and width of the network input in evaluation, px.
        train_size: the same in training; None for the size of ``augment``, or else ``size``.
        num_frames: T, frames per clip.
        stride: frames from one frame of a clip to the next.
        batch_size: training clips per step, over all processes.
        eval_batch_size: evaluation clips per process; None for ``batch_size``.
        num_workers: processes that load, per loader, no more than there are processors; 0 loads in the main one.
        augment: draws geometry and intensity of training clips; None trains on whole letterboxed images.
        align: ``"ahead"`` registers all clips before the start and keeps the homographies in ``homography_dir``,
            ``"on_the_fly"`` registers each clip as it is loaded, ``"none"`` leaves frames as they are. Registered
            frames that came with the data set are used in the first two.
        align_model: motion model, see :class:`~tdcnet.data.alignment.Aligner`.
        align_by: ``"pairs"`` registers each frame of a clip with its newest, ``"keyframes"`` each frame of a recording
            once, from which clips of any length are composed; that needs ``align="ahead"``.
        degrade: name -> one of :mod:`tdcnet.data.degradations`: what is evaluated is made harder in these ways, in
            their order; None leaves it as it is.
        degrade_seed: of what is drawn for that.
        degrade_train: name -> :class:`~tdcnet.data.degrade.Sometimes`: training clips are made harder in these ways, in
            their order, each clip for itself; needs ``augment``.
        homography_dir: folder of the homographies; needed for ``"ahead"``.
        decode: ``"ahead"`` decodes all frames before the start into files of raw pixels in ``cache_dir``, from which
            any clip is read at once, ``"on_the_fly"`` decodes image files for each clip. Videos are decoded into such
            files in any case.
        cache_dir: folder of decoded frames; None for the reader's own.
        intensity_range: stored values that become 0 and 1 in 16-bit images; None for those that the training split has
            (or what is evaluated, where nothing is trained), see :func:`~tdcnet.data.intensity.data_range`.
        classes: names of the classes to use, in the order of their labels; the boxes of others are left out.
            ``[target]`` makes one class of all, see :func:`~tdcnet.data.classes.select`.
        on_bad_frame: ``"error"`` stops at the first bad frame or label, ``"skip"`` leaves it out and counts it.
        samples_per_epoch: training clips per epoch over all processes: a number, a fraction, or None for all.
        balance: ``"none"`` or ``"sequence"``, see :class:`~tdcnet.data.sampling.EpochSampler`.
        train_step: every n-th frame of each training sequence is the newest of a clip; neighbours look alike.
        val_step: every n-th frame of each validation sequence is evaluated.
        val_offset: the first of these.
        pin_memory: ``"auto"`` for true on CUDA only.
        persistent_workers: keeps workers from epoch to epoch.
        seed: of the order of clips and of the augmentation.
        train_split: name of the split to train on.
        val_split: name of the split for validation, test and prediction.
        generate: called before the data is read, where it can be made (the synthetic clips).
        name: of the data set; None for that of its folder.
        names: regular expression that finds recording and frame in the names of frames, see
            :class:`~tdcnet.data.name_patterns.NamePattern`; None goes by what the names of a folder tell together.
        one_frame_recordings: ``"error"`` stops a training on clips of several frames if more than a tenth of the
            recordings have only one, ``"allow"`` goes on.

    Attributes:
        intensity_range: the range in use, as given or, after ``setup``, as found; None where images have 8 bits.
        train_dataset: the training clips, after ``setup``; None when nothing is trained.
        val_dataset: the evaluated clips, after ``setup``.

    Raises:
        ValueError: if ``align`` or ``decode`` is unknown, ``align="ahead"`` lacks a folder, or ``on_bad_frame`` is
            unknown; if ``names`` is no such expression.
    """

    def __init__(
        self,
        read: Read,
        root: str | Path,
        size: tuple[int, int],
        train_size: tuple[int, int] | None = None,
        num_frames: int = 5,
        stride: int = 1,
        batch_size: int = 4,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        augment: Augment | None = None,
        align: Align = "ahead",
        align_model: Literal["none", "translation", "affine", "homography"] = "homography",
        homography_dir: str | Path | None = None,
        cache_dir: str | Path | None = None,
        intensity_range: tuple[float, float] | None = None,
        classes: tuple[str, ...] | list[str] = ("target",),
        on_bad_frame: Policy = "error",
        samples_per_epoch: int | float | None = None,
        balance: Balance = "none",
        train_step: int = 1,
        val_step: int = 1,
        val_offset: int = 0,
        pin_memory: bool | Literal["auto"] = "auto",
        persistent_workers: bool = True,
        seed: int = 0,
        train_split: str = "train",
        val_split: str = "val",
        generate: Callable[[], Any] | None = None,
        name: str | None = None,
        decode: Decode = "on_the_fly",
        names: str | None = None,
        one_frame_recordings: Lone = "error",
        align_by: AlignBy = "pairs",
        degrade: Mapping[str, AnyWay] | None = None,
        degrade_seed: int = 0,
        degrade_train: Mapping[str, Sometimes] | None = None,
    ) -> None:
        super().__init__()
        for option, value, allowed in (
            ("align", align, get_args(Align)),
            ("align_by", align_by, get_args(AlignBy)),
            ("decode", decode, get_args(Decode)),
            ("one_frame_recordings", one_frame_recordings, get_args(Lone)),
        ):
            if value not in allowed:
                raise ValueError(f"{option} is {value!r}; allowed are {', '.join(allowed)}")
        if align == "ahead" and homography_dir is None:
            raise ValueError("align='ahead' needs homography_dir, a folder for the homographies; or use 'on_the_fly'")
        if align == "on_the_fly" and align_by != "pairs":
            raise ValueError(f"align_by={align_by!r} needs align='ahead': all frames before a clip's count")
        Problems(on_bad_frame)  # raises here, not hours later
        self.read, self.root = read, Path(root)
        self.size = _pair(size)
        self.train_size = _pair(train_size or (augment.size if augment is not None else size))
        self.num_frames, self.stride = num_frames, stride
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.num_workers, self.augment = num_workers, augment
        self.align, self.align_model, self.align_by, self.decode = align, align_model, align_by, decode
        self.degrade, self.degrade_seed = dict(degrade or {}), degrade_seed
        self.degrade_train = dict(degrade_train or {})
        if self.degrade_train and augment is None:
            raise ValueError("degrade_train makes clips harder that are drawn; give augment as well")
        check_together([type(way) for way in self.degrade.values()])
        check_together([sometimes.kind for sometimes in self.degrade_train.values()])
        self.homography_dir = None if homography_dir is None else Path(homography_dir)
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        check_range(intensity_range)
        self.intensity_range = None if intensity_range is None else (intensity_range[0], intensity_range[1])
        self.classes, self.on_bad_frame = tuple(classes), on_bad_frame
        self.names = None if names is None else NamePattern(names)
        self.one_frame_recordings = one_frame_recordings
        self.generate, self.name = generate, name or self.root.name
        self.samples_per_epoch, self.balance = samples_per_epoch, balance
        self.train_step, self.val_step, self.val_offset = train_step, val_step, val_offset
        self.pin_memory, self.persistent_workers, self.seed = pin_memory, persistent_workers, seed
        self.train_split, self.val_split = train_split, val_split
        self.train_dataset: ClipDataset | None = None
        self.val_dataset: ClipDataset | None = None
        self.scale: float | None = None  # of whole frames in the input, once they have been read
        self.rate: float | None = None  # frames a second, where the recordings tell
        self._sequences: dict[str, list[Sequence]] = {}
        self._degraded: list[Sequence] | None = None
        self._level: float | None = None

    # -- reading and alignment -----------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Makes the data if it can be made, and decodes and registers what has not been yet.

        Lightning calls this in one process per machine.
        """
        if self.generate is not None:
            self.generate()
        splits = {self.val_split: (self.val_step, self.val_offset)}
        if self._trains():
            splits = {self.train_split: (self.train_step, 0)} | splits
        if self.decode == "ahead":
            decode_ahead(sequence.frames for split in splits for sequence in self._read(split))
        if self.align != "ahead":
            return
        for split, (step, offset) in splits.items():
            store = self._store(split)
            wanted = [self._without_stored(thin(sequence, step, offset)) for sequence in self._shown(split)]
            wanted = [sequence for sequence in wanted if store.missing(sequence)]
            if wanted:
                log.info("%s, %s: %s", self.root, split, align_sequences(wanted, store, self._aligner()))

    def setup(self, stage: str | None = None) -> None:
        """Reads the splits that ``stage`` (``fit``, ``validate``, ``test``, ``predict``, None for all) needs.

        Raises:
            DataError: if a split is empty, or something is bad and ``on_bad_frame`` is ``"error"``.
        """
        if self.intensity_range is None:
            split = self.train_split if stage in ("fit", None) else self.val_split
            self._find_range(self._read(split), f"split {split!r}")
        if stage in ("fit", None) and self.train_dataset is None:
            self.train_dataset = self._dataset(self.train_split, self.train_size, self.augment, self.train_step)
        if self.val_dataset is None:
            self.val_dataset = self._dataset(self.val_split, self.size, None, self.val_step, self.val_offset)

    def evaluated(self) -> ClipDataset:
        """The clips of the validation split, read now if they have not been; made before, where they can be made."""
        if self.val_dataset is None:
            if self.generate is not None:
                self.generate()
            self.setup("validate")
        return self._made(self.val_dataset)

    def _read(self, split: str) -> list[Sequence]:
        if split not in self._sequences:
            problems = Problems(self.on_bad_frame)
            with naming(self.names):
                sequences = self.read(self.root, split, problems=problems, cache_dir=self.cache_dir)
            if self.names is not None and not self.names.asked:
                log.warning(
                    "%s: dataset.names is not used: this data set tells recordings and frames itself", self.root
                )
            sequences = named_safely(sequences)
            if problems.found:
                first = "".join(f"\n  {message}" for message in problems.found[:3])
                log.warning("%s, %s: left out %d bad entries, such as%s", self.root, split, len(problems.found), first)
            sequences = select(sequences, self.classes, f"{self.root}, {split}")
            frames = sum(len(sequence.indices) for sequence in sequences)
            if not frames:
                raise DataError(
                    f"{self.root}: split {split!r} has no frames ({len(sequences)} sequences found). Check that the "
                    "folder is the data set's own root and that its split files name what is there"
                )
            log.info("%s, %s: %d sequences, %d frames", self.root, split, len(sequences), frames)
            stop = self._trains() and self.one_frame_recordings == "error"
            check_lone(sequences, self.num_frames, f"{self.root}, {split}", stop)
            if not any(len(sequence.boxes[t]) for sequence in sequences for t in sequence.indices):
                log.warning(
                    "%s, %s: no frame has a target (%s), so %s; check the labels, the split and dataset.classes",
                    *(self.root, split, ", ".join(map(shown, self.classes))),
                    "nothing can be learnt" if split == self.train_split else "AP50 and Pd say nothing",
                )
            if self.align == "none":
                sequences = [replace(sequence, aligned_files=None) for sequence in sequences]
            if self.decode == "ahead":
                sequences = [replace(sequence, frames=self._decoded(sequence.frames)) for sequence in sequences]
            self._sequences[split] = sequences
        return self._sequences[split]

    def _shown(self, split: str) -> list[Sequence]:
        """The recordings of a split as they are seen: harder, where that is asked for."""
        if not self.degrade or split != self.val_split:
            return self._read(split)
        if self._degraded is None:
            sequences = self._read(split)
            ways = self.degrade.values()
            self._degraded = [degraded(each, ways, self.degrade_seed, self.grey_level) for each in sequences]
            log.info("%s, %s: made harder by %s", self.root, split, ", ".join(map(repr, ways)))
        return self._degraded

    def val_recordings(self) -> list[Sequence]:
        """The recordings of the validation split, whole, as they are seen: harder, where that is asked for.

        Made before, where they can be made.
        """
        if self.generate is not None:
            self.generate()
        return self._shown(self.val_split)

    @property
    def grey_level(self) -> float:
        """Stored values that make a grey level of what is evaluated."""
        if self._level is None:
            self._level = grey_level(self._read(self.val_split), self.intensity_range)
        return self._level

    def harder(self, degrade: Mapping[str, AnyWay], seed: int = 0) -> ClipDataModule:
        """The same data with what is evaluated made harder in these ways instead of its own; nothing is read again."""
        other = copy.copy(self)
        other.degrade, other.degrade_seed = dict(degrade), seed
        other.val_dataset, other._degraded = None, None
        return other

    def _decoded(self, frames: FrameSource) -> FrameSource:
        # A single image is read once per epoch; a file of its own would not pay.
        return DecodedImages(frames, self.cache_dir) if isinstance(frames, ImageFiles) and len(frames) > 1 else frames

    def _dataset(
        self, split: str, size: tuple[int, int], augment: Augment | None, step: int = 1, offset: int = 0
    ) -> ClipDataset:
        sequences = self._shown(split)
        tell_times(sequences, self.num_frames, self.stride)
        if augment is None:
            self.scale = tell_scale(str(self.name), sequences, size)
            self.rate = usual_rate(sequences)
        dataset = ClipDataset(
            sequences,
            size,
            self.num_frames,
            self.stride,
            augment,
            self._store(split) if self.align == "ahead" else None,
            None if self.align == "none" else self._aligner(),
            self.intensity_range,
            len(self.classes) == 1,
            self.on_bad_frame,
            step,
            offset,
            self.degrade_train.values() if augment is not None else (),
        )
        if not len(dataset):
            raise DataError(
                f"{self.root}: no sequence of split {split!r} reaches its frame {offset}; make val_offset smaller"
            )
        return dataset

    def _find_range(self, sequences: list[Sequence], where: str) -> None:
        self.intensity_range = data_range(sequences)
        if self.intensity_range is not None:
            low, high = self.intensity_range
            log.info(
                "%s: frames have 16 bits; %.0f to %.0f, nearly all of the values in %s, become 0 to 1 "
                "(dataset.intensity_range=[low,high] sets others)",
                self.name,
                low,
                high,
                where,
            )

    def _without_stored(self, sequence: Sequence) -> Sequence:
        """The recording less the frames whose registered clip came with the data set."""
        missing = [
            t for t in sequence.indices if stored_alignment(sequence, int(t), self.num_frames, self.stride) is None
        ]
        return replace(sequence, indices=np.array(missing, dtype=np.int64))

    def _store(self, split: str) -> HomographyStore:
        assert self.homography_dir is not None
        folder = self.homography_dir
        if self.degrade and split == self.val_split:  # frames of the same name that look otherwise
            told = repr([*self.degrade.values(), self.degrade_seed]).encode()
            folder = folder / f"degraded_{hashlib.sha256(told).hexdigest()[:12]}"
        return HomographyStore(folder, self.num_frames, self.stride, self._aligner().tag)

    def _aligner(self) -> Aligner:
        return Aligner(self.align_model, self.align_by)

    # -- loaders -------------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> DataLoader[Any]:
        """Random training clips."""
        dataset, trainer = self._made(self.train_dataset), self.trainer
        processes, rank = (trainer.world_size, trainer.global_rank) if trainer is not None else (1, 0)
        if self.batch_size < 1 or self.batch_size % processes:
            raise ValueError(
                f"dataset.batch_size is {self.batch_size} over {processes} processes; make it a multiple of those"
            )
        sampler = EpochSampler(
            dataset.counts, self.samples_per_epoch, self.balance, self.seed, self.batch_size, processes, rank
        )
        options = self._options(dataset, self.batch_size // processes)
        return EpochLoader(**options, sampler=sampler, place=None if trainer is None else _Place(trainer))

    def val_dataloader(self) -> DataLoader[Any]:
        """The evaluated clips in order."""
        return self._loader(self._made(self.val_dataset), self.eval_batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        """The same as for validation."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Any]:
        """The same as for validation."""
        return self.val_dataloader()

    def _made(self, dataset: ClipDataset | None) -> ClipDataset:
        if dataset is None:
            raise RuntimeError("call setup() before asking for a loader")
        return dataset

    def _loader(self, dataset: ClipDataset, batch_size: int) -> DataLoader[Any]:
        return DataLoader(**self._options(dataset, batch_size))

    def _options(self, dataset: ClipDataset, batch_size: int) -> dict[str, Any]:
        workers = min(self.num_workers, processors())
        if workers:
            cv2.setNumThreads(1)  # for the workers, see _start_worker
        return {
            "dataset": dataset,
            "batch_size": batch_size,
            "num_workers": workers,
            "collate_fn": collate,
            "pin_memory": self._pins() if self.pin_memory == "auto" else self.pin_memory,
            "persistent_workers": self.persistent_workers and workers > 0,
            "worker_init_fn": _start_worker,
            # Nothing random comes from here; without it, a loader would draw from the process's generator.
            "generator": torch.Generator().manual_seed(self.seed),
        }

    def _trains(self) -> bool:
        return self.trainer is None or self.trainer.state.fn in (None, "fit")

    def _pins(self) -> bool:
        if self.trainer is not None:
            return self.trainer.strategy.root_device.type == "cuda"
        return torch.cuda.is_available()


@dataclass(frozen=True)
class _Place:
    """Where a training is: its epoch, and the steps of it that are done."""

    trainer: pl.Trainer

    def __call__(self) -> tuple[int, int]:
        return self.trainer.current_epoch, self.trainer.fit_loop.batch_idx + 1


def _start_worker(_: int) -> None:
    # Ctrl+C reaches all processes of a terminal; the first one decides when to stop, and needs the others until then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One process per core already; OpenCV's own threads would fight over them. In a forked process the call waits for
    # ever for threads that only its parent has, so there the parent makes it, in _loader.
    if multiprocessing.get_start_method() != "fork":
        cv2.setNumThreads(1)
    keep_freed_memory()  # a quarter of a sample's time goes to fresh pages otherwise


def _pair(size: tuple[int, int] | list[int]) -> tuple[int, int]:
    if len(size) != 2:
        raise ValueError(f"size is {size}; expected height and width")
    return int(size[0]), int(size[1])
