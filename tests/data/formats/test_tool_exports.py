"""Exports of labelling tools, on sets made by their documented formats: boxes by hand, sides, classes."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdcnet.commands import split as split_command
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import cvat, label_studio, mot, pool, reader, voc
from tdcnet.data.formats.shapes import Box, KeyFrame, by_frame, turned
from tests.fuzz import layouts

TOOLS = ("cvat", "label_studio", "mot", "voc")


def boxes(sequence: Any) -> list[list[list[float]]]:
    return [np.round(each, 4).tolist() for each in sequence.boxes]


def labels(sequence: Any) -> list[list[int]]:
    return [each.tolist() for each in sequence.labels]


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


def test_voc(tmp_path: Path) -> None:
    layouts.voc(tmp_path)
    (train,) = voc.read(tmp_path, "train")
    (val,) = voc.read(tmp_path, "val")
    assert (train.name, val.name) == ("t", "v")
    assert boxes(train) == [[], *[[[1, 2, 5, 6.5]]] * 3]
    assert train.classes == voc.class_names(tmp_path) == ("drone",)
    assert [Path(train.frames.where(i)).name for i in range(4)] == [f"t_{i}.png" for i in range(4)]
    # Pixels counted from 1, the last one included, are edges from 0, the last one not.
    (ones,) = voc.read(tmp_path, "train", first_pixel=1)
    assert boxes(ones)[1] == [[0, 1, 5, 6.5]]


def test_voc_in_one_folder_a_side_as_roboflow_has_it(tmp_path: Path) -> None:
    layouts.voc(tmp_path)
    for folder, side in (("train", "t"), ("valid", "v")):
        (tmp_path / folder).mkdir()
        for path in (*tmp_path.glob(f"JPEGImages/{side}_*"), *tmp_path.glob(f"Annotations/{side}_*")):
            path.rename(tmp_path / folder / path.name)
    for path in tmp_path.glob("ImageSets/Main/*.txt"):
        path.unlink()
    (train,) = voc.read(tmp_path, "train")
    assert (train.name, len(train), boxes(train)[3]) == ("train", 4, [[1, 2, 5, 6.5]])
    (val,) = voc.read(tmp_path, "val")
    assert (val.name, len(val)) == ("valid", 4)


def test_mot(tmp_path: Path) -> None:
    layouts.mot(tmp_path)
    (train,) = mot.read(tmp_path, "train")
    # x and y count from 1; the third line has a 0 in its seventh place and is not considered.
    assert boxes(train) == [[[1, 2, 5, 7.5]], [[2, 2, 6, 7]], []]
    assert labels(train) == [[0], [1], []]
    assert train.name == "train_a"
    assert train.classes == mot.class_names(tmp_path) == ("drone", "bird")
    assert boxes(mot.read(tmp_path, "train", first_pixel=0)[0])[0] == [[2, 3, 6, 8.5]]
    (tmp_path / "train/a/gt/labels.txt").unlink()
    assert mot.class_names(tmp_path) == ("1", "2")
    for path in tmp_path.glob("*/*/gt/gt.txt"):
        path.write_text("2,1,3,3,4,5,1,-1,-1,-1\n")
    assert mot.class_names(tmp_path) == ("target",)
    assert labels(mot.read(tmp_path, "val")[0]) == [[], [0], []]


def test_mot_without_sides_is_dealt_out(tmp_path: Path) -> None:
    layouts.mot(tmp_path)
    for side in ("train", "val"):
        (next((tmp_path / side).iterdir())).rename(tmp_path / f"{side[0]}1")
        (tmp_path / side).rmdir()
    with pytest.raises(
        FileNotFoundError, match=r"split not found.*split\.json.*tdcnet split.*the recordings are t1, v1"
    ):
        mot.read(tmp_path, "train")
    arguments = ["--format", "mot", "--root", str(tmp_path), "--val", "0.5", str(tmp_path / "split.json")]
    assert split_command.main(arguments) == 0
    names = {mot.read(tmp_path, split)[0].name for split in ("train", "val")}
    assert names == {"t1", "v1"}


def test_cvat(tmp_path: Path) -> None:
    layouts.cvat(tmp_path)
    images, video = cvat.read(tmp_path, "train", cache_dir=tmp_path / "cache")
    assert (images.name, video.name) == ("a", "c")
    (tracks,) = cvat.read(tmp_path, "val")
    # From frame 0 on, seen until frame 2 ends it: there it is gone, and the box stays where it was.
    assert boxes(tracks) == boxes(video) == [[[1, 2, 5, 6.5]], [[1, 2, 5, 6.5]], []]
    turned_box, polygon = boxes(images)[0]
    assert polygon == [1, 1, 5, 6]
    # 4 x 4.5 px turned by 10 degrees about its centre (3, 4.25): half sides are (2 c + 2.25 s, 2 s + 2.25 c).
    c, s = np.cos(np.radians(10)), np.sin(np.radians(10))
    half = 2 * c + 2.25 * s, 2 * s + 2.25 * c
    np.testing.assert_allclose(turned_box, [3 - half[0], 4.25 - half[1], 3 + half[0], 4.25 + half[1]], atol=1e-3)
    assert cvat.class_names(tmp_path) == ("drone",)


def test_cvat_moves_a_box_from_one_entry_to_the_next(tmp_path: Path) -> None:
    layouts.cvat(tmp_path)
    edit(tmp_path / "b/annotations.xml", lambda text: text.replace('outside="1"', 'outside="0"'))
    (tracks,) = cvat.read(tmp_path, "val")
    assert boxes(tracks) == [[[1, 2, 5, 6.5]], [[2, 2, 6, 6.5]], [[3, 2, 7, 6.5]]]


def test_cvat_sides_of_subsets_and_other_shapes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layouts.cvat(tmp_path)
    (tmp_path / "split.json").unlink()
    for name in "bc":
        (tmp_path / name / "annotations.xml").unlink()
    path = tmp_path / "a/annotations.xml"
    edit(
        path,
        lambda text: (
            text.replace('id="0" name', 'id="0" subset="Validation" name')
            .replace('id="1" name', 'id="1" subset="Train" name')
            .replace('id="2" name', 'id="2" subset="Train" name')
            .replace("</image>", '<points label="drone" points="1,1"/></image>')
            .replace(
                '<polygon label="drone" points="1,1;5,1;5,6"/>',
                '<mask label="drone" left="3" top="4" width="2" height="5" rle=""/>',
            )
        ),
    )
    with caplog.at_level(logging.WARNING):
        (train,) = cvat.read(tmp_path, "train")
    assert len(train) == 2
    assert boxes(train)[0][1] == [3, 4, 5, 9]
    assert "passed over 3 points" in caplog.text


def test_label_studio(tmp_path: Path) -> None:
    layouts.label_studio(tmp_path)
    images, video = label_studio.read(tmp_path, "train", cache_dir=tmp_path / "cache")
    assert (images.name, video.name) == ("a", "film")
    height, width = layouts.HEIGHT, layouts.WIDTH
    box = [0.1 * width, 0.25 * height, 0.3 * width, 0.5 * height]
    np.testing.assert_allclose(images.boxes[0], [box], atol=1e-4)
    # Frames count from 1; the entry on the third ends it.
    np.testing.assert_allclose(video.boxes[1], [box], atol=1e-4)
    assert video.boxes[2].shape == (0, 4)
    assert images.classes == label_studio.class_names(tmp_path) == ("bird", "drone")
    assert labels(video)[0] == [0]


def test_label_studio_takes_the_annotation_that_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layouts.label_studio(tmp_path)
    path = tmp_path / "project.json"
    tasks = json.loads(path.read_text())
    empty = {"result": [], "was_cancelled": False}
    tasks[0]["annotations"].append({**empty, "was_cancelled": True})
    tasks[1]["annotations"].append(empty)
    tasks[2]["annotations"] = []
    tasks[3]["annotations"] = [{**tasks[3]["annotations"][0], "ground_truth": True}, empty]
    tasks[3]["annotations"][0]["result"].append({"type": "brushlabels", "value": {}})
    path.write_text(json.dumps(tasks))
    with caplog.at_level(logging.WARNING):
        train = label_studio.read(tmp_path, "train")[0]
        (val,) = label_studio.read(tmp_path, "val")
    assert [len(each) for each in train.boxes] == [1, 0]
    assert [len(each) for each in val.boxes] == [1]
    assert "left out 1 tasks without an annotation" in caplog.text
    assert "left out 1 shapes of other kinds" in caplog.text


def test_label_studio_min_is_told(tmp_path: Path) -> None:
    layouts.label_studio(tmp_path)
    (tmp_path / "project.json").write_text('[{"image": "a.png", "label": []}]')
    with pytest.raises(DataError, match=r"project\.json: expected a list of tasks.*not JSON-MIN"):
        label_studio.read(tmp_path, "train")


@pytest.mark.parametrize("name", TOOLS)
def test_what_is_missing_is_named(name: str, tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="not found; looked for"):
            reader(name).read(root, "train")
    with pytest.raises(ValueError, match="split is 'both'"):
        reader(name).read(tmp_path, "both")


def test_bad_entries_are_named_and_left_out(tmp_path: Path) -> None:
    layouts.voc(tmp_path / "voc")
    edit(tmp_path / "voc/Annotations/t_1.xml", lambda text: text.replace("<xmax>5</xmax>", "<xmax>wide</xmax>"))
    edit(tmp_path / "voc/Annotations/t_2.xml", lambda text: text.replace("<width>32", "<width>41"))
    edit(tmp_path / "voc/Annotations/t_3.xml", lambda text: text[:50])
    problems = Problems("skip")
    (train,) = voc.read(tmp_path / "voc", "train", problems=problems)
    assert boxes(train) == [[], []]
    assert [text for text in map(str, problems.found) if "t_1.xml, object 1" in text and "'wide'" in text]
    assert [text for text in map(str, problems.found) if "t_2.xml" in text and "says 41x" in text]
    assert [text for text in map(str, problems.found) if "t_3.xml" in text and "not XML" in text]
    layouts.mot(tmp_path / "mot")
    edit(tmp_path / "mot/train/a/gt/gt.txt", lambda text: f"{text}9,1,2,3,4,5,1,1,1\n1,1,2,3\n1,1,2,3,4,5,1,7,1\n")
    problems = Problems("skip")
    mot.read(tmp_path / "mot", "train", problems=problems)
    assert len(problems.found) == 3
    with pytest.raises(DataError, match=r"gt\.txt:4: is of frame 9.*Correct or delete"):
        mot.read(tmp_path / "mot", "train")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "document type"),
        ("<a>" * 100 + "</a>" * 100, "nested more than"),
        ("<annotations><image></annotations>", "not XML that can be used"),
    ],
)
def test_xml_that_is_not_read(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(DataError, match=rf"annotations\.xml: .*{fault}"):
        cvat.read(tmp_path, "train")


def test_tracks_without_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdcnet.data.formats.shapes.MOST_BOXES", 50)
    far = [KeyFrame(0, [0, 0, 1, 1], True, "a"), KeyFrame(10**9, [0, 0, 1, 1], True, "a")]
    assert sorted(by_frame([("drone", far)], 9, "here")) == [*range(10), 10**9]  # what lists the last will be named
    with pytest.raises(DataError, match="here: has more than 50 boxes"):
        by_frame([("drone", far)] * 6, 9, "here")
    # The first of one frame's two entries does not count.
    assert by_frame([("drone", [*far[:1], KeyFrame(0, [2, 2, 3, 3], True, "b")])], 9, "here") == {
        0: [Box([2, 2, 3, 3], "drone", "b", 0)]
    }


def test_a_turned_box() -> None:
    np.testing.assert_allclose(turned([0, 0, 4, 2], 90, (0, 0)), [-2, 0, 0, 4], atol=1e-9)
    assert turned([0, 0, 4, 2], 360, (0, 0)) == [0, 0, 4, 2]


def test_files_are_found_by_the_end_of_their_path(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a/1.png", "b/1.png", "b/2.png")]
    files = pool.Files(paths, tmp_path)
    assert files.find("/home/x/b/1.png") == paths[1]
    assert files.find("C:\\x\\a\\1.jpg") == paths[0]
    assert files.find("2") == paths[2]
    assert "2 images are called 1.png" in str(files.find("c/1.png"))
    assert "there is no image 3.png" in str(files.find("b/3.png"))


def test_a_second_file_of_labels_is_not_mixed_in(tmp_path: Path) -> None:
    layouts.voc(tmp_path)
    (tmp_path / "old").mkdir()
    (tmp_path / "old/t_1.xml").write_text((tmp_path / "Annotations/t_1.xml").read_text().replace(">5<", ">9<"))
    with pytest.raises(DataError, match=r"old/t_1\.xml: tells of .*t_1\.png, and so does .*Annotations/t_1\.xml"):
        voc.read(tmp_path, "train")
    assert boxes(voc.read(tmp_path, "train", problems=Problems("skip"))[0])[1] == [[1, 2, 5, 6.5]]


def test_what_a_list_names_and_is_not_there_is_told(tmp_path: Path) -> None:
    layouts.voc(tmp_path)
    edit(tmp_path / "ImageSets/Main/train.txt", lambda text: f"{text}t_9\n")
    with pytest.raises(DataError, match=r"ImageSets/Main: the lists name 't_9', and there is no image"):
        voc.read(tmp_path, "train")


def test_an_address_that_is_none(tmp_path: Path) -> None:
    layouts.label_studio(tmp_path)
    edit(tmp_path / "project.json", lambda text: text.replace("/data/upload/1/0a1b2c3d-a_0.png", "http://[a_0.png"))
    with pytest.raises(DataError, match=r"project\.json, task 0: its data name no image or video"):
        label_studio.read(tmp_path, "train")


def test_only_videos_of_the_side_are_decoded(tmp_path: Path) -> None:
    layouts.cvat(tmp_path)
    (tmp_path / "c/film.mkv").write_bytes(b"none")
    assert len(cvat.read(tmp_path, "val")) == 1
    assert cvat.class_names(tmp_path) == ("drone",)
    with pytest.raises(DataError, match=r"film\.mkv: cannot be used"):
        cvat.read(tmp_path, "train", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("name", TOOLS)
def test_a_reader_can_be_pickled(name: str) -> None:
    read = reader(name).read
    assert pickle.loads(pickle.dumps(read)) is read


def test_frames_whose_labels_cannot_be_read_are_left_out_and_not_taken_for_empty(tmp_path: Path) -> None:
    layouts.voc(tmp_path / "voc")
    broken = next((tmp_path / "voc").rglob("t_1.xml"))
    broken.write_text("<annotation>")
    with pytest.raises(DataError) as told:
        voc.read(tmp_path / "voc", "train")
    assert str(told.value).count(broken.name) == 1, "named once"
    (train,) = voc.read(tmp_path / "voc", "train", problems=Problems("skip"))
    assert [Path(train.frames.where(i)).name for i in range(len(train))] == ["t_0.png", "t_2.png", "t_3.png"]
    layouts.mot(tmp_path / "mot")
    gt = tmp_path / "mot/train/a/gt/gt.txt"
    gt.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="no usable frame"):
        mot.read(tmp_path / "mot", "train", problems=Problems("skip"))


def test_cvats_tracks_of_one_task_are_not_put_on_anothers_images(tmp_path: Path) -> None:
    """Of two tasks the first one's labels are gone: its images are not taken for the other's."""
    layouts.cvat(tmp_path)
    for path in ("a/annotations.xml", "c/annotations.xml", "split.json"):
        (tmp_path / path).unlink()
    (tracks,) = cvat.read_all(tmp_path)
    assert [Path(tracks.frames.where(i)).parent.name for i in range(len(tracks))] == ["images"] * 3
    assert all("/b/" in tracks.frames.where(i) for i in range(len(tracks)))


def test_voc_lists_of_other_names_and_with_folders(tmp_path: Path) -> None:
    layouts.voc(tmp_path)
    lists = tmp_path / "ImageSets/Main"
    train = [line.split()[0] for line in (lists / "train.txt").read_text().splitlines() if line.strip()]
    (lists / "train.txt").write_text("".join(f"JPEGImages/{name}\n" for name in train[:-1]))
    val = sorted(path.stem for path in tmp_path.glob("JPEGImages/v_*"))[:2]
    for found in lists.glob("*.txt"):
        if found.name != "train.txt":
            found.unlink()
    (lists / "valid.txt").write_text("\n".join(val))
    (read,) = voc.read(tmp_path, "train")
    assert [Path(read.frames.where(i)).stem for i in range(len(read))] == train[:-1], "in no list, on no side"
    (read,) = voc.read(tmp_path, "val")
    assert [Path(read.frames.where(i)).stem for i in range(len(read))] == val
    (lists / "valid.txt").rename(lists / "test.txt")
    (read,) = voc.read(tmp_path, "val")
    assert len(read) == 2, "a test side stands for a validation side where there is none"
