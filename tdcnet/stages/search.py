"""stage=search: which values of some options give the best figure, proposed one after the other by optuna's TPE.

Each trial is a run of its own, see :mod:`tdcnet.stages.runs`. What is proposed hangs only on the seed, the number of
the trial and the trials before it, so that a search which was broken off goes on as it would have.
"""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from tdcnet.data.errors import DataError
from tdcnet.deploy.optional import load
from tdcnet.files import read_json
from tdcnet.report.search import Trial, best_of, table_of, write_search
from tdcnet.results import write_json
from tdcnet.run_folder import read_figure
from tdcnet.shown import shown
from tdcnet.stages.overrides import command_line, merge_overrides
from tdcnet.stages.parts import Results, check_metric, plain, say
from tdcnet.stages.runs import RunsFailed, data_of, run_all

log = logging.getLogger(__name__)

RECORD = "search.json"
FAILURES = 3
"""Failed trials in a row that end a search: what fails them all is no matter of the options."""
MOST_CHOICES = 10_000
"""Values of one option."""
EXPECTED = "Expected such as a=1,2 or 'a=range(1,9)' or 'a=interval(0,1)' or 'a=tag(log, interval(1e-4,1e-2))'"
MISSING = object()
TRIES = 50
"""Proposals for one trial, of which the first that is new is taken."""
Space = Mapping[str, Any]
"""Option -> distribution of optuna."""


def search(cfg: DictConfig, overrides: Sequence[str] = ()) -> Results:
    """Runs ``stage.trials`` trials, then tells the best and how the figure follows each option.

    Raises:
        ValueError: if an option of the space cannot be read, the metric is unknown, or the folder holds another search.
        MissingPackage: without optuna.
        RunsFailed: if trials failed; the others are told first.
    """
    optuna = load("optuna", "`tdcnet search`", extra="search")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    output = Path(cfg.paths.output_dir)
    if not isinstance(cfg.stage.trials, int) or cfg.stage.trials < 1:
        raise ValueError(f"stage.trials is {cfg.stage.trials}; expected a number of trials from 1")
    if cfg.stage.direction not in ("maximize", "minimize"):
        raise ValueError(f"stage.direction is {cfg.stage.direction!r}; expected maximize or minimize")
    space = space_of(plain(cfg.stage.space), optuna.distributions)
    check_known(cfg, space)
    check_metric(cfg)
    data_of(cfg)
    given = merge_overrides(overrides, [], without=("stage", "hydra", "ckpt_path"))
    said = {
        "space": list(plain(cfg.stage.space)),
        "metric": cfg.stage.metric,
        "direction": cfg.stage.direction,
        "options": given,
    }
    trials = read_trials(output / RECORD, said, space)
    log.info("hydra.run.dir=%s goes on with this search", output)
    failed: list[str] = []
    streak = 0

    def keep() -> None:
        write_json(output / RECORD, {**said, "trials": [trial.plain() for trial in trials]})

    for number in range(cfg.stage.trials):
        if number == len(trials):
            options = propose(optuna, space, trials, cfg.seed, cfg.stage.direction)
            if options is None:
                say(f"all that the options allow was tried, in {number} trials")
                break
            trials.append(Trial(number, options))
        keep()
        trial = trials[number]
        if run_all({trial.name: ["stage=train", "logger=csv", *trial.overrides]}, overrides, output, anew=False):
            failed.append(trial.name)
            streak += 1
            if streak == FAILURES:
                break
            continue
        streak = 0
        trials[number] = trial = trial.with_figure(read_figure(output / trial.name, cfg.stage.metric))
        best = best_of(trials, cfg.stage.direction)
        say(f"{trial.name}: {cfg.stage.metric} {trial.figure:.3f}" + (f"; best {best.name}" if best else ""))
    keep()
    return _tell(cfg, output, trials, given, failed)


def space_of(texts: Any, distributions: Any) -> dict[str, Any]:
    """Option -> distribution, of sweeps in Hydra's words: ``a=1,2``, ``range(..)``, ``interval(..)``, ``tag(log, ..)``.

    Args:
        texts: a list of them.
        distributions: ``optuna.distributions``.

    Raises:
        ValueError: if one is none.
    """
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"stage.space is {texts!r}: there is nothing to search. {EXPECTED}")
    space: dict[str, Any] = {}
    for text in texts:
        try:
            option = OverridesParser.create().parse_override(text)
        except HydraException as error:
            raise ValueError(f"{text!r} cannot be read. {EXPECTED}") from error
        if not option.is_sweep_override():
            raise ValueError(f"{text!r} has one value: there is nothing to search. {EXPECTED}")
        name = option.get_key_element()
        if name in space:
            raise ValueError(f"{name} is given twice; give all of its values at once")
        space[name] = _distribution(option, text, distributions)
    return space


def check_known(cfg: DictConfig, space: Space) -> None:
    """Sees to it that the options are there, unless they are added or choose a group.

    Raises:
        ValueError: naming one that is not.
    """
    for name in space:
        group = "/" in name or name.startswith("+") or OmegaConf.is_dict(OmegaConf.select(cfg, name))
        if not group and OmegaConf.select(cfg, name, default=MISSING) is MISSING:
            near = difflib.get_close_matches(name, _names(cfg), n=1)
            meant = f". Did you mean {near[0]}?" if near else "; `tdcnet train --cfg job` shows all"
            raise ValueError(f"there is no option {name}{meant}")


def _names(config: DictConfig, above: str = "") -> list[str]:
    """Keys of all values, with dots."""
    names = []
    for key in map(str, config):
        name = f"{above}{key}"
        value = None if OmegaConf.is_missing(config, key) or OmegaConf.is_interpolation(config, key) else config[key]
        names += _names(value, f"{name}.") if isinstance(value, DictConfig) else [name]
    return names


def _distribution(option: Override, text: str, distributions: Any) -> Any:
    value: Any = option.value()
    if isinstance(value, RangeSweep) and _length(value) > MOST_CHOICES:
        raise ValueError(f"{text!r} has {_length(value):.0f} values; expected up to {MOST_CHOICES}, or an interval")
    if isinstance(value, ChoiceSweep | RangeSweep):
        return distributions.CategoricalDistribution(list(option.sweep_string_iterator()))
    ends = (value.start, value.end) if isinstance(value, IntervalSweep) else ()
    if not ends or not all(end is not None and math.isfinite(end) for end in ends):
        raise ValueError(f"{text!r} names no values to try. {EXPECTED}")
    logarithmic = "log" in value.tags
    whole = isinstance(ends[0], int)
    kind = distributions.IntDistribution if whole else distributions.FloatDistribution
    try:
        return kind(*ends, log=logarithmic)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{text!r}: {error}") from error


def _length(sweep: RangeSweep) -> float:
    start, stop, step = (float(each or 0) for each in (sweep.start, sweep.stop, sweep.step))
    return abs((stop - start) / step) if step else math.inf


def read_trials(path: Path, said: Mapping[str, Any], space: Space) -> list[Trial]:
    """What a search in this folder has so far; those that failed come without a figure, and are run again.

    Raises:
        ValueError: if it is another search.
        DataError: if the file is damaged.
    """
    if not path.exists():
        return []
    content = read_json(path)
    if not isinstance(content, dict) or {key: content.get(key) for key in said} != dict(said):
        raise ValueError(f"{path} is of another search. Give the same options, or another hydra.run.dir")
    if not isinstance(found := content.get("trials"), list):
        raise DataError(f"{path}: trials is {shown(found)}; expected a list. Remove the file to search anew")
    trials = [Trial.of(n, each, path) for n, each in enumerate(found)]
    for trial in trials:
        fits = set(trial.options) == set(space)
        if not fits or not all(_holds(space[name], value) for name, value in trial.options.items()):
            raise ValueError(
                f"{path}: {trial.name} is not of this space. Remove the file, or give another hydra.run.dir"
            )
    return trials


def _holds(distribution: Any, value: Any) -> bool:
    if hasattr(distribution, "choices"):
        return value in distribution.choices
    kinds: Any = int if isinstance(distribution.low, int) else int | float
    return isinstance(value, kinds) and not isinstance(value, bool) and distribution.low <= value <= distribution.high


def propose(
    optuna: Any, space: Space, trials: Sequence[Trial], seed: int, direction: str
) -> dict[str, str | int | float] | None:
    """Options of the next trial, or None if nothing new is found."""
    tried = [trial.options for trial in trials]
    for turn in range(TRIES):
        drawn = np.random.SeedSequence((seed, len(trials), turn)).generate_state(1)  # seeds in a row draw alike
        sampler = optuna.samplers.TPESampler(seed=int(drawn[0]))
        study = optuna.create_study(direction=direction, sampler=sampler)
        for trial in trials:
            dead = math.isnan(trial.figure)
            study.add_trial(
                optuna.trial.create_trial(
                    params=dict(trial.options),
                    distributions=dict(space),
                    state=optuna.trial.TrialState.FAIL if dead else optuna.trial.TrialState.COMPLETE,
                    value=None if dead else trial.figure,
                )
            )
        proposed = {name: _rounded(value, space[name]) for name, value in study.ask(dict(space)).params.items()}
        if proposed not in tried:
            return proposed
    return None


def _rounded(value: Any, distribution: Any) -> Any:
    """A number as short as it may be written: to about a thousandth of the interval."""
    if not isinstance(value, float):
        return value
    low, high = distribution.low, distribution.high
    digits = 4 + max(0, math.ceil(math.log10(max(abs(low), abs(high)) / (high - low)) - 0.3)) if high > low else 17
    return min(max(float(f"{value:.{digits}g}"), low), high)


def _tell(
    cfg: DictConfig, output: Path, trials: Sequence[Trial], given: Sequence[str], failed: Sequence[str]
) -> Results:
    metric, direction = str(cfg.stage.metric), str(cfg.stage.direction)
    title = f"{cfg.name}: search on {cfg.dataset.name}"
    best = best_of(trials, direction)
    results: Results = ({}, {"trials": list(trials)})
    if best is not None:
        Console().print(table_of(trials, metric, direction, title))
        files = write_search(output, trials, metric, direction, title)
        say(f"table and plot: [bold]{', '.join(map(str, files))}[/]")
        best_options = merge_overrides(given, ["stage=train", *best.overrides])
        say(f"the best as a training: [bold]{command_line(best_options)}[/]")
        results = {metric: best.figure}, {"trials": list(trials), "best": best, "files": files}
    if failed:
        raise RunsFailed.of(failed, {trial.name: trial for trial in trials}, output)
    return results
