"""A camera of the network that speaks RTSP: its frames and times, its password, and its end."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tdcnet.data.errors import DataError
from tdcnet.streaming.alarms import Alarms, Rule
from tdcnet.streaming.live import Live
from tdcnet.streaming.readers import AddressReader, CameraOptions
from tests.streaming.conftest import moving
from tests.streaming.rtsp import RtspCamera
from tests.streaming.test_live import until

FAST = CameraOptions(open_s=5, read_s=2)


@pytest.fixture
def rtsp():
    made = RtspCamera(moving(40))
    yield made
    made.close()


def test_frames_come_as_they_were_sent_with_their_times(rtsp):
    reader = AddressReader(rtsp.address(), FAST)
    pictures = [reader.read() for _ in range(45)]
    reader.close()
    bright = np.array([divmod(int(each.image.argmax()), 96)[1] for each in pictures])
    expected = (8 + 1.5 * (np.arange(90) % 40)).astype(int)
    assert min(np.abs(bright - expected[first : first + 45]).max() for first in range(40)) <= 3, "in order, and all"
    np.testing.assert_allclose(np.diff([each.time for each in pictures]), 1 / 30, atol=2e-3)
    assert reader.name == f"rtsp://127.0.0.1:{rtsp.port}/live"


def test_a_wrong_password_is_told_and_not_shown(rtsp):
    with pytest.raises(DataError, match="name or password are not accepted") as error:
        AddressReader(rtsp.address(password="s3crets"), FAST)
    assert "s3cret" not in str(error.value)


def test_it_is_watched_and_comes_back(rtsp, detector):
    stream = detector.track(rtsp.address(), align=False, camera=FAST)
    stream.stream.source._pauses = (0.1,)
    live = Live(stream, Alarms([Rule()]))
    thread = threading.Thread(target=live.run, daemon=True)
    thread.start()
    assert until(lambda: live.figures().tracks == 1, 10)
    rtsp.broken.set()
    assert until(lambda: live.figures().state == "lost")
    rtsp.broken.clear()
    assert until(lambda: live.figures().restored == 1 and live.figures().state == "running", 10)
    live.stop()
    thread.join(5)
    assert not thread.is_alive()
