from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tdcnet.layers.pool import max_pool_clip, max_pool_image


@pytest.mark.parametrize("size", [(5, 8, 6), (4, 7, 9), (1, 1, 1), (2, 3, 1), (3, 2, 5), (7, 16, 16)])
def test_is_max_pool3d_bit_for_bit(size):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = F.max_pool3d(x, 3, stride=2, padding=1)
    with torch.no_grad():
        assert torch.equal(max_pool_clip(x), expected)
        across = x.transpose(3, 4)
        assert torch.equal(max_pool_clip(across), F.max_pool3d(across, 3, stride=2, padding=1))
    assert torch.equal(max_pool_clip(x.requires_grad_()), expected)


@pytest.mark.parametrize("size", [(5, 8, 6), (4, 7, 9), (1, 1, 1), (2, 3, 1), (3, 2, 5)])
def test_gradient_is_that_of_max_pool3d_also_among_equals(size):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, (2, 3, *size), generator=generator).float()  # most windows hold their maximum several times
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected = F.max_pool3d(theirs, 3, stride=2, padding=1)
    grad = torch.randn(expected.shape, generator=generator)
    expected.backward(grad)
    max_pool_clip(ours).backward(grad)
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("size", [(20, 20), (1, 1), (3, 4), (7, 2)])
def test_image_pool_is_max_pool2d_bit_for_bit(size):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(max_pool_image(x), F.max_pool2d(x, 5, stride=1, padding=2))
    assert torch.equal(max_pool_image(x), F.max_pool2d(x, 5, stride=1, padding=2))
