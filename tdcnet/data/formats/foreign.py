"""Layouts under other names than here, and such as are not read here: what they are, and what to do."""

from __future__ import annotations

import os
from pathlib import Path

_TO_COCO = "export or convert it as COCO JSON (--format coco, dataset=coco) or YOLO (--format yolo, dataset=yolo)"

READ = {
    "voc": "Pascal VOC is read with --format voc, dataset=voc",
    "cvat": "CVAT XML is read with --format cvat, dataset=cvat",
    "mot": "MOT's gt.txt is read with --format mot, dataset=mot",
    "label_studio": "Label Studio's JSON is read with --format label_studio, dataset=label_studio",
}
"""By name: what is said of a layout that is read here, where it is called otherwise or given as another."""
FOREIGN = {
    "labelme": f"labelme's JSON is not read; {_TO_COCO}, for instance with labelme2coco or labelme2yolo",
    "via": f"the JSON of VGG Image Annotator is not read; {_TO_COCO}: it exports COCO itself",
    "darklabel": "DarkLabel's text is not read; save it as a table labels.csv (video,frame,x,y,w,h,label; video_csv)",
    "kitti": f"KITTI's labels are not read; {_TO_COCO}, for instance with Datumaro (-if kitti)",
    "tfrecord": f"TFRecord files are not read; {_TO_COCO}",
}
"""By name: what is said of a layout that is not read here."""

_OTHER_NAMES = {
    "pascal": "voc",
    "pascal_voc": "voc",
    "voc_xml": "voc",
    "xml": "voc",
    "cvat_xml": "cvat",
    "cvat_images": "cvat",
    "cvat_video": "cvat",
    "mot16": "mot",
    "mot17": "mot",
    "mot20": "mot",
    "motchallenge": "mot",
    "mot_challenge": "mot",
    "labelstudio": "label_studio",
    "ls": "label_studio",
    "vgg": "via",
    "tf": "tfrecord",
}


def of_name(name: object) -> str | None:
    """What is to be said about a layout of that name, or None; a name that is one of a reader says enough."""
    if name in READ:
        return None
    key = str(name).strip().lower().replace("-", "_").replace(" ", "_")
    return _said(_OTHER_NAMES.get(key, key))


def _said(kind: str) -> str | None:
    return READ.get(kind) or FOREIGN.get(kind)


def hint(root: Path) -> str:
    """What is to be said about a folder that holds such a layout, to be put behind a message; empty if it does not."""
    for place in (root, *(root / name for name in ("Annotations", "annotations", "labels", "gt"))):
        found = _kind(place)
        if found:
            return f". {place} looks like another layout: {_said(found)}"
    return ""


def of_json(content: object) -> str | None:
    """What is to be said about the content of a JSON file, or None if it is of no kind known here."""
    first = content[0] if isinstance(content, list) and content else content
    if not isinstance(first, dict):
        return None
    if isinstance(content, list) and "data" in first and ("annotations" in first or "completions" in first):
        return READ["label_studio"]
    if "shapes" in first and "imagePath" in first:
        return FOREIGN["labelme"]
    if "_via_img_metadata" in first or all(isinstance(v, dict) and "regions" in v for v in first.values()):
        return FOREIGN["via"] if first else None
    return None


_MOST = 2000  # entries looked at


def _kind(folder: Path) -> str | None:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST), strict=False)]
    except OSError:
        return None
    xml = next((name for name in names if name.lower().endswith(".xml")), None)
    if xml is not None:
        return "cvat" if _says(folder / xml, b"<annotations>") else "voc"
    if "gt.txt" in names or any((folder / name / "gt" / "gt.txt").is_file() for name in names[:20]):
        return "mot"
    if any(name.lower().endswith((".tfrecord", ".tfrecords")) for name in names):
        return "tfrecord"
    return None


def _says(path: Path, word: bytes) -> bool:
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            return word in file.read(2000)
    except OSError:
        return False
