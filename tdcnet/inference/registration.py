"""Registration of a stream's frames, each of which is made ready once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.alignment import Aligner, Prepared
from tdcnet.data.transforms import Image


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
