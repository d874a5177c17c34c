from __future__ import annotations

import pytest
import torch

from tdcnet.deploy.content import check_content
from tdcnet.deploy.errors import CheckpointError
from tdcnet.deploy.weights import load_plain


def doubled(times):
    """One list in many places: 2 ** times entries in a few hundred bytes."""
    value = [0.0]
    for _ in range(times):
        value = [value, value]
    return value


def circle():
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x": doubled(60)}, "more than"),
        ({"x": doubled(19)}, "1,000,000 entries"),
        ({"x": circle()}, "20 levels"),
        ({"a": {"b": torch.zeros(1).expand(10**6, 10**6)}}, "a.b' is .1000000, 1000000., more numbers than the file"),
        ([torch.zeros(2, device="meta")], "'0' is of a kind"),
        ([torch.eye(2).to_sparse()], "'0' is of a kind"),
    ],
)
def test_what_no_file_of_a_training_holds_is_refused_before_it_is_used(tmp_path, content, message):
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=rf"a\.ckpt.*{message}"):
        load_plain(tmp_path / "a.ckpt")


def test_views_and_shared_lists_are_fine():
    weights = torch.zeros(4, 6)
    shared = [1, 2]
    check_content({"a": weights[1:3, ::2], "b": weights.T, "c": torch.zeros(0), "d": [shared, shared]}, "here")
