"""What a file may ask for: everything this project saves, and nothing else."""

from __future__ import annotations

import copy
import importlib
import sys
import time

import pytest
import torch
from torch import nn

from tdcnet.deploy import gate
from tdcnet.deploy.errors import CheckpointError
from tdcnet.deploy.gate import PARTS, build_network, check
from tdcnet.models import tdcnet_nano

NANO = {
    "_target_": "tdcnet.models.Detector",
    "in_channels": 1,
    "num_frames": 5,
    "init": "default",
    "differences": False,
    "attention_on": ["fused"],
    "attention": {"_target_": "tdcnet.layers.CBAM", "_partial_": True, "reduction": 16, "kernel_size": 7},
    "backbone_tdc": {
        "_target_": "tdcnet.models.ShuffleNet3D",
        "stem_channels": 8,
        "widths": [32, 64, 128],
        "temporal_conv": {
            "_target_": "tdcnet.layers.RepConv3D",
            "_partial_": True,
            "branches": ["short", "mid", "long"],
            "pure_long": False,
        },
        "temporal_block": None,
    },
    "backbone_3d": {"_target_": "tdcnet.models.ShuffleNet3D", "stem_channels": 8, "widths": [32, 64, 128]},
    "backbone_2d": {"_target_": "tdcnet.models.CSPDarknet", "width": 0.125, "depth": 0.33},
    "fusion": {"_target_": "tdcnet.models.TDCSTA", "channels": [32, 64, 128], "num_heads": [1, 2, 4]},
    "neck": {"_target_": "tdcnet.models.TopDownNeck", "in_channels": [32, 64, 128]},
    "head": {
        "_target_": "tdcnet.models.DecoupledHead",
        "in_channels": 32,
        "num_classes": 1,
        "width": 64,
        "prior": 0.01,
    },
}


def changed(place: str, value: object) -> dict:
    config = copy.deepcopy(NANO)
    *path, last = place.split(".")
    inside = config
    for key in path:
        inside = inside[key]
    inside[last] = value
    return config


def test_a_network_is_built_as_configured():
    built = build_network(NANO, "a.ckpt")
    expected = {n: v.shape for n, v in tdcnet_nano().state_dict().items()}
    assert {n: v.shape for n, v in built.state_dict().items() if not n.startswith("attention")} == expected


def test_parts_are_this_projects_own_or_plain_activations():
    for name, part in PARTS.items():
        assert name.startswith(("tdcnet.models.", "tdcnet.layers.", "torch.nn.")) and callable(part)
        made = name.rpartition(".")[2].startswith(("tdcnet", "motion_2d"))
        assert made or (isinstance(part, type) and issubclass(part, nn.Module))


TARGETS = [
    "os.system",
    "subprocess.Popen",
    "torch.hub.load",
    "torch.load",
    "numpy.load",
    "pandas.read_pickle",
    "setuptools._distutils.spawn.spawn",
    "numpy.testing._private.utils.runstring",
    "builtins.exec",
    "antigravity.geohash",
    "tdcnet.models.detector.torch.hub.load",
    "tdcnet.models.torch.load",
    "tdcnet.layers.attention.shared.nn.Linear",
    "tdcnet.layers",
    "tdcnet.deploy.weights.load_plain",
    "tdcnet.models.postprocess",
    "tdcnet.modelsX.Detector",
    "torch.nn.Linear",
    "torch.nn.modules.module.torch.load",
    "hydra.utils.get_method",
    "hydra.utils.instantiate",
    "",
    "Detector",
    "tdcnet.models.Detector ",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("place", ["", "fusion.", "backbone_tdc.temporal_conv.", "attention."])
def test_nothing_else_is_built_or_imported(target, place, monkeypatch):
    monkeypatch.setattr(importlib, "import_module", lambda *a: pytest.fail(f"imports {a}"))
    before = set(sys.modules)
    with pytest.raises(CheckpointError, match=r"a\.ckpt is refused: it asks for "):
        build_network(changed(f"{place}_target_", target), "a.ckpt")
    assert set(sys.modules) == before


FAULTS = {
    "head.num_classes": [10_000_000, -5.5, "1", True, None, float("nan"), [1]],
    "num_frames": [0.5, 1e300, "5", 10**30],
    "differences": [0, "yes", None],
    "init": [3, "x" * 1000],
    "attention_on": ["fused", [1], {"a": 1}],
    "backbone_tdc.widths": [[32, 64, 10**9], 32, [[32]], {"_target_": "tdcnet.models.TDCSTA"}],
    "backbone_tdc.depths": [[4, 8, 100_000]],
    "backbone_2d.width": [1e9, float("inf")],
    "backbone_2d.depth": [1e6],
    "backbone_tdc.temporal_conv": [None, "tdcnet.layers.RepConv3D", {}, {"_target_": "tdcnet.layers.RepConv3D"}],
    "backbone_tdc.temporal_conv.branches": [["short", "other"], "short"],
    "backbone_tdc.temporal_conv.in_channels": ["x"],
    "backbone_tdc.temporal_conv._partial_": [1, "true"],
    "fusion": [None, 5, [], {"_target_": "tdcnet.models.TDCSTA", "_partial_": True, "channels": [1, 2, 3]}],
    "fusion.num_heads": [[1, 2, 10**6]],
    "fusion.windows": [[[19, 19, 19], [2, 4, 4], [2, 2, 2]]],  # 6,859 positions: 15 GB of what is in no state
    "neck.unknown": [1],
    "head._recursive_": [False],
    "head._args_": [[1]],
}


@pytest.mark.parametrize("place", FAULTS)
def test_arguments_are_of_the_right_kind_and_size(place):
    for value in FAULTS[place]:
        start = time.process_time()
        with pytest.raises(CheckpointError, match=r"a\.ckpt"):
            build_network(changed(place, value), "a.ckpt")
        assert time.process_time() - start < 5


def test_what_is_missing_is_named():
    config = copy.deepcopy(NANO)
    del config["neck"]
    with pytest.raises(CheckpointError, match=r"model lacks neck"):
        check(config, "a.ckpt")


@pytest.mark.parametrize("config", [None, [], "tdcnet.models.Detector", {}, {"_target_": 5}, {"_target_": ["a"]}])
def test_what_is_no_network_is_named(config):
    with pytest.raises(CheckpointError, match=r"a\.ckpt: model is .*expected a part of a network"):
        build_network(config, "a.ckpt")


def test_a_network_of_many_small_references_is_no_large_one():
    loop: dict = copy.deepcopy(NANO)
    loop["fusion"] = loop
    shared: list = [1] * 20
    for _ in range(10):
        shared = [shared] * 20
    for config in (loop, changed("attention_on", shared)):
        with pytest.raises(CheckpointError, match="more than 2000 entries or 12 levels"):
            build_network(config, "a.ckpt")


def test_a_network_much_larger_than_its_weights_takes_no_memory(monkeypatch):
    wide = changed("head.width", 4096)
    build, devices = gate._build, []

    def built(*arguments):
        devices.append(torch.empty(0).device.type)
        return build(*arguments)

    monkeypatch.setattr(gate, "_build", built)
    with pytest.raises(CheckpointError, match=r"asks for a network of [0-9,]+ numbers, at most 1,000,000"):
        build_network(wide, "a.ckpt", most=1_000_000)
    assert set(devices) == {"meta"}


def test_a_users_own_parts_take_a_word_at_the_command_line(tmp_path, monkeypatch):
    (tmp_path / "mine_for_gate.py").write_text(
        "import os\nfrom torch import nn\nclass Neck(nn.Module):\n"
        "    def __init__(self, in_channels: list[int]):\n        super().__init__()\n"
        "        self.in_channels, self.out_channels = in_channels, in_channels[0]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = changed("neck._target_", "mine_for_gate.Neck")
    with pytest.raises(CheckpointError, match=r"'mine_for_gate.Neck', which is not among .* add allow=\[PACKAGE\]"):
        build_network(config, "a.ckpt")
    assert "mine_for_gate" not in sys.modules
    built = build_network(config, "a.ckpt", allow=["mine_for_gate"])
    assert type(built.neck).__name__ == "Neck"
    for target in ("mine_for_gate.os.system", "mine_for_gate.nn.Linear", "os.system", "mine_for_gate_too.Neck"):
        with pytest.raises(CheckpointError, match=r"is refused|cannot be imported"):
            build_network(changed("neck._target_", target), "a.ckpt", allow=["mine_for_gate"])
