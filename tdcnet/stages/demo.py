"""stage=demo: all other stages in a row."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console

from tdcnet.callbacks import NotSaved
from tdcnet.deploy.weights import read_weights
from tdcnet.stages.deployment import deploy
from tdcnet.stages.evaluation import evaluate
from tdcnet.stages.parts import Results, say
from tdcnet.stages.prediction import predict
from tdcnet.stages.training import train

LITTLE = 0.5
"""Pd at 0.1 false alarms per frame up to which a demo has shown nothing."""

log = logging.getLogger(__name__)


def demo(cfg: DictConfig, overrides: Sequence[str] = ()) -> Results:
    """Train, evaluate, deploy and predict one unseen clip, each in a folder of its own below the run's; one process."""
    output = Path(cfg.paths.output_dir)

    def step(number: int, title: str, name: str) -> DictConfig:
        rank_zero_only(Console().rule)(f"{number}/4  {title}")
        part = copy.deepcopy(cfg)
        part.paths.output_dir = str(output / name)
        return part

    metrics, parts = train(
        step(1, "training on made-up clips, then evaluation on unseen sequences", "train"), overrides
    )
    checkpoint = parts["ckpt_path"]
    if checkpoint is None:
        raise NotSaved(f"no checkpoint could be written below {output}, so there is nothing to export. Make room")
    weights = read_weights(checkpoint)
    _, deployed = deploy(step(2, "re-parameterisation and export", "deploy"), overrides, weights)
    exported = deployed["folder"] / "deploy.ckpt"
    again, _ = evaluate(step(3, "evaluation of the exported network", "eval"), overrides, read_weights(exported))
    sequence = parts["datamodule"].val_dataset.sequences[0]
    part = step(4, f"prediction on unseen sequence {sequence.name}", "predict")
    part.source = str(Path(sequence.frames.where(0)).parent)
    _, predicted = predict(part, overrides, read_weights(exported))

    Console().rule("done")
    say(f"checkpoint         {checkpoint}")
    say(f"exported network   {deployed['folder']}")
    say(f"metrics            {output / 'train' / 'metrics.json'}")
    for path in predicted["files"]:
        say(f"prediction         {path}")
    say(
        f"Pd {metrics['Pd@0.1']:.3f} at 0.1 false alarms per frame on sequences it never saw"
        f" (exported form: {again['Pd@0.1']:.3f})"
    )
    if not metrics["Pd@0.1"] > LITTLE:
        steps, minutes = parts["trainer"].global_step, cfg.module.max_minutes
        log.warning(
            "this network found little: %d steps were trained. Some 400 are needed, which a slow or busy machine does "
            "not do in %s minutes; give it more with module.max_minutes=20, or another start with seed=1",
            *(steps, "these" if minutes is None else f"{minutes:g}"),
        )
    return metrics, {**parts, "folder": deployed["folder"], "files": predicted["files"]}
