"""The sorting network against torch's median, and its cost."""

from __future__ import annotations

import pytest
import torch

from tdcnet.layers.median import median_of, selection


@pytest.mark.parametrize("count", range(1, 40))
def test_it_is_the_median(count):
    maps = torch.randint(0, 9, (count, 200)).float()
    expected = maps.quantile(0.5, dim=0)
    torch.testing.assert_close(median_of(list(maps)), expected, rtol=0, atol=0)


def test_steps_that_count_for_nothing_are_left_out():
    assert selection(1) == ()
    assert len(selection(3)) == 3 and sum(low + high for _, _, low, high in selection(3)) == 4
    assert sum(low + high for _, _, low, high in selection(15)) < 90, "of 105 pairs and 210 places"


def test_a_median_of_nothing_is_refused():
    with pytest.raises(ValueError, match="expected one or more"):
        median_of([])
