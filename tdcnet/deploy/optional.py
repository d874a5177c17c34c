"""Packages that only some users need, as for export: imported when they are used, and asked for by name."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Iterable
from typing import Any


class MissingPackage(RuntimeError):
    """A package is needed that is not installed; the message has the command that installs it."""


def missing(packages: Iterable[str]) -> list[str]:
    """Those of ``packages`` that are not installed; nothing is imported."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def require(packages: Iterable[str], purpose: str, extra: str = "export") -> None:
    """Checks that ``packages`` are installed.

    Args:
        purpose: what they are for.
        extra: of this project, that has them all.

    Raises:
        MissingPackage: naming those that are not, what they are for, and how to install them.
    """
    absent = missing(packages)
    if absent:
        raise MissingPackage(
            f"{purpose} needs {' and '.join(absent)}, not installed here. Install with "
            f"`pip install {' '.join(absent)}`, or all that {extra} needs with "
            f"`pip install -c constraints.txt -e '.[{extra}]'`"
        )


def load(package: str, purpose: str, extra: str = "export") -> Any:
    """An optional package, imported.

    Raises:
        MissingPackage: if it is not installed.
    """
    require([package], purpose, extra)
    return importlib.import_module(package)


@functools.cache
def openvino_core() -> Any:
    """OpenVINO's Core, one for the process and for as long as it lives.

    Each Core gives the main thread a signal stack of its own and, when it ends, the one that was there before. Two that
    do not end in the reverse order of their beginning leave a stack that is gone, and the next signal with a handler,
    the end of a data loader's worker, ends the process with a segmentation fault (seen with OpenVINO 2026.4).

    Raises:
        MissingPackage: without openvino.
    """
    return load("openvino", "OpenVINO").Core()
