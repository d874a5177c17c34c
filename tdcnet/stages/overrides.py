"""Hydra overrides of a command line."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path


def override_key(override: str) -> str:
    """What a Hydra override is for: ``+a.b=c`` -> ``a.b``."""
    return override.lstrip("+~").split("=")[0]


def merge_overrides(first: Sequence[str], then: Sequence[str], without: Sequence[str] = ()) -> list[str]:
    """Both lists of Hydra overrides; the second one's where both name a key, of the first no group in ``without``."""
    named = {override_key(o) for o in then}
    kept = [o for o in first if override_key(o) not in named and re.split(r"[.@/]", override_key(o))[0] not in without]
    return [*kept, *then]


def command_line(overrides: Sequence[str]) -> str:
    """The command of a run, as one would type it."""
    return " ".join(["python", Path(sys.argv[0]).name, *map(shlex.quote, overrides)])
