"""Splits by whole recordings: no recording on both sides, shares by frames, the same for the same seed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.commands import split
from tdcnet.data.errors import DataError
from tdcnet.data.formats import coco, video_csv

# Sequence -> frames; the recording is what precedes the underscore.
SEQUENCES = {"a_1": 4, "a_2": 6, "b_1": 3, "b_2": 2, "c_1": 5, "d_1": 1, "d_10": 2, "d_9": 2}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """COCO: a and b in the training file, the others in the other; a target on every frame 0, two in sequence c_1."""
    root = tmp_path / "set"
    content: dict[str, dict[str, list[dict[str, object]]]] = {
        side: {"images": [], "annotations": [], "categories": [{"id": 1, "name": "target"}]}
        for side in ("train", "val")
    }
    for name, frames in SEQUENCES.items():
        side = content["train" if name[0] in "ab" else "val"]
        (root / f"images/{name}").mkdir(parents=True)
        for at in range(frames):
            assert cv2.imwrite(str(root / f"images/{name}/{at}.png"), np.zeros((16, 16), np.uint8))
            number = len(side["images"]) + 1
            side["images"].append({"id": number, "file_name": f"images/{name}/{at}.png"})
            for i in range((at == 0) * (2 if name == "c_1" else 1)):
                bbox = [1 + 8 * i, 1, 3, 3]
                box = {"id": len(side["annotations"]) + 1, "image_id": number, "category_id": 1, "bbox": bbox}
                side["annotations"].append(box)
    for side_name, part in content.items():
        (root / f"{side_name}.json").write_text(json.dumps(part))
    return root


def run(root: Path, out: Path, *more: str, fmt: str = "coco") -> int:
    return split.main(["--format", fmt, "--root", str(root), str(out), *more])


@pytest.mark.parametrize("seed", range(5))
def test_recordings_stay_together_and_shares_hold(root: Path, tmp_path: Path, seed: int) -> None:
    out = tmp_path / "split.json"
    assert run(root, out, "--val", "0.4", "--seed", str(seed), "--group", r"^[^_]+") == 0
    sides = json.loads(out.read_text())
    assert sorted(sides["train"] + sides["val"]) == sorted(SEQUENCES)
    recordings = {side: {name[0] for name in names} for side, names in sides.items()}
    assert not recordings["train"] & recordings["val"]
    # Recordings have 10, 5, 5 and 5 of 25 frames: 40 % are either the first, or two others.
    assert sum(SEQUENCES[name] for name in sides["val"]) == 10


def test_the_seed_decides(root: Path, tmp_path: Path) -> None:
    drawn = []
    for number, seed in enumerate([0, 0, 1, 2, 3, 4, 5]):
        out = tmp_path / f"{number}.json"
        assert run(root, out, "--seed", str(seed)) == 0
        drawn.append(out.read_text())
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 2


def test_names_are_in_natural_order_and_the_table_counts(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "split.json"
    assert run(root, out, "--val", "0.4", "--group", r"^(a|b|c|d)_") == 0
    sides = json.loads(out.read_text())
    side = next(names for names in sides.values() if "d_1" in names)
    assert [name for name in side if name[0] == "d"] == ["d_1", "d_9", "d_10"]
    printed = capsys.readouterr().out
    for name, names in sides.items():
        (line,) = [line for line in printed.splitlines() if name in line and "%" in line]
        numbers = re.findall(r"[\d.]+", line)
        frames = sum(SEQUENCES[n] for n in names)
        targets = sum(2 if n == "c_1" else 1 for n in names)
        groups = len({n[0] for n in names})
        assert numbers == [str(groups), str(len(names)), str(frames), f"{4 * frames:.1f}", str(targets)]


def test_the_reader_takes_the_file(root: Path) -> None:
    assert run(root, root / "split.json", "--val", "0.4") == 0
    sides = json.loads((root / "split.json").read_text())
    for side, names in sides.items():
        assert [sequence.name for sequence in coco.read(root, side, split_file="split.json")] == names


def test_videos_need_no_split_before(tmp_path: Path) -> None:
    for name in ("v_1", "v_2", "w_1"):
        (tmp_path / f"set/videos/{name}").mkdir(parents=True)
        assert cv2.imwrite(str(tmp_path / f"set/videos/{name}/0.png"), np.zeros((16, 16), np.uint8))
    (tmp_path / "set/labels.csv").write_text("video,frame,x,y,w,h\nv_1,0,1,1,2,2\n")
    out = tmp_path / "set/split.json"
    assert run(tmp_path / "set", out, "--val", "0.3", "--group", "^.", fmt="video_csv") == 0
    assert json.loads(out.read_text()) == {"train": ["v_1", "v_2"], "val": ["w_1"]}
    assert [s.name for s in video_csv.read(tmp_path / "set", "val")] == ["w_1"]


def test_a_recording_on_both_published_sides_is_one(tmp_path: Path) -> None:
    for name, at in (("1", 0), ("1", 50), ("2", 0), ("3", 0)):
        (tmp_path / f"images/{name}").mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(tmp_path / f"images/{name}/{at:08d}.png"), np.zeros((16, 16), np.uint8))
    lines = [f"/x/images/{name}/{at:08d}.png 1,1,3,3,0" for name, at in (("1", 0), ("2", 0), ("1", 50), ("3", 0))]
    (tmp_path / "train.txt").write_text("\n".join(lines[:2]))
    (tmp_path / "val.txt").write_text("\n".join(lines[2:]))
    pool = split.count(split.read_pool("irstd_uav", tmp_path, split.Problems(), {}))
    assert {name: (entry.frames, entry.targets) for name, entry in pool.items()} == {
        "1": (2, 2),
        "2": (1, 1),
        "3": (1, 1),
    }


def test_no_side_is_empty() -> None:
    for seed in range(4):
        assert split.choose({"small": 1, "large": 99}, 0.01, seed) == {"small"}
        assert split.choose({"small": 1, "large": 99}, 0.999, seed) == {"large"}
        assert split.choose({"a": 50, "b": 50}, 0.9, seed) in ({"a"}, {"b"})
    with pytest.raises(DataError, match="only 1 recording; two are needed"):
        split.choose({"a": 5}, 0.2, 0)


def test_what_cannot_be_done(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "split.json"
    assert run(root, out, "--group", "^a") == 1
    assert "--group '^a' finds nothing in 'b_1'" in capsys.readouterr().err
    assert not out.exists()
    assert run(root, out) == 0
    before = out.read_text()
    assert run(root, out, "--seed", "1") == 1
    assert "is there already" in capsys.readouterr().err
    assert out.read_text() == before
    assert run(root, out, "--seed", "1", "--overwrite") == 0
    assert run(tmp_path / "nowhere", tmp_path / "new.json") == 1
    assert "not found; looked for" in capsys.readouterr().err
    for wrong in (["--val", "1"], ["--group", "("], ["--set", "train"]):
        with pytest.raises(SystemExit):
            run(root, out, *wrong)


def scene(seed: int) -> np.ndarray:
    """A landscape of blobs."""
    noise = np.random.default_rng(seed).uniform(0, 255, (64, 64)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return 20 + 200 * (smooth - smooth.min()) / (smooth.max() - smooth.min())


def test_recordings_of_one_scene_stay_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``b`` shows scene 1 and then 2, so that a, b and c are one; frames differ by noise."""
    shown = {"a": [1, 1], "b": [1, 2], "c": [2, 2], "d": [3, 3], "e": [4, 4], "f": [3, 5]}
    rng = np.random.default_rng(0)
    for name, of_frames in shown.items():
        (tmp_path / f"set/videos/{name}").mkdir(parents=True)
        for at, seed in enumerate(of_frames):
            image = scene(seed) + rng.integers(-3, 4, (64, 64))
            assert cv2.imwrite(str(tmp_path / f"set/videos/{name}/{at}.png"), image.astype(np.uint8))
    (tmp_path / "set/labels.csv").write_text("video,frame,x,y,w,h\na,0,1,1,2,2\n")

    def sides(seed: int, *more: str) -> dict[str, str]:
        out = tmp_path / "split.json"
        given = ["--val", "0.4", "--seed", str(seed), "--overwrite", *more]
        assert run(tmp_path / "set", out, *given, fmt="video_csv") == 0
        return {name: side for side, names in json.loads(out.read_text()).items() for name in names}

    for seed in range(6):
        found = sides(seed, "--scenes")
        assert set(found) == set(shown)
        assert found["a"] == found["b"] == found["c"] and found["d"] == found["f"]
    for more in ([], ["--scenes", "--likeness", "0.9999"]):  # a likeness that no pair reaches
        assert {found["a"] == found["b"] for found in (sides(seed, *more) for seed in range(6))} == {True, False}
    assert run(tmp_path / "set", tmp_path / "one.json", "--scenes", "--likeness", "-1", fmt="video_csv") == 1
    assert "all 6 recordings show one scene" in capsys.readouterr().err and not (tmp_path / "one.json").exists()


def test_groups_of_names_and_of_scenes_are_joined() -> None:
    groups = {"x": ["x1", "x2"], "y": ["y1"], "z": ["z1"], "w": ["w1"]}
    found = split.joined(groups, [["x2", "y1"], ["z1"], ["y1", "w1"]])
    assert sorted(map(sorted, found.values())) == [["w1", "x1", "x2", "y1"], ["z1"]]
