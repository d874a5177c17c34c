"""How detectors degrade, as a page, a table, CSV and JSON; :mod:`tdcnet.metrics.stress` counts what is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from rich.text import Text

from tdcnet.data.clips import ClipDataset
from tdcnet.data.errors import DataError
from tdcnet.data.sequence import Sequence as Recording
from tdcnet.data.targets import sides
from tdcnet.drawing import contact_sheet, draw_boxes
from tdcnet.files import write_atomically
from tdcnet.metrics.breakdown import EQUAL, Row
from tdcnet.metrics.stress import MEAN, PLAIN
from tdcnet.report import plots
from tdcnet.report.page import as_csv, as_webp
from tdcnet.report.templates import render
from tdcnet.results import write_json
from tdcnet.shown import printable

KEY = f"Pd@{EQUAL:g}"
WIDEST = 320
"""px of a picture."""
CLOSER = 5
"""Of a frame's width and height, what is shown of a target's surroundings."""


@dataclass(frozen=True)
class Stress:
    """What came out.

    Attributes:
        rows: of each detector and step, see :func:`~tdcnet.metrics.stress.stress_row`.
        means: of each detector, see :func:`~tdcnet.metrics.stress.mean_row`; the first is compared with.
        axes: way -> what its strengths are.
        parameters: way -> per step what is done, exactly.
        seed: of all that is drawn.
    """

    rows: Sequence[Row]
    means: Sequence[Row]
    axes: Mapping[str, str]
    parameters: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]
    seed: int


def write_results(folder: Path, stress: Stress) -> list[Path]:
    """Writes ``stress.json``, all there is to know, and ``stress.csv``, the rows."""
    told = {
        "seed": stress.seed,
        "figure": f"mean {KEY}",
        "detectors": list(stress.means),
        "degradations": {way: list(steps) for way, steps in stress.parameters.items()},
        "rows": list(stress.rows),
    }
    return [
        write_json(folder / "stress.json", told),
        write_atomically(folder / "stress.csv", as_csv(stress.rows)),
    ]


def write_page(
    folder: Path, stress: Stress, pictures: Mapping[str, NDArray[np.uint8]], *, title: str, command: str = ""
) -> Path:
    """Writes ``report.html``.

    Args:
        folder: to write to.
        stress: what came out.
        pictures: way -> RGB, what it does to a frame.
        title: of the page.
        command: that made it, shown on the page.
    """
    plain = stress.rows[0]
    html = render(
        "stress.html",
        title=title,
        command=command,
        frames=plain["frames"],
        targets=plain["targets"],
        means=stress.means,
        key=KEY,
        mean=MEAN,
        seed=stress.seed,
        figures={way: plots.as_data_uri(figure) for way, figure in figures(stress).items()},
        pictures={way: as_webp(picture) for way, picture in pictures.items()},
        parameters={way: [" + ".join(map(_told, step)) for step in steps] for way, steps in stress.parameters.items()},
        rows=stress.rows,
    )
    return write_atomically(folder / "report.html", html)


def figures(stress: Stress) -> dict[str, Figure]:
    """Way -> Pd at 0.1 false alarms per frame over its steps, the clips as they are first."""
    drawn = {}
    plain = {row["detector"]: row for row in stress.rows if row["way"] == PLAIN}
    for way in stress.parameters:
        figure, axis = plots.empty_figure()
        rows = [row for row in stress.rows if row["way"] == way]
        for colour, name in zip(plots.colours(len(plain)), plain, strict=True):
            own = [plain[name], *(row for row in rows if row["detector"] == name)]
            at = np.arange(len(own))
            value, low, high = (np.array([row[key] for row in own]) for key in (KEY, f"{KEY} low", f"{KEY} high"))
            axis.plot(at, value, "o-", color=colour, label=plots.label(name), lw=1.8, ms=4)
            axis.fill_between(at, low, high, color=colour, alpha=0.15, lw=0)
        told = [_strength(row["strength"]) or way for row in rows if row["detector"] == stress.means[0]["detector"]]
        axis.set_xticks(np.arange(1 + len(told)), [PLAIN, *told])
        axis.set(xlabel=stress.axes.get(way) or way, ylabel=KEY, ylim=(0, 1.02))
        axis.legend(loc="lower left", frameon=False)
        drawn[way] = figure
    return drawn


def stress_table(stress: Stress, title: str) -> Table:
    """For the terminal: a row a step, Pd at 0.1 false alarms per frame of each detector."""
    names = [row["detector"] for row in stress.means]
    table = Table(title=Text(printable(title), "italic"), box=box.SIMPLE_HEAD, caption_justify="left")
    table.caption = f"{KEY} in percent and its 95 % interval over sequences; mean: of the ways, each of its steps"
    for i, column in enumerate(("degradation", *names)):
        table.add_column(Text(printable(column)), justify="right" if i else "left")
    of_each = [[row for row in stress.rows if row["detector"] == name] for name in names]
    before = None
    for step in zip(*of_each, strict=True):
        way, strength = step[0]["way"], _strength(step[0]["strength"])
        if before not in (None, way):
            table.add_section()
        before = way
        table.add_row(f"{way} {strength}".strip(), *(_cell(row, KEY) for row in step))
    table.add_section()
    table.add_row("[bold]mean[/]", *(_cell(row, MEAN) for row in stress.means))
    return table


def example(dataset: ClipDataset) -> tuple[int, int] | None:
    """Position of a recording and of a frame in it to show: the one with the largest target; None if there is none."""
    largest = [
        (float(sides(sequence.boxes[t]).max()), -i, -int(t))
        for i, sequence in enumerate(dataset.sequences)
        for t in sequence.indices
        if len(sequence.boxes[t])
    ]
    if not largest:
        return None
    _, i, t = max(largest)
    return -i, -t


def sheet(recordings: Sequence[tuple[str, Recording]], t: int) -> NDArray[np.uint8] | None:
    """A frame as it is and made harder, side by side, and below each the surroundings of its largest target.

    Args:
        recordings: caption and recording of each picture, that as it is first.
        t: position of a frame with a target.

    Returns:
        RGB; None if the frame cannot be read.
    """
    try:
        images = [recording.frames.read(t).astype(np.float32) for _, recording in recordings]
    except DataError:
        return None
    low, high = np.percentile(images[0], [0.2, 99.9])
    rows, columns = _surroundings(recordings[0][1].boxes[t], images[0].shape)
    whole, near = [], []
    for (_, recording), image in zip(recordings, images, strict=True):
        grey = ((image - low) * (255 / max(16.0, high - low))).clip(0, 255).astype(np.uint8)
        marked = draw_boxes(grey, truth=recording.boxes[t], zoom=max(1, WIDEST // grey.shape[1]))
        whole.append(_fitted(marked, cv2.INTER_AREA))
        near.append(_fitted(np.asarray(cv2.cvtColor(grey[rows, columns], cv2.COLOR_GRAY2RGB)), cv2.INTER_NEAREST))
    captions = [caption for caption, _ in recordings]
    return contact_sheet([*whole, *near], [*captions, *([""] * len(near))], columns=len(recordings))


def _surroundings(boxes: NDArray[np.float32], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a part of the frame round the largest target."""
    x1, y1, x2, y2 = boxes[int(sides(boxes).argmax())].tolist()
    found = []
    for middle, side in (((y1 + y2) / 2, shape[0]), ((x1 + x2) / 2, shape[1])):
        length = max(1, side // CLOSER)
        start = int(np.clip(middle - length / 2, 0, side - length))
        found.append(slice(start, start + length))
    return found[0], found[1]


def _fitted(picture: NDArray[np.uint8], how: int) -> NDArray[np.uint8]:
    scale = WIDEST / picture.shape[1]
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how), np.uint8)


def _cell(row: Row, key: str) -> str:
    if not math.isfinite(row[key]):
        return "-"
    low, high = row[f"{key} low"], row[f"{key} high"]
    return f"{100 * row[key]:.1f} ({100 * low:.0f}..{100 * high:.0f})"


def _strength(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else ""


def _told(way: Mapping[str, Any]) -> str:
    values = ", ".join(f"{key} {value:g}" for key, value in way.items() if key != "way")
    return f"{way['way']} ({values})"
