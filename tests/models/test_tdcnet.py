from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from tdcnet.boxes import decode
from tdcnet.cost import kept
from tdcnet.data.transforms import undo_letterbox
from tdcnet.deploy.fold import is_deployed, reparameterize
from tdcnet.deploy.official import convert
from tdcnet.layers.windows import WindowGrid
from tdcnet.models import CSPDarknet, Detector, Memory, postprocess, tdcnet, tdcnet_nano, tdcnet_small
from tdcnet.models.single_stream import single_stream
from tdcnet.models.tdcsta import TDCSTA, ScaleAttention
from tests.conftest import randomise_norms


@pytest.fixture(scope="module")
def rgb(golden):
    model = tdcnet(in_channels=3)
    model.load_state_dict(convert(golden.checkpoint(), in_channels=3))
    return model.eval()


@pytest.fixture(scope="module")
def clip(golden):
    both = golden.image("clip", (1, 3, 10, 64, 64))
    return both[:, :, :5], both[:, :, 5:]


@torch.no_grad()
def test_every_stage_agrees_with_golden(golden, rgb, clip):
    aligned, frames = clip
    expected = golden.load("tdcnet_64.npz")
    outputs = {}

    def keep(name):
        return lambda _module, _inputs, output: outputs.update({name: output})

    hooks = [
        getattr(rgb, n).register_forward_hook(keep(n)) for n in ("backbone_tdc", "backbone_3d", "backbone_2d", "neck")
    ]
    for i, scale in enumerate(rgb.fusion.scales):
        for ours, published in (("query", "q_sa"), ("key", "k_sa"), ("value", "v_sa"), ("cross", "ca")):
            hooks.append(getattr(scale, ours).register_forward_hook(keep(f"{published}{i + 1}")))
    output = rgb(aligned, frames)
    for hook in hooks:
        hook.remove()

    found = {"output": output, "feature_fusion": outputs["neck"], "head.0": output}
    for i in range(3):
        found[f"backbonetd.stage{i + 2}"] = outputs["backbone_tdc"][i]
        found[f"backbone3d.stage{i + 2}"] = outputs["backbone_3d"][i]
        found[f"backbone2d.{i}"] = outputs["backbone_2d"][i]
    for name in ("q_sa", "k_sa", "v_sa", "ca"):
        for i, scale in enumerate(rgb.fusion.scales):
            if (where := f"{name}{i + 1}") in expected:
                found[where] = WindowGrid.of(expected[where].shape[1:4], scale.window).join(outputs[where])
    found["output_deploy"] = reparameterize(rgb)(aligned, frames)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert_close(found[name], value, atol=1e-4, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


@torch.no_grad()
def test_grey_network_agrees_with_golden(golden):
    model = tdcnet(in_channels=1)
    model.load_state_dict(convert(golden.checkpoint()))
    both = golden.image("gray_clip", (1, 1, 10, 64, 96))
    expected = golden.load("tdcnet_gray_64x96.npz")["output"]
    for form in (model.eval(), reparameterize(model)):
        assert_close(form(both[:, :, :5], both[:, :, 5:]), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("build", "millions"), [(tdcnet, 25.5), (tdcnet_small, 4.0), (tdcnet_nano, 1.7)])
def test_size_of_each_variant(build, millions):
    assert sum(p.numel() for p in build().parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 13])
@pytest.mark.parametrize("size", [(32, 64), (96, 32)])
@torch.no_grad()
def test_any_number_of_frames_and_any_multiple_of_32(frames, size):
    model = tdcnet_nano(num_classes=2).eval()
    x = torch.rand(2, 1, frames, *size)
    assert model(x, x).shape == (2, 7, size[0] // 8, size[1] // 8)


@torch.no_grad()
def test_deploy_form_computes_the_same_and_leaves_the_model_alone():
    torch.manual_seed(0)
    model = randomise_norms(tdcnet_nano()).train()
    deployed = reparameterize(model)
    x, y = torch.rand(2, 1, 1, 5, 64, 64).unbind(0)
    assert_close(deployed(x, y), model.eval()(x, y), atol=1e-4, rtol=1e-4)
    assert is_deployed(deployed) and not is_deployed(model)
    left = [n for n, m in deployed.named_modules() if "BatchNorm" in type(m).__name__]
    assert left == [], "every batch norm folds away"


@pytest.mark.parametrize("size", [32, 64, 160])
def test_every_parameter_gets_a_gradient(size):
    model = tdcnet_nano().train()
    x = torch.rand(2, 1, 5, size, size)
    model(x, x).square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@torch.no_grad()
def test_streams_see_what_they_are_given():
    """A memory of 9 frames for the 2D backbone, every fourth frame for those on clips."""
    torch.manual_seed(0)
    plain = tdcnet_nano(num_frames=3, differences=False)
    parts = {name: getattr(plain, name) for name in ("backbone_tdc", "backbone_3d", "fusion", "neck", "head")}
    motion = partial(Memory, steps=(2, 5), tracks=4)
    image = CSPDarknet(6, 0.125)
    model = randomise_norms(Detector(backbone_2d=image, num_frames=9, motion=motion, clip_step=4, **parts)).eval()
    aligned, frames = torch.rand(2, 1, 1, 9, 64, 64).unbind()
    with torch.no_grad():
        given = model.backbone_tdc(aligned[:, :, ::4]), model.backbone_3d(frames[:, :, ::4])
        expected = model.fusion(*given, model.backbone_2d(Memory(1, 9, (2, 5), tracks=4)(aligned, frames)))
        assert_close(model.features(aligned, frames), expected, atol=0, rtol=0)
        alone = single_stream(model, "2d").eval()
        assert alone(aligned, frames).shape == model(aligned, frames).shape
    with pytest.raises(ValueError, match="image is made of 9 frames, got clips of 5"):
        model(aligned[:, :, 4:], frames[:, :, 4:])
    with pytest.raises(ValueError, match="backbone_2d takes 6 channels, its image has 7"):
        Detector(backbone_2d=image, num_frames=9, motion=partial(motion, steps=(1, 2, 5)), **parts)
    with pytest.raises(ValueError, match="clip_step is 9; expected 1 to 8 of 9 frames"):
        Detector(backbone_2d=image, num_frames=9, motion=motion, clip_step=9, **parts)


def test_differences_reach_the_2d_backbone():
    torch.manual_seed(0)
    model = randomise_norms(tdcnet_nano(in_channels=2, num_frames=3, differences=True)).eval()
    aligned, frames = torch.rand(2, 1, 2, 3, 32, 64).unbind(0)
    seen = []
    model.backbone_2d.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    output = model(aligned, frames)
    a, b = aligned[0]  # the two channels, each [T, H, W], newest last
    assert_close(seen[0][0], torch.stack([a[2], a[2] - a[0], a[2] - a[1], b[2], b[2] - b[0], b[2] - b[1]]))
    assert_close(reparameterize(model)(aligned, frames), output, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="image is made of 3 frames, got clips of 2"):
        model(aligned[:, :, 1:], frames[:, :, 1:])


def test_a_2d_backbone_for_other_channels_is_refused():
    model = tdcnet_nano()
    parts = {name: getattr(model, name) for name in ("backbone_tdc", "backbone_3d", "fusion", "neck", "head")}
    with pytest.raises(ValueError, match=r"takes 1 channels.*model\.backbone_2d\.in_channels=5"):
        Detector(backbone_2d=model.backbone_2d, differences=True, **parts)


def test_bad_inputs_are_refused_with_a_remedy():
    model = tdcnet_nano()
    with pytest.raises(ValueError, match=r"multiples of 32.*Letterbox the clip to 64 x 96"):
        model(*[torch.rand(1, 1, 5, 60, 70)] * 2)
    with pytest.raises(ValueError, match=r"expected clips \[B, 1, T, H, W\]"):
        model(*[torch.rand(1, 3, 5, 64, 64)] * 2)
    with pytest.raises(ValueError, match="must have one shape"):
        model(torch.rand(1, 1, 5, 64, 64), torch.rand(1, 1, 4, 64, 64))


def test_prior_sets_the_first_scores():
    model = tdcnet_nano().eval()
    torch.nn.init.zeros_(model.head.class_pred.weight)
    torch.nn.init.zeros_(model.head.objectness_pred.weight)
    x = torch.rand(1, 1, 5, 64, 64)
    with torch.no_grad():
        scores = model(x, x)[:, 4:].sigmoid()
    assert_close(scores, torch.full_like(scores, 0.01))


def test_decoding_and_nms_agree_with_golden(golden):
    data = golden.load("decode.npz")
    boxes, objectness, classes = decode(data["raw"])
    scores = torch.cat((objectness[..., None], classes), dim=-1).sigmoid()
    assert_close(torch.cat((boxes / 128, scores), dim=-1), data["decoded"], atol=1e-5, rtol=0)
    for i, found in enumerate(postprocess(data["raw"], score_threshold=0.3, nms_iou=0.5)):
        kept = data[f"nms_{i}"]  # y1, x1, y2, x2, objectness, class score, class; may leave the image
        assert_close(found["scores"], kept[:, 4] * kept[:, 5], atol=1e-5, rtol=0)
        assert_close(found["labels"].float(), kept[:, 6])
        inside = torch.stack([kept[:, k].clamp(0, limit) for k, limit in ((1, 120), (0, 96), (3, 120), (2, 96))], dim=1)
        original = undo_letterbox(found["boxes"], (96, 120), (128, 128))
        assert_close(original, inside, atol=1e-3, rtol=0)


def test_postprocess_of_nothing_and_of_too_much():
    nothing = postprocess(torch.full((2, 6, 4, 4), -20.0))
    assert [len(d["boxes"]) for d in nothing] == [0, 0]
    crowd = postprocess(torch.randn(1, 7, 20, 20) * 0.1, max_detections=7)
    assert len(crowd[0]["scores"]) == 7
    assert (crowd[0]["scores"].diff() <= 0).all()


@pytest.mark.parametrize("mask_padding", [False, True])
@pytest.mark.parametrize("size", [(2, 12, 13), (3, 8, 13)])
@torch.no_grad()
def test_one_frame_serves_like_its_repetition(mask_padding, size):
    torch.manual_seed(0)
    scale = ScaleAttention(8, (2, 8, 8), 2, mask_padding=mask_padding).eval()
    for parameter in scale.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    query, key = torch.randn(2, 1, 8, *size)
    frame = torch.randn(1, 8, *size[1:])
    assert_close(
        scale(query, key, frame),
        scale(query, key, frame[:, :, None].expand(-1, -1, size[0], -1, -1)),
        atol=1e-5,
        rtol=1e-5,
    )


def test_a_quiet_start_gives_the_values_features_and_lets_the_others_in():
    torch.manual_seed(0)
    fusion = TDCSTA((8, 16, 32), (1, 1, 1), quiet_start=True)
    sizes = [(c, 24 >> i) for i, c in enumerate((8, 16, 32))]  # larger than a window at every scale
    tdc, temporal = ([torch.randn(2, c, 2, s, s) for c, s in sizes] for _ in range(2))
    spatial = [torch.randn(2, c, s, s) for c, s in sizes]
    optimizer = torch.optim.SGD(fusion.parameters(), lr=0.1)
    for step in range(3):
        found = fusion(tdc, temporal, spatial)
        if step == 0:
            for ours, value in zip(found, spatial, strict=True):
                assert torch.equal(ours, value)
        optimizer.zero_grad()
        sum(x.square().mean() for x in found).backward()
        optimizer.step()
    other = fusion([x * 3 + torch.rand_like(x) for x in tdc], temporal, spatial)
    assert not torch.allclose(other[0], found[0], atol=1e-3)
    assert [n for n, p in fusion.named_parameters() if not p.grad.any()] == []


def test_recompute_keeps_less_and_computes_the_same():
    gradients, bytes_kept = [], []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = randomise_norms(tdcnet_nano()).train()
        for scale in model.fusion.scales:
            scale.recompute = recompute
        clip = torch.rand(2, 1, 5, 64, 64)
        bytes_kept.append(kept(lambda m=model, c=clip: m(c, c), model.parameters()))
        model(clip, clip).square().mean().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert bytes_kept[1] < 0.75 * bytes_kept[0]
    assert_close(gradients[0], gradients[1])
