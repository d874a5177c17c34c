"""Finished runs side by side: what each finds, how sure that is, and what it costs.

Runs that differ only in their seed, ``NAME/seed0``, ``NAME/seed1``, .., are one row. Intervals are of a bootstrap over
both the validation sequences and the seeds: other clips move a figure, and so does another start.
"""

from __future__ import annotations

import math
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tdcnet.cost import OTHER, count
from tdcnet.data.errors import DataError
from tdcnet.deploy.fold import reparameterize
from tdcnet.deploy.weights import load_detector
from tdcnet.metrics.matching import Floats
from tdcnet.metrics.outcomes import Outcomes, average_precision, draws, pd_at, percentiles
from tdcnet.models.clip_detector import MULTIPLE, ClipDetector
from tdcnet.report.exchange import read_ground_truth, read_predictions
from tdcnet.run_folder import read_run

FIGURES: dict[str, Callable[[Outcomes, Floats], float]] = {
    "AP50": average_precision,
    "Pd@1": lambda outcomes, w: pd_at(outcomes, 1.0, w),
    "Pd@0.1": lambda outcomes, w: pd_at(outcomes, 0.1, w),
    "Pd@0.05": lambda outcomes, w: pd_at(outcomes, 0.05, w),
}
"""AP50 as published, the others by the run's own rule (centres within 3 px unless configured)."""
SEED = re.compile(r"seed\d+")
Row = dict[str, Any]


@dataclass
class Entry:
    """A row: the runs of one configuration, one for each seed.

    Attributes:
        folders: of the runs.
        outcomes: of each run, matched by figure.
        parameters, gflops, milliseconds: of the deploy form on one clip; None for a detector without learning.
    """

    name: str
    folders: list[Path] = field(default_factory=list)
    outcomes: list[dict[str, Outcomes]] = field(default_factory=list)
    parameters: int | None = None
    gflops: float | None = None
    milliseconds: float | None = None


def find_runs(folder: Path) -> dict[str, list[Path]]:
    """Finished runs below a folder, those of different seeds together: name -> folders.

    Raises:
        FileNotFoundError: if there is none.
    """
    found: dict[str, list[Path]] = {}
    for config in sorted(folder.glob("**/.hydra/config.yaml")):
        run = config.parents[1]
        if all((run / name).is_file() for name in ("predictions.json", "ground_truth.json")):
            parts = [p for p in run.relative_to(folder).parts if not SEED.fullmatch(p)]
            found.setdefault("/".join(parts) or folder.resolve().name, []).append(run)
    if not found:
        raise FileNotFoundError(
            f"no finished run below {folder}: one has .hydra/config.yaml, predictions.json and ground_truth.json "
            "(stage=train and stage=eval write them unless stage.report=false)"
        )
    return found


def read_entries(runs: dict[str, list[Path]]) -> list[Entry]:
    """The rows of these runs, without times.

    Raises:
        DataError: if a run is of other frames than the first or has another network than its row's, or its files are
            damaged.
    """
    entries = []
    first: tuple[Path, Any, list[str]] | None = None
    for name, folders in runs.items():
        entry = Entry(name)
        network: object = None
        for folder in folders:
            frames, sequences = read_ground_truth(folder / "ground_truth.json")
            first = first or (folder, frames, sequences)
            if sequences != first[2] or not np.array_equal(frames.target_boxes, first[1].target_boxes):
                raise DataError(f"{folder} was evaluated on other frames than {first[0]}; compare runs of one data set")
            run = read_run(folder)
            network = network or run.network
            if run.network != network:
                raise DataError(f"{folder} has another network than {folders[0]}; give each row a name of its own")
            found = read_predictions(folder / "predictions.json", frames, run.classes)
            near = Outcomes.of(found, sequences, None, run.rule, run.within_class)
            over = Outcomes.by_overlap(found, sequences)
            entry.outcomes.append({key: over if key == "AP50" else near for key in FIGURES})
            entry.folders.append(folder)
        entries.append(entry)
    return entries


def add_costs(entries: Sequence[Entry], rounds: int = 7) -> None:
    """Counts each network's parameters and GFLOPs in deploy form, and times it on one clip of its validation size.

    The networks take turns, round by round; the median is told. Detectors without a checkpoint keep None.

    Args:
        rounds: timed ones, after one that warms up; 0 for no times.
    """
    timed: list[tuple[Entry, ClipDetector, torch.Tensor, list[float]]] = []
    for entry in entries:
        run = read_run(entry.folders[0])
        own = entry.folders[0] / "checkpoints" / "best.ckpt"
        checkpoint = own if own.is_file() else run.checkpoint
        if checkpoint is None or not checkpoint.exists():
            continue
        deployed = reparameterize(load_detector(checkpoint))
        size = [-(-n // MULTIPLE) * MULTIPLE for n in run.size]
        clip = torch.rand(1, deployed.in_channels, run.num_frames, *size)
        with torch.inference_mode(), _naming(entry.folders[0], clip):
            cost = count(deployed, lambda net=deployed, x=clip: net(x, x))[OTHER]  # type: ignore[misc]
        entry.parameters, entry.gflops = cost.parameters, cost.flops / 1e9
        timed.append((entry, deployed, clip, []))
    for i in range(rounds + 1 if rounds else 0):
        for _, deployed, clip, seconds in timed:
            start = time.perf_counter()
            with torch.inference_mode():
                deployed(clip, clip)
            if i:
                seconds.append(time.perf_counter() - start)
    for entry, _, _, seconds in timed:
        entry.milliseconds = 1e3 * statistics.median(seconds) if seconds else None


@contextmanager
def _naming(folder: Path, clip: torch.Tensor) -> Iterator[None]:
    """Memory that is not there, told in terms of the run that asks for it."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        _, _, frames, height, width = clip.shape
        raise DataError(
            f"{folder}: its network does not fit into memory on a clip of {frames} frames of {height} x {width} px. "
            "Compare it on a machine with more of it, or without this run"
        ) from error


def rows_of(entries: Sequence[Entry], samples: int = 1000) -> list[Row]:
    """Figures, intervals and costs of each row.

    Of several seeds a figure is the mean, ``least`` and ``most`` are those of single runs; ``low`` and ``high`` are a
    95 % interval of the mean, ``to first`` its difference to the first row's, with an interval of its own.

    Intervals are of a bootstrap over sequences, the same draws for all rows, and over seeds, a draw for each row. Two
    or three seeds of one row say little of how far apart seeds lie; hence that is taken to be the same in all rows
    (residual bootstrap, Davison and Hinkley 1997, ch. 3). Where no row has several seeds, sequences alone are drawn.
    """
    first = entries[0].outcomes[0]["AP50"]
    weights = draws(len(first.sequences), samples)
    ones = np.ones(len(first.sequences))
    rows: list[Row] = [{"name": entry.name, "seeds": len(entry.folders)} for entry in entries]
    for key, figure in FIGURES.items():
        each = [[figure(outcomes[key], ones) for outcomes in entry.outcomes] for entry in entries]
        drawn = _with_seeds(
            [
                np.array([[figure(outcomes[key], w) for w in weights] for outcomes in entry.outcomes])
                for entry in entries
            ]
        )
        for row, values, found in zip(rows, each, drawn, strict=True):
            value = statistics.fmean(values)
            low, high = np.clip(percentiles(found), 0, 1).tolist()
            row |= {key: value, f"{key} least": min(values), f"{key} most": max(values)}
            row |= {f"{key} low": low, f"{key} high": high}
            row[f"{key} to first"] = value - rows[0][key]
            row[f"{key} to first low"], row[f"{key} to first high"] = percentiles(found - drawn[0])
    for row, entry in zip(rows, entries, strict=True):
        row |= {"parameters": entry.parameters, "GFLOPs": entry.gflops, "ms": entry.milliseconds}
    return rows


def _with_seeds(runs: Sequence[Floats]) -> list[Floats]:
    """Each row's mean [samples] of its runs [seeds, samples], moved by as much as other seeds may move it."""
    several = [found for found in runs if len(found) > 1]
    means = [found.mean(axis=0) for found in runs]
    if not several:
        return means
    apart = np.concatenate(
        [(found - found.mean(axis=0)) * math.sqrt(len(found) / (len(found) - 1)) for found in several]
    )
    rng = np.random.default_rng(0)
    samples = np.arange(apart.shape[1])
    return [
        mean + apart[rng.integers(len(apart), size=found.shape), samples].mean(axis=0)
        for mean, found in zip(means, runs, strict=True)
    ]
