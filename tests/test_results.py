from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tdcnet.files import read_json
from tdcnet.results import (
    DetectionWriter,
    FrameDetections,
    coco_results,
    to_numpy,
    write_atomically,
    write_json,
    write_metrics,
)

NOTHING = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}
TWO = {
    "boxes": torch.tensor([[10.0, 20.0, 14.5, 23.0], [1.0, 2.0, 4.0, 6.0]]),
    "scores": torch.tensor([0.9, 0.25]),
    "labels": torch.tensor([1, 0]),
}


def test_json_takes_what_runs_produce(tmp_path):
    data = {
        "ap": np.float32(0.5),
        "nan": float("nan"),
        "inf": torch.tensor(float("inf")),
        "count": torch.tensor(3),
        "flag": np.bool_(True),
        "curve": np.array([0.0, np.nan, 1.0]),
        "path": Path("a") / "b",
        "nested": {1: (torch.tensor([[1, 2]]), None)},
        "name": "Übung",
    }
    path = write_json(tmp_path / "new" / "out.json", data)
    assert json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail) == {
        "ap": 0.5,
        "nan": None,
        "inf": None,
        "count": 3,
        "flag": True,
        "curve": [0.0, None, 1.0],
        "path": str(Path("a") / "b"),
        "nested": {"1": [[[1, 2]], None]},
        "name": "Übung",
    }
    assert read_json(path)["count"] == 3


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_json(tmp_path / "out.json", {"old": 1})
    with pytest.raises(TypeError, match=r"data\.runs\[1\] is a object"):
        write_json(path, {"runs": [1, object()]})
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_reading_a_file_that_is_not_json_names_it(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match=r"bad\.json: is not JSON"):
        read_json(tmp_path / "bad.json")


def test_metrics_are_flat_numbers(tmp_path):
    path = write_metrics(tmp_path / "metrics.json", {"val/pd": torch.tensor(0.25), "val/ap": float("nan"), "n": 3})
    assert list(read_json(path).items()) == [("n", 3), ("val/ap", None), ("val/pd", 0.25)]
    for value in (torch.ones(2), "0.5"):
        with pytest.raises(ValueError, match="metric 'curve' is"):
            write_metrics(tmp_path / "metrics.json", {"curve": value})


def test_to_numpy_takes_tensors_that_numpy_does_not():
    assert to_numpy(torch.tensor([0.5], dtype=torch.bfloat16, requires_grad=True)).tolist() == [0.5]
    assert to_numpy(torch.tensor([7], dtype=torch.int64)).dtype == np.int64


def test_coco_for_video_layout():
    frames = [
        FrameDetections.make(4, "a.mp4#4", (256, 320), TWO, "a"),
        FrameDetections.make(5, "a.mp4#5", (256, 320), NOTHING, "a"),
        FrameDetections.make(0, "b/0.png", (100, 200), TWO, "b"),
    ]
    results = coco_results(frames, ["bird", "drone"])
    assert results["videos"] == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    assert results["categories"] == [{"id": 1, "name": "bird"}, {"id": 2, "name": "drone"}]
    assert results["images"][1] == {
        "id": 2,
        "file_name": "a.mp4#5",
        "width": 320,
        "height": 256,
        "video_id": 1,
        "frame_id": 5,
    }
    assert [(a["id"], a["image_id"], a["video_id"]) for a in results["annotations"]] == [
        (1, 1, 1),
        (2, 1, 1),
        (3, 3, 2),
        (4, 3, 2),
    ]
    first = results["annotations"][0]
    assert (first["category_id"], first["bbox"], first["area"], first["score"]) == (
        2,
        [10.0, 20.0, 4.5, 3.0],
        13.5,
        0.9,
    )


def test_pycocotools_evaluates_the_annotations():
    results = coco_results([FrameDetections.make(0, "0.png", (64, 64), TWO)], ["bird", "drone"])
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": results["images"],
        "categories": results["categories"],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 2, "bbox": [10, 20, 4.5, 3], "area": 13.5, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12.0, "iscrowd": 0},
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results["annotations"]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[1] == pytest.approx(1.0)


def test_writer_writes_both_files(tmp_path):
    with DetectionWriter(tmp_path / "new" / "clip.2", ["bird", "drone"]) as writer:
        writer.add(7, Path("clip.2.mp4"), torch.tensor([256, 320]), TWO)
        writer.add(8, "clip.2.mp4#8", (256, 320), NOTHING)
    with (tmp_path / "new" / "clip.2.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["frame", "x1", "y1", "x2", "y2", "score", "label", "time", "video"],
        ["7", "10.000", "20.000", "14.500", "23.000", "0.900000", "drone", "", "clip.2"],
        ["7", "1.000", "2.000", "4.000", "6.000", "0.250000", "bird", "", "clip.2"],
    ]
    results = read_json(tmp_path / "new" / "clip.2.json")
    assert results["videos"] == [{"id": 1, "name": "clip.2"}]
    assert [image["frame_id"] for image in results["images"]] == [7, 8]
    assert len(results["annotations"]) == 2
    writer.close()
    with pytest.raises(ValueError, match="writer is closed"):
        writer.add(9, "clip", (256, 320), NOTHING)


def test_rows_are_on_disk_before_the_writer_is_closed(tmp_path):
    writer = DetectionWriter(tmp_path / "clip", ["target", "other"])
    writer.add(0, "0.png", (64, 64), TWO)
    assert len((tmp_path / "clip.partial.csv").read_text().splitlines()) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.partial.csv"]
    writer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.csv", "clip.json"]


def test_a_broken_run_keeps_what_it_had_and_says_so_by_name(tmp_path):
    for ending in ("csv", "json"):
        (tmp_path / f"clip.{ending}").write_text("of an earlier run, whole")
    (tmp_path / "clip.partial.json").write_text("of an earlier run")

    def run(*, broken: bool):
        with DetectionWriter(tmp_path / "clip", ["bird", "drone"]) as writer:
            writer.add(0, "0.png", (64, 64), TWO)
            assert not (tmp_path / "clip.partial.json").exists()
            if broken:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(broken=True)
    assert len((tmp_path / "clip.partial.csv").read_text().splitlines()) == 3
    assert len(read_json(tmp_path / "clip.partial.json")["images"]) == 1
    assert {(tmp_path / f"clip.{ending}").read_text() for ending in ("csv", "json")} == {"of an earlier run, whole"}
    run(broken=False)
    assert len((tmp_path / "clip.csv").read_text().splitlines()) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.csv", "clip.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": torch.zeros(3)}, "do not fit together"),
        ({"boxes": torch.zeros(2, 5)}, "do not fit together"),
        ({"labels": torch.tensor([0, 2])}, "label 2 has no class; there are 2: bird, drone"),
        ({"labels": torch.tensor([0, -1])}, "label -1 has no class"),
        ({"scores": torch.tensor([0.1, float("nan")])}, "not finite"),
    ],
)
def test_malformed_detections_are_refused_before_anything_is_written(tmp_path, change, message):
    with DetectionWriter(tmp_path / "clip", ["bird", "drone"]) as writer:
        with pytest.raises(ValueError, match=f"^0.png: .*{message}"):
            writer.add(0, "0.png", (64, 64), {**TWO, **change})
        with pytest.raises(ValueError, match="lack"):
            writer.add(0, "0.png", (64, 64), {"boxes": TWO["boxes"]})
    assert len((tmp_path / "clip.csv").read_text().splitlines()) == 1
    assert read_json(tmp_path / "clip.json")["images"] == []


def test_times_are_written_where_they_are_known(tmp_path):
    with DetectionWriter(tmp_path / "clip", ["bird", "drone"]) as writer:
        writer.add(7, "clip#7", (256, 320), TWO, 0.28)
        writer.add(8, "clip#8", (256, 320), NOTHING, 0.32)
    with (tmp_path / "clip.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[-2] for row in rows] == ["time", "0.280000", "0.280000"]
    assert [image["time"] for image in read_json(tmp_path / "clip.json")["images"]] == [0.28, 0.32]


def test_writer_writes_what_coco_results_gives(tmp_path):
    frames = [(n, f'ä"{n}.png', (256, 320), (TWO, NOTHING)[n % 2]) for n in range(5)]
    with DetectionWriter(tmp_path / "clip", ["bird", "drone"]) as writer:
        for frame in frames:
            writer.add(*frame)
    made = [FrameDetections.make(*frame, "clip") for frame in frames]
    assert read_json(tmp_path / "clip.json") == coco_results(made, ["bird", "drone"])
