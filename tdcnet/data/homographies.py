"""Homographies computed ahead of time: 3x3 numbers per pair of frames in one file per recording, no images."""

from __future__ import annotations

import functools
import multiprocessing
import os
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tdcnet.data.alignment import Aligner, Prepared
from tdcnet.data.errors import DataError
from tdcnet.data.frames import replacing
from tdcnet.data.sequence import FrameSource, Sequence

Homographies = NDArray[np.float32]
Clip = tuple[int, list[int]]
"""Position of the newest frame, and of its predecessors, oldest first."""

CHUNK = 50
"""Clips one process aligns at a time."""
SERIAL = 200
"""Up to this many pairs, starting processes takes longer than the work."""


class HomographyStore:
    """Homographies of recordings, one file each: ``ROOT/NAME_T5_s1.npz``.

    Args:
        root: folder of the files.
        num_frames: T, frames per clip.
        stride: frames from one frame of a clip to the next.
        tag: of the aligner that made them (:attr:`Aligner.tag`); files of another one count as absent. None takes any.
    """

    def __init__(self, root: Path | str, num_frames: int, stride: int, tag: str | None = None) -> None:
        self.root, self.num_frames, self.stride, self.tag = Path(root), num_frames, stride, tag
        self._loaded: dict[str, Homographies | None] = {}

    def path(self, sequence: Sequence) -> Path:
        """The file of a recording."""
        return self.root / f"{sequence.name}_T{self.num_frames}_s{self.stride}.npz"

    def get(self, sequence: Sequence, newest: int) -> Homographies | None:
        """Homographies [T, 3, 3] of the clip's frames onto the newest, in pixel-centre coordinates; None if not stored.

        The last is the identity.
        """
        stored = self.load(sequence)
        if stored is None or (self.num_frames > 1 and np.isnan(stored[newest, 0, 0, 0])):
            return None
        return np.concatenate([stored[newest], np.eye(3, dtype=np.float32)[None]])

    def load(self, sequence: Sequence) -> Homographies | None:
        """All of a recording, [frames, T-1, 3, 3], NaN where not computed; None without a (fitting) file."""
        if sequence.name not in self._loaded:
            self._loaded[sequence.name] = self._read(sequence)
        return self._loaded[sequence.name]

    def _read(self, sequence: Sequence) -> Homographies | None:
        path, shape = self.path(sequence), (len(sequence), self.num_frames - 1, 3, 3)
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                found, tag = file["homographies"], str(file["tag"])
        except (FileNotFoundError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None  # absent or damaged: made anew
        return found if found.shape == shape and self.tag in (None, tag) else None

    def save(self, sequence: Sequence, homographies: Homographies) -> None:
        """Writes a recording's [frames, T-1, 3, 3]; the file appears whole or not at all."""
        path = self.path(sequence)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, homographies=homographies.astype(np.float32), tag=np.array(self.tag or ""))
        self._loaded[sequence.name] = homographies.astype(np.float32)

    def missing(self, sequence: Sequence) -> list[int]:
        """Positions of the split's frames whose clip is not stored."""
        stored = self.load(sequence)
        if self.num_frames == 1:
            return []
        return [int(t) for t in sequence.indices if stored is None or np.isnan(stored[t, 0, 0, 0])]


@dataclass
class Summary:
    """What :func:`align_sequences` did."""

    pairs: int = 0
    unregistered: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Pairs left as they are, by cause."""
    bad_frames: list[str] = field(default_factory=list)
    """Messages of frames that could not be read; their pairs are left as they are, too."""
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = self.pairs / self.seconds if self.seconds else 0.0
        text = f"{self.pairs} pairs aligned in {self.seconds:.0f} s ({rate:.0f} per second)"
        for cause, count in sorted(self.unregistered.items()):
            text += f"; {count} left as they are: {cause}"
        return text + (f"; {len(self.bad_frames)} frames could not be read" if self.bad_frames else "")


@dataclass
class _Done:
    homographies: dict[int, Homographies]
    causes: list[str]
    bad: list[str]
    pairs: int


def align_sequences(
    sequences: Iterable[Sequence],
    store: HomographyStore,
    aligner: Aligner,
    *,
    processes: int | None = None,
    progress: bool = True,
) -> Summary:
    """Aligns all clips of the split that are not stored yet, and stores them recording by recording.

    Broken off, it goes on at the first unfinished recording when called again. A frame that cannot be read costs its
    own pairs only.

    Args:
        processes: how many to use; None for one per core.
        progress: whether to show a bar.
    """
    store.tag = aligner.tag
    todo = {s.name: (s, store.missing(s)) for s in sequences}
    todo = {name: (s, missing) for name, (s, missing) in todo.items() if missing}
    summary, started = Summary(), time.monotonic()
    jobs: list[tuple[str, FrameSource, list[Clip]]] = []
    for name, (sequence, missing) in todo.items():
        clips = [(t, sequence.clip_indices(t, store.num_frames, store.stride)[:-1]) for t in missing]
        jobs += [(name, sequence.frames, clips[i : i + CHUNK]) for i in range(0, len(clips), CHUNK)]
    left = {name: sum(job[0] == name for job in jobs) for name in todo}
    results: dict[str, dict[int, Homographies]] = defaultdict(dict)
    total = sum(len(job[2]) for job in jobs)
    processes = processes or os.cpu_count() or 1
    serial = processes == 1 or total * (store.num_frames - 1) <= SERIAL

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not progress or not jobs) as bar:
        task = bar.add_task("aligning clips", total=total)
        for name, done in _serially(jobs, aligner) if serial else _in_processes(jobs, aligner, processes):
            summary.pairs += done.pairs
            summary.bad_frames += [message for message in done.bad if message not in summary.bad_frames]
            for cause in done.causes:
                summary.unregistered[cause] += 1
            results[name].update(done.homographies)
            bar.advance(task, len(done.homographies))
            left[name] -= 1
            if left[name] == 0:
                _store(store, todo[name][0], results.pop(name))
    summary.seconds = time.monotonic() - started
    return summary


def _store(store: HomographyStore, sequence: Sequence, found: dict[int, Homographies]) -> None:
    stored = store.load(sequence)
    if stored is None:
        stored = np.full((len(sequence), store.num_frames - 1, 3, 3), np.nan, np.float32)
    for newest, homographies in found.items():
        stored[newest] = homographies
    store.save(sequence, stored)


def _serially(jobs: list[tuple[str, FrameSource, list[Clip]]], aligner: Aligner) -> Iterator[tuple[str, _Done]]:
    for name, frames, clips in jobs:
        yield name, _align(frames, clips, aligner)


def _in_processes(
    jobs: list[tuple[str, FrameSource, list[Clip]]], aligner: Aligner, processes: int
) -> Iterator[tuple[str, _Done]]:
    # Spawned, not forked: OpenCV's and torch's thread pools do not survive a fork.
    context = multiprocessing.get_context("spawn")
    start = functools.partial(cv2.setNumThreads, 1)
    with ProcessPoolExecutor(min(processes, len(jobs)), context, start) as pool:
        futures = {pool.submit(_align, frames, clips, aligner): name for name, frames, clips in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _align(frames: FrameSource, clips: list[Clip], aligner: Aligner) -> _Done:
    """Homographies [T-1, 3, 3] of each clip's predecessors onto its newest frame."""
    prepared: dict[int, Prepared | None] = {}
    done = _Done({}, [], [], 0)

    def prepare(position: int) -> Prepared | None:
        if position not in prepared:
            try:
                prepared[position] = aligner.prepare(frames.read(position))
            except DataError as error:
                prepared[position] = None
                done.bad.append(str(error))
        return prepared[position]

    for newest, older in clips:
        prepared = {position: kept for position, kept in prepared.items() if position >= older[0]}
        found: dict[int, Homographies] = {newest: np.eye(3, dtype=np.float32)}
        for position in older:
            if position in found:
                continue
            a, b = prepare(position), prepare(newest)
            found[position] = np.eye(3, dtype=np.float32)
            if a is not None and b is not None:
                done.pairs += 1
                found[position], cause = aligner.register(a, b)
                if cause is not None:
                    done.causes.append(cause)
        done.homographies[newest] = np.stack([found[position] for position in older])
    return done
