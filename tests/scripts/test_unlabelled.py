from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from scripts import unlabelled
from tests.test_comparison import make_run

ROAD = np.array([[100.0, 10, 20], [200.0, 60, 20]])


@pytest.mark.parametrize(
    ("frame", "centre", "of_one"),
    [
        (150, (35, 20), True),  # halfway, as it moves evenly
        (150, (35, 25.9), True),
        (150, (35, 26.1), False),
        (150, (10, 20), False),
        (71, (10, 20), True),  # a second before it was listed first
        (69, (10, 20), False),
        (230, (60, 20), True),
        (231, (60, 20), False),
    ],
)
def test_what_is_of_a_thing_without_a_label(frame, centre, of_one):
    assert unlabelled.is_of_one([ROAD + 500, ROAD], frame, np.array(centre)) is of_one


def test_those_listed_are_in_three_videos():
    found = unlabelled.places()
    assert {video: len(things) for video, things in found.items()} == {
        "IR_AIRPLANE_029": 1,
        "IR_BIRD_052": 2,
        "IR_DRONE_142": 3,
    }
    for things in found.values():
        for frame, x, y in np.concatenate(things):
            assert 0 <= frame < 320 and 0 <= x < 320 and 0 <= y < 256


def test_detections_on_them_count_neither_way():
    truth = {
        "videos": [{"id": 1, "name": "IR_DRONE_142"}, {"id": 2, "name": "IR_DRONE_001"}],
        "images": [{"id": 7, "video_id": 1, "frame_id": 200}, {"id": 8, "video_id": 2, "frame_id": 200}],
    }
    hovers = {"bbox": [254, 100, 10, 10], "score": 0.9}  # of what hovers at 259, 105
    elsewhere = {"image_id": 7, "bbox": [100, 100, 10, 10], "score": 0.9}
    kept = unlabelled.without([{"image_id": 7, **hovers}, {"image_id": 8, **hovers}, elsewhere], truth)
    assert kept == [{"image_id": 8, **hovers}, elsewhere]


def test_the_table_tells_both(tmp_path, capsys):
    run = make_run(tmp_path / "run", found=20)
    truth, found = (json.loads((run / f"{name}.json").read_text()) for name in ("ground_truth", "predictions"))
    truth["videos"][0]["name"] = "IR_DRONE_142"
    truth["images"][0]["frame_id"] = 200
    hovers = {"image_id": 1, "category_id": 1, "bbox": [254, 100, 10, 10], "score": 0.95}  # above all hits
    (run / "ground_truth.json").write_text(json.dumps(truth))
    (run / "predictions.json").write_text(json.dumps([hovers, *found]))
    assert unlabelled.main([str(run)]) == 0
    rows = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    # A false alarm in 20 frames: 0.05 a frame.
    assert rows == [
        ["1", "1.000", "1.000"],
        ["0.1", "1.000", "1.000"],
        ["0.05", "1.000", "1.000"],
        ["0.01", "0.000", "1.000"],
    ]


def test_runs_that_it_says_nothing_of_are_refused(tmp_path, capsys):
    run = make_run(tmp_path / "run", found=20)
    config = run / ".hydra" / "config.yaml"
    told = yaml.safe_load(config.read_text())
    told["dataset"]["degrade"] = {"shake": {"_target_": "tdcnet.data.degradations.Shake", "sigma": 3.0}}
    config.write_text(yaml.safe_dump(told))
    for folder, why in ((run, "made harder by shake"), (tmp_path / "none", "is no run of stage=eval")):
        with pytest.raises(SystemExit):
            unlabelled.main([str(folder)])
        assert why in capsys.readouterr().err
