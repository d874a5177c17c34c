"""The detectors that come with the package: a folder each, as ``stage=deploy`` writes it, with a card.

``model.safetensors`` holds the weights in half precision, ``config.json`` their record with its SHA-256, ``card.json``
what a person should know: data and licence, how it was trained, figures with intervals, what it is bad at.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any

from tdcnet.data.errors import DataError
from tdcnet.files import read_json

DEFAULT = "motion_2d"
"""The detector that is taken where none is named."""
CARD = "card.json"
MOST_CARD = 1 << 18
"""Bytes of a card."""
ROOT = Path(__file__).parent


def list_models() -> list[str]:
    """Names of the detectors that come with the package, for :func:`tdcnet.load`."""
    return sorted(path.parent.name for path in ROOT.glob(f"*/{CARD}"))


def folder_of(name: str) -> Path | None:
    """Folder of the detector of this name; None if there is none."""
    return ROOT / name if name in list_models() else None


def card_of(name: str) -> dict[str, Any]:
    """The card of a detector that comes with the package.

    Raises:
        ValueError: if there is none of this name.
    """
    folder = folder_of(name)
    if folder is None:
        raise ValueError(f"there is no model {name!r}; there are {', '.join(list_models())}{meant(name)}")
    return read_card(folder)


def read_card(path: Path) -> dict[str, Any]:
    """The card in a folder, or beside a file in it; empty if there is none that can be read."""
    card = (path if path.is_dir() else path.parent) / CARD
    try:
        content = read_json(card, MOST_CARD) if card.is_file() else {}
    except DataError:
        return {}  # what a card tells is for people; nothing depends on it
    return content if isinstance(content, dict) else {}


def meant(name: str) -> str:
    """A question whether another name was meant, or nothing."""
    near = difflib.get_close_matches(name, list_models(), n=1)
    return f". Did you mean {near[0]}?" if near else ""


def find(path: str | os.PathLike[str]) -> Path:
    """The file or folder that is meant by a name of :func:`list_models`, ``hf:OWNER/NAME[@REVISION]`` or a path.

    A name comes first: a folder of one's own that is called so is ``./NAME``.

    Raises:
        MissingPackage: for ``hf:`` if huggingface_hub is not installed.
        FileNotFoundError: if the hub has no such model, or it cannot be reached.
    """
    text = os.fspath(path)
    if text.startswith("hf:"):
        from tdcnet.weights import hub

        return hub.fetch(text.removeprefix("hf:"))
    found = folder_of(text) or Path(text).expanduser()
    if not found.exists() and re.fullmatch(r"[\w-]+", text):
        raise FileNotFoundError(
            f"no model and no file is called {text}; the models are {', '.join(list_models())}{meant(text)}"
        )
    return found
