"""Re-parameterisation before export: fold, compare on real clips, then write, or refuse."""

from __future__ import annotations

import html
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from tdcnet.deploy.fold import is_deployed, largest_difference, reparameterize
from tdcnet.deploy.record import Record
from tdcnet.deploy.weights import PREFIX, export
from tdcnet.detection import DetectionModule
from tdcnet.files import replacing, write_atomically
from tdcnet.layers.stacked_branches import StackedBranches
from tdcnet.models.clip_detector import ClipDetector
from tdcnet.shown import printable

log = logging.getLogger(__name__)


class ReparamError(RuntimeError):
    """The deploy form does not compute what the trained network computes; nothing was exported."""


class Reparam(pl.Callback):
    """Switches RepConv3D to deploy mode on a copy, at the end of a validation, and exports it.

    The copy's raw output is compared with the trained network's on the first clips of the validation set. Written are
    ``model.safetensors`` with ``config.json`` (:func:`tdcnet.deploy.weights.load_detector`), ``deploy.ckpt`` (for
    ``stage=eval`` and ``stage=predict``) and ``README.md``, a model card.

    Args:
        dirpath: folder of the exported files.
        tolerance: largest difference of the raw outputs that is accepted, as ``largest_difference`` tells it.
        clips: how many are compared.
        keep_inputs: whether these clips stay in ``inputs``, to compare other forms on.

    Attributes:
        difference: the largest that was seen.
        compared: on how many clips.
        deployed: the folded copy.
        inputs: the batches compared on, ``aligned`` and ``frames`` [B, C, T, H, W] on the CPU.
    """

    def __init__(self, dirpath: str, tolerance: float = 1e-4, clips: int = 8, keep_inputs: bool = False) -> None:
        if clips < 1:
            raise ValueError(f"clips is {clips}; at least one clip must be compared")
        self.dirpath, self.tolerance, self.clips = Path(dirpath), tolerance, clips
        self.keep_inputs = keep_inputs
        self.difference = 0.0
        self.compared = 0
        self.inputs: list[tuple[Tensor, Tensor]] = []
        self.deployed: ClipDetector | None = None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Folds a copy."""
        assert isinstance(pl_module, DetectionModule)
        self.deployed = reparameterize(pl_module.model)
        self.difference, self.compared, self.inputs = 0.0, 0, []

    @torch.no_grad()
    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Compares the two forms on a batch."""
        left = self.clips - self.compared
        if trainer.sanity_checking or left <= 0 or len(batch["frames"]) == 0:
            return
        assert self.deployed is not None and isinstance(pl_module, DetectionModule)
        aligned, frames = (x[:left] for x in pl_module.inputs(batch))
        before = _unfolded(pl_module.model, aligned, frames)
        after = self.deployed(aligned, frames)
        self.difference = float(np.maximum(self.difference, largest_difference(before, after)))  # NaN stays NaN
        self.compared += len(frames)
        if self.keep_inputs:
            self.inputs.append((aligned.cpu(), frames.cpu()))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Exports.

        Raises:
            ReparamError: if the outputs differ by more than the tolerance, or no clip could be compared.
        """
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        if self.compared == 0:
            raise ReparamError("no clip could be read to compare the deploy form on; nothing was exported")
        if not self.difference <= self.tolerance:
            raise ReparamError(
                f"raw outputs before and after re-parameterisation differ by {self.difference:.2g} on {self.compared} "
                f"clips, more than {self.tolerance:g} allows; nothing was exported. Folding is done in float32: check "
                "the batch norms' running_var for values near zero, or raise stage.tolerance knowingly"
            )
        assert self.deployed is not None and isinstance(pl_module, DetectionModule)
        record = Record.of(pl_module.checkpoint_info, "the exported network")
        export(self.dirpath, self.deployed, record)
        state = {f"{PREFIX}{name}": value.cpu() for name, value in self.deployed.state_dict().items()}
        with replacing(self.dirpath / "deploy.ckpt") as file:
            torch.save(
                {"state_dict": state, "tdcnet": replace(record, deployed=is_deployed(self.deployed)).plain()}, file
            )
        card = self._card(pl_module, record)
        write_atomically(self.dirpath / "README.md", card.encode())
        log.info("exported %s (largest difference %.2g on %d clips)", self.dirpath, self.difference, self.compared)

    def _card(self, module: DetectionModule, record: Record) -> str:
        before = sum(p.numel() for p in module.model.parameters())
        after = sum(p.numel() for p in self.deployed.parameters()) if self.deployed else 0
        rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in module.results.items())
        return f"""# {_text(record.name or "TDCNet")}, deploy form

Detector of small moving targets in infrared video: TDCNet (arXiv 2511.09352), re-parameterised.

- Input: two clips `[B, {module.model.in_channels}, T, H, W]` in [0, 1], oldest frame first, T = \
{record.num_frames or 5}, frames {record.stride or 1} apart: `aligned` (registered onto the newest) and `frames`.
- Output: raw `[B, {5 + module.model.num_classes}, h, w]`; boxes: `tdcnet.models.postprocess`, stride `W // w`.
- Classes: {_text(", ".join(record.classes or ("target",)))}. Parameters: {before:,} in training form, {after:,} here.
- Largest difference to the training form: {self.difference:.2g} on {self.compared} validation clips.

```python
from tdcnet.deploy.weights import load_detector
model = load_detector("model.safetensors")  # with config.json beside it
```

Trained with `{_text(record.command)}`; figures on its validation split ({_text(record.dataset or "unknown data set")}):

| figure | value |
|---|---|
{rows}
"""


def _text(name: str) -> str:
    """A name in Markdown: nothing in it is markup."""
    return html.escape(printable(name).replace("`", "'"), quote=False)


def _unfolded(model: nn.Module, aligned: Tensor, frames: Tensor) -> Tensor:
    """The trained network's output by its branches and batch norms, which eval mode would fold on the way."""
    blocks = [m for m in model.modules() if isinstance(m, StackedBranches) and not m.is_deployed]
    try:
        for block in blocks:
            block.fold_in_eval = False
        output: Tensor = model(aligned, frames)
        return output
    finally:
        for block in blocks:
            block.fold_in_eval = True
