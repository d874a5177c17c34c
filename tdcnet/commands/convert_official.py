"""Turns a released TDCNet checkpoint into one of this project.

tdcnet convert-official tdcnet_irstd_uav.pth tdcnet_irstd_uav.ckpt
python train.py stage=eval dataset=irstd_uav ckpt_path=tdcnet_irstd_uav.ckpt
"""

from __future__ import annotations

import sys
from pathlib import Path

from tdcnet.commands.arguments import parser_of
from tdcnet.deploy.errors import CheckpointError
from tdcnet.files import replacing
from tdcnet.shown import printable


def main(arguments: list[str] | None = None) -> int:
    """Converts; returns the exit status."""
    parser = parser_of("convert-official", __doc__)
    parser.add_argument("input", type=Path, metavar="IN", help="released checkpoint (.pth)")
    parser.add_argument("output", type=Path, metavar="OUT", help="checkpoint to write (.ckpt)")
    parser.add_argument("--in-channels", type=int, choices=(1, 3), default=1, help="1 for grey frames (%(default)s)")
    given = parser.parse_args(arguments)
    import torch  # these take seconds, which --help need not

    from tdcnet.deploy.official import convert, tensors_of
    from tdcnet.deploy.record import LONGEST_NAME, Record
    from tdcnet.deploy.weights import PREFIX, load_plain

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
