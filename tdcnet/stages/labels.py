"""Short names for what is evaluated."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from tdcnet.weights import find, list_models


def label_of(cfg: DictConfig) -> str:
    """A short name for what is evaluated: of its checkpoint's run, of a detector of ours, or of the chosen network."""
    if cfg.ckpt_path is None:
        return _choice() or str(cfg.model._target_).rpartition(".")[2]
    path = Path(cfg.ckpt_path)
    if path.name in list_models() and path == find(path.name):
        return path.name
    folder = path.parent.parent if path.parent.name in ("checkpoints", "deploy") else path.parent
    return f"{folder.name}/{path.stem}" if folder.name else path.stem


def _choice() -> str:
    """Name of the config that the network is of, such as ``temporal_median``."""
    return str(HydraConfig.get().runtime.choices.get("model", "")) if HydraConfig.initialized() else ""


def unique(name: str, taken: Collection[str]) -> str:
    """The name, with a number where it is taken."""
    return next(n for i in range(1, len(taken) + 2) if (n := name if i == 1 else f"{name} ({i})") not in taken)
