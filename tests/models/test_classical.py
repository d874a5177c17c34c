from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tdcnet.models import postprocess
from tdcnet.models.classical import MPCM, SaliencyDetector, TemporalDifference, TemporalMedian, TopHat

SIZE = (96, 128)
ALL = (TopHat, MPCM, TemporalDifference, TemporalMedian)


def scene(*spots: tuple[float, float], brightness: float = 0.3) -> torch.Tensor:
    """A slope of grey with Gaussian spots (x, y) of pixel-centre coordinates, [H, W]."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in SIZE), indexing="ij")
    image = 0.2 + 0.3 * x / SIZE[1]
    for cx, cy in spots:
        image = image + brightness * torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 2.0**2))
    return image


def clip_of(*images: torch.Tensor) -> torch.Tensor:
    return torch.stack(images)[None, None]


@pytest.mark.parametrize("build", ALL)
def test_a_moving_spot_is_found_where_it_is_now(build):
    clip = clip_of(*(scene((20 + 12 * t, 30 + 6 * t)) for t in range(5)))
    found = postprocess(build()(clip, clip), score_threshold=0.5)[0]
    x1, y1, x2, y2 = found["boxes"][0].tolist()
    # Pixel 68 has its centre at 68.5 in edge coordinates.
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((68.5, 54.5), abs=1.01)
    assert (x2 - x1, y2 - y1) == pytest.approx((13, 13), abs=1e-3)


@pytest.mark.parametrize("build", ALL)
def test_what_stands_still_is_seen_by_the_spatial_ones_only(build):
    clip = clip_of(*[scene((64, 50))] * 5)
    found = postprocess(build()(clip, clip), score_threshold=0.3)[0]
    assert len(found["boxes"]) == (1 if build in (TopHat, MPCM) else 0)


@pytest.mark.parametrize("build", ALL)
def test_an_even_scene_has_no_target(build):
    clip = clip_of(*[scene()] * 5)
    assert not len(postprocess(build()(clip, clip), score_threshold=0.3)[0]["boxes"])


def test_each_peak_is_decoded_to_its_own_pixel_and_score():
    class Given(SaliencyDetector):
        def contrast(self, aligned, frames):
            values = torch.zeros(1, 32, 64)
            values[0, 5, 9], values[0, 31, 63] = 3.0, 1.0
            return values

    clip = torch.zeros(1, 1, 5, 32, 64)
    found = postprocess(Given(box=10.0)(clip, clip), score_threshold=0.1)[0]
    assert_close(found["boxes"], torch.tensor([[4.5, 0.5, 14.5, 10.5], [58.5, 26.5, 68.5, 36.5]]))
    assert_close(found["scores"], torch.tensor([0.75, 0.5]), atol=1e-6, rtol=0)


def test_top_hat_keeps_what_is_smaller_than_its_element():
    image = torch.zeros(1, 1, 40, 40)
    image[..., 5:8, 5:8] = 10.0
    image[..., 20:35, 20:35] = 10.0
    kept = TopHat(size=9).saliency(image, image)
    assert kept[0, 6, 6] == 10 and kept[0, 20:35, 20:35].max() == 0


def test_mpcm_by_hand():
    """One pixel of 9 on zero: 3x3 means are 1 round it and 0 three px away, so all products are 1."""
    image = torch.zeros(1, 1, 21, 21)
    image[0, 0, 10, 10] = 9.0
    measure = MPCM(sizes=(3,)).saliency(image, image)
    assert measure[0, 10, 10] == pytest.approx(1.0, abs=1e-6)
    assert measure[0, 10, 13] == 0  # its left neighbour is brighter


def test_median_forgets_a_spot_that_passed_and_the_mean_does_not():
    clip = clip_of(scene((30, 40)), scene(), scene(), scene(), scene())[:, 0] * 255
    assert TemporalMedian().saliency(clip, clip).max() == 0
    assert TemporalDifference().saliency(clip, clip).max() > 10
