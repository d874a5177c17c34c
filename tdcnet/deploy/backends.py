"""Other runtimes in the place of the network: a graph that ``stage=deploy`` wrote, called like the network itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tdcnet.deploy import optional
from tdcnet.deploy.graph import INPUTS, files_of
from tdcnet.deploy.weights import CONFIG, CheckpointError, Weights, check_file, read_record
from tdcnet.shown import printable

GRAPHS = (".onnx", ".xml")
"""Endings of files that only a backend reads."""


class Backend(nn.Module):
    """``forward(aligned, frames) -> raw`` as :class:`~tdcnet.models.Detector`, computed by another runtime on the CPU.

    It has no parameters and stands where ``DetectionModule.model`` is. Any number of clips at once; the other sizes
    are those of the graph.

    Args:
        path: the graph; or the folder of ``stage=deploy``, or another file in it: then the graph of the usual name.
        threads: cores it may use; None for as many as PyTorch (``OMP_NUM_THREADS``).

    Attributes:
        shape: (C, T, H, W) of the clips.

    Raises:
        MissingPackage: if the runtime is not installed.
        FileNotFoundError: if there is no graph.
        CheckpointError: if the graph cannot be read, or is not one of a detector.
    """

    suffixes: tuple[str, ...] = ()
    usual: str = ""
    name: str = ""

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        super().__init__()
        self.path = find_graph(path, self.usual, self.suffixes, self.name)
        self.threads = threads or torch.get_num_threads()
        for file in files_of(self.path):
            check_file(file)
        try:
            inputs, output = self.load()
        except optional.MissingPackage:
            raise
        except Exception as error:
            reason = printable(str(error).strip().partition("\n")[0].rstrip("."))
            raise CheckpointError(f"{self.path} cannot be read by {self.name} ({reason}); export it again") from error
        if set(inputs) != set(INPUTS) or len(inputs["frames"]) != 5 or None in (*inputs["frames"][1:], output[1]):
            raise CheckpointError(
                f"{self.path} takes {inputs}; expected is a graph by stage=deploy, whose inputs {' and '.join(INPUTS)} "
                "are clips [B, C, T, H, W] of fixed size"
            )
        self.shape: tuple[int, ...] = inputs["frames"][1:]
        self.in_channels, self.num_frames = self.shape[:2]
        self.num_classes = int(output[1]) - 5

    def load(self) -> tuple[dict[str, tuple[Any, ...]], tuple[Any, ...]]:
        """Makes the runtime read ``path``; shapes of inputs by name and of the output, None where a size is free."""
        raise NotImplementedError

    def compute(self, aligned: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Raw output for float32 clips."""
        raise NotImplementedError

    def forward(self, aligned: Tensor, frames: Tensor) -> Tensor:
        """Raw output [B, 5 + classes, H/8, W/8] for clips [B, C, T, H, W] in [0, 1], on their device.

        Raises:
            ValueError: if the clips are not of the graph's size.
        """
        for clips in (aligned, frames):
            if tuple(clips.shape[1:]) != self.shape:
                raise ValueError(
                    f"{self.path.name} takes clips of {_x(self.shape)} (channels, frames, height, width), got "
                    f"{_x(clips.shape[1:])}. Give dataset.size=[{self.shape[2]},{self.shape[3]}] and "
                    f"dataset.num_frames={self.shape[1]}, or export for the other size (stage=deploy dataset.size=...)"
                )
        arrays = (np.ascontiguousarray(x.detach().float().cpu().numpy()) for x in (aligned, frames))
        return torch.from_numpy(self.compute(*arrays)).to(frames.device)

    def extra_repr(self) -> str:
        """What is run."""
        return f"{self.path}, threads={self.threads}"


class OnnxRuntime(Backend):
    """An ONNX file in ONNX Runtime; arguments as :class:`Backend`'s."""

    suffixes, usual, name = (".onnx",), "model.onnx", "onnxruntime"

    def load(self) -> tuple[dict[str, tuple[Any, ...]], tuple[Any, ...]]:
        """Opens a session."""
        runtime = optional.load("onnxruntime", "backend=onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 3
        self.session = runtime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        shapes = {x.name: _sizes(x.shape) for x in (*self.session.get_inputs(), *self.session.get_outputs())}
        return {n: s for n, s in shapes.items() if n in INPUTS}, _sizes(self.session.get_outputs()[0].shape)

    def compute(self, aligned: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """One call of the session."""
        (raw,) = self.session.run(None, dict(zip(INPUTS, (aligned, frames), strict=True)))
        return np.asarray(raw)


class OpenVINO(Backend):
    """OpenVINO's IR, or an ONNX file, in OpenVINO.

    Args:
        path, threads: see :class:`Backend`.
        precision: ``f32`` computes as PyTorch does; ``bf16`` or ``f16`` may be faster where the CPU has them. For an
            int8 graph it is the precision of the layers that were left in float.
    """

    suffixes, usual, name = (".xml", ".onnx"), "model.xml", "openvino"

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None, precision: str = "f32") -> None:
        if precision not in ("f32", "bf16", "f16"):
            raise ValueError(f"backend.precision is {precision!r}; allowed are f32, bf16 and f16")
        self.precision = precision
        super().__init__(path, threads)

    def load(self) -> tuple[dict[str, tuple[Any, ...]], tuple[Any, ...]]:
        """Compiles the graph."""
        optional.require(("openvino",), "backend=openvino")
        core = optional.openvino_core()
        options = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        self.compiled = core.compile_model(core.read_model(str(self.path)), "CPU", options)
        inputs = {x.any_name: _sizes(str(n) for n in x.partial_shape) for x in self.compiled.inputs}
        return inputs, _sizes(str(n) for n in self.compiled.outputs[0].partial_shape)

    def compute(self, aligned: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """One call of the compiled graph."""
        result = self.compiled(dict(zip(INPUTS, (aligned, frames), strict=True)))
        return np.array(result[0])  # a copy: the runtime writes into its own memory next time


def find_graph(path: str | os.PathLike[str], usual: str, suffixes: tuple[str, ...], name: str) -> Path:
    """The graph that ``path`` means: itself, or the one of the usual name in the same folder.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is a graph for another backend.
    """
    path = Path(path)
    if path.suffix in GRAPHS and path.suffix not in suffixes:
        raise ValueError(f"backend={name} reads {' and '.join(suffixes)}, ckpt_path is {path}; choose another backend")
    found = path if path.suffix in suffixes else (path if path.is_dir() else path.parent) / usual
    if not found.is_file():
        raise FileNotFoundError(
            f"backend={name} looked for {found}, which does not exist. ckpt_path names the folder that stage=deploy "
            f"wrote, or a {' or '.join(suffixes)} file in it; stage=deploy 'stage.formats=[onnx,openvino]' writes them"
        )
    return found


def read_info(path: str | os.PathLike[str]) -> Weights:
    """What ``config.json`` beside a graph tells about its network, without any weights.

    Raises:
        FileNotFoundError: if there is no such file, or no such path at all.
        CheckpointError: if it holds something else.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"ckpt_path is {path}, which does not exist; give the folder that stage=deploy wrote")
    config = (path if path.is_dir() else path.parent) / CONFIG
    if not config.is_file():
        raise FileNotFoundError(
            f"no {CONFIG} at {config.parent}; it tells the classes and frames of the network. ckpt_path names the "
            "folder that stage=deploy wrote, or a graph in it; keep its files together"
        )
    return Weights({}, read_record(config))


def _sizes(shape: Any) -> tuple[Any, ...]:
    """A runtime's shape as a tuple, None where a size is free."""
    return tuple(int(n) if str(n).isdecimal() else None for n in shape)


def _x(shape: Any) -> str:
    return "x".join(str(int(n)) for n in shape)
