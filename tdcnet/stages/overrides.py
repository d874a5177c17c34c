"""Hydra overrides of a command line."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf


def override_key(override: str) -> str:
    """What a Hydra override is for: ``+a.b=c`` -> ``a.b``."""
    return override.lstrip("+~").split("=")[0]


def check_used(overrides: Sequence[str], cfg: DictConfig) -> None:
    """Refuses what was added to the config and nothing reads, as a misspelled option that got a ``+`` would be.

    Those are options of the stage, and keys at the top with what is below them, unless a value of the config refers to
    them as ``${key}``.

    Args:
        overrides: of the command line.
        cfg: composed with them.

    Raises:
        ValueError: at the first such option; the message has the nearest one there is.
    """
    added = [override_key(each) for each in overrides if each.startswith("+")]
    # A choice of a group, as +experiment=NAME, is no value.
    values = [key for key in added if not set("@/") & set(key) and OmegaConf.select(cfg, key) is not None]
    for key in values:
        top, _, below = key.partition(".")
        if top == "stage" and "." not in below:
            where, name, others = "stage.", below, set(cfg.stage) - {below}
        elif set(_leaves(cfg[top], top)) <= set(added) and f"${{{key}}}" not in OmegaConf.to_yaml(cfg):
            where, name, others = "", top, set(cfg) - {each.partition(".")[0] for each in values}
        else:
            continue  # a part refuses arguments that it does not take
        near = difflib.get_close_matches(name, map(str, others), n=1)
        meant = f"Did you mean {where}{near[0]}? " if near else ""
        raise ValueError(f"nothing reads {key}, which was added with +. {meant}Leave the option out, or write its name")


def _leaves(value: Any, key: str) -> list[str]:
    if not isinstance(value, DictConfig):
        return [key]
    return [leaf for name in value for leaf in _leaves(value[name], f"{key}.{name!s}")]


def merge_overrides(first: Sequence[str], then: Sequence[str], without: Sequence[str] = ()) -> list[str]:
    """Both lists of Hydra overrides; the second one's where both name a key, of the first no group in ``without``."""
    named = {override_key(o) for o in then}
    kept = [o for o in first if override_key(o) not in named and re.split(r"[.@/]", override_key(o))[0] not in without]
    return [*kept, *then]


PATHS = (
    "ckpt_path",
    "init_from",
    "source",
    "dataset.root",
    "dataset.cache_dir",
    "dataset.homography_dir",
    "hydra.run.dir",
)
"""Keys whose value is a path, beside all of the group ``paths``."""
LISTS = ("source", "stage.compare")
"""Keys whose value may be a list of them."""


def quote_paths(arguments: Sequence[str]) -> list[str]:
    """A command line on which paths may hold any character: those that Hydra's grammar takes apart are quoted for it.

    Raises:
        ValueError: if another option cannot be read; the message says how to write it.
    """
    several = any(argument in ("-m", "--multirun") for argument in arguments)
    return [_quoted(argument, several) for argument in arguments]


def _quoted(argument: str, several: bool) -> str:
    key, equals, value = argument.partition("=")
    if not equals or key.startswith("-") or value[:1] in ("'", '"') or "${" in value:
        return argument
    name = override_key(argument)
    if name in LISTS and value.startswith("[") and value.endswith("]") and not Path(value).exists():
        if _parsed(argument) is not False:
            return argument
        return f"{key}=[{','.join(in_quotes(item.strip()) for item in value[1:-1].split(',') if item.strip())}]"
    if name in PATHS or name.startswith("paths."):
        if value.startswith("~/") and not Path(value).exists():  # which a shell leaves alone after an equals sign
            value = os.path.expanduser(value)
            argument = f"{key}={value}"
        if several and "," in value and not Path(value).exists():
            return argument  # a sweep over several
        return argument if _parsed(argument) in (value, None) or _is_number(value) else f"{key}={in_quotes(value)}"
    try:
        _parse(argument)
    except HydraException as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{argument} cannot be read ({reason}). A value with other characters than letters, digits and "
            f"-_./:+@% stands in two pairs of quotes: {shlex.quote(f'{key}={in_quotes(value)}')}"
        ) from error
    return argument


def _parse(argument: str) -> Any:
    return OverridesParser.create().parse_override(argument).value()


def _parsed(argument: str) -> Any:
    """The value as Hydra reads it; False if it cannot."""
    try:
        return _parse(argument)
    except HydraException:
        return False


def _is_number(value: str) -> bool:
    return value.lstrip("+-").isdecimal()


def in_quotes(value: str) -> str:
    """A text as Hydra reads it, in which everything stands for itself."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    escaped = escaped.replace("${", "\\${")  # no interpolation
    return f"'{escaped}'"


def command_line(overrides: Sequence[str]) -> str:
    """The command of a run, as one would type it."""
    program = Path(sys.argv[0]).name
    own = not program.endswith(".py") or program in ("app.py", "__main__.py")  # the latter of python -m
    said = ["tdcnet"] if own else ["python", program]
    return " ".join([*said, *map(shlex.quote, overrides)])
