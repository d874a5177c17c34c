from __future__ import annotations

import copy

import pytest

from tdcnet.callbacks.progress import place, settle
from tdcnet.deploy.weights import CheckpointError


def counts(ready, started, processed, completed):
    return {"ready": ready, "started": started, "processed": processed, "completed": completed}


def both(*values, before=0):
    """Counts of an epoch, and of all; so many were in the epochs before."""
    return {"current": counts(*values), "total": counts(*(v + before for v in values))}


def few(ready, completed, before=0):
    return {
        "current": {"ready": ready, "completed": completed},
        "total": {"ready": ready + before, "completed": completed + before},
    }


def state(epochs, batches, last=False, steps=(0, 0), validation=(0, 0, 0, 0)):
    """As Lightning saves it in the second epoch of five batches."""
    zero = {"ready": steps[0], "started": steps[0], "completed": steps[1]}
    return {
        "epoch_progress": both(*epochs),
        "epoch_loop.batch_progress": both(*batches, before=5) | {"is_last_batch": last},
        "epoch_loop.val_loop.batch_progress": both(*validation) | {"is_last_batch": True},
        "epoch_loop.scheduler_progress": few(*steps, before=5),
        "epoch_loop.automatic_optimization.optim_progress": {
            "optimizer": {"step": few(*steps, before=5), "zero_grad": {"current": zero, "total": dict(zero)}}
        },
        "epoch_loop.state_dict": {"_batches_that_stepped": 5 + steps[1]},
    }


@pytest.mark.parametrize(
    ("found", "done", "due", "expected"),
    [
        # in the third batch, the second step is done
        (state((2, 2, 1, 1), (3, 3, 2, 2), steps=(3, 2)), None, False, (1, 2, False)),
        # the last batch has begun, and is known to be the last
        (state((2, 2, 1, 1), (5, 4, 4, 4), last=True, steps=(4, 4)), None, False, (1, 4, False)),
        # the epoch's validation is over, its end has not come
        (state((2, 2, 1, 1), (5, 5, 5, 5), True, (5, 5), (3, 3, 3, 3)), None, False, (2, 0, False)),
        # in the midst of that validation
        (state((2, 2, 1, 1), (5, 5, 5, 5), True, (5, 5), (2, 2, 1, 1)), None, True, (1, 5, True)),
        # two of four batches whose gradients are summed: the step begins again with the first
        (state((2, 2, 1, 1), (3, 3, 3, 3), steps=(0, 0)), 0, False, (1, 0, False)),
        (state((2, 2, 1, 1), (4, 4, 3, 3), steps=(1, 1)), 2, False, (1, 2, False)),
        # between two epochs
        (state((2, 2, 2, 2), (5, 5, 5, 5), True, (5, 5), (3, 3, 3, 3)), None, False, (2, 0, False)),
        # an epoch that trainer.max_steps has cut short, which Lightning takes for done
        (state((2, 2, 2, 2), (3, 3, 3, 3), steps=(3, 3)), None, False, (1, 3, False)),
        # the first batch of an epoch has begun
        (state((3, 3, 2, 2), (1, 0, 0, 0), steps=(0, 0)), None, False, (2, 0, False)),
    ],
)
def test_one_of_three_states(found, done, due, expected):
    settle(found, done, due)
    assert place(found, "here") == expected
    _, batches, _ = expected
    progress = found["epoch_loop.batch_progress"]
    assert set(progress["current"].values()) == {batches} and len(set(progress["total"].values())) == 1
    assert progress["is_last_batch"] is (due and batches == 5)
    again = copy.deepcopy(found)
    settle(again, None, due)
    assert again == found, "what is settled stays"


@pytest.mark.parametrize("key", ["epoch_progress", "epoch_loop.batch_progress", "epoch_loop.scheduler_progress"])
@pytest.mark.parametrize("value", [None, {}, {"current": {"ready": -1}, "total": {}}])
def test_what_is_no_progress(key, value):
    with pytest.raises(CheckpointError, match="no progress of a training"):
        place(state((1, 1, 1, 1), (5, 5, 5, 5)) | {key: value}, "x.ckpt")
    with pytest.raises(CheckpointError, match="no progress of a training"):
        place(value, "x.ckpt")
