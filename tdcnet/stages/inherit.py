"""What a checkpoint brings along to its evaluation, export and use: its network, and the clips it was trained on.

Only the entries of its record are taken, which are plain data of known kinds and sizes. Where data lies, where files go
and how a data set is read come from the project's configs and the command line alone.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig, OmegaConf

from tdcnet.deploy.record import Record
from tdcnet.stages.overrides import override_key

FROM_RECORD = ("size", "num_frames", "stride", "align_by", "intensity_range", "classes")
"""Keys of ``dataset`` that the record gives where the command line does not."""
ONLY_TRAINING = (
    "batch_size",
    "eval_batch_size",
    "num_workers",
    "samples_per_epoch",
    "balance",
    "train_step",
    "seed",
    "degrade_train",
)
"""Keys of ``dataset`` that an evaluation does not feel."""
WHERE = ("dataset.root", "dataset.read.data", "dataset.read.split", "dataset.names")
"""Keys of ``dataset`` that say where it lies."""

log = logging.getLogger(__name__)


def inherit(cfg: DictConfig, record: Record, given: Sequence[str]) -> DictConfig:
    """The config for a network that comes from a file.

    Args:
        cfg: the composed config.
        record: of the file.
        given: overrides of the command line; what they name stays as it is.

    Raises:
        ValueError: if the command line asks for other classes than the network tells apart.
    """
    keys = {override_key(override) for override in given}
    if _brings_data_set(record, keys):
        own = [override for override in given if not override_key(override).startswith("hydra.")]
        cfg = hydra.compose("config", overrides=[f"dataset={record.dataset}", *own])
    cfg = cfg.copy()
    for key in FROM_RECORD:
        value = getattr(record, key)
        if value and f"dataset.{key}" not in keys:
            OmegaConf.update(cfg, f"dataset.{key}", list(value) if isinstance(value, tuple) else value)
    if record.name and "name" not in keys:
        cfg.name = record.name
    _check_classes(list(cfg.dataset.classes), record)
    left = _left_out(record.command, keys)
    if cfg.stage.name in ("predict", "live") or (cfg.stage.name == "track" and cfg.source):  # no data set is read
        left = [option for option in left if override_key(option) not in WHERE]
    if left:
        log.warning(
            "it was trained with %s, which a checkpoint does not bring along; give it again if it is to hold here",
            " ".join(left),
        )
    return cfg


def _left_out(command: str, keys: set[str]) -> list[str]:
    """Options about data that a training was given and that are neither in the record nor given now; to be shown."""
    with suppress(ValueError):  # not split: quotes that do not match
        options = [word for word in shlex.split(command) if override_key(word).startswith("dataset.")]
        known = keys | {f"dataset.{key}" for key in (*FROM_RECORD, *ONLY_TRAINING)}
        return [word for word in options if override_key(word) not in known and "augment" not in override_key(word)]
    return []


def names_network(given: Sequence[str]) -> bool:
    """Whether the command line itself says which network it wants."""
    return any(override_key(override).partition(".")[0].partition("/")[0] == "model" for override in given)


def dataset_config(cfg: DictConfig, record: Record, given: Sequence[str]) -> str:
    """Name of the data set's config that is in force, as ``dataset=NAME`` would choose it."""
    if _brings_data_set(record, {override_key(override) for override in given}):
        return record.dataset  # Hydra itself knows of the first choice only
    if HydraConfig.initialized():
        choices: Any = HydraConfig.get().runtime.choices
        return str(choices.get("dataset", ""))
    return str(cfg.dataset.name)


def _brings_data_set(record: Record, keys: set[str]) -> bool:
    """Whether the data set is the record's, since the command line names none."""
    return not keys & {"dataset", "experiment"} and HydraConfig.initialized() and _is_ours(record.dataset)


def _is_ours(dataset: str) -> bool:
    """Whether there is such a config: in this project's folder, or one that the command line names."""
    if not dataset or Path(dataset).is_absolute() or ".." in Path(dataset).parts:
        return False
    return dataset in GlobalHydra.instance().config_loader().get_group_options("dataset", ObjectType.CONFIG)


def _check_classes(asked: list[str], record: Record) -> None:
    trained = list(record.classes)
    if trained and asked != trained and (len(trained) > 1 or len(asked) > 1):
        raise ValueError(
            f"dataset.classes is [{', '.join(asked)}], but the network tells apart [{', '.join(trained)}]: its labels "
            f"would get other names. Leave dataset.classes out, or give [{','.join(trained)}]"
        )
