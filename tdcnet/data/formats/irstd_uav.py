"""IRSTD-UAV (Fang et al., TDCNet, AAAI 2026): 17 recordings of drones, cut into 50-frame segments.

Layout::

    root/images/SEQUENCE/00000000.png
    root/matches/SEQUENCE/00000000/match_1.png .. match_5.png    (may be absent)
    root/train.txt, root/val.txt      .../images/13/00000232.png x1,y1,x2,y2,0 ...
    root/train_tracks.txt, ..         .../images/13/00000232.png 3 ...  which target of the recording each of these
                                      boxes is, for stage=track (may be absent, as it is in the published set)

The published split shuffles the segments, so both sides hold parts of the same recordings; a clip must not leave its
segment, or it shows frames of the other side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import Problems
from tdcnet.data.formats import common
from tdcnet.data.sequence import Sequence
from tdcnet.files import read_text
from tdcnet.plain_data import is_whole
from tdcnet.shown import shown

CLASSES: tuple[str, ...] = ("target",)
SEGMENT = 50
ALIGNED = 5


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    segment: int | None = SEGMENT,
) -> list[Sequence]:
    """Reads one side of the split, a sequence per folder, all frames on disk included as possible history.

    Args:
        root: the folder that holds ``images`` and the lists.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad lines, boxes and frames; stops at the first if None.
        cache_dir: not used here; all readers take the same arguments.
        segment: frames of a segment; None where recordings are whole, so that clips may reach back to their start.

    Raises:
        ValueError: if ``segment`` is no number of frames.
        FileNotFoundError: if the root, ``images`` or the list is missing.
        DataError: at the first problem (policy ``"error"``), or if the split holds no usable frame.
    """
    del cache_dir
    common.check_split(split)
    if segment is not None and not is_whole(segment, 1, 1_000_000):
        raise ValueError(f"segment is {segment!r}; expected a number of frames, or null for whole recordings")
    root, problems = Path(root), problems or Problems()
    images = common.find(root, ["images"], "folder of IRSTD-UAV frames")
    list_file = common.find(root, [f"{split}.txt"], f"list of the IRSTD-UAV {split!r} split")
    sequences = []
    targets = root / f"{split}_tracks.txt"
    of_frames = common.read_list(list_file, len(CLASSES), problems)
    if targets.is_file():
        _add_targets(of_frames, targets, problems)
    for name, listed in of_frames.items():
        recording = common.load_recording(images, name, listed, list_file, problems)
        if recording is not None:
            aligned = common.aligned_files(root, recording, "match_{}.png", ALIGNED)
            starts = np.zeros(len(recording.numbers), np.int64)
            if segment is not None:
                starts = segment_starts(recording.numbers, segment)
            sequences.append(recording.sequence(starts, aligned))
    return common.finish(sequences, split, list_file, problems, CLASSES)


def _add_targets(listed: dict[str, dict[int, common.ListedFrame]], path: Path, problems: Problems) -> None:
    for at, line in enumerate(read_text(path, errors="replace").splitlines(), start=1):
        place = common.place_of(line)
        frame = listed.get(place[0], {}).get(place[1]) if place else None
        targets = [common.whole(word) for word in place[2]] if place else []
        if not line.strip():
            continue
        if frame is None or None in targets or len(targets) != len(frame.boxes):
            problems.report(
                f"{path}:{at}",
                f"expected .../images/SEQUENCE/NUMBER.png and a number for each of its boxes, came {shown(line)}",
                "Correct the line, or delete the file: targets are then told by distance",
            )
        else:
            frame.targets = list(targets)


def segment_starts(numbers: NDArray[np.int64], segment: int = SEGMENT) -> NDArray[np.int64]:
    """Position of the first frame on disk of the segment that each frame is in.

    Segments count by frame number, not by position: with a file missing the two differ.

    Args:
        numbers: frame numbers on disk, ascending, [N].
        segment: frames of one.
    """
    return np.searchsorted(numbers, numbers - numbers % segment).astype(np.int64)
