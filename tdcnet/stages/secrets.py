"""Passwords on a command line, kept out of what a run writes down and of what Hydra says when it fails."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from tdcnet.stages.overrides import override_key

KEYS = ("stage.token", "stage.post", "stage.headers")
"""Options of stage=live that are secret, and all that is below them; besides these ``source``, if it is an address."""
VARIABLE = "TDCNET_SECRET_"


def hidden(arguments: Sequence[str]) -> list[str]:
    """The command line of stage=live with environment variables of this process in the place of secrets."""
    if "stage=live" not in arguments:
        return list(arguments)
    return [_hidden(argument) for argument in arguments]


def _hidden(argument: str) -> str:
    key, equals, text = argument.partition("=")
    name = override_key(argument)
    if not equals or key.startswith("-") or "${oc.env:" in text:
        return argument
    secret = name in KEYS or name.startswith(tuple(f"{each}." for each in KEYS))
    if not secret and not (name == "source" and ":/" in text):
        return argument
    try:
        value = OverridesParser.create().parse_override(argument).value()
    except HydraException:
        value = text
    return f"{key}={_named(value)}"


def _named(value: Any) -> str:
    """A value with a variable for each text of it."""
    if isinstance(value, list):
        return f"[{','.join(map(_named, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{each}: {_named(part)}" for each, part in value.items()) + "}"
    if value is None:
        return "null"
    number = next(n for n in range(1_000_000) if f"{VARIABLE}{n}" not in os.environ)
    os.environ[f"{VARIABLE}{number}"] = str(value)
    return f"'${{oc.env:{VARIABLE}{number}}}'"
