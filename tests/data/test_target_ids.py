"""Which boxes are one target: as data sets tell it, through every step up to the recording, or told by distance."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data.classes import select
from tdcnet.data.degradations import Dropped, Repeated, Shake
from tdcnet.data.degrade import degraded
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import coco, cvat, irstd_uav, mot, video_csv
from tdcnet.data.synthetic import SyntheticConfig, generate_clip, write_dataset
from tdcnet.data.target_ids import linked, numbered


def images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for at in range(1, count + 1):
        cv2.imwrite(str(folder / f"{at:06d}.png"), np.full((40, 60), 9, np.uint8))


def lists(ids: list[np.ndarray] | None) -> list[list[int]]:
    assert ids is not None
    return [each.tolist() for each in ids]


class TestNumbered:
    def test_numbers_names_in_order_of_appearance(self) -> None:
        ids = numbered(["b", 7, "b"], np.array([0, 0, 1]))
        assert ids is not None and ids.tolist() == [0, 1, 0]

    def test_one_that_is_not_told_leaves_all_untold(self) -> None:
        assert numbered([1, None, 2], np.array([0, 1, 2])) is None

    def test_a_target_is_once_on_a_frame(self) -> None:
        assert numbered([1, 1], np.array([3, 3])) is None

    def test_no_boxes_are_told_trivially(self) -> None:
        ids = numbered([], np.zeros(0, np.int64))
        assert ids is not None and len(ids) == 0


class TestReaders:
    # Two targets that change places from one frame to the next: by distance each would be taken for the other.
    GT = "1,5,2,3,4,4,1,1,1\n1,9,32,3,4,4,1,1,1\n2,9,3,3,4,4,1,1,1\n2,5,31,3,4,4,1,1,1\n"

    def test_mot(self, tmp_path: Path) -> None:
        images(tmp_path / "val/a/img1", 2)
        (tmp_path / "val/a/gt").mkdir()
        (tmp_path / "val/a/gt/gt.txt").write_text(self.GT)
        (recording,) = mot.read_all(tmp_path)
        assert lists(recording.target_ids) == [[0, 1], [1, 0]]
        assert linked(recording.boxes)[0][1].tolist() == [0, 1]  # what distance would have said

    @pytest.mark.parametrize(("old", "new", "line"), [("2,9,", "2,-1,", 3), ("2,5,", "2,9,", 4), ("1,9,", "1,x,", 2)])
    def test_mot_with_an_id_that_lacks_or_is_there_twice(self, tmp_path: Path, caplog, old, new, line) -> None:
        images(tmp_path / "val/a/img1", 2)
        (tmp_path / "val/a/gt").mkdir()
        (tmp_path / "val/a/gt/gt.txt").write_text(self.GT.replace(old, new))
        assert mot.read_all(tmp_path)[0].target_ids is None
        assert f"gt.txt:{line}: its target is not told, or is on the frame twice" in caplog.text

    def test_mot_without_any_id_says_nothing(self, tmp_path: Path, caplog) -> None:
        images(tmp_path / "val/a/img1", 2)
        (tmp_path / "val/a/gt").mkdir()
        (tmp_path / "val/a/gt/gt.txt").write_text(self.GT.replace(",5,", ",-1,").replace(",9,", ",-1,"))
        assert mot.read_all(tmp_path)[0].target_ids is None and "target is not told" not in caplog.text

    def test_a_box_left_out_takes_its_target_along(self, tmp_path: Path) -> None:
        images(tmp_path / "val/a/img1", 2)
        (tmp_path / "val/a/gt").mkdir()
        (tmp_path / "val/a/gt/gt.txt").write_text(self.GT.replace("1,5,2,3", "1,5,-90,3"))
        (recording,) = mot.read_all(tmp_path, problems=Problems("skip"))
        first, second = lists(recording.target_ids)
        assert len(first) == 1 and first[0] == second[0] != second[1]  # 9 is the first line of frame 2

    @pytest.mark.parametrize("key", ["track_id", "instance_id"])
    def test_coco_vid(self, tmp_path: Path, key: str) -> None:
        images(tmp_path / "images/a", 2)
        frames = [{"id": at, "file_name": f"a/{at:06d}.png", "height": 40, "width": 60} for at in (1, 2)]
        boxes = [
            {"id": at, "image_id": image, "category_id": 1, "bbox": [x, 3, 4, 4], key: target}
            for at, (image, x, target) in enumerate([(1, 2, 5), (1, 32, 9), (2, 3, 9), (2, 31, 5)], start=1)
        ]
        content = {"images": frames, "annotations": boxes, "categories": [{"id": 1, "name": "t"}]}
        (tmp_path / "val.json").write_text(json.dumps(content))
        (recording,) = coco.read(tmp_path, "val", val="val.json")
        assert lists(recording.target_ids) == [[0, 1], [1, 0]]
        del boxes[0][key]
        (tmp_path / "val.json").write_text(json.dumps(content))
        assert coco.read(tmp_path, "val", val="val.json")[0].target_ids is None

    def test_cvat_tracks(self, tmp_path: Path) -> None:
        images(tmp_path / "a/images", 2)
        box = '<box frame="{}" xtl="{}" ytl="3" xbr="{}" ybr="7" outside="0"/>'
        tracks = [[(1, 2, 6), (2, 31, 35)], [(1, 32, 36), (2, 3, 7)]]
        inner = "".join(f'<track label="t">{"".join(box.format(*each) for each in keys)}</track>' for keys in tracks)
        (tmp_path / "a/annotations.xml").write_text(f"<annotations>{inner}</annotations>")
        (recording,) = cvat.read_all(tmp_path)
        for boxes, ids in zip(recording.boxes, lists(recording.target_ids), strict=True):
            assert len(boxes) == 2 and sorted(ids) == [0, 1]
        at = {
            (frame, int(i)): boxes[n][0]
            for frame, boxes in enumerate(recording.boxes)
            for n, i in enumerate(lists(recording.target_ids)[frame])
        }
        assert at[0, 0] == 2 and at[1, 0] == 31 and at[0, 1] == 32 and at[1, 1] == 3

    def test_table_with_a_column_track(self, tmp_path: Path) -> None:
        images(tmp_path / "v", 2)
        rows = ["v,0,2,3,6,7,left", "v,0,32,3,36,7,right", "v,1,3,3,7,7,right", "v,1,31,3,35,7,left"]
        (tmp_path / "labels.csv").write_text("\n".join(["video,frame,x1,y1,x2,y2,track", *rows]))
        (recording,) = video_csv.read_all(tmp_path)
        assert lists(recording.target_ids) == [[0, 1], [1, 0]]

    @pytest.mark.parametrize(("names", "told"), [("1 1.0 1", [0, 0, 0]), ("a nan a", None), ("7 b 7.5", [0, 1, 2])])
    def test_ids_of_a_table_however_they_are_written(self, tmp_path: Path, names: str, told: list[int] | None) -> None:
        images(tmp_path / "v", 3)
        rows = [f"v,{frame},2,3,6,7,{name}" for frame, name in enumerate(names.split())]
        (tmp_path / "labels.csv").write_text("\n".join(["video,frame,x1,y1,x2,y2,track_id", *rows]))
        (recording,) = video_csv.read_all(tmp_path)
        assert (recording.target_ids is None) == (told is None)
        assert told is None or lists(recording.target_ids) == [[number] for number in told]

    def test_sets_that_do_not_tell(self, tmp_path: Path) -> None:
        images(tmp_path / "images/a", 2)
        (tmp_path / "val.txt").write_text("x/images/a/1.png 1,1,4,4,0\nx/images/a/2.png 2,1,5,4,0\n")
        assert irstd_uav.read(tmp_path, "val")[0].target_ids is None


class TestMadeUp:
    CONFIG = SyntheticConfig(frames=12, targets=(2, 3), height=64, width=64, speed=(2.0, 3.0))

    def test_ids_are_those_of_the_truth(self, tmp_path: Path) -> None:
        write_dataset(tmp_path / "set", self.CONFIG, train_sequences=1, val_sequences=1)
        (recording,) = irstd_uav.read(tmp_path / "set", "val")
        clip, known = generate_clip(self.CONFIG, 2), dict[int, int]()
        for frame, (boxes, ids) in enumerate(zip(recording.boxes, lists(recording.target_ids), strict=True)):
            seen = [(at, truth.box(frame, 64, 64)) for at, truth in enumerate(clip.targets)]
            seen = [(at, box) for at, box in seen if box is not None]
            assert len(seen) == len(boxes)
            for (at, box), given, name in zip(seen, boxes, ids, strict=True):
                np.testing.assert_array_equal(given, box)
                assert known.setdefault(at, name) == name
        assert len(set(known.values())) == len(known) >= 2

    def test_a_list_that_does_not_fit_is_told(self, tmp_path: Path) -> None:
        write_dataset(tmp_path / "set", self.CONFIG, train_sequences=1, val_sequences=1)
        path = tmp_path / "set/val_tracks.txt"
        path.write_text(path.read_text().replace("00000003.png", "00000003.png 77"))
        with pytest.raises(DataError, match=r"val_tracks.txt:4: expected .* a number for each of its boxes"):
            irstd_uav.read(tmp_path / "set", "val")
        assert irstd_uav.read(tmp_path / "set", "val", problems=Problems("skip"))[0].target_ids is None


class TestOnTheWay:
    @pytest.fixture
    def recording(self, tmp_path: Path):
        images(tmp_path / "val/a/img1", 4)
        (tmp_path / "val/a/gt").mkdir()
        lines = [f"{f},{t},{x},9,4,4,1,{c},1" for f in range(1, 5) for t, x, c in ((5, 3 + f, 1), (9, 30 - f, 2))]
        (tmp_path / "val/a/gt/gt.txt").write_text("\n".join(lines))
        (found,) = mot.read_all(tmp_path)
        return found

    def test_classes_left_out(self, recording) -> None:
        (left,) = select([recording], ["2"], "x")
        assert lists(left.target_ids) == [[1]] * 4

    def test_frames_dropped_and_shaken(self, recording) -> None:
        from dataclasses import replace

        recording = replace(recording, target_ids=[np.array([at, at + 10]) for at in range(4)])
        for way in (Dropped(0.5), Repeated(0.5), Shake(12.0)):
            hard = degraded(recording, [way], seed=3)
            assert hard.target_ids is not None
            assert [len(ids) for ids in hard.target_ids] == [len(boxes) for boxes in hard.boxes]
            if isinstance(way, Dropped):
                kept = [int(ids[0]) for ids in hard.target_ids]
                assert kept == sorted(kept) and len(kept) < 4
