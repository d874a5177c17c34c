"""Files: those one did not write are read within bounds, those that matter appear whole or not at all.

One place reads JSON, one YAML, one arrays, and one word tells what is wrong with any: :class:`DataError`.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import re
import stat
import tempfile
import time
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import DataError
from tdcnet.limits import FACTOR, MOST_ARRAYS, MOST_JSON, MOST_TEXT, MOST_YAML, bound
from tdcnet.plain_data import parse_json, parse_xml, parse_yaml
from tdcnet.shown import shown

StrPath = str | os.PathLike[str]

_STALE = 3600.0  # seconds; nobody writes any more to a partial file that has not changed for so long


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
            size = os.fstat(file.fileno()).st_size
            if size > most:
                _too_large(path, size, most)
            # Some files grow, and those of /proc tell no size: to the end, but never beyond the bound.
            pieces, read = [file.read(size + 1) or b""], 0
            while pieces[-1] and (read := read + len(pieces[-1])) <= most:
                pieces.append(file.read(1 << 20) or b"")
            data = b"".join(pieces)
    except (FileNotFoundError, DataError):
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
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
    data = read_bytes(path, most)
    if b"\0" in data:
        raise DataError(f"{path}: is not text in UTF-8 (it holds NUL). Save it in that encoding")
    try:
        return data.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text in UTF-8 ({error}). Save it in that encoding") from error


def read_json(path: StrPath, most: int = MOST_JSON) -> Any:
    """What a JSON file holds. NaN and infinity, which JSON does not have, are refused.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it cannot be read, is not JSON, or is nested too deeply.
    """
    text = read_text(path, most)
    return parse_json(text, path)


def read_yaml(path: StrPath) -> Any:
    """What a YAML file holds: plain data, without anchors and aliases, which could make a large thing of a small file.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it cannot be read, is not YAML, or is not such data.
    """
    return parse_yaml(read_text(path, MOST_YAML), path)


def read_xml(path: StrPath) -> ElementTree.Element:
    """The root element of an XML file in UTF-8, without a document type.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it cannot be read, or is not such XML.
    """
    return parse_xml(read_text(path), path)


def read_arrays(path: StrPath, names: Iterable[str], of: str = "") -> dict[str, NDArray[Any]]:
    """Arrays that :func:`write_arrays` wrote, exactly as they were.

    Args:
        path: of the file.
        names: of the arrays it must hold.
        of: what they must have been made from, as it was written.

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
    if checksum.tobytes() != _checksum(found, of):
        raise DataError(f"{path}: is damaged (its checksum does not match). Remove it to have it made again")
    return found


_CHECKSUM = "sha256"


def write_arrays(path: StrPath, arrays: Mapping[str, NDArray[Any]], of: str = "") -> Path:
    """Writes arrays of numbers or text, compressed and with a checksum; the file appears whole or not at all.

    Args:
        path: of the file.
        arrays: by name.
        of: what they were made from; the checksum holds it, so that a file in another's place is not taken for it.
    """
    path = Path(path)
    checked = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    digest = _checksum(checked, of)
    with replacing(path, durable=False) as file:
        np.savez_compressed(file, allow_pickle=False, **checked, **{_CHECKSUM: np.frombuffer(digest, "u1")})
    return path


def _checksum(arrays: Mapping[str, NDArray[Any]], of: str) -> bytes:
    digest = hashlib.sha256(os.fsencode(of))
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


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((word for test, word in kinds if test(mode)), "a device")


def _too_large(path: Path, size: int, most: int) -> NoReturn:
    raise DataError(
        f"{path}: has {size:,} bytes or more, at most {most:,} are read. If that is right, set {FACTOR} to a factor "
        "on all bounds"
    )


# -- writing -----------------------------------------------------------------------------------------------------------


class FolderError(OSError):
    """A folder that files are to be written to and cannot be; the message says why and what to do."""


def check_writable(folder: StrPath, remedy: str) -> Path:
    """Makes a folder and sees to it that files can be made in it, before hours are spent on what goes there.

    Args:
        folder: to write to.
        remedy: what to do if that cannot be, such as the option that names another one.

    Raises:
        FolderError: if it cannot be made, or written to.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"?")  # an empty file fits on a full disk
            file.flush()
            os.fsync(file.fileno())
    except (OSError, ValueError) as error:
        # Without an own reason to name the errno of: the message is the whole of it.
        raise FolderError(
            f"{folder}: cannot be written to ({getattr(error, 'strerror', None) or error}). {remedy}"
        ) from error
    return folder


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


LONGEST_NAME = 255
"""Bytes of a file's name that file systems take."""


def below(root: Path, name: str, where: object) -> Path:
    """The path of ``name`` as listed in a file, below ``root``.

    Links inside of ``root`` are the user's own and followed.

    Raises:
        DataError: if it leads elsewhere, or no file can have that name.
    """
    inside = posixpath.normpath(name.replace("\\", "/"))
    if "\0" in name or inside.startswith(("/", "../")) or inside == ".." or re.match(r"[A-Za-z]:", inside):
        raise DataError(f"{where}: names {shown(name)}, which leads out of {root}. List paths below that folder")
    try:
        longest = max(len(os.fsencode(part)) for part in inside.split("/"))
    except UnicodeEncodeError:
        longest = LONGEST_NAME + 1
    if longest > LONGEST_NAME or len(inside) > 3000:
        raise DataError(f"{where}: names {shown(name)}, which no file can be called. Correct or delete it")
    return root / inside


class Closing:
    """What writes while its block lasts; where that ends in an exception, its files are partial by name."""

    def close(self, complete: bool = True) -> None:
        """Finishes the files."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(complete=kind is None)
