"""Re-parameterisation: from the training form of a network to its deploy form."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def reparameterize(model: Model) -> Model:
    """A deploy copy of ``model``: same output in eval mode, fewer and plainer layers; the model itself stays as it is.

    Every part that has a ``fold`` method is folded: RepConv3D becomes one 5x3x3 convolution, and batch norms go
    into the convolutions before them. The copy is in eval mode and without gradients; it cannot be trained further.
    """
    deployed = copy.deepcopy(model).eval().requires_grad_(False)
    for module in list(deployed.modules()):
        fold = getattr(module, "fold", None)
        if callable(fold):
            fold()
    return deployed.requires_grad_(False)


def is_deployed(model: nn.Module) -> bool:
    """Whether every RepConv3D in ``model`` is in deploy form (True, too, where there is none)."""
    return all(getattr(m, "is_deployed", True) for m in model.modules())


def largest_difference(before: Tensor, after: Tensor) -> float:
    """Between two raw outputs, in units of the value where that is above 1; NaN if one is anywhere.

    Rounding grows with the value: a logit of -20 may well differ by 1e-4, one of 0 may not.
    """
    return float(((before - after).abs() / before.abs().clamp(min=1)).max())
