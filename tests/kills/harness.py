"""Trainings that break, and what there is then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from tdcnet.callbacks.checkpoint_io import read_training

ROOT = Path(__file__).parents[2]

TINY = [
    *("dataset=synthetic", "model=tdcnet_nano", "model/fusion=only_2d", "trainer=cpu", "dataset.size=[64,64]"),
    *("dataset.augment.size=[64,64]", "dataset.batch_size=4", "dataset.samples_per_epoch=12", "trainer.max_epochs=3"),
    *("+trainer.enable_progress_bar=false", "callbacks.progress_bar=null", "logger=none", "stage.report=false"),
    *("callbacks.checkpoints.checkpoint_minutes=1e-9", "model.head.prior=null"),
]
ONE = ["trainer.devices=1", "trainer.strategy=auto"]
MADE = ["dataset.generate=null", "dataset.align=none"]


class Driver:
    """The process of :mod:`tests.kills.driver`."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.kills.driver"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, overrides: list[str], log: Path, fault: dict[str, Any] | None = None) -> tuple[int, float]:
        """Status (negative: the signal that killed it) and seconds of a training."""
        assert self.process.stdin and self.process.stdout
        job = {"overrides": overrides, "fault": fault, "log": str(log)}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["status"], answer["seconds"]

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def result(run: Path) -> dict[str, Any]:
    """What a training came to, which must be the same."""
    kept: dict[str, Any] = {"metrics": json.loads((run / "metrics.json").read_text())}
    for name in ("last", "best"):
        found = read_training(run / "checkpoints" / f"{name}.ckpt")
        for key in ("state_dict", "ema", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
            kept[f"{name}.{key}"] = found[key]
        kept[f"{name}.loops"] = found["loops"]["fit_loop"]
        kept[f"{name}.best"] = found["callbacks"]["Checkpoints"]
    return kept


def difference(one: Any, two: Any, where: str = "") -> str | None:
    """Where two results differ first."""
    if isinstance(one, torch.Tensor):
        return None if torch.equal(one, two) else where
    if isinstance(one, dict):
        if list(one) != list(two):
            return f"{where}: {list(one)} {list(two)}"
        return next((d for k in one if (d := difference(one[k], two[k], f"{where}.{k}")) is not None), None)
    if isinstance(one, list | tuple):
        if len(one) != len(two):
            return where
        return next((d for i, a in enumerate(one) if (d := difference(a, two[i], f"{where}.{i}")) is not None), None)
    return None if one == two or (one != one and two != two) else f"{where}: {one} {two}"


def whole(folder: Path) -> list[str]:
    """The checkpoints in a folder, all of which must be whole."""
    names = sorted(path.name for path in folder.glob("*.ckpt"))
    for name in names:
        read_training(folder / name)
    return names
