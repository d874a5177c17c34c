from __future__ import annotations

import math
import os
import pickle

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tdcnet.deploy.fold import is_deployed, largest_difference, reparameterize
from tdcnet.deploy.record import Record
from tdcnet.deploy.weights import (
    CheckpointError,
    Weights,
    export,
    load_detector,
    load_into,
    load_plain,
    read_weights,
)
from tdcnet.models import Detector, tdcnet_nano, tdcnet_small
from tdcnet.models.single_stream import single_stream
from tests.conftest import randomise_norms

CONFIG = {
    "_target_": "tdcnet.models.presets.tdcnet_nano",
    "num_classes": 1,
}


@pytest.fixture(scope="module")
def model():
    return randomise_norms(tdcnet_nano()).eval()


@pytest.mark.parametrize("form", ["training", "deploy"])
def test_export_is_rebuilt_without_lightning_or_hydra(model, tmp_path, form):
    chosen = model if form == "training" else reparameterize(model)
    path = export(tmp_path, chosen, Record(model=CONFIG))
    loaded = load_detector(path)
    assert isinstance(loaded, Detector) and is_deployed(loaded) == (form == "deploy") and not loaded.training
    x = torch.rand(1, 1, 5, 64, 64)
    with torch.no_grad():
        assert_close(loaded(x, x), chosen(x, x))
        assert_close(load_detector(tmp_path)(x, x), chosen(x, x))


@pytest.mark.parametrize("stream", ["2d", "3d", "tdc"])
@pytest.mark.parametrize("form", ["training", "deploy"])
def test_export_of_one_backbone_is_rebuilt(model, stream, form):
    """Two of them have no block of temporal differences that would tell the form."""
    alone = single_stream(model, stream).eval()
    chosen = alone if form == "training" else reparameterize(alone)
    assert is_deployed(chosen) == (form == "deploy")
    weights = Weights(chosen.state_dict(), Record(deployed=is_deployed(chosen)))
    loaded = load_into(single_stream(model, stream), weights, "x").eval()
    x = torch.rand(1, 1, 5, 64, 64)
    with torch.no_grad():
        assert_close(loaded(x, x), chosen(x, x))


def test_average_is_what_is_read(model, tmp_path):
    state = {f"model.{n}": v for n, v in model.state_dict().items()}
    average = {n: v + 1 for n, v in model.state_dict().items() if v.is_floating_point()}
    torch.save(
        {"state_dict": state, "ema": {"average": average, "updates": 3}, "tdcnet": {"name": "x"}}, tmp_path / "a.ckpt"
    )
    weights = read_weights(tmp_path / "a.ckpt")
    assert weights.record.name == "x" and not weights.deployed
    assert_close(weights.state["head.box_pred.bias"], model.head.box_pred.bias.detach() + 1)
    assert set(weights.state) == set(model.state_dict())


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, how):
    trap = tmp_path / "owned"
    content = {"state_dict": {"model.x": Malicious(trap)}}
    path = tmp_path / "evil.ckpt"
    if how == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(CheckpointError, match=r"refused|cannot be read"):
        read_weights(path)
    assert not trap.exists()


def test_damaged_and_foreign_files_are_named(tmp_path, model):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_weights(tmp_path / "none.ckpt")
    torch.save({"weights": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(CheckpointError, match=r"foreign.ckpt holds no 'state_dict'.*convert-official"):
        read_weights(tmp_path / "foreign.ckpt")
    torch.save({"state_dict": {"model.x": torch.zeros(1000)}}, tmp_path / "whole.ckpt")
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "whole.ckpt").read_bytes()[:900])
    with pytest.raises(CheckpointError, match=r"cut.ckpt cannot be read"):
        load_plain(tmp_path / "cut.ckpt")
    (tmp_path / "model.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_weights(tmp_path)


def test_checkpoint_of_another_model_is_refused(tmp_path, model):
    path = export(tmp_path, model, Record(model=CONFIG))
    with pytest.raises(CheckpointError, match=r"of another network.*of another shape.*model=tdcnet"):
        load_into(tdcnet_small(), read_weights(path), path)
    with pytest.raises(CheckpointError, match=r"head.class_pred.* is \(1, 64, 1, 1\), expected \(3, 64, 1, 1\)"):
        load_into(tdcnet_nano(num_classes=3), read_weights(path), path)


def test_weights_without_their_config_are_named(tmp_path, model):
    export(tmp_path, model, Record(model=CONFIG))
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match="does not say how its network is built"):
        load_detector(tmp_path)


def test_no_changed_byte_of_an_export_goes_unnoticed(tmp_path, model):
    path = export(tmp_path, model, Record(model=CONFIG))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in [0, 9, 40, *rng.integers(0, len(whole), 20).tolist()]:
        data = bytearray(whole)
        data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="its SHA-256 differs"):
            load_detector(tmp_path)
    path.write_bytes(whole)
    load_detector(tmp_path)


def test_no_changed_byte_of_a_checkpoint_goes_unnoticed(tmp_path, model):
    path = tmp_path / "a.ckpt"
    state = {f"model.{n}": v for n, v in model.state_dict().items()}
    torch.save({"state_dict": state, "tdcnet": Record(model=CONFIG).plain()}, path)
    whole, clean = path.read_bytes(), load_detector(path).state_dict()
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, len(whole), 60).tolist():
        data = bytearray(whole)
        data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            found = load_detector(path).state_dict()
        except CheckpointError:
            refused += 1
        else:  # padding between the tensors, or a time stamp
            assert all(torch.equal(found[n], v) for n, v in clean.items())
    assert refused > 40


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_neither_read_nor_written(tmp_path, value):
    broken = tdcnet_nano()
    broken.head.box_pred.bias.data[2] = value
    with pytest.raises(CheckpointError, match=r"head\.box_pred\.bias holds values that are no numbers"):
        export(tmp_path, broken, Record(model=CONFIG))
    assert not list(tmp_path.iterdir())
    torch.save({"state_dict": {f"model.{n}": v for n, v in broken.state_dict().items()}}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"a\.ckpt: tensor head\.box_pred\.bias holds values"):
        read_weights(tmp_path / "a.ckpt")


CONTENTS = {
    "average of another kind": {"state_dict": {}, "ema": 3},
    "no tensor": {"state_dict": {"model.x": "text"}},
    "sparse": {"state_dict": {"model.x": torch.eye(3).to_sparse()}},
    "complex": {"state_dict": {"model.x": torch.zeros(3, dtype=torch.complex64)}},
    "a record of another kind": {"state_dict": {}, "tdcnet": ["x"]},
    "a record of tensors": {"state_dict": {}, "tdcnet": {"stride": torch.ones(1)}},
}


@pytest.mark.parametrize("name", CONTENTS)
def test_other_content_is_named(tmp_path, name):
    torch.save(CONTENTS[name], tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"a\.ckpt"):
        read_weights(tmp_path / "a.ckpt")


def test_rounding_of_large_values_is_no_difference():
    before = torch.tensor([0.5, -20.0])
    assert largest_difference(before, before + torch.tensor([0.0, 1e-3])) == pytest.approx(5e-5, rel=1e-2)
    assert largest_difference(before, before + torch.tensor([1e-3, 0.0])) == pytest.approx(1e-3, rel=1e-2)
    assert math.isnan(largest_difference(before, before * math.nan))
