"""Which checkpoints a training leaves, and when."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any, Literal, get_args

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from tdcnet.callbacks.checkpoint_io import NotSaved, check_folder, copy_checkpoint, read_training
from tdcnet.callbacks.options import EVALUATED, ORDER, changed, options_of
from tdcnet.callbacks.progress import BATCHES, settle
from tdcnet.deploy.weights import PREFIX, CheckpointError
from tdcnet.detection import DetectionModule
from tdcnet.finite import number

log = logging.getLogger(__name__)

OnFullDisk = Literal["error", "continue"]


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` after each validation and every so many minutes, and ``best.ckpt`` of the best validation.

    A training that goes on from one of them is, to the bit, the one that was broken off.
    (Lightning's ModelCheckpoint writes ``last.ckpt`` only when it has just written a best one.)

    Args:
        dirpath: folder of the files.
        metric: the figure of a validation by which the best is chosen, the higher the better. Where it cannot be told
            (AP50 without a target), the last is the best.
        checkpoint_minutes: time from one ``last.ckpt`` to the next, however long a validation takes to come; None
            leaves it at validations.
        on_full_disk: ``"error"`` ends the training when a file cannot be written, ``"continue"`` says so and goes on.

    Attributes:
        best_model_path: of ``best.ckpt``, empty as long as there is none.
        best_score: its figure; None if it could not be told.
        best_is_last: whether it is of the last validation of this process.
    """

    def __init__(
        self,
        dirpath: str,
        metric: str = "AP50",
        checkpoint_minutes: float | None = 10,
        on_full_disk: OnFullDisk = "error",
    ) -> None:
        if checkpoint_minutes is not None:
            number("checkpoint_minutes", checkpoint_minutes, 0, above=True)
        if on_full_disk not in get_args(OnFullDisk):
            raise ValueError(f"on_full_disk is {on_full_disk!r}; allowed are {', '.join(get_args(OnFullDisk))}")
        self.dirpath, self.metric = Path(dirpath), metric
        self.checkpoint_minutes, self.on_full_disk = checkpoint_minutes, on_full_disk
        self.best_model_path = ""
        self.best_score: float | None = None
        self.best_is_last = False
        self._saved_at = (-1, 0.0)  # step, minutes
        self._failing: set[Path] = set()  # this was said
        self._told = self._validated = self._resumed = False
        self._had_best = True

    @property
    def best(self) -> Path:
        """Where the best is written."""
        return self.dirpath / "best.ckpt"

    @property
    def last(self) -> Path:
        """Where the last is written."""
        return self.dirpath / "last.ckpt"

    def check(self) -> None:
        """Tries to write to the folder.

        Raises:
            NotSaved: if that is not possible.
        """
        check_folder(self.dirpath)

    # -- when ---------------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes over the best one of the run that is resumed."""
        self._saved_at = (trainer.global_step, _module(pl_module).minutes)
        if self._resumed and trainer.ckpt_path is not None:
            if trainer.is_global_zero:
                self._take_over(Path(trainer.ckpt_path).with_name(self.best.name), options_of(trainer))
            self.best_model_path, self.best_score = trainer.strategy.broadcast((self.best_model_path, self.best_score))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Writes the last one if it is time."""
        # Here, not at a batch's end: average, schedule, clock and a validation that was due are done with by now.
        if self.checkpoint_minutes is None or not self._wanted(trainer):
            return
        step, minutes = self._saved_at
        if _module(pl_module).minutes - minutes >= self.checkpoint_minutes and trainer.global_step > step:
            self._save(trainer, self.last)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the last one, and the best one before it if it is that."""
        if not self._wanted(trainer) or trainer.sanity_checking:
            return
        score = _module(pl_module).results.get(self.metric, math.nan)
        before = self.best_model_path, self.best_score
        if math.isnan(score):
            if not self._told and trainer.is_global_zero:
                log.warning(
                    "%s cannot be told: the validation split has no targets. best.ckpt is the last one", self.metric
                )
            self._told = True
        self._validated, self.best_is_last = True, False
        if self.best_score is None or score > self.best_score:
            self.best_model_path, self.best_score = str(self.best), None if math.isnan(score) else score
            # The best comes first: a last one that speaks of a best one that is not there would lose it.
            if self._save(trainer, self.best):
                self.best_is_last = True
                self._save(trainer, self.last, same=self.best)
            else:
                self.best_model_path, self.best_score = before
                self._save(trainer, self.last)
        else:
            self._save(trainer, self.last)
        self._validated = False

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the last one, unless it has been."""
        if self._wanted(trainer) and trainer.global_step > self._saved_at[0]:
            self._save(trainer, self.last)

    # -- what ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The best one's figure."""
        return {"best_score": self.best_score, "has_best": bool(self.best_model_path)}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Makes it the state between two steps: of a step under way only its batches are lost."""
        guard = _module(pl_module).guard
        if guard.done is not None:
            kept = {f"{PREFIX}{name}": value for name, value in guard.buffers.items()}
            state = checkpoint["state_dict"]
            state.update({name: value for name, value in kept.items() if name in state})
        checkpoint["options"] = options_of(trainer)
        checkpoint["validation_due"] = due = trainer.validating and not self._validated
        settle(checkpoint["loops"]["fit_loop"], guard.done, due)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Notes that there is a run to take over from, and says what is other than in that."""
        self._resumed = True
        self._had_best = checkpoint["callbacks"].get(self.state_key, {}).get("has_best", True)
        if "minutes" not in checkpoint:  # of an older version, as Lightning left it
            settle(checkpoint["loops"]["fit_loop"])
        told = changed(_options(checkpoint), options_of(trainer))
        if not told or not trainer.is_global_zero:
            return
        batches = checkpoint["loops"]["fit_loop"][BATCHES]["current"]["completed"]
        again = (
            f". {batches} batches of the epoch under way count as done, so some of its clips come twice or not at all"
            if batches and any(key in told for key in ORDER)
            else ""
        )
        log.warning("other than in the resumed run: %s%s", ", ".join(told.values()), again)

    def _wanted(self, trainer: pl.Trainer) -> bool:
        return trainer.state.fn == "fit" and not getattr(trainer, "fast_dev_run", False)

    def _save(self, trainer: pl.Trainer, path: Path, same: Path | None = None) -> bool:
        """Writes a checkpoint, or copies the ``same`` one; whether it was written."""
        self._saved_at = (trainer.global_step, _module(trainer.lightning_module).minutes)
        saved = True
        try:
            if same is None:
                trainer.save_checkpoint(path, weights_only=False)
            elif trainer.is_global_zero:
                copy_checkpoint(same, path)
        except NotSaved as error:
            if self.on_full_disk == "error" or not isinstance(error.__cause__, OSError):
                raise
            if path not in self._failing:
                log.warning("%s. Training goes on without it (on_full_disk=continue)", error)
            self._failing.add(path)
            if same is None:
                trainer.strategy.barrier("Trainer.save_checkpoint")  # where the others wait
            saved = False
        else:
            self._failing.discard(path)
        return bool(trainer.strategy.broadcast(saved))

    def _take_over(self, found: Path, now: dict[str, Any]) -> None:
        """Copies the best one of the resumed run, whose own record is believed: it may be newer than the last one."""
        self.best_model_path, self.best_score = "", None
        if not found.is_file() and not self._had_best:
            return None  # the run was broken off before its first validation
        if not found.is_file():
            return log.warning("no best.ckpt lies beside the resumed checkpoint; the best is chosen anew from here on")
        try:
            content = read_training(found)
            if _options(content).get(EVALUATED, now.get(EVALUATED)) != now.get(EVALUATED):
                return log.warning(
                    "%s was the best on other validation frames; the best is chosen anew from here on", found
                )
            score = _score(content)
            if found.resolve() != self.best.resolve():
                copy_checkpoint(found, self.best)
            self.best_model_path, self.best_score = str(self.best), score
        except CheckpointError as error:
            log.warning("%s; the best is chosen anew from here on", error)
        except NotSaved as error:
            if self.on_full_disk == "error":
                raise
            log.warning("%s; the best is chosen anew from here on", error)


def _module(module: pl.LightningModule) -> DetectionModule:
    assert isinstance(module, DetectionModule)
    return module


def _options(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What the run was done with; empty for a checkpoint of an older version, or a damaged one."""
    found = checkpoint.get("options")
    return found if isinstance(found, dict) else {}


def _score(checkpoint: dict[str, Any]) -> float | None:
    states = checkpoint["callbacks"]
    if Checkpoints.__qualname__ in states:
        score = states[Checkpoints.__qualname__].get("best_score")
    else:  # of an older version
        score = next((s.get("best_model_score") for name, s in states.items() if name.startswith("ModelCheck")), None)
    return None if score is None or not math.isfinite(float(score)) else float(score)
