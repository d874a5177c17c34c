"""What a pass of a network costs, counted instead of timed: the same on a fast machine, a slow one and a busy one.

FLOPs are those of convolutions, matrix products and attention, two for each multiply-add, by the formulas of
``torch.utils.flop_counter``. Attention is its two products, q k^T and (softmax) v, whether it runs as one fused call or
step by step; a window's masked or padded positions count as any other, and so do the zeros in a kernel. Norms,
activations, softmax, pooling and all else that passes over a tensor once are not counted: they cost memory traffic,
which ``kept_bytes`` is nearer to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop

from tdcnet.models.clip_detector import ClipDetector
from tdcnet.models.detector import STREAMS, Detector

OTHER = "other"
"""The part that everything belongs to which lies within no other."""

# Attention on the CPU has a formula of its own only in newer PyTorch.
FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
    **flop_registry,
}


@dataclass
class Cost:
    """Of a network or a part of it, in one pass.

    Attributes:
        parameters: numbers in its parameters.
        flops: two for each multiply-add; the module says of what.
        convolutions: calls.
        matmuls: calls of matrix products, batched or not; a fused attention is two.
        kept_bytes: of the tensors the autograd graph keeps for the backward pass, parameters apart. Each storage counts
            once, for the part that is first to need it, and whole, also where a view of it is kept.
    """

    parameters: int = 0
    flops: int = 0
    convolutions: int = 0
    matmuls: int = 0
    kept_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def parts_of(model: ClipDetector) -> list[str]:
    """A detector's parts as names of sub-modules, those without parameters left out.

    Backbones with their stems, scales of TDCNet's fusion, attention where it stands, neck and head.
    """
    if isinstance(model, Detector):
        scales = len(getattr(model.fusion, "scales", ()))
        names = [*(f"backbone_{stream}" for stream in STREAMS), *(f"fusion.scales.{i}" for i in range(scales))]
    else:
        names = ["motion", "backbone"]
    if "fused" in model.attention:
        names += [f"attention.fused.{i}" for i in range(len(model.attention["fused"]))]  # type: ignore[arg-type]
    names += ["neck", *(["attention.neck"] if "neck" in model.attention else [])]
    return [n for n in (*names, "head") if next(model.get_submodule(n).parameters(), None) is not None]


@contextmanager
def following(model: nn.Module, names: Iterable[str], switch: Callable[[str], None]) -> Iterator[None]:
    """Calls ``switch`` with the name of the part that is at work from now on, in the forward and the backward pass.

    A part within another one takes its work from it. In the backward pass what lies before a part, and in no other,
    counts to it, too: only the outputs are hooked.

    Args:
        names: of sub-modules of ``model``, ``backbone_2d.stage1``; what is called past ``forward`` is not seen.

    Raises:
        AttributeError: if ``model`` has no such sub-module.
    """
    running = [OTHER]

    def hooks(name: str) -> tuple[Callable[..., None], Callable[..., None]]:
        def enter(_module: nn.Module, _inputs: object) -> None:
            running.append(name)
            switch(name)

        def leave(_module: nn.Module, _inputs: object, output: Tensor | Sequence[Tensor]) -> None:
            running.pop()
            switch(running[-1])
            for x in [output] if isinstance(output, Tensor) else output:
                # The output of an outer part may be that of an inner one, whose work the backward pass begins with.
                metadata: Any = {} if x.grad_fn is None else x.grad_fn.metadata  # declared as a method, is a dict
                if x.requires_grad and metadata.setdefault("part", name) == name:
                    x.register_hook(lambda _gradient: switch(name))

        return enter, leave

    handles = []
    for name in names:
        module, (enter, leave) = model.get_submodule(name), hooks(name)
        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def count(model: nn.Module, run: Callable[[], object], names: Sequence[str] = ()) -> dict[str, Cost]:
    """Costs of ``run``, a forward pass of ``model``, by part.

    Args:
        names: of the parts, as :func:`following` takes them.

    Returns:
        ``names`` and :data:`OTHER` -> cost; their sum is the whole pass.
    """
    costs = {name: Cost() for name in (*names, OTHER)}
    for name, parameter in model.named_parameters():
        owner = max((part for part in names if name.startswith(f"{part}.")), key=len, default=OTHER)
        costs[owner].parameters += parameter.numel()
    now = costs[OTHER]

    def switch(name: str) -> None:
        nonlocal now
        now = costs[name]

    def on_call(operator: str, flops: int) -> None:
        now.flops += flops
        if "convolution" in operator:
            now.convolutions += 1
        else:
            now.matmuls += 2 if "attention" in operator else 1

    def on_kept(size: int) -> None:
        now.kept_bytes += size

    with following(model, names, switch), _Calls(on_call), _saved(on_kept, model.parameters()):
        run()
    return costs


def kept(run: Callable[[], object], besides: Iterable[Tensor] = ()) -> int:
    """Bytes of the tensors that the autograd graph keeps for the backward pass, each storage once.

    Args:
        besides: what is there anyway and does not count, a network's parameters.
    """
    sizes: list[int] = []
    with _saved(sizes.append, besides):
        run()
    return sum(sizes)


@contextmanager
def _saved(tell: Callable[[int], None], besides: Iterable[Tensor] = ()) -> Iterator[None]:
    """Calls ``tell`` with the bytes of each storage that is saved for a backward pass, but for those of ``besides``."""
    # The storages themselves are held, too: an address that was freed could come again.
    seen = {x.untyped_storage().data_ptr(): x.untyped_storage() for x in besides}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen[storage.data_ptr()] = storage
            tell(storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield


class _Calls(TorchDispatchMode):
    """Calls ``tell`` with the name and the FLOPs of each operator that :data:`FORMULAS` knows."""

    def __init__(self, tell: Callable[[str, int], None]) -> None:
        super().__init__()
        self.tell = tell

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = FORMULAS.get(func._overloadpacket)
        if formula is None:
            with self:  # under inference_mode conv2d, linear and attention arrive here whole
                result = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if result is NotImplemented else result
        result = func(*args, **kwargs)
        self.tell(func._schema.name, formula(*args, **kwargs, out_val=result))
        return result
