"""Files: those one did not write are read within bounds, those that matter appear whole or not at all.

One place reads JSON, one YAML, one arrays, and one word tells what is wrong with any: :class:`DataError`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import posixpath
import re
import stat
import time
import unicodedata
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import yaml
from numpy.typing import NDArray

from tdcnet.data.errors import DataError

StrPath = str | os.PathLike[str]

MOST_TEXT = 1 << 30
"""Bytes of a text or JSON file; the annotations of a large data set take some 100 MB."""
MOST_YAML = 1 << 20
"""Bytes of a YAML file, which describes a data set or a run."""
MOST_DEPTH = 50
"""Levels of nesting in JSON and YAML."""
MOST_ARRAYS = 4 << 30
"""Bytes of all arrays in a file."""
FACTOR = "TDCNET_LIMITS"
"""Environment variable: a factor on all bounds, for files that are larger for good reason."""

_STALE = 3600.0  # seconds; nobody writes any more to a partial file that has not changed for so long


def bound(value: int) -> int:
    """A bound, times the factor that the user has set (:data:`FACTOR`).

    Raises:
        ValueError: if that is not a positive number.
    """
    text = os.environ.get(FACTOR, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < 1e9:
        raise ValueError(f"{FACTOR} is {text!r}; it must be a positive number, the factor on all bounds of files")
    return int(value * factor)


# -- reading -----------------------------------------------------------------------------------------------------------


def read_bytes(path: StrPath, most: int = MOST_TEXT) -> bytes:
    """The content of a regular file of at most so many bytes; a pipe or a device is not waited for.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it is no regular file, too large, or cannot be read.
    """
    path, most = Path(path), bound(most)
    try:
        with open_regular(path) as file:
            found = os.fstat(file.fileno())
            if found.st_size > most:
                _too_large(path, found.st_size, most)
            data = file.read(most + 1)  # some files grow, and some tell no size
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name; DataError is one, too
        if isinstance(error, DataError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason}). Check the path and its permissions") from error
    if len(data) > most:
        _too_large(path, len(data), most)
    return data


def open_regular(path: StrPath) -> BinaryIO:
    """Opens a regular file for reading; a pipe or a device is not waited for.

    Raises:
        OSError: if it cannot be opened.
        DataError: if it is no regular file.
    """
    # A pipe without a writer would block the opening itself.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise DataError(f"{path}: is {_kind(mode)}, expected a file. Remove it or give another path")
    return open(descriptor, "rb")


def read_text(path: StrPath, most: int = MOST_TEXT, errors: str = "strict") -> str:
    """A text file in UTF-8, with or without a byte order mark.

    Args:
        path: of the file.
        most: bytes it may have.
        errors: what to do about other encodings: ``"strict"`` refuses the file, ``"replace"`` reads on.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it cannot be read.
    """
    try:
        return read_bytes(path, most).decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text in UTF-8 ({error}). Save it in that encoding") from error


def read_json(path: StrPath, most: int = MOST_TEXT) -> Any:
    """What a JSON file holds. NaN and infinity, which JSON does not have, are refused.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it cannot be read, is not JSON, or is nested too deeply.
    """
    text = read_text(path, most)
    return parse_json(text, path)


def parse_json(text: str, where: object) -> Any:
    """What JSON text holds; ``where`` it stands is for messages. Raises DataError as :func:`read_json`."""
    try:
        if _nesting(text) > bound(MOST_DEPTH):
            raise DataError(f"{where}: is nested more than {bound(MOST_DEPTH)} levels deep; expected is plain data")
        return json.loads(text, parse_constant=_no_constant)
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is not JSON that can be used ({error}). Write the file again") from error


def read_yaml(path: StrPath) -> Any:
    """What a YAML file holds: plain data, without anchors and aliases, which could make a large thing of a small file.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it cannot be read, is not YAML, or is not such data.
    """
    return parse_yaml(read_text(path, MOST_YAML), path)


def parse_yaml(text: str, where: object) -> Any:
    """What YAML text holds; ``where`` it stands is for messages. Raises DataError as :func:`read_yaml`."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise DataError(f"{where}: refers to *{event.anchor}; aliases are not read. Write the value out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > bound(MOST_DEPTH):
                raise DataError(f"{where}: is nested more than {bound(MOST_DEPTH)} levels deep; expected is plain data")
        return yaml.load(text, Loader=loader)
    except DataError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{where}: is not YAML that can be used ({reason}). Correct the file") from error


def read_arrays(path: StrPath, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Arrays that :func:`write_arrays` wrote, exactly as they were.

    Args:
        path: of the file.
        names: of the arrays it must hold.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it is damaged, holds something else, or has no checksum (older versions wrote none).
    """
    data = read_bytes(path, MOST_ARRAYS)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > bound(MOST_ARRAYS):
                raise ValueError("its arrays are too large")
            found = {name: _read_array(archive, name) for name in (*names, _CHECKSUM)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DataError(f"{path}: is damaged or of an older version ({error}). Remove it to have it made again") from (
            error
        )
    except (RuntimeError, MemoryError, SyntaxError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path}: is damaged ({error}). Remove it to have it made again") from error
    checksum = found.pop(_CHECKSUM)
    if checksum.tobytes() != _checksum(found):
        raise DataError(f"{path}: is damaged (its checksum does not match). Remove it to have it made again")
    return found


_CHECKSUM = "sha256"


def write_arrays(path: StrPath, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Writes arrays of numbers or text, compressed and with a checksum; the file appears whole or not at all."""
    path = Path(path)
    checked = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with replacing(path, durable=False) as file:
        np.savez_compressed(file, allow_pickle=False, **checked, **{_CHECKSUM: np.frombuffer(_checksum(checked), "u1")})
    return path


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.digest()


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"array {name} is of version {version}")
        shape, fortran, dtype = read_header(file)
        if dtype.hasobject or dtype.fields is not None or dtype.kind not in "buifU":
            raise ValueError(f"array {name} is of type {dtype}")
        size = dtype.itemsize * int(np.prod([int(n) for n in shape], dtype=object))
        if not 0 <= size <= info.file_size:
            raise ValueError(f"array {name} says {size} bytes, there are {info.file_size}")
        data = file.read(size + 1)
        if len(data) != size:
            raise ValueError(f"array {name} holds {len(data)} bytes, expected {size}")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return array.copy()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _nesting(text: str) -> int:
    """Levels of brackets outside of strings."""
    data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    steps = ((data == 0x5B) | (data == 0x7B)).astype(np.int8) - ((data == 0x5D) | (data == 0x7D)).astype(np.int8)
    deepest = int(np.cumsum(steps, dtype=np.int64).max(initial=0))
    if deepest <= MOST_DEPTH and not ((data == 0x22).any() and steps.sum()):
        return deepest  # nearly always: brackets inside of strings are rare, and come in pairs
    depth = deepest = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', text, re.DOTALL):
        mark = match[0]
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    return deepest


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((word for test, word in kinds if test(mode)), "a device")


def _too_large(path: Path, size: int, most: int) -> NoReturn:
    raise DataError(
        f"{path}: has {size:,} bytes or more, at most {most:,} are read. If that is right, set {FACTOR} to a factor "
        "on all bounds"
    )


# -- writing -----------------------------------------------------------------------------------------------------------


@contextmanager
def replacing(target: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """Opens a temporary neighbour of ``target`` for writing and moves it there once everything is written.

    Several processes may do so at once, and none ever sees half a file. On any exception the neighbour is removed; one
    that a killed process left is, too, when it is old.

    Args:
        target: folders are made.
        durable: whether the content is on disk, not only on its way there, before it takes the place of the old one.
            What can be made again needs no such care.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(target)
    part = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, target)
        if durable:
            _sync_folder(target.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_atomically(path: StrPath, data: bytes) -> Path:
    """Writes a file that appears whole or not at all, over one of that name if there is; folders are made."""
    path = Path(path)
    with replacing(path) as file:
        file.write(data)
    return path


def _remove_stale(target: Path) -> None:
    with suppress(OSError):
        for part in target.parent.glob(f".{_glob(target.name[:100])}.{'[0-9a-f]' * 32}.part"):
            if time.time() - part.stat().st_mtime > _STALE:
                part.unlink()


def _glob(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _sync_folder(folder: Path) -> None:
    # Some file systems cannot, and Windows has no such thing: the rename itself is done all the same.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# -- names from files --------------------------------------------------------------------------------------------------


def printable(text: object) -> str:
    """A name from a file as one may show it: without what steers a terminal or hides what it says."""
    return "".join(
        c if c in " \t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else f"\\x{ord(c):02x}"
        for c in str(text)
    )


def csv_cell(value: object) -> object:
    """A value for a CSV file: text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return (
        f"'{value}" if isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@", "\t", "\r")) else value
    )


def below(root: Path, name: str, where: object) -> Path:
    """The path of ``name`` as listed in a file, below ``root``.

    Links inside of ``root`` are the user's own and followed.

    Raises:
        DataError: if it leads elsewhere.
    """
    inside = posixpath.normpath(name.replace("\\", "/"))
    if "\0" in name or inside.startswith(("/", "../")) or inside == ".." or re.match(r"[A-Za-z]:", inside):
        raise DataError(f"{where}: names {printable(name)!r}, which leads out of {root}. List paths below that folder")
    return root / inside
