"""What the networks cost in arithmetic and memory, which a busy machine does not change; seconds are not tested.

``tests/golden/cost.json`` holds what each may cost. It depends on the code and little else: another PyTorch may keep
other tensors for the backward pass, or take attention apart where this one fuses it, hence the tolerances and, should
they not do, a renewal. That FLOPs and calls stay where they are says nothing about seconds: scripts/profile_model.py
and scripts/benchmark.py do.
"""

from __future__ import annotations

import json

import pytest

from scripts import profile_model
from tests.conftest import GOLDEN

ALLOWED = {"parameters": 0.0, "convolutions": 0.0, "matmuls": 0.0, "flops": 0.01, "kept_bytes": 0.01}
"""How much more each may be, as a share."""
GAIN = 0.05
"""From here on less is a gain worth holding on to."""
RENEW = "python scripts/profile_model.py --budget tests/golden/cost.json"


def complaints(name, budget, found):
    """What costs more than it may, and what so much less that the budget should say so."""
    for form, costs in found.items():
        for figure, now in costs.items():
            was = budget[form][figure]
            change = f"{name}, {form} form: {figure} {was:,} -> {now:,} ({100 * (now / was - 1) if was else 100:+.2f} %"
            if now > was * (1 + ALLOWED[figure]):
                yield f"{change}; {100 * ALLOWED[figure]:.0f} % allowed). If that has to be: {RENEW}"
            elif now < was * (1 - GAIN):
                yield f"{change}). A gain; so that it stays: {RENEW}"


@pytest.fixture(scope="module")
def budget():
    content = json.loads((GOLDEN / "cost.json").read_text())
    assert content["input"] == profile_model.BUDGET and list(content["costs"]) == list(profile_model.VARIANTS), RENEW
    return content["costs"]


@pytest.mark.parametrize("variant", profile_model.VARIANTS)
def test_no_variant_costs_more_than_before(budget, variant):
    found = list(complaints(variant, budget[variant], profile_model.budget_of(variant)))
    assert not found, "\n".join(found)


def test_what_is_told():
    def costs(flops, matmuls, kept):
        figures = {"parameters": 7, "flops": flops, "convolutions": 3, "matmuls": matmuls, "kept_bytes": kept}
        return {"training": figures}

    was = costs(1000, 100, 1000)
    assert list(complaints("net", was, costs(1010, 100, 950))) == []
    more, less = complaints("net", was, costs(1011, 100, 949))
    assert more.startswith("net, training form: flops 1,000 -> 1,011 (+1.10 %; 1 % allowed)") and RENEW in more
    assert less.startswith("net, training form: kept_bytes 1,000 -> 949 (-5.10 %). A gain") and RENEW in less
    (more,) = complaints("net", was, costs(1000, 101, 1000))
    assert "matmuls 100 -> 101 (+1.00 %; 0 % allowed)" in more
