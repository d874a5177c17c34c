"""Re-parameterisation: from the training form of a network to its deploy form."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

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
    """Whether every RepConv3D in ``model`` is in deploy form; where there is none, whether no batch norm is left.

    Released deploy checkpoints have their batch norms still.
    """
    forms = [bool(m.is_deployed) for m in model.modules() if hasattr(m, "is_deployed")]
    if forms:
        return all(forms)
    foldable = [m for m in model.modules() if callable(getattr(m, "fold", None))]
    return not any(isinstance(part, _BatchNorm) for m in foldable for part in m.children())


def largest_difference(before: Tensor, after: Tensor) -> float:
    """Between two raw outputs, in units of the value where that is above 1; NaN if one is anywhere.

    Rounding grows with the value: a logit of -20 may well differ by 1e-4, one of 0 may not.
    """
    return float(((before - after).abs() / before.abs().clamp(min=1)).max())
