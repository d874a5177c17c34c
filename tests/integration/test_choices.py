"""Every operator a config away: each choice composes, trains, re-parameterises, exports, is rebuilt from its files."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.testing import assert_close

from tdcnet import stages  # noqa: F401  its resolvers
from tdcnet.deploy import graph
from tdcnet.deploy.fold import reparameterize
from tdcnet.deploy.record import Record
from tdcnet.deploy.weights import export, load_detector
from tdcnet.layers import CBAM, RepConv3D
from tdcnet.models import Detector, tdcnet_nano
from tests.conftest import randomise_norms

CONFIGS = Path(__file__).parents[2] / "configs"


def files(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / "model" / group).glob("*.yaml"))


CHOICES = [
    *([f"model/temporal_conv={name}"] for name in files("temporal_conv")),
    *([f"model/temporal_block={name}"] for name in files("temporal_block")),
    *([f"model/fusion={name}"] for name in files("fusion") if "_" not in name or "only" in name),
    ["model/fusion=divided_space_time"],
    *([f"model/attention={name}"] for name in files("attention")),
    ["model/attention=cbam", "model.attention_on=[neck]"],
    ["model/attention=cot", "model.attention_on=[fused,neck]"],
    *([f"model.fusion.order=[{','.join(order)}]"] for order in itertools.permutations(("tdc", "3d", "2d"))),
    ["model.fusion.order=[tdc,tdc,2d]"],
    *([f"model.backbone_tdc.temporal_conv.branches=[{b}]"] for b in ("short", "mid", "long", "short,long")),
    ["model.backbone_tdc.temporal_conv.pure_long=true"],
    ["model/temporal_conv=tadaconv", "model.backbone_tdc.temporal_conv.calibrate=out"],
    ["model/temporal_block=sifa", "model.backbone_tdc.temporal_block=null"],
    ["model.head.finer=2"],
    *([f"model={name}"] for name in ("motion_2d_nano", "motion_2d_small", "motion_2d_fine", "motion_2d")),
    *(["model=motion_2d_nano", f"model/motion={name}"] for name in files("motion") if name != "memory"),
    ["model=motion_2d_nano", "model/motion=memory", "model.motion.steps=[1,3]", "model.motion.tracks=4"],  # of 5 frames
    ["model/motion=differences"],
    ["model/motion=memory", "model.motion.steps=[1,3]", "model.motion.tracks=4", "model.clip_step=2"],
    *(["model=motion_2d_nano", f"model/attention={name}"] for name in ("cbam", "coordinate")),
]


def composed(*overrides: str):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        model = [] if any(each.startswith("model=") for each in overrides) else ["model=tdcnet_nano"]
        cfg = compose("config", overrides=[*model, "dataset=drone_ir", *overrides])
    return OmegaConf.to_container(cfg.model, resolve=True)


@pytest.mark.parametrize("choice", CHOICES, ids=" ".join)
def test_a_choice_trains_deploys_and_is_rebuilt(choice, tmp_path):
    torch.manual_seed(0)
    config = composed(*choice)
    model = instantiate(config, _convert_="all").train()
    aligned, frames = torch.rand(2, 2, 1, 5, 64, 96).unbind(0)
    model(aligned, frames).square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == [], "two processes wait for each"
    randomise_norms(model).eval()
    with torch.no_grad():
        expected = model(aligned, frames)
        deployed = reparameterize(model)
        assert_close(deployed(aligned, frames), expected, atol=1e-4, rtol=1e-4)
        export(tmp_path, deployed, Record(model=config))
        assert_close(load_detector(tmp_path)(aligned, frames), deployed(aligned, frames), atol=0, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES, ids=" ".join)
def test_a_choice_becomes_an_onnx_graph(choice, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    # Exported in half the time.
    light = any(each.startswith("model=motion") for each in choice)
    shallow = [] if light else [f"+model.backbone_{stream}.depths=[1,1,1]" for stream in ("tdc", "3d")]
    model = reparameterize(randomise_norms(instantiate(composed(*choice, *shallow), _convert_="all")))
    clips = torch.rand(2, 1, 1, 5, 64, 96).unbind(0)
    path = graph.to_onnx(model, tmp_path / "model.onnx", (1, 5, 64, 96))
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (raw,) = session.run(None, dict(zip(graph.INPUTS, (x.numpy() for x in clips), strict=True)))
    with torch.no_grad():
        assert_close(torch.from_numpy(raw), model(*clips), atol=1e-3, rtol=1e-3)


def test_defaults_are_the_published_network():
    """What the groups choose by default is what the constructor gives, drawn in the same order."""
    torch.manual_seed(0)
    configured = instantiate(composed(), _convert_="all").state_dict()
    torch.manual_seed(0)
    built = tdcnet_nano().state_dict()
    assert list(configured) == list(built)
    assert all(torch.equal(configured[name], built[name]) for name in built)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (["model.backbone_tdc.temporal_conv.branches=[]"], "branches is empty"),
        (["model.backbone_tdc.temporal_conv.branches=[far]"], "allowed are 'short', 'mid' and 'long'"),
        (
            ["model/fusion=divided_space_time", "model.fusion.num_heads=[3,4,4]"],
            "into heads: 32 is no multiple of 3",
        ),
        (["model.fusion.order=[tdc,3d]"], "query, key and value are each one of"),
        (["model.fusion.order=[2d,2d,2d]"], "not all the newest frame"),
        (["model/attention=cbam", "model.attention_on=[head]"], "attention_on names head; allowed are fused, neck"),
        (["model/attention=cbam", "model.attention.reduction=64"], "reduction must be from 1 to the 32 channels"),
        (["model/attention=multi_head", "model.attention.num_heads=5"], "cannot split channels into heads"),
        (["model/fusion=concat", "model.fusion.channels=[32,64,256]"], "make them equal"),
        (["model/temporal_block=sifa", "model.backbone_3d.temporal_block.kernel_size=2"], "kernel_size must be odd"),
    ],
)
def test_what_does_not_fit_is_told_at_construction(choice, message):
    with pytest.raises(InstantiationException) as error:
        instantiate(composed(*choice), _convert_="all")
    assert message in str(error.value.__cause__ or error.value)


def test_attention_stands_where_it_is_asked_for():
    seen = []

    class Marked(CBAM):
        def forward(self, x):
            seen.append(tuple(x.shape[1:]))
            return super().forward(x)

    model = instantiate(composed(), _convert_="all")
    both = Detector(
        model.backbone_tdc,
        model.backbone_3d,
        model.backbone_2d,
        model.fusion,
        model.neck,
        model.head,
        attention=Marked,
        attention_on=("fused", "neck"),
    )
    x = torch.rand(1, 1, 5, 64, 96)
    both(x, x)
    assert seen == [(32, 8, 12), (64, 4, 6), (128, 2, 3), (32, 8, 12)]


@pytest.mark.parametrize("table", sorted(path.stem for path in (CONFIGS / "experiment" / "ablation").glob("*.yaml")))
def test_every_row_of_every_ablation_composes(table):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        given = [f"+experiment=ablation/{table}", "model=tdcnet_nano", "dataset=synthetic"]
        cfg = compose("config", overrides=given)
        assert cfg.stage.table == table
        described = set()
        for own in cfg.stage.runs.values():
            row = compose("config", overrides=[*given, *own, "stage=train"])
            parts = (row.model, row.module.loss, row.dataset.augment)
            described.add(
                "".join(OmegaConf.to_yaml(part, resolve=True) for part in parts)
                + f"{row.dataset.num_frames} frames, {row.dataset.stride} apart"
            )
            raw, box = torch.randn(1, 6, 8, 8), torch.tensor([[20.0, 20, 29, 26]])
            loss = instantiate(row.module.loss, _convert_="all")(1)(raw, [{"boxes": box, "labels": torch.tensor([0])}])
            assert torch.isfinite(loss["loss"])
        assert len(described) == len(cfg.stage.runs), "each row is another network, loss, augmentation or clip"


def test_branches_may_be_chosen():
    model = instantiate(composed("model.backbone_tdc.temporal_conv.branches=[short,mid]"), _convert_="all")
    blocks = [m for m in model.modules() if isinstance(m, RepConv3D)]
    assert blocks and all(block.branches == ("short", "mid") for block in blocks)
