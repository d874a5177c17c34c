"""Checkpoints on disk: written whole or not at all, and read without running what a file brings along."""

from __future__ import annotations

import errno
import io
import logging
import os
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import CheckpointIO
from packaging.version import InvalidVersion, Version

from tdcnet.callbacks.progress import place
from tdcnet.deploy.weights import CheckpointError, load_plain
from tdcnet.files import FolderError, StrPath, check_writable, replacing
from tdcnet.finite import first_nonfinite
from tdcnet.plain_data import is_number, is_whole

log = logging.getLogger(__name__)

LEARNED = ("state_dict", "ema", "optimizer_states")
"""Parts of a checkpoint that must be finite."""
MOST_COUNTED = 2**62
"""Of steps or epochs."""


class NotSaved(RuntimeError):
    """A checkpoint could not be written; the one before it is as it was."""


class WholeCheckpointIO(CheckpointIO):
    """Writes a checkpoint beside its target, reads it back, then renames it: there is always a whole one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: StrPath, storage_options: Any = None) -> None:
        """Writes a file.

        Raises:
            NotSaved: if the disk is full or the folder cannot be written to, or a tensor is not finite.
        """
        path = Path(path)
        bad = first_nonfinite({key: checkpoint[key] for key in LEARNED if key in checkpoint})
        if bad is not None:
            raise NotSaved(f"{path} is not written: {bad} is not finite. {_kept(path)}")
        content = io.BytesIO()
        torch.save(checkpoint, content)
        _write(path, content.getbuffer())

    def load_checkpoint(
        self, path: StrPath, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a training's checkpoint, see :func:`read_training`."""
        content = read_training(path)
        # Of older versions; Lightning would miss the callback.
        content["callbacks"] = {n: s for n, s in content["callbacks"].items() if not n.startswith("ModelCheckpoint")}
        return content

    def remove_checkpoint(self, path: StrPath) -> None:
        """Removes a file, if it is there."""
        Path(path).unlink(missing_ok=True)


def copy_checkpoint(source: StrPath, target: StrPath) -> None:
    """A copy that is written as carefully.

    Raises:
        NotSaved: if it cannot be.
    """
    _write(Path(target), memoryview(Path(source).read_bytes()))


def _write(path: Path, content: memoryview) -> None:
    try:
        with replacing(path) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if not _holds(file.name, content):
                raise OSError(errno.EIO, "what is read back is not what was written")
    except OSError as error:
        raise NotSaved(f"{path} could not be written: {error.strerror or error}. {_kept(path)}") from error


def read_training(path: StrPath) -> dict[str, Any]:
    """What a training goes on from, as Lightning keeps it.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged, would run code, is of no training, or holds a number that is not finite.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint to resume from at {path}; ckpt_path names a .ckpt file of a training")
    content = load_plain(path)
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), Mapping):
        raise CheckpointError(f"{path} holds no 'state_dict': it is no checkpoint of this project")
    kinds: dict[str, type | tuple[type, ...]] = {
        **{"optimizer_states": list, "lr_schedulers": list, "loops": Mapping, "callbacks": Mapping},
        **{"epoch": int, "global_step": int, "pytorch-lightning_version": str},
    }
    if wrong := [key for key, kind in kinds.items() if not isinstance(content.get(key), kind)]:
        raise CheckpointError(
            f"{path} holds no state of a training ({', '.join(wrong)}), only weights: stage=eval and stage=predict use "
            "it, and a training resumes from a last.ckpt"
        )
    _check_parts(content, path)
    place(content["loops"].get("fit_loop"), path)
    if bad := first_nonfinite({key: content[key] for key in LEARNED if key in content}):
        raise CheckpointError(f"{path} is refused: {bad} is not finite. Resume from an earlier checkpoint")
    return content


def whole_checkpoint(path: StrPath, say: Callable[[str], None] = log.warning) -> tuple[Path, dict[str, Any]]:
    """``path``, or if that file is torn, the newest whole checkpoint of a training in the same folder; and its content.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be used, see :func:`read_training`, or is torn and no other can be used.
    """
    path = Path(path)
    try:
        return path, read_training(path)
    except CheckpointError as error:
        other = _whole_beside(path)
        if not torn(path):
            raise CheckpointError(f"{error}{_named(other)}") from error
        if other is None:
            raise CheckpointError(f"{path} is cut short or damaged, and no whole checkpoint lies beside it") from error
        say(f"{path} is cut short or damaged; resuming from {other[0]}, the newest whole checkpoint beside it")
        return other
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}{_named(_whole_beside(path))}") from error


def _whole_beside(path: Path) -> tuple[Path, dict[str, Any]] | None:
    others = [other for other in path.parent.glob("*.ckpt") if other != path]
    for other in sorted(others, key=_modified, reverse=True):
        with suppress(CheckpointError, OSError):
            return other, read_training(other)
    return None


def _named(other: tuple[Path, dict[str, Any]] | None) -> str:
    return f". Beside it lies a whole one: ckpt_path={other[0]}" if other else ""


def torn(path: StrPath) -> bool:
    """Whether a file is a checkpoint that was not wholly written, or was damaged since. (Of what is something else, say
    a pickle, that cannot be told, and nothing is to take its place.)"""
    try:
        with open(path, "rb") as file:
            head = file.read(4)
            if not head.strip(b"\0"):
                return True
            if head != b"PK\x03\x04":
                return False
            with zipfile.ZipFile(file) as archive:
                return archive.testzip() is not None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError):
        return True


def check_folder(folder: StrPath) -> None:
    """Tries to write to a folder, and makes it if there is none.

    Raises:
        NotSaved: if that is not possible.
    """
    try:
        check_writable(folder, "")
    except FolderError as error:
        reason = getattr(error.__cause__, "strerror", None) or error.__cause__
        raise NotSaved(
            f"{folder} cannot be written to: {reason}. Choose another folder with hydra.run.dir, or mend its "
            "permissions"
        ) from error


def _kept(path: Path) -> str:
    if path.is_file():
        return f"The one before is kept; when there is room again, ckpt_path={path} resumes from it"
    return "Make room, or choose another folder with hydra.run.dir"


def _holds(path: str, content: memoryview) -> bool:
    with open(path, "rb") as file:
        for start in range(0, len(content), 1 << 20):
            if file.read(1 << 20) != content[start : start + (1 << 20)]:
                return False
        return not file.read(1)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _is_option(value: object) -> bool:
    """Whether a value is of a kind that optimisers and schedules keep: a number, a truth value, or a list of such."""
    if isinstance(value, list | tuple):
        return all(each is None or is_number(each) for each in value)
    return value is None or isinstance(value, bool) or is_number(value)


def _check_parts(content: Mapping[str, Any], path: StrPath) -> None:
    """Types of what Lightning would take on trust."""
    try:
        for state in content["optimizer_states"]:
            tensors = [part for each in state["state"].values() for part in each.values()]
            options = [(k, v) for group in state["param_groups"] for k, v in group.items() if k != "params"]
            if (
                not all(isinstance(group["params"], list) for group in state["param_groups"])
                or not all(isinstance(part, torch.Tensor | int | float | bool | None) for part in tensors)
                or not all(_is_option(value) for _, value in options)
                or not all(is_number(value) for key, value in options if key in ("lr", "initial_lr"))
            ):
                raise TypeError("the optimiser's state")
        if not all(isinstance(each, Mapping) for each in (*content["lr_schedulers"], *content["callbacks"].values())):
            raise TypeError("the schedule's or a callback's state")
        if not all(_is_option(value) for each in content["lr_schedulers"] for value in each.values()):
            raise TypeError("the schedule's state")
        if not all(isinstance(tensor, torch.Tensor) for tensor in content["state_dict"].values()):
            raise TypeError("state_dict")
        ema = content.get("ema", {"average": {}, "updates": 0})
        if not all(isinstance(tensor, torch.Tensor) for tensor in ema["average"].values()) or ema["updates"] < 0:
            raise TypeError("ema")
        if not is_number(content.get("minutes", 0.0)) or content.get("minutes", 0) < 0:
            raise TypeError("minutes")
        if not all(is_whole(content[key], 0, MOST_COUNTED) for key in ("epoch", "global_step")):
            raise TypeError("epoch or global_step")
        if Version(content["pytorch-lightning_version"]).major < 2:
            raise TypeError("its Lightning is older than 2")
    except (KeyError, TypeError, AttributeError, InvalidVersion) as error:
        raise CheckpointError(f"{path} holds no state of a training that can be used ({error!r})") from error
