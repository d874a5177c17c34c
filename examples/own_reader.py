"""Trains for a moment on data of a layout of one's own: a stack of frames as NPY, and a CSV of boxes beside it.

python examples/own_reader.py
"""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.sequence import Sequence
from tdcnet.data.synthetic import SyntheticConfig, generate_clip

HERE = Path(__file__).resolve().parent


class Stack:
    """Frames of a ``.npy`` file, uint8 or uint16 [N, H, W], of which only those that are asked for are read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.stack = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: is no NPY file ({error}). Copy it again") from error
        if self.stack.ndim != 3 or self.stack.dtype not in (np.uint8, np.uint16):
            raise DataError(f"{path}: holds {self.stack.dtype} {self.stack.shape}; expected uint8 or uint16 [N, H, W]")

    def __len__(self) -> int:
        return len(self.stack)

    def read(self, index: int) -> np.ndarray:
        """A frame [H, W]."""
        return np.array(self.stack[index])

    def where(self, index: int) -> str:
        """For messages."""
        return f"{self.path}#{index}"


def read(root: str, split: str, *, problems: Problems | None = None, cache_dir: Path | None = None) -> list[Sequence]:
    """The recordings root/split/NAME.npy with NAME.csv: frame, x1, y1, x2, y2 in px, frames from 0."""
    problems, found = problems or Problems(), []
    for path in sorted((Path(root) / split).glob("*.npy")):
        frames = Stack(path)
        boxes = [np.zeros((0, 4), np.float32) for _ in range(len(frames))]
        with path.with_suffix(".csv").open(newline="") as file:
            for line, row in enumerate(csv.reader(file), start=1):
                try:
                    index, *corners = map(float, row)
                    box = np.array(corners, np.float32).reshape(1, 4)
                    boxes[int(index)] = np.concatenate([boxes[int(index)], box])
                except (ValueError, IndexError):
                    problems.report(f"{file.name}:{line}", f"is {row}", "Expected frame, x1, y1, x2, y2")
        count = len(frames)
        labels = [np.zeros(len(each), np.int64) for each in boxes]
        # All frames belong to this side of the split, and a clip may reach back to the first.
        every, first = np.arange(count), np.zeros(count, np.int64)
        found.append(Sequence(path.stem, frames, boxes, labels, every, first, classes=("target",)))
    if not found:
        raise DataError(f"{root}: no .npy file in {split}; expected one for each recording")
    return found


def make(root: Path, frames: int, side: int) -> None:
    """Writes made-up clips in this layout."""
    for number, split in enumerate(("train", "train", "val")):
        clip = generate_clip(SyntheticConfig(height=side, width=side, frames=frames), seed=number)
        folder = root / split
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number}.npy", clip.frames)
        with (folder / f"{number}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([i, *box] for i, each in enumerate(clip.boxes) for box in each.tolist())


def main(*options: str, frames: int = 40, side: int = 128) -> None:
    """Makes the data, shows what the reader reads, and trains on it."""
    root = Path("own_layout")
    make(root, frames, side)
    for sequence in read(str(root), "train"):
        targets = sum(map(len, sequence.boxes))
        print(f"{sequence.name}: {len(sequence)} frames, {targets} boxes, from {sequence.frames.where(0)}")
    command = [sys.executable, "-m", "tdcnet", "train", "dataset=demo", "model=motion_2d_nano", "module=adamw"]
    command += [f"dataset.root={root}", "dataset.read._target_=own_reader.read", "dataset.generate=null"]
    command += ["trainer=cpu", "trainer.devices=1", "trainer.strategy=auto", "trainer.max_epochs=1"]
    command += [f"dataset.size=[{side},{side}]", "dataset.samples_per_epoch=48", "hydra.run.dir=own_reader_run"]
    subprocess.run([*command, *options], check=True, env={**os.environ, "PYTHONPATH": str(HERE)})


if __name__ == "__main__":
    main(*sys.argv[1:])
