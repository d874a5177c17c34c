"""Detectors from the Hugging Face hub: weights and their record, never code."""

from __future__ import annotations

import hashlib
import importlib
import logging
import re
from pathlib import Path

from tdcnet.deploy import optional
from tdcnet.shown import printable

log = logging.getLogger(__name__)

FILES = ("model.safetensors", "config.json", "card.json")
"""What is fetched of a repository; nothing else in it is looked at."""


def fetch(name: str) -> Path:
    """The folder of a model on the hub, fetched if it is not there yet; its SHA-256 is logged.

    Args:
        name: ``OWNER/NAME``, or ``OWNER/NAME@REVISION``: a commit names files that do not change.

    Raises:
        ValueError: if it is no such name.
        MissingPackage: if huggingface_hub is not installed.
        FileNotFoundError: if there is no such model, it cannot be reached, or it holds no weights of this project.
    """
    found = re.fullmatch(r"(\w[\w.-]{0,95}/\w[\w.-]{0,95})(?:@([\w./-]{1,100}))?", name)
    if found is None:
        raise ValueError(f"hf:{printable(name)} names no model; expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    if optional.missing(["huggingface_hub"]):
        raise optional.MissingPackage(f"hf:{name} needs huggingface_hub: `pip install huggingface_hub`")
    hub = importlib.import_module("huggingface_hub")
    try:
        folder = Path(hub.snapshot_download(found[1], revision=found[2], allow_patterns=list(FILES)))
    except Exception as error:  # of the hub's and of each library that it fetches with
        reason = printable(str(error).strip().partition("\n")[0]) or type(error).__name__
        raise FileNotFoundError(f"hf:{name} could not be fetched ({reason}); check the name and the network") from error
    missing = [each for each in FILES[:2] if not (folder / each).is_file()]
    if missing:
        raise FileNotFoundError(
            f"hf:{name} has no {' and no '.join(missing)}; a model of this project is a folder by stage=deploy"
        )
    with (folder / FILES[0]).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    log.info("hf:%s: %s, SHA-256 %s", name, folder, digest)
    return folder
