"""Which of a data set's classes are used, and under which labels: by name, in one place for all readers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence as Listed
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.duplicates import repeats
from tdcnet.data.errors import DataError
from tdcnet.data.sequence import Sequence
from tdcnet.shown import shown

log = logging.getLogger(__name__)

ONE_OF_ALL = "target"
"""This name alone makes one class of all, unless the data set has a class that is called so."""


def select(sequences: Listed[Sequence], wanted: Listed[str], where: Path | str) -> list[Sequence]:
    """The sequences with the classes that are asked for; labels index into ``wanted``.

    ``[target]`` alone counts all classes as one, unless the set has a class of that name. Else names choose: the boxes
    of others are left out, which one line tells, and their frames stay. Where a sequence does not tell its classes,
    one name makes one class of all, and several are taken to be its own in order.

    Args:
        sequences: of one side of a split, as a reader gives them.
        wanted: names, in the order of the labels to be.
        where: what was read, for messages.

    Raises:
        DataError: if a name is none of the set's classes, or given twice, or a label has no name.
    """
    wanted = tuple(wanted)
    if twice := [name for name, times in Counter(wanted).items() if times > 1]:
        raise DataError(f"{where}: dataset.classes names {shown(twice[0])} twice. Name each class once")
    known = tuple(dict.fromkeys(name for sequence in sequences for name in sequence.classes))
    every = wanted == (ONE_OF_ALL,) and ONE_OF_ALL not in known
    unknown = [name for name in wanted if name not in known] if known and not every else []
    if unknown:
        raise DataError(
            f"{where}: dataset.classes names {', '.join(map(shown, unknown))}, which the data set does not have; it "
            f"has {_listed(known)}. Name those that you want of them, or give dataset.classes=[{ONE_OF_ALL}] to "
            "count all as one"
        )
    chosen, left_out, repeated = [], Counter[str](), 0
    for sequence in sequences:
        labels, others = _labels(sequence, wanted, every, where)
        left_out.update(others)
        given = sequence.classes
        sequence = _kept(sequence, labels, wanted)
        if every and len(given) > 1:
            sequence, twice_there = without_repeats(sequence)
            repeated += twice_there
        chosen.append(sequence)
    if left_out:
        kept = sum(len(labels) for sequence in chosen for labels in sequence.labels)
        log.warning(
            "%s: %d boxes of %s are used, %d of others are left out (%s) and count as background; dataset.classes "
            "chooses",
            where,
            kept,
            ", ".join(map(shown, wanted)),
            left_out.total(),
            ", ".join(f"{shown(name)} {count}" for name, count in left_out.most_common(8)),
        )
    if repeated:
        log.warning("%s: %d boxes repeat another of another class; as one class, each counts once", where, repeated)
    return chosen


def without_repeats(sequence: Sequence) -> tuple[Sequence, int]:
    """The sequence with each box once, and how many were more; see :mod:`tdcnet.data.duplicates`."""
    counts = [len(boxes) for boxes in sequence.boxes]
    if max(counts, default=0) < 2:
        return sequence, 0
    frames = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    more = repeats(frames, np.concatenate(sequence.boxes), np.concatenate(sequence.labels))
    if not more.any():
        return sequence, 0
    keep = np.split(~more, np.cumsum(counts)[:-1])
    boxes = [each[mask] for each, mask in zip(sequence.boxes, keep, strict=True)]
    labels = [each[mask] for each, mask in zip(sequence.labels, keep, strict=True)]
    ids = sequence.target_ids
    ids = ids and [each[mask] for each, mask in zip(ids, keep, strict=True)]
    return replace(sequence, boxes=boxes, labels=labels, target_ids=ids), int(more.sum())


def _labels(
    sequence: Sequence, wanted: tuple[str, ...], every: bool, where: Path | str
) -> tuple[list[NDArray[np.int64]], Counter[str]]:
    """New labels, -1 for what is left out, and how many boxes of which class those are."""
    highest = max((int(labels.max()) for labels in sequence.labels if len(labels)), default=-1)
    if every or (not sequence.classes and len(wanted) == 1):
        return [np.zeros(len(labels), np.int64) for labels in sequence.labels], Counter()
    names = sequence.classes or wanted
    if highest >= len(names):
        raise DataError(
            f"{where}: {shown(sequence.name)} has a label {highest}, but there are {len(names)} classes "
            f"({_listed(names)}). Name all of the format's classes, or one for all"
        )
    order = np.array([wanted.index(name) if name in wanted else -1 for name in names], np.int64)
    found = [order[labels] for labels in sequence.labels]
    every_label = np.concatenate([*sequence.labels, np.zeros(0, np.int64)])
    counts = np.bincount(every_label, minlength=len(names)).tolist()
    return found, Counter({name: n for name, n in zip(names, counts, strict=True) if n and name not in wanted})


def _kept(sequence: Sequence, labels: list[NDArray[np.int64]], wanted: tuple[str, ...]) -> Sequence:
    if all((each >= 0).all() for each in labels):
        return replace(sequence, labels=labels, classes=wanted)
    boxes = [each[new >= 0] for each, new in zip(sequence.boxes, labels, strict=True)]
    ids = sequence.target_ids
    ids = ids and [each[new >= 0] for each, new in zip(ids, labels, strict=True)]
    return replace(sequence, boxes=boxes, labels=[new[new >= 0] for new in labels], classes=wanted, target_ids=ids)


def _listed(names: Listed[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(shown(name) for name in names[:20]) + more
