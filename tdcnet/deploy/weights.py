"""Weights in files, read without Lightning and Hydra, and without running anything that a file brings along."""

from __future__ import annotations

import functools
import importlib
import json
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tdcnet.deploy.fold import is_deployed, reparameterize
from tdcnet.models import Detector

PREFIX = "model."
"""Of the network's tensors in a checkpoint, which may hold others."""
CONFIG = "config.json"
"""Beside ``model.safetensors``: what rebuilds the network."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, is refused, or is of another network; the message says what to do."""


@dataclass
class Weights:
    """What a checkpoint holds: the network's tensors, and plain data on how it came about."""

    state: dict[str, Tensor]
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def deployed(self) -> bool:
        """Whether the tensors are those of a re-parameterised network."""
        return bool(self.info.get("deployed", False))


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Reads a checkpoint of this project (``.ckpt``, training or deploy form) or an exported ``.safetensors``.

    Where a training checkpoint holds a moving average of the weights, that is what is read.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is no checkpoint of this project, or holds more than tensors and plain data.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; ckpt_path names a .ckpt or .safetensors file")
    if path.suffix in (".onnx", ".xml"):
        raise CheckpointError(
            f"{path} is a graph for another runtime, PyTorch reads .ckpt and .safetensors files; add "
            f"backend={'onnxruntime' if path.suffix == '.onnx' else 'openvino'}"
        )
    if path.suffix == ".safetensors":
        try:
            state = load_file(path)
        except SafetensorError as error:
            raise CheckpointError(f"{path} is not a safetensors file ({error}); export it again") from error
        config = path.with_name(CONFIG)
        return Weights(state, json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {})

    content = load_plain(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("state_dict"), Mapping):
        raise CheckpointError(
            f"{path} holds no 'state_dict': it is no checkpoint of this project. Tensors released by TDCNet's authors "
            "become one by scripts/convert_official.py"
        )
    state = {n.removeprefix(PREFIX): v for n, v in content["state_dict"].items() if n.startswith(PREFIX)}
    if "ema" in content:
        state.update(content["ema"]["average"])
    return Weights(state, dict(content.get("tdcnet", {})))


def load_plain(path: str | os.PathLike[str]) -> Any:
    """``torch.load`` of tensors and plain data only, onto the CPU.

    Raises:
        CheckpointError: if the file is damaged or would run code of its own on loading.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
        raise CheckpointError(
            f"{path} is refused: it is not a file of tensors and plain data"
            + (f" but asks for {found[1]}, and could run code when loaded" if found else "")
            + ". Ask its author for a safetensors file or a plain state dict"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({error}); is it cut short? Fetch it again"
        ) from error


def load_into(model: Detector, weights: Weights, where: object) -> Detector:
    """``model`` with these weights, re-parameterised first if they are.

    Raises:
        CheckpointError: naming the first tensors that are missing, unknown or of another shape.
    """
    if weights.deployed and set(weights.state) != set(model.state_dict()):  # folded or not: their names differ
        model = reparameterize(model)
    expected = model.state_dict()
    missing = [n for n in expected if n not in weights.state]
    unknown = [n for n in weights.state if n not in expected]
    shapes = [
        f"{n} is {tuple(weights.state[n].shape)}, expected {tuple(v.shape)}"
        for n, v in expected.items()
        if n in weights.state and weights.state[n].shape != v.shape
    ]
    if missing or unknown or shapes:
        said = [
            f"{len(names)} {what} ({names[0]} ..)"
            for names, what in ((missing, "missing"), (unknown, "unknown"))
            if names
        ]
        said += [f"{len(shapes)} of another shape ({shapes[0]})"] if shapes else []
        raise CheckpointError(
            f"{where} is of another network: tensors {', '.join(said)}. Choose the model it was trained with "
            "(model=tdcnet | tdcnet_small | tdcnet_nano, num_classes, model.in_channels)"
        )
    model.load_state_dict(weights.state)
    return model


def build(config: Mapping[str, Any]) -> Any:
    """Builds what a nested ``_target_`` config describes, as Hydra does, from this package's networks and layers only.

    Raises:
        CheckpointError: if a target lies elsewhere.
    """
    target = str(config.get("_target_", ""))
    module, _, name = target.rpartition(".")
    if not module.startswith(("tdcnet.models", "tdcnet.layers")):
        raise CheckpointError(f"the config asks for {target!r}; only tdcnet.models and tdcnet.layers are built")
    part = getattr(importlib.import_module(module), name)
    arguments = {
        key: build(value) if isinstance(value, Mapping) and "_target_" in value else value
        for key, value in config.items()
        if key not in ("_target_", "_partial_", "_convert_")
    }
    return functools.partial(part, **arguments) if config.get("_partial_") else part(**arguments)


def export(folder: str | os.PathLike[str], model: nn.Module, info: Mapping[str, Any]) -> Path:
    """Writes ``model.safetensors`` and ``config.json``, from which :func:`load_detector` rebuilds the network.

    Args:
        info: plain data; ``info["model"]`` is the nested ``_target_`` config of the network.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    text = json.dumps({**info, "deployed": is_deployed(model)}, indent=2)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    return folder / "model.safetensors"


def load_detector(path: str | os.PathLike[str]) -> Detector:
    """The network in an exported folder, its ``model.safetensors`` or a checkpoint, in eval mode; needs torch only.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be read, or does not say how its network is built.
    """
    weights = read_weights(path)
    if "model" not in weights.info:
        raise CheckpointError(f"{path} does not say how its network is built; keep {CONFIG} beside model.safetensors")
    model: Detector = load_into(build(weights.info["model"]), weights, path)
    return model.eval()
