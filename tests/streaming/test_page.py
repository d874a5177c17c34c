"""The page, asked over its own server."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError
from tdcnet.streaming.alarms import Alarms, Rule
from tdcnet.streaming.live import Live
from tdcnet.streaming.page.app import Page
from tdcnet.streaming.page.board import Board
from tdcnet.streaming.page.trial import Trial
from tests.streaming.conftest import moving
from tests.streaming.test_live import until

pytestmark = pytest.mark.filterwarnings("ignore::tdcnet.data.alignment.AlignmentWarning")
NAME = "<b>cam</b>"


class Served:
    def __init__(self, detector, host="127.0.0.1", token=None, upload=False):
        frames = moving(40)

        def camera():
            number = 0
            while not self.stop.is_set():
                time.sleep(0.02)
                yield frames[number % 40]
                number += 1

        self.stop = threading.Event()
        stream = detector.track(camera(), align=False, rate=30.0)
        stream.stream.source.name = NAME
        self.board = Board()
        self.live = Live(stream, Alarms([Rule(name="<i>near</i>")]), {}, self.board)
        trial = Trial(lambda path: detector.track(path, align=False)) if upload else None
        self.page = Page(self.live, self.board, host, 0, token, trial)
        self.page.start()
        self.thread = threading.Thread(target=self.live.run, daemon=True)
        self.thread.start()

    def ask(self, path, data=None, headers=None, host=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.page.port, timeout=10)
        try:
            given = dict(headers or {})
            if host:
                given["Host"] = host
            connection.request("GET" if data is None else "POST", path, data, given)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()

    def close(self):
        self.stop.set()
        self.live.stop()
        self.thread.join(5)
        self.page.close()


@pytest.fixture
def serve(detector):
    made = []

    def begin(**options):
        made.append(Served(detector, **options))
        return made[-1]

    yield begin
    for each in made:
        each.close()


def test_what_it_shows(serve):
    served = serve()
    for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
        status, body, headers = served.ask(path)
        assert status == 200 and headers["content-type"].startswith(kind) and len(body) > 500
        assert "default-src 'self'" in headers["content-security-policy"]
    assert until(lambda: served.live.figures().alarms >= 1)
    status, body, _ = served.ask("/alarms?known=0")
    first = json.loads(body)[-1]
    assert first["rule"] == "<i>near</i>" and first["alarm"] == 1, "told as it is: the page puts it in as text"
    status, body, headers = served.ask("/metrics")
    assert status == 200 and b"\ntdcnet_source_running 1.0" in body and b"tdcnet_latency_p99_seconds" in body
    assert b"# TYPE tdcnet_frames_total counter" in body and b"# TYPE tdcnet_tracks gauge" in body
    assert until(lambda: json.loads(served.ask("/health")[1])["rate"] > 0)
    assert served.ask("/health")[0] == 200
    assert served.ask("/none")[0] == 404
    assert "innerHTML" not in served.ask("/page.js")[1].decode()


def test_pictures_come_one_after_the_other_and_are_made_once_for_all(serve):
    served = serve()
    answers = [urllib.request.urlopen(f"http://127.0.0.1:{served.page.port}/video", timeout=5) for _ in range(3)]
    seen = []
    for answer in answers:
        text = b""
        while text.count(b"--frame") < 4:
            text += answer.read1(65536)
        first = text.split(b"\r\n\r\n", 1)[1].split(b"\r\n--frame")[0]
        seen.append(cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR))
    assert all(picture.shape == (512, 768, 3) for picture in seen)
    assert until(lambda: served.board.looking == 3)
    for answer in answers:
        answer.close()
    assert until(lambda: served.board.looking == 0)
    version = served.board.version
    time.sleep(0.3)
    assert served.board.version <= version + 1, "nobody looks: nothing is drawn"


def test_a_viewer_that_never_reads_holds_nothing_up(serve):
    served = serve()
    idle = socket.create_connection(("127.0.0.1", served.page.port))
    idle.sendall(b"GET /video HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert until(lambda: served.board.looking == 1)
    before = served.live.figures().frames
    time.sleep(0.5)
    assert served.live.figures().frames > before + 10
    idle.close()


def test_figures_come_as_events(serve):
    served = serve()
    with urllib.request.urlopen(f"http://127.0.0.1:{served.page.port}/events", timeout=5) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [answer.readline() for _ in range(4)]
    told = [json.loads(line.removeprefix(b"data: ")) for line in lines if line.strip()]
    assert len(told) == 2
    assert told[0]["source"] == NAME and told[0]["state"] in ("running", "waiting")


def test_the_least_score_is_set_by_the_page_alone(serve):
    served = serve()
    body = json.dumps({"least": 0.4}).encode()
    assert served.ask("/least", body)[0] == 403, "as a form of another site would"
    assert served.board.least == 0
    assert served.ask("/least", body, {"X-TDCNet": "1"})[0] == 200 and served.board.least == 0.4
    for wrong in (
        b"",
        b"{}",
        b'{"least": 2}',
        b'{"least": "x"}',
        b'{"least": NaN}',
        b"[" * 900,
        b" " * 5000,
        b'{"least": null}',
    ):
        assert served.ask("/least", wrong, {"X-TDCNet": "1"})[0] == 400, wrong
    assert served.board.least == 0.4


def test_another_sites_name_for_this_machine_is_refused(serve):
    served = serve()
    for path in ("/", "/video", "/alarms", "/events", "/metrics"):
        assert served.ask(path, host="evil.example")[0] == 403, path
    assert served.ask("/", host="localhost:1")[0] == 200


def test_other_machines_need_the_token(serve):
    served = serve(host="0.0.0.0", token="secret-token")
    assert served.page.address == f"http://127.0.0.1:{served.page.port}/?token=secret-token"
    for path in ("/", "/video", "/alarms", "/events", "/metrics", "/?token=secret", "/trial", "/page.js"):
        assert served.ask(path)[0] == 403, path
    assert served.ask("/health")[0] in (200, 503), "tells nothing"
    status, _, headers = served.ask("/?token=secret-token")
    assert status == 303 and headers["location"] == "/"
    cookie = headers["set-cookie"]
    assert "httponly" in cookie.lower() and "samesite=strict" in cookie.lower()
    assert served.ask("/", headers={"Cookie": cookie.split(";")[0]})[0] == 200
    assert served.ask("/metrics", headers={"Authorization": "Bearer secret-token"})[0] == 200
    assert len(serve(host="0.0.0.0").page.token) >= 20, "one is made"
    with pytest.raises(ValueError, match="fewer than 8"):
        serve(host="0.0.0.0", token="short")


def test_a_port_that_is_taken_is_told(serve, detector):
    port = serve().page.port
    board = Board()
    live = Live(detector.track(moving(2)), Alarms(), {}, board)
    with pytest.raises(DataError, match=f"cannot be served at 127.0.0.1:{port}: the port is taken"):
        Page(live, board, "127.0.0.1", port).start()
    live.stop(), live.stream.close(), board.close()


def test_a_video_is_looked_at(serve, tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (96, 64))
    for frame in moving(40):
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    served = serve(upload=True)
    given = {"X-TDCNet": "1"}
    assert served.ask("/trial", path.read_bytes())[0] == 403
    assert served.ask("/trial", path.read_bytes(), given)[0] == 200
    assert until(lambda: json.loads(served.ask("/trial")[1])["state"] == "done", 20)
    told = json.loads(served.ask("/trial")[1])
    assert told["frames"] == 40 and told["tracks"] == 1
    assert served.ask("/trial/video")[1][4:8] == b"ftyp"
    assert served.ask("/trial", b"no video at all", given)[0] == 200
    assert until(lambda: json.loads(served.ask("/trial")[1])["state"] == "failed")
    why = json.loads(served.ask("/trial")[1])["why"]
    assert why.startswith("the video: cannot be opened") and "/tmp" not in why
    assert served.ask("/trial/video")[0] == 404
    monkeypatch.setattr("tdcnet.streaming.page.app.MOST_BYTES", 1000)
    assert served.ask("/trial", path.read_bytes(), given)[0] == 413
    assert serve().ask("/trial", b"x", given)[0] == 404, "none are taken unless that is asked for"


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here; the page was not looked at")
@pytest.mark.parametrize(("name", "width"), [("wide", 1280), ("phone", 390)])
def test_it_works_in_a_browser(serve, tmp_path, name, width):
    served = serve()
    assert until(lambda: served.live.figures().alarms >= 1)
    picture = tmp_path / f"{name}.png"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000"]
    command += [f"--window-size={width},900", f"--screenshot={picture}", served.page.address]
    subprocess.run(command, timeout=60, check=True, capture_output=True)
    image = cv2.imread(str(picture))
    assert image is not None and image.shape[1] == width and image.std() > 5


def test_the_slider_hides_tracks_of_the_picture_and_no_alarm(serve):
    served = serve()
    served.board.least = 1.0
    painted = []
    paint = served.board._painter.paint
    served.board._painter.paint = lambda tracked: (painted.append(len(tracked.confirmed)), paint(tracked))[1]
    served.board.look(1)
    assert until(lambda: served.live.figures().tracks == 1 and served.live.figures().alarms >= 1)
    before = len(painted)
    assert until(lambda: len(painted) > before + 2) and not any(painted[before:])
    assert served.live.figures().tracks == 1
