"""A training that is broken off and goes on is, to the bit, the one that was not (`make kills`: a hundred of them)."""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import tdcnet.files
from tdcnet import stages
from tdcnet.callbacks import NotSaved, Stopped
from tdcnet.callbacks.checkpoint_io import read_training
from tdcnet.deploy.weights import CheckpointError
from tdcnet.detection import DetectionModule, NonFiniteLoss
from tdcnet.metrics import DetectionMetrics
from tests.kills.harness import difference, result, whole

pytestmark = pytest.mark.filterwarnings("ignore::tdcnet.data.alignment.AlignmentWarning")

# Three steps an epoch, a last.ckpt before every one, and a network of few tensors.
FEW = [
    *("dataset.samples_per_epoch=12", "trainer.max_epochs=2", "stage.report=false", "logger=none"),
    *("dataset.align=none", "model/fusion=only_2d", "callbacks.visualize=null"),
    "callbacks.checkpoints.checkpoint_minutes=1e-9",
]


class Broken(Exception):
    """As a killed process leaves things, but for this one goes on with the next test."""


@pytest.fixture
def few(configure, tmp_path):
    """``few(name, *overrides)``: a short training in a folder of that name, which it returns."""

    def train(name: str, *overrides: str) -> Path:
        stages.run(*configure(*FEW, *overrides, f"paths.output_dir={tmp_path / name}"))
        return tmp_path / name

    return train


@pytest.fixture
def broken(few, tmp_path, monkeypatch):
    """``broken(method, call, *overrides)``: checkpoints at the time when a training broke in a call of a method."""

    def train(method: str, call: int, *overrides: str) -> Path:
        calls, original = [], getattr(DetectionModule, method)

        def breaking(self, *args, **kwargs):
            calls.append(1)
            if len(calls) == call:
                shutil.copytree(tmp_path / "broken" / "checkpoints", tmp_path / "kept")
                raise Broken
            return original(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(DetectionModule, method, breaking)
            with pytest.raises(Broken):
                few("broken", *overrides)
        return tmp_path / "kept"

    return train


def test_from_the_midst_of_an_epoch_and_of_a_validation(few, broken, tmp_path):
    """With two workers and without; from what a kill leaves, and from what an error leaves."""
    expected = result(few("unbroken"))
    kept = broken("validation_step", 7, "dataset.num_workers=2")  # two at the start, three after the first epoch
    assert read_training(kept / "last.ckpt")["global_step"] == 5, "of six: an epoch is three"
    on = few("on", "dataset.num_workers=2", f"ckpt_path={kept / 'last.ckpt'}")
    assert difference(result(on), expected) is None
    interrupted = tmp_path / "broken" / "checkpoints" / "interrupted.ckpt"
    assert read_training(interrupted)["validation_due"] is True
    assert difference(result(few("again", f"ckpt_path={interrupted}")), expected) is None


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    ("method", "call"), [("training_step", 4), ("training_step", 3), ("on_before_optimizer_step", 4)]
)
def test_from_the_midst_of_a_step(few, broken, tmp_path, method, call, accumulate):
    options = [f"trainer.accumulate_grad_batches={accumulate}", "dataset.samples_per_epoch=16"]
    expected = result(few("unbroken", *options))
    kept = broken(method, call, *options)
    for number, path in enumerate((kept / "last.ckpt", tmp_path / "broken" / "checkpoints" / "interrupted.ckpt")):
        found = result(few(f"on{number}", *options, f"ckpt_path={path}"))
        assert difference(found, expected) is None


def test_a_signal_ends_it_between_two_batches(few, tmp_path, monkeypatch):
    step = DetectionModule.training_step

    def told_to_stop(self, *args):
        if self.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(DetectionModule, "training_step", told_to_stop)
    with pytest.raises(Stopped, match="SIGTERM"):
        few("run")
    assert signal.getsignal(signal.SIGTERM) is before
    saved = read_training(tmp_path / "run" / "checkpoints" / "interrupted.ckpt")
    assert saved["global_step"] == 2, "the step was done to its end"


# -- which checkpoints there are ---------------------------------------------------------------------------------------


COMPUTE = DetectionMetrics.compute


def scores(monkeypatch, *values: float) -> None:
    """Has the validations of a training give these figures, after that at its start."""
    given = iter((0.0, *values))
    monkeypatch.setattr(DetectionMetrics, "compute", lambda self: COMPUTE(self) | {"AP50": next(given)})


def test_the_last_is_the_last_and_the_best_stays_the_best_in_another_folder(few, tmp_path, monkeypatch):
    scores(monkeypatch, 0.3, 0.9, 0.5, 0.4)
    run = few("run", "trainer.max_epochs=3", "callbacks.checkpoints.checkpoint_minutes=null")
    last, best = (read_training(run / "checkpoints" / f"{name}.ckpt") for name in ("last", "best"))
    assert (best["global_step"], last["global_step"]) == (6, 9)
    assert last["callbacks"]["Checkpoints"]["best_score"] == 0.9
    scores(monkeypatch, 0.5, 0.6)  # of the fourth epoch, and of the evaluation
    on = few("on", "trainer.max_epochs=4", f"ckpt_path={run / 'checkpoints' / 'last.ckpt'}")
    assert (on / "checkpoints" / "best.ckpt").read_bytes() == (run / "checkpoints" / "best.ckpt").read_bytes()
    assert read_training(on / "checkpoints" / "last.ckpt")["global_step"] == 12
    assert whole(on / "checkpoints") == ["best.ckpt", "last.ckpt"]


def test_without_targets_the_last_is_the_best_and_it_is_said(few, monkeypatch, caplog):
    scores(monkeypatch, *[math.nan] * 4)
    early = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1", "callbacks.progress_bar=null")
    run = few("run", "trainer.max_epochs=3", *early)
    steps = [read_training(run / "checkpoints" / f"{name}.ckpt")["global_step"] for name in ("best", "last")]
    assert steps == [9, 9], "what cannot be told does not end a training either"
    assert caplog.text.count("the validation split has no targets") == 1


def test_a_torn_checkpoint_is_told_and_the_newest_whole_one_taken(few, caplog):
    run = few("run", "trainer.max_epochs=1")
    folder = run / "checkpoints"
    content = (folder / "last.ckpt").read_bytes()
    (folder / "last.ckpt").write_bytes(content[: len(content) // 2])
    few("run", f"ckpt_path={folder / 'last.ckpt'}")
    assert "last.ckpt is cut short or damaged; resuming from" in caplog.text and "best.ckpt" in caplog.text
    assert read_training(folder / "last.ckpt")["global_step"] == 6


def test_a_full_disk_leaves_what_there_was(few, tmp_path, monkeypatch, caplog):
    failed, sync = [], os.fsync

    def full(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if ".ckpt." in path.name and path.with_name("last.ckpt").exists() and len(failed) < 3:  # not the first ones
            failed.append(path)
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(tdcnet.files.os, "fsync", full)
    with pytest.raises(NotSaved, match=r"last\.ckpt could not be written: No space left.*The one before is kept"):
        few("run")
    kept = read_training(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert kept["global_step"] >= 1 and not list((tmp_path / "run" / "checkpoints").glob(".*"))
    failed.clear()
    on = few("on", "callbacks.checkpoints.on_full_disk=continue")
    assert "Training goes on without it" in caplog.text
    assert read_training(on / "checkpoints" / "last.ckpt")["global_step"] == 6


def test_a_folder_that_cannot_be_written_to_is_told_before_the_training(few, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").write_text("no folder")
    monkeypatch.setattr(DetectionModule, "training_step", None)
    with pytest.raises(NotSaved, match="checkpoints cannot be written to"):
        few("run")


# -- numbers that are none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", ["null", "1.0"])
@pytest.mark.parametrize("where", ["input", "gradient"])
def test_after_a_nan_there_is_the_state_before_it(few, tmp_path, monkeypatch, where, clip):
    """Norms' running statistics, too, which change in the forward pass; and it goes on as if nothing had been."""
    inputs, backward = DetectionModule.inputs, torch.Tensor.backward

    def bad_input(self, batch):
        found = inputs(self, batch)
        return tuple(x * math.nan for x in found) if self.training and self.global_step == 2 else found

    def bad_gradient(self, *args, **kwargs):
        self.register_hook(lambda g: g * math.inf) if len(calls) == 2 else None
        calls.append(1)
        backward(self, *args, **kwargs)

    calls: list[int] = []
    with monkeypatch.context() as patch:
        if where == "input":
            patch.setattr(DetectionModule, "inputs", bad_input)
        else:
            patch.setattr(torch.Tensor, "backward", bad_gradient)
        with pytest.raises(NonFiniteLoss, match=r"is (nan|not finite) at step 2.*lower module\.lr"):
            few("run", f"trainer.gradient_clip_val={clip}")
    kept = tmp_path / "run" / "checkpoints" / "interrupted.ckpt"
    assert read_training(kept)["global_step"] == 2  # which refuses what is not finite
    last = read_training(kept.with_name("last.ckpt"))
    assert difference(read_training(kept)["state_dict"], last["state_dict"]) is None


# -- what is said ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("module.lr=nan", r"module\.lr is nan; expected a number above 0"),
        ("module.lr=-1", r"module\.lr is -1"),
        ("module.warmup=1.5", r"module\.warmup is 1\.5; expected a number from 0 and below 1"),
        ("module.max_minutes=0", r"max_minutes is 0"),
        ("trainer.max_epochs=0", r"trainer\.max_epochs is 0: nothing would be trained"),
        ("+trainer.max_steps=0", r"trainer\.max_steps is 0"),
        ("+trainer.limit_train_batches=0", r"not one step was trained"),
        ("callbacks.checkpoints.checkpoint_minutes=-1", r"checkpoint_minutes is -1"),
        ("callbacks.checkpoints.on_full_disk=ignore", r"allowed are error, continue"),
    ],
)
def test_a_number_out_of_its_range(few, option, message):
    with pytest.raises(Exception) as error:
        few("run", option)
    cause = error.value.__cause__ or error.value
    assert isinstance(cause, ValueError)
    assert re.search(message, str(cause))


def test_an_epoch_that_max_steps_cuts_short_is_validated_and_goes_on(few):
    cut = few("cut", "+trainer.max_steps=5") / "checkpoints"  # an epoch has three
    assert read_training(cut / "last.ckpt")["global_step"] == 5 and (cut / "best.ckpt").is_file()
    on = few("on", f"ckpt_path={cut / 'last.ckpt'}")
    assert read_training(on / "checkpoints" / "last.ckpt")["global_step"] == 6
    with pytest.raises(ValueError, match=r"has 5 steps done, trainer\.max_steps is 4: nothing to train"):
        few("less", f"ckpt_path={cut / 'last.ckpt'}", "+trainer.max_steps=4")


def test_what_is_other_than_in_the_resumed_run_is_said(few, caplog):
    """And the best of other validation frames is not taken for the best of these."""
    run = few("run", "trainer.max_epochs=1")
    best = run / "checkpoints" / "best.ckpt"
    content = torch.load(best, weights_only=True)
    content["callbacks"]["Checkpoints"]["best_score"] = 0.99
    torch.save(content, best)
    resume = f"ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    on = few("on", resume, "trainer.max_epochs=2", "dataset.stride=2", "dataset.batch_size=2", "callbacks.ema=null")
    assert re.search(
        r"other than in the resumed run: dataset\.batch_size 2 \(was 4\), dataset\.stride 2 \(was 1\), "
        r"callbacks\.ema\.decay None \(was [.\d]+\)",
        caplog.text,
    )
    assert read_training(on / "checkpoints" / "best.ckpt")["callbacks"]["Checkpoints"]["best_score"] == 0.99
    on = few("other", resume, "trainer.max_epochs=2", "dataset.val_step=2")
    assert "was the best on other validation frames; the best is chosen anew" in caplog.text
    assert read_training(on / "checkpoints" / "best.ckpt")["callbacks"]["Checkpoints"]["best_score"] != 0.99


def test_a_network_that_fits_but_computes_something_else_is_told(few, caplog):
    last = few("run", "trainer.max_epochs=1") / "checkpoints" / "last.ckpt"
    few("same", f"ckpt_path={last}", "trainer.max_epochs=2")
    assert "the network is other" not in caplog.text
    content = torch.load(last, weights_only=True)
    del (
        content["tdcnet"]["model"]["head"]["prior"],
        content["tdcnet"]["model"]["head"]["box_prior"],
    )  # of before they were
    torch.save(content, last)
    few("other", f"ckpt_path={last}", "trainer.max_epochs=2", "model.head.prior=0.02")
    assert "the network is other than in the resumed run: model.head.prior 0.02 (was 0.01)\n" in caplog.text


def test_what_cannot_be_resumed_is_said(few, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run = few("run", "trainer.max_epochs=1")
    resume = f"ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    with pytest.raises(ValueError, match=r"trained with AdamW, module\.optimizer is Adam,"):
        few("on", resume, "module=published")
    with pytest.raises(
        ValueError, match=r"of another network: state_dict\..*Resume with the model and dataset\.classes"
    ):
        few("on", resume, "model.head.width=32")
    on = few("on", resume, "trainer.max_epochs=1")
    assert "nothing to train" in caplog.text and (on / "metrics.json").is_file()
    few("further", resume, "module.lr=1e-3")
    assert "other than in the resumed run: lr 0.001 (was 0.002)" in caplog.text
    saved = read_training(tmp_path / "further" / "checkpoints" / "last.ckpt")
    assert saved["lr_schedulers"][0]["base_lrs"] == [0.001, 0.001]
    with pytest.raises(ValueError, match=r"2 epochs done, trainer\.max_epochs is 1"):
        few("back", f"ckpt_path={tmp_path / 'further' / 'checkpoints' / 'last.ckpt'}", "trainer.max_epochs=1")


def test_time_that_was_used_counts(few, tmp_path, caplog):
    run = few("run", "trainer.max_epochs=1")
    path = run / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["minutes"] = 7.0
    torch.save(content, path)
    few("on", f"ckpt_path={path}", "module.max_minutes=7")
    assert "module.max_minutes=7 are used up" in caplog.text
    few("further", f"ckpt_path={path}", "module.max_minutes=1000")
    saved = read_training(tmp_path / "further" / "checkpoints" / "last.ckpt")
    assert 7 < saved["minutes"] < 1000 and saved["global_step"] == 6


def test_a_pickle_is_refused_as_in_evaluation(few, tmp_path):
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": Evil()}, path)
    with pytest.raises(CheckpointError, match=r"evil\.ckpt is refused.*could run code"):
        few("run", f"ckpt_path={path}")
    assert not (tmp_path / "ran").exists()
