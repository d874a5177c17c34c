"""Which graphs an export consists of; each is compared with PyTorch on real clips before it is kept."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from tdcnet.deploy import graph, optional, quantize
from tdcnet.deploy.backends import Backend, OnnxRuntime, OpenVINO
from tdcnet.deploy.fold import largest_difference
from tdcnet.deploy.graph import ExportError

RUNTIMES: Mapping[str, type[Backend]] = {"onnx": OnnxRuntime, "openvino": OpenVINO}
"""What each format is checked in; its usual name is that of the file."""

FILES = {**{name: runtime.usual for name, runtime in RUNTIMES.items()}, "int8": "model_int8.xml"}
"""Format -> file in the folder of an export."""

NEEDS = {**graph.NEEDS, "int8": (*graph.NEEDS["openvino"], *quantize.NEEDS)}


@dataclass
class Written:
    """What became of the graphs.

    Attributes:
        differences: largest difference to PyTorch's raw output, by file that was kept.
        refused: a sentence for each that was not.
        compared: clips they were compared on.
    """

    differences: dict[str, float] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    compared: int = 0


def chosen(formats: str | Sequence[str]) -> list[str]:
    """The formats that are asked for, in the order in which they are made; ``int8`` brings ``openvino`` along.

    Args:
        formats: some of ``onnx``, ``openvino`` and ``int8``; or ``"auto"``, the first two as far as their packages are
            installed.

    Raises:
        ValueError: if one is unknown.
        MissingPackage: if one that is named cannot be made here.
    """
    if formats == "auto":
        return [name for name in RUNTIMES if not optional.missing(NEEDS[name])]
    named = {formats} if isinstance(formats, str) else set(formats)
    if not named <= set(FILES):
        raise ValueError(f"stage.formats is {formats}; allowed are auto, or some of {', '.join(FILES)}, or []")
    for name in sorted(named):
        optional.require(dict.fromkeys(NEEDS[name]), f"stage.formats={name}")
    return [name for name in FILES if name in named or (name == "openvino" and "int8" in named)]


def write_graphs(
    folder: str | os.PathLike[str],
    model: nn.Module,
    formats: Iterable[str],
    clips: Sequence[tuple[Tensor, Tensor]],
    tolerance: float = 1e-3,
    opset: int = graph.OPSET,
) -> Written:
    """Writes ``model.onnx`` and ``model.xml`` into ``folder``, those that compute what ``model`` does.

    A graph is made in a place of its own and moved to ``folder`` when its raw output agrees with PyTorch's, on whole
    batches and on one clip alone. One of an earlier export goes first, so that what lies there is of this network.

    Args:
        model: re-parameterised, in eval mode.
        formats: as :func:`chosen` gives them; ``int8`` is left to :func:`tdcnet.deploy.quantize.quantize`.
        clips: real batches ``aligned``, ``frames`` [B, C, T, H, W] in [0, 1].
        tolerance: largest difference that is accepted.

    Raises:
        ExportError: if there are no clips.
    """
    folder, formats = Path(folder), list(formats)
    for name in FILES.values():
        for file in graph.files_of(folder / name):
            file.unlink(missing_ok=True)
    written = Written(compared=sum(len(frames) for _, frames in clips))
    if not formats:
        return written
    if not written.compared:
        raise ExportError("no clip could be read to compare graphs on; none was written")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".graphs-") as place:
        try:
            c, t, h, w = clips[0][1].shape[1:]
            onnx = graph.to_onnx(model, Path(place) / FILES["onnx"], (c, t, h, w), opset)
        except ExportError as error:
            written.refused.append(str(error))
            return written
        for name, runtime in RUNTIMES.items():
            if name not in formats:
                continue
            path = onnx if name == "onnx" else graph.to_openvino(onnx, onnx.with_name(FILES[name]))
            found = difference(model, runtime(path), clips)
            if not found <= tolerance:
                written.refused.append(
                    f"{path.name} was removed: its raw output differs from PyTorch's by {found:.2g} on "
                    f"{written.compared} clips, more than {tolerance:g} allows. Another stage.opset than {opset} may "
                    "help, or raise stage.graph_tolerance knowingly"
                )
                continue
            written.differences[path.name] = found
        for name in written.differences:
            for file in graph.files_of(Path(place) / name):
                os.replace(file, folder / file.name)
    return written


@torch.inference_mode()
def difference(model: nn.Module, backend: nn.Module, clips: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Largest difference of two networks' raw outputs, over batches and the first clip alone; NaN if one is."""
    model = model.cpu().float().eval()
    worst = 0.0
    for aligned, frames in [*clips, (clips[0][0][:1], clips[0][1][:1])]:
        aligned, frames = aligned.cpu().float(), frames.cpu().float()
        found = largest_difference(model(aligned, frames), backend(aligned, frames))
        if math.isnan(found):
            return found
        worst = max(worst, found)
    return worst


def describe(written: Written, shape: Sequence[int], opset: int, int8: Mapping[str, Mapping[str, float]]) -> str:
    """A section of the model card.

    Args:
        shape: (C, T, H, W) of the clips.
        int8: figures of ``fp32`` and ``int8`` on the validation split, or nothing.
    """
    rows = "\n".join(f"| `{name}` | {value:.2g} |" for name, value in written.differences.items())
    text = f"""
## Graphs for other runtimes

Inputs `aligned` and `frames`, float32 `[B, {", ".join(map(str, shape))}]` in [0, 1], any B; output `raw`.
ONNX opset {opset}.

| file | largest difference to PyTorch on {written.compared} validation clips |
|---|---|
{rows}

`python train.py stage=eval backend=onnxruntime ckpt_path=FOLDER` runs them; also `backend=openvino`, `stage=predict`.
"""
    text += "".join(f"\nNot written: {sentence}.\n" for sentence in written.refused)
    if int8:
        names = [n for n in ("AP50", "Pd", "Fa") if n in int8["fp32"]]
        rows = "\n".join(
            f"| {form} | " + " | ".join(f"{figures[n]:.4g}" for n in names) + " |" for form, figures in int8.items()
        )
        text += f"""
`{FILES["int8"]}` is quantised to 8 bits, calibrated on training clips. On the validation split:

| form | {" | ".join(names)} |
|---|{"---|" * len(names)}
{rows}
"""
    return text
