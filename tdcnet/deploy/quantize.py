"""int8 by post-training quantisation: OpenVINO's IR in, a smaller and faster IR out."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from tdcnet.deploy import optional
from tdcnet.deploy.graph import INPUTS, ExportError

NEEDS = ("openvino", "nncf")
"""Packages that this takes."""


def quantize(
    path: str | os.PathLike[str],
    to: str | os.PathLike[str],
    clips: Iterable[tuple[Tensor, Tensor]],
    keep: Sequence[str] = (),
) -> Path:
    """Quantises weights and activations of an IR to 8 bits with NNCF, where they are convolutions and products.

    The ranges of the activations are those seen on ``clips``, which should be training clips: figures on the
    validation split then say what the quantised network does on clips it was not fitted to.

    Args:
        path: the IR in float32.
        to: where the quantised one goes (.xml, weights beside it).
        clips: pairs ``aligned``, ``frames`` [B, C, T, H, W] in [0, 1].
        keep: regular expressions; operators whose name has a match stay in float32.

    Raises:
        MissingPackage: without openvino or nncf.
        ExportError: if there are no clips.
    """
    optional.require(NEEDS, "int8")
    os.environ.setdefault("NNCF_CI", "1")  # or it would report its use to its makers
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # looks for a CUDA that is not needed
    import nncf
    import openvino

    logging.getLogger("nncf").setLevel(logging.WARNING)

    core = optional.openvino_core()  # before NNCF makes its own
    samples = [_arrays(*pair) for pair in clips]
    if not samples:
        raise ExportError("int8 needs clips to calibrate on, and no training clip could be read; set stage.calibration")
    quantized = nncf.quantize(
        core.read_model(str(path)),
        nncf.Dataset(samples),
        subset_size=len(samples),
        preset=nncf.QuantizationPreset.MIXED,  # activations of SiLU and GELU are not symmetric
        model_type=nncf.ModelType.TRANSFORMER,  # leaves softmax and layer norms of the attention in float
        ignored_scope=nncf.IgnoredScope(patterns=list(keep), validate=False) if keep else None,
    )
    openvino.save_model(quantized, str(to), compress_to_fp16=False)
    del quantized
    gc.collect()  # NNCF's Cores end here, all of them, and not some time later (see openvino_core)
    return Path(to)


def _arrays(aligned: Tensor, frames: Tensor) -> dict[str, np.ndarray]:
    return {
        name: np.ascontiguousarray(x.cpu().float().numpy()) for name, x in zip(INPUTS, (aligned, frames), strict=True)
    }
