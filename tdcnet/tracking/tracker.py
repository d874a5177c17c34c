"""An online tracker of targets that are a few pixels wide: their boxes do not overlap from one frame to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tdcnet.finite import number
from tdcnet.inference.found import Found
from tdcnet.tracking import kalman
from tdcnet.tracking.clutter import ClutterMap, Dirt
from tdcnet.tracking.evidence import Evidence, logit, score_of

Floats = NDArray[np.float64]
MOST = 200
"""Detections of a frame that are looked at, the best ones."""
FAR = 8.0
"""Px from where it began by which a track has moved for sure."""
State = Literal["tentative", "confirmed", "coasting"]


@dataclass(frozen=True)
class TrackerOptions:
    """How tracks are made.

    Args:
        weak: least score of a detection that is looked at.
        strong: least score of one that is given to a track before the others are; None for the detector's threshold.
        deviation: of a box's centre from the target, px, and ``deviation_size``: share of the box's side on top.
        acceleration: px per second squared, of what changes a target's velocity over a second.
        speed: px per second at most, against the scene.
        gate: standard deviations between where a target is expected and what may be it.
        confirm: evidence from which on a track is confirmed, natural logarithm of the odds.
        most: evidence that a track can have at most: what is lost is given up in time.
        miss: evidence that a second without a detection takes.
        hits: detections that a confirmed track has at least.
        score: score that a track needs to be confirmed, None for the detector's threshold; a quarter of it where it has
            moved by :data:`FAR`, against the scene and on the sensor. What stands is found again in each frame, and
            its evidence adds up however weak it is.
        coast: seconds that a confirmed track lives on without a detection; ``coast_tentative`` that another does.
        fuse: seconds over which the scores of a track are put together.
        moved: what a track's score gains, in logits, for each doubling of how far it has been from where it began, both
            against the scene and on the sensor; counted from 3 px, and no more than two halvings and three doublings.
            0.2 finds more among standing look-alikes, and takes more for targets of what moves and is none.
        clutter: weight of the map of false alarms, 0 for none.
        dirt: whether what stays on the sensor while the scene moves is left out. Not for a camera that is turned so
            that a target stays on one and the same pixel.
    """

    weak: float = 0.03
    strong: float | None = None
    deviation: float = 0.7
    deviation_size: float = 0.05
    acceleration: float = 60.0
    speed: float = 400.0
    gate: float = 4.0
    confirm: float = 12.0
    most: float = 30.0
    miss: float = 20.0
    hits: int = 3
    score: float | None = None
    coast: float = 1.0
    coast_tentative: float = 0.2
    fuse: float = 0.3
    moved: float = 0.0
    clutter: float = 1.0
    dirt: bool = True

    def __post_init__(self) -> None:
        number("weak", self.weak, 0, 1)
        for name in ("strong", "score"):
            if getattr(self, name) is not None:
                number(name, getattr(self, name), 0, 1)
        for name in ("deviation", "acceleration", "speed", "gate", "most", "miss", "fuse"):
            number(name, getattr(self, name), 0, 1e6, above=True)
        for name in ("deviation_size", "coast", "coast_tentative", "clutter", "moved"):
            number(name, getattr(self, name), 0, 1e6)
        number("hits", self.hits, 1, 1e6)
        number("confirm", self.confirm, -1e6, self.most)


@dataclass(frozen=True, eq=False)
class TrackPoint:
    """A track at one frame.

    Attributes:
        id: of the track, from 1; never given twice.
        box: xyxy px of the frame; that of its detection, or where it is expected.
        score: of all its detections, 0 to 1.
        label: class that its detections tell most of all.
        state: ``tentative``, ``confirmed``, or ``coasting``: confirmed, and not detected on this frame.
        velocity: px per second against the scene.
        age: seconds since its first detection.
        hits: detections.
        detection: which of the frame's detections it has; None where it has none.
    """

    id: int
    box: NDArray[np.float32]
    score: float
    label: int
    state: State
    velocity: tuple[float, float]
    age: float
    hits: int
    detection: int | None


@dataclass(eq=False)
class _Track:
    id: int
    mean: Floats
    cov: Floats
    size: Floats  # width, height
    evidence: float
    logit: float
    labels: dict[int, float]
    born: float
    seen: float  # time of its last detection
    origin: Floats  # where it began, seen by the camera of now
    first: Floats  # where it began, px of the sensor
    kept: tuple[Floats, Floats]  # state at its last detection, seen by the camera of now
    way: tuple[float, float] = (0.0, 0.0)  # px that it has been away from the two
    hits: int = 1
    confirmed: bool = False
    detection: int | None = None
    gaps: list[float] = field(default_factory=list)  # times of frames since then


class Tracker:
    """Tracks of detections, frame by frame.

    Positions are told in the newest frame; when the camera moves, all tracks are moved as the scene is. Each track is a
    constant-velocity Kalman filter. A detection belongs to a track where it was expected, by as much as the filter and
    the detection itself are unsure; strong detections are dealt out before weak ones (ByteTrack, Zhang et al., ECCV
    2022), all at once (Hungarian method). When a track is found again after a gap, the gap is gone through again on the
    straight line to where it is (OC-SORT, Cao et al., CVPR 2023). A track is confirmed by its evidence
    (:mod:`~tdcnet.tracking.evidence`), so that weak detections which move as a target does become one before a strong
    one has come: track before detect.

    Args:
        options: how.
        evidence: how the detector's scores are read.
    """

    def __init__(self, options: TrackerOptions | None = None, evidence: Evidence | None = None) -> None:
        self.options, self.evidence = options or TrackerOptions(), evidence or Evidence()
        self.clutter = ClutterMap(self.options.clutter)
        self.dirt = Dirt() if self.options.dirt else None
        self._tracks: list[_Track] = []
        self._next = 1
        self._scene: int | None = None
        self._time: float | None = None

    def restart(self) -> None:
        """What comes is another scene: no track lives on, and their ids are not given again."""
        self._tracks.clear()
        self.clutter.restart()
        if self.dirt is not None:
            self.dirt.restart()
        self._time = None

    def add(self, found: Found, since: Floats | None = None, time: float | None = None) -> list[TrackPoint]:
        """Takes the detections of the next frame.

        Args:
            found: with all detections, weak ones as well.
            since: homography [3, 3] from the frame before, pixel-centre coordinates; None if the camera stands still.
            time: seconds; None for that of ``found``, or 30 frames a second.

        Returns:
            all tracks that are alive, confirmed or not, best first.
        """
        now = next(each for each in (time, found.time, found.index / 30) if each is not None)
        dt = 1 / 30 if self._time is None else max(1e-6, now - self._time)
        self._time = now if self._time is None else max(now, self._time)
        now = self._time
        since = np.eye(3) if since is None else np.asarray(since, np.float64)
        self._move(since, dt, now)
        boxes = _Boxes.of(found, self.options)
        if self.dirt is not None:
            boxes = boxes.without(self.dirt.at(boxes.centres, now))
        self.clutter.move(since, found.size)
        held = self.clutter.at(boxes.centres)
        given = self._deal_out(boxes, found, held)
        area = float(found.size[0] * found.size[1])
        for track, which, density in given:
            self._hit(track, boxes, found, which, density - held[which], area, now, dt)
        taken = {which for _, which, _ in given}
        hit = {track.id for track, _, _ in given}
        for track in self._tracks:
            if track.id not in hit:
                self._miss(track, dt)
        self._clean(now)
        self._end(found.size, now)
        self._begin(boxes, found, taken, held, now, dt)
        told = {which for track, which, _ in given if track.confirmed}
        self.clutter.learn(boxes.centres[[i for i in range(len(boxes.centres)) if i not in told]], dt)
        return sorted((self._point(track, now) for track in self._tracks), key=lambda point: -point.score)

    def _move(self, since: Floats, dt: float, now: float) -> None:
        if not self._tracks:
            return
        mean, cov = self._states(self._tracks)
        still = np.array_equal(since, np.eye(3))
        if not still:
            mean, cov = kalman.moved(mean, cov, since)
        mean, cov = kalman.predict(mean, cov, dt, self.options.acceleration)
        for track, m, c in zip(self._tracks, mean, cov, strict=True):
            track.mean, track.cov = m, c
            if not still:
                x, y, w = since @ np.array([*track.origin, 1.0])
                track.origin = np.array([x / w, y / w])
            track.gaps.append(now)
        if not still:
            means, covs = zip(*(track.kept for track in self._tracks), strict=True)
            kept = kalman.moved(np.stack(means), np.stack(covs), since)
            for track, m, c in zip(self._tracks, *kept, strict=True):
                track.kept = m, c

    @staticmethod
    def _states(tracks: Sequence[_Track]) -> tuple[Floats, Floats]:
        return np.stack([track.mean for track in tracks]), np.stack([track.cov for track in tracks])

    def _deal_out(self, boxes: _Boxes, found: Found, held: Floats) -> list[tuple[_Track, int, float]]:
        """Tracks, their detections, and how likely those were expected there."""
        options = self.options
        strong = self.evidence.threshold if options.strong is None else options.strong
        sure = boxes.scores >= strong
        free_tracks, given = list(self._tracks), []
        for detections in (np.flatnonzero(sure), np.flatnonzero(~sure)):
            if not len(detections) or not free_tracks:
                continue
            mean, cov = self._states(free_tracks)
            squared, density = kalman.distances(mean, cov, boxes.centres[detections], boxes.deviation[detections])
            allowed = squared < options.gate**2
            # A confirmed track comes before one that is not, and a better detection before a worse.
            cost = -density - 0.5 * np.minimum(logit(boxes.scores[detections]), 4.0)[None]
            cost -= np.array([4.0 if track.confirmed else 0.0 for track in free_tracks])[:, None]
            rows, columns = linear_sum_assignment(np.where(allowed, cost, 1e6))
            used = []
            for row, column in zip(rows, columns, strict=True):
                if allowed[row, column]:
                    given.append((free_tracks[row], int(detections[column]), float(density[row, column])))
                    used.append(row)
            free_tracks = [track for row, track in enumerate(free_tracks) if row not in set(used)]
        return given

    def _hit(
        self, track: _Track, boxes: _Boxes, found: Found, which: int, density: float, area: float, now: float, dt: float
    ) -> None:
        options = self.options
        centre, deviation = boxes.centres[which], boxes.deviation[which]
        if len(track.gaps) > 1:
            self._go_through_again(track, centre, float(deviation))
        (mean,), (cov,) = kalman.update(track.mean[None], track.cov[None], centre[None], deviation[None])
        speed = float(np.hypot(*mean[2:]))
        if speed > options.speed:
            mean[2:] *= options.speed / speed
        track.mean, track.cov = mean, cov
        track.kept, track.gaps = (mean, cov), []
        track.way = (
            max(track.way[0], float(np.hypot(*(mean[:2] - track.origin)))),
            max(track.way[1], float(np.hypot(*(mean[:2] - track.first)))),
        )
        score = boxes.scores[which : which + 1]
        said = float(self.evidence.of_next(score, np.array([density]), area)[0])
        track.evidence = min(options.most, track.evidence + said)
        share = 1 - math.exp(-max(dt, now - track.seen) / options.fuse)
        track.logit += max(share, 1 / (track.hits + 1)) * (float(logit(score)[0]) - track.logit)
        track.size += 0.3 * (boxes.sizes[which] - track.size)
        label = int(found.labels[boxes.which[which]])
        track.labels[label] = track.labels.get(label, 0.0) + float(score[0])
        track.seen, track.hits, track.detection = now, track.hits + 1, int(boxes.which[which])
        if track.evidence >= options.confirm and track.hits >= options.hits and self._is_sure(track):
            track.confirmed = True

    def _score(self, track: _Track) -> float:
        return score_of(track.logit + self.options.moved * _doublings(min(track.way)))

    def _is_sure(self, track: _Track) -> bool:
        least = self.evidence.threshold if self.options.score is None else self.options.score
        return self._score(track) >= (least / 4 if min(track.way) >= FAR else least)

    def _go_through_again(self, track: _Track, centre: Floats, deviation: float) -> None:
        """The gap before a detection once more, as if it had been seen on the straight line to it."""
        mean, cov = track.kept[0][None], track.kept[1][None]
        start, begin = mean[0, :2].copy(), track.seen
        whole = track.gaps[-1] - begin
        if whole <= 0:  # time went back
            return
        last = begin
        for at in track.gaps:
            mean, cov = kalman.predict(mean, cov, at - last, self.options.acceleration)
            last = at
            if at != track.gaps[-1]:
                between = start + (centre - start) * ((at - begin) / whole)
                mean, cov = kalman.update(mean, cov, between[None], np.array([2 * deviation]))
        track.mean, track.cov = mean[0], cov[0]

    def _miss(self, track: _Track, dt: float) -> None:
        track.detection = None
        track.evidence -= self.options.miss * dt
        share = 1 - math.exp(-dt / self.options.fuse)
        track.logit += share * (float(logit(np.array([self.options.weak]))[0]) - track.logit)

    def _clean(self, now: float) -> None:
        """Ends tracks of what stays on the sensor."""
        if self.dirt is None:
            return
        for track in self._tracks:
            if self.dirt.is_dirt(track.way, now - track.born):
                self.dirt.learn(float(track.first[0]), float(track.first[1]), now)
                track.evidence = -np.inf

    def _end(self, size: tuple[int, int], now: float) -> None:
        options = self.options

        def lives(track: _Track) -> bool:
            x, y = track.mean[:2]
            if not (-0.5 <= x <= size[1] - 0.5 and -0.5 <= y <= size[0] - 0.5) or not np.isfinite(track.mean).all():
                return False
            patience = options.coast if track.confirmed else options.coast_tentative
            least = 0.0 if track.confirmed else -options.confirm
            return now - track.seen <= patience and track.evidence > least

        self._tracks = [track for track in self._tracks if lives(track)]

    def _begin(self, boxes: _Boxes, found: Found, taken: set[int], held: Floats, now: float, dt: float) -> None:
        first = self.evidence.of_first(boxes.scores, dt) - held
        for which in range(len(boxes.scores)):
            if which in taken:
                continue
            deviation = boxes.deviation[which]
            cov = np.diag([deviation**2, deviation**2, *[(self.options.speed / 4) ** 2] * 2])
            mean = np.array([*boxes.centres[which], 0.0, 0.0])
            track = _Track(
                id=0,
                mean=mean,
                cov=cov,
                size=boxes.sizes[which].copy(),
                evidence=float(first[which]),
                logit=float(logit(boxes.scores[which : which + 1])[0]),
                labels={int(found.labels[boxes.which[which]]): float(boxes.scores[which])},
                born=now,
                seen=now,
                origin=mean[:2].copy(),
                first=mean[:2].copy(),
                detection=int(boxes.which[which]),
                kept=(mean, cov),
                confirmed=self.options.hits <= 1 and float(first[which]) >= self.options.confirm,
            )
            track.id, self._next = self._next, self._next + 1
            self._tracks.append(track)

    def _point(self, track: _Track, now: float) -> TrackPoint:
        state: State = "tentative" if not track.confirmed else "coasting" if track.detection is None else "confirmed"
        half = track.size / 2
        centre = track.mean[:2] + 0.5  # px edges
        box = np.concatenate([centre - half, centre + half]).astype(np.float32)
        return TrackPoint(
            id=track.id,
            box=box,
            score=self._score(track),
            label=max(track.labels, key=lambda each: track.labels[each]),
            state=state,
            velocity=(float(track.mean[2]), float(track.mean[3])),
            age=now - track.born,
            hits=track.hits,
            detection=track.detection,
        )


def _doublings(way: float) -> float:
    """Of 3 px, within bounds."""
    return min(3.0, max(-2.0, math.log2(max(way, 1e-3) / 3)))


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Detections that are looked at; centres in pixel-centre coordinates."""

    which: NDArray[np.int64]
    centres: Floats
    sizes: Floats
    scores: Floats
    deviation: Floats

    @classmethod
    def of(cls, found: Found, options: TrackerOptions) -> _Boxes:
        good = (found.scores >= options.weak) & np.isfinite(found.boxes).all(axis=1)
        which = np.flatnonzero(good)
        if len(which) > MOST:
            which = np.sort(which[np.argsort(-found.scores[which], kind="stable")[:MOST]])
        boxes = found.boxes[which].astype(np.float64)
        sizes = boxes[:, 2:] - boxes[:, :2]
        deviation = options.deviation + options.deviation_size * sizes.max(axis=1, initial=0.0)
        return cls(which, (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5, sizes, found.scores[which].astype(float), deviation)

    def without(self, out: NDArray[np.bool_]) -> _Boxes:
        """The others."""
        if not out.any():
            return self
        kept = ~out
        centres, sizes, scores = self.centres[kept], self.sizes[kept], self.scores[kept]
        return _Boxes(self.which[kept], centres, sizes, scores, self.deviation[kept])
