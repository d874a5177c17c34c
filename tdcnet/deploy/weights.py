"""Weights in files, read without Lightning and Hydra, and without running anything that a file brings along."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from tdcnet.data.errors import DataError
from tdcnet.deploy.content import check_content
from tdcnet.deploy.errors import CheckpointError as CheckpointError
from tdcnet.deploy.fold import is_deployed, reparameterize
from tdcnet.deploy.gate import MOST_PARAMETERS, build_network
from tdcnet.deploy.record import Record
from tdcnet.files import read_bytes, read_json, write_atomically
from tdcnet.finite import first_nonfinite
from tdcnet.limits import bound
from tdcnet.models.clip_detector import ClipDetector
from tdcnet.shown import printable

PREFIX = "model."
"""Of the network's tensors in a checkpoint, which may hold others."""
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
"""Beside :data:`WEIGHTS`: the network's :class:`~tdcnet.deploy.record.Record`."""
MOST_BYTES = 16 << 30
"""Of a checkpoint, which holds an average of the weights and the optimiser's state beside them."""
MOST_WEIGHTS = 4 << 30
"""Bytes of weights alone, or of a graph."""
MOST_CONFIG = 1 << 20
"""Bytes of a config.json."""


@dataclass
class Weights:
    """What a file holds: the network's tensors, and what it tells about their use."""

    state: dict[str, Tensor]
    record: Record = field(default_factory=Record)

    @property
    def deployed(self) -> bool:
        """Whether the tensors are those of a re-parameterised network."""
        return self.record.deployed

    def network(self, where: object, allow: Sequence[str] = ()) -> ClipDetector:
        """The network that the file describes, with these weights.

        Args:
            where: the file, for messages.
            allow: packages of the user's own that it may take parts from.

        Raises:
            CheckpointError: if it does not tell, asks for what is not allowed, or the two do not belong together.
        """
        if self.record.model is None:
            raise CheckpointError(f"{where} does not say how its network is built; keep {CONFIG} beside {WEIGHTS}")
        held = sum(tensor.numel() for tensor in self.state.values())
        # Folding leaves a fraction; a config that asks for far more than there are weights for is not theirs.
        model = build_network(self.record.model, where, allow, most=min(MOST_PARAMETERS, 8 * held + 1_000_000))
        loaded: ClipDetector = load_into(model, self, where)  # type: ignore[arg-type]
        return loaded


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Reads a checkpoint of this project (``.ckpt``, training or deploy form) or an exported ``.safetensors``.

    Where a training checkpoint holds a moving average of the weights, that is what is read.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is no checkpoint of this project, is damaged, or holds more than tensors and plain data.
    """
    path = Path(path)
    if path.is_dir():
        path = path / WEIGHTS
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint at {path}; expected a .ckpt or .safetensors file")
    if path.suffix in (".onnx", ".xml"):
        raise CheckpointError(
            f"{path} is a graph for another runtime, PyTorch reads .ckpt and .safetensors files; add "
            f"backend={'onnxruntime' if path.suffix == '.onnx' else 'openvino'}"
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = load_plain(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("state_dict"), Mapping):
        raise CheckpointError(
            f"{path} holds no 'state_dict': it is no checkpoint of this project. Tensors released by TDCNet's authors "
            "become one by tdcnet convert-official"
        )
    named = {name: value for name, value in content["state_dict"].items() if isinstance(name, str)}
    state = {name.removeprefix(PREFIX): value for name, value in named.items() if name.startswith(PREFIX)}
    if "ema" in content:
        average = content["ema"].get("average") if isinstance(content["ema"], Mapping) else None
        if not isinstance(average, Mapping):
            raise CheckpointError(f"{path} is damaged: its moving average is no list of tensors. Fetch it again")
        state.update(average)
    check_tensors(state, path)
    return Weights(state, Record.of(content.get("tdcnet", {}), path))


def _read_safetensors(path: Path) -> Weights:
    config = path.with_name(CONFIG)
    record = read_record(config) if config.exists() else Record()
    data = _read(path)
    check_digest(data, path, record)
    try:
        state = load_safetensors(data)
    except Exception as error:  # SafetensorError, and what torch says to sizes that overflow
        raise CheckpointError(f"{path} is not a safetensors file ({printable(error)}); export it again") from error
    check_tensors(state, path)
    return Weights(state, record)


def read_record(path: Path) -> Record:
    """The record in a ``config.json``.

    Raises:
        FileNotFoundError: if there is none.
        CheckpointError: if it cannot be read, or holds something else.
    """
    try:
        return Record.of(read_json(path, MOST_CONFIG), path)
    except DataError as error:
        raise CheckpointError(str(error)) from error


def check_digest(data: bytes, path: Path, record: Record) -> None:
    """Raises CheckpointError if the record tells another SHA-256 for this file; older exports tell none."""
    expected = record.files.get(path.name)
    if expected is not None and hashlib.sha256(data).hexdigest() != expected:
        raise CheckpointError(
            f"{path} is not the file that was exported: its SHA-256 differs from the one in {CONFIG}. Copy both again"
        )


def check_file(path: Path) -> None:
    """The same for a file on disk and the ``config.json`` beside it, if there is one."""
    config = path.with_name(CONFIG)
    if path.is_file() and config.is_file() and path.name in (record := read_record(config)).files:
        check_digest(_read(path), path, record)


def check_tensors(state: Mapping[Any, Any], where: object) -> None:
    """Sees to it that a state holds plain tensors of finite numbers.

    Raises:
        CheckpointError: naming the first that is none.
    """
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{where} is damaged: {_short(name)} is a {type(value).__name__}, not a tensor")
        if value.is_complex() or first_nonfinite(value, name) is not None:
            raise CheckpointError(
                f"{where}: tensor {_short(name)} holds values that are no numbers (NaN or infinite), so nothing it "
                "gives would mean anything. Take an earlier checkpoint"
            )


def load_plain(path: str | os.PathLike[str]) -> Any:
    """``torch.load`` of tensors and plain data only, onto the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is damaged or would run code of its own on loading.
    """
    path = Path(path)
    if not path.is_file():
        if path.exists():
            raise CheckpointError(f"{path} is no file; a checkpoint is one")
        raise FileNotFoundError(f"no checkpoint at {path}")
    if path.stat().st_size > bound(MOST_BYTES):
        raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes, at most {bound(MOST_BYTES):,} are read")
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about storage classes that a damaged file may name
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
        raise CheckpointError(
            f"{path} is refused: it is not a file of tensors and plain data"
            + (f" but asks for {found[1]}, and could run code when loaded" if found else "")
            + ". Ask its author for a safetensors file or a plain state dict"
        ) from error
    except Exception as error:  # a damaged pickle raises whatever its opcodes run into
        reason = printable(error).partition("\\x0a")[0][:200] or type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({reason}); is it cut short? Fetch it again"
        ) from error
    check_content(content, path)
    return content


def _check_archive(path: Path) -> None:
    """Checks the sums that ``torch.save`` writes, which ``torch.load`` does not look at."""
    try:
        if not zipfile.is_zipfile(path):
            return  # PyTorch's format before 1.6, which has no sums; or no checkpoint, as torch.load then says
        with zipfile.ZipFile(path) as archive:
            if packed := [each.filename for each in archive.infolist() if each.compress_type != zipfile.ZIP_STORED]:
                raise CheckpointError(
                    f"{path} is refused: {_short(packed[0])} in it is compressed, torch.save never does"
                )
            damaged = archive.testzip()
    except CheckpointError:
        raise
    except Exception as error:  # zipfile's own are many
        raise CheckpointError(f"{path} cannot be read as a checkpoint ({printable(error)}); fetch it again") from error
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: the checksum of {_short(damaged)} does not match. Fetch it again")


def load_into(model: ClipDetector, weights: Weights, where: object) -> ClipDetector:
    """``model`` with these weights, re-parameterised first if they are.

    Raises:
        CheckpointError: naming the first tensors that are missing, unknown or of another shape.
    """
    if weights.deployed and set(weights.state) != set(model.state_dict()):  # folded or not: their names differ
        model = reparameterize(model)
    check_fits(model.state_dict(), weights.state, where)
    model.load_state_dict(weights.state)
    return model


def check_fits(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], where: object) -> None:
    """Raises CheckpointError naming the first tensors that are missing, unknown or of another shape."""
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, expected {tuple(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]
    if missing or unknown or shapes:
        said = [
            f"{len(names)} {what} ({_short(names[0])} ..)"
            for names, what in ((missing, "missing"), (unknown, "unknown"))
            if names
        ]
        said += [f"{len(shapes)} of another shape ({shapes[0]})"] if shapes else []
        raise CheckpointError(
            f"{where} is of another network: tensors {', '.join(said)}. Choose the model it was trained with "
            "(model=tdcnet | tdcnet_small | tdcnet_nano, dataset.classes, model.in_channels)"
        )


def export(folder: str | os.PathLike[str], model: nn.Module, record: Record) -> Path:
    """Writes ``model.safetensors`` and ``config.json``, from which :func:`load_detector` rebuilds the network.

    Raises:
        CheckpointError: if a weight is not finite, or the record would not be read again; nothing is written then.
    """
    folder = Path(folder)
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    check_tensors(state, "the network to export")
    data = save_safetensors(state, metadata={"format": "pt"})
    digests = {WEIGHTS: hashlib.sha256(data).hexdigest()}
    write_record(folder, replace(record, deployed=is_deployed(model), files=digests))
    return write_atomically(folder / WEIGHTS, data)


def write_record(folder: Path, record: Record) -> None:
    """Writes ``config.json``."""
    plain = record.plain()
    Record.of(plain, folder / CONFIG)
    write_atomically(folder / CONFIG, (json.dumps(plain, indent=2) + "\n").encode())


def add_files(folder: Path, names: Sequence[str]) -> None:
    """Adds the SHA-256 of further files that were exported to ``config.json``, and takes out those that are gone."""
    record = read_record(folder / CONFIG)
    digests = {name: digest for name, digest in record.files.items() if (folder / name).is_file()}
    digests |= {name: hashlib.sha256(_read(folder / name)).hexdigest() for name in names}
    write_record(folder, replace(record, files=digests))


def load_detector(path: str | os.PathLike[str]) -> ClipDetector:
    """The network in an exported folder, its ``model.safetensors`` or a checkpoint, in eval mode; needs torch only.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be read, or does not say how its network is built.
    """
    return read_weights(path).network(path).eval()


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, MOST_WEIGHTS)
    except DataError as error:
        raise CheckpointError(str(error)) from error


def _short(name: object) -> str:
    text = printable(name)
    return text if len(text) <= 100 else f"{text[:97]}..."
