from __future__ import annotations

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from tdcnet.models import motion_2d, motion_2d_fine, motion_2d_nano, motion_2d_small, tdcnet, tdcnet_nano, tdcnet_small
from tdcnet.models.single_stream import single_stream
from tests.integration.conftest import CONFIGS

TDCNETS = {"tdcnet": tdcnet, "tdcnet_small": tdcnet_small, "tdcnet_nano": tdcnet_nano}
LIGHT = {
    "motion_2d": motion_2d,
    "motion_2d_small": motion_2d_small,
    "motion_2d_fine": motion_2d_fine,
    "motion_2d_nano": motion_2d_nano,
}
PRESETS = TDCNETS | LIGHT


@pytest.mark.parametrize("experiment", ["irstd_uav", "irdst", "drone_ir", "demo", "synthetic"])
@pytest.mark.parametrize("trainer", ["auto", "cpu", "gpu", "ddp"])
def test_every_experiment_composes_and_resolves(configure, experiment, trainer):
    cfg, _ = configure(f"+experiment={experiment}", f"trainer={trainer}", base=[])
    plain = OmegaConf.to_container(cfg, resolve=False)
    for group in ("dataset", "model", "module", "trainer", "callbacks", "stage"):
        assert OmegaConf.to_container(cfg[group], resolve=True), f"{group} of {plain['name']}"
    assert cfg.name == experiment


@pytest.mark.parametrize("model", PRESETS)
@pytest.mark.parametrize("classes", [["target"], ["drone", "bird"]])
def test_config_and_function_build_the_same_network(configure, model, classes):
    cfg, _ = configure(f"model={model}", f"dataset.classes=[{','.join(classes)}]", base=[])
    built = instantiate(cfg.model, _convert_="all")
    expected = PRESETS[model](num_classes=len(classes))
    built.load_state_dict(expected.state_dict())
    clip = torch.rand(2, 1, 1, 5, 32, 96)  # no multiple of an attention window
    with torch.no_grad():
        assert torch.equal(built.eval()(*clip), expected.eval()(*clip))


@pytest.mark.parametrize("dataset", sorted(path.stem for path in (CONFIGS / "dataset").glob("*.yaml")))
def test_every_data_set_composes_and_instantiates(configure, dataset, tmp_path):
    cfg, _ = configure(f"dataset={dataset}", f"dataset.root={tmp_path}", base=[])
    datamodule = instantiate(cfg.dataset, _convert_="all")
    assert datamodule.size[0] % 32 == datamodule.size[1] % 32 == 0
    assert datamodule.read.func.__module__.startswith("tdcnet.data.formats.")
    with pytest.raises(FileNotFoundError, match="looked for"):
        datamodule.generate = None
        datamodule.setup("validate")


@pytest.mark.parametrize("model", sorted(path.stem for path in (CONFIGS / "model").glob("*.yaml")))
def test_every_model_composes_and_builds(configure, model):
    cfg, _ = configure(f"model={model}", base=[])
    assert instantiate(cfg.model, _convert_="all").num_classes == 1


@pytest.mark.parametrize("stream", ["2d", "3d", "tdc"])
@pytest.mark.parametrize("model", TDCNETS)
def test_a_single_stream_has_no_other_backbone(configure, model, stream):
    cfg, _ = configure(f"model={model}", f"model/fusion=only_{stream}", base=[])
    built = instantiate(cfg.model, _convert_="all")
    expected = single_stream(PRESETS[model](), stream)
    shapes = {name: value.shape for name, value in built.state_dict().items()}
    assert shapes == {name: value.shape for name, value in expected.state_dict().items()}
    assert {name.split(".")[0] for name in shapes} == {f"backbone_{stream}", "neck", "head"}


def test_differences_follow_one_key(configure):
    for given in (["+experiment=drone_ir", "model=tdcnet_nano"], ["differences=true"], ["model.differences=true"]):
        cfg, _ = configure(*given, base=[])
        assert instantiate(cfg.model, _convert_="all").backbone_2d.in_channels == 5
    cfg, _ = configure("+experiment=drone_ir", "model=top_hat", base=[])
    assert instantiate(cfg.model, _convert_="all").num_frames == 5, "a recipe for networks fits other detectors, too"


def test_every_baseline_composes_with_every_recipe(configure):
    cfg, _ = configure("+experiment=baselines", base=[])
    assert cfg.stage.name == "baselines" and cfg.trainer.max_epochs == 2 and cfg.module.max_minutes is None
    for experiment in ("baselines", "synthetic", "irstd_uav"):
        for own in cfg.stage.detectors.values():
            single, _ = configure(f"+experiment={experiment}", *own, base=[])
            assert instantiate(single.model, _convert_="all").num_frames == single.dataset.num_frames


def test_published_recipe(configure):
    cfg, _ = configure("+experiment=irstd_uav", base=[])
    assert cfg.module.optimizer._target_ == "torch.optim.Adam"
    assert list(cfg.module.optimizer.betas) == [0.937, 0.999]
    assert (cfg.module.lr, cfg.module.reference_batch, cfg.dataset.batch_size) == (1e-3, 64, 4)
    assert (cfg.callbacks.ema.decay, cfg.callbacks.ema.ramp) == (0.9999, 2000)
    assert (cfg.trainer.max_epochs, cfg.dataset.samples_per_epoch, list(cfg.dataset.size)) == (100, 0.2, [640, 640])
    assert cfg.model.head.prior == 0.01


def test_early_stopping_is_off_by_default(configure):
    assert "early_stopping" not in configure(base=[])[0].callbacks
    assert "early_stopping" in configure("callbacks=early_stopping", base=[])[0].callbacks
