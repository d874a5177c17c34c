"""HOTA, CLEAR and identity figures of tracks, with IoU or dot distance, and what an operator asks.

HOTA: Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV 2021. CLEAR: Bernardin and
Stiefelhagen, EURASIP JIVP 2008. IDF1: Ristani et al., ECCVW 2016. Counted as TrackEval does, also over several
recordings. Dot distance: Xu et al., CVPRW 2021, as the SMOT4SB challenge (MVA 2025) puts it into these figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tdcnet.metrics.tiny_boxes import dot_similarity, mean_side

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Similarity = Callable[[Floats, Floats], Floats]
"""Boxes [G, 4] and [T, 4], xyxy px -> [G, T], 0 to 1."""

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""Similarities from which on HOTA counts a match; it is the mean over these."""
NEAR = 3.0
"""px from the centre of a track to that of a target that it has."""
LONG = 10
"""Usual steps from one frame to the next from which on there is a gap."""
MATCHED = 0.5
"""Similarity from which on CLEAR and IDF1 do."""
_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame's targets and tracks.

    Attributes:
        target_ids: [G], each once.
        targets: boxes [G, 4], xyxy px.
        track_ids: [T], each once.
        tracks: boxes [T, 4].
    """

    target_ids: Ints
    targets: Floats
    track_ids: Ints
    tracks: Floats


def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union [G, T]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(-1)
    areas = [np.clip(each[:, 2:] - each[:, :2], 0, None).prod(-1) for each in (a, b)]
    union = areas[0][:, None] + areas[1][None] - both
    return np.where(union > _EPS, both / np.maximum(union, _EPS), 0.0)


def dots(frames: Iterable[TrackedFrame]) -> Similarity:
    """Dot similarity for the targets of a data set, see :func:`~tdcnet.metrics.tiny_boxes.dot_similarity`."""
    areas = np.concatenate([np.zeros(0), *((f.targets[:, 2:] - f.targets[:, :2]).prod(-1) for f in frames)])
    side = mean_side(areas)

    def similarity(a: Floats, b: Floats) -> Floats:
        centres = (a[:, :2] + a[:, 2:]) / 2, (b[:, :2] + b[:, 2:]) / 2
        return dot_similarity(np.linalg.norm(centres[0][:, None] - centres[1][None], axis=-1), side)

    return similarity


def track_figures(recordings: Sequence[Sequence[TrackedFrame]], similarity: Similarity) -> dict[str, float]:
    """All figures over some recordings; ids count within one.

    Args:
        recordings: the frames of each, in order.
        similarity: of boxes, :func:`iou` or what :func:`dots` gives.

    Returns:
        ``HOTA``, ``DetA``, ``AssA``, ``LocA``, ``DetRe``, ``DetPr``, ``AssRe``, ``AssPr``, ``MOTA``, ``MOTP``,
        ``IDSW`` (a number), ``Frag`` (a number), ``MT`` and ``ML`` (numbers of targets), ``IDF1``, ``IDR``, ``IDP``.
    """
    prepared = [_Recording.of(frames, similarity) for frames in recordings]
    return _hota(prepared) | _clear(prepared) | _identity(prepared)


@dataclass(frozen=True, eq=False)
class _Recording:
    targets: int  # different ones
    tracks: int
    frames: list[tuple[Ints, Ints, Floats]]  # ids from 0 and similarities [G, T]

    @classmethod
    def of(cls, frames: Sequence[TrackedFrame], similarity: Similarity) -> _Recording:
        targets = _numbered(frame.target_ids for frame in frames)
        tracks = _numbered(frame.track_ids for frame in frames)
        told = []
        for frame in frames:
            a, b = (np.asarray(each, np.float64).reshape(-1, 4) for each in (frame.targets, frame.tracks))
            found = similarity(a, b) if len(a) and len(b) else np.zeros((len(a), len(b)))
            ids = [
                np.array([known[i] for i in given.tolist()], np.int64)
                for known, given in ((targets, frame.target_ids), (tracks, frame.track_ids))
            ]
            for what, each in (("target", ids[0]), ("track", ids[1])):
                if len(np.unique(each)) < len(each):
                    raise ValueError(f"a {what} comes twice in a frame; ids must be there once")
            told.append((ids[0], ids[1], found))
        return cls(len(targets), len(tracks), told)


def _numbered(ids: Iterable[Ints]) -> dict[int, int]:
    found: dict[int, int] = {}
    for each in ids:
        for i in each.tolist():
            found.setdefault(i, len(found))
    return found


def _hota(recordings: Sequence[_Recording]) -> dict[str, float]:
    count = len(ALPHAS)
    hits, missed, false = np.zeros(count), np.zeros(count), np.zeros(count)
    near = np.zeros(count)
    # of each recording: association figures, weighted by their hits
    ass = {"AssA": np.zeros(count), "AssRe": np.zeros(count), "AssPr": np.zeros(count)}
    for recording in recordings:
        shared = np.zeros((recording.targets, recording.tracks))
        per_target, per_track = np.zeros(recording.targets), np.zeros(recording.tracks)
        for targets, tracks, found in recording.frames:
            total = found.sum(0)[None] + found.sum(1)[:, None] - found
            share = np.divide(found, total, out=np.zeros_like(found), where=total > _EPS)
            shared[np.ix_(targets, tracks)] += share
            per_target[targets] += 1
            per_track[tracks] += 1
        alike = shared / np.maximum(per_target[:, None] + per_track[None] - shared, _EPS)
        matches = np.zeros((count, recording.targets, recording.tracks))
        here = np.zeros(count)
        for targets, tracks, found in recording.frames:
            rows, columns = linear_sum_assignment(-(alike[np.ix_(targets, tracks)] * found))
            good = found[rows, columns][None] >= ALPHAS[:, None] - _EPS  # [alphas, matches]
            now = good.sum(1)
            here += now
            missed += len(targets) - now
            false += len(tracks) - now
            near += (good * found[rows, columns][None]).sum(1)
            for at in range(count):
                matches[at, targets[rows[good[at]]], tracks[columns[good[at]]]] += 1
        hits += here
        for at in range(count):
            m = matches[at]
            for name, whole in (
                ("AssA", per_target[:, None] + per_track[None] - m),
                ("AssRe", np.broadcast_to(per_target[:, None], m.shape)),
                ("AssPr", np.broadcast_to(per_track[None], m.shape)),
            ):
                ass[name][at] += (m * (m / np.maximum(1, whole))).sum()
    some = np.maximum(1, hits)
    figures = {name: value / some for name, value in ass.items()}
    figures["DetA"] = hits / np.maximum(1, hits + missed + false)
    figures["DetRe"] = hits / np.maximum(1, hits + missed)
    figures["DetPr"] = hits / np.maximum(1, hits + false)
    figures["LocA"] = np.maximum(1e-10, near) / np.maximum(1e-10, hits)
    figures["HOTA"] = np.sqrt(figures["DetA"] * figures["AssA"])
    return {name: float(values.mean()) for name, values in figures.items()}


def _clear(recordings: Sequence[_Recording]) -> dict[str, float]:
    hits = missed = false = switches = parts = mostly = hardly = 0
    near = 0.0
    for recording in recordings:
        seen, matched, begun = (np.zeros(recording.targets) for _ in range(3))
        ever = np.full(recording.targets, np.nan)  # the track that had a target last
        before = np.full(recording.targets, np.nan)  # that had it in the frame before
        for targets, tracks, found in recording.frames:
            seen[targets] += 1
            if not len(targets):
                false += len(tracks)
                continue
            if not len(tracks):
                missed += len(targets)
                continue
            score = (tracks[None] == before[targets][:, None]) * 1000 + found
            score[found < MATCHED - _EPS] = 0
            rows, columns = linear_sum_assignment(-score)
            good = score[rows, columns] > _EPS
            rows, columns = rows[good], columns[good]
            who, whose = targets[rows], tracks[columns]
            last = ever[who]
            switches += int((~np.isnan(last) & (last != whose)).sum())
            matched[who] += 1
            was = np.isnan(before)
            ever[who] = whose
            before[:] = np.nan
            before[who] = whose
            begun += was & ~np.isnan(before)
            hits += len(who)
            missed += len(targets) - len(who)
            false += len(tracks) - len(who)
            near += float(found[rows, columns].sum())
        share = matched[seen > 0] / seen[seen > 0]
        mostly += int((share > 0.8).sum())
        hardly += int((share < 0.2).sum())
        parts += int((begun[begun > 0] - 1).sum())
    return {
        "MOTA": (hits - false - switches) / max(1, hits + missed),
        "MOTP": near / max(1, hits),
        "IDSW": float(switches),
        "Frag": float(parts),
        "MT": float(mostly),
        "ML": float(hardly),
    }


def _identity(recordings: Sequence[_Recording]) -> dict[str, float]:
    hits = missed = false = 0.0
    for recording in recordings:
        n, m = recording.targets, recording.tracks
        both = np.zeros((n, m))
        per_target, per_track = np.zeros(n), np.zeros(m)
        for targets, tracks, found in recording.frames:
            rows, columns = np.nonzero(found >= MATCHED)
            both[targets[rows], tracks[columns]] += 1
            per_target[targets] += 1
            per_track[tracks] += 1
        # Each target has one track, or none; each track one target, or none.
        beyond = 1e10
        lost, wrong = np.zeros((n + m, n + m)), np.zeros((n + m, n + m))
        wrong[n:, :m], lost[:n, m:] = beyond, beyond
        lost[:n, :m], wrong[:n, :m] = per_target[:, None], per_track[None]
        lost[np.arange(n), m + np.arange(n)] = per_target
        wrong[n + np.arange(m), np.arange(m)] = per_track
        lost[:n, :m] -= both
        wrong[:n, :m] -= both
        rows, columns = linear_sum_assignment(lost + wrong)
        gone = float(lost[rows, columns].sum())
        missed += gone
        false += float(wrong[rows, columns].sum())
        hits += float(per_target.sum()) - gone
    return {
        "IDF1": hits / max(1.0, hits + 0.5 * missed + 0.5 * false),
        "IDR": hits / max(1.0, hits + missed),
        "IDP": hits / max(1.0, hits + false),
    }


@dataclass(frozen=True)
class Watch:
    """What an operator asks.

    Attributes:
        targets: different ones.
        tracked: share of them that a track ever had.
        delay: seconds from a target's first frame to the first of a track on it, in the middle one of those tracked;
            NaN if none is.
        false_tracks: tracks that had no target in more than half of their frames.
        false_per_minute: these, per minute of all recordings.
        minutes: of all recordings.
    """

    targets: int
    tracked: float
    delay: float
    false_tracks: int
    false_per_minute: float
    minutes: float


def watch(
    recordings: Sequence[Sequence[TrackedFrame]], times: Sequence[Sequence[float]], distance: float = NEAR
) -> Watch:
    """What an operator asks of tracks, such as all that were confirmed.

    Args:
        recordings: the frames of each, in order.
        times: seconds of the frames.
        distance: px from the centre of a track to that of a target that it has.
    """
    found: list[float] = []
    targets = false = 0
    seconds = 0.0
    for frames, at in zip(recordings, times, strict=True):
        first: dict[int, float] = {}
        got: dict[int, float] = {}
        good: dict[int, int] = {}
        length: dict[int, int] = {}
        for frame, time in zip(frames, at, strict=True):
            a, b = ((each[:, :2] + each[:, 2:]) / 2 for each in (frame.targets, frame.tracks))
            near = np.linalg.norm(a[:, None] - b[None], axis=-1) < distance
            for row, who in enumerate(frame.target_ids.tolist()):
                first.setdefault(who, time)
                if near[row].any():
                    got.setdefault(who, time)
            for column, track in enumerate(frame.track_ids.tolist()):
                length[track] = length.get(track, 0) + 1
                good[track] = good.get(track, 0) + bool(near[:, column].any())
        targets += len(first)
        found += [got[who] - first[who] for who in got]
        false += sum(good[track] <= length[track] / 2 for track in length)
        steps = np.diff(at)
        if len(steps):
            usual = float(np.median(steps))
            # A long gap is of frames that nobody looked at; the last frame takes as long as the others.
            seconds += float(np.where(steps > LONG * usual, usual, steps).sum()) + usual
    minutes = seconds / 60
    return Watch(
        targets=targets,
        tracked=len(found) / targets if targets else float("nan"),
        delay=float(np.median(found)) if found else float("nan"),
        false_tracks=false,
        false_per_minute=false / minutes if minutes else float("nan"),
        minutes=minutes,
    )
