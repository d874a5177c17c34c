"""The LightningModule: model, loss, metrics and optimiser, wired and nothing else."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from tdcnet.boxes import stride_of
from tdcnet.data.clips import as_float
from tdcnet.data.transforms import undo_letterbox
from tdcnet.finite import NonFinite, all_finite, first_nonfinite, number
from tdcnet.losses import DetectionLoss
from tdcnet.metrics import DetectionMetrics, FrameCollector
from tdcnet.models import postprocess
from tdcnet.models.clip_detector import ClipDetector
from tdcnet.optim import (
    MakeOptimizer,
    check_same,
    check_state,
    name_of,
    options_of,
    parameter_groups,
    set_options,
    warmup_cosine,
)
from tdcnet.steps import StepGuard

log = logging.getLogger(__name__)

Batch = dict[str, Any]

USUAL_BUDGET = 0.1
"""False alarms per frame at the score that a checkpoint recommends for use."""
ADVICE = (
    ". No weights were changed by this step. Try a lower module.lr, trainer.gradient_clip_val=1, or "
    "trainer.precision=32-true, and resume with ckpt_path"
)


class NonFiniteLoss(NonFinite):
    """The loss or its gradient is NaN or infinite; the weights are those before this step."""


class DetectionModule(pl.LightningModule):
    """Trains and evaluates a detector.

    Args:
        model: ``model(aligned, frames) -> raw output``.
        loss: makes the loss from the number of classes.
        optimizer: makes the optimiser from parameter groups and ``lr``.
        metrics: collects detections and gives figures.
        lr: learning rate, for ``reference_batch`` samples if that is given.
        reference_batch: scales ``lr`` with the clips of one step; None leaves it.
        weight_decay: on kernels and matrices.
        warmup: share of the training with a rising learning rate.
        final_lr: the learning rate's factor at the end.
        max_minutes: ends the training after this time; the learning rate follows the clock where that is ahead of the
            steps, so that a slow machine gets a shorter but whole schedule. None for no limit.
        score_threshold: least score of a detection that is kept in evaluation.
        nms_iou: overlap above which the weaker of two detections goes.
        max_detections: per image.
        freeze: names of parts of ``model`` that are not trained and stay in eval mode.

    Attributes:
        checkpoint_info: plain data written into checkpoints under ``"tdcnet"``, from which the run can be rebuilt.
        collect: whether validations also keep every detection with its box, for a report.
        collected: what the last one kept.
        guard: what the step under way would spoil.
        minutes: that the training has taken, with those of the run that it goes on from.
        results: figures of the last validation by name.
        curve: recall and precision [101] of the last validation.

    Raises:
        ValueError: if a number is none, or out of its range.
    """

    def __init__(
        self,
        model: ClipDetector,
        loss: Callable[[int], nn.Module] = DetectionLoss,
        optimizer: MakeOptimizer = torch.optim.AdamW,
        metrics: DetectionMetrics | None = None,
        lr: float = 1e-3,
        reference_batch: int | None = None,
        weight_decay: float = 0.05,
        warmup: float = 0.03,
        final_lr: float = 0.01,
        max_minutes: float | None = None,
        score_threshold: float = 0.001,
        nms_iou: float = 0.5,
        max_detections: int = 100,
        freeze: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        number("module.lr", lr, 0, above=True)
        number("module.weight_decay", weight_decay, 0)
        number("module.warmup", warmup, 0, 1, below=True)
        number("module.final_lr", final_lr, 0, 1)
        number("module.score_threshold", score_threshold, 0, 1)
        number("module.nms_iou", nms_iou, 0, 1)
        number("module.max_detections", max_detections, 1)
        for name, value in (("reference_batch", reference_batch), ("max_minutes", max_minutes)):
            if value is not None:
                number(f"module.{name}", value, 0, above=True)
        self.model: ClipDetector = model
        self.loss = loss(model.num_classes)
        self.metrics = metrics or DetectionMetrics()
        self.collect = False
        self.collected: FrameCollector | None = None
        self.make_optimizer, self.lr, self.reference_batch = optimizer, lr, reference_batch
        self.weight_decay, self.warmup, self.final_lr = weight_decay, warmup, final_lr
        self.max_minutes = max_minutes
        self.score_threshold, self.nms_iou, self.max_detections = score_threshold, nms_iou, max_detections
        self.freeze_parts: tuple[str, ...] = ()
        self.checkpoint_info: dict[str, Any] = {}
        self.results: dict[str, float] = {}
        self.curve: Any = None
        self.guard = StepGuard()
        self.minutes = 0.0
        self._started = time.monotonic()
        self._spoiled = ""  # what is wrong with the step under way
        self._last_step, self._total_steps = 0, 1
        self._validation_due = False  # the run that is resumed was stopped in the midst of it
        self._options: list[dict[str, Any]] = []
        self.freeze_part(*freeze)

    def freeze_part(self, *names: str) -> None:
        """Takes parts of the network out of training; they stay in eval mode."""
        self.freeze_parts += names
        for name in names:
            self.model.get_submodule(name).requires_grad_(False).eval()

    # -- from batches to losses and detections ----------------------------------------------------------------------

    def inputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Aligned and raw clips [B, C, T, H, W], float in [0, 1], from a batch's [B, T, H, W]; grey repeats to C."""
        channels = self.model.in_channels
        aligned = as_float(batch["aligned"])
        frames = aligned if batch["aligned"] is batch["frames"] else as_float(batch["frames"])
        return tuple(x[:, None].expand(-1, channels, -1, -1, -1) for x in (aligned, frames))  # type: ignore[return-value]

    def forward(self, aligned: Tensor, frames: Tensor) -> Tensor:
        """Raw output of the network."""
        raw: Tensor = self.model(aligned, frames)
        return raw

    def detect(self, batch: Batch) -> list[dict[str, Tensor]]:
        """Detections of each image of a batch, in px of the original image."""
        aligned, frames = self.inputs(batch)
        if len(frames) == 0:
            return []
        raw = self(aligned, frames)
        limits = self.score_threshold, self.nms_iou, self.max_detections
        found = postprocess(raw, *limits, stride=stride_of(frames, raw))
        size = (frames.shape[-2], frames.shape[-1])
        for detections, original in zip(found, batch["original_size"].tolist(), strict=True):
            detections["boxes"] = undo_letterbox(detections["boxes"], tuple(original), size)
        return found

    # -- Lightning's steps ------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> DetectionModule:
        """Training mode, except for frozen parts."""
        super().train(mode)
        for name in self.freeze_parts:
            self.model.get_submodule(name).eval()
        return self

    def setup(self, stage: str) -> None:
        """Notes what the data set found out, so that the network is used in the same way.

        The range of 16-bit frames; scale and rate of the frames, where the network comes without.
        """
        data = getattr(self.trainer, "datamodule", None)
        found = getattr(data, "intensity_range", None)
        if found is not None:
            self.checkpoint_info["intensity_range"] = [float(value) for value in found]
        for key in ("scale", "rate"):
            if self.checkpoint_info.get(key) is None and getattr(data, key, None) is not None:
                self.checkpoint_info[key] = float(getattr(data, key))

    def on_fit_start(self) -> None:
        """Starts the clock of ``max_minutes``, or lets it go on."""
        self._started = time.monotonic() - 60 * self.minutes
        if self._elapsed >= 1 and not self._validation_due:
            self.trainer.should_stop = True  # a resumed run without time left

    def on_train_start(self) -> None:
        """Takes what is configured now where a resumed run had something else."""
        self._last_step = self.trainer.global_step
        schedule: Any = self.trainer.lr_scheduler_configs[0].scheduler
        changed = set_options(self.trainer.optimizers[0], schedule, self._options)
        if changed and self.trainer.is_global_zero:
            log.warning("other than in the resumed run: %s", ", ".join(changed))
        self._validate_last_epoch()  # one that is resumed in its midst has no start

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Keeps what a step would spoil."""
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self.guard.begin(batch_idx, self.model)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch.

        Raises:
            NonFiniteLoss: before the weights are touched.
        """
        aligned, frames = self.inputs(batch)
        targets = [{"boxes": b, "labels": c} for b, c in zip(batch["boxes"], batch["labels"], strict=True)]
        raw = self(aligned, frames)
        losses = self.loss(raw, targets, stride_of(frames, raw), self._progress(self.global_step))
        loss: Tensor = losses["loss"]
        if not torch.isfinite(loss):
            where = ", ".join(f"{s}#{f}" for s, f in zip(batch["sequence"], batch["frame"].tolist(), strict=True))
            self._spoiled = f"the loss is {loss.item()} at step {self.global_step} on {where}"
            if self.trainer.world_size == 1:
                raise NonFiniteLoss(self._spoiled + ADVICE)
            loss = loss * math.nan  # comes to all processes with the gradient, and all stop at once
        scalars = {f"train/{name}": value.detach() for name, value in losses.items() if name != "matched"}
        self.log_dict(scalars, batch_size=len(frames))
        self.log("loss", scalars["train/loss"], prog_bar=True, logger=False, batch_size=len(frames))
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Lets no step be taken with a gradient that is not finite, clipped or not.

        Raises:
            NonFiniteLoss: before the weights are touched.
        """
        # A scaler of 16-mixed finds its scale by steps that it leaves out itself.
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        gradients = {f"{n}.grad": p.grad for n, p in self.model.named_parameters() if p.grad is not None}
        if (scaled and not self._spoiled) or (not self._spoiled and all_finite(list(gradients.values()))):
            self.guard.stepping = True
            return
        if self.trainer.world_size > 1 and not scaled:
            told: list[str] = [""] * self.trainer.world_size
            torch.distributed.all_gather_object(told, self._spoiled)
            self._spoiled = next(filter(None, told), "")
        bad = first_nonfinite(gradients) or "its square"
        spoiled = self._spoiled or f"the gradient is not finite at step {self.global_step} ({bad})"
        raise NonFiniteLoss(spoiled + ADVICE)

    def on_train_epoch_start(self) -> None:
        """Sees to it that the last epoch is validated, whatever ``check_val_every_n_epoch`` is."""
        self._validate_last_epoch()

    def _validate_last_epoch(self) -> None:
        if self.trainer.max_epochs is not None and self.current_epoch == self.trainer.max_epochs - 1:
            self._validate_now()

    def _validate_now(self) -> None:
        if self.trainer.check_val_every_n_epoch is not None:
            self.trainer.check_val_every_n_epoch = 1

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Ends the training when its time is up; the first process's clock counts for all."""
        self.minutes = self.trainer.strategy.broadcast(self._clock())
        if self._elapsed >= 1 or 0 <= self.trainer.max_steps <= self.trainer.global_step:
            self.trainer.should_stop = True
            self._validate_now()
        if self.trainer.global_step > self._last_step:
            self._last_step = self.trainer.global_step
            self.guard.end()

    def _clock(self) -> float:
        return (time.monotonic() - self._started) / 60

    def _progress(self, step: int) -> float:
        """Share of the training that is over, by steps or by the clock."""
        return max(step / self._total_steps, self._elapsed)

    @property
    def _elapsed(self) -> float:
        """Share of ``max_minutes``."""
        return 0.0 if self.max_minutes is None else self.minutes / self.max_minutes

    def on_validation_epoch_start(self) -> None:
        """Forgets the detections of the validation before."""
        self.collected = FrameCollector() if self.collect else None

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """``{"detections": ...}`` of a batch; they are counted, and callbacks may draw them."""
        found = self.detect(batch)
        targets = [
            {"boxes": boxes, "labels": labels, "size": size}
            for boxes, labels, size in zip(
                batch["original_boxes"], batch["labels"], batch["original_size"], strict=True
            )
        ]
        if found:
            self.metrics.update(found, targets, batch["image_id"])
            if self.collected is not None:
                self.collected.update(found, targets, batch["image_id"])
        return {"detections": found}

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, Tensor]]:
        """Detections of a batch."""
        return self.detect(batch)

    def on_validation_epoch_end(self) -> None:
        """Figures over all frames of all processes, logged as ``val/NAME``."""
        self.results = self.metrics.compute()
        self.curve = self.metrics.curve()
        self.metrics.reset()
        self._note_threshold()
        finite = {f"val/{k}": v for k, v in self.results.items() if math.isfinite(v)}
        self.log_dict({"val/AP50": 0.0} | finite, sync_dist=True)  # the same on all: metrics have gathered

    def _note_threshold(self) -> None:
        """The score for use is the one from which on false alarms are few; where nothing is found there is none."""
        score = self.results.get(f"threshold@{USUAL_BUDGET:g}", math.inf)
        if self.results.get(f"Pd@{USUAL_BUDGET:g}", 0.0) > 0 and 0 <= score <= 1:
            self.checkpoint_info["threshold"] = float(score)

    # -- optimiser ------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Optimiser with decayed and free parameters, and the learning rate after every step."""
        lr = self.lr
        if self.reference_batch is not None:
            batch = self.trainer.datamodule.batch_size  # type: ignore[attr-defined]
            lr *= batch * self.trainer.accumulate_grad_batches / self.reference_batch
        optimizer = self.make_optimizer(parameter_groups(self.model, self.weight_decay), lr=lr)
        total = max(1, int(self.trainer.estimated_stepping_batches))

        self._total_steps = total

        def factor(step: int) -> float:
            return warmup_cosine(self._progress(step), self.warmup, self.final_lr)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        self._options = options_of(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what is needed to rebuild the run; plain data only, so that ``weights_only`` loads it."""
        checkpoint["tdcnet"] = self.checkpoint_info
        checkpoint["minutes"] = self._clock()
        checkpoint["optimizer"] = name_of(self.make_optimizer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes over the clock.

        Raises:
            ValueError: if the checkpoint is of another network or optimiser.
        """
        _check_fits({"state_dict": checkpoint["state_dict"]}, {"state_dict": self.state_dict()})
        if "ema" in checkpoint:
            floats = {n: v for n, v in self.model.state_dict().items() if v.is_floating_point()}
            _check_fits({"ema": checkpoint["ema"]["average"]}, {"ema": floats})
        groups = parameter_groups(self.model, self.weight_decay)
        check_same(checkpoint, self.make_optimizer, [len(group["params"]) for group in groups])
        check_state(checkpoint, self.make_optimizer, groups)
        self.minutes = float(checkpoint.get("minutes", 0.0))
        self._validation_due = bool(checkpoint.get("validation_due", False))


def _check_fits(given: dict[str, dict[str, Tensor]], expected: dict[str, dict[str, Tensor]]) -> None:
    for part, tensors in expected.items():
        shapes = {name: tuple(tensor.shape) for name, tensor in given[part].items()}
        for name, tensor in tensors.items():
            if shapes.get(name) != tuple(tensor.shape):
                found = "not in the checkpoint" if name not in shapes else f"{shapes[name]} in the checkpoint"
                raise ValueError(
                    f"the checkpoint is of another network: {part}.{name} is {tuple(tensor.shape)} here and {found}. "
                    "Resume with the model and dataset.classes that it was trained with"
                )
        if unknown := sorted(set(shapes) - set(tensors)):
            raise ValueError(
                f"the checkpoint is of another network: it holds {part}.{unknown[0]}, which is not in this one. Resume "
                "with the model and dataset.classes that it was trained with"
            )
