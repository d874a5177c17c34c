"""Which file of an input is damaged, and how: by its content, or by what lies in its place."""

from __future__ import annotations

import random
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any

from tests.fuzz.edits import Edit
from tests.fuzz.mutators import BINARY, CUT, OF_SUFFIX

ODD_NAMES = ("x" * 240, "\x1b[31mred", "a\nb", "\u202egnp", "=1+1", "[bold]", "<b>", "1" * 200, " ", "-x", "${a}")
LINKS = (".", "..", "/", "/dev/zero", "/dev/null", "/dev/stdin", "/proc/self/environ", "/nowhere", "/etc/hostname")


def mutate(files: dict[str, bytes], patterns: tuple[str, ...], rng: random.Random, special: Any = None) -> list[Edit]:
    """Edits of one file of an input, now and then of two.

    Args:
        files: content by path.
        patterns: of the paths that may be chosen.
        rng: what is drawn from.
        special: a mutator of the reader's own, for files that only it can write well-formed.
    """
    names = [name for name in files if any(fnmatch(name, pattern) for pattern in patterns)]
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(PurePosixPath(name).suffix, []).append(name)
    edits: list[Edit] = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        # By kind first: there are many images and one list.
        name = rng.choice(kinds[rng.choice(sorted(kinds))])
        edits = [edit for edit in edits if edit.path != name] + _edit(name, files, names, rng, special)
    return edits


def _edit(name: str, files: dict[str, bytes], names: list[str], rng: random.Random, special: Any) -> list[Edit]:
    data, way = files[name], rng.random()
    if special is not None and way < 0.3 and (found := special(rng, name, data)) is not None:
        return [Edit(name, "bytes", found[0], found[1])]
    if way < 0.88:
        how, mutators = [], OF_SUFFIX.get(PurePosixPath(name).suffix, BINARY)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            mutator = rng.choice(mutators)
            data = mutator(rng, data)[:CUT]
            how.append(mutator.__name__)
        return [Edit(name, "bytes", data, " ".join(how))]
    return _special_file(name, files, names, rng)


def _special_file(name: str, files: dict[str, bytes], names: list[str], rng: random.Random) -> list[Edit]:
    path = PurePosixPath(name)
    way = rng.randrange(8)
    if way == 0:
        return [Edit(name, "removed", how="removed")]
    if way == 1:
        return [Edit(name, "folder", how="a folder")]
    if way == 2:
        return [Edit(name, "pipe", how="a pipe")]
    if way == 3:
        to = rng.choice((*LINKS, path.name))
        return [Edit(name, "link", to.encode(), f"a link to {to}")]
    if way == 4:
        other = rng.choice(names)
        return [Edit(name, "bytes", files[other], f"has the content of {other}")]
    if way == 5:
        size = rng.choice((2**26, 2**27 - 1, 2**28 - 1, 2**28 + 5, 5 * 2**30, 2**40))
        return [Edit(name, "hole", str(size).encode(), f"{size} bytes of nothing")]
    if way == 6:
        # In a folder that is not the top one, a link back up: endless for those who follow it.
        if str(path.parent) == ".":
            return [Edit("loop", "link", b".", "a link to its own folder")]
        return [Edit(f"{path.parent}/loop", "link", rng.choice((b".", b"..")), "a link to its own folder")]
    odd = rng.choice(
        ("x" * 240, "\x1b[31mred", "a\nb", "\u202egnp", "=1+1", "[bold]", "<b>", "1" * 200, " ", "-x", "${a}")
    )
    return [Edit(f"{path.parent}/{odd}{path.suffix}", "bytes", files[name], f"a copy of it called {odd[:10]!r}")]
