"""What stage=predict writes: at the source's own rate, with its times, as bright as the network sees it."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
import torch

from tdcnet.callbacks import PredictionWriter
from tdcnet.data.clips import ClipDataset
from tdcnet.data.frames import FrameSource, open_source
from tdcnet.data.sequence import Sequence


def dataset_of(source: FrameSource, name: str = "clip", **options: object) -> ClipDataset:
    n = len(source)
    empty = [np.zeros((0, 4), np.float32)] * n, [np.zeros(0, np.int64)] * n
    sequence = Sequence(name, source, *empty, np.arange(n), np.zeros(n, np.int64))
    return ClipDataset([sequence], (64, 64), num_frames=1, **options)  # type: ignore[arg-type]


def predict(dataset: ClipDataset, folder: Path, fps: float | None = None, until: int | None = None) -> list[Path]:
    """One detection on each frame, in batches of two; stops with an error after ``until`` frames."""
    writer = PredictionWriter(str(folder), fps)
    trainer = SimpleNamespace(predict_dataloaders=SimpleNamespace(dataset=dataset))
    module = SimpleNamespace(checkpoint_info={"classes": ["target"]})
    writer.on_predict_start(trainer, module)  # type: ignore[arg-type]
    for at in range(0, len(dataset) if until is None else until, 2):
        frames = torch.arange(at, min(at + 2, len(dataset)))
        size = torch.tensor([dataset.sequences[0].frames.read(0).shape] * len(frames))
        found = {"boxes": torch.tensor([[2.0, 3, 6, 7]]), "scores": torch.tensor([0.9]), "labels": torch.tensor([0])}
        writer.on_predict_batch_end(
            trainer,
            module,
            [found] * len(frames),
            {"frame": frames, "original_size": size},
            at,  # type: ignore[arg-type]
        )
    if until is None:
        writer.on_predict_end(trainer, module)  # type: ignore[arg-type]
    else:
        writer.on_exception(trainer, module, ValueError("a bad frame"))  # type: ignore[arg-type]
    return writer.files


def rate_of(path: Path) -> float:
    return float(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS))


@pytest.mark.parametrize("rate", [Fraction(25, 2), Fraction(60000, 1001)])
def test_video_and_times_are_those_of_the_source(tmp_path: Path, rate: Fraction) -> None:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 51, 33, "gray"
        stream.codec_context.thread_count = 1  # other tests fork
        for i in range(6):
            image = np.full((33, 51), 10 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="gray")))
        container.mux(stream.encode())
    files = predict(dataset_of(open_source(path, tmp_path / "cache")), tmp_path / "out")
    assert [file.suffix for file in files] == [".csv", ".json", ".mp4", ".png"]
    assert rate_of(files[2]) == pytest.approx(float(rate), rel=1e-3)
    times = [image["time"] for image in json.loads(files[1].read_text())["images"]]
    assert times == pytest.approx([i / float(rate) for i in range(6)], abs=0.0006)
    with files[0].open(newline="") as file:
        assert [float(row["time"]) for row in csv.DictReader(file)] == pytest.approx(times)
    assert rate_of(predict(dataset_of(open_source(path, tmp_path / "cache")), tmp_path / "own", 10)[2]) == 10


def test_what_stops_early_is_partial_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((32, 48), i, np.uint8))
    dataset = dataset_of(open_source(tmp_path))
    for until, endings in ((0, ["csv", "json"]), (2, ["csv", "json", "mp4", "png"])):
        out = tmp_path / str(until)
        files = predict(dataset, out, until=until)
        assert sorted(path.name for path in out.iterdir()) == [f"clip.partial.{ending}" for ending in endings]
        assert sorted(files) == sorted(out.iterdir())
        assert len(files[0].read_text().splitlines()) == 1 + until
    assert "stopped before the end" in caplog.text and "clip.partial.csv" in caplog.text
    predict(dataset, out)
    assert sorted(path.name for path in out.iterdir()) == [f"clip.{ending}" for ending in endings]


def test_images_have_no_time(tmp_path: Path) -> None:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((32, 48), i, np.uint8))
    files = predict(dataset_of(open_source(tmp_path)), tmp_path / "out")
    assert rate_of(files[2]) == 30
    assert "time" not in files[0].read_text().splitlines()[0]
    assert "time" not in json.loads(files[1].read_text())["images"][0]


def test_16_bit_frames_are_drawn_with_one_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(2):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((32, 48), 7000 + 500 * i, np.uint16))
    drawn: list[np.ndarray] = []

    def draw(frame: np.ndarray, **_: object) -> np.ndarray:
        drawn.append(frame)
        return np.zeros((32, 48, 3), np.uint8)

    monkeypatch.setattr("tdcnet.callbacks.predictions.draw_boxes", draw)
    predict(dataset_of(open_source(tmp_path), intensity_range=(6000.0, 8000.0)), tmp_path / "out")
    assert [int(frame.max()) for frame in drawn] == [127, 191, 127, 191], "in the video and on the sheet"
    assert all(frame.dtype == np.uint8 for frame in drawn)
