"""What a training takes over from the weights of another one."""

from __future__ import annotations

import pytest
import torch

from tdcnet.deploy.errors import CheckpointError
from tdcnet.deploy.fold import reparameterize
from tdcnet.deploy.record import Record
from tdcnet.deploy.transfer import take_over
from tdcnet.deploy.weights import Weights
from tdcnet.models import motion_2d_nano, motion_2d_small
from tests.conftest import randomise_norms


@pytest.fixture
def weights() -> Weights:
    torch.manual_seed(0)
    return Weights(randomise_norms(motion_2d_nano()).state_dict())


def test_the_same_network_takes_all(weights):
    model = motion_2d_nano()
    taken = take_over(model, weights, "a.ckpt")
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights.state[name]), name
    assert (taken.own, taken.left) == ((), ())
    count = len(weights.state)
    assert str(taken) == f"{count} of the network's {count} tensors are taken"


def test_halves_become_floats(weights):
    model = motion_2d_nano()
    take_over(model, Weights({n: v.half() if v.is_floating_point() else v for n, v in weights.state.items()}), "a")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.head.box_pred.bias, weights.state["head.box_pred.bias"].half().float())


def test_what_does_not_fit_keeps_its_start_and_is_named(weights):
    torch.manual_seed(1)
    model = motion_2d_nano(num_classes=3, num_frames=4)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    state = weights.state | {"old.part": torch.zeros(2)}
    del state["head.box_pred.weight"]
    taken = take_over(model, Weights(state), "a.ckpt")
    own = {text.split()[0] for text in taken.own}
    for name, value in model.state_dict().items():
        assert torch.equal(value, start[name] if name in own else state[name]), name
    assert own == set(start) - set(taken.fitting) and len(own) == 4
    text = str(taken)
    assert "head.class_pred.weight (3, 64, 1, 1), there (1, 64, 1, 1)" in text
    assert "head.class_pred.bias (3,), there (1,)" in text
    assert "backbone.stem.conv.weight" in text
    assert text.endswith("; without a place here: old.part")


def test_folded_weights_and_those_of_another_network_are_refused(weights):
    folded = Weights(reparameterize(motion_2d_nano()).state_dict(), Record(deployed=True))
    with pytest.raises(CheckpointError, match=r"a is re-parameterised: .* Give the checkpoint of its training"):
        take_over(motion_2d_nano(), folded, "a")
    model = motion_2d_small()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"a is of another network: [\d,]+ of [\d,]+ numbers .* and \d+ more"):
        take_over(model, weights, "a")
    assert all(torch.equal(value, start[name]) for name, value in model.state_dict().items())
