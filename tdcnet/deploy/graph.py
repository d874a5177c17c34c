"""The network as a graph for other runtimes: ONNX, and OpenVINO's IR made from that."""

from __future__ import annotations

import copy
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tdcnet.deploy import optional

OPSET = 20
"""Of ONNX, unless another is asked for: the first with GELU as one operator."""

INPUTS, OUTPUT = ("aligned", "frames"), "raw"
"""Names in the graph; float32 [B, C, T, H, W] in [0, 1], and [B, 5 + classes, H/8, W/8]."""

NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino")}
"""Packages that writing and checking a format takes."""


class ExportError(RuntimeError):
    """A graph could not be made, or does not compute what the network computes; what else was exported is kept."""


def to_onnx(
    model: nn.Module, path: str | os.PathLike[str], shape: tuple[int, int, int, int], opset: int = OPSET
) -> Path:
    """Writes a network as one ONNX file: inputs ``aligned`` and ``frames``, output ``raw``, any number of clips.

    Frames, height and width are fixed. How a map is cut into windows, which of them hold padding, and the masks of
    shifted windows depend on the size; in the graph they are constants.

    Args:
        model: ``model(aligned, frames) -> raw``, in eval mode; best re-parameterised.
        shape: (C, T, H, W) of the clips.
        opset: version of ONNX's operators.

    Raises:
        MissingPackage: without onnx and onnxscript.
        ExportError: if PyTorch cannot export the network.
    """
    optional.require(("onnx", "onnxscript"), "export to ONNX")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    model = copy.deepcopy(model).cpu().float().eval()
    # Two clips: of one alone PyTorch would conclude that there is always one.
    clips = (torch.rand(2, *shape), torch.rand(2, *shape))
    batch = {0: torch.export.Dim("batch")}
    try:
        with torch.no_grad(), _quiet():
            # What layers keep per size is made here; made while tracing, it would be no tensor that others can use.
            model(*clips)
            program = torch.export.export(model, clips, dynamic_shapes=(batch, batch), strict=False)
            # Its optimiser takes longer than all else, for what runtimes do once more on loading.
            graph = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=INPUTS,
                output_names=(OUTPUT,),
                dynamic_shapes=(batch, batch),  # names the axis
                optimize=False,
                verbose=False,
            )
            assert graph is not None
            _fold_constants(graph)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ExportError(
            f"PyTorch could not export the network as ONNX with opset {opset} for clips of {_x(shape)}: "
            f"{type(error).__name__}: {reason}. The .safetensors file runs in PyTorch (backend=torch)"
        ) from error
    graph.save(str(path), external_data=False)
    return path


def to_openvino(onnx: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Writes an ONNX file as OpenVINO's IR: ``path`` (.xml) and its weights beside it (.bin), in float32.

    Raises:
        MissingPackage: without openvino.
    """
    openvino = optional.load("openvino", "export to OpenVINO's IR")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # convert_model reads the same way, but reports its use to its makers first.
    openvino.save_model(optional.openvino_core().read_model(str(onnx)), str(path), compress_to_fp16=False)
    return path


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """What belongs to a graph: the file, and for IR its weights."""
    path = Path(path)
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


def _fold_constants(graph: Any) -> None:
    """Computes once what follows from the weights alone, and drops what nothing uses."""
    from onnxscript import optimizer

    unlimited = 1 << 40
    optimizer.fold_constants(graph.model, input_size_limit=unlimited, output_size_limit=unlimited)
    optimizer.remove_unused_nodes(graph.model)
    for node in graph.model.graph.all_nodes():
        node.metadata_props.clear()  # half of the file, and it tells the paths of this machine


class _quiet:
    """The exporters' advice to their own developers is kept away from users."""

    def __enter__(self) -> None:
        self.caught = warnings.catch_warnings()
        self.caught.__enter__()
        for category in (UserWarning, FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        self.levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript", "onnx_ir")}
        for name in self.levels:
            logging.getLogger(name).setLevel(logging.ERROR)

    def __exit__(self, *of: object) -> None:
        for name, level in self.levels.items():
            logging.getLogger(name).setLevel(level)
        self.caught.__exit__(*of)  # type: ignore[arg-type]


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
