"""A tiny copy of each layout of data sets that the readers know; both sides of the split hold something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np

HEIGHT, WIDTH = 24, 32
BOX = [4, 5, 9, 9]


def image(path: Path, seed: int, dtype: type = np.uint8) -> None:
    """A picture that no other seed has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    most = np.iinfo(dtype).max
    pixels = np.random.default_rng(seed).integers(0, most, (HEIGHT, WIDTH), dtype, endpoint=True)
    assert cv2.imwrite(str(path), pixels)


def mask(path: Path, x: int, value: int = 255) -> None:
    """A target of 3 x 2 px."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[4:6, x : x + 3] = value
    assert cv2.imwrite(str(path), pixels)


def video(path: Path, frames: int = 3, codec: str = "FFV1") -> None:
    """Frames of different grey levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (WIDTH, HEIGHT), False)
    for i in range(frames):
        writer.write(np.full((HEIGHT, WIDTH), 60 * i + 20, np.uint8))
    writer.release()


def text(path: Path, content: str | dict[str, Any] | list[Any]) -> None:
    """Text, or anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def anti_uav(root: Path) -> None:
    """Folders of images with IR_label.json, and a video."""
    rects = [[2, 3, 8, 6], [], [4, 4, 3, 3]]
    for split, name in (("train", "01_a"), ("train", "02_b"), ("val", "03_c")):
        folder = root / split / name
        for i in range(3):
            image(folder / f"{i + 1:06d}.jpg", i)
        text(folder / "IR_label.json", {"exist": [1, 0, 1], "gt_rect": rects})
    video(root / "train/04_d/infrared.mp4")
    text(root / "train/04_d/infrared.json", {"exist": [1, 0, 1], "gt_rect": rects})


def coco(root: Path) -> None:
    """COCO-VID with two recordings a side."""
    for split in ("train", "val"):
        images = [
            {"id": 10 * v + i, "file_name": f"images/{split}{v}/{i}.png", "height": HEIGHT, "width": WIDTH}
            | {"video_id": v, "frame_id": i}
            for v in (1, 2)
            for i in range(3)
        ]
        for each in images:
            image(root / each["file_name"], each["id"])
        boxes = [
            {"id": n, "image_id": each["id"], "category_id": 1, "bbox": [3, 4, 5, 6.5], "area": 32.5, "iscrowd": 0}
            for n, each in enumerate(images, start=1)
        ]
        content = {
            "videos": [{"id": v, "name": f"{split}{v}"} for v in (1, 2)],
            "images": images,
            "annotations": boxes,
            "categories": [{"id": 1, "name": "drone"}, {"id": 2, "name": "bird"}],
        }
        text(root / f"annotations/instances_{split}.json", content)


def _listed(root: Path, folders: dict[str, list[str]], names: dict[str, str], suffix: str, first: int = 0) -> None:
    """Folders of numbered images and lists of their frames with boxes."""
    for split, inside in folders.items():
        lines = []
        for folder in inside:
            for i in range(first, first + 3):
                name = f"{i:08d}" if suffix == ".png" else f"{i}"
                image(root / f"images/{folder}/{name}{suffix}", i)
                lines.append(f"/home/public/images/{folder}/{name}{suffix}" + f" {','.join(map(str, BOX))},0" * (i % 2))
        text(root / names[split], "\n".join(lines) + "\n")


def daub(root: Path) -> None:
    """Lists of text."""
    _listed(root, {"train": ["train/data5"], "val": ["test/data6"]}, {"train": "train.txt", "val": "val.txt"}, ".bmp")


def daub_json(root: Path) -> None:
    """The same set with its lists as JSON."""
    daub(root)
    for split, folder in (("train", "train/data5"), ("val", "test/data6")):
        (root / f"{split}.txt").unlink()
        images = [
            {"height": HEIGHT, "width": WIDTH, "id": i + 1, "file_name": f"images/{folder}/{i}.bmp"} for i in range(3)
        ]
        boxes = [
            {"segmentation": [[]], "iscrowd": 0, "image_id": i + 1, "bbox": [4, 5, 5, 4], "category_id": 0, "id": i + 1}
            for i in range(2)
        ]
        content = {"images": images, "annotations": boxes, "categories": [{"id": 0, "name": "target"}]}
        text(root / f"instances_{'train' if split == 'train' else 'test'}2017.json", content)


def itsdt(root: Path) -> None:
    """Lists of text."""
    lists = {"train": "coco_train_ITSDT.txt", "val": "coco_val_ITSDT.txt"}
    _listed(root, {"train": ["1", "2"], "val": ["58"]}, lists, ".bmp")


def irstd_uav(root: Path) -> None:
    """Lists of text and stored registered frames of one recording."""
    lists = {"train": "train.txt", "val": "val.txt"}
    _listed(root, {"train": ["2", "10"], "val": ["3"]}, lists, ".png", first=45)
    for k in range(1, 5):
        image(root / f"matches/2/{46:08d}/match_{k}.png", k)


def irdst(root: Path) -> None:
    """As the authors of TDCNet list it."""
    _listed(root, {"train": ["1"], "val": ["2"]}, {"train": "train.txt", "val": "val.txt"}, ".bmp")


def irdst_released(root: Path) -> None:
    """As its own authors released it: a text file of boxes for each image."""
    for split in ("train", "test"):
        for i in range(3):
            image(root / f"IRDST_real/images/{split}/{i:08d}.png", i)
            text(root / f"IRDST_real/boxes/{split}/{i:08d}.txt", "[4, 5, 9, 9]\n1 2 3 4\n" if i else "[4, 5, 9, 9]")


def irdst_rdian(root: Path) -> None:
    """Lists of frames with masks."""
    for scene in (41, 42):
        for i in (1, 2, 9):
            image(root / f"images/{scene}/1({i}).bmp", i)
            mask(root / f"masks/{scene}/1({i}).bmp", i)
    text(root / "train.txt", "/41/1(1)\n/41/1(2)\n/41/1(9)\n")
    text(root / "test.txt", "/42/1(1)\n/42/1(2)\n")


def irdst_dtum(root: Path) -> None:
    """Lists by scene and number, with masks."""
    for scene in (1, 252):
        for i in (1, 2, 10):
            image(root / f"images/{scene}/{i}.bmp", i)
            mask(root / f"masks/{scene}/{i}.bmp", i)
    text(root / "img_idx/train_IRDST-simulation.txt", "1/1\n1/2\n1/10\n")
    text(root / "img_idx/test_IRDST-simulation.txt", "252/1\n252/2\n252/10\n")


def nudt_mirsdt(root: Path) -> None:
    """Lists that name .mat files; images and masks lie beside."""
    for n in (1, 2, 85):
        for i in (1, 2):
            image(root / f"Sequence{n}/images/{i:05d}.png", i)
            mask(root / f"Sequence{n}/masks/{i:05d}.png", i)
    lines = ["".join(f"Sequence{n}/Mix/{i:05d}.mat\n" for n in side for i in (1, 2)) for side in ((1, 2), (85,))]
    text(root / "train.txt", lines[0])
    text(root / "test.txt", lines[1])


def satvideo_irsdt(root: Path) -> None:
    """Masks of single pixels, and a list."""
    for split in ("train", "val"):
        for name in ("000001", "000002"):
            for i in (1, 2, 3):
                image(root / f"{split}/{name}/img/{i:06d}.png", i)
                mask(root / f"{split}/{name}/mask/{i:06d}.png", i)
    text(root / "train.txt", "000001\n000002\n")


def single_frame(root: Path) -> None:
    """Images and masks of one name each, and lists."""
    for i, name in enumerate(("Misc_1", "Misc_2", "Misc_3")):
        image(root / f"images/{name}.png", i)
        mask(root / f"masks/{name}_pixels0.png", i + 2)
    text(root / "img_idx/train_NUAA-SIRST.txt", "Misc_1\nMisc_2\n")
    text(root / "img_idx/test_NUAA-SIRST.txt", "Misc_3")


def tsirmt(root: Path) -> None:
    """Folders of images and masks, and lists of recordings."""
    for name in ("00001", "00002", "00003"):
        for i in (9, 10, 11):
            image(root / f"images/{name}/{i}.png", i)
            mask(root / f"masks/{name}/{i}.png", i, 1)
    text(root / "ImageSets/train_new.txt", "00003\n00001\n")
    text(root / "ImageSets/val_new.txt", "00002")


def video_csv(root: Path) -> None:
    """Two videos, a folder of 16-bit images, a table and a split."""
    video(root / "videos/a.mkv")
    video(root / "videos/b.avi")
    for i in (1, 2, 4):
        image(root / f"videos/c/{i}.png", i, np.uint16)
    rows = "a,0,0,0,4,3,drone\na,2,20,9,22,11,bird\nb.avi,1,1,1,3,3,bird\nc,0,5,5,7,7,drone\n"
    text(root / "labels.csv", "video,frame,x1,y1,x2,y2,class\n" + rows)
    text(root / "split.json", {"train": ["a", "c"], "val": ["b"]})


def yolo(root: Path) -> None:
    """A folder a side, one with a list."""
    for split in ("train", "val"):
        for i in range(4):
            image(root / f"images/{split}/a/{i}.png", i)
            text(root / f"labels/{split}/a/{i}.txt", "1 0.5 0.5 0.1 0.2\n0 0.25 0.75 0.05 0.05\n" if i % 2 else "")
    text(root / "val.txt", "".join(f"./images/val/a/{i}.png\n" for i in range(4)))
    text(root / "data.yaml", "path: .\ntrain: images/train\nval: val.txt\nnc: 2\nnames:\n  0: drone\n  1: bird\n")


def drone_ir(root: Path) -> None:
    """Videos and labels; those are MATLAB objects that only MATLAB writes, so their parsed form lies in the cache."""
    from tdcnet.data.formats import drone_ir as reader

    names = ("IR_DRONE_001", "IR_BIRD_002")
    text(root / "split.json", {"train": [names[0]], "val": [names[1]]})
    for name in names:
        video(root / f"videos/{name}.mp4")
        (root / f"videos/{name}_LABELS.mat").write_bytes(b"MATLAB 5.0 MAT-file, stub" + bytes(200))
        rows = np.empty((3, 1), dtype=[(field, object) for field in ("Time", *reader.CLASSES)])
        for field in reader.CLASSES:
            for i in range(3):
                rows[field][i, 0] = np.array([[2.0, 3.0, 4.0, 3.5]]) if field in name else np.zeros((0, 0))
        with mock.patch.object(reader, "load_label_data", return_value=rows):
            reader.label_rows(root / f"videos/{name}_LABELS.mat", root / "cache")


def voc(root: Path) -> None:
    """A file of labels per image, one image without, and lists of both sides."""
    for side, first in (("train", 0), ("val", 4)):
        for i in range(first, first + 4):
            image(root / f"JPEGImages/{side[0]}_{i}.png", i)
            shape = (
                "<object><name>drone</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6.5</ymax></bndbox>"
            )
            if i % 4:
                text(
                    root / f"Annotations/{side[0]}_{i}.xml",
                    f"<annotation><filename>{side[0]}_{i}.png</filename><size><width>32</width><height>24</height></size>"
                    f"{shape}</object></annotation>",
                )
        text(root / f"ImageSets/Main/{side}.txt", "".join(f"{side[0]}_{i}\n" for i in range(first, first + 4)))


def cvat(root: Path) -> None:
    """A task of images, one of tracks on images, and one of tracks on a video."""
    labels = "<meta><task><labels><label><name>drone</name></label></labels></task></meta>"
    for i in range(3):
        image(root / f"a/images/{i}.png", i)
        image(root / f"b/images/frame_{i:06d}.png", i)
    listed = "".join(
        f'<image id="{i}" name="{i}.png" width="32" height="24">'
        '<box label="drone" xtl="1" ytl="2" xbr="5" ybr="6.5" rotation="10"/>'
        '<polygon label="drone" points="1,1;5,1;5,6"/></image>'
        for i in range(3)
    )
    text(root / "a/annotations.xml", f"<annotations>{labels}{listed}</annotations>")
    track = (
        '<track id="0" label="drone"><box frame="0" outside="0" xtl="1" ytl="2" xbr="5" ybr="6.5"/>'
        '<box frame="2" outside="1" xtl="3" ytl="2" xbr="7" ybr="6.5"/></track>'
    )
    text(root / "b/annotations.xml", f"<annotations>{labels}{track}</annotations>")
    text(root / "c/annotations.xml", f"<annotations>{labels}{track}</annotations>")
    video(root / "c/film.mkv")
    text(root / "split.json", {"train": ["a", "c"], "val": ["b"]})


def mot(root: Path) -> None:
    """A recording a side, one with names of classes."""
    for side, name in (("train", "a"), ("val", "b")):
        for i in range(1, 4):
            image(root / f"{side}/{name}/img1/{i:06d}.png", i)
        text(root / f"{side}/{name}/gt/gt.txt", "1,1,2,3,4,5.5,1,1,1\n2,1,3,3,4,5,1,2,0.5\n3,1,3,3,4,5,0,1,1\n")
    text(root / "train/a/gt/labels.txt", "drone\nbird\n")


def label_studio(root: Path) -> None:
    """Images that an upload names, and a video."""
    tasks: list[dict[str, Any]] = []
    for i in range(4):
        image(root / f"images/{'ab'[i // 2]}_{i}.png", i)
        value = {"x": 10, "y": 25.0, "width": 20, "height": 25, "rotation": 0, "rectanglelabels": ["drone"]}
        result = {"type": "rectanglelabels", "original_width": WIDTH, "original_height": HEIGHT, "value": value}
        tasks.append(
            {
                "id": i,
                "data": {"image": f"/data/upload/1/0a1b2c3d-{'ab'[i // 2]}_{i}.png"},
                "annotations": [{"result": [result]}],
            }
        )
    video(root / "film.mkv")
    box = {"x": 10, "y": 25, "width": 20, "height": 25, "rotation": 0, "enabled": True}
    sequence = [{**box, "frame": 1}, {**box, "x": 20, "frame": 3, "enabled": False}]
    result = {"type": "videorectangle", "value": {"sequence": sequence, "labels": ["bird"]}}
    tasks.append({"id": 9, "data": {"video": "s3://bucket/film.mkv"}, "annotations": [{"result": [result]}]})
    text(root / "project.json", tasks)
    text(root / "split.json", {"train": ["a", "film"], "val": ["b"]})
