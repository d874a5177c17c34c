"""Optimiser's parameter groups and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tdcnet.shown import shown

MakeOptimizer = Callable[..., Optimizer]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """All trainable parameters in two groups: kernels and matrices with weight decay, the rest without.

    Norms, biases and the relative position bias tables do not decay. Source: TDCNet's released code decays convolution
    weights only (but left the tables out of training altogether; here they are trained).
    """
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (decayed if parameter.dim() > 1 and not name.endswith("bias.table") else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def warmup_cosine(progress: float, warmup: float, final: float) -> float:
    """Factor on the learning rate: up from 0 to 1 during ``warmup``, then half a cosine down to ``final``.

    Args:
        progress: share of the training that is done, from 0 to 1.
        warmup: share of the training that is warm-up; the rise is quadratic, as published.
        final: factor at the end.
    """
    if progress < warmup:
        return (progress / warmup) ** 2
    rest = min(1.0, (progress - warmup) / max(1e-9, 1 - warmup))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * rest))


# -- a run that goes on from another ----------------------------------------------------------------------------------


def name_of(make: MakeOptimizer) -> str:
    """The name of the optimiser that ``make`` makes."""
    made = getattr(make, "func", make)
    return str(getattr(made, "__name__", type(made).__name__))


def check_same(checkpoint: Mapping[str, Any], make: MakeOptimizer, sizes: list[int]) -> None:
    """Whether an optimiser can go on with the state of a checkpoint's.

    Args:
        checkpoint: of Lightning; the optimiser's name under ``"optimizer"``, which older ones lack.
        make: makes the optimiser.
        sizes: parameters in each of its groups.

    Raises:
        ValueError: if that was another one, whose state would be taken for what it is not.
    """
    groups = checkpoint["optimizer_states"][0]["param_groups"]
    had = [len(group["params"]) for group in groups]
    if had != sizes:
        raise ValueError(
            f"the checkpoint was trained with {sum(had)} free tensors in {len(had)} groups, here are {sum(sizes)} in "
            f"{len(sizes)}. Resume with the module.freeze and stage.staged that it was trained with"
        )
    options = set(make([nn.Parameter(torch.zeros(1))], lr=1.0).param_groups[0])
    name = checkpoint.get("optimizer")
    known = name if isinstance(name, str) else None
    other = known != name_of(make) if known else bool(options ^ (set(groups[0]) - {"initial_lr"}))
    if not known and not other:  # Adam's and AdamW's states look alike, but for this
        decoupled = make([nn.Parameter(torch.zeros(1))], lr=1.0).param_groups[0].get("decoupled_weight_decay")
        other = decoupled != groups[0].get("decoupled_weight_decay")
    if other:
        raise ValueError(
            f"the checkpoint was trained with {known or 'another optimiser'}, module.optimizer is {name_of(make)}, "
            "which cannot go on with its state. Resume with the module (module=adamw | published) of that training"
        )


def check_state(checkpoint: Mapping[str, Any], make: MakeOptimizer, groups: list[dict[str, Any]]) -> None:
    """Whether a checkpoint's state of the optimiser is one of these parameters: fused ones trust its shapes blindly.

    Args:
        checkpoint: of Lightning, which :func:`check_same` has passed.
        make: makes the optimiser.
        groups: of parameters.

    Raises:
        ValueError: naming the first tensor of another shape or kind, or below zero where a step needs a root of it.
    """
    like = [nn.Parameter(torch.zeros_like(p, device="cpu")) for group in groups for p in group["params"]]
    one_step = make(like, lr=0.0)
    for parameter in like:
        parameter.grad = torch.zeros_like(parameter)
    one_step.step()
    state = checkpoint["optimizer_states"][0]["state"]
    if unknown := [key for key in state if not isinstance(key, int) or not 0 <= key < len(like)]:
        raise ValueError(
            f"the checkpoint's optimiser knows a parameter {shown(unknown[0])} that is not in this network"
        )
    for at, parameter in enumerate(like):
        expected = {name: _form(value) for name, value in one_step.state[parameter].items()}
        given = {name: _form(value) for name, value in state.get(at, {}).items()}
        if given and given != expected:
            raise ValueError(
                f"the checkpoint's optimiser is damaged, or of another network: it keeps {shown(given)} for parameter "
                f"{at}, expected {expected}. Take another checkpoint"
            )
        for name, value in state.get(at, {}).items():
            if (name == "step" or name.endswith("_sq")) and bool((torch.as_tensor(value) < 0).any()):
                raise ValueError(f"the checkpoint's optimiser is damaged: {name} of parameter {at} is below 0")


def _form(value: Any) -> tuple[object, ...]:
    return (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else (type(value).__name__,)


def options_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """What is configured for each group of parameters."""
    return [{k: v for k, v in group.items() if k not in ("params", "lr")} for group in optimizer.param_groups]


def set_options(optimizer: Optimizer, schedule: LambdaLR, configured: list[dict[str, Any]]) -> list[str]:
    """Gives an optimiser that has taken over a state its own options back.

    The learning rate and the like come with the state, and what is configured now would be without effect.

    Args:
        optimizer: with the state of another run.
        schedule: of the learning rate; it goes on from the present step.
        configured: of :func:`options_of`, from before.

    Returns:
        What differed, in words.
    """
    changed: dict[str, None] = {}
    for i, (group, options) in enumerate(zip(optimizer.param_groups, configured, strict=True)):
        for key, value in options.items():
            if group.get(key) != value:
                changed[f"{'lr' if key == 'initial_lr' else key} {value} (was {group.get(key)})"] = None
                group[key] = value
        if schedule.base_lrs[i] != group["initial_lr"]:
            schedule.base_lrs[i] = group["initial_lr"]
            group["lr"] = schedule.base_lrs[i] * schedule.lr_lambdas[i](schedule.last_epoch)
            schedule._last_lr[i] = group["lr"]
    return list(changed)
