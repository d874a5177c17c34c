"""Frames of a stream are made ready once, and registered as ever."""

from __future__ import annotations

import numpy as np
import pytest

from tdcnet.data.alignment import Aligner
from tdcnet.data.views import register_clip
from tdcnet.inference.clips import clips_of, evenly
from tdcnet.inference.registration import StreamAligner
from tests.inference.test_detector import scene


@pytest.mark.parametrize("most", [1, 3, 4, 50])
def test_a_stream_is_registered_as_frame_by_frame(most):
    class Counted(Aligner):
        def prepare(self, frame):
            prepared.append(id(frame))
            return super().prepare(frame)

    prepared = []
    plain, stream = Aligner(), StreamAligner(Counted(), most)
    frames = scene((64, 96), 10)
    moved = 0
    for clip in clips_of(iter(frames), evenly(3, 2)):
        expected = register_clip(clip.images, plain)
        assert np.array_equal(register_clip(clip.images, stream), expected)
        moved += not np.array_equal(expected[0], np.eye(3))
    assert moved > 5
    assert (len(prepared) == 10) == (most >= 4), "as long as the older frames of a clip are remembered"
