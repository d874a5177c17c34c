"""Where the camera looked, frame by frame: one registration a frame, from which any two frames' is composed."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

KEY_EVERY = 30
"""Frames from one keyframe to the next, at most: errors do not grow with the distance, but what is seen of a scene does
change."""
FARTHEST = 0.25
"""Share of the shorter side that corners may have moved by; then the frame is the next keyframe."""
Matrix = NDArray[np.float64]
Image = TypeVar("Image")


class Pose(NamedTuple):
    """A frame's view, told by its keyframe.

    Attributes:
        key: position of the keyframe; its own for the first frame of a recording.
        to_key: float64 [3, 3], from the frame to the keyframe, pixel-centre coordinates in px.
        turns: whether the frame is the keyframe of those after it.
        matched: whether it could be registered onto one before it; the first has none.
    """

    key: int
    to_key: Matrix
    turns: bool
    matched: bool = True


class Camera(Generic[Image]):
    """The poses of a recording's frames, each found from the frames up to it.

    Every frame is registered onto one keyframe, so that one registration a frame is all, and two frames of the last
    seconds are at most a few apart: chained from neighbour to neighbour, errors add up and one bad link spoils what
    lies before it.

    Args:
        register: of one image onto another: the homography [3, 3], and why it is the identity if it had to be.
        shape: height and width of an image, px.
        key_every: frames from one keyframe to the next, at most.
    """

    def __init__(
        self,
        register: Callable[[Image, Image], tuple[NDArray[np.floating], str | None]],
        shape: Callable[[Image], tuple[int, int]] = attrgetter("shape"),
        key_every: int = KEY_EVERY,
    ) -> None:
        self.register, self.shape, self.key_every = register, shape, key_every
        self.poses: dict[int, Pose] = {}
        self._key: tuple[int, Image] | None = None
        self._last: tuple[int, Image] | None = None

    def cut(self) -> None:
        """Forgets the images: what comes shows another scene."""
        self._key = self._last = None

    def add(self, position: int, image: Image) -> Pose:
        """Finds the pose of the next frame.

        Args:
            position: after that of the frame before.
            image: as ``register`` takes it.
        """
        if self._key is None or self._last is None:
            pose = Pose(position, np.eye(3), True)
        else:
            key, reference = self._key
            found, cause = self.register(image, reference)
            matched = cause is None
            if matched:
                matrix = np.asarray(found, np.float64)
            else:  # the keyframe shows too little of what this one does, or both show too little
                before = self.poses[self._last[0]]
                matrix = np.eye(3)
                if not before.turns:
                    step, cause = self.register(image, self._last[1])
                    matched = cause is None
                    matrix = _normal(before.to_key @ np.asarray(step, np.float64))
            far = _moved(matrix, self.shape(image)) > FARTHEST * min(self.shape(image))
            pose = Pose(key, matrix, position - key >= self.key_every or far, matched)
        self.poses[position] = pose
        self._last = position, image
        if pose.turns:
            self._key = position, image
        return pose

    def forget(self, before: int) -> None:
        """Drops poses before a position, but for the keyframes that those after it are told by."""
        needed = {pose.key for position, pose in self.poses.items() if position >= before}
        for position in [each for each in self.poses if each < before and each not in needed]:
            del self.poses[position]

    def between(self, frame: int, newest: int) -> Matrix:
        """The homography from one frame to another, composed over the keyframes between them.

        Args:
            frame: position of the older one, which has not been forgotten.
            newest: position of the later one, of the same scene.

        Returns:
            float64 [3, 3] in pixel-centre coordinates; the identity for one and the same frame, and where one of them
            has no pose or lies beyond a cut.
        """
        if frame == newest or not {frame, newest} <= self.poses.keys():
            return np.eye(3)
        home = self.poses[frame]
        key, matrix = self.poses[newest][:2]
        while key > home.key:
            pose = self.poses[key]
            if pose.key == key:  # the first frame after a cut
                return np.eye(3)
            key, matrix = pose.key, pose.to_key @ matrix
        return _normal(np.linalg.inv(matrix) @ home.to_key)


def _normal(matrix: Matrix) -> Matrix:
    return matrix / matrix[2, 2]


def _moved(matrix: Matrix, shape: tuple[int, int]) -> float:
    """The largest way of a corner, px."""
    height, width = shape
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]], np.float64)
    moved = corners @ matrix.T
    return float(np.linalg.norm(moved[:, :2] / moved[:, 2:] - corners[:, :2], axis=1).max())
