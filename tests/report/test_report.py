from __future__ import annotations

import base64
import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
import torch

from tdcnet.data.clips import ClipDataset
from tdcnet.data.errors import DataError
from tdcnet.data.sequence import Sequence
from tdcnet.metrics import DetectionMetrics
from tdcnet.metrics.matching import Frames, match_frames
from tdcnet.report import Run, write_report
from tdcnet.report.exchange import (
    read_ground_truth,
    read_masks,
    read_predictions,
    write_ground_truth,
    write_predictions,
)
from tdcnet.report.strips import worst_false_alarms, worst_misses

SIZE = (96, 128)


class Noise:
    def __init__(self, seed, length):
        self.rng, self.length = np.random.default_rng(seed), length
        self.images = self.rng.integers(90, 110, (length, *SIZE), dtype=np.uint8)

    def __len__(self):
        return self.length

    def read(self, index):
        return self.images[index]

    def where(self, index):
        return f"frame_{index}.png"


def recording(name, seed, frames=4):
    source = Noise(seed, frames)
    boxes = []
    for t in range(frames):
        x, y = 20 + 10 * t, 40
        source.images[t, y : y + 6, x : x + 6] = 200
        boxes.append(np.array([[x, y, x + 6, y + 6]], np.float32))
    boxes[-1] = boxes[-1][:0]  # the target leaves
    return Sequence(
        name, source, boxes, [np.zeros(len(b), np.int64) for b in boxes], np.arange(frames), np.zeros(frames, np.int64)
    )


@pytest.fixture
def dataset():
    return ClipDataset([recording("first", 0), recording("<second & last>", 1)], SIZE, num_frames=3)


def detections(dataset, miss=(), alarms=()):
    """Every target found but those of the items in ``miss``; a false box on those in ``alarms``."""
    preds, targets = [], []
    for item in range(len(dataset)):
        sample = dataset[item]
        boxes = sample["original_boxes"] if item not in miss else sample["original_boxes"][:0]
        false = torch.tensor([[100.0, 70, 110, 80]] if item in alarms else []).reshape(-1, 4)
        scores = torch.cat([torch.full((len(boxes),), 0.8), torch.full((len(false),), 0.9)])
        preds.append({"boxes": torch.cat([boxes, false]), "scores": scores, "labels": torch.zeros(len(scores))})
        targets.append({"boxes": sample["original_boxes"], "labels": sample["labels"], "size": sample["original_size"]})
    return Frames.from_lists(preds, targets)


@pytest.fixture
def runs(dataset):
    good, bad = detections(dataset, miss=(1,), alarms=(2, 6)), detections(dataset, miss=(0, 1, 4), alarms=range(8))
    return [Run("ours", good, DetectionMetrics().figures(good)), Run("theirs", bad, DetectionMetrics().figures(bad))]


class Page(HTMLParser):
    """Headings, images and everything that would be fetched."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.images, self.outside, self.inside = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.inside = tag
        if tag == "img":
            self.images.append((found["alt"], found["src"]))
        self.outside += [v for k, v in attrs if k in ("src", "href") and not v.startswith("data:")]

    def handle_data(self, data):
        if self.inside in ("h1", "h2") and data.strip():
            self.headings.append(data.strip())


def table(folder, name):
    return list(csv.DictReader((folder / f"{name}.csv").read_text().splitlines()))


def test_page_of_one_detector_has_all_its_parts(dataset, runs, tmp_path):
    page = write_report(tmp_path, runs[:1], dataset, title="A <title>", samples=20)
    text = page.read_text()
    parsed = Page(text)
    assert parsed.headings[0] == "A <title>"
    assert parsed.headings[1:] == [
        "Summary",
        "Plots",
        "Easiest misses",
        "Surest false alarms",
        "By sequence, by kind of target",
        "By way of counting",
    ]
    assert parsed.outside == [], "nothing is fetched"
    captions = [alt for alt, _ in parsed.images]
    assert captions[:7] == [
        "Pd over false alarms",
        "Precision over recall",
        "Pd by side",
        "Pd by scr",
        "Pd by speed",
        "Pd by gap",
        "By sequence",
    ]
    strips = captions[7:]
    assert len(strips) == 3 and strips[0].startswith("first, frame 1: SCR") and "score 0.90" in strips[1]
    for _, uri in parsed.images:
        assert len(base64.b64decode(uri.partition(",")[2])) > 500
    assert "&lt;second &amp; last&gt;" in text and "<second" not in text


def test_tables_hold_the_figures(dataset, runs, tmp_path):
    write_report(tmp_path, runs[:1], dataset, title="t", samples=50)
    (summary,) = table(tmp_path, "summary")
    assert float(summary["Pd"]) == pytest.approx(5 / 6)
    assert float(summary["false_alarms_per_frame"]) == pytest.approx(2 / 8)
    assert float(summary["Pd@1 low"]) <= float(summary["Pd@1"]) <= float(summary["Pd@1 high"])
    by_sequence = {row["sequence"]: row for row in table(tmp_path, "by_sequence")}
    assert float(by_sequence["first"]["Pd"]) == pytest.approx(2 / 3)
    by_side = table(tmp_path, "by_side")
    assert [int(row["targets"]) for row in by_side] == [6, 0, 0]
    by_speed = table(tmp_path, "by_speed")
    assert int(by_speed[-1]["targets"]) == 4  # 10 px a frame; the first frame of each recording has no speed
    by_gap = {row["from"]: row for row in table(tmp_path, "by_gap")}
    # Clips of three frames reach back 0, 1 and 2 frames; the first recording's second frame is missed.
    assert [int(by_gap[f"{n}.0"]["targets"]) for n in (0, 1, 2)] == [2, 2, 2]
    assert [float(by_gap[f"{n}.0"]["Pd"]) for n in (0, 1, 2)] == [1, 0.5, 1]
    assert {row["protocol"] for row in table(tmp_path, "by_protocol")} >= {"within", "iou", "basicirstd", "dnanet"}


def test_several_detectors_are_compared(dataset, runs, tmp_path):
    text = write_report(tmp_path, runs, dataset, title="t", samples=50).read_text()
    assert "Differences on the same sequences" in text and "theirs" in text
    assert "at 0.1 false alarms per frame of each detector" in text
    assert {row["detector"]: float(row["false_alarms_per_frame"]) for row in table(tmp_path, "summary")} == {
        "ours": 0.0,  # one on eight frames would be more
        "theirs": 0.0,
    }
    assert re.search(r"<td>ROC area</td><td>theirs</td><td>ours</td><td>-0\.\d+", text)
    other = detections(ClipDataset(dataset.sequences[:1], SIZE, num_frames=3))
    with pytest.raises(ValueError, match="different frames"):
        write_report(tmp_path, [runs[0], Run("x", other, {})], dataset, title="t")
    with pytest.raises(ValueError, match="different names"):
        write_report(tmp_path, [runs[0], runs[0]], dataset, title="t")


def test_worst_cases_take_turns(dataset, runs):
    frames, names = runs[1].frames, [dataset.locate(i)[0].name for i in range(8)]
    match = match_frames(frames, order="score")
    alarms = worst_false_alarms(frames, match, 0.5, names, most=3)
    assert [names[case.frame] for case in alarms] == ["first", "<second & last>", "first"]
    ease = np.array([1.0, 5.0, np.nan, 3.0, 1.0, 1.0])
    misses = worst_misses(frames, match, 0.5, ease, names)
    assert [case.frame for case in misses] == [1, 4, 0]
    assert misses[0].text == "SCR 5.0, not found at any score"
    # Neighbours in time are one case: of each recording's four frames the first in rank.
    moments = [0, 1, 2, 3, 0, 29, 30, 31]
    alarms = worst_false_alarms(frames, match, 0.5, names, moments=moments)
    assert [case.frame for case in alarms] == [0, 4, 6]
    assert [case.frame for case in worst_misses(frames, match, 0.5, ease, names, moments=moments)] == [1, 4]


def test_classes_are_told_apart(dataset, runs, tmp_path):
    """Detections are all called birds, the targets of the second recording are drones."""
    frames = runs[0].frames
    second = frames.target_frames >= 4
    several = Run("ours", replace(frames, target_labels=second.astype(np.int64)), runs[0].metrics)
    text = write_report(tmp_path, [several], dataset, title="t", samples=5, classes=("bird", "<drone>")).read_text()
    assert "By class" in Page(text).headings and "&lt;drone&gt;" in text and "<drone>" not in text
    bird, drone = table(tmp_path, "by_class")
    assert (bird["class"], float(bird["Pd"]), float(drone["Pd"])) == ("bird", pytest.approx(2 / 3), 0)
    rows = {row["truth"]: row for row in table(tmp_path, "confusion")}
    assert [int(rows["bird"][k]) for k in ("found as bird", "found as <drone>", "missed")] == [2, 0, 1]
    assert int(rows["<drone>"]["found as bird"]) == 3 and int(rows["nothing"]["found as bird"]) == 2
    write_report(tmp_path / "one", runs[:1], dataset, title="t", samples=5, classes=("bird",))
    assert not (tmp_path / "one" / "by_class.csv").exists()


def test_predictions_go_out_and_come_back(dataset, runs, tmp_path):
    frames = runs[0].frames
    truth = json.loads(write_ground_truth(tmp_path / "gt.json", frames, dataset, ["target"]).read_text())
    assert [image["frame_id"] for image in truth["images"]] == [0, 1, 2, 3] * 2
    assert len(truth["annotations"]) == 6 and len(truth["videos"]) == 2
    path = write_predictions(tmp_path / "found.json", frames)
    again = read_predictions(path, runs[1].frames, ["target"])
    for column in ("pred_frames", "pred_boxes", "pred_scores", "pred_labels"):
        np.testing.assert_allclose(getattr(again, column), getattr(frames, column), atol=1e-6)
    assert DetectionMetrics().figures(again) == pytest.approx(DetectionMetrics().figures(frames), nan_ok=True)


def test_ground_truth_goes_out_and_comes_back(dataset, runs, tmp_path):
    frames = runs[0].frames
    again, sequences = read_ground_truth(write_ground_truth(tmp_path / "gt.json", frames, dataset, ["target"]))
    for column in ("image_ids", "sizes", "target_frames", "target_boxes", "target_labels"):
        np.testing.assert_allclose(getattr(again, column), getattr(frames, column), atol=1e-6)
    assert len(again.pred_scores) == 0 and sequences == [dataset.locate(i)[0].name for i in range(8)]
    (tmp_path / "gt.json").write_text('{"images": [{}]}')
    with pytest.raises(DataError, match="Evaluate again"):
        read_ground_truth(tmp_path / "gt.json")


def test_masks_of_another_detector(dataset, runs, tmp_path):
    """Two touching squares and a weak one in one mask; the others are empty."""
    frames = runs[0].frames
    for item in range(8):
        sequence, t = dataset.locate(item)
        image = np.zeros(SIZE, np.uint8)
        if item == 1:
            image[10:14, 20:26], image[14:16, 26:28], image[50:52, 50:52] = 200, 255, 100
        path = tmp_path / "masks" / sequence.name / (f"frame_{t}.png" if item % 2 else f"{t}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    found = read_masks(tmp_path / "masks", frames, dataset)
    assert found.pred_frames.tolist() == [1] and found.pred_scores.tolist() == [1.0]
    assert found.pred_boxes.tolist() == [[20, 10, 28, 16]]
    assert read_masks(tmp_path / "masks", frames, dataset, threshold=0.3).pred_scores.tolist() == [1.0, 100 / 255]
    cv2.imwrite(str(path), image[1:])
    with pytest.raises(DataError, match=r"frame_3\.png: is 128x95, its frame 128x96\. Export"):
        read_masks(tmp_path / "masks", frames, dataset)
    path.unlink()
    with pytest.raises(DataError, match=r"no mask of <second & last>, frame 3; looked for .*frame_3\.png and .*3\.png"):
        read_masks(tmp_path / "masks", frames, dataset)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"image_id": 99, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}, "none of the evaluated frames"),
        ({"image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1], "score": 1}, "category_id 1 to 1"),
        ({"image_id": 1, "category_id": 1, "bbox": [0, 0, 1], "score": 1}, "x, y, w, h"),
        ({"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, float("nan")], "score": 1}, "bbox is .*NaN"),
        ({"image_id": 1}, "expected image_id, category_id"),
    ],
)
def test_bad_predictions_are_named(runs, tmp_path, entry, fault):
    path = tmp_path / "found.json"
    path.write_text(json.dumps([entry]))
    with pytest.raises(DataError, match=fault):
        read_predictions(path, runs[0].frames, ["target"])
    path.write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        read_predictions(path, runs[0].frames, ["target"])


def test_a_detector_that_finds_nothing(dataset, tmp_path):
    nothing = detections(dataset, miss=range(8))
    text = write_report(tmp_path, [Run("none", nothing, {})], dataset, title="t", samples=10).read_text()
    assert "None." in text
