"""IRDST (Sun et al., RDIAN, TGRS 2023) in the four forms that circulate.

The form that TDCNet, SSTNet and others use, real part (``uestc``)::

    root/images/SCENE/0.bmp  (or png, unpadded)
    root/matches/SCENE/0/img_1.png .. img_5.png                  (may be absent)
    root/train.txt, root/val.txt      .../images/1/0.bmp x1,y1,x2,y2,0 ...

The lists also go by ``coco_train_IRDST.txt`` and ``coco_val_IRDST.txt``. Odd scenes train, even scenes validate.
The others (``released``, ``rdian``, ``dtum``): see :mod:`tdcnet.data.formats.irdst_forms`.

A scene is not a video: it joins several without saying where one ends. Clips stop where the target jumps.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.formats import common, irdst_forms, uestc
from tdcnet.data.formats.irdst_forms import Loaded
from tdcnet.data.sequence import Sequence

log = logging.getLogger(__name__)

CLASSES: tuple[str, ...] = ("target",)
ALIGNED = 5

Form = Literal["auto", "uestc", "released", "rdian", "dtum"]
Part = Literal["real", "simulation"]


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    jump: float | None = 20.0,
    form: Form = "auto",
    part: Part = "real",
) -> list[Sequence]:
    """Reads one side of the split, a sequence per scene; of the released form one per image size.

    Stored registered frames whose window of four past frames reaches over a cut are left out (None): they were made
    from another video. With ``jump=None`` only gaps in the frame numbers cut.

    Args:
        root: the folder that holds ``images`` and the lists; for the released form its parent will do.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad lines, boxes and frames; stops at the first if None.
        cache_dir: of parsed masks; the default cache if None.
        jump: centres of the nearest boxes of neighbouring frames further apart than this, in px, are a cut.
        form: how the set lies on disk; ``"auto"`` looks.
        part: of the released form, where both lie side by side.

    Raises:
        ValueError: if split, form or part is not one of the above.
        FileNotFoundError: if the root, ``images`` or the list is missing.
        DataError: at the first problem (policy ``"error"``), or if the split holds no usable frame.
    """
    common.check_split(split)
    for what, value, allowed in (("form", form, get_args(Form)), ("part", part, get_args(Part))):
        if value not in allowed:
            raise ValueError(f"{what} is {value!r}; allowed are {', '.join(allowed)}")
    root, problems = Path(root), problems or Problems()
    if form == "auto":
        form = find_form(root, split, part)
        log.info("%s: IRDST in the form %r", root, form)
    if form == "released":
        loaded = irdst_forms.load_released(root, split, part, problems)
    elif form == "uestc":
        loaded = _load_uestc(root, split, problems)
    else:
        loaded = irdst_forms.load_masks(form, root, split, problems, cache_dir)
    sequences = [_sequence(root, recording, jump, loaded.in_order) for recording in loaded.recordings]
    return common.finish(sequences, split, loaded.source, problems, CLASSES)


def find_form(root: Path, split: str, part: str) -> Form:
    """Which form lies in ``root``: told by box files, then by ``img_idx``, then by the first line of the list.

    Raises:
        FileNotFoundError: if there is none of these.
    """
    if irdst_forms.released_base(root, part) is not None:
        return "released"
    if any((root / name).is_file() for name in irdst_forms.LISTS["dtum"][split]):
        return "dtum"
    # A list for "val" is called test.txt in one form only; where both are there, the one with boxes says more.
    if any(
        (root / name).is_file() and not irdst_forms.is_frame_list(root / name)
        for name in uestc.text_names("IRDST", split)
    ):
        return "uestc"
    if any((root / name).is_file() for name in irdst_forms.LISTS["rdian"][split]):
        return "rdian"
    places = [f"IRDST_{part}/boxes", "boxes", *irdst_forms.LISTS["dtum"][split], *irdst_forms.LISTS["rdian"][split]]
    names = dict.fromkeys([*places, *uestc.text_names("IRDST", split)])
    path = common.find(root, names, f"list or boxes of the IRDST {split!r} split")
    raise DataError(f"{path}: is no regular file, or no folder where one is expected. Copy it again")


def _load_uestc(root: Path, split: str, problems: Problems) -> Loaded:
    images = common.find(root, ["images"], "folder of IRDST frames")
    list_file = common.find(root, uestc.text_names("IRDST", split), f"list of the IRDST {split!r} split")
    listed = common.read_list(list_file, len(CLASSES), problems)
    recordings = [common.load_recording(images, name, frames, list_file, problems) for name, frames in listed.items()]
    return Loaded([recording for recording in recordings if recording is not None], list_file, in_order=True)


def _sequence(root: Path, recording: common.Recording, jump: float | None, in_order: bool) -> Sequence:
    if not in_order:
        return recording.sequence(np.arange(len(recording.paths), dtype=np.int64), None)
    starts = segment_starts(recording.numbers, recording.boxes, jump)
    aligned = common.aligned_files(root, recording, "img_{}.png", ALIGNED)
    if aligned is not None:
        aligned = [
            None if start > 0 and at - start < ALIGNED - 1 else files
            for at, (start, files) in enumerate(zip(starts, aligned, strict=True))
        ]
    return recording.sequence(starts, aligned)


def segment_starts(
    numbers: NDArray[np.int64], boxes: list[NDArray[np.float32]], jump: float | None
) -> NDArray[np.int64]:
    """Position of the first frame of the video that each frame seems to be in.

    A cut is a gap in the frame numbers, or a jump. Beside a frame without boxes there is nothing to tell a jump by, and
    no cut is made.

    Args:
        numbers: frame numbers on disk, ascending, [N].
        boxes: per frame [M, 4], ``x1, y1, x2, y2`` in px.
        jump: px, or None for no cut at jumps.
    """
    starts = np.zeros(len(numbers), np.int64)
    for at in range(1, len(numbers)):
        gap = numbers[at] != numbers[at - 1] + 1
        cut = gap or (jump is not None and _distance(boxes[at - 1], boxes[at]) > jump)
        starts[at] = at if cut else starts[at - 1]
    return starts


def _distance(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Between the centres of the two nearest boxes of two frames, in px; 0 if either frame has none."""
    if not len(before) or not len(after):
        return 0.0
    centres = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (before, after)]
    return float(np.linalg.norm(centres[0][:, None] - centres[1][None], axis=-1).min())
