"""Targets that move, stand, vanish and cross, in clutter and under a camera that moves."""

from __future__ import annotations

import numpy as np
import pytest

from tdcnet.inference.found import Found
from tdcnet.tracking.evidence import Evidence
from tdcnet.tracking.tracker import Tracker, TrackerOptions

SIZE = (256, 320)


def found(index, spots, rate=30.0):
    """Spots are x, y of the centre in px edges, score and perhaps a label."""
    boxes = np.array([[x - 3, y - 2, x + 3, y + 2] for x, y, *_ in spots], np.float32).reshape(-1, 4)
    scores = np.array([spot[2] for spot in spots], np.float32)
    labels = np.array([spot[3] if len(spot) > 3 else 0 for spot in spots], np.int64)
    return Found(boxes, scores, labels, ("drone", "bird"), index, index / rate, SIZE)


def confirmed(points):
    return [point for point in points if point.state != "tentative"]


def run(tracker, frames, since=None, start=0):
    return [tracker.add(found(start + t, spots), since) for t, spots in enumerate(frames)]


def test_a_target_keeps_its_id_and_its_velocity_is_told():
    told = run(Tracker(), [[(50 + 2 * t, 60 + t, 0.7)] for t in range(40)])
    assert {point.id for points in told for point in points} == {1}
    (last,) = told[-1]
    assert last.state == "confirmed" and last.hits == 40 and last.detection == 0
    np.testing.assert_allclose(last.velocity, [60, 30], atol=3)
    np.testing.assert_allclose(last.box, [50 + 78 - 3, 60 + 39 - 2, 50 + 78 + 3, 60 + 39 + 2], atol=0.5)
    assert last.age == pytest.approx(39 / 30) and 0.65 < last.score < 0.75
    first = next(t for t, points in enumerate(told) if confirmed(points))
    assert first <= 3, "within a tenth of a second"


def test_weak_detections_that_move_as_a_target_does_become_one_and_those_that_do_not_stay_none():
    rng = np.random.default_rng(0)
    tracker = Tracker(evidence=Evidence(threshold=0.4))
    ids = []
    for t in range(60):
        noise = [(*rng.uniform(5, 250, 2), 0.08) for _ in range(2)]
        spots = [*noise, (40 + 1.5 * t, 100 + 0.4 * t, 0.12)] if t % 4 else noise  # one frame of four without
        ids += [(point.id, point.box) for point in confirmed(tracker.add(found(t, spots)))]
    assert len({i for i, _ in ids}) == 1 and len(ids) > 30
    x, y = ids[-1][1][:2] + np.array([3, 2])
    assert np.hypot(x - (40 + 1.5 * 59), y - (100 + 0.4 * 59)) < 2


def test_one_strong_detection_is_no_track_yet():
    tracker = Tracker()
    assert not confirmed(tracker.add(found(0, [(50, 50, 0.99)])))
    assert len(tracker.add(found(1, []))) == 1, "tentative"
    assert not tracker.add(found(20, [])), "and gone"


def test_a_target_that_was_out_of_sight_is_the_same_one_again():
    path = [[(50 + 3 * t, 80, 0.7)] if not 20 <= t < 40 else [] for t in range(60)]
    told = run(Tracker(), path)
    assert all(points[0].state == "coasting" for points in told[20:40]), "it is told where it is expected"
    assert abs(told[39][0].box[0] + 3 - (50 + 3 * 39)) < 6
    assert {point.id for points in told for point in points} == {1}
    np.testing.assert_allclose(told[45][0].velocity, [90, 0], atol=8)
    gone = run(Tracker(TrackerOptions(coast=0.2)), path)
    assert {point.id for point in gone[-1]} == {2}, "after longer than it may coast another one"


def test_after_a_gap_velocity_is_that_of_the_gap_not_of_the_jump():
    """A target that turned while it was hidden: the straight line over the gap, not a kick at its end."""
    path = [[(50 + 3 * t, 80, 0.7)] for t in range(20)] + [[]] * 15
    path += [[(50 + 3 * 19 + 1.0 * (t + 1), 80 + 1.0 * (t + 1), 0.7)] for t in range(15, 25)]
    tracker = Tracker(TrackerOptions(acceleration=200.0))
    velocities = [points[0].velocity for points in run(tracker, path) if points and points[0].state == "confirmed"]
    np.testing.assert_allclose(velocities[-1], [30, 30], atol=12)


def test_tracks_move_with_the_scene():
    """The camera pans by 5 px a frame, so a target of 1 px a frame jumps by 4 in the other direction."""
    since = np.array([[1, 0, -5.0], [0, 1, 0], [0, 0, 1]])
    told = run(Tracker(), [[(300 - 4 * t, 60, 0.7)] for t in range(30)], since)
    assert {point.id for points in told for point in points} == {1}
    np.testing.assert_allclose(told[-1][0].velocity, [30, 0], atol=3, err_msg="against the scene")


def test_two_that_cross_keep_their_ids():
    frames = [[(60 + 2 * t, 100 + t, 0.7), (180 - 2 * t, 101 + t, 0.7)] for t in range(60)]
    told = run(Tracker(), frames)
    by_id = {}
    for points in told[10:]:
        for point in points:
            by_id.setdefault(point.id, []).append((point.box[0] + point.box[2]) / 2)
    assert sorted(by_id) == [1, 2]
    ways = sorted(path[-1] - path[0] for path in by_id.values())
    assert ways[0] < -80 and ways[1] > 80


def test_a_strong_detection_is_dealt_out_before_a_weak_one():
    tracker = Tracker(TrackerOptions(strong=0.5))
    run(tracker, [[(50 + t, 50, 0.7)] for t in range(20)])
    (points,) = run(tracker, [[(70.4, 50, 0.1), (71.2, 50, 0.7)]], start=20)
    assert points[0].detection == 1


def test_what_stands_and_is_never_confirmed_is_held_down_after_a_while():
    held = Tracker(TrackerOptions(clutter=1.0))
    free = Tracker(TrackerOptions(clutter=0.0))
    spot = (100.0, 100.0, 0.06)
    for t in range(200):
        spots = [spot] if t % 25 == 0 else []  # too seldom to be a track
        held.add(found(t, spots)), free.add(found(t, spots))
    assert held.clutter.at(np.array([[99.5, 99.5]]))[0] > 1
    before, after = (each.add(found(200, [spot]))[0].hits for each in (free, held))
    assert before == after == 1
    assert held._tracks[0].evidence < free._tracks[0].evidence - 1


def test_a_class_is_that_of_most_detections():
    told = run(Tracker(), [[(50 + t, 50, 0.6, int(t % 4 == 0))] for t in range(20)])
    assert told[0][0].label == 1 and told[-1][0].label == 0


def test_ids_are_not_given_twice_and_another_scene_begins_anew():
    tracker = Tracker()
    run(tracker, [[(50 + t, 50, 0.7)] for t in range(10)])
    tracker.restart()
    told = run(tracker, [[(60 + t, 50, 0.7)] for t in range(10)], start=10)
    assert {point.id for points in told for point in points} == {2}


def test_what_leaves_the_frame_ends():
    told = run(Tracker(), [[(300 + 4 * t, 60, 0.7)] if 300 + 4 * t < 319 else [] for t in range(10)])
    assert told[-1] == []


def test_frames_that_were_dropped_do_not_matter():
    """Every third frame of a target of 2 px a frame, with its times."""
    tracker = Tracker()
    told = [tracker.add(found(t, [(50 + 2 * t, 60, 0.7)])) for t in range(0, 60, 3)]
    assert {point.id for points in told for point in points} == {1}
    np.testing.assert_allclose(told[-1][0].velocity, [60, 0], atol=3)


@pytest.mark.parametrize(
    "wrong", [{"gate": 0}, {"weak": 1.5}, {"hits": 0}, {"confirm": 31.0}, {"coast": float("nan")}, {"fuse": -1}]
)
def test_options_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrackerOptions(**wrong)


def test_what_stays_on_the_sensor_while_the_scene_moves_is_dirt():
    """A dead pixel under a camera that pans by 2 px a frame, beside a target; then the camera stands."""
    pan = np.array([[1, 0, -2.0], [0, 1, 0], [0, 0, 1]])
    tracker, kept = Tracker(), Tracker(TrackerOptions(dirt=False))
    for t in range(90):
        spots = [(200, 90, 0.7), (40 + 1.5 * t, 160, 0.7)]
        since = pan if t < 45 else None
        told = confirmed(tracker.add(found(t, spots), since))
        other = confirmed(kept.add(found(t, spots), since))
        if t >= 30:
            assert [point.box[1] for point in told] == pytest.approx([158], abs=1), t
            assert len(other) == 2
    assert told[0].detection == 1, "counted among all detections of the frame"
    gone = Tracker()
    for t in range(60):
        held = confirmed(gone.add(found(t, [(200 + 3 * np.sin(t / 4), 90, 0.7)]), pan))
    assert len(held) == 1, "a target that a camera follows moves on the sensor, too"


def test_a_track_that_has_moved_is_surer():
    by_way = TrackerOptions(moved=0.2)
    still = run(Tracker(by_way), [[(50, 60, 0.6)] for _ in range(60)])[-1][0]
    moving = run(Tracker(by_way), [[(50 + t, 60, 0.6)] for t in range(60)])[-1][0]
    assert moving.score > 0.6 > still.score
    alike = [run(Tracker(), [[(50 + v * t, 60, 0.6)] for t in range(60)])[-1][0] for v in (0, 1)]
    assert alike[0].score == pytest.approx(alike[1].score, abs=1e-6) == pytest.approx(0.6, abs=1e-3)
