"""Golden files, and small things many tests need."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))
import recipe  # noqa: E402


class Golden:
    """Rebuilds golden weights and inputs, and reads golden outputs."""

    def __init__(self) -> None:
        self.operators = {case["case"]: case for case in json.loads((GOLDEN / "operators.json").read_text())}
        self.outputs = np.load(GOLDEN / "operators.npz")

    def load(self, name: str) -> dict[str, torch.Tensor]:
        with np.load(GOLDEN / name) as data:
            return {key: torch.from_numpy(data[key]) for key in data.files}

    def image(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(recipe.image(name, shape))

    def parameters(self, case: str) -> dict[str, torch.Tensor]:
        state = self.operators[case]["state"]
        return {name: torch.from_numpy(recipe.tensor(f"{case}.{name}", shape)) for name, shape in state.items()}

    def inputs(self, case: str) -> list[torch.Tensor]:
        shapes = self.operators[case]["inputs"]
        rngs = (recipe._rng(f"{case}.input{i}", "golden") for i in range(len(shapes)))
        arrays = (rng.standard_normal(shape) for rng, shape in zip(rngs, shapes, strict=True))
        return [torch.from_numpy(a.astype(np.float32)) for a in arrays]

    def output(self, case: str, what: str = "output") -> torch.Tensor:
        return torch.from_numpy(self.outputs[f"{case}.{what}"])

    def checkpoint(self) -> dict[str, torch.Tensor]:
        """All tensors of a released checkpoint (RGB, one class), under their published names."""
        state = {}
        for name, shape in json.loads((GOLDEN / "tdcnet_state.json").read_text()).items():
            if name.endswith(("num_batches_tracked", "relative_position_index")):
                state[name] = torch.zeros(shape, dtype=torch.long)
            else:
                state[name] = torch.from_numpy(recipe.tensor(name, shape))
        return state


@pytest.fixture(scope="session")
def golden() -> Golden:
    return Golden()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small tensors gain nothing from threads, and threads that wait for each other on a busy machine lose much."""
    torch.set_num_threads(1)


def randomise_norms(model: torch.nn.Module) -> torch.nn.Module:
    """Norms, and layers that start at zero, as after training: a fresh one would hide what folding gets wrong."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.3, 0.3),
            ):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
        if isinstance(module, torch.nn.Linear) and not module.weight.any():  # starts quietly
            drawn = torch.rand(module.weight.shape, generator=generator) - 0.5
            module.weight.data.copy_(2 * drawn / module.in_features**0.5)
    return model
