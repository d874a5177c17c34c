"""Folders of one's own: recordings apart, gaps, and folders that do not end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tdcnet.data import walks
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.folders import running_numbers, sources
from tdcnet.data.formats import coco, yolo
from tdcnet.data.frames import open_source
from tdcnet.data.names import naming
from tdcnet.data.sequence import Sequence


def images(folder: Path, *names: str) -> Path:
    """Images whose grey value is their place among the names."""
    for at, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), np.full((8, 8), at, np.uint8))
    return folder


def greys(sequence: Sequence) -> list[int]:
    return [int(sequence.frames.read(at)[0, 0]) for at in range(len(sequence))]


# -- recordings --------------------------------------------------------------------------------------------------------


def test_a_folder_of_two_recordings_with_a_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = images(tmp_path / "set", "b_10.png", "b_9.png", "a_1.png", "a_2.png", "a_5.png", "b_11.png")
    one, two = sources(folder)
    assert (one.name, greys(one), one.segment_start.tolist()) == ("set_a", [2, 3, 4], [0, 0, 2])
    assert (two.name, greys(two), two.segment_start.tolist()) == ("set_b", [1, 0, 5], [0, 0, 0])
    assert one.clip_indices(2, 3) == [2, 2, 2] and two.clip_indices(2, 3) == [0, 1, 2]
    assert "frames are missing in 1 places, such as 2 after a_2.png" in caplog.text
    # As one source they come one after the other, and numbers tell where a clip must end.
    assert [int(f) for f in running_numbers(open_source(folder).paths)] == [0, 1, 4, 6, 7, 8]  # type: ignore[attr-defined]


def test_one_recording_keeps_the_name_of_its_folder(tmp_path: Path) -> None:
    (only,) = sources(images(tmp_path / "clip.v2", "f_0.png", "f_1.png"))
    assert (only.name, only.segment_start.tolist()) == ("clip.v2", [0, 0])


def test_images_without_order_are_looked_at_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = images(tmp_path / "set", "rec_1.png", "rec_2.png", "cover.png", "tower.png", "other_7.png")
    rec, alone = sources(folder)
    assert (rec.name, greys(rec)) == ("set_rec", [0, 1])
    assert (alone.name, sorted(greys(alone)), alone.segment_start.tolist()) == ("set_single", [2, 3, 4], [0, 1, 2])
    assert "3 of 5 images have no other image of their recording" in caplog.text and "dataset.names" in caplog.text


def test_folders_in_a_folder_and_the_same_number_twice(tmp_path: Path) -> None:
    folder = images(tmp_path / "set", "night/1.png", "night/2.png", "day/1.png", "day/2.png")
    assert [s.name for s in sources(folder)] == ["set_day", "set_night"]
    images(folder / "day", "01.bmp")
    with pytest.raises(DataError, match=r"01\.bmp and 1\.png are the same frame number.*dataset\.names"):
        sources(folder)
    with naming(r"(?P<frame>\d+)\.(?P<recording>\w+)"):
        assert len(sources(folder / "day")) == 2


def module(read: Callable[..., list[Sequence]], **options: Any) -> ClipDataModule:
    return ClipDataModule(read, "somewhere", (32, 32), align="none", **options)


def test_recordings_of_one_frame_stop_a_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = images(tmp_path / "set", *(f"r{r}_{t}.png" for r in range(9) for t in range(2)), "x_1.png", "y_1.png")

    def read(root: Path, split: str, **_: Any) -> list[Sequence]:
        found = sources(folder)
        lone = found.pop()
        return [*found, *(sources(images(tmp_path / f"l{at}", "0.png"))[0] for at in range(len(lone)))]

    with pytest.raises(DataError, match=r"2 of 11 recordings have one frame only.*dataset\.names=.*frames=1.*allow"):
        module(read).setup("fit")
    for options in ({"num_frames": 1}, {"one_frame_recordings": "allow"}):
        module(read, **options).setup("fit")
    assert "2 of 11 recordings have one frame only" in caplog.text
    module(lambda *a, **k: read(*a, **k)[:10]).setup("fit")  # a tenth may be chance
    with pytest.raises(ValueError, match="one_frame_recordings is 'stop'; allowed are error, allow"):
        module(read, one_frame_recordings="stop")


def test_the_module_hands_its_pattern_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = images(tmp_path / "set", "1-a.png", "2-a.png", "1-b.png", "2-b.png")
    with pytest.raises(ValueError, match=r"dataset\.names=\( is no regular expression"):
        module(yolo.read, names="(")
    data = module(lambda *_, **__: sources(folder), names=r"(?P<frame>\d)-")
    with pytest.raises(DataError, match="same frame number"):
        data.setup("fit")
    data = module(lambda *_, **__: sources(folder)[:1], names=r"(?P<frame>\d)-(?P<recording>.)\.")
    with naming(data.names):
        assert [sequence.name for sequence in sources(folder)] == ["set_a", "set_b"]

    def by_itself(*_: Any, **__: Any) -> list[Sequence]:
        return [
            Sequence("a\nb" * 100, s.frames, s.boxes, s.labels, s.indices, s.segment_start) for s in sources(folder)
        ]

    with naming(None):
        data = module(lambda *_, **__: unnamed, names=r"(?P<frame>\d)")
        unnamed = by_itself()
    data.setup("validate")
    assert "dataset.names is not used" in caplog.text and "names that files cannot have" in caplog.text
    assert all(len(s.name) < 150 and s.name.isprintable() for s in data.val_dataset.sequences)  # type: ignore[union-attr]


# -- walks and paths ---------------------------------------------------------------------------------------------------


def test_links_do_not_lead_round_in_circles(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    top = images(tmp_path / "set", "train/a/1.png", "val/b/1.png")
    outside = images(tmp_path / "elsewhere", "c/1.png")
    (top / "train/0_loop").symlink_to(top / "train")
    (top / "train/a/up").symlink_to(top)
    (top / "train/a2").symlink_to(top / "train/a")
    (top / "train/disk").symlink_to(outside)
    found = [path.relative_to(top).as_posix() for path in walks.walk(top / "train")]
    assert found == ["train/a/1.png", "train/disk/c/1.png"]
    assert "passed over 3 links to folders seen before" in caplog.text


def test_walks_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images(tmp_path, "a/b/c/1.png", "a/2.png", "a/3.png")
    monkeypatch.setattr(walks, "MOST_LEVELS", 2)
    with pytest.raises(DataError, match=r"holds more than 2 levels, .*TDCNET_LIMITS"):
        walks.walk(tmp_path)
    monkeypatch.setattr(walks, "MOST_LEVELS", 3)
    monkeypatch.setattr(walks, "MOST_ENTRIES", 5)
    with pytest.raises(DataError, match="holds more than 5 files"):
        walks.walk(tmp_path)
    monkeypatch.setenv("TDCNET_LIMITS", "2")
    assert len(walks.walk(tmp_path)) == 3


@pytest.mark.parametrize("entry", ["/", "{}/other", "../other", "lists.txt"])
def test_yolo_does_not_leave_its_folder(tmp_path: Path, entry: str) -> None:
    images(tmp_path / "other", "1.png", "2.png")
    root = images(tmp_path / "set", "images/val/1.png")
    (root / "lists.txt").write_text(f"{tmp_path}/other/1.png\n")
    (root / "data.yaml").write_text(f"train: {entry.format(tmp_path)}\nval: images/val\nnames: [a]\n")
    with pytest.raises(DataError, match="leads out of the data set"):
        yolo.read(root, "train")
    assert yolo.read(root, "val", problems=Problems("skip"))[0].name == "val"
    # What one links to is one's own, and lists may hold the real path of a root that is a link.
    (root / "link").symlink_to(tmp_path / "other")
    (root / "real.txt").write_text(f"{root}/images/val/1.png\n")
    (tmp_path / "root").symlink_to(root)
    (root / "data.yaml").write_text("train: [link, real.txt]\nval: images/val\nnames: [a]\n")
    problems = Problems("skip")
    assert sorted(len(s) for s in yolo.read(tmp_path / "root", "train", problems=problems)) == [1, 2]
    assert len(problems.found) == 1, "none has a label file"


def test_coco_does_not_leave_its_folder(tmp_path: Path) -> None:
    images(tmp_path / "other", "1.png")
    root = images(tmp_path / "set", "images/a/1.png")
    entries = [{"id": 1, "file_name": "images/a/1.png"}, {"id": 2, "file_name": "../other/1.png"}]
    (root / "train.json").write_text(
        json.dumps({"images": entries, "annotations": [], "categories": [{"id": 0, "name": "a"}]})
    )
    with pytest.raises(DataError, match=r"image 2: file_name leads out of .*dataset\.read\.images"):
        coco.read(root, "train")
    assert len(coco.read(root, "train", problems=Problems("skip"))) == 1


def test_inside(tmp_path: Path) -> None:
    assert walks.inside(tmp_path / "a/../b", [tmp_path])
    assert not walks.inside(tmp_path / "../b", [tmp_path])
    assert not walks.inside(Path(f"{tmp_path}2/a"), [tmp_path])
    assert walks.inside(Path("a/b"), [Path("a")]) and walks.inside(Path("/a"), [Path("/")])
