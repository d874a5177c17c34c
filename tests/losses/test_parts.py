"""The loss's parts, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from tdcnet.losses import (
    NWD,
    DetectionLoss,
    IoUBelow,
    SimOTA,
    SoftCentrePrior,
    WeightedSum,
    giou,
    hard,
    in_box,
    in_box_or_cell,
    log_box,
    overlap,
    pairwise_nwd,
    squared_iou,
)


def box(*numbers):
    return torch.tensor([numbers], dtype=torch.float64)


def test_box_terms_by_hand():
    a, b = box(4, 4, 4, 4), box(6, 4, 4, 4)  # half of each shared: 8 of 24
    assert squared_iou(a, b).item() == pytest.approx(1 - 1 / 9)
    assert giou(a, b).item() == pytest.approx(1 - 1 / 3)  # the box round both is full
    far = box(14, 4, 4, 4)  # 4 px apart on 14 x 4
    assert squared_iou(a, far).item() == pytest.approx(1.0)
    assert giou(a, far).item() == pytest.approx(1 + (56 - 32) / 56)
    # Wasserstein distance: 2 px of centre, and half of each difference of sides
    assert NWD(10)(a, b).item() == pytest.approx(1 - math.exp(-0.2), abs=1e-6)
    assert NWD(10)(a, box(4, 4, 10, 12)).item() == pytest.approx(1 - math.exp(-0.5), abs=1e-6)
    both = WeightedSum([squared_iou, NWD(10)], [2, 0.5])(a, b)
    assert both.item() == pytest.approx(2 * (1 - 1 / 9) + 0.5 * (1 - math.exp(-0.2)), abs=1e-6)
    for term in (squared_iou, giou, NWD()):
        assert term(a, a).item() == pytest.approx(0, abs=1e-6)


def test_a_count_of_boxes_below_an_iou_by_hand():
    a, b = box(4, 4, 4, 4), box(6, 4, 4, 4)  # IoU 1/3
    assert IoUBelow(0.5, 0.1)(a, b).item() == pytest.approx(1 / (1 + math.exp((1 / 3 - 0.5) / 0.1)))
    assert IoUBelow(1 / 3)(a, b).item() == pytest.approx(0.5)
    assert IoUBelow()(a, a).item() == pytest.approx(1 / (1 + math.exp(0.5 / 0.08)))


def test_one_size_for_boxes_of_many_is_smaller_where_half_of_the_iou_is_enough():
    """Sides of 7 to 13 px, most of them of 12: 1 - IoU^2 ends at the usual, a count of hits where 7 is hit as well."""
    truth = torch.tensor([[0.0, 0, side, side] for side in (7, 11, 12, 12, 12, 13)], dtype=torch.float64)

    def best(term):
        sizes = torch.arange(6, 16, 0.05, dtype=torch.float64)
        means = [term(torch.tensor([[0.0, 0, s, s]], dtype=torch.float64).expand(6, 4), truth).mean() for s in sizes]
        return sizes[torch.stack(means).argmin()].item()

    assert best(squared_iou) == pytest.approx(12, abs=0.1)
    assert best(IoUBelow(width=0.01)) < 7 * math.sqrt(2) < best(squared_iou)


def test_log_box_by_hand():
    # 1 of 4 px aside in x, as wide, twice as high: 1/4 + log 2.
    assert log_box(box(6, 5, 4, 8), box(5, 5, 4, 4)).item() == pytest.approx(0.25 + math.log(2))
    assert log_box(box(60, 50, 40, 80), box(50, 50, 40, 40)).item() == pytest.approx(0.25 + math.log(2))
    assert log_box(box(5, 5, 3, 3), box(5, 5, 3, 3)).item() == 0
    # A true side below 1 px counts as 1 px for the centre.
    assert log_box(box(5.5, 5, 0.5, 1), box(5, 5, 0.5, 1)).item() == pytest.approx(0.5)


def test_nwd_of_pairs_is_that_of_each():
    torch.manual_seed(0)
    a, b = torch.rand(2, 3, 4) * 9, torch.rand(2, 5, 4) * 9
    pairs = pairwise_nwd(a, b, 7)
    assert pairs.shape == (2, 3, 5)
    for i in range(3):
        for j in range(5):
            assert_close(pairs[:, i, j], 1 - NWD(7)(a[:, i], b[:, j]))


def test_gradients_where_boxes_do_not_overlap():
    truth = box(20, 20, 3, 3)
    for term, reaches in ((squared_iou, False), (giou, True), (NWD(), True)):
        found = box(10, 10, 3, 3).requires_grad_()
        term(found, truth).sum().backward()
        assert bool(found.grad.abs().sum() > 1e-3) is reaches
    equal = box(5, 5, 3, 3).requires_grad_()
    NWD()(equal, box(5, 5, 3, 3)).sum().backward()
    assert torch.isfinite(equal.grad).all()


@pytest.mark.parametrize("side", [1.0, 3.0, 8.0, 30.0])
def test_every_box_has_a_cell_of_its_own(side):
    centres = torch.stack(torch.meshgrid(torch.arange(4.0, 64, 8), torch.arange(4.0, 64, 8), indexing="xy"), -1)
    centres = centres.reshape(-1, 2)
    for at in ((8.0, 8.0), (12.0, 20.0), (15.9, 3.1)):
        offset = (centres - torch.tensor(at)).abs()[None]
        size = torch.full((1, 1, 2), side)
        own, published = in_box_or_cell(offset, size, 8)[0], in_box(offset, size, 8)[0]
        assert own.any() and (own | ~published).all()
        expected = (offset[0] <= 4).all(-1) if side <= 8 else (offset[0] <= side / 2).all(-1)
        assert torch.equal(own, expected)
    assert not in_box(torch.tensor([[[2.0, 2.0]]]), torch.full((1, 1, 2), 4.0), 8).any(), "on the edge is outside"


def test_centre_prior_by_hand():
    found = SoftCentrePrior()(torch.tensor([0.0, 0.5, 1.0, 2.0, 9.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.1, 1, 10, 1000, 10_000])


def test_class_targets():
    similarity = torch.tensor([0.0, 0.3, 1.0])
    assert torch.equal(overlap(similarity), similarity) and torch.equal(hard(similarity), torch.ones(3))
    torch.manual_seed(0)
    raw = torch.randn(1, 6, 8, 8)
    targets = [{"boxes": torch.tensor([[20.0, 20, 26, 27]]), "labels": torch.tensor([0])}]
    soft, firm = DetectionLoss(1)(raw, targets), DetectionLoss(1, class_target=hard)(raw, targets)
    assert soft["loss_class"] != firm["loss_class"] and torch.equal(soft["loss_box"], firm["loss_box"])


def test_a_similarity_of_ones_own_decides_number_and_cost():
    """With one that says 1 everywhere each box gets all its candidates, up to ten."""
    assign = SimOTA(similarity=lambda a, b: torch.ones(*a.shape[:-1], b.shape[-2]))
    targets = [{"boxes": torch.tensor([[20.0, 20, 26, 27]]), "labels": torch.tensor([0])}]
    assert DetectionLoss(1, assign)(torch.zeros(1, 6, 8, 8), targets)["matched"] == 10


@pytest.mark.parametrize(
    ("objectness", "classes"),
    [
        ([-60.0, -50.0, -70.0], [[-60.0, 0], [-50.0, 0], [-70.0, 0]]),  # its own class: e^-60, e^-50 and e^-70
        ([20.0, 20, 20], [[0, 14.0], [0, 7.0], [0, 14.0]]),  # another class: all but sure, likely
    ],
)
def test_costs_of_what_is_all_but_sure_are_told_apart(objectness, classes):
    """Three cells of the same box: the one whose scores fit better answers for it, also far from one half."""
    box = torch.tensor([[[20.0, 12, 8, 8]]])
    found = SimOTA(candidates=1)(
        box.expand(1, 3, 4),
        torch.tensor([objectness]),
        torch.tensor([classes]),
        box,
        torch.tensor([[0]]),
        torch.tensor([[True]]),
        torch.tensor([[18.0, 12], [20.0, 12], [22.0, 12]]),
        8,
    )
    assert found.matched.tolist() == [[False, True, False]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SimOTA(candidates=0), "candidates is 0"),
        (lambda: SimOTA(radius=0), "radius 0"),
        (lambda: NWD(0), "constant is 0"),
        (lambda: IoUBelow(least=1), "least is 1"),
        (lambda: IoUBelow(width=0), "width 0"),
        (lambda: SoftCentrePrior(base=1), "base is 1"),
        (lambda: WeightedSum([giou], [1, 2]), "1 terms and 2 weights"),
    ],
)
def test_numbers_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_configs_give_the_losses_they_name():
    """``yolox`` is the default in code; ``small_targets`` and ``loose_labels`` differ in the parts they name."""
    from pathlib import Path

    import hydra

    configs = Path(__file__).parents[2] / "configs"
    with hydra.initialize_config_dir(str(configs), version_base="1.3"):
        yolox, small, loose = (
            hydra.utils.instantiate(hydra.compose("config", [f"loss={name}"]).module.loss, _convert_="all")(3)
            for name in ("yolox", "small_targets", "loose_labels")
        )
    plain = DetectionLoss(3)
    assert yolox.num_classes == small.num_classes == 3
    for loss in (yolox, small):
        assert (loss.assign.candidates, loss.assign.weight, loss.assign.radius) == (10, 3.0, 2.5)
        assert (loss.box_weight, loss.box_term.func, loss.class_target.func) == (5.0, squared_iou, overlap)
        assert loss.first is None and loss.first_share == 0.1
    assert NWD()(box(0, 0, 4, 4), box(12.8, 0, 4, 4)).item() == pytest.approx(1 - math.exp(-1))
    assert pairwise_nwd(box(0, 0, 4, 4), box(12.8, 0, 4, 4)).item() == pytest.approx(math.exp(-1))
    assert yolox.assign.inside.func is in_box and yolox.assign.prior is None
    assert small.assign.inside.func is in_box_or_cell and isinstance(small.assign.prior, SoftCentrePrior)
    assert loose.assign.inside.func is in_box_or_cell and isinstance(loose.assign.prior, SoftCentrePrior)
    a, b = box(4, 4, 4, 4), box(6, 4, 4, 4)  # IoU 1/3, the box round both is full
    assert loose.box_term(a, b).item() == pytest.approx(1 / (1 + math.exp((1 / 3 - 0.5) / 0.08)) + 0.3 * 2 / 3)
    torch.manual_seed(0)
    raw, targets = torch.randn(1, 8, 8, 8), [{"boxes": torch.tensor([[9.0, 9, 12, 13]]), "labels": torch.tensor([2])}]
    assert torch.equal(yolox(raw, targets)["loss"], plain(raw, targets)["loss"])
    assert not torch.equal(small(raw, targets)["loss"], plain(raw, targets)["loss"])


def test_few_matched_cells_among_many_images_do_not_make_a_large_loss():
    torch.manual_seed(0)
    raw = torch.randn(6, 6, 4, 4)
    targets = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)} for _ in range(6)]
    targets[2] = {"boxes": torch.tensor([[8.0, 8, 14, 15]]), "labels": torch.tensor([0])}
    published, floored = DetectionLoss(1)(raw, targets), DetectionLoss(1, least_per_image=1)(raw, targets)
    assert published["matched"] == floored["matched"] < 6
    for name in ("loss", "loss_box", "loss_objectness", "loss_class", "loss_constant"):
        assert_close(floored[name] * 6, published[name] * published["matched"])
    assert_close(DetectionLoss(1, least_per_image=0.1)(raw, targets)["loss"], published["loss"])


@pytest.mark.parametrize("name", ["least_per_image", "first_share", "box_weight"])
@pytest.mark.parametrize("value", [-1, float("nan"), "much"])
def test_options_that_are_no_such_numbers_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"loss\.{name} is {value}; expected a number from 0"):
        DetectionLoss(1, **{name: value})
