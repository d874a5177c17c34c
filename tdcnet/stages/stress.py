"""stage=stress: how a detector degrades when what it sees is made harder, in many ways and step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console

from tdcnet.callbacks import Visualize
from tdcnet.config_folder import config_folder
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.data.degradations import Dropped, Repeated
from tdcnet.data.degrade import AnyWay, Steps, check_together, degraded
from tdcnet.data.sequence import Sequence as Recording
from tdcnet.deploy.weights import Weights, read_weights
from tdcnet.metrics.breakdown import Row
from tdcnet.metrics.stress import MEAN, PLAIN, Step, mean_row, stress_row
from tdcnet.plain_data import is_whole
from tdcnet.report.stress import KEY, Stress, example, sheet, stress_table, write_page, write_results
from tdcnet.stages.compared import CHECKPOINTS
from tdcnet.stages.inherit import inherit
from tdcnet.stages.labels import label_of, unique
from tdcnet.stages.overrides import command_line
from tdcnet.stages.parts import NOT_TRAINING, Results, build, build_trainer, measure, say
from tdcnet.weights import find


@dataclass(frozen=True)
class Trial:
    """One step of one way.

    Attributes:
        way: its name.
        strength: what the step is told by; NaN where the way has one step of many strengths.
        done: name -> what is done, in this order.
    """

    way: str
    strength: float
    done: Mapping[str, AnyWay]

    @property
    def name(self) -> str:
        """To show."""
        return self.way if math.isnan(self.strength) else f"{self.way} {self.strength:g}"


def stress(cfg: DictConfig, overrides: Sequence[str], weights: Weights | None) -> Results:
    """Evaluates ``ckpt_path``, the checkpoints of ``stage.compare`` and ``stage.baselines`` on ever harder clips.

    What is done so far is written after each step.

    Raises:
        ValueError: if ``stage.only`` names a way that is not there, or ``stage.compare`` what is no checkpoint.
    """
    if cfg.dataset.get("degrade"):
        raise ValueError(
            "stage=stress makes the clips harder itself, held against those as they are; leave out dataset.degrade"
        )
    if not is_whole(cfg.stage.seed, 0, 2**32 - 1):
        raise ValueError(f"stage.seed is {cfg.stage.seed}; expected a whole number from 0")
    trials, axes = _trials(cfg)
    detectors = list(_detectors(cfg, overrides, weights))
    output = Path(cfg.paths.output_dir)
    parameters: dict[str, list[list[dict[str, Any]]]] = {}
    for trial in trials:
        done = [{"way": type(way).__name__, **asdict(way)} for way in trial.done.values()]  # type: ignore[arg-type]
        parameters.setdefault(trial.way, []).append(done)
    rows: list[Row] = []
    means: list[Row] = []
    first: list[Step] = []
    drawn: ClipDataModule | None = None
    for name, own, own_overrides, own_weights in detectors:
        parts = build(own, own_overrides, own_weights, ready=True)
        plain: ClipDataModule = parts["datamodule"]
        drawn = drawn or plain
        trainer = build_trainer(own, without=(*NOT_TRAINING, Visualize))
        steps: list[Step] = []
        for number, trial in enumerate((Trial(PLAIN, math.nan, {}), *trials)):
            parts["datamodule"] = plain.harder(trial.done, cfg.stage.seed) if trial.done else plain
            measure(trainer, parts, collect=True)
            steps.append(_step(trial, parts))
            rows.append(stress_row(name, steps[-1], steps[0]))
            say(f"{name}, {trial.name}: {KEY} [bold]{100 * rows[-1][KEY]:.1f} %[/] ({number + 1} of {len(trials) + 1})")
            write_results(output, Stress(rows, means, axes, parameters, cfg.stage.seed))
        means.append(mean_row(name, steps, first or None))
        first = first or steps
    told = Stress(rows, means, axes, parameters, cfg.stage.seed)
    write_results(output, told)
    assert drawn is not None
    title = f"{means[0]['detector']} under stress: {cfg.dataset.name}"
    Console().print(stress_table(told, title))
    pictures = _pictures(drawn, trials, cfg.stage.seed)
    page = write_page(output, told, pictures, title=title, command=command_line(overrides))
    say(f"all figures in [bold]{output / 'stress.json'}[/]")
    say(f"report in [bold]{page}[/]")
    return {f"mean {KEY}": means[0][MEAN]}, {"stress": told, "report": page}


def _step(trial: Trial, parts: dict[str, Any]) -> Step:
    clips, metrics, frames = parts["datamodule"].val_dataset, parts["module"].metrics, parts["frames"]
    sequences = [clips.locate(item)[0].name for item in frames.image_ids.tolist()]
    return Step.of(trial.way, trial.strength, frames, sequences, metrics.rule, metrics.within_class)


def _trials(cfg: DictConfig) -> tuple[list[Trial], dict[str, str]]:
    """All steps of the ways asked for, and what the strengths of each way are."""
    ways: dict[str, Steps] = instantiate(cfg.stage.ways, _convert_="all")
    together: dict[str, dict[str, AnyWay]] = instantiate(cfg.stage.together, _convert_="all")
    names = [*ways, *together]
    asked = names if cfg.stage.only is None else _listed(cfg.stage.only)
    for done in together.values():
        check_together([type(way) for way in done.values()])
    if not asked:
        raise ValueError(f"stage.only is empty; expected null for all ways, or some of {', '.join(names)}")
    if unknown := set(asked) - set(names):
        raise ValueError(f"stage.only names {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    trials = [
        Trial(name, strength, {name: way})
        for name, steps in ways.items()
        if name in asked
        for strength, way in zip(steps.strengths, steps.ways, strict=True)
    ]
    trials += [Trial(name, math.nan, done) for name, done in together.items() if name in asked]
    return trials, {name: steps.axis for name, steps in ways.items()}


Detector = tuple[str, DictConfig, Sequence[str], Weights | None]


def _detectors(cfg: DictConfig, overrides: Sequence[str], weights: Weights | None) -> Iterator[Detector]:
    """Name, config, overrides and weights of all; whatever is wrong with one is told before the work."""
    others = [find(each) for each in _listed(cfg.stage.compare)]
    if wrong := [path for path in others if path.suffix.lower() not in CHECKPOINTS and not path.is_dir()]:
        raise ValueError(
            f"stage.compare names {wrong[0]}; results on other clips tell nothing here, expected a checkpoint"
        )
    names = [label_of(cfg)]
    yield names[0], cfg, overrides, weights
    for path in others:
        read = read_weights(path)
        other = inherit(cfg, read.record, ["dataset", *overrides])  # its own clips of the same data set
        other.ckpt_path = str(path)
        names.append(unique(label_of(other), names))
        yield names[-1], other, (), read
    for name in _listed(cfg.stage.baselines):
        names.append(unique(name, names))
        yield names[-1], _baseline(cfg, name), (), None


def _baseline(cfg: DictConfig, name: str) -> DictConfig:
    """The config of a detector without learning on the clips of another."""
    started = GlobalHydra.instance().is_initialized()
    with nullcontext() if started else initialize_config_dir(str(config_folder()), version_base="1.3"):
        composed = compose("config", overrides=[f"model={name}"])
    if any(True for _ in instantiate(composed.model, _convert_="all").parameters()):
        raise ValueError(f"stage.baselines names {name}, which has to learn; stage.compare takes a checkpoint of it")
    own = cfg.copy()
    own.ckpt_path, own.model = None, composed.model
    return own


def _listed(given: Any) -> list[str]:
    """What may be a single name."""
    return [given] if isinstance(given, str) else list(given)


def _pictures(datamodule: ClipDataModule, trials: Sequence[Trial], seed: int) -> dict[str, NDArray[np.uint8]]:
    """Way -> a frame as it is and in each step; of those that change what a frame looks like."""
    plain = datamodule.evaluated()
    place = example(plain)
    if place is None:
        return {}
    recording, level = plain.sequences[place[0]], datamodule.grey_level
    of_way: dict[str, list[tuple[str, Recording]]] = {}
    for trial in trials:
        if not any(isinstance(way, Dropped | Repeated) for way in trial.done.values()):
            shown = of_way.setdefault(trial.way, [(PLAIN, recording)])
            shown.append((trial.name, degraded(recording, trial.done.values(), seed, level)))
    sheets = {way: sheet(shown, place[1]) for way, shown in of_way.items()}
    return {way: picture for way, picture in sheets.items() if picture is not None}
