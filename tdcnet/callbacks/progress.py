"""Where a training is, as Lightning counts it, brought into a form from which it goes on exactly.

Lightning saves its counters as they are at that moment, some of them raised already and some not, and guesses from them
what to do again; between a last batch and the end of its epoch it guesses wrong. Here they are written as one of three:
between two epochs, between two batches, or before a validation that is due.
"""

from __future__ import annotations

from typing import Any

from tdcnet.deploy.weights import CheckpointError

Counts = dict[str, Any]

BATCHES, VALIDATION, EPOCHS = "epoch_loop.batch_progress", "epoch_loop.val_loop.batch_progress", "epoch_progress"
STEPS, SCHEDULE = "epoch_loop.automatic_optimization.optim_progress", "epoch_loop.scheduler_progress"


def settle(loop: Counts, done: int | None = None, validation_due: bool = False) -> None:
    """Rewrites the state of Lightning's loop of training, in place.

    Args:
        loop: ``checkpoint["loops"]["fit_loop"]``.
        done: batches of this epoch that are done; None for those that Lightning has counted to the end.
        validation_due: it has begun and is to be done again.
    """
    batches, epochs = loop[BATCHES], loop[EPOCHS]
    counted = batches["current"]["completed"]
    before = batches["total"]["completed"] - counted  # in earlier epochs
    under_way = batches["current"]["ready"] > counted  # and then it is this one that is the last, if it is
    last = batches["is_last_batch"] and not under_way and done in (None, counted)
    done = counted if done is None else done
    started, finished = epochs["current"]["started"], epochs["current"]["processed"]
    if started > finished and last and not validation_due:
        finished = started
    elif started <= finished and counted and not batches["is_last_batch"]:
        finished = started - 1  # Lightning takes an epoch for done that trainer.max_steps cut short
    between = started <= finished or (done == 0 and not validation_due)
    if between:
        _set(epochs, finished)
    else:
        _set(epochs, finished + 1, processed=finished, completed=finished)
    _set(batches, before + done)
    _set({"current": batches["current"]}, 0 if between else done)
    batches["is_last_batch"] = last and not between
    if validation_due:
        _set(loop[VALIDATION], 1, processed=0, completed=0)
        loop[VALIDATION]["is_last_batch"] = False
    else:
        _level(loop[VALIDATION])
    step, zero = loop[STEPS]["optimizer"]["step"], loop[STEPS]["optimizer"]["zero_grad"]
    _level(step)
    _level(loop[SCHEDULE])
    _set(zero, step["total"]["completed"])
    _set({"current": zero["current"]}, step["current"]["completed"])
    if between:
        for each in (step, zero, loop[SCHEDULE]):
            _set({"current": each["current"]}, 0)
        loop["epoch_loop.state_dict"]["_batches_that_stepped"] = step["total"]["completed"]


def place(loop: Any, where: object) -> tuple[int, int, bool]:
    """Epochs that are done, batches of the next that are, and whether a validation is due, in a settled state.

    Raises:
        CheckpointError: if it is no state of Lightning's loop of training.
    """
    try:
        for key in (BATCHES, VALIDATION, EPOCHS):
            _check(loop[key], ("ready", "started", "processed", "completed"))
        for progress in (loop[SCHEDULE], *(loop[STEPS]["optimizer"][key] for key in ("step", "zero_grad"))):
            _check(progress, ("ready", "completed"))
        if not all(isinstance(loop[key]["is_last_batch"], bool) for key in (BATCHES, VALIDATION)):
            raise TypeError("is_last_batch is no truth value")
        if not isinstance(loop["epoch_loop.state_dict"].get("_batches_that_stepped", 0), int):
            raise TypeError("_batches_that_stepped is no count")
        validation = loop[VALIDATION]["total"]
        due = validation["started"] > validation["processed"]
        return loop[EPOCHS]["current"]["processed"], loop[BATCHES]["current"]["completed"], due
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{where} holds no progress of a training that can be used ({error!r})") from error


def _check(progress: Any, keys: tuple[str, ...]) -> None:
    for part in ("total", "current"):
        counts = progress[part]
        if not all(isinstance(counts[key], int) and 0 <= counts[key] < 2**62 for key in keys):
            raise TypeError(f"{dict(counts)} are no counts")


def _set(progress: Counts, value: int, **others: int) -> None:
    for part in progress.values():
        if isinstance(part, dict):
            part.update({key: others.get(key, value) for key in part})


def _level(progress: Counts) -> None:
    """What was begun and not completed is not begun."""
    for part in (progress["total"], progress["current"]):
        _set({"part": part}, part["completed"])
