"""What the step under way would spoil, as it was before it."""

from __future__ import annotations

from torch import Tensor, nn


class StepGuard:
    """Keeps the buffers from before a step, so that what is saved in its midst is the state before it.

    Weights change at its very end; the running statistics of norms change in every forward pass, also in the one that
    ends in NaN.

    Attributes:
        done: batches of the epoch that were done before the step under way; None between steps.
        buffers: of the network, by name, as they were then.
        stepping: the optimiser is at work, so that weights may be new and old ones.
    """

    def __init__(self) -> None:
        self.done: int | None = None
        self.buffers: dict[str, Tensor] = {}
        self.stepping = False

    def begin(self, done: int, network: nn.Module) -> None:
        """A step begins, after so many batches of the epoch."""
        self.buffers = {name: buffer.detach().clone() for name, buffer in network.named_buffers()}
        self.done, self.stepping = done, False

    def end(self) -> None:
        """The step is done, with all that belongs to it."""
        self.done, self.buffers, self.stepping = None, {}, False
