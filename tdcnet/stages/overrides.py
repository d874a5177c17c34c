"""Hydra overrides of a command line, and those that a checkpoint was trained with."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from tdcnet.deploy.weights import Weights

NOT_INHERITED = ("stage", "ckpt_path", "source", "backend", "trainer", "logger", "callbacks", "paths", "hydra", "seed")
"""Of the command line a checkpoint was trained with, what does not carry over to its evaluation."""


def inherit(cfg: DictConfig, weights: Weights, given: list[str]) -> tuple[DictConfig, list[str]]:
    """The config that the checkpoint was trained with, and on top what the command line gives now."""
    merged = merge_overrides(weights.info.get("overrides", []), given, without=NOT_INHERITED)
    if len(merged) > len(given) and HydraConfig.initialized():
        cfg = hydra.compose("config", overrides=[o for o in merged if not override_key(o).startswith("hydra.")])
    if "model" in weights.info and not any(re.match(r"model\b", override_key(o)) for o in given):
        OmegaConf.set_struct(cfg, False)
        cfg.model = weights.info["model"]
    return cfg, merged


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
