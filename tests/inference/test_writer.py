"""What a prediction writes: at the source's own rate, with its times, as bright as the network sees it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from tdcnet.data.errors import DataError
from tdcnet.data.frames import ImageFiles
from tdcnet.deploy.record import Record
from tdcnet.inference.detector import Detector
from tdcnet.inference.writer import PredictionWriter

RECORD = Record(classes=("target",), size=(32, 64), num_frames=1, threshold=0.5)


class OneSpot(torch.nn.Module):
    """One detection of score 0.9 on every clip, and one of 0.6: boxes of 8 px at (8, 8) and (40, 16)."""

    num_classes, in_channels = 1, 1

    def forward(self, aligned, frames):
        raw = torch.full((len(frames), 5 + self.num_classes, 4, 8), -20.0)
        raw[:, :2], raw[:, 2:4], raw[:, 5] = 0.5, 0.0, 20.0
        raw[:, 4, 1, 1], raw[:, 4, 2, 5] = np.log(9), np.log(1.5)
        return raw


@pytest.fixture
def detector():
    return Detector(OneSpot(), RECORD)


@pytest.fixture
def folder(tmp_path):
    return images(tmp_path / "clip", 6)


def images(place: Path, count: int, dtype: type = np.uint8, base: int = 0, step: int = 10) -> Path:
    place.mkdir()
    for i in range(count):
        cv2.imwrite(str(place / f"{i}.png"), np.full((32, 64), base + step * i, dtype))
    return place


def rate_of(path: Path) -> float:
    return float(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("rate", [Fraction(25, 2), Fraction(60000, 1001)])
def test_video_and_times_are_those_of_the_source(detector, tmp_path, rate):
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 51, 33, "gray"
        stream.codec_context.thread_count = 1  # other tests fork
        for i in range(6):
            image = np.full((33, 51), 10 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="gray")))
        container.mux(stream.encode())
    cache = tmp_path / "cache"
    files = detector.predict(path, cache_dir=cache).save(tmp_path / "out")
    assert [file.name for file in files] == [f"clip.{ending}" for ending in ("csv", "json", "mp4", "png")]
    assert rate_of(files[2]) == pytest.approx(float(rate), rel=1e-3)
    times = [image["time"] for image in json.loads(files[1].read_text())["images"]]
    assert times == pytest.approx([i / float(rate) for i in range(6)], abs=0.0006)
    rows = rows_of(files[0])
    assert [float(row["time"]) for row in rows[::2]] == pytest.approx(times)
    assert {row["video"] for row in rows} == {"clip"} and [row["frame"] for row in rows[:3]] == ["0", "0", "1"]
    assert rate_of(detector.predict(path, cache_dir=cache).save(tmp_path / "own", fps=10)[2]) == 10
    assert [len(detector.predict(path, cache_dir=cache).save(tmp_path / "few", video=False, sheet=0))] == [2]


def test_the_threshold_is_the_files_own_unless_another_is_given(detector, folder):
    def counts(detector, *threshold):
        return {len(found) for _, found in detector.predict(folder, *threshold)}

    assert counts(detector) == {2} and counts(detector, 0.7) == {1} and counts(detector, 0) == {32}
    assert counts(Detector(OneSpot(), replace(RECORD, threshold=0.7))) == {1}
    assert Detector(OneSpot(), replace(RECORD, threshold=None)).threshold == 0.3


def test_what_stops_early_is_partial_by_name(detector, folder, tmp_path, caplog):
    class Stop(Exception):
        pass

    for until, endings in ((0, ["csv", "json"]), (2, ["csv", "json", "mp4", "png"])):
        out = tmp_path / str(until)
        (prediction,) = detector.predict(folder).recordings()
        with pytest.raises(Stop), PredictionWriter(out, prediction) as writer:
            for frame, found in prediction:
                if found.index == until:
                    raise Stop
                writer.add(frame, found)
        assert sorted(path.name for path in out.iterdir()) == [f"clip.partial.{ending}" for ending in endings]
        assert sorted(writer.files) == sorted(out.iterdir())
        assert len(rows_of(writer.files[0])) == 2 * until
    assert "stopped before the end" in caplog.text and "clip.partial.csv" in caplog.text
    detector.predict(folder).save(out)
    assert sorted(path.name for path in out.iterdir()) == [f"clip.{ending}" for ending in endings]


def test_a_frame_that_cannot_be_read_stops_or_is_left_out(folder, tmp_path, caplog):
    (folder / "3.png").write_bytes(b"no picture")
    clips_of_two = Detector(OneSpot(), replace(RECORD, num_frames=2))
    with pytest.raises(DataError, match=r"3\.png"):
        clips_of_two.predict(folder, align=False).save(tmp_path / "out")
    assert {row["frame"] for row in rows_of(tmp_path / "out" / "clip.partial.csv")} == {"0", "1", "2"}, "all before it"
    (prediction,) = clips_of_two.predict(folder, align=False, on_bad_frame="skip").recordings()
    assert [found.index for _, found in prediction] == [0, 1, 2, 5], "a clip reaches to the frame before"
    assert len(prediction.missing) == 1 and "3.png" in prediction.missing[0] and "3.png" in caplog.text


def test_images_have_no_time(detector, folder, tmp_path):
    files = detector.predict(folder).save(tmp_path / "out")
    assert rate_of(files[2]) == 30
    assert {row["time"] for row in rows_of(files[0])} == {""}
    assert "time" not in json.loads(files[1].read_text())["images"][0]


def drawn_by(monkeypatch):
    drawn = []

    def draw(frame, truth, boxes, scores, zoom=None, names=None):
        drawn.append((frame, boxes, scores, names))
        return np.zeros((32, 64, 3), np.uint8)

    monkeypatch.setattr("tdcnet.inference.writer.draw_boxes", draw)
    return drawn


def test_16_bit_frames_are_drawn_with_one_range(detector, tmp_path, monkeypatch):
    drawn = drawn_by(monkeypatch)
    folder = images(tmp_path / "clip", 2, np.uint16, 7000, 500)
    detector.predict(folder, intensity_range=(6000.0, 8000.0)).save(tmp_path / "out")
    assert [int(frame.max()) for frame, *_ in drawn] == [127, 191, 127, 191], "in the video and on the sheet"
    assert all(frame.dtype == np.uint8 for frame, *_ in drawn)


def test_pictures_may_show_fewer_than_the_files_hold_and_tell_classes_apart(detector, folder, tmp_path, monkeypatch):
    drawn = drawn_by(monkeypatch)
    files = detector.predict(folder).save(tmp_path / "out", draw_threshold=0.7)
    assert {len(boxes) for _, boxes, *_ in drawn} == {1} and len(rows_of(files[0])) == 12
    assert {names for *_, names in drawn} == {None}
    drawn.clear()
    network = OneSpot()
    network.num_classes = 2
    Detector(network, replace(RECORD, classes=("bird", "drone"))).predict(folder, 0.7).save(tmp_path / "out")
    assert all(names == ["bird"] for *_, names in drawn)


@pytest.mark.parametrize("count", [5, 12, 13, 100])
def test_a_sheet_shows_parts_alike_of_what_comes_one_by_one(detector, tmp_path, monkeypatch, count):
    captions = []
    monkeypatch.setattr(
        "tdcnet.inference.writer.contact_sheet",
        lambda pictures, said, columns: captions.append(said) or np.zeros((4, 4, 3), np.uint8),
    )
    detector.predict(np.zeros((32, 64), np.uint8) for _ in range(count)).save(tmp_path / "out")
    shown = [int(caption.split()[0][1:]) for caption in captions[0]]
    assert min(count, 6) <= len(shown) <= 12 and shown == sorted(shown)
    assert np.ptp(np.diff(shown)) == 0 and shown[0] == 0 and shown[-1] >= count - 2 * (shown[1] - shown[0])
    assert captions[0][0] == "#0  0.90"


def test_frames_of_a_sheet_are_no_wider_than_can_be_looked_at(detector, tmp_path, caplog):
    large = [np.random.default_rng(i).integers(0, 255, (1080, 1920), dtype=np.uint8) for i in range(2)]
    files = detector.predict(large, tile=False).save(tmp_path / "out", video=False)
    sheet = cv2.imread(str(files[-1]))
    assert "frames of 1920x1080 px are shrunk to 0.03 of their size" in caplog.text
    assert sheet.shape[1] < 2 * 660 and sheet.shape[0] < 420
    colour = np.asarray(sheet, int)
    assert (np.abs(colour[..., 0] - colour[..., 2]) > 60).sum() > 40, "and what was found is seen"


def test_a_detection_as_rows(detector, folder):
    *_, (_, found) = detector.predict(folder, 0.7)
    assert found.to_csv().splitlines() == [
        "frame,x1,y1,x2,y2,score,label,time,video",
        "5,8.000,8.000,16.000,16.000,0.900000,target,,clip",
    ]
    assert len(found.to_csv(header=False).splitlines()) == 1


def test_a_folder_of_videos_is_its_videos(detector, tmp_path):
    for name in ("b", "a"):
        writer = cv2.VideoWriter(str(tmp_path / f"{name}.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 32))
        for _ in range(3):
            writer.write(np.zeros((32, 64, 3), np.uint8))
        writer.release()
    found = [(each.recording, each.index) for _, each in detector.predict(tmp_path, cache_dir=tmp_path / "cache")]
    assert found == [(name, i) for name in "ab" for i in range(3)]


def test_recordings_of_one_name_are_told_apart_in_their_files(detector, folder, tmp_path):
    (prediction,) = detector.predict(folder).recordings()
    with PredictionWriter(tmp_path / "out", prediction, "clip-2") as writer:
        for frame, found in prediction:
            writer.add(frame, found)
    assert {row["video"] for row in rows_of(tmp_path / "out" / "clip-2.csv")} == {"clip-2"}
    assert json.loads((tmp_path / "out" / "clip-2.json").read_text())["videos"][0]["name"] == "clip-2"


def test_several_sources_follow_each_other(detector, folder, tmp_path, monkeypatch):
    other = images(tmp_path / "other", 2)
    names = [(found.recording, found.index) for _, found in detector.predict([folder, str(other)])]
    assert names == [("clip", i) for i in range(6)] + [("other", 0), ("other", 1)]
    monkeypatch.setattr(ImageFiles, "rate", 12.0, raising=False)
    assert [each.rate for each in detector.predict([folder]).recordings()] == [12.0]
    with pytest.raises(ValueError, match="sheet is -1"):
        detector.predict(folder).save(tmp_path / "out", sheet=-1)
