"""Registration of a stream's frames, each of which is made ready once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.alignment import Aligner, Prepared
from tdcnet.data.camera import Camera
from tdcnet.data.transforms import Image
from tdcnet.data.views import register_clip
from tdcnet.inference.clips import Clip, Reach


class Registration(Protocol):
    """Gives a recording's clips their homographies."""

    def watch(self, images: Iterable[Image | None], reach: Reach) -> Iterator[Image | None]:
        """The images, each looked at as it comes."""
        ...

    def of(self, clip: Clip) -> NDArray[np.float32]:
        """Homographies [T, 3, 3] of each frame of a clip onto the newest, pixel-centre coordinates."""
        ...


def registration(aligner: Aligner, span: int) -> Registration:
    """What registers as data sets are for this aligner.

    Args:
        aligner: what registers, and by what.
        span: frames from the oldest of a clip to the newest, both counted.
    """
    return ByKeyframes(aligner) if aligner.by == "keyframes" else ByPairs(aligner, span)


class ByPairs:
    """Each frame of a clip and its newest."""

    def __init__(self, aligner: Aligner, span: int) -> None:
        self._register = StreamAligner(aligner, span)

    def watch(self, images: Iterable[Image | None], reach: Reach) -> Iterator[Image | None]:
        """The images."""
        return iter(images)

    def of(self, clip: Clip) -> NDArray[np.float32]:
        """As :func:`~tdcnet.data.views.register_clip`."""
        return register_clip(clip.images, self._register)


class ByKeyframes:
    """Each frame and a keyframe before it, from which clips are composed."""

    def __init__(self, aligner: Aligner) -> None:
        self._aligner = aligner
        self._camera: Camera[Prepared] = Camera(aligner.register)

    def watch(self, images: Iterable[Image | None], reach: Reach) -> Iterator[Image | None]:
        """The images, each registered."""
        for position, image in enumerate(images):
            if image is not None:
                if reach(position)[0][0] == position:  # nothing before it counts
                    self._camera.cut()
                self._camera.add(position, self._aligner.prepare(image))
            yield image

    def of(self, clip: Clip) -> NDArray[np.float32]:
        """Composed ones."""
        found = [self._camera.between(position, clip.newest) for position in clip.positions]
        self._camera.forget(clip.positions[0])
        return np.stack(found).astype(np.float32)


class StreamAligner:
    """``aligner`` for frames that come again and again, first as the newest of a clip and then as an older one.

    Args:
        aligner: what registers.
        most: frames that are remembered; those that a clip spans are enough.
    """

    def __init__(self, aligner: Aligner, most: int) -> None:
        self.aligner, self.most = aligner, most
        self._ready: dict[int, tuple[Image, Prepared]] = {}

    def __call__(self, frame: Image, newest: Image) -> NDArray[np.float32]:
        """As the aligner's."""
        return self.aligner.between(self._prepared(frame), self._prepared(newest))

    def _prepared(self, image: Image) -> Prepared:
        kept = self._ready.get(id(image))
        if kept is None or kept[0] is not image:
            kept = image, self.aligner.prepare(image)  # the image is kept, so that no other gets its id
            self._ready[id(image)] = kept
            while len(self._ready) > self.most:
                del self._ready[next(iter(self._ready))]  # the oldest, which no later clip reaches
        return kept[1]
