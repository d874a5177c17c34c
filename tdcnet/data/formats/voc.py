"""Pascal VOC: an XML file per image, as LabelImg, CVAT, Roboflow and others write them.

Layout::

    root/JPEGImages/NAME_000000.png   root/Annotations/NAME_000000.xml   or both in one folder, or in others
    root/ImageSets/Main/train.txt     root/ImageSets/Main/val.txt: names without suffix; may be absent
    root/split.json                   {"train": [recordings], "val": [..]}; goes before those lists

An image without a file of labels is an empty frame. Without lists and ``split.json`` the folders ``train`` and ``val``
tell the sides. Recordings and numbers are told by the names (:mod:`tdcnet.data.names`).
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from tdcnet.data.errors import Problems
from tdcnet.data.formats import common
from tdcnet.data.formats.pool import Files, Labelled, Pool, read_root, readers
from tdcnet.data.formats.shapes import Box
from tdcnet.data.frames import pick_images
from tdcnet.data.walks import walk
from tdcnet.files import read_text
from tdcnet.shown import shown

CLASSES: tuple[str, ...] = ("target",)
"""Stands for the names in the files; ``class_names`` reads those."""

LISTS = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}


def load(root: Path, problems: Problems, *, first_pixel: int = 0) -> Pool:
    """All images, with what the XML files say of them.

    Args:
        root: the folder that holds images and labels.
        problems: told of bad files and boxes.
        first_pixel: 0 takes ``xmin .. ymax`` for edges, as most tools write them; 1 for the first and last pixel of
            the box, counted from 1, as the data sets of the VOC challenge have them.
    """
    files = walk(root) if root.is_dir() else []
    labels = [path for path in files if path.suffix.lower() == ".xml"]
    if not labels:
        raise FileNotFoundError(
            f"Pascal VOC labels not found; looked for .xml files below {root.absolute()}. {common.HOW_TO_GET}"
        )
    images = pick_images(path for path in files if path.suffix.lower() not in (".xml", ".txt", ".json"))
    found = {path: Labelled(path, str(path)) for path in images}
    by_name = Files(images, root)
    labelled: dict[Path, Path] = {}
    unknown: set[Path | str] = set()
    for path in labels:
        content = read_root(path, "annotation", problems)
        if content is None:  # what its image shows is unknown, which is not nothing
            unknown.add(by_name.find(str(path.with_suffix(""))))
            continue
        image = by_name.find(str(path.with_suffix("")))
        if isinstance(image, str):
            named = (content.findtext("filename") or "").strip()
            image = by_name.find(named) if named else image
        if isinstance(image, str):
            problems.report(path, image, "Copy the image, or delete the file")
            continue
        if image in labelled:
            problems.report(path, f"tells of {image}, and so does {labelled[image]}", "Keep one of them")
            continue
        labelled[image] = path
        _add(found[image], content, path, problems, first_pixel)
    sides = _sides(root)
    for each in found.values():
        each.side = sides.get(each.path.stem, "")
    for stem in sorted(sides.keys() - {path.stem for path in images}):
        problems.report(root / "ImageSets/Main", f"the lists name {shown(stem)}, and there is no image", "Copy it")
    known = [each for path, each in found.items() if path not in unknown]
    return Pool(root, [each for each in known if each.side or not sides])


read, read_all, class_names = readers(load)


def _add(image: Labelled, content: Element, path: Path, problems: Problems, first_pixel: int) -> None:
    """Reads one file."""
    image.where = str(path)
    width, height = (common.whole(content.findtext(f"size/{side}")) for side in ("width", "height"))
    image.size = (height, width) if height and width else None
    for at, each in enumerate(content.iter("object"), start=1):
        name = (each.findtext("name") or "").strip()
        texts = [each.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
        values = [value for text in texts if (value := common.number(text)) is not None]
        if not name or len(name) > 200 or len(values) != 4:
            problems.report(
                f"{path}, object {at}",
                f"expected a name and bndbox with xmin, ymin, xmax, ymax, came {shown(name)} and {shown(texts)}",
                "Correct or delete the object",
            )
            continue
        x1, y1, x2, y2 = values
        image.boxes.append(Box([x1 - first_pixel, y1 - first_pixel, x2, y2], name, f"{path}, object {at}"))


def _sides(root: Path) -> dict[str, str]:
    """By the stem of an image, of the lists that there are."""
    sides: dict[str, str] = {}
    for side, words in LISTS.items():
        for word in words:
            path = root / "ImageSets/Main" / f"{word}.txt"
            if path.is_file():
                lines = read_text(path).split("\n")
                sides |= {line.split()[0].rpartition("/")[2]: side for line in lines if line.strip()}
    return sides
