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
from typing import Any
from xml.etree.ElementTree import Element

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common, pool
from tdcnet.data.formats.pool import SPLIT_FILE, Files, Labelled, Pool
from tdcnet.data.frames import pick_images
from tdcnet.data.sequence import Sequence
from tdcnet.data.walks import walk
from tdcnet.files import read_text, read_xml
from tdcnet.shown import shown

CLASSES: tuple[str, ...] = ("target",)
"""Stands for the names in the files; :func:`class_names` reads those."""

LISTS = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    split_file: str = SPLIT_FILE,
    first_pixel: int = 0,
) -> list[Sequence]:
    """Reads one side of the split, a sequence per recording.

    Args:
        root: the folder that holds images and labels.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad files and boxes; stops at the first if None.
        cache_dir: not used here; all readers take the same arguments.
        split_file: names of recordings by side, relative to root.
        first_pixel: 0 takes ``xmin .. ymax`` for edges, as most tools write them; 1 for the first and last pixel of
            the box, counted from 1, as the data sets of the VOC challenge have them.

    Raises:
        FileNotFoundError: if root holds no such labels, or nothing tells the sides.
        DataError: at the first problem (policy ``"error"``), or if the split holds no usable frame.
    """
    common.check_split(split)
    problems = problems or Problems()
    return pool.sequences_of(load(Path(root), problems, first_pixel), split, problems, cache_dir, split_file)


def read_all(
    root: Path | str, *, problems: Problems | None = None, cache_dir: Path | None = None, first_pixel: int = 0, **_: Any
) -> list[Sequence]:
    """All recordings, of no split; arguments and errors as those of :func:`read`."""
    problems = problems or Problems()
    return pool.sequences_of(load(Path(root), problems, first_pixel), None, problems, cache_dir)


def class_names(root: Path | str, **_: Any) -> tuple[str, ...]:
    """The names in all files, by alphabet: what labels index into."""
    return load(Path(root), Problems("skip"), 0).names()


def load(root: Path, problems: Problems, first_pixel: int) -> Pool:
    """All images, with what the XML files say of them."""
    files = walk(root) if root.is_dir() else []
    labels = [path for path in files if path.suffix.lower() == ".xml"]
    if not labels:
        raise FileNotFoundError(
            f"Pascal VOC labels not found; looked for .xml files below {root.absolute()}. {common.HOW_TO_GET}"
        )
    images = pick_images(path for path in files if path.suffix.lower() not in (".xml", ".txt", ".json"))
    found = {path: Labelled(path, str(path)) for path in images}
    by_name = Files(images, root)
    for path in labels:
        try:
            content = read_xml(path)
        except DataError as error:
            problems.report(path, f"cannot be used ({error})", "Correct it")
            continue
        if content.tag != "annotation":
            problems.report(path, f"its root is <{shown(content.tag)[1:-1]}>, expected <annotation>", "Move it out")
            continue
        image = by_name.find(str(path.with_suffix("")))
        if isinstance(image, str):
            named = (content.findtext("filename") or "").strip()
            image = by_name.find(named) if named else image
        if isinstance(image, str):
            problems.report(path, image, "Copy the image, or delete the file")
            continue
        _add(found[image], content, path, problems, first_pixel)
    sides = _sides(root)
    for each in found.values():
        each.side = sides.get(each.path.stem, "")
    kept = [each for each in found.values() if each.side or not sides]
    return Pool(root, kept)


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
        image.boxes.append(([x1 - first_pixel, y1 - first_pixel, x2, y2], name, f"{path}, object {at}"))


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
