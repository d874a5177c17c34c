"""The one gate for what a file asks to be built: networks, from parts on a list, within bounds.

A checkpoint, or the ``config.json`` beside exported weights, tells its network as a nested config: ``_target_`` names a
class or function, the other keys are its arguments. Such a file may come from anybody. What it names is looked up in
:data:`PARTS`, never imported; its arguments are checked against the part's own annotations; and the network is counted
before memory is taken for it.
"""

from __future__ import annotations

import collections.abc
import functools
import importlib
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from tdcnet import layers, models
from tdcnet.deploy.errors import CheckpointError
from tdcnet.limits import FACTOR, bound
from tdcnet.models import presets
from tdcnet.shown import printable, shown

NETWORKS, SIZES = ("tdcnet", "motion_2d"), ("", "_small", "_nano")
PARTS: dict[str, Callable[..., Any]] = {
    **{f"tdcnet.models.{name}": getattr(models, name) for name in models.__all__ if name != "postprocess"},
    **{f"tdcnet.models.presets.{net}{size}": getattr(presets, net + size) for net in NETWORKS for size in SIZES},
    **{f"tdcnet.layers.{name}": getattr(layers, name) for name in layers.__all__ if name[0].isupper()},
    **{f"torch.nn.{name}": getattr(nn, name) for name in ("GELU", "Identity", "LeakyReLU", "ReLU", "SiLU")},
}
"""What a file may ask for, by its exact name."""

LARGEST: dict[str, float] = {
    **{"depth": 4, "depths": 64, "mlp_ratio": 16, "offset_range": 256, "eps": 1, "momentum": 1, "prior": 1},
    **{"num_classes": 1000, "num_frames": 1000, "num_heads": 256, "dim": 4096, "dims": 3},
    **{"kernel_size": 63, "kernel_sizes": 63, "kernel_h": 63, "kernel_v": 63, "side_dwconv": 63, "dilation": 63},
    **{"window": 64, "windows": 64, "window_size": 64, "n_win": 64, "map_size": 512},
}
"""Bounds of numbers by the name of their argument; others are at most :data:`LARGEST_OTHER`."""
LARGEST_OTHER = 4096
WINDOWS = ("window", "windows", "window_size")
MOST_POSITIONS = 1024
"""Of a window; the published ones have up to 128."""
MOST_PARAMETERS = 1_000_000_000
MOST_ENTRIES = 2000
DEEPEST = 12
LONGEST_TEXT = 200


def build_network(config: object, where: object, allow: Sequence[str] = (), most: int = MOST_PARAMETERS) -> nn.Module:
    """The network that a file describes.

    Args:
        config: the nested ``_target_`` config.
        where: the file, for messages.
        allow: packages of the user's own whose parts may be built, too; the word of the person at the command line.
        most: parameters and buffers that it may have.

    Raises:
        CheckpointError: if the config asks for something else than known parts with arguments of the right kind and
            size. Nothing has been imported or built then.
    """
    check(config, where, allow)
    assert isinstance(config, Mapping)
    try:
        with torch.device("meta"):  # shapes only: a network too large is known before it takes memory
            shapes = _build(config, allow)
        # Tensors of the state, and buffers that stay out of it.
        tensors = {id(tensor): tensor for tensor in (*shapes.state_dict().values(), *shapes.buffers())}
        sizes = [tensor.numel() for tensor in tensors.values()]
        if sum(sizes) > min(most, bound(MOST_PARAMETERS)):
            raise CheckpointError(
                f"{where}: asks for a network of {sum(sizes):,} numbers, at most {min(most, bound(MOST_PARAMETERS)):,} "
                f"are allowed here. Its config and its weights do not belong together; if they do, set {FACTOR}"
            )
        network: nn.Module = _build(config, allow)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a layer says to arguments that do not fit each other
        reason = printable(error).partition("\n")[0]
        raise CheckpointError(f"{where}: its network cannot be built ({reason}). Its config is damaged") from error
    return network


def check(config: object, where: object, allow: Sequence[str] = ()) -> None:
    """Sees to it that a config names known parts only, with known arguments of the right kind and size.

    Raises:
        CheckpointError: naming what is wrong; nothing has been imported, but for packages in ``allow``.
    """
    _bounded(config, where)
    _check_part(config, "model", where, allow)


def _bounded(config: object, where: object) -> None:
    """No more entries and levels than a network needs; also where one object stands in many places."""
    entries, waiting = 0, [(config, 0)]
    while waiting:
        value, depth = waiting.pop()
        entries += 1
        if entries > MOST_ENTRIES or depth > DEEPEST:
            raise CheckpointError(
                f"{where}: describes a network with more than {MOST_ENTRIES} entries or {DEEPEST} levels; it is "
                "damaged, or no file of this project"
            )
        inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
        waiting += [(each, depth + 1) for each in inside]


def _check_part(config: object, place: str, where: object, allow: Sequence[str]) -> None:
    if not isinstance(config, Mapping) or not isinstance(config.get("_target_"), str):
        raise CheckpointError(f"{where}: {place} is {shown(config)}; expected a part of a network with its _target_")
    part = _find(config["_target_"], where, allow)
    partial = config.get("_partial_", False)
    if not isinstance(partial, bool):
        raise CheckpointError(f"{where}: {place}._partial_ is {shown(partial)}; expected true or false")
    if not partial and isinstance(part, type) and not issubclass(part, nn.Module):
        raise CheckpointError(f"{where}: {place} is {config['_target_']!r}, which is no part of a network")
    parameters = inspect.signature(part).parameters
    hints = typing.get_type_hints(part.__init__ if isinstance(part, type) else part)  # type: ignore[misc]
    more = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key, value in config.items():
        if key in ("_target_", "_partial_", "_convert_"):
            continue
        inside = f"{place}.{printable(key)[:LONGEST_TEXT]}"
        known = key in parameters and parameters[key].kind is not inspect.Parameter.VAR_KEYWORD
        if not known and not (more and isinstance(key, str)):
            raise CheckpointError(f"{where}: {inside} is unknown; {config['_target_']} takes {', '.join(parameters)}")
        hint = hints.get(key, Any) if known else bool | int | float | str | None
        if not _fits(value, hint, str(key), inside, where, allow):
            raise CheckpointError(f"{where}: {inside} is {shown(value)}; expected {_named(hint, str(key))}")
    needed = [
        n for n, p in parameters.items() if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    if not partial and (missing := [name for name in needed if name not in config]):
        raise CheckpointError(f"{where}: {place} lacks {', '.join(missing)}, which {config['_target_']} needs")


def _find(target: str, where: object, allow: Sequence[str]) -> Callable[..., Any]:
    if target in PARTS:
        return PARTS[target]
    package = target.partition(".")[0]
    if package in allow and all(part.isidentifier() for part in target.split(".")):
        return _own(target, package, where)
    raise CheckpointError(
        f"{where} is refused: it asks for {printable(target)[:LONGEST_TEXT]!r}, which is not among the parts that a "
        "file may ask for (the networks and layers of tdcnet). If it is a part of your own package and you trust this "
        "file, add allow=[PACKAGE]"
    )


def _own(target: str, package: str, where: object) -> Callable[..., Any]:
    """A part of a package that the user vouches for: defined there, not merely to be reached through it."""
    module, _, name = target.rpartition(".")
    try:
        part = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(f"{where}: asks for {target!r}, which cannot be imported ({error})") from error
    if not callable(part) or str(getattr(part, "__module__", "")).partition(".")[0] != package:
        raise CheckpointError(f"{where} is refused: {target!r} is not defined in {package}, which allow= names")
    return part


def _build(config: Mapping[str, Any], allow: Sequence[str]) -> Any:
    part = PARTS.get(config["_target_"]) or _own(config["_target_"], config["_target_"].partition(".")[0], "model")
    arguments = {
        key: _build(value, allow) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key not in ("_target_", "_partial_", "_convert_")
    }
    return functools.partial(part, **arguments) if config.get("_partial_") else part(**arguments)


# -- arguments against annotations -------------------------------------------------------------------------------------


def _fits(value: object, hint: Any, key: str, place: str, where: object, allow: Sequence[str]) -> bool:
    """Whether a value is of an annotated kind and within bounds; parts inside of it are checked on the way."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is object:  # a part of the user's own without annotations
        kinds = (nn.Module, bool, int, float, str, None, list[Any], collections.abc.Callable)
        return any(_fits(value, kind, key, place, where, allow) for kind in kinds)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each, key, place, where, allow) for each in inside)
    if hint is None or hint is types.NoneType:
        return value is None
    if origin is typing.Literal:
        return isinstance(value, str | int) and value in inside
    if origin is collections.abc.Callable or hint is collections.abc.Callable or _is_module(hint):
        if not isinstance(value, Mapping):
            return False
        _check_part(value, place, where, allow)
        return bool(value.get("_partial_", False)) != _is_module(hint)
    if hint is bool:
        return isinstance(value, bool)
    if hint is int or hint is float:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return (whole or (hint is float and isinstance(value, float))) and _within(value, key)
    if hint is str:
        return isinstance(value, str) and len(value) <= LONGEST_TEXT
    if origin in (list, tuple, collections.abc.Sequence):
        if not isinstance(value, list | tuple) or not _small(value, key):
            return False
        several = inside if origin is tuple and inside[-1:] != (Ellipsis,) else inside[:1] * len(value)
        return len(value) == len(several) and all(
            _fits(each, kind, key, f"{place}[{i}]", where, allow)
            for i, (each, kind) in enumerate(zip(value, several, strict=True))
        )
    return False


def _is_module(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, nn.Module)


def _within(value: Any, key: str) -> bool:
    return math.isfinite(value) and abs(value) <= LARGEST.get(key, LARGEST_OTHER)


def _small(value: Sequence[Any], key: str) -> bool:
    """Attention takes memory with the square of a window's positions, also before anything can be counted."""
    if key not in WINDOWS or not all(isinstance(each, int | float) for each in value):
        return True
    return math.prod(value) <= MOST_POSITIONS


def _named(hint: Any, key: str) -> str:
    """The kind of an argument in words."""
    text = hint.__name__ if isinstance(hint, type) else str(hint)
    for long in ("typing.", "collections.abc.", "torch.nn.modules.module."):
        text = text.replace(long, "")
    return f"{text}, numbers up to {LARGEST.get(key, LARGEST_OTHER):g}" if "int" in text or "float" in text else text
