"""What the app does: a Hydra config in, results out. The only folder that knows Hydra's config.

Each stage returns ``(metrics, objects)``: figures by name, and what was built, so that tests and notebooks can go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import hydra
from omegaconf import DictConfig, OmegaConf

from tdcnet.deploy.backends import read_info
from tdcnet.deploy.weights import read_weights
from tdcnet.stages.folders import check_folders
from tdcnet.stages.inherit import inherit, names_network
from tdcnet.stages.overrides import check_used
from tdcnet.stages.parts import Results, backend, say
from tdcnet.streaming.sinks.files import STDOUT, claim_stdout
from tdcnet.weights import DEFAULT, find

__all__ = ["Results", "run"]

OmegaConf.register_new_resolver("count", len, replace=True)


def _channels_2d(channels: int, frames: int, differences: bool, motion: DictConfig | None) -> int:
    """Channels of the image that TDCNet's 2D backbone sees."""
    if motion is not None:
        return int(hydra.utils.instantiate(motion, _convert_="all")(channels, frames).out_channels)
    return channels * (frames if differences else 1)


OmegaConf.register_new_resolver("channels_2d", _channels_2d, replace=True)

WITH_DEFAULT = ("predict", "track", "live")
"""Stages that take the usual detector where none is named."""
FROM_CHECKPOINT = ("eval", "stress", "deploy", *WITH_DEFAULT)
"""Stages that take ``ckpt_path`` and its weights."""


def run(cfg: DictConfig, overrides: Sequence[str] = ()) -> Results:
    """Runs the stage that the config names.

    Args:
        cfg: the composed config.
        overrides: of the command line.
    """
    check_used(overrides, cfg)
    if cfg.stage.name == "live" and STDOUT in (cfg.stage.json, cfg.stage.csv, cfg.stage.mot):
        claim_stdout()
    stage: Callable[..., Results] = hydra.utils.get_method(cfg.stage._target_)
    if backend(cfg) and cfg.stage.name not in ("eval", *WITH_DEFAULT):
        raise ValueError(f"stage={cfg.stage.name} runs in PyTorch only; backend= is for eval, predict, track and live")
    check_folders(cfg)
    if cfg.stage.name not in FROM_CHECKPOINT:
        return stage(cfg, overrides)
    if cfg.init_from is not None:
        raise ValueError(f"init_from starts a training; stage={cfg.stage.name} takes its weights from ckpt_path")
    if cfg.ckpt_path is None and cfg.stage.name in WITH_DEFAULT and not names_network(overrides) and not backend(cfg):
        cfg.ckpt_path = DEFAULT
        say(f"no ckpt_path given: [bold]{DEFAULT}[/] is taken, which `tdcnet models {DEFAULT}` tells about")
    if cfg.ckpt_path is None:
        return stage(cfg, overrides, None)  # a detector without learning needs none
    cfg.ckpt_path = str(find(cfg.ckpt_path))
    weights = read_info(cfg.ckpt_path) if backend(cfg) else read_weights(cfg.ckpt_path)
    return stage(inherit(cfg, weights.record, overrides), overrides, weights)
