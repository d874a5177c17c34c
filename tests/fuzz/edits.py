"""What is done to the files of an input: enough to do it again, and to undo it."""

from __future__ import annotations

import base64
import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Edit:
    """One file of the input replaced.

    Attributes:
        path: below the input's folder; a new one, too.
        kind: ``bytes``, ``link``, ``pipe``, ``folder``, ``hole`` (a large file without content) or ``removed``.
        data: the content; of a link, where it leads; of a hole, its size.
        how: in words.
    """

    path: str
    kind: str
    data: bytes = b""
    how: str = ""

    def apply(self, root: Path) -> None:
        """Does it, in place of whatever is there."""
        path = root / self.path
        remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.kind == "bytes":
            path.write_bytes(self.data)
        elif self.kind == "link":
            os.symlink(os.fsdecode(self.data), path)
        elif self.kind == "pipe":
            os.mkfifo(path)
        elif self.kind == "folder":
            path.mkdir()
        elif self.kind == "hole":
            with path.open("wb") as file:
                file.truncate(int(self.data))
        elif self.kind != "removed":
            raise ValueError(f"edit of kind {self.kind!r}")

    def as_json(self) -> dict[str, str]:
        """For a file of the corpus."""
        packed = base64.b64encode(zlib.compress(self.data, 9)).decode()
        return {"path": self.path, "kind": self.kind, "data": packed, "how": self.how}

    @classmethod
    def of(cls, content: dict[str, Any]) -> Edit:
        """From a file of the corpus."""
        return cls(content["path"], content["kind"], zlib.decompress(base64.b64decode(content["data"])), content["how"])


def remove(path: Path) -> None:
    """Removes a file, a link or a folder, if it is there."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)


class Pristine:
    """The files of a valid input as they were, times included."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = {
            path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }
        self.folders = [path for path in sorted(root.rglob("*")) if path.is_dir()]

    def restore(self, touched: list[str], throughout: bool) -> None:
        """Undoes edits.

        Args:
            touched: paths of the edits.
            throughout: also what the reader wrote, such as a cache.
        """
        for path in self._others() if throughout else []:
            remove(path)
        for path in touched:
            remove(self.root / path)
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)
        for name, (data, time) in self.files.items():
            path = self.root / name
            if name in touched or (throughout and not _is_as(path, data, time)) or not path.is_file():
                remove(path)
                path.write_bytes(data)
                os.utime(path, ns=(time, time))

    def _others(self) -> list[Path]:
        known = {self.root / name for name in self.files} | set(self.folders)
        found = []
        for at, folders, names in os.walk(self.root):
            found += [Path(at, name) for name in (*folders, *names) if Path(at, name) not in known]
        return [path for path in found if path.exists() or path.is_symlink()]


def _is_as(path: Path, data: bytes, time: int) -> bool:
    try:
        found = path.lstat()
        return found.st_mtime_ns == time and found.st_size == len(data)
    except OSError:
        return False
