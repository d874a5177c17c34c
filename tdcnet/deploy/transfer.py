"""A training that starts from the weights of another one, also where the networks differ in parts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tdcnet.deploy.errors import CheckpointError
from tdcnet.deploy.weights import Weights
from tdcnet.shown import printable

MOST_NAMED = 8
"""Tensors that a message names."""


@dataclass(frozen=True)
class Taken:
    """What a network took over.

    Attributes:
        fitting: names of the tensors that were taken.
        own: those of the network that keep their own start, in words.
        left: those of the file that the network has no place for.
    """

    fitting: tuple[str, ...]
    own: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        total = len(self.fitting) + len(self.own)
        text = f"{len(self.fitting)} of the network's {total} tensors are taken"
        if self.own:
            text += f"; these keep their own start: {_listed(self.own)}"
        if self.left:
            text += f"; without a place here: {_listed(self.left)}"
        return text


def take_over(model: nn.Module, weights: Weights, where: object) -> Taken:
    """Copies into ``model`` each tensor of ``weights`` that one of the same name and shape is there for.

    Args:
        model: in training form; changed in place.
        weights: of another training.
        where: their file, for messages.

    Raises:
        CheckpointError: if they are re-parameterised, which cannot be undone, or less than half of the network's
            numbers would come from them.
    """
    if weights.deployed:
        raise CheckpointError(
            f"{where} is re-parameterised: its branches and norms are folded into single convolutions, which cannot be "
            "undone. Give the checkpoint of its training (checkpoints/best.ckpt)"
        )
    state = model.state_dict()
    fitting = {n: value for n, value in weights.state.items() if n in state and value.shape == state[n].shape}
    own = [_difference(n, value, weights.state) for n, value in state.items() if n not in fitting]
    held, whole = (sum(state[n].numel() for n in names) for names in (fitting, state))
    if 2 * held < whole:
        raise CheckpointError(
            f"{where} is of another network: {held:,} of {whole:,} numbers would come from it. Choose the model that "
            f"it was trained with. What does not fit: {_listed(own)}"
        )
    model.load_state_dict(fitting, strict=False)
    return Taken(tuple(fitting), tuple(own), tuple(n for n in weights.state if n not in state))


def _difference(name: str, value: Tensor, given: dict[str, Tensor]) -> str:
    return f"{name} {tuple(value.shape)}" + (f", there {tuple(given[name].shape)}" if name in given else "")


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(printable(name) for name in names[:MOST_NAMED]) + more
