"""A training that is broken off and goes on is, to the bit, the one that was not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tdcnet.detection import DetectionModule

pytestmark = pytest.mark.filterwarnings("ignore::tdcnet.data.alignment.AlignmentWarning")

# Three steps an epoch, no report, and a last.ckpt before every step.
FEW = [
    *("dataset.samples_per_epoch=12", "trainer.max_epochs=2", "stage.report=false", "logger=none"),
    *("dataset.align=none", "model/fusion=only_2d", "callbacks.visualize=null"),
]
OFTEN = "callbacks.checkpoints.checkpoint_minutes=1e-9"


class Broken(Exception):
    """As a killed process leaves things, but for this one goes on with the next test."""


def content(path: Path) -> dict[str, Any]:
    """What must be the same, of a checkpoint."""
    found = torch.load(path, weights_only=True)
    kept = {k: found[k] for k in ("state_dict", "ema", "optimizer_states", "lr_schedulers", "global_step", "epoch")}
    return kept | {"loops": found["loops"]["fit_loop"], "best": found["callbacks"]["Checkpoints"]}


def assert_same(one: Any, two: Any, where: str = "") -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    elif isinstance(one, dict):
        assert list(one) == list(two), where
        for key in one:
            assert_same(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for i, (a, b) in enumerate(zip(one, two, strict=True)):
            assert_same(a, b, f"{where}.{i}")
    else:
        assert one == two or (one != one and two != two), where


@pytest.fixture
def unbroken(run, tmp_path):
    def train(*overrides: str):
        metrics, _ = run(*FEW, OFTEN, *overrides, f"paths.output_dir={tmp_path / 'unbroken'}")
        return metrics, content(tmp_path / "unbroken" / "checkpoints" / "last.ckpt")

    return train


@pytest.fixture
def broken(run, tmp_path, monkeypatch):
    """``broken(method, call, *overrides)``: a training that breaks in a call of a method of the module, and a copy of
    what it has on disk then."""

    def train(method: str, call: int, *overrides: str) -> Path:
        calls, original = [], getattr(DetectionModule, method)
        folder = tmp_path / "broken" / "checkpoints"

        def breaking(self, *args, **kwargs):
            calls.append(1)
            if len(calls) == call:
                shutil.copytree(folder, tmp_path / "kept")
                raise Broken
            return original(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(DetectionModule, method, breaking)
            with pytest.raises(Broken):
                run(*FEW, OFTEN, *overrides, f"paths.output_dir={tmp_path / 'broken'}")
        return tmp_path / "kept"

    return train


@pytest.mark.parametrize(
    ("method", "call", "step"),
    [("training_step", 3, 2), ("training_step", 4, 3), ("on_before_optimizer_step", 5, 4), ("validation_step", 7, 5)],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_it(unbroken, broken, run, tmp_path, method, call, step, workers):
    options = [f"dataset.num_workers={workers}"]
    metrics, expected = unbroken(*options)
    kept = broken(method, call, *options)
    assert torch.load(kept / "last.ckpt", weights_only=True)["global_step"] == step
    again, _ = run(*FEW, OFTEN, *options, f"ckpt_path={kept / 'last.ckpt'}", f"paths.output_dir={tmp_path / 'on'}")
    assert_same(content(tmp_path / "on" / "checkpoints" / "last.ckpt"), expected)
    assert_same(again, metrics)
    if (path := tmp_path / "broken" / "checkpoints" / "interrupted.ckpt").is_file():
        again, _ = run(*FEW, OFTEN, *options, f"ckpt_path={path}", f"paths.output_dir={tmp_path / 'on2'}")
        assert_same(content(tmp_path / "on2" / "checkpoints" / "last.ckpt"), expected)
        assert_same(again, metrics)
