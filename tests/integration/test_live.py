"""tdcnet track and tdcnet live, as they are called: what they write, and how they end."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import av
import cv2
import hydra
import numpy as np
import pytest
from omegaconf import OmegaConf

from tdcnet import stages
from tdcnet.cli import as_options
from tdcnet.data.errors import DataError
from tdcnet.data.folders import videos_in
from tdcnet.data.synthetic import SyntheticConfig, generate_clip
from tdcnet.files import FolderError
from tdcnet.stages.tracking import use_threads
from tdcnet.tracking.tracker import TrackerOptions

FRAMES = 40


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A made-up video of 320x256 px with a target that is easy to see."""
    path = tmp_path_factory.mktemp("videos") / "a clip.avi"
    config = SyntheticConfig(height=256, width=320, frames=FRAMES, targets=(1, 1), hot_spots=(0, 0), scr=(9.0, 9.0))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 30.0, (320, 256), isColor=False)
    for frame in generate_clip(config, 1).frames:
        writer.write(frame)
    writer.release()
    return path


def test_what_is_typed_becomes_options():
    typed = [
        "rtsp://a:b@host/x?y=1",
        "--page",
        "8080",
        "--realtime",
        "--record=/tmp/a b",
        "tracker.confirm=9",
        "seed=1",
    ]
    assert as_options("live", typed) == [
        "stage=live",
        "stage.page=8080",
        "stage.realtime=true",
        "stage.record='/tmp/a b'",
        "stage.tracker.confirm=9",
        "seed=1",
        "source=['rtsp://a:b@host/x?y=1']",
    ]
    assert as_options("live", ["-", "--raw", "6x4:uint16"])[-2:] == ["stage.raw='6x4:uint16'", "source=['-']"]
    assert as_options("track", ["clip.mp4", "video=false"])[1:] == ["stage.video=false", "source=['clip.mp4']"]
    with pytest.raises(SystemExit, match="--page needs a value"):
        as_options("live", ["0", "--page"])


@pytest.fixture
def run_zoo(configure):
    """A stage with a detector of the package."""

    def run_stage(*overrides):
        base = ["trainer=cpu", "callbacks.progress_bar=null", "ckpt_path=motion_2d", "dataset=drone_ir"]
        return stages.run(*configure(*overrides, base=base))

    return run_stage


def test_track_writes_what_it_found(run_zoo, clip, tmp_path):
    _, objects = run_zoo("stage=track", f"source='{clip}'")
    folder = tmp_path / "run" / "tracks"
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    assert names == ["a clip.csv", "a clip.json", "a clip.jsonl", "a clip.txt"] and len(objects["files"]) == 5
    lines = [json.loads(line) for line in (folder / "a clip.jsonl").read_text().splitlines()]
    assert len(lines) > 20
    assert all(
        len(line["tracks"]) >= 1 and line["time"] == pytest.approx(line["frame"] / 30, abs=1e-3) for line in lines
    )
    coco = json.loads((folder / "a clip.json").read_text())
    assert len(coco["images"]) == FRAMES and coco["videos"] == [{"id": 1, "name": "a clip"}]
    assert len(coco["annotations"]) == sum(len(line["tracks"]) for line in lines)
    assert {each["track_id"] for each in coco["annotations"]} == {t["id"] for line in lines for t in line["tracks"]}
    with av.open(str(objects["files"][-1])) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES


def test_track_tells_figures_of_a_labelled_set(trained, run, tmp_path):
    _, parts = trained
    metrics, _ = run("stage=track", f"ckpt_path={parts['ckpt_path']}")
    told = json.loads((tmp_path / "run" / "tracks.json").read_text())
    assert told["targets"] >= 2 and 0 <= told["HOTA_dot"] <= 1 and 0 <= told["targets_tracked"] <= 1
    assert told["minutes"] == pytest.approx(2 * 6 / 30 / 60, rel=0.01)
    for budget in ("1", "0.1", "0.05", "0.01"):
        low, high = told[f"Pd@{budget}_gain_interval"]
        assert low <= high and f"Pd@{budget}_confirmed" in told
    assert metrics["HOTA_dot"] == told["HOTA_dot"]
    for name, text in ((each.name, each.read_text()) for each in (tmp_path / "run" / "tracks" / "gt").iterdir()):
        frames = [int(line.split(",")[0]) for line in text.splitlines()]
        assert frames == sorted(frames) and (tmp_path / "run" / "tracks" / name).is_file()
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"{told['HOTA_dot']:.3f}" in page and "synthetic" in page
    with (tmp_path / "run" / "by_recording.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and sum(int(row["targets"]) for row in rows) == told["targets"]


@pytest.mark.parametrize(
    ("wanted", "there", "told", "given"),
    [(None, 8, None, 7), (None, 1, None, 1), (None, 8, "3", None), (5, 2, None, 5), (5, 2, "3", 5)],
)
def test_a_processor_is_left_to_registration(monkeypatch, wanted, there, told, given):
    set_to = []
    monkeypatch.setattr("tdcnet.stages.tracking.processors", lambda: there)
    monkeypatch.setattr("torch.set_num_threads", set_to.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    use_threads(wanted)
    assert set_to == ([] if given is None else [given])
    with pytest.raises(ValueError, match=r"stage.threads is 0"):
        use_threads(0)


def test_a_folder_of_videos_is_tracked_one_by_one(run_zoo, clip, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.avi", "c.avi"):
        shutil.copy(clip, folder / name)
    (folder / "b.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"1 of 3 sources could not be read: .*b\.mp4"):
        run_zoo("stage=track", f"source='{folder}'", "stage.video=false")
    tracks = tmp_path / "run" / "tracks"
    expected = [f"{name}.{ending}" for name in "ac" for ending in ("csv", "json", "jsonl", "txt")]
    assert sorted(file.name for file in tracks.iterdir()) == expected
    assert (tracks / "a.txt").read_text() == (tracks / "c.txt").read_text() != ""


def test_the_tracker_of_the_config_is_the_usual_one():
    given = OmegaConf.load(Path(__file__).parents[2] / "configs" / "tracker" / "online.yaml")
    assert set(given) == {"_target_", *(field.name for field in fields(TrackerOptions))}
    assert hydra.utils.instantiate(given) == TrackerOptions()


def test_without_a_source_or_clips_it_is_said_what_to_give(configure, tmp_path):
    base = ["trainer=cpu", "callbacks.progress_bar=null", "ckpt_path=motion_2d"]
    cfg, given = configure("stage=track", f"dataset.root={tmp_path / 'none'}", base=base)
    with pytest.raises(ValueError, match=r"needs a source, tdcnet track clip.mp4; or labelled clips"):
        stages.run(cfg, [each for each in given if not each.startswith("dataset")])


def test_sources_that_are_cameras_are_for_live(run_zoo):
    with pytest.raises(ValueError, match=r"source=rtsp://host/x is a camera or a stream, which `tdcnet live` watches"):
        run_zoo("stage=track", "source='rtsp://me:s3cret@host/x'")
    with pytest.raises(ValueError, match="watches one source"):
        run_zoo("stage=live", "source=[a,b]")
    with pytest.raises(ValueError, match="needs a source"):
        run_zoo("stage=live")


def test_rules_about_what_is_never_found_are_refused(run_zoo, clip):
    with pytest.raises(ValueError, match=r"bird, which .* does not know; it finds target"):
        run_zoo("stage=live", f"source='{clip}'", "stage.rules=[{classes: [bird]}]")


def start(tmp_path, *options, **given):
    command = [
        sys.executable,
        "-m",
        "tdcnet",
        "live",
        *map(str, options),
        f"hydra.run.dir={tmp_path / 'run'}",
        "trainer=cpu",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path, **given)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_live_ends_when_it_is_told_to_and_its_files_can_be_read(clip, tmp_path, how):
    """Also after kill -9: what was written is there but for the last second."""
    looped = tmp_path / "frames"
    looped.mkdir()
    capture = cv2.VideoCapture(str(clip))
    for number in range(FRAMES):
        good, frame = capture.read()
        assert good
        for turn in range(40):
            cv2.imwrite(str(looped / f"{turn * FRAMES + number:05d}.png"), frame)
    process = start(tmp_path, looped, "--realtime", "--json", "out.jsonl", "--record", "video")
    lines = tmp_path / "out.jsonl"
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and (not lines.exists() or lines.read_text().count("\n") < 60):
            assert process.poll() is None, process.stdout.read().decode()
            time.sleep(0.1)
        process.send_signal(getattr(signal, how))
        said = process.communicate(timeout=60)[0].decode()
    finally:
        process.kill()
    assert process.returncode == (-signal.SIGKILL if how == "SIGKILL" else 0), said
    written = lines.read_text().splitlines()
    told = [json.loads(line) for line in (written[:-1] if how == "SIGKILL" else written)]
    assert len(told) >= 59
    (video,) = (tmp_path / "video").iterdir()
    with av.open(str(video)) as container:
        count = sum(1 for _ in container.decode(video=0))
    assert count >= told[-1]["frame"] - 35
    if how != "SIGKILL":
        assert "ended:" in said and "Traceback" not in said, said


def test_raw_frames_on_standard_input(clip, tmp_path):
    capture = cv2.VideoCapture(str(clip))
    frames = [cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2GRAY) for _ in range(FRAMES)]
    process = start(tmp_path, "-", "--raw", "320x256", "--rate", "30", "--json", "-", stdin=subprocess.PIPE)
    said = process.communicate(b"".join(frame.tobytes() for frame in frames), timeout=90)[0].decode()
    assert process.returncode == 0, said
    assert sum(line.startswith('{"frame"') for line in said.splitlines()) > 20, said


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["rtsp://me:s3cret@127.0.0.1:9/x"], "rtsp://127.0.0.1:9/x: nothing answers at this port"),
        (["missing.mp4"], "missing.mp4: there is no such file or folder"),
        (["-", "--raw", "640x512:float"], "expected WIDTHxHEIGHT:TYPE"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(tmp_path, options, told):
    process = start(tmp_path, *options, stdin=subprocess.PIPE)
    said = process.communicate(b"", timeout=90)[0].decode()
    assert process.returncode == 1 and f"error: {told}" in said.replace("raw=640x512:float: ", ""), said
    assert "Traceback" not in said and "s3cret" not in said


def test_passwords_are_written_nowhere(tmp_path):
    """Not in the run's folder, and not by Hydra when the command is wrong."""
    options = [
        "rtsp://me:s3cretpw@127.0.0.1:9/x",
        "--token",
        "s3crettoken",
        "--post",
        "http://a:s3cretpost@127.0.0.1:9/",
    ]
    options += ["stage.headers={Authorization: 'Bearer s3cretkey'}"]
    for more, told in (([], "nothing answers"), (["stage.rules=[{nme: x}]"], "has nme; a rule may have name, score")):
        process = start(tmp_path, *options, *more)
        said = process.communicate(timeout=90)[0].decode()
        assert process.returncode == 1 and told in said and "s3cret" not in said, said
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(written) >= 3
    for path in written:
        assert b"s3cret" not in path.read_bytes(), path


def test_standard_output_holds_nothing_but_lines(clip, tmp_path):
    command = [
        sys.executable,
        "-m",
        "tdcnet",
        "live",
        str(clip),
        "--json",
        "-",
        f"hydra.run.dir={tmp_path / 'run'}",
        "trainer=cpu",
    ]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=90, check=True)
    lines = done.stdout.decode().splitlines()
    assert len(lines) > 20 and all(json.loads(line)["video"] == "a clip" for line in lines)
    assert b"ended:" in done.stderr and b"motion_2d" in done.stderr


def test_a_silent_pipe_can_be_left(tmp_path):
    process = start(tmp_path, "-", "--raw", "64x64", "dataset.align=none", stdin=subprocess.PIPE)
    process.stdin.write(bytes(64 * 64 * 5))
    process.stdin.flush()
    seen = next((line for line in process.stdout if b"running: 5 frames" in line), b"")  # it looks at frames by now
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(timeout=60) == 0 and seen, process.stdout.read().decode()
    finally:
        process.kill()
        process.communicate()


def test_a_page_that_cannot_be_served_is_told_and_all_ends(clip, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(tmp_path, clip, "--page", taken.getsockname()[1], "--realtime")
        said = process.communicate(timeout=90)[0].decode()
    assert process.returncode == 1 and "the port is taken" in said and "terminate called" not in said, said


@pytest.mark.parametrize("what", ["json", "csv", "mot", "record", "snapshots"])
def test_what_cannot_be_written_is_told_by_its_option(run_zoo, clip, tmp_path, what):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match=rf"{what}=.*file/x: cannot be written \(.+\)\. Give another place"):
        run_zoo("stage=live", f"source='{clip}'", f"stage.{what}='{tmp_path / 'file' / 'x'}'")


@pytest.mark.parametrize("rate", ["abc", "-5", "0", "inf"])
def test_a_rate_that_is_none_is_told(run_zoo, clip, rate):
    with pytest.raises(ValueError, match=r"rate is .*; expected a number above 0"):
        run_zoo("stage=track", f"source='{clip}'", f"stage.rate={rate}")


def test_videos_beside_a_folder_of_images_are_told(tmp_path, caplog):
    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "0001.png"), np.zeros((32, 32), np.uint8))
    for name in ("a.mp4", "._b.mp4"):
        (tmp_path / name).write_bytes(b"x")
    assert videos_in(tmp_path) == [] and "1 videos are passed over" in caplog.text
    shutil.rmtree(tmp_path / "frames")
    assert [path.name for path in videos_in(tmp_path)] == ["a.mp4"]
    for day in ("day10", "day2"):
        (tmp_path / "days" / day).mkdir(parents=True)
        shutil.copy(tmp_path / "a.mp4", tmp_path / "days" / day)
    assert [path.parent.name for path in videos_in(tmp_path / "days")] == ["day2", "day10"]
