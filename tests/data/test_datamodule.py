"""Sampling, and the Lightning data module on a data set that its reader makes up."""

from __future__ import annotations

import functools
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch

import tdcnet.data.datamodule
from tdcnet.data.augment import Augment
from tdcnet.data.clips import BadFrame
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.data.degradations import Dropped, Noise, Repeated, Shake
from tdcnet.data.degrade import Sometimes
from tdcnet.data.errors import DataError, Problems
from tdcnet.data.frames import ImageFiles
from tdcnet.data.sampling import EpochSampler
from tdcnet.data.sequence import Sequence

# -- sampling ----------------------------------------------------------------------------------------------------------


def items(sampler: EpochSampler) -> list[int]:
    return [draw.item for draw in sampler]


def test_a_fifth_of_the_data_without_repeats_and_another_fifth_next_time() -> None:
    sampler = EpochSampler([60, 0, 40], 0.2)
    first = items(sampler)
    assert len(sampler) == len(first) == len(set(first)) == 20 and set(first) <= set(range(100))
    assert items(sampler) == first
    sampler.set_epoch(1)
    assert set(items(sampler)) != set(first)
    assert items(EpochSampler([60, 0, 40], 0.2, seed=1)) != first


def test_all_items_and_more_than_all() -> None:
    assert sorted(items(EpochSampler([3, 4]))) == list(range(7))
    assert sorted(items(EpochSampler([3, 4], 1.0))) == list(range(7))
    twice = sorted(items(EpochSampler([3, 4], 17)))
    assert len(twice) == 17 and all(2 <= twice.count(item) <= 3 for item in range(7))


def test_balance_gives_each_sequence_the_same() -> None:
    sampler = EpochSampler([2, 0, 300, 18], 30, balance="sequence")
    total = np.zeros(3)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        drawn = np.array(items(sampler))
        counts = np.histogram(drawn, [0, 2, 302, 320])[0]
        assert counts.tolist() == [10, 10, 10]
        assert len(set(drawn[(drawn >= 2) & (drawn < 302)])) == 10
        total += counts
    # What does not divide goes to other sequences each time: 31 draws over 3 sequences.
    odd = EpochSampler([5, 5, 5], 31, balance="sequence")
    favoured = set()
    for epoch in range(20):
        odd.set_epoch(epoch)
        counts = np.bincount(np.array(items(odd)) // 5)
        assert sorted(counts) == [10, 10, 11]
        favoured.add(int(counts.argmax()))
    assert favoured == {0, 1, 2}


@pytest.mark.parametrize("samples", [0, 0.0, 1.5, -3, True])
def test_sampler_names_what_is_allowed(samples: float) -> None:
    with pytest.raises(ValueError, match=r"fraction as 0\.2"):
        EpochSampler([5], samples)


def test_sampler_of_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        EpochSampler([0, 0])
    with pytest.raises(ValueError, match="none, sequence"):
        EpochSampler([3], balance="class")  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [20, 23, 27])
def test_two_processes_take_the_steps_of_one(length: int) -> None:
    """The same draws with the same seeds in each step, and as many steps."""
    for epoch in (0, 1):
        dealt = []
        for processes, rank in ((1, 0), (2, 0), (2, 1)):
            sampler = EpochSampler([60, 40], length, batch=4, processes=processes, rank=rank)
            sampler.set_epoch(epoch)
            drawn, size = list(sampler), 4 // processes
            assert len(drawn) == len(sampler)
            dealt.append([set(drawn[i : i + size]) for i in range(0, len(drawn), size)])
        assert len(dealt[0]) == length // 4
        assert [a | b for a, b in zip(dealt[1], dealt[2], strict=True)] == dealt[0]


def test_a_single_small_step_is_filled_for_both_processes() -> None:
    dealt = [items(EpochSampler([3], batch=8, processes=2, rank=rank)) for rank in (0, 1)]
    assert [len(each) for each in dealt] == [2, 2] and set(dealt[0] + dealt[1]) == {0, 1, 2}


def test_the_rest_of_an_epoch_is_the_rest_of_it() -> None:
    whole = list(EpochSampler([60, 40], 24, batch=4, seed=3))
    for processes in (1, 2):
        rest = []
        for rank in range(processes):
            sampler = EpochSampler([60, 40], 24, batch=4, seed=3, processes=processes, rank=rank)
            sampler.done = 2
            assert len(sampler) == 24 // processes, "an epoch stays as long as it is"
            rest += list(sampler)
        assert set(rest) == set(whole[8:]) and len(rest) == 16


# -- the data module ---------------------------------------------------------------------------------------------------


class Frames:
    """Frame t of a camera that pans over a random scene, 3 px per frame."""

    def __init__(self, count: int, size: tuple[int, int] = (64, 96)) -> None:
        scene = np.random.default_rng(count).integers(0, 256, (size[0], size[1] + 3 * count)).astype(np.uint8)
        self.images = [np.ascontiguousarray(scene[:, 3 * t : 3 * t + size[1]]) for t in range(count)]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> np.ndarray:
        return self.images[index]

    def where(self, index: int) -> str:
        return f"memory#{index}"


def read(
    root: Path, split: str, *, problems: Problems | None = None, cache_dir: Path | None = None, bad: int = 0
) -> list[Sequence]:
    """``train``: 30 and 12 frames, ``val``: 25 and 8; nothing in any other split."""
    for number in range(bad):
        assert problems is not None
        problems.report(f"{root}/{split}.txt:{number}", "line has no box", "Mend it")
    counts = {"train": (30, 12), "val": (25, 8)}.get(split, ())
    return [
        Sequence(
            f"{split}{count}",
            Frames(count),
            [np.array([[10, 20, 14, 24]], np.float32)] * count,
            [np.zeros(1, np.int64)] * count,
            np.arange(count),
            np.zeros(count, np.int64),
        )
        for count in counts
    ]


def module(**options: Any) -> ClipDataModule:
    options = {"read": read, "root": "somewhere", "size": (96, 96), "align": "none"} | options
    return ClipDataModule(**options)


def test_training_and_evaluation_batches() -> None:
    data = module(
        train_size=(32, 32),
        augment=Augment((32, 32)),
        batch_size=4,
        eval_batch_size=3,
        samples_per_epoch=10,
        val_step=10,
        val_offset=5,
    )
    data.prepare_data()
    data.setup("fit")
    train = list(data.train_dataloader())
    assert [batch["frames"].shape for batch in train] == [(4, 5, 32, 32)] * 2  # the last two clips are dropped
    for loader in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        (batch,) = loader
        assert batch["sequence"] == ["val25", "val25", "val8"] and batch["frame"].tolist() == [5, 15, 5]
        assert batch["frames"].shape == (3, 5, 96, 96) and batch["image_id"].tolist() == [0, 1, 2]
    assert data.val_dataloader().sampler is not data.train_dataloader().sampler


def test_what_is_evaluated_is_made_harder_and_training_is_not(tmp_path: Path) -> None:
    plain = module(align="ahead", homography_dir=tmp_path)
    hard = module(align="ahead", homography_dir=tmp_path, degrade={"noise": Noise(20), "shake": Shake(3)})
    for data in (plain, hard):
        data.prepare_data()
        data.setup("fit")
    assert plain.train_dataset is not None and hard.train_dataset is not None
    assert torch.equal(hard.train_dataset[3]["frames"], plain.train_dataset[3]["frames"])  # type: ignore[index]
    one, other = hard.evaluated()[7], plain.evaluated()[7]
    assert not isinstance(one, BadFrame) and not isinstance(other, BadFrame)
    assert not torch.equal(one["frames"], other["frames"])
    assert not torch.equal(one["original_boxes"], other["original_boxes"]), "boxes shake with the frames"
    folders = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert len(folders) == 1 and folders[0].startswith("degraded_"), "homographies of their own"
    assert {path.name for path in (tmp_path / folders[0]).iterdir()} == {"val25_T5_s1.npz", "val8_T5_s1.npz"}
    again = module(degrade={"noise": Noise(20), "shake": Shake(3)}, degrade_seed=1).evaluated()[7]
    assert not isinstance(again, BadFrame) and not torch.equal(again["frames"], one["frames"])


def test_the_same_data_is_made_harder_without_reading_it_again(tmp_path: Path) -> None:
    plain = module(align="ahead", homography_dir=tmp_path)
    plain.prepare_data()
    before = plain.evaluated()[7]
    reads = []
    plain.read = lambda *_, **__: reads.append(1)  # type: ignore[assignment,return-value]
    hard = plain.harder({"noise": Noise(20)}, seed=3)
    hard.prepare_data()
    direct = module(degrade={"noise": Noise(20)}, degrade_seed=3).evaluated()[7]
    after = hard.evaluated()[7]
    assert not reads and not isinstance(after, BadFrame) and not isinstance(direct, BadFrame)
    assert torch.equal(after["frames"], direct["frames"])
    assert not isinstance(before, BadFrame) and torch.equal(plain.evaluated()[7]["frames"], before["frames"])  # type: ignore[index]


def test_training_clips_are_made_harder_only_if_they_are_drawn() -> None:
    with pytest.raises(ValueError, match="give augment as well"):
        module(degrade_train={"noise": Sometimes(Noise, sigma=[0, 1])})
    with pytest.raises(ValueError, match="repeated and dropped at once"):
        module(degrade={"a": Repeated(0.1), "b": Dropped(0.1)})
    both = {"a": Sometimes(Repeated, 0.01, share=[0, 1]), "b": Sometimes(Dropped, 0.01, share=[0, 1])}
    with pytest.raises(ValueError, match="repeated and dropped at once"):
        module(augment=Augment((32, 32)), degrade_train=both)


def test_small_training_set_is_not_dropped_as_a_whole() -> None:
    data = module(batch_size=64)
    data.setup("fit")
    assert [len(batch["boxes"]) for batch in data.train_dataloader()] == [42]


def test_batches_depend_on_seed_epoch_and_place_only() -> None:
    """Not on workers, whether these stay from epoch to epoch, nor on what was loaded before."""

    def epochs(seed: int, workers: int, done: int = 0, **options: Any) -> list[list[torch.Tensor]]:
        data = module(augment=Augment((32, 32)), num_workers=workers, samples_per_epoch=12, seed=seed, **options)
        data.setup("fit")
        loader, found = data.train_dataloader(), []
        for epoch in (0, 1):
            loader.sampler.set_epoch(epoch)
            loader.sampler.done = done
            found.append([batch["frames"].clone() for batch in loader])
        return found

    def same(a: list[list[torch.Tensor]], b: list[list[torch.Tensor]]) -> bool:
        return all(torch.equal(x, y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True))

    one = epochs(3, 0)
    assert [len(epoch) for epoch in one] == [3, 3] and not same(one[:1], one[1:])
    assert not same(one, epochs(4, 0))
    assert same(one, epochs(3, 2)) and same(one, epochs(3, 2, persistent_workers=False))
    for workers in (0, 2):
        assert same([epoch[2:] for epoch in one], epochs(3, workers, done=2))


def test_workers_start_after_opencv_ran_its_threads() -> None:
    """A forked worker must not touch OpenCV's thread pool, which exists only in its parent (it would hang)."""
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(2)
        cv2.GaussianBlur(np.zeros((2000, 2000), np.uint8), (9, 9), 2)
        data = module(num_workers=1, val_step=10)
        data.setup("validate")
        loader = data.val_dataloader()
        loader.timeout = 30
        assert sum(len(batch["boxes"]) for batch in loader) == 4
    finally:
        cv2.setNumThreads(threads)


def test_evaluation_reads_no_training_data() -> None:
    splits = []

    def counted(root: Path, split: str, **options: Any) -> list[Sequence]:
        splits.append(split)
        return read(root, split, **options)

    data = module(read=counted)
    data.setup("validate")
    assert splits == ["val"] and data.train_dataset is None
    with pytest.raises(RuntimeError, match="setup"):
        data.train_dataloader()
    data.setup("fit")
    assert splits == ["val", "train"]


def test_nothing_found_is_said() -> None:
    with pytest.raises(DataError, match=r"somewhere: split 'none' has no frames"):
        module(train_split="none").setup("fit")
    with pytest.raises(DataError, match="val_offset"):
        module(val_offset=40).setup("validate")


def test_bad_labels_are_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DataError, match=r"val\.txt:0"):
        module(read=functools.partial(read, bad=5)).setup("validate")
    with caplog.at_level(logging.WARNING, "tdcnet.data.datamodule"):
        module(read=functools.partial(read, bad=5), on_bad_frame="skip").setup("validate")
    (message,) = (record.getMessage() for record in caplog.records if record.name == "tdcnet.data.datamodule")
    assert "left out 5 bad entries" in message and "val.txt:2" in message and "val.txt:3" not in message


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="ahead, on_the_fly, none"):
        module(align="later")
    with pytest.raises(ValueError, match="homography_dir"):
        module(align="ahead")
    with pytest.raises(ValueError, match="'error' and 'skip'"):
        module(on_bad_frame="ignore")


def test_frames_are_registered_on_the_fly_or_not_at_all() -> None:
    data = module(align="on_the_fly", align_model="translation", val_step=10, val_offset=5)
    data.setup("validate")
    aligned, frames = (next(iter(data.val_dataloader()))[key].float() for key in ("aligned", "frames"))
    # 12 px of panning: the first frame's left 84 columns are in view; the letterbox is the image, 16 px down.
    assert (aligned[:, 0] - aligned[:, 4])[:, 17:79, :83].abs().mean() < 4
    assert (frames[:, 0] - frames[:, 4])[:, 17:79, :83].abs().mean() > 50
    raw = module(align="none", val_step=10, val_offset=5)
    raw.setup("validate")
    batch = next(iter(raw.val_dataloader()))
    assert batch["aligned"] is batch["frames"]


def test_none_ignores_registered_frames_of_the_data_set(tmp_path: Path) -> None:
    def stored(root: Path, split: str, **options: Any) -> list[Sequence]:
        missing = tuple(tmp_path / f"{k}.png" for k in range(5))
        return [replace(s, aligned_files=[missing] * len(s)) for s in read(root, split, **options)]

    data = module(read=stored)
    data.setup("validate")
    assert data.val_dataset is not None and data.val_dataset[3]["frames"].shape == (5, 96, 96)
    data = module(read=stored, align="on_the_fly")
    data.setup("validate")
    assert data.val_dataset is not None
    with pytest.raises(DataError, match=r"0\.png"):
        data.val_dataset[3]


def test_ahead_registers_what_is_needed_and_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tdcnet.data.datamodule.align_sequences
    asked: dict[str, list[int]] = {}

    def counted(sequences: list[Sequence], store: Any, aligner: Any) -> Any:
        asked.update({s.name: s.indices.tolist() for s in sequences})
        return real(sequences, store, aligner, processes=1, progress=False)

    def stored(root: Path, split: str, **options: Any) -> list[Sequence]:
        sequences = read(root, split, **options)
        # The first training sequence came with registered frames, but for its frames 6 and 7.
        files = [None if t in (6, 7) else (Path("x"),) * 5 for t in range(30)]
        return [replace(s, aligned_files=files) if s.name == "train30" else s for s in sequences]

    monkeypatch.setattr(tdcnet.data.datamodule, "align_sequences", counted)
    options = {
        "align": "ahead",
        "align_model": "translation",
        "homography_dir": tmp_path,
        "val_step": 10,
        "val_offset": 5,
    }
    data = module(read=stored, **options)
    data.prepare_data()
    assert asked == {"train30": [6, 7], "train12": list(range(12)), "val25": [5, 15], "val8": [5]}

    data.setup("fit")
    monkeypatch.setattr(data.val_dataset, "aligner", None)  # so that only the stored ones can be used
    batch = next(iter(data.val_dataloader()))
    aligned = batch["aligned"].float()
    assert (aligned[:, 0] - aligned[:, 4])[:, 17:79, :83].abs().mean() < 4


class Recorder(pl.LightningModule):
    """A model of one number that remembers which clips it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []

    def on_train_epoch_start(self) -> None:
        self.seen.append([])

    def training_step(self, batch: dict[str, Any], _: int) -> torch.Tensor:
        self.seen[-1] += batch["image_id"].tolist()
        return self.weight * batch["frames"].float().mean()

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        """Lightning wants one where there is validation data."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


# Advice about speed, and Lightning's own use of what torch is about to drop; neither is ours.
@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec:FutureWarning")
def test_lightning_draws_anew_each_epoch() -> None:
    model = Recorder()
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", limit_val_batches=0, **quiet)
    trainer.fit(model, datamodule=module(augment=Augment((32, 32)), samples_per_epoch=12))
    assert [len(epoch) for epoch in model.seen] == [12, 12] and set(model.seen[0]) != set(model.seen[1])


# -- decoding ----------------------------------------------------------------------------------------------------------


def test_decode_ahead_gives_the_same_batches_from_files_made_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(6):
        assert cv2.imwrite(str(tmp_path / f"{i}.png"), np.random.default_rng(i).integers(0, 256, (40, 64), np.uint8))

    def images(root: Path, split: str, **_: Any) -> list[Sequence]:
        return [
            Sequence(
                str(n),
                ImageFiles([tmp_path / f"{i}.png" for i in range(n)]),
                [np.zeros((0, 4), np.float32)] * n,
                [np.zeros(0, np.int64)] * n,
                np.arange(n),
                np.zeros(n, np.int64),
            )
            for n in (1, 6)
        ]

    options = {"read": images, "cache_dir": tmp_path / "cache", "batch_size": 7, "one_frame_recordings": "allow"}
    expected, data = module(**options), module(**options, decode="ahead")
    for part in (expected, data):
        part.prepare_data()
        part.setup("validate")
    assert len(list((tmp_path / "cache").iterdir())) == 1, "a single image is not worth a file"
    (batch,) = expected.val_dataloader()
    assert data.val_dataset is not None
    monkeypatch.setattr(data.val_dataset.sequences[1].frames, "_decode", None)
    (found,) = data.val_dataloader()
    assert torch.equal(found["frames"], batch["frames"])
    with pytest.raises(ValueError, match="decode is 'never'; allowed are ahead, on_the_fly"):
        module(decode="never")
