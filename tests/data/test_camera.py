"""Poses by one registration a frame, against the camera's true motion."""

from __future__ import annotations

import numpy as np
import pytest

from tdcnet.data.alignment import Aligner
from tdcnet.data.camera import Camera
from tdcnet.data.homographies import HomographyStore, align_sequences
from tdcnet.data.synthetic import SyntheticConfig, generate_clip
from tdcnet.inference.clips import ClipStream, evenly
from tests.data.test_homographies import STEP, sequence


def truth(frame: int) -> np.ndarray:
    """Frame -> world of a camera that pans, rolls and zooms."""
    angle, scale = 0.004 * frame, 1.0 + 0.002 * frame
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, 1.5 * frame], [s, c, 0.7 * np.sin(frame)], [1e-6 * frame, 0, 1.0]])


class Exact:
    """Registers frames, which are numbers, without an error; some of them onto none."""

    def __init__(self, blind: tuple[int, ...] = ()) -> None:
        self.blind, self.calls = blind, 0

    def __call__(self, frame: int, key: int):
        self.calls += 1
        if frame in self.blind:
            return np.eye(3), "nothing matches"
        found = np.linalg.inv(truth(key)) @ truth(frame)
        return found / found[2, 2], None


def camera_of(register, count: int, key_every: int = 7, shape=(200, 300)) -> Camera[int]:
    camera: Camera[int] = Camera(register, lambda image: shape, key_every)
    for frame in range(count):
        camera.add(frame, frame)
    return camera


def test_any_two_frames_are_told_by_one_registration_each():
    register = Exact()
    camera = camera_of(register, 40)
    assert register.calls == 39
    for newest in range(40):
        for frame in range(newest + 1):
            expected = np.linalg.inv(truth(newest)) @ truth(frame)
            np.testing.assert_allclose(camera.between(frame, newest), expected / expected[2, 2], atol=1e-9)
    assert {p for p, pose in camera.poses.items() if pose.turns} == {0, 7, 14, 21, 28, 35}


def test_a_keyframe_gives_way_where_the_camera_moves_far():
    camera = camera_of(Exact(), 40, key_every=1000, shape=(40, 60))
    turns = [p for p, pose in camera.poses.items() if pose.turns]
    corners = np.array([[0, 0, 1], [59, 0, 1], [0, 39, 1], [59, 39, 1.0]])
    expected_turns = [0]
    for frame in range(1, 40):
        seen = corners @ (np.linalg.inv(truth(expected_turns[-1])) @ truth(frame)).T
        if np.hypot(*(seen[:, :2] / seen[:, 2:] - corners[:, :2]).T).max() > 10:  # a quarter of 40 px
            expected_turns.append(frame)
    assert turns == expected_turns and len(turns) > 3
    expected = np.linalg.inv(truth(39)) @ truth(2)
    np.testing.assert_allclose(camera.between(2, 39), expected / expected[2, 2], atol=1e-9)


def test_a_frame_that_matches_nothing_is_taken_for_the_last_ones_view():
    camera = camera_of(Exact(blind=(5, 8, 10)), 20)
    np.testing.assert_allclose(camera.between(7, 8), np.eye(3), atol=1e-12)  # 7 is a keyframe
    np.testing.assert_allclose(camera.between(4, 5), np.eye(3), atol=1e-12)
    np.testing.assert_allclose(camera.between(9, 10), np.eye(3), atol=1e-12)
    for frame, newest in ((4, 6), (3, 12), (9, 19)):  # and spoils none of the others
        expected = np.linalg.inv(truth(newest)) @ truth(frame)
        np.testing.assert_allclose(camera.between(frame, newest), expected / expected[2, 2], atol=1e-9)


def test_what_the_keyframe_does_not_show_is_registered_onto_the_last_frame():
    class Near(Exact):
        def __call__(self, frame: int, key: int):
            far = frame - key > 3
            return (np.eye(3), "too far") if far else super().__call__(frame, key)

    camera = camera_of(Near(), 30, key_every=1000, shape=(2000, 3000))
    assert not any(pose.turns for pose in list(camera.poses.values())[1:])
    expected = np.linalg.inv(truth(29)) @ truth(0)
    np.testing.assert_allclose(camera.between(0, 29), expected / expected[2, 2], atol=1e-9)


def test_cuts_and_what_is_forgotten():
    camera: Camera[int] = Camera(Exact(), lambda image: (200, 300), 7)
    for frame in range(30):
        if frame == 12:
            camera.cut()
        camera.add(frame, frame)
    assert camera.poses[12].key == 12 and camera.poses[13].key == 12
    np.testing.assert_array_equal(camera.between(11, 12), np.eye(3))  # another scene, and no search without end
    np.testing.assert_array_equal(camera.between(3, 29), np.eye(3))
    camera.forget(20)
    assert sorted(camera.poses) == [19, *range(20, 30)], "19 is the keyframe of those after it"
    expected = np.linalg.inv(truth(29)) @ truth(20)
    np.testing.assert_allclose(camera.between(20, 29), expected / expected[2, 2], atol=1e-9)
    np.testing.assert_array_equal(camera.between(3, 29), np.eye(3))


def test_long_distances_are_as_exact_as_short_ones():
    """Made-up clips with a moving camera: corners of half the frame, over 60 frames."""
    aligner = Aligner()
    points = np.array([[80, 64, 1], [240, 64, 1], [80, 192, 1], [240, 192, 1]], float)

    def project(matrix):
        moved = points @ np.asarray(matrix, float).T
        return moved[:, :2] / moved[:, 2:]

    errors = []
    for seed in range(3):
        clip = generate_clip(SyntheticConfig(height=256, width=320, frames=80, static_fraction=0.0), seed)
        camera = Camera(aligner.register, lambda ready: ready.shape)
        for position, frame in enumerate(clip.frames):
            camera.add(position, aligner.prepare(frame))
        for distance in (20, 40, 60):
            way = project(camera.between(79 - distance, 79)) - project(clip.homography(79 - distance, 79))
            errors.append(np.linalg.norm(way, axis=1).mean())
    assert np.median(errors) < 0.15, errors


@pytest.mark.parametrize("processes", [1, 2])
def test_stored_homographies_are_those_of_a_stream(tmp_path, processes):
    """Ahead of training and frame by frame: the same numbers; with a bad frame and a cut in between."""
    made = sequence(count=24, bad=(9,), cut=4, indices=[6, 8, 15, 23])
    aligner = Aligner("translation", "keyframes")
    store = HomographyStore(tmp_path, 4, 3, aligner.tag)
    summary = align_sequences([made], store, aligner, processes=processes, progress=False)
    assert summary.pairs == 20 - 1 - 1 and summary.skipped == 1 and len(summary.problems) == 1, "from the cut on"
    stream = ClipStream(lambda newest: (made.clip_indices(newest, 4, 3), True), aligner)
    clips = [stream.add(None if position == 9 else made.frames.read(position)) for position in range(24)]
    found = {clip.newest: clip.homographies for clip in clips if clip is not None}
    for newest in (6, 8, 23):
        np.testing.assert_array_equal(store.get(made, newest), found[newest])
    way = store.get(made, 23)[0] @ np.array([10, 10, 1.0])
    np.testing.assert_allclose(way[:2] / way[2] - 10, np.array(STEP) * 9, atol=0.1)
    assert store.load(made)[15, 1] == pytest.approx(np.eye(3)), "frame 9 cannot be read"
    assert HomographyStore(tmp_path, 4, 3, Aligner("translation").tag).load(made) is None, "those of pairs are others"


def test_a_long_pause_is_a_cut_in_both(tmp_path):
    """Frames with times of their own: after ten seconds nothing before counts."""
    made = sequence(count=16)
    made.frames.times = np.array([*range(8), *range(17, 25)], float)
    aligner = Aligner("translation", "keyframes")
    store = HomographyStore(tmp_path, 3, 1, aligner.tag)
    align_sequences([made], store, aligner, processes=1, progress=False)
    stream = ClipStream(lambda newest: (made.clip_indices(newest, 3, 1), True), aligner)
    for position in range(16):
        clip = stream.add(made.frames.read(position))
        np.testing.assert_array_equal(store.get(made, position), clip.homographies)
    assert made.clip_indices(8, 3, 1) == [8, 8, 8] and stream._camera.poses[15].key == 8


def test_a_stream_keeps_what_its_clips_reach_only():
    stream = ClipStream(evenly(3, 2), Aligner("translation"))
    for frame in [sequence(count=60).frames.read(i) for i in range(40)]:
        stream.add(frame)
        assert len(stream._camera.poses) <= 4 + 3
