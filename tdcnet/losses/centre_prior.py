"""What it costs a cell to lie away from the centre of a box it would answer for."""

from __future__ import annotations

from torch import Tensor


class SoftCentrePrior:
    """``base ** min(slope * d - shift, most)`` at a distance of ``d`` strides: next to nothing in the box's own cell,
    dear two cells away.

    Source: the soft centre prior of RTMDet (Lyu et al., arXiv 2212.07784, section 3.3), ``10 ** (d - 3)``; steeper
    here, since to a target smaller than a cell the next cell is far.
    """

    def __init__(self, base: float = 10.0, slope: float = 2.0, shift: float = 1.0, most: float = 4.0) -> None:
        if base <= 1 or slope <= 0:
            raise ValueError(f"base is {base}, slope {slope}; expected above 1 and above 0")
        self.base, self.slope, self.shift, self.most = base, slope, shift, most

    def __call__(self, distance: Tensor) -> Tensor:
        """Of distances in strides, of any shape."""
        exponent = (self.slope * distance - self.shift).clamp(max=self.most)
        return self.base**exponent
