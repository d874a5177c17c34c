from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tdcnet.callbacks.checkpoint_io import (
    NotSaved,
    WholeCheckpointIO,
    check_folder,
    read_training,
    torn,
    whole_checkpoint,
)
from tdcnet.deploy.weights import CheckpointError
from tests.callbacks.test_progress import state


def checkpoint(value: float = 0.0):
    optimizer = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"params": [0], "betas": (0.9, 0.99)}]}
    return {
        "state_dict": {"model.w": torch.full((2,), value)},
        "optimizer_states": [optimizer],
        "lr_schedulers": [{"base_lrs": [1.0]}],
        "loops": {"fit_loop": state((1, 1, 1, 1), (0, 0, 0, 0))},
        "callbacks": {},
        "ema": {"average": {"w": torch.zeros(2)}, "updates": 3},
        **{"epoch": 1, "global_step": 5, "pytorch-lightning_version": "2.6.6", "minutes": 1.0},
    }


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint(checkpoint(1.0), path)
    return path


def test_what_is_written_is_read(saved):
    assert torch.equal(read_training(saved)["state_dict"]["model.w"], torch.ones(2))
    assert [path.name for path in saved.parent.iterdir()] == ["last.ckpt"]


def test_a_full_disk_leaves_the_one_before(saved, monkeypatch):
    before = saved.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotSaved, match=r"last\.ckpt could not be written: No space left on device\. The one before is"):
        WholeCheckpointIO().save_checkpoint(checkpoint(2.0), saved)
    assert saved.read_bytes() == before and len(list(saved.parent.iterdir())) == 1


def test_what_cannot_be_read_back_does_not_take_the_place(saved, monkeypatch):
    """A disk that loses what it was given."""
    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.ftruncate(descriptor, 100))
    with pytest.raises(NotSaved, match="what is read back is not what was written"):
        WholeCheckpointIO().save_checkpoint(checkpoint(2.0), saved)
    assert saved.read_bytes() == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda c, v: c["state_dict"]["model.w"].fill_(v), "state_dict.model.w"),
        (lambda c, v: c["ema"]["average"]["w"].fill_(v), "ema.average.w"),
        (lambda c, v: c["optimizer_states"][0]["state"][0]["exp_avg"].fill_(v), "optimizer_states.0.state.0.exp_avg"),
    ],
)
def test_no_number_that_is_none_is_saved_or_loaded(tmp_path, change, name, value):
    content, path = checkpoint(), tmp_path / "last.ckpt"
    change(content, value)
    with pytest.raises(NotSaved, match=rf"{name} is not finite"):
        WholeCheckpointIO().save_checkpoint(content, path)
    assert not path.exists()
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=rf"refused: {name} is not finite"):
        read_training(path)
    WholeCheckpointIO().save_checkpoint(checkpoint(), tmp_path / "best.ckpt")
    with pytest.raises(CheckpointError, match="not finite"):
        whole_checkpoint(path)


def damage(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    if kind == "half":
        content = content[: len(content) // 2]
    elif kind == "empty":
        content = bytearray()
    elif kind == "zeros":  # as after a power cut
        content = bytearray(len(content))
    elif kind == "a bit":
        place = content.index(torch.ones(2).numpy().tobytes())
        content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["half", "empty", "zeros", "a bit"])
def test_the_newest_whole_one_takes_a_damaged_one_s_place(saved, kind):
    io, said = WholeCheckpointIO(), []
    for age, (name, value) in enumerate((("older", 2.0), ("newer", 3.0), ("newest", 4.0))):
        path = saved.with_name(f"{name}.ckpt")
        io.save_checkpoint(checkpoint(value), path)
        os.utime(path, (1000 + age, 1000 + age))
    damage(saved.with_name("newest.ckpt"), "half")
    damage(saved, kind)
    assert torn(saved)
    path, content = whole_checkpoint(saved, said.append)
    assert path.name == "newer.ckpt" and content["state_dict"]["model.w"][0] == 3
    assert len(said) == 1 and "last.ckpt is cut short or damaged; resuming from" in said[0]


def test_nothing_whole(saved):
    damage(saved, "half")
    with pytest.raises(CheckpointError, match=r"no whole checkpoint lies beside it"):
        whole_checkpoint(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("optimizer_states"), r"no state of a training \(optimizer_states\)"),
        (lambda c: c.pop("state_dict"), "holds no 'state_dict'"),
        (lambda c: c.update(loops={}), "no progress of a training"),
        (lambda c: c.update(lr_schedulers=[3]), "no state of a training that can be used"),
        (lambda c: c.update(optimizer_states=[{"state": 1}]), "no state of a training that can be used"),
        (lambda c: c.update(ema={}), "no state of a training that can be used"),
        (lambda c: c.update(minutes="ten"), "no state of a training that can be used"),
        (lambda c: c.update(global_step=-1), "no state of a training that can be used"),
        (lambda c: c.update(epoch=10**30), "no state of a training that can be used"),
        (lambda c: c.update(minutes=float("nan")), "no state of a training that can be used"),
        (lambda c: c["optimizer_states"][0]["param_groups"][0].update(lr="x"), "the optimiser's state"),
        (lambda c: c["optimizer_states"][0]["param_groups"][0].update(betas=["x"]), "the optimiser's state"),
        (lambda c: c["lr_schedulers"][0].update(last_epoch="x"), "the schedule's state"),
        (lambda c: c.update({"pytorch-lightning_version": "nonsense"}), "Invalid version: 'nonsense'"),
        (lambda c: c.update({"pytorch-lightning_version": "0.1"}), "older than 2"),
    ],
)
def test_what_is_of_no_training(tmp_path, change, message):
    content = checkpoint()
    change(content)
    torch.save(content, tmp_path / "x.ckpt")
    WholeCheckpointIO().save_checkpoint(checkpoint(), tmp_path / "best.ckpt")
    with pytest.raises(CheckpointError, match=rf"{message}.*Beside it lies a whole one: ckpt_path=.*best\.ckpt"):
        whole_checkpoint(tmp_path / "x.ckpt")  # another file is not meant, but named


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint to resume from"):
        whole_checkpoint(tmp_path / "last.ckpt")
    WholeCheckpointIO().save_checkpoint(checkpoint(), tmp_path / "best.ckpt")
    with pytest.raises(FileNotFoundError, match=r"Beside it lies a whole one: ckpt_path=.*best\.ckpt"):
        whole_checkpoint(tmp_path / "last.ckpt")


def test_a_folder_that_cannot_be_written_to(tmp_path):
    check_folder(tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(NotSaved, match=r"file/checkpoints cannot be written to: .*hydra\.run\.dir"):
        check_folder(tmp_path / "file" / "checkpoints")
