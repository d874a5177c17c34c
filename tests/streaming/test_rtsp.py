"""A camera of the network that speaks RTSP: its frames and times, its password, and its end."""

from __future__ import annotations

import itertools
import shutil
import subprocess
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


GSTREAMER = """
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server, factory = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
server.set_address("127.0.0.1"); server.set_service("0")
factory.set_launch("( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=256,framerate=25/1 "
                   "! x264enc tune=zerolatency key-int-max=25 ! rtph264pay name=pay0 pt=96 )")
factory.set_shared(True)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""
"""For the system's Python: on Debian python3-gi, gir1.2-gst-rtsp-server-1.0 and gstreamer1.0-plugins-good and -ugly."""


@pytest.fixture
def gstreamer():
    python = shutil.which("python3", path="/usr/bin") or "python3"
    server = subprocess.Popen([python, "-c", GSTREAMER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    port = server.stdout.readline().strip()
    if not port:
        pytest.skip(f"no RTSP server of GStreamer here: {server.communicate()[1].strip().splitlines()[-1]}")
    yield f"rtsp://127.0.0.1:{port}/live"
    server.kill()
    server.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_server_of_gstreamer(gstreamer, detector, transport):
    with detector.track(gstreamer, align=False, policy="every", camera=CameraOptions(transport=transport)) as stream:
        seen = list(itertools.islice(stream, 50))
    assert all(each.frame.image.shape == (256, 320) for each in seen)
    times = np.array([each.frame.time for each in seen])
    assert (np.diff(times) > 0).all() and np.median(np.diff(times)) == pytest.approx(0.04, abs=0.02)
