"""The light detector: that of TDCNet's 2D stream with differences, to the bit, and its own inputs and strides."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from tdcnet.boxes import decode, stride_of
from tdcnet.deploy.fold import reparameterize
from tdcnet.layers import CBAM
from tdcnet.models import (
    CSPDarknet,
    DecoupledHead,
    Differences,
    Memory,
    Motion2D,
    NewestFrame,
    TopDownNeck,
    motion_2d_nano,
    postprocess,
    tdcnet_nano,
)
from tdcnet.models.single_stream import single_stream
from tests.conftest import randomise_norms


def build(**given: object) -> Motion2D:
    """A tiny one."""
    parts = {
        "motion": Differences,
        "backbone": partial(CSPDarknet, width=0.0625),
        "neck": TopDownNeck,
        "head": partial(DecoupledHead, width=16),
    }
    return Motion2D(**{**parts, **given})  # type: ignore[arg-type]


@torch.no_grad()
def test_computes_what_tdcnets_2d_stream_with_differences_does() -> None:
    stream = randomise_norms(single_stream(tdcnet_nano(differences=True), "2d")).eval()
    light = motion_2d_nano().eval()
    weights = {name.replace("backbone_2d.", "backbone."): value for name, value in stream.state_dict().items()}
    light.load_state_dict(weights)
    aligned, frames = torch.rand(2, 2, 1, 5, 64, 96, generator=torch.Generator().manual_seed(0))
    expected = stream(aligned, frames)
    assert expected.std() > 0.1
    assert_close(light(aligned, frames), expected, atol=1e-5, rtol=1e-5)
    assert_close(reparameterize(light)(aligned, frames), expected, atol=1e-4, rtol=1e-4)


def test_differences_by_hand() -> None:
    """Two channels, three frames: the newest frame of both, and what it has more than each older one."""
    aligned = torch.arange(6.0).square().view(1, 2, 3, 1, 1)  # 0 1 4 | 9 16 25
    image = Differences(2, 3)(aligned, torch.full_like(aligned, -1))
    assert image.flatten().tolist() == [4, 4 - 0, 4 - 1, 25, 25 - 9, 25 - 16]
    assert Differences(2, 3).out_channels == 6


def test_what_belongs_to_the_sensor_is_gone_in_differences_to_frames_as_they_are() -> None:
    """The camera has moved: aligned frames are [1, 4, 9], those as they came [2, 7, 9]."""
    aligned, frames = (torch.tensor(each).view(1, 1, 3, 1, 1) for each in ([1.0, 4.0, 9.0], [2.0, 7.0, 9.0]))
    differences = Differences(1, 3, sensor=True)
    assert differences(aligned, frames).flatten().tolist() == [9, 8, 5, 7, 2] and differences.out_channels == 5
    two = torch.rand(2, 3, 4, 5, 6)
    assert Differences(3, 4, sensor=True)(two, two).shape == (2, Differences(3, 4, sensor=True).out_channels, 5, 6)


@pytest.mark.parametrize(("background", "last"), [("median", 25 - 4.0), ("mean", 25 - 7.5), ("none", None)])
def test_memory_by_hand(background: str, last: float | None) -> None:
    """One channel, five frames: the newest, its difference to the last and the last but two, and to the four older
    ones' middle (1 and 7, so 4) or mean."""
    aligned = torch.tensor([0.0, 1, 7, 22, 25]).view(1, 1, 5, 1, 1)
    memory = Memory(1, 5, steps=(1, 3), background=background)  # type: ignore[arg-type]
    image = memory(aligned, torch.full_like(aligned, -1))
    assert image.flatten().tolist() == [25, 25 - 22, 25 - 1, *([] if last is None else [last])]
    assert memory.out_channels == image.shape[1] and memory.frames_needed == 5


def test_means_of_the_newest_frames_are_held_against_what_was_before() -> None:
    """Background: the middle of 0, 1, 7, as the last before the newest is left out; means of the newest 2 and 3."""
    aligned = torch.tensor([0.0, 1, 7, 22, 25]).view(1, 1, 5, 1, 1)
    memory = Memory(1, 5, steps=(), means=(2, 3), recent=1)
    assert memory(aligned, aligned).flatten().tolist() == [25, 25 - 1, 23.5 - 1, 18 - 1]
    assert memory.out_channels == 4


def test_tracks_stand_out_where_no_frame_shows_them() -> None:
    """A blob no brighter than the noise moves 1 px a frame, and a far brighter spot stands still: in the newest
    frame's difference to the background it is lost, along its track it is the brightest of all."""
    rng = torch.Generator().manual_seed(1)
    clip = 0.5 + 0.02 * torch.randn(1, 1, 16, 96, 96, generator=rng)
    clip[..., 20:24, 70:74] += 0.4
    for t in range(16):
        clip[0, 0, t, 40:46, 30 + t : 36 + t] += 0.02  # ends at 45..51
    memory = Memory(1, 16, steps=(), tracks=12)
    _, now, hot, _cold = memory(clip, clip)[0]
    assert memory.out_channels == 4
    at = divmod(int(hot.argmax()), 96)
    assert 39 <= at[0] <= 46 and 44 <= at[1] <= 52
    assert hot.max() > 1.15 * hot[:30].max(), "well above all of the noise, and above what stands still"
    assert divmod(int(now.argmax()), 96) != at
    negative = memory(1 - clip, 1 - clip)[0]
    assert_close(negative[3], -hot, rtol=0, atol=1e-5)


def test_tracks_keep_the_size_of_odd_images() -> None:
    clip = torch.rand(2, 3, 4, 33, 47)
    assert Memory(3, 4, steps=(1,), tracks=4)(clip, clip).shape == (2, 3 * 5, 33, 47)


def test_memory_keeps_channels_apart() -> None:
    aligned = torch.rand(2, 3, 8, 4, 4)
    image = Memory(3, 8, steps=(2,), tracks=4)(aligned, aligned)
    alone = [Memory(1, 8, steps=(2,), tracks=4)(aligned[:, c : c + 1], aligned[:, c : c + 1]) for c in range(3)]
    assert_close(image.view(2, 5, 3, 4, 4), torch.stack(alone, dim=2), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": (5,)}, "steps has 5; a clip of 5 frames allows 1 to 4"),
        ({"steps": (0,)}, "steps has 0"),
        ({"background": "mode"}, "allowed are median, mean, none"),
        ({"num_frames": 1, "steps": ()}, "num_frames is 1, expected 2 or more"),
        ({"steps": 4}, "steps is 4 and means .*; expected lists"),
        ({"steps": (1.5,)}, "steps has 1.5"),
        ({"tracks": 4.0}, "tracks is 4.0"),
        ({"recent": 4}, "recent is 4; of 5 frames 0 to 3 can be left out"),
        ({"means": (5,)}, "means has 5; a clip of 5 frames allows 2 to 4"),
        ({"means": (2,), "background": "none"}, "told from a background"),
        ({"tracks": 4, "background": "none"}, "told from a background"),
        ({"tracks": 6}, "tracks is 6; expected a multiple of 4 from 0 to 5, in 5 frames"),
        ({"tracks": 8}, "tracks is 8"),
        ({"tracks": 68, "num_frames": 80}, "from 0 to 64, in 80 frames"),
        ({"tracks": 4, "fastest": 9.0}, "fastest is 9.0"),
    ],
)
def test_memory_that_cannot_be_is_told(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Memory(**{"num_frames": 5, "steps": (1,), **given})


def test_the_newest_frame_is_one_that_is_not_aligned_and_alone() -> None:
    model = build(motion=NewestFrame, in_channels=3).eval()
    frames, aligned = torch.rand(2, 1, 3, 4, 64, 64).unbind()
    older = frames.clone()
    older[:, :, :-1] = 0
    with torch.no_grad():
        assert torch.equal(model(aligned, frames), model(frames, older)), "neither older nor aligned frames count"
        assert not torch.equal(model(aligned, frames), model(aligned, aligned))


def test_clips_that_do_not_fit_are_told() -> None:
    with pytest.raises(ValueError, match="5 frames, got clips of 4"):
        build()(*torch.rand(2, 1, 1, 4, 64, 64).unbind())
    with pytest.raises(ValueError, match="multiples of 32"):
        build()(*torch.rand(2, 1, 1, 5, 60, 64).unbind())
    with pytest.raises(ValueError, match="must have one shape"):
        build()(torch.rand(1, 1, 5, 64, 64), torch.rand(1, 1, 5, 64, 96))
    with pytest.raises(ValueError, match="allowed are 'default' and 'published'"):
        build(init="zeros")


@pytest.mark.parametrize("place", ["fused", "neck"])
def test_attention_stands_where_it_is_asked_for(place: str) -> None:
    model = build(attention=partial(CBAM, reduction=2), attention_on=[place])
    raw = model(*torch.rand(2, 2, 1, 5, 64, 64).unbind())
    raw.square().sum().backward()
    assert set(model.attention) == {place}
    assert all(p.grad is not None for p in model.attention.parameters())


FINER = {
    "head": {"head": partial(DecoupledHead, width=16, finer=2)},
    "backbone": {"backbone": partial(CSPDarknet, width=0.0625, fine=True)},
}


@pytest.mark.parametrize("how", FINER)
def test_an_output_at_stride_4(how: str) -> None:
    model = build(**FINER[how])
    clip = torch.rand(2, 1, 5, 64, 96)
    raw = model(clip, clip)
    assert raw.shape == (2, 6, 16, 24) and stride_of(clip, raw) == 4
    raw.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    boxes, _, _ = decode(torch.zeros(1, 6, 16, 24), 4)
    assert boxes[0, 25].tolist() == [4, 4, 4, 4], "the second cell of the second row"
    sure = torch.full((1, 6, 16, 24), -20.0)
    sure[0, :, 3, 5] = torch.tensor([0.5, 0.5, 0.0, 0.0, 20.0, 20.0])
    (found,) = postprocess(sure, 0.5, stride=4)
    assert found["boxes"].tolist() == [[20, 12, 24, 16]]


def test_boxes_start_at_the_side_that_is_given() -> None:
    head = partial(DecoupledHead, width=16, box_prior=1.5, finer=2)
    torch.manual_seed(0)
    model = build(head=head, init="published").eval()
    with torch.no_grad():
        raw = model(*torch.rand(2, 1, 1, 5, 64, 64).unbind())
    boxes, objectness, _ = decode(raw, 4)
    assert_close(boxes[0, 17], torch.tensor([6.0, 6.0, 6.0, 6.0]), atol=0.3, rtol=0)
    assert_close(objectness.sigmoid().mean().item(), 0.01, atol=2e-3, rtol=0)
    with pytest.raises(ValueError, match="box_prior is 0; expected cells above 0"):
        DecoupledHead(8, 1, 16, box_prior=0)
    with pytest.raises(ValueError, match="finer is 0; expected 1 or more cells"):
        DecoupledHead(8, 1, 16, finer=0)
