"""What the folder of a finished run tells about it, read as plain data: such a folder may come from anybody."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdcnet.data.errors import DataError
from tdcnet.files import read_json, read_yaml
from tdcnet.limits import clip_fault
from tdcnet.metrics.rules import RULES, Rule, within
from tdcnet.plain_data import are_whole, is_number, is_whole
from tdcnet.shown import shown

CONFIG, OVERRIDES = Path(".hydra/config.yaml"), Path(".hydra/overrides.yaml")
RULE_NAMES = {f"tdcnet.metrics.rules.{name}": rule for name, rule in RULES.items()}
"""Ways of counting that a run may name, by their exact name."""


@dataclass(frozen=True)
class RunConfig:
    """Of a run's config, what its figures are compared by.

    Attributes:
        network: its config, to tell whether two are the same; it is not built.
        classes: names by label.
        size: height and width of the network's input, px.
        num_frames: T.
        stride: frames from one frame of a clip to the next.
        rule: what counts as a hit.
        within_class: whether a detection hits targets of its own class only.
        checkpoint: what was evaluated, if it was given.
    """

    network: object
    classes: list[str]
    size: tuple[int, int]
    num_frames: int
    stride: int
    rule: Rule
    within_class: bool
    checkpoint: Path | None


def read_run(folder: Path) -> RunConfig:
    """The config in a run's folder.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it is damaged or not that of a run, or clips of its size would fill the memory.
    """
    path = folder / CONFIG
    content = read_yaml(path)
    size = _get(content, "dataset.size", path, lambda v: are_whole(v, 2, 1, 16384), "height and width in px")
    metrics = _get(content, "module.metrics", path, lambda v: isinstance(v, Mapping), "how hits are counted")
    checkpoint = _get(content, "ckpt_path", path, lambda v: v is None or _text(v, 4096), "a path")
    num_frames = _get(content, "dataset.num_frames", path, lambda v: is_whole(v, 1, 1000), "a number of frames")
    if fault := clip_fault(size, num_frames):
        raise DataError(f"{path}: {fault}")
    return RunConfig(
        network=_get(content, "model", path, lambda v: isinstance(v, Mapping), "the config of a network"),
        classes=_get(content, "dataset.classes", path, _names, "names of classes"),
        size=(size[0], size[1]),
        num_frames=num_frames,
        stride=_get(content, "dataset.stride", path, lambda v: is_whole(v, 1, 10_000), "a number of frames"),
        rule=_rule(metrics, path),
        within_class=metrics.get("within_class", False) is True,
        checkpoint=None if checkpoint is None else Path(checkpoint),
    )


def read_overrides(folder: Path) -> list[str]:
    """The command line of a run, to be compared with another; raises as :func:`read_run`."""
    path = folder / OVERRIDES
    content = read_yaml(path)
    if not isinstance(content, list):
        raise DataError(f"{path}: is {shown(content)}; expected a list of options")
    return [str(each) for each in content]


def read_figure(folder: Path, name: str) -> float:
    """A figure of a finished run, NaN if its ``metrics.json`` has none of that name.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if it is damaged.
    """
    figures = read_json(folder / "metrics.json")
    value = figures.get(name) if isinstance(figures, dict) else None
    return float(value) if isinstance(value, int | float) else math.nan


def _rule(metrics: Mapping[str, Any], path: Path) -> Rule:
    """The rule of ``module.metrics``: a distance, or one by name with numbers."""
    asked = metrics.get("rule")
    if asked is None:
        distance = metrics.get("distance", 3.0)
        if not is_number(distance):
            raise DataError(f"{path}: module.metrics.distance is {shown(distance)}; expected a number of px")
        return within(distance)
    name = asked.get("_target_") if isinstance(asked, Mapping) else None
    options = {k: v for k, v in asked.items() if k != "_target_"} if isinstance(asked, Mapping) else {}
    if not isinstance(name, str) or name not in RULE_NAMES or not all(map(is_number, options.values())):
        raise DataError(
            f"{path}: module.metrics.rule is {shown(asked)}; expected _target_ to be one of "
            f"{', '.join(RULE_NAMES)}, with numbers"
        )
    try:
        return RULE_NAMES[name](**options)
    except TypeError as error:
        raise DataError(f"{path}: module.metrics.rule is {shown(asked)} ({error})") from error


def _get(content: object, key: str, path: Path, test: Callable[[Any], bool], expected: str) -> Any:
    value = content
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if not test(value):
        raise DataError(f"{path}: {key} is {shown(value)}; expected {expected}. It is not the config of a run")
    return value


def _text(value: object, most: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most and "\0" not in value


def _names(value: object) -> bool:
    return isinstance(value, list) and 0 < len(value) <= 1000 and all(_text(name, 100) for name in value)
