"""Tells what each operator of tdcnet.layers takes, gives and costs, in one run.

python scripts/benchmark_operators.py                                    # 128 channels, 80x80, T = 5
python scripts/benchmark_operators.py --markdown docs/operators.md       # renews the document
python scripts/benchmark_operators.py --channels 32 --size 20 20 --threads 2

GFLOPs are those of convolutions, matrix products and attention in one forward pass in eval mode (tdcnet/cost.py).
Operators take turns, round by round; medians are told, as times a plain 3x3 convolution takes beside them, too.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from tdcnet import layers
from tdcnet.allocator import keep_freed_memory
from tdcnet.cost import OTHER, count

MAP, CLIP, CHANNELS_LAST, TWO_CLIPS = "[B, C, H, W]", "[B, C, T, H, W]", "[B, T, H, W, C]", "two [B, T, C, H, W]"
WINDOW = (2, 8, 8)


@dataclass
class Operator:
    """One row.

    Attributes:
        takes: the shape it takes and gives.
        make: for so many channels.
    """

    name: str
    takes: str
    make: Callable[[int], nn.Module]
    paper: str

    seconds: list[float] = field(default_factory=list)
    parameters: int = 0
    gflops: float = 0.0


TDCNET = "TDCNet, AAAI 2026, [arXiv 2511.09352](https://arxiv.org/abs/2511.09352)"
OPERATORS = [
    Operator("plain 3x3 convolution, to compare with", MAP, lambda c: nn.Conv2d(c, c, 3, padding=1), ""),
    Operator("RepConv3D", CLIP, lambda c: layers.RepConv3D(c, c), TDCNET),
    Operator("TemporalDifferenceConv3d", CLIP, lambda c: layers.TemporalDifferenceConv3d(c, c), TDCNET),
    Operator("TemporalConv3d", CLIP, lambda c: layers.TemporalConv3d(c, c), TDCNET),
    Operator("PlainDifferenceConv3d", CLIP, lambda c: layers.PlainDifferenceConv3d(c, c), TDCNET),
    Operator("DifferencePlusConv3d", CLIP, lambda c: layers.DifferencePlusConv3d(c, c), TDCNET),
    Operator(
        "TAdaConv2dV2",
        CLIP,
        layers.TAdaConv2dV2,
        "Huang et al. 2023, [arXiv 2308.05787](https://arxiv.org/abs/2308.05787)",
    ),
    Operator("SIFA", CLIP, layers.SIFA, "Long et al., CVPR 2022, [arXiv 2206.06931](https://arxiv.org/abs/2206.06931)"),
    Operator("SelfAttention3d", CHANNELS_LAST, lambda c: layers.SelfAttention3d(c, WINDOW, 4), TDCNET),
    Operator("CrossAttention3d", f"three {CHANNELS_LAST}", lambda c: layers.CrossAttention3d(c, WINDOW, 4), TDCNET),
    Operator(
        "DividedSpaceTimeAttention",
        TWO_CLIPS,
        layers.DividedSpaceTimeAttention,
        "Bertasius et al., ICML 2021, [arXiv 2102.05095](https://arxiv.org/abs/2102.05095)",
    ),
    Operator(
        "SqueezeExcitation",
        MAP,
        layers.SqueezeExcitation,
        "Hu et al., CVPR 2018, [arXiv 1709.01507](https://arxiv.org/abs/1709.01507)",
    ),
    Operator(
        "DoubleAttention",
        MAP,
        layers.DoubleAttention,
        "Chen et al., NeurIPS 2018, [arXiv 1810.11579](https://arxiv.org/abs/1810.11579)",
    ),
    Operator("BAM", MAP, layers.BAM, "Park et al., BMVC 2018, [arXiv 1807.06514](https://arxiv.org/abs/1807.06514)"),
    Operator(
        "BiLevelRoutingAttention",
        MAP,
        layers.BiLevelRoutingAttention,
        "Zhu et al., CVPR 2023, [arXiv 2303.08810](https://arxiv.org/abs/2303.08810)",
    ),
    Operator("MultiHeadAttention2d", MAP, layers.MultiHeadAttention2d, "as BiLevelRoutingAttention"),
    Operator("LocallyEnhancedAttention", MAP, layers.LocallyEnhancedAttention, "as BiLevelRoutingAttention"),
    Operator(
        "ContextAnchorAttention (CAA)",
        MAP,
        layers.ContextAnchorAttention,
        "Cai et al., CVPR 2024, [arXiv 2403.06258](https://arxiv.org/abs/2403.06258)",
    ),
    Operator("CBAM", MAP, layers.CBAM, "Woo et al., ECCV 2018, [arXiv 1807.06521](https://arxiv.org/abs/1807.06521)"),
    Operator(
        "CloAttention",
        MAP,
        layers.CloAttention,
        "Fan et al. 2023, [arXiv 2303.17803](https://arxiv.org/abs/2303.17803)",
    ),
    Operator(
        "CrissCrossAttention",
        MAP,
        layers.CrissCrossAttention,
        "Huang et al., ICCV 2019, [arXiv 1811.11721](https://arxiv.org/abs/1811.11721)",
    ),
    Operator(
        "CoordinateAttention",
        MAP,
        layers.CoordinateAttention,
        "Hou et al., CVPR 2021, [arXiv 2103.02907](https://arxiv.org/abs/2103.02907)",
    ),
    Operator(
        "ContextualTransformer (CoT)",
        MAP,
        layers.ContextualTransformer,
        "Li et al. 2021, [arXiv 2107.12292](https://arxiv.org/abs/2107.12292)",
    ),
    Operator("CPCA", MAP, layers.CPCA, "Huang et al. 2024, [arXiv 2306.05196](https://arxiv.org/abs/2306.05196)"),
    Operator(
        "DeformableAttention",
        MAP,
        layers.DeformableAttention,
        "Xia et al., CVPR 2022, [arXiv 2201.00520](https://arxiv.org/abs/2201.00520)",
    ),
]


def main(arguments: list[str] | None = None) -> int:
    """Times and tells; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--size", type=int, nargs=2, default=(80, 80), metavar=("H", "W"))
    parser.add_argument("--frames", type=int, default=5, help="of clips")
    parser.add_argument("--rounds", type=int, default=7, help="after one that warms up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--markdown", type=Path, help="writes the table there, as a document of its own")
    given = parser.parse_args(arguments)
    keep_freed_memory()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    runs = []
    for operator in OPERATORS:
        module = operator.make(given.channels).eval().to(given.device)
        inputs = inputs_of(operator.takes, given)
        with torch.inference_mode():
            cost = count(module, lambda m=module, x=inputs: m(*x))[OTHER]
        operator.parameters, operator.gflops, operator.seconds = cost.parameters, cost.flops / 1e9, []
        runs.append((operator, module, inputs))
    for i in track(range(given.rounds + 1), "timing"):
        for operator, module, inputs in runs:
            start = time.perf_counter()
            with torch.inference_mode():
                module(*inputs)
            if given.device.startswith("cuda"):
                torch.cuda.synchronize()
            if i:
                operator.seconds.append(time.perf_counter() - start)
    title = (
        f"{given.channels} channels, {given.size[0]}x{given.size[1]}, T = {given.frames}, one clip or map, "
        f"{given.threads} thread{'s' if given.threads > 1 else ''}, "
        f"{torch.cuda.get_device_name() if given.device.startswith('cuda') else platform.machine()}, "
        f"PyTorch {torch.__version__}, eval mode; medians of {given.rounds} rounds"
    )
    table = Table("operator", "takes", title=title)
    for column in ("parameters", "GFLOPs", "ms", "plain 3x3s"):
        table.add_column(column, justify="right")
    for operator in OPERATORS:
        table.add_row(operator.name, operator.takes.replace("[", "\\["), *figures_of(operator))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if given.markdown:
        given.markdown.write_text(document(title), encoding="utf-8")
    return 0


def inputs_of(takes: str, given: argparse.Namespace) -> tuple[Tensor, ...]:
    """Random inputs of a shape."""
    c, t, (h, w) = given.channels, given.frames, given.size
    shapes = {
        MAP: [(1, c, h, w)],
        CLIP: [(1, c, t, h, w)],
        CHANNELS_LAST: [(1, t, h, w, c)],
        f"three {CHANNELS_LAST}": [(1, t, h, w, c)] * 3,
        TWO_CLIPS: [(1, 1, c, h, w), (1, t - 1, c, h, w)],
    }
    return tuple(torch.rand(shape, device=given.device) for shape in shapes[takes])


def figures_of(operator: Operator) -> tuple[str, str, str, str]:
    """Parameters, GFLOPs, milliseconds, and the time in units of the plain convolution's, round by round."""
    ratio = statistics.median(a / b for a, b in zip(operator.seconds, OPERATORS[0].seconds, strict=True))
    milliseconds = 1e3 * statistics.median(operator.seconds)
    return f"{operator.parameters:,}", f"{operator.gflops:.2f}", f"{milliseconds:.1f}", f"{ratio:.2f}"


def document(title: str) -> str:
    """The table for docs/."""
    lines = [
        "# Operators",
        "",
        "Every operator here is a module of `tdcnet.layers`, in pure PyTorch, for any height and width, and agrees "
        "with numbers from its authors' code (`tests/golden/`; divided space-time attention with its paper's formula). "
        "All give the shape they take; the temporal convolutions also take `out_channels`, `stride` and `groups`.",
        "",
        "```python",
        "from tdcnet.layers import CBAM, SIFA, DividedSpaceTimeAttention, SqueezeExcitation, TAdaConv2dV2",
        "",
        "attention = CBAM(128, reduction=16)  # [B, 128, H, W] -> the same shape",
        "```",
        "",
        "Where they stand in a network is a matter of configuration: `model/temporal_conv`, `model/temporal_block`, "
        '`model/fusion` and `model/attention` (README, "Other operators").',
        "",
        f'{title}. "Plain 3x3s" is the time in units of a plain 3x3 convolution of as many channels on one map.',
        "",
        "| operator | takes | parameters | GFLOPs | ms | plain 3x3s | source |",
        "|---|---|---:|---:|---:|---:|---|",
        *(f"| {o.name} | `{o.takes}` | {' | '.join(figures_of(o))} | {o.paper} |" for o in OPERATORS),
        "",
        "Renew it: `python scripts/benchmark_operators.py --markdown docs/operators.md`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
