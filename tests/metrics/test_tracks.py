"""Figures of tracks against TrackEval's on random recordings, and against counts by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tdcnet.metrics.tracks import TrackedFrame, dots, iou, track_figures, watch

GOLDEN = Path(__file__).parents[1] / "golden" / "tracks.json"
"""What TrackEval 1.3.0 counts on :func:`recordings`; :func:`counted_by_trackeval` made it."""


def recordings():
    rng = np.random.default_rng(0)
    return [recording(rng, 40) for _ in range(5)]


def recording(rng, frames):
    """Four targets and tracks that follow them, miss, are false, and change their ids."""
    places, steps = rng.uniform(20, 200, (4, 2)), rng.normal(0, 2, (4, 2))
    targets, tracks = rng.permutation(20)[:4], rng.permutation(50)[:6]
    told = []
    for _ in range(frames):
        places = places + steps
        there, followed = rng.random(4) < 0.9, rng.random(4) < 0.8
        boxes = np.concatenate([places - 4, places + 4], axis=1)
        false = rng.uniform(0, 200, (1, 2))
        found = np.concatenate(
            [boxes[followed] + rng.normal(0, 1.5, (followed.sum(), 1)), np.concatenate([false, false + 7], axis=1)]
        )
        if rng.random() < 0.1:
            tracks = rng.permutation(50)[:6]
        ids = np.concatenate([tracks[:4][followed], tracks[4:5]])
        if rng.random() < 0.05:
            found, ids = found[:0], ids[:0]
        if rng.random() < 0.05:
            there[:] = False
        told.append(TrackedFrame(targets[there], boxes[there], ids, found))
    return told


def similarities(clips):
    return {"iou": iou, "dots": dots([frame for clip in clips for frame in clip])}


def counted_by_trackeval(clips, similarity):
    from trackeval.metrics.clear import CLEAR
    from trackeval.metrics.hota import HOTA
    from trackeval.metrics.identity import Identity

    data = []
    for clip in clips:
        known = [sorted({i for f in clip for i in getattr(f, key).tolist()}) for key in ("target_ids", "track_ids")]
        ids = [
            [np.array([names.index(i) for i in getattr(f, key)], int) for f in clip]
            for names, key in zip(known, ("target_ids", "track_ids"), strict=True)
        ]
        data.append(
            {
                "num_timesteps": len(clip),
                "num_gt_ids": len(known[0]),
                "num_tracker_ids": len(known[1]),
                "gt_ids": ids[0],
                "tracker_ids": ids[1],
                "similarity_scores": [
                    similarity(f.targets, f.tracks)
                    if len(f.targets) and len(f.tracks)
                    else np.zeros((len(f.targets), len(f.tracks)))
                    for f in clip
                ],
                "num_gt_dets": sum(len(f.targets) for f in clip),
                "num_tracker_dets": sum(len(f.tracks) for f in clip),
            }
        )
    found = {}
    for metric in (HOTA(), CLEAR({"PRINT_CONFIG": False}), Identity({"PRINT_CONFIG": False})):
        each = {str(k): metric.eval_sequence(d) for k, d in enumerate(data)}
        found |= metric.combine_sequences(each)
    return {key: float(np.mean(value)) for key, value in found.items()}


@pytest.mark.parametrize("kind", ["iou", "dots"])
def test_figures_are_those_of_trackeval(kind):
    clips = recordings()
    golden = json.loads(GOLDEN.read_text())[kind]
    found = track_figures(clips, similarities(clips)[kind])
    assert set(golden) == set(found)
    for name, value in found.items():
        assert value == pytest.approx(golden[name], abs=1e-9), name


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["iou", "dots"])
@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_trackeval_now(kind, seed):
    """Against the package itself; it wants opencv-python, which must not lie beside ours, so it comes without it."""
    pytest.importorskip("trackeval", reason="pip install --no-deps trackeval")
    rng = np.random.default_rng(100 + seed)
    clips = [recording(rng, 60) for _ in range(3)]
    similarity = similarities(clips)[kind]
    expected = counted_by_trackeval(clips, similarity)
    for name, value in track_figures(clips, similarity).items():
        assert value == pytest.approx(expected[name], abs=1e-6), name


def frames(target, track, boxes=None):
    """A target at one place; ids of target and track of each frame, None where there is none."""
    told = []
    for t, (a, b) in enumerate(zip(target, track, strict=True)):
        box = np.array([[10.0 + t, 10, 18 + t, 18]])
        there = [np.zeros((0, 4)) if each is None else box for each in (a, b)]
        ids = [np.array([] if each is None else [each], np.int64) for each in (a, b)]
        told.append(TrackedFrame(ids[0], there[0], ids[1], there[1]))
    return told


def test_a_switch_counted_by_hand():
    """Eight frames of one target: four with track 1, four with track 2."""
    found = track_figures([frames([7] * 8, [1] * 4 + [2] * 4)], iou)
    assert found["DetA"] == 1 and found["AssA"] == pytest.approx(0.5) and found["HOTA"] == pytest.approx(0.5**0.5)
    assert found["IDSW"] == 1 and found["MOTA"] == pytest.approx(7 / 8) and found["IDF1"] == pytest.approx(0.5)
    assert found["MT"] == 1 and found["Frag"] == 0


def test_a_gap_counted_by_hand():
    found = track_figures([frames([7] * 8, [1, 1, None, None, 1, 1, 1, 1])], iou)
    assert found["DetA"] == pytest.approx(6 / 8) and found["AssA"] == pytest.approx(6 / 8)
    assert found["IDSW"] == 0 and found["MOTA"] == pytest.approx(6 / 8)


def test_nothing_at_all_is_no_fault():
    empty = frames([None] * 3, [None] * 3)
    assert track_figures([empty], dots(empty))["HOTA"] == 0
    assert track_figures([frames([None] * 3, [1] * 3)], iou)["MOTA"] == -3


def test_ids_that_come_twice_in_a_frame_are_told():
    two = np.array([[0.0, 0, 5, 5], [9, 9, 12, 12]])
    with pytest.raises(ValueError, match="a track comes twice"):
        track_figures([[TrackedFrame(np.array([0, 1]), two, np.array([3, 3]), two)]], iou)


def test_what_an_operator_asks():
    """A target tracked from its third frame on, one that never is, and a track of nothing."""
    good = frames([7] * 6, [None, None, 1, 1, 1, 1])
    never = frames([8] * 6, [None] * 6)
    false = frames([None] * 6, [2] * 6)
    times = [[0.1 * t for t in range(6)]] * 3
    told = watch([good, never, false], times)
    assert (told.targets, told.tracked, told.false_tracks) == (2, 0.5, 1)
    assert told.delay == pytest.approx(0.2) and told.minutes == pytest.approx(3 * 0.6 / 60)
    assert told.false_per_minute == pytest.approx(1 / (1.8 / 60))


def test_time_that_nobody_watched_is_none():
    """Two parts of a recording of ten frames each, a minute apart, at 10 frames a second: two seconds, not a minute."""
    nothing = TrackedFrame(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros((0, 4)))
    false = TrackedFrame(nothing.target_ids, nothing.targets, np.array([1]), np.array([[0.0, 0, 4, 4]]))
    times = [*np.arange(10) / 10, *(60 + np.arange(10) / 10)]
    told = watch([[false] * 3 + [nothing] * 17], [times])
    assert told.minutes == pytest.approx(2 / 60) and told.false_per_minute == pytest.approx(30.0)
    # Frames that a camera lost, one in two of some, were watched all the same.
    lost = [0.0, 0.1, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9]
    assert watch([[nothing] * 8], [lost]).minutes == pytest.approx(1.0 / 60)
