"""Turns a released TDCNet checkpoint into one of this project.

tdcnet convert-official tdcnet_irstd_uav.pth tdcnet_irstd_uav.ckpt
python train.py stage=eval dataset=irstd_uav ckpt_path=tdcnet_irstd_uav.ckpt
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from tdcnet.deploy.official import convert
from tdcnet.deploy.record import LONGEST_NAME, Record
from tdcnet.deploy.weights import PREFIX, CheckpointError, load_plain
from tdcnet.files import replacing
from tdcnet.shown import printable


def tensors_of(content: object, where: Path) -> Mapping[str, Tensor]:
    """The state dict in a loaded file, bare or under a usual key."""
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{where} holds no state dict; expected names with tensors, bare or under 'state_dict'")
    return content


def main(arguments: list[str] | None = None) -> int:
    """Converts; returns the exit status."""
    parser = argparse.ArgumentParser(
        "tdcnet convert-official", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", type=Path, metavar="IN", help="released checkpoint (.pth)")
    parser.add_argument("output", type=Path, metavar="OUT", help="checkpoint to write (.ckpt)")
    parser.add_argument("--in-channels", type=int, choices=(1, 3), default=1, help="1 for grey frames (%(default)s)")
    given = parser.parse_args(arguments)
    try:
        if not given.input.is_file():
            raise FileNotFoundError(f"no file at {given.input}")
        released = tensors_of(load_plain(given.input), given.input)
        state = convert(released, given.in_channels)
    except (CheckpointError, FileNotFoundError, KeyError, ValueError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 1
    deployed = "backbone_tdc.stem.bias" in state
    classes = int(state["head.class_pred.bias"].numel())
    record = Record(
        model={"_target_": "tdcnet.models.tdcnet", "num_classes": classes, "in_channels": given.in_channels},
        classes=("target",) if classes == 1 else tuple(f"class {i}" for i in range(classes)),
        num_frames=5,
        stride=1,
        name=printable(given.input.stem)[:LONGEST_NAME],
        deployed=deployed,
    )
    with replacing(given.output) as file:
        torch.save({"state_dict": {f"{PREFIX}{n}": v for n, v in state.items()}, "tdcnet": record.plain()}, file)
    print(f"{given.output}: {len(state)} tensors in {'deploy' if deployed else 'training'} form, from {len(released)}")
    return 0
