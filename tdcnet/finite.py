"""Numbers that are none: found, and named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class NonFinite(RuntimeError):
    """A loss, a gradient or a weight is NaN or infinite; the message says which, and what to do."""


def first_nonfinite(content: Any, name: str = "") -> str | None:
    """The dotted name of the first tensor in nested mappings and lists that holds NaN or infinity, or None."""
    if isinstance(content, Tensor):
        return None if bool(torch.isfinite(content).all()) else name
    if isinstance(content, Mapping):
        parts = content.items()
    elif isinstance(content, Sequence) and not isinstance(content, str | bytes):
        parts = ((str(i), part) for i, part in enumerate(content))  # type: ignore[assignment]
    else:
        return None
    found = (first_nonfinite(part, f"{name}.{key}" if name else str(key)) for key, part in parts)
    return next((bad for bad in found if bad is not None), None)


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all of them are finite and their squares can be summed, which is what optimisers do with gradients."""
    norms = torch._foreach_norm([tensor.float() for tensor in tensors]) if tensors else ()
    return not norms or bool(torch.isfinite(torch.stack(list(norms))).all())


def number(name: str, value: Any, low: float, high: float = math.inf, above: bool = False, below: bool = False) -> None:
    """Checks a number that a user has set.

    Args:
        name: of the option, for the message.
        value: what it is.
        low: least value.
        high: largest value.
        above: whether ``low`` itself is too small.
        below: whether ``high`` itself is too large.

    Raises:
        ValueError: if it is no finite number in that range.
    """
    right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not (right and (value > low if above else value >= low) and (value < high if below else value <= high)):
        upper = "" if high == math.inf else f" and {'below' if below else 'at most'} {high:g}"
        raise ValueError(f"{name} is {value}; expected a number {'above' if above else 'from'} {low:g}{upper}")
