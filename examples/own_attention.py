"""Trains the demo for a moment with an attention of one's own, and uses its checkpoint.

python examples/own_attention.py
"""

import os
import subprocess
import sys
from pathlib import Path

from torch import Tensor, nn

import tdcnet

HERE = Path(__file__).resolve().parent


class Gate(nn.Module):
    """Weighs each position by one number: [B, C, H, W] -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The weighed map."""
        return x * self.conv(x).sigmoid()


def main(*options: str) -> None:
    """Trains; then the checkpoint is loaded with the word that this module's parts may be built."""
    command = [sys.executable, "-m", "tdcnet.stages.app", "dataset=demo", "model=tdcnet_nano", "module=adamw"]
    command += [
        "model.attention={_target_: own_attention.Gate, _partial_: true}",
        "trainer=cpu",
        "trainer.max_epochs=1",
    ]
    command += [
        "trainer.devices=1",
        "trainer.strategy=auto",
        "dataset.samples_per_epoch=48",
        "hydra.run.dir=own_attention",
    ]
    subprocess.run([*command, *options], check=True, env={**os.environ, "PYTHONPATH": str(HERE)})
    sys.path.insert(0, str(HERE))
    print(tdcnet.load("own_attention/checkpoints/best.ckpt", allow=["own_attention"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
