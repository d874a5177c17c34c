"""Networks in files: exports, the config.json beside a graph, checkpoints. Imports torch when asked, not before."""

from __future__ import annotations

import io
import pickle
import random
import warnings
from pathlib import Path
from typing import Any

from tdcnet.data.errors import Problems
from tests.fuzz.contents import check_finite
from tests.fuzz.mutators import VALUES

MOTION = {"_target_": "tdcnet.models.ShuffleNet3D", "in_channels": 1, "stem_channels": 8, "widths": [16, 32, 64]}
NETWORK = {
    "_target_": "tdcnet.models.Detector",
    "in_channels": 1,
    "num_frames": 3,
    "backbone_tdc": MOTION | {"temporal_conv": {"_target_": "tdcnet.layers.RepConv3D", "_partial_": True}},
    "backbone_3d": MOTION,
    "backbone_2d": {"_target_": "tdcnet.models.CSPDarknet", "in_channels": 1, "width": 0.0625, "depth": 0.33},
    "fusion": {"_target_": "tdcnet.models.SingleStream", "channels": [16, 32, 64], "stream": "2d"},
    "neck": {"_target_": "tdcnet.models.TopDownNeck", "in_channels": [16, 32, 64]},
    "head": {"_target_": "tdcnet.models.DecoupledHead", "in_channels": 16, "num_classes": 1, "width": 8},
}
INFO = {"model": NETWORK, "classes": ["target"], "size": [64, 64], "num_frames": 3}


def _network() -> Any:
    import torch

    from tdcnet.models import CSPDarknet, DecoupledHead, Detector, ShuffleNet3D, SingleStream, TopDownNeck

    torch.manual_seed(0)
    widths = (16, 32, 64)
    unused = [ShuffleNet3D(1, 8, widths) for _ in range(2)]  # the detector leaves them out
    parts = {"backbone_tdc": unused[0], "backbone_3d": unused[1], "backbone_2d": CSPDarknet(1, 0.0625, 0.33)}
    others = {"fusion": SingleStream(widths, "2d"), "neck": TopDownNeck(widths), "head": DecoupledHead(16, 1, 8)}
    return Detector(**parts, **others, in_channels=1, num_frames=3).eval()


def make_export(root: Path) -> None:
    """Weights and config.json as stage=deploy writes them."""
    from tdcnet.deploy import weights

    info: Any = INFO
    if (record := getattr(weights, "Record", None)) is not None:
        info = record.of(INFO, root)
    weights.export(root, _network(), info)


def make_graph(root: Path) -> None:
    """The config.json beside a graph."""
    make_export(root)
    (root / "model.safetensors").unlink()
    (root / "model.onnx").write_bytes(b"none")


def read_graph(root: Path, _: Problems) -> Any:
    """What it tells."""
    from tdcnet.deploy.backends import read_info

    found = read_info(root)
    return repr(getattr(found, "record", None) or found.info)


def make_checkpoint(root: Path) -> None:
    """A checkpoint as training writes it."""
    import torch

    state = {f"model.{name}": value for name, value in _network().state_dict().items()}
    torch.save({"state_dict": state, "tdcnet": INFO, "epoch": 3, "ema": {"average": {}, "updates": 1}}, root / "a.ckpt")


def read_detector(root: Path, _: Problems) -> Any:
    """The network that is rebuilt."""
    from tdcnet.deploy.weights import load_detector

    path = next((path for path in root.iterdir() if path.suffix == ".ckpt"), root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = load_detector(path)
    state = model.state_dict()
    for name, value in state.items():
        check_finite(name, value)
    return state


def other_tensors(rng: random.Random, name: str, data: bytes) -> tuple[bytes, str] | None:
    """A whole safetensors file with other tensors, some of them not finite."""
    if not name.endswith(".safetensors"):
        return None
    from safetensors.torch import load, save

    state = load(data)
    how = _spoil(rng, state)
    return save(state), how


def other_checkpoint(rng: random.Random, name: str, data: bytes) -> tuple[bytes, str] | None:
    """A whole checkpoint with a value of another type, an entry less, or tensors that are not finite."""
    import torch

    content = torch.load(io.BytesIO(data), weights_only=True)
    if rng.random() < 0.3:
        how = _spoil(rng, content["state_dict"], safe=False)
    else:
        holder: Any = content
        while True:
            key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            inner = holder[key]
            if not isinstance(inner, dict | list) or not inner or rng.random() < 0.3:
                break
            holder = inner
        how = f"{key} changed"
        if rng.random() < 0.25:
            del holder[key]
        else:
            holder[key] = rng.choice((*VALUES, {1: 2}, torch.zeros(2), torch.tensor(float("nan")), b"x", 1j, {1, 2}))
    stream = io.BytesIO()
    if rng.random() < 0.1:
        stream.write(pickle.dumps(content))
        return stream.getvalue(), f"a pickle, {how}"
    torch.save(content, stream, _use_new_zipfile_serialization=rng.random() < 0.9)
    return stream.getvalue(), how


def _spoil(rng: random.Random, state: dict[str, Any], safe: bool = True) -> str:
    import torch

    name = rng.choice([key for key in state if state[key].numel()])
    value = state[name]
    how = rng.randrange(6 if safe else 9)
    if how < 2:
        spoiled = value.clone().double()
        spoiled.view(-1)[rng.randrange(value.numel())] = (float("nan"), float("inf"))[how]
        state[name] = spoiled.to(value.dtype if value.is_floating_point() else torch.float32)
    elif how == 2:
        del state[name]
    elif how == 3:
        state[name] = value.double()
    elif how == 4:
        state[name] = value.reshape(-1)
    elif how == 5:
        state[rng.choice(("x", "model.x", "", "\x1b[2J"))] = value.clone()
    elif how == 6:
        state[name] = torch.zeros(3, dtype=torch.complex64)
    elif how == 7:
        state[name] = value.float().to_sparse()
    else:
        state[name] = rng.choice((None, "x", 1, [1]))
    return f"{name}, kind {how}"
