"""Released checkpoints of TDCNet: their tensors under this project's names.

A released checkpoint holds three input channels, each RepConv3D as three branches (or already folded), and a few
layers nothing uses. :func:`convert` turns its state into one that :func:`tdcnet.models.tdcnet` loads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from tdcnet.deploy.errors import CheckpointError
from tdcnet.deploy.fold import reparameterize
from tdcnet.layers import RepConv3D
from tdcnet.models import tdcnet

BRANCHES = {"short": "s_tdc", "mid": "m_tdc", "long": "l_tdc"}
UNUSED = re.compile(r"(feature_fusion\.C3_p[34]\.|ca\d\.attn\.qkv\.|.*relative_position_index$)")
# In deploy form one convolution stands in each block of branches; whatever it is called there, it is the block's own.
DEPLOYED = re.compile(r"^(backbone_tdc\.(?:stem|.*\.shortcut\.0|.*\.main\.1))\.\w+\.(weight|bias)$")

# Published prefix -> ours. The order of the rules matters only where one contains another.
RULES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    # 2D backbone: CSPDarknet
    (r"^backbone2d\.backbone\.stem\.conv\.", "backbone_2d.stem."),
    (r"^backbone2d\.backbone\.dark(\d)\.", lambda m: f"backbone_2d.stage{int(m[1]) - 1}."),
    (r"^(backbone_2d\..*)\.m\.(\d)\.", r"\1.blocks.\2."),
    # Motion backbones: ShuffleNetV2
    (r"^backbonetd\.backbone\.", "backbone_tdc."),
    (r"^backbone3d\.backbone\.", "backbone_3d."),
    (r"^(backbone_tdc)\.conv1\.", r"\1.stem."),
    (r"^(backbone_3d)\.conv1\.0\.", r"\1.stem.conv."),
    (r"^(backbone_3d)\.conv1\.1\.", r"\1.stem.norm."),
    (r"\.features\.(\d+)\.", lambda m: ".stages.{}.{}.".format(*_stage(int(m[1])))),
    (r"^(backbone_3d\..*)\.banch1\.0\.", r"\1.shortcut.0.conv."),
    (r"^(backbone_3d\..*)\.banch1\.1\.", r"\1.shortcut.0.norm."),
    (r"^(backbone_3d\..*)\.banch1\.2\.", r"\1.shortcut.1.conv."),
    (r"^(backbone_3d\..*)\.banch1\.3\.", r"\1.shortcut.1.norm."),
    (r"^(backbone_3d\..*)\.banch2\.3\.", r"\1.main.1.conv."),
    (r"^(backbone_3d\..*)\.banch2\.4\.", r"\1.main.1.norm."),
    (r"^(backbone_3d\..*)\.banch2\.5\.", r"\1.main.2.conv."),
    (r"^(backbone_3d\..*)\.banch2\.6\.", r"\1.main.2.norm."),
    (r"^(backbone_tdc\..*)\.banch1\.0\.", r"\1.shortcut.0."),
    (r"^(backbone_tdc\..*)\.banch1\.1\.", r"\1.shortcut.1.conv."),
    (r"^(backbone_tdc\..*)\.banch1\.2\.", r"\1.shortcut.1.norm."),
    (r"^(backbone_tdc\..*)\.banch2\.3\.", r"\1.main.1."),
    (r"^(backbone_tdc\..*)\.banch2\.4\.", r"\1.main.2.conv."),
    (r"^(backbone_tdc\..*)\.banch2\.5\.", r"\1.main.2.norm."),
    (r"\.banch2\.0\.", ".main.0.conv."),
    (r"\.banch2\.1\.", ".main.0.norm."),
    # Fusion: TDCSTA
    (r"^q_sa(\d)\.", lambda m: f"fusion.scales.{int(m[1]) - 1}.query."),
    (r"^k_sa(\d)\.", lambda m: f"fusion.scales.{int(m[1]) - 1}.key."),
    (r"^v_sa(\d)\.", lambda m: f"fusion.scales.{int(m[1]) - 1}.value."),
    (r"^ca(\d)\.", lambda m: f"fusion.scales.{int(m[1]) - 1}.cross."),
    (r"^(fusion\..*\.cross)\.norm1_([qkv])\.", r"\1.norm_\2."),
    (r"^(fusion\..*\.cross)\.norm2\.", r"\1.norm."),
    (r"^(fusion\..*\.cross)\.attn\.proj\.", r"\1.proj."),
    (r"^(fusion\..*\.cross)\.attn\.relative_position_bias_table$", r"\1.bias.table"),
    (r"\.relative_position_bias_table$", ".bias.table"),
    # Neck and head
    (r"^feature_fusion\.lateral_conv0\.", "neck.reduce2."),
    (r"^feature_fusion\.reduce_conv1\.", "neck.reduce1."),
    (r"^head\.stems\.0\.", "head.stem."),
    (r"^head\.cls_convs\.0\.", "head.class_convs."),
    (r"^head\.reg_convs\.0\.", "head.box_convs."),
    (r"^head\.cls_preds\.0\.", "head.class_pred."),
    (r"^head\.reg_preds\.0\.", "head.box_pred."),
    (r"^head\.obj_preds\.0\.", "head.objectness_pred."),
    (r"\.bn\.", ".norm."),
)


def tensors_of(content: object, where: Path) -> Mapping[str, Tensor]:
    """The state dict in a loaded file, bare or under a usual key."""
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{where} holds no state dict; expected names with tensors, bare or under 'state_dict'")
    return content


def _stage(feature: int) -> tuple[int, int]:
    """Stage and block of published block ``feature``: stages of 4, 8 and 4 blocks in one list."""
    return (0, feature) if feature < 4 else (1, feature - 4) if feature < 12 else (2, feature - 12)


def rename(name: str) -> str:
    """Our name for a published tensor; branches of RepConv3D keep their published tail (``s_tdc.0.conv.weight``)."""
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return name


def _grey(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The stems' kernels for one grey channel in place of three equal ones; Focus packs four pixels of 3 channels."""
    grey = dict(state)
    for name, pixels, axis in (
        ("backbone_2d.stem.conv.weight", 4, 1),
        ("backbone_3d.stem.conv.weight", 1, 1),
        ("backbone_tdc.stem.weight", 1, -4),
    ):
        if name in state and state[name].shape[axis] == 3 * pixels:  # else _check says what is wrong
            grey[name] = state[name].unflatten(axis, (pixels, 3)).sum(axis + 1 if axis > 0 else axis)
    return grey


def _join_branches(state: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """Three published branches -> the stacked kernel and batch norm of RepConv3D (short, mid, long; interleaved)."""
    joined = {}
    for name, value in state.items():
        part = re.fullmatch(r"(.*)\.(s|m|l)_tdc\.(0\.conv\.weight|1\.(\w+))", name)
        if part is None:
            joined[name] = value
        elif part[2] == "s":
            tail = part[3]
            branches = []
            for published in BRANCHES.values():
                if (key := f"{part[1]}.{published}.{tail}") not in state:
                    missing = names[name].replace(".s_tdc.", f".{published}.")
                    raise KeyError(f"tensor {missing} is missing: a RepConv3D needs its short, mid and long branch")
                branches.append(state[key])
            if tail == "0.conv.weight":
                joined[f"{part[1]}.weight"] = torch.stack(branches, dim=1)
            elif part[4] == "num_batches_tracked":
                joined[f"{part[1]}.norm.{part[4]}"] = branches[0]
            else:
                joined[f"{part[1]}.norm.{part[4]}"] = torch.stack(branches, dim=1).flatten()
    return joined


def convert(state_dict: Mapping[str, Tensor], in_channels: int = 1) -> dict[str, Tensor]:
    """This project's state for a released checkpoint's.

    Args:
        state_dict: the released tensors, with or without a ``module.`` prefix, in training or deploy form.
        in_channels: 1 sums the stems' kernels over the three published channels, which is exact for grey frames
            repeated three times; 3 keeps them.

    Returns:
        A state that ``tdcnet(in_channels=in_channels)`` (training form) or ``reparameterize`` of it (deploy form) loads
        with ``strict=True``.

    Raises:
        KeyError: naming a tensor that is missing or unknown.
        ValueError: naming a tensor of another shape than expected, or an ``in_channels`` that is not 1 or 3.
    """
    if in_channels not in (1, 3):
        raise ValueError(f"in_channels is {in_channels}; a released checkpoint becomes a network for 1 or 3 channels")
    published = {name.removeprefix("module."): value for name, value in state_dict.items()}
    names = {rename(name): name for name in published if not UNUSED.match(name)}
    ours = {new: published[name] for new, name in names.items()}
    classes = published["head.cls_preds.0.bias"].numel() if "head.cls_preds.0.bias" in published else 1
    model = tdcnet(num_classes=classes, in_channels=in_channels)
    deployed = not any("_tdc." in name.removeprefix("backbone_tdc.") for name in ours)
    if not deployed:
        ours = _join_branches(ours, names)
    else:
        ours = {DEPLOYED.sub(r"\1.\2", name): value for name, value in ours.items()}
        names |= {DEPLOYED.sub(r"\1.\2", new): name for new, name in names.items()}
        for module in model.backbone_tdc.modules():
            if isinstance(module, RepConv3D):
                module.fold()
    ours = _check(_grey(ours) if in_channels == 1 else ours, model.state_dict(), names)
    if deployed:  # the published deploy form keeps its batch norms
        model.load_state_dict(ours)
        ours = dict(reparameterize(model).state_dict())
    return ours


def _check(ours: dict[str, Tensor], expected: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    for name in ours:
        if name not in expected:
            raise KeyError(f"tensor {names.get(name, name)} is unknown: this is not a released TDCNet checkpoint")
    for name, tensor in expected.items():
        if name not in ours:
            raise KeyError(f"the tensor for {name} is missing: the checkpoint is incomplete or of another network")
        if ours[name].shape != tensor.shape:
            raise ValueError(
                f"tensor {names.get(name, name)} became {tuple(ours[name].shape)}, expected {tuple(tensor.shape)}"
            )
    return {name: ours[name] for name in expected}
