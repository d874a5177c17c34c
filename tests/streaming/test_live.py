"""What is watched, and where it goes: files that can be read however it ends, alarms, streams that fail."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import av
import cv2
import numpy as np
import pytest

from tdcnet.data.errors import DataError
from tdcnet.streaming import rows
from tdcnet.streaming.alarms import Alarm, Alarms, Rule
from tdcnet.streaming.live import Live
from tdcnet.streaming.readers import CameraOptions
from tdcnet.streaming.sinks.files import Csv, JsonLines, Mot
from tdcnet.streaming.sinks.post import Post
from tdcnet.streaming.sinks.video import Segments, Snapshots
from tdcnet.tracking.tracker import TrackPoint
from tests.streaming.conftest import moving

pytestmark = pytest.mark.filterwarnings("ignore::tdcnet.data.alignment.AlignmentWarning")


def watch(detector, source, sinks=None, rules=None, **options):
    return Live(detector.track(source, align=False, **options), Alarms(rules or [Rule()]), sinks)


def test_a_spot_is_tracked_told_and_written(detector, tmp_path):
    sinks = {
        "json": JsonLines(tmp_path / "a.jsonl"),
        "csv": Csv(tmp_path / "a.csv"),
        "mot": Mot(tmp_path / "a.txt"),
        "video": Segments(tmp_path / "video", seconds=1e9),
        "pictures": Snapshots(tmp_path / "pictures"),
    }
    figures = watch(detector, moving(40), sinks, rate=30.0).run()
    assert (figures.frames, figures.tracks, figures.alarms, figures.state) == (40, 1, 1, "ended")
    assert figures.latency[0] <= figures.latency[2] and "40 frames" in figures.text()
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert len(lines) >= 35 and {track["id"] for line in lines for track in line["tracks"]} == {1}
    (alarm,) = [each for line in lines for each in line.get("alarms", ())]
    assert alarm["rule"] == "target" and alarm["label"] == "drone" and alarm["frame"] == lines[0]["frame"]
    last = lines[-1]["tracks"][0]
    x = (last["box"][0] + last["box"][2]) / 2
    assert abs(x - (8 + 1.5 * 39)) < 1.5
    with (tmp_path / "a.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(lines) and tuple(table[0]) == rows.COLUMNS and table[-1]["frame"] == "39"
    mot = [line.split(",") for line in (tmp_path / "a.txt").read_text().splitlines()]
    assert mot[-1][:2] == ["40", "1"] and float(mot[-1][2]) == pytest.approx(last["box"][0] + 1, abs=0.02)
    (video,) = sinks["video"].files
    with av.open(str(video)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 40 and pictures[0].shape == (512, 768, 3)
    assert (np.abs(pictures[-1].astype(int) - np.array([255, 150, 40])).sum(-1) < 120).any(), "a track is drawn"
    (picture,) = (tmp_path / "pictures").iterdir()
    assert re.fullmatch(r"frames_\d{8}_\d{6}_000001_target\.jpg", picture.name)
    assert cv2.imread(str(picture)).shape == (512, 768, 3)


def test_a_video_can_be_read_before_it_is_ended(detector, tmp_path):
    """As after kill -9: nothing is closed, and all but the last second is there."""
    sink = Segments(tmp_path, rate=10.0, seconds=1e9)
    for tracked in detector.track(moving(40), rate=10.0, align=False):
        sink.add(tracked, ())
    (video,) = sink.files
    with av.open(str(video)) as container:
        count = sum(1 for _ in container.decode(video=0))
    assert 30 <= count <= 40
    sink.close()


def test_video_comes_in_segments_and_around_alarms_only(detector, tmp_path):
    every = Segments(tmp_path / "every", rate=30.0, seconds=0.5)
    around = Segments(tmp_path / "around", rate=30.0, alarms_only=True, before=0.2, after=0.3, seconds=100)
    kept = Segments(tmp_path / "kept", rate=30.0, seconds=0.3, keep=2)
    rule = Rule(seconds=0.8)
    watch(detector, moving(60), {"a": every, "b": around, "c": kept}, [rule], rate=30.0).run()
    assert len(every.files) == 4 and len({path.name for path in every.files}) == 4
    (file,) = around.files
    with av.open(str(file)) as container:
        assert 13 <= sum(1 for _ in container.decode(video=0)) <= 18
    assert sorted((tmp_path / "kept").iterdir()) == sorted(kept.files)[-2:]


def test_a_disk_that_is_full_ends_no_watching(detector, tmp_path, caplog):
    class Full:
        def __init__(self):
            self.taken = 0

        def add(self, tracked, alarms):
            self.taken += 1
            if 10 <= self.taken < 20:
                raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    caplog.set_level("INFO")
    full = Full()
    assert watch(detector, moving(40), {"clip.csv": full}).run().frames == 40
    assert full.taken == 40
    assert caplog.text.count("clip.csv: cannot be written (No space left on device)") == 1
    assert caplog.text.count("clip.csv: is written again") == 1


# -- alarms ------------------------------------------------------------------------------------------------------------


def point(**given):
    usual = dict(id=1, box=np.array([10, 10, 20, 20], np.float32), score=0.6, label=0, state="confirmed")
    usual |= dict(velocity=(30.0, 40.0), age=2.0, hits=9, detection=0)
    return TrackPoint(**(usual | given))


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ({}, True),
        ({"score": 0.7}, False),
        ({"seconds": 2.5}, False),
        ({"speed": 50}, True),
        ({"speed": 51}, False),
        ({"classes": ["drone"]}, True),
        ({"classes": ["bird"]}, False),
        ({"inside": [[0, 0], [30, 0], [30, 30], [0, 30]]}, True),
        ({"inside": [[0, 0], [30, 0], [0, 14]]}, False),
    ],
)
def test_rules(rule, kept):
    assert Rule(**rule).keeps(point(), "drone") is kept
    assert not Rule(**rule).keeps(point(state="tentative"), "drone")
    assert not Rule(**rule).keeps(point(state="coasting"), "drone")


@pytest.mark.parametrize(
    "wrong", [{"score": 2}, {"inside": [[0, 0], [1, 1]]}, {"inside": [[0, 0], [1, 1], [2]]}, {"repeat": -1}]
)
def test_rules_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Rule(**wrong)


def test_an_alarm_is_told_once_or_as_often_as_asked(detector):
    def count(rule):
        class Slow:
            name, live, state, dropped, rate = "cam", False, "running", 0, 30.0

            def frames(self):
                from tdcnet.streaming.frames import LiveFrame

                for index, image in enumerate(moving(40)):
                    yield LiveFrame(image, image, index, index / 30, index / 30, "cam")

            def close(self):
                pass

        return watch(detector, Slow(), rules=[rule]).run().alarms

    assert count(Rule()) == 1 and count(Rule(repeat=0.5)) == 3 and count(Rule(repeat=0.0, quiet=1.0)) == 2
    assert count(Rule(score=0.9999)) == 0


# -- posting -----------------------------------------------------------------------------------------------------------


class Receiver:
    def __init__(self, answers):
        self.got, self.headers = [], []
        receiver, left = self, list(answers)

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *given):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = left.pop(0) if left else 200
                receiver.headers.append(dict(self.headers))
                if answer == 200:
                    receiver.got.append(json.loads(body))
                self.send_response(answer)
                if answer == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://user:s3cret@127.0.0.1:{self.server.server_port}/x?key=s3cret"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def alarm(number):
    return Alarm(number, "r", point(), "drone", 5, 0.5, "cam", 1.7e9)


def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_alarms_are_sent_in_order_and_again_where_they_were_not_taken(caplog):
    receiver = Receiver([500, 302, 200, 400, 200])
    post = Post(
        receiver.address.replace("user:s3cret@", ""), pauses=(0.01,), headers={"Authorization": "Bearer s3cret"}
    )
    post.add(None, [alarm(1), alarm(2)])
    post.add(None, [alarm(3)])
    assert until(lambda: post.sent == 2)
    assert [each["alarm"] for each in receiver.got] == [1, 3], "2 was refused for good"
    assert receiver.got[0]["box"] == [10, 10, 20, 20] and receiver.headers[0]["Authorization"] == "Bearer s3cret"
    post.close()
    receiver.close()
    assert "s3cret" not in caplog.text and "takes no alarm (answers 500)" in caplog.text


def test_what_cannot_be_sent_waits_within_bounds(caplog):
    post = Post("http://127.0.0.1:9/x", most=3, pauses=(0.01,))
    post.add(None, [alarm(i) for i in range(8)])
    assert post.dropped >= 4 and len(post._waiting) <= 3
    post.close(1.0)
    assert caplog.text.count("it is tried again") == 1
    with pytest.raises(DataError, match="begins with http"):
        Post("ftp://user:pass@host/")


# -- a camera of the network -------------------------------------------------------------------------------------------

FAST = CameraOptions(open_s=2, read_s=1)


def test_a_stream_is_watched_and_comes_back_when_it_is_cut(detector, camera, caplog):
    caplog.set_level("INFO")
    live = watch(detector, camera.address, camera=FAST)
    live.stream.stream.source._pauses = (0.05,)
    thread = threading.Thread(target=live.run, daemon=True)
    thread.start()
    assert until(lambda: live.figures().tracks == 1 and live.figures().frames > 5)
    for count in (1, 2):
        camera.broken.set()
        assert until(lambda: live.figures().state == "lost")
        camera.broken.clear()
        assert until(lambda count=count: live.figures().restored == count and live.figures().state == "running")
    live.stop()
    thread.join(5)
    assert not thread.is_alive() and live.figures().state == "ended"
    assert "s3cret" not in caplog.text and caplog.text.count("frames come again") == 2


def test_a_stream_that_falls_silent_is_opened_again(detector, camera):
    live = watch(detector, camera.address, camera=FAST)
    live.stream.stream.source._pauses = (0.05,)
    thread = threading.Thread(target=live.run, daemon=True)
    thread.start()
    assert until(lambda: live.figures().frames > 5)
    camera.silent.set()
    assert until(lambda: live.figures().state == "lost", 8)
    camera.silent.clear()
    assert until(lambda: live.figures().restored == 1, 8)
    live.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_torn_pictures_are_passed_over(detector, camera):
    camera.torn = True
    live = watch(detector, camera.address, camera=FAST)
    thread = threading.Thread(target=live.run, daemon=True)
    thread.start()
    assert until(lambda: live.figures().frames > 20)
    assert live.figures().state == "running"
    live.stop()
    thread.join(5)


# -- restarts ----------------------------------------------------------------------------------------------------------


def test_lines_tell_when_and_a_restart_loses_none(detector, tmp_path):
    before = datetime.now(UTC)
    for _ in range(2):
        sinks = {"json": JsonLines(tmp_path / "a.jsonl", at=True), "mot": Mot(tmp_path / "a.txt", keep=True)}
        watch(detector, moving(20), sinks=sinks).run()
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    told = [datetime.fromisoformat(line["at"]) for line in lines]
    assert told == sorted(told) and before - timedelta(seconds=1) < told[0] and told[-1] <= datetime.now(UTC)
    alarms = [alarm for line in lines for alarm in line.get("alarms", ())]
    assert len(alarms) == 2 and all(alarm["at"] in {line["at"] for line in lines} for alarm in alarms)
    old, new = sorted(tmp_path.glob("a*.txt"), key=lambda path: -len(path.name))
    assert old.read_text() == new.read_text() != "" and new.name == "a.txt"


def test_files_of_earlier_runs_are_all_kept(tmp_path):
    for text in ("first", "second", "third"):
        (tmp_path / "a.txt").write_text(text)
        os.utime(tmp_path / "a.txt", (1e9, 1e9))  # a machine without a clock
        Mot(tmp_path / "a.txt", keep=True).close()
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["", "first", "second", "third"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
    reader.start()
    sink = Mot(tmp_path / "pipe", keep=True)
    sink.write("1,1,2,3\n")
    sink.close()
    reader.join(10)
    assert got == ["1,1,2,3\n"] and (tmp_path / "pipe").is_fifo()


def test_lines_go_on_after_one_that_a_power_cut_left_torn(detector, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"frame": 1, "vi')
    watch(detector, moving(20), {"json": JsonLines(tmp_path / "a.jsonl")}).run()
    torn, *lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert torn == '{"frame": 1, "vi' and len(lines) > 10 and all(json.loads(line)["tracks"] for line in lines)
