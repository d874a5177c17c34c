"""What labelling tools export: frames of recordings with boxes and names of classes, and seldom a split.

The ``load`` of a reader gives a :class:`Pool`; :func:`readers` makes recordings, classes and sides of it. The side of a
recording is, in this order, what ``split.json`` says (``tdcnet split`` writes it), what the export says, or the folder
``train``, ``val``, ``valid`` or ``validation`` that it lies in (``test``, where there is none of these).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element

from tdcnet.data.cache import decode_ahead
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common, video_csv
from tdcnet.data.formats.coco import SPELLINGS
from tdcnet.data.formats.recordings import Frame, build_sequences, name_recordings
from tdcnet.data.formats.shapes import Box
from tdcnet.data.frames import open_source
from tdcnet.data.names import REMEDY, Key, Place, numbers, places
from tdcnet.data.sequence import Sequence
from tdcnet.data.video import open_videos
from tdcnet.files import read_xml
from tdcnet.shown import shown

SPLIT_FILE = "split.json"
SIDES = {word: side for side, words in SPELLINGS.items() for word in words} | {"test": "test"}
"""By the word for it."""


@dataclass
class Labelled:
    """One image file and what an export says of it.

    Attributes:
        path: of the file.
        where: what lists it, for messages.
        size: height and width in px as told, or None.
        boxes: as listed.
        side: ``"train"``, ``"val"`` or ``"test"`` if the export tells it, else empty.
        place: recording and number if the export tells them; else they are told by the names.
    """

    path: Path
    where: str
    size: tuple[int, int] | None = None
    boxes: list[Box] = field(default_factory=list)
    side: str = ""
    place: Place | None = None


@dataclass
class Film:
    """A video and what an export says of it.

    Attributes:
        path: of the file.
        labels: names of the classes that it has.
        boxes: gives those on each frame, of the number of frames and their height and width.
    """

    path: Path
    labels: set[str]
    boxes: Callable[[int, tuple[int, int]], dict[int, list[Box]]]


@dataclass
class Pool:
    """All that an export holds.

    Attributes:
        root: of the data set.
        images: frames that are files.
        films: recordings that are videos, by name.
        classes: names in order; the names in use by alphabet if None.
    """

    root: Path
    images: list[Labelled] = field(default_factory=list)
    films: dict[str, Film] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None

    def names(self) -> tuple[str, ...]:
        """What labels index into."""
        if self.classes:
            return self.classes
        used = {box.name for image in self.images for box in image.boxes}
        used = used.union(*(film.labels for film in self.films.values()))
        if all(common.whole(name) is not None for name in used):
            return tuple(sorted(used, key=int)) or video_csv.CLASSES
        return tuple(sorted(used))

    def add(self, name: str, film: Film, where: object, problems: Problems) -> None:
        """Takes a video, unless there is one of that name."""
        if name in self.films:
            problems.report(where, f"there is another recording {name}, {self.films[name].path}", "Keep one of them")
        else:
            self.films[name] = film


Load = Callable[..., Pool]
Sequences = Callable[..., list[Sequence]]


def readers(load: Load) -> tuple[Sequences, Sequences, Callable[..., tuple[str, ...]]]:
    """``read``, ``read_all`` and ``class_names`` of a module.

    Args:
        load: gives the pool of a root, as ``load(root, problems, **options)``; its options are theirs.
    """

    def read(
        root: Path | str,
        split: str,
        *,
        problems: Problems | None = None,
        cache_dir: Path | None = None,
        split_file: str = SPLIT_FILE,
        **options: Any,
    ) -> list[Sequence]:
        """Reads one side of the split, a sequence per recording.

        Args:
            root: the folder that holds the export.
            split: ``"train"`` or ``"val"``.
            problems: what to do with what cannot be used; stops at the first if None.
            cache_dir: for decoded videos; the default cache if None.
            split_file: names of recordings by side, relative to root; goes before what the export says.
            options: of ``load``.

        Raises:
            FileNotFoundError: if root holds no such export, or nothing tells the sides.
            DataError: at the first problem (policy ``"error"``), or if the split holds no usable frame.
        """
        common.check_split(split)
        problems = problems or Problems()
        return _sequences(load(Path(root), problems, **options), split, problems, cache_dir, split_file)

    def read_all(
        root: Path | str,
        *,
        problems: Problems | None = None,
        cache_dir: Path | None = None,
        split_file: str = SPLIT_FILE,
        **options: Any,
    ) -> list[Sequence]:
        """All recordings, of no split; arguments and errors as those of ``read``."""
        problems = problems or Problems()
        return _sequences(load(Path(root), problems, **options), None, problems, cache_dir, split_file)

    def class_names(root: Path | str, *, split_file: str = SPLIT_FILE, **options: Any) -> tuple[str, ...]:
        """What labels index into: the classes that the export names in their order, else those in use by alphabet."""
        del split_file
        return load(Path(root), Problems("skip"), **options).names()

    for each in (read, read_all, class_names):  # found by their names in the module, as pickle wants them
        each.__module__, each.__qualname__ = load.__module__, each.__name__
    return read, read_all, class_names


def _sequences(
    pool: Pool, split: str | None, problems: Problems, cache_dir: Path | None, split_file: str
) -> list[Sequence]:
    order = {name: at for at, name in enumerate(pool.names())}
    listed: dict[Key, list[tuple[Frame, str]]] = defaultdict(list)
    named = places(_below(image, pool.root) for image in pool.images if image.place is None)
    for image in pool.images:
        place = image.place or named[_below(image, pool.root)]
        if place is None:
            problems.report(image.where, f"{image.path.name} tells no frame number", REMEDY.capitalize())
            continue
        frame = Frame(image.path, place.number, image.where, image.size)
        for box, name, where, target in image.boxes:
            if name not in order:
                problems.report(
                    where, f"class is {shown(name)}; known are {shown(', '.join(order))}", "Correct or delete the box"
                )
                continue
            frame.boxes.append(box)
            frame.labels.append(order[name])
            frame.sources.append(where)
            frame.targets.append(target)
        listed[place.key].append((frame, image.side or _side_of(image.path, pool.root)))
    names: dict[Key | str, str] = {name: name for name in pool.films}
    for key, name in name_recordings(listed, [], split or "pool").items():
        names[key] = name
    sides = {side for frames in listed.values() for _, side in frames}
    sides |= {_side_of(film.path, pool.root) for film in pool.films.values()}
    is_of = _chooser(names, sides, split, pool.root, split_file)
    own, other = {}, []
    for key, frames in listed.items():
        chosen = [frame for frame, side in frames if is_of(key, side)]
        if chosen:
            own[key] = chosen
        if len(chosen) < len(frames):
            other.append(key)
    sequences = build_sequences(own, other, split or "pool", problems)
    films = {name: film for name, film in pool.films.items() if is_of(name, _side_of(film.path, pool.root))}
    sequences += _of_films(films, pool.root, tuple(order), problems, cache_dir)
    return common.finish(sequences, split, pool.root, problems, tuple(order))


def _of_films(
    films: dict[str, Film], root: Path, classes: tuple[str, ...], problems: Problems, cache_dir: Path | None
) -> list[Sequence]:
    decode_ahead(open_videos((film.path for film in films.values()), cache_dir))
    table = video_csv.Table(root)
    for name, film in films.items():
        try:
            frames = open_source(film.path, cache_dir)
            size = common.image_size(frames)
        except DataError as error:
            problems.report(film.path, f"cannot be used ({error})", "Copy it again")
            continue
        table.videos[name] = [
            video_csv.Row(where, number, box, label, "", target)
            for number, boxes in sorted(film.boxes(len(frames), size).items())
            for box, label, where, target in boxes
        ]
    files = {name: [films[name].path] for name in table.videos}
    return video_csv.sequences_of(files, files, table, classes, problems, cache_dir)


def _chooser(
    names: dict[Key | str, str], sides: set[str], split: str | None, root: Path, split_file: str
) -> Callable[[Key | str, str], bool]:
    """Tells of a recording and the side that a frame is said to be on whether the frame is of ``split``."""
    if split is None:
        return lambda key, side: True
    if (root / split_file).is_file():
        listed = set(common.read_split_file(root / split_file)[split])
        if missing := sorted(listed - set(names.values())):
            some = shown(", ".join(sorted(names.values())[:3]))[1:-1]
            raise DataError(
                f"{root / split_file}: there is no recording {shown(missing[0])}; there are {len(names)}, {some}. "
                "Correct the name, or have tdcnet split write the file anew"
            )
        return lambda key, side: names[key] in listed
    if sides <= {""}:
        raise FileNotFoundError(
            f"split not found; looked for {(root / split_file).absolute()}, for sides that the labels tell and for "
            "folders train and val. Have tdcnet split write the file, or write a line such as "
            f'{{"train": ["NAME_1"], "val": ["NAME_2"]}}; the recordings are '
            + shown(", ".join(sorted(names.values())[:5]))[1:-1]
        )
    wanted = "test" if split == "val" and "val" not in sides else split
    return lambda key, side: side == wanted


def _side_of(path: Path, root: Path) -> str:
    """By the folders that a file lies in; empty if these tell none."""
    parts = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    return next((SIDES[part.lower()] for part in parts if part.lower() in SIDES), "")


def _below(image: Labelled, root: Path) -> str:
    return (image.path.relative_to(root) if image.path.is_relative_to(root) else image.path).as_posix()


def read_root(path: Path, tag: str, problems: Problems) -> Element | None:
    """The root element of a file of labels; None if it cannot be used, which is reported."""
    try:
        content = read_xml(path)
    except DataError as error:
        problems.report(path, f"cannot be used ({error})", "Correct it, or export it again")
        return None
    if content.tag != tag:
        problems.report(path, f"its root is <{shown(content.tag)[1:-1]}>, expected <{tag}>", "Move it out")
        return None
    return content


def by_number(images: list[Path], key: Key, problems: Problems) -> dict[int, Labelled]:
    """The frames of one recording by the number in their names."""
    found: dict[int, Labelled] = {}
    for image, number in zip(images, numbers([image.name for image in images]), strict=True):
        if number is None:
            problems.report(image, "expected a frame number as name, such as 000001.jpg", "Rename or remove it")
        elif number in found:
            problems.report(image, f"is frame {number}, and so is {found[number].path.name}", "Keep one of them")
        else:
            found[number] = Labelled(image, str(image), place=Place(key, number))
    return found


class Files:
    """Images or other files below a folder, to be found by what somebody else's path says of them.

    Args:
        paths: of the files.
        root: that they lie below.
    """

    def __init__(self, paths: Iterable[Path], root: Path) -> None:
        self._root = root
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in paths:
            self._by_name[path.name].append(path)
            self._by_name[path.stem].append(path)

    def find(self, name: str) -> Path | str:
        """The file that shares the longest end with a path, whose suffix may be left out; or what is wrong.

        Args:
            name: a path of any machine, with ``/`` or ``\\``.
        """
        wanted = PurePosixPath(name.replace("\\", "/"))
        found = self._by_name.get(wanted.name) or self._by_name.get(wanted.stem, [])
        best: list[Path] = []
        most = -1
        for path in found:
            pairs = zip(reversed(path.parent.parts), reversed(wanted.parent.parts), strict=False)
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            if shared > most:
                best, most = [], shared
            if shared == most:
                best.append(path)
        if len(best) == 1:
            return best[0]
        if not best:
            return f"there is no image {wanted.name} below {self._root}"
        return f"{len(best)} images are called {wanted.name}, {best[0]} and {best[1]} among them"
