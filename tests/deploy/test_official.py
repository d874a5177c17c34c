from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tdcnet.commands import convert_official
from tdcnet.deploy.fold import is_deployed, reparameterize
from tdcnet.deploy.official import convert
from tdcnet.deploy.weights import load_into, read_weights
from tdcnet.models import tdcnet


def published_deploy_form(golden) -> dict[str, torch.Tensor]:
    """A released checkpoint after the published re-parameterisation: one convolution where three branches were."""
    state = golden.checkpoint()
    folded = tdcnet(in_channels=3)
    folded.load_state_dict(convert(state, in_channels=3))
    blocks = dict(reparameterize(folded).backbone_tdc.named_modules())
    kept = {name: value for name, value in state.items() if "_tdc." not in name}
    for name in state:
        if name.endswith(".s_tdc.0.conv.weight"):
            place = name.removesuffix(".s_tdc.0.conv.weight")
            ours = place.removeprefix("backbonetd.backbone.").replace("conv1", "stem")
            parts = ours.split(".")
            if parts[0] == "features":
                n = int(parts[1])
                stage, block = (0, n) if n < 4 else (1, n - 4) if n < 12 else (2, n - 12)
                ours = f"stages.{stage}.{block}." + {"banch1": "shortcut.0", "banch2": "main.1"}[parts[2]]
            kept[f"{place}.conv_reparam.weight"] = blocks[ours].weight
            kept[f"{place}.conv_reparam.bias"] = blocks[ours].bias
    return kept


def test_module_prefix_and_unused_layers(golden):
    state = {f"module.{name}": value for name, value in golden.checkpoint().items()}
    tdcnet().load_state_dict(convert(state), strict=True)


@pytest.mark.parametrize("form", ["training", "deploy"])
def test_script_writes_what_the_app_loads(golden, tmp_path, form, capsys):
    state = golden.checkpoint() if form == "training" else published_deploy_form(golden)
    torch.save({"state_dict": state}, tmp_path / "released.pth")
    given = [str(tmp_path / "released.pth"), str(tmp_path / "ours.ckpt"), "--in-channels", "3"]
    assert convert_official.main(given) == 0
    assert f"in {form} form" in capsys.readouterr().out
    weights = read_weights(tmp_path / "ours.ckpt")
    model = load_into(tdcnet(in_channels=3), weights, "ours.ckpt").eval()
    assert weights.deployed == is_deployed(model) == (form == "deploy")
    both = golden.image("clip", (1, 3, 10, 64, 64))
    with torch.no_grad():
        output = model(both[:, :, :5], both[:, :, 5:])
    expected = golden.load("tdcnet_64.npz")["output" if form == "training" else "output_deploy"]
    assert_close(output, expected, atol=1e-4, rtol=0)


def test_script_refuses_what_is_no_checkpoint(tmp_path, capsys):
    torch.save({"weights": 1}, tmp_path / "other.pth")
    assert convert_official.main([str(tmp_path / "other.pth"), str(tmp_path / "out.ckpt")]) == 1
    assert "holds no state dict" in capsys.readouterr().err
    assert convert_official.main([str(tmp_path / "none.pth"), str(tmp_path / "out.ckpt")]) == 1
    assert "no file at" in capsys.readouterr().err and not (tmp_path / "out.ckpt").exists()


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (lambda s: s.pop("head.stems.0.conv.weight"), KeyError, "head.stem.conv.weight is missing"),
        (lambda s: s.pop("backbonetd.backbone.conv1.m_tdc.1.bias"), KeyError, "conv1.m_tdc.1.bias is missing"),
        (lambda s: s.update({"head.extra": torch.zeros(1)}), KeyError, "head.extra is unknown"),
        (lambda s: s.update({"ca1.norm2.bias": torch.zeros(7)}), ValueError, r"ca1.norm2.bias .*\(7,\).*\(128,\)"),
        (
            lambda s: s.update({"backbone3d.backbone.conv1.0.weight": torch.zeros(24, 4, 5, 3, 3)}),
            ValueError,
            "conv1.0",
        ),
        (
            lambda s: s.update({"backbone2d.backbone.stem.conv.conv.weight": torch.zeros(32, 11, 3, 3)}),
            ValueError,
            "stem.conv.conv",
        ),
    ],
)
@pytest.mark.parametrize("in_channels", [1, 3])
def test_what_does_not_fit_is_named(golden, spoil, error, says, in_channels):
    state = golden.checkpoint()
    spoil(state)
    with pytest.raises(error, match=says):
        convert(state, in_channels)


def test_other_channel_counts_are_refused(golden):
    with pytest.raises(ValueError, match="1 or 3 channels"):
        convert(golden.checkpoint(), in_channels=2)
