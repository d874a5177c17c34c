"""Pictures and videos of detections on which a target of a few pixels stays visible.

Every image here is uint8 [H, W, 3] in the order R, G, B, as TensorBoard takes it; what is written to a file is
turned round for OpenCV on the way out. Arrays may be numpy arrays or tensors on any device.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tdcnet.files import Closing, write_atomically
from tdcnet.results import to_numpy
from tdcnet.shown import printable

Image = NDArray[np.uint8]

TRUTH_COLOUR = (70, 230, 90)
PREDICTION_COLOUR = (255, 130, 20)

_SHADOW = (0, 0, 0)
_TEXT = (235, 235, 235)
_SHEET_GROUND = (32, 32, 32)
_SHORTER_SIDE = 512
# OpenCV 4 draws a thin stroke font here, OpenCV 5 a bold outline font; both are legible from this size on.
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_DUPLEX, 0.42


def draw_boxes(
    image: Any,
    truth: Any = None,
    predictions: Any = None,
    scores: Any = None,
    zoom: int | None = None,
    names: Sequence[str] | None = None,
) -> Image:
    """Draws what is there (green) and what was found (orange) as corner brackets round the targets.

    The brackets stand a few pixels off the box, those of a prediction further out than those of the truth: nothing is
    drawn on a target, and a hit shows as two brackets, one in the other.

    Args:
        image: grey [H, W] or [1, H, W], or RGB [H, W, 3]; uint8 is shown as it is, any other type is stretched from its
            least to its greatest value.
        truth: [N, 4] xyxy in px of ``image``, right and lower edge exclusive; None or empty draws nothing.
        predictions: [M, 4], likewise.
        scores: [M], in [0, 1], written beside the predictions.
        zoom: the picture is this many times as large as the image; None chooses the least with which the shorter
            side has 512 px.
        names: [M], of the predictions' classes, written before the scores.

    Returns:
        The picture, uint8 RGB [H * zoom, W * zoom, 3].

    Raises:
        ValueError: on a shape or a zoom that does not fit the above.
    """
    whole = _to_uint8(image)
    truth_boxes, found_boxes = _to_boxes("truth", truth), _to_boxes("predictions", predictions)
    found_scores = None if scores is None else to_numpy(scores).astype(np.float64).reshape(-1)
    if found_scores is not None and len(found_scores) != len(found_boxes):
        raise ValueError(f"{len(found_scores)} scores for {len(found_boxes)} predictions; they must be one per box")
    if zoom is None:
        zoom = max(1, math.ceil(_SHORTER_SIDE / min(whole.shape[:2])))
    if zoom < 1:
        raise ValueError(f"zoom is {zoom}; it must be a whole number from 1 on, or None")

    # Nearest, since the pixels of a target of 3 x 3 are what one wants to see.
    picture = _to_rgb(cv2.resize(whole, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST))
    line = max(2, round(min(picture.shape[:2]) / 320))
    gap = 4 + line + zoom // 2
    corners = [_grown(box, zoom, gap + 3 + 2 * line, picture) for box in found_boxes]
    for corner in corners:
        _draw_brackets(picture, corner, PREDICTION_COLOUR, line)
    true_corners = [_grown(box, zoom, gap, picture) for box in truth_boxes]
    for corner in true_corners:
        _draw_brackets(picture, corner, TRUTH_COLOUR, line)
    if found_scores is not None:
        taken = [*corners, *true_corners]
        for index in np.argsort(-found_scores, kind="stable"):
            text = f"{found_scores[index]:.2f}"
            if names is not None:
                text = f"{_shortened(str(names[index]), 160)} {text}"
            _draw_label(picture, text, corners[index], taken)
    return picture


def contact_sheet(images: Sequence[Any], captions: Sequence[str] | None = None, columns: int = 4) -> Image:
    """Lays pictures out in rows, each with its caption above it.

    Args:
        images: uint8 RGB [H, W, 3] or grey [H, W]; they may differ in size, each cell is as large as the largest.
        captions: one per image, cut where the cell ends; None leaves them out.
        columns: pictures per row at most.

    Raises:
        ValueError: if there is no image, no column, or not one caption per image.
    """
    tiles = [_to_rgb(image) for image in images]
    if not tiles:
        raise ValueError("a contact sheet needs at least one image")
    if columns < 1:
        raise ValueError(f"columns is {columns}; it must be 1 or more")
    if captions is not None and len(captions) != len(tiles):
        raise ValueError(f"{len(captions)} captions for {len(tiles)} images; they must be one per image")
    rows = math.ceil(len(tiles) / columns)
    columns = math.ceil(len(tiles) / rows)  # as few empty cells as so many rows allow
    border, band = 4, 0 if captions is None else 20
    cell_h, cell_w = max(tile.shape[0] for tile in tiles), max(tile.shape[1] for tile in tiles)
    sheet: Image = np.full(
        (rows * (cell_h + band + border) + border, columns * (cell_w + border) + border, 3), _SHEET_GROUND, np.uint8
    )
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = border + row * (cell_h + band + border), border + column * (cell_w + border)
        if captions is not None:
            text = _shortened(captions[number], cell_w - 4)
            cv2.putText(sheet, text, (left + 2, top + 14), _FONT, _FONT_SCALE, _TEXT, 1, cv2.LINE_AA)
        sheet[top + band : top + band + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet


def write_png(path: str | os.PathLike[str], image: Any) -> Path:
    """Writes an image, RGB [H, W, 3] or grey [H, W], uint8; folders are made, and the file appears whole or not at all.

    Raises:
        ValueError: if the image is not of that kind.
    """
    encoded, data = cv2.imencode(".png", cv2.cvtColor(_to_rgb(image), cv2.COLOR_RGB2BGR))
    if not encoded:
        raise ValueError(f"{path}: OpenCV could not encode an image of shape {np.shape(image)} as PNG")
    return write_atomically(path, data.tobytes())


class VideoWriter(Closing):
    """Writes frames to an mp4 file (MPEG-4 part 2, the one codec for it that OpenCV's own wheels bring).

    A context manager. The video is written as ``NAME.partial.mp4`` and gets its name when the block ends without an
    exception; after one, the partial file stays and plays up to there. The first frame sets the size; an odd side is
    made even by repeating the last row or column, since codecs take even sizes only. Without frames there is no file.

    Args:
        path: of the video; must end in ``.mp4``. Folders are made.
        fps: frames per second.

    Raises:
        ValueError: for another ending or a rate that is not above 0.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float = 30.0) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"{self.path}: videos are written as .mp4; name the file so")
        if not fps > 0 or not math.isfinite(fps):
            raise ValueError(f"{self.path}: fps is {fps}; it must be above 0")
        self.fps = float(fps)
        self.partial = self.path.with_name(f"{self.path.stem}.partial.mp4")
        self.num_frames = 0
        self._writer: cv2.VideoWriter | None = None
        self._shape = (0, 0)

    def add(self, image: Any) -> None:
        """Appends one frame, uint8 RGB [H, W, 3] or grey [H, W].

        Raises:
            ValueError: if its size differs from that of the first frame.
            OSError: if the file cannot be opened for writing.
        """
        frame = _to_rgb(image)
        height, width = frame.shape[:2]
        if self._writer is None:
            self._shape = (height, width)
            self._writer = self._open((width + width % 2, height + height % 2))
        if (height, width) != self._shape:
            raise ValueError(
                f"{self.path}: frame {self.num_frames} is {height} x {width} px, the first was "
                f"{self._shape[0]} x {self._shape[1]}; a video has one size"
            )
        even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
        self.num_frames += 1

    def close(self, complete: bool = True) -> None:
        """Finishes the file; unless ``complete``, it keeps the name of a partial one. A second call does nothing."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        if complete:
            os.replace(self.partial, self.path)

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        writer = cv2.VideoWriter(str(self.partial), cv2.VideoWriter.fourcc(*"mp4v"), self.fps, size)
        if not writer.isOpened():
            raise OSError(
                f"{self.path}: OpenCV {cv2.__version__} cannot write an mp4 video of {size[0]} x {size[1]} px here. "
                "Check that the folder can be written to and that the disk is not full; an OpenCV that was not "
                "installed from its wheel (opencv-python-headless) may lack FFmpeg"
            )
        return writer


def precision_recall_figure(recall: Any, precision: Any, title: str = "") -> Figure:
    """Precision over recall as a figure for ``SummaryWriter.add_figure`` or ``savefig``; pyplot is not involved.

    Args:
        recall: [K], in [0, 1].
        precision: [K], in [0, 1]; NaN leaves a gap.
        title: above the curve.

    Raises:
        ValueError: if the two differ in length.
    """
    x, y = (to_numpy(values).astype(np.float64).reshape(-1) for values in (recall, precision))
    if len(x) != len(y):
        raise ValueError(f"{len(x)} values of recall and {len(y)} of precision; they must be pairs")
    figure = Figure(figsize=(5.0, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.fill_between(x, y, color="tab:orange", alpha=0.15, linewidth=0)
    axes.plot(x, y, color="tab:orange", linewidth=1.6)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0.0, 1.02), ylim=(0.0, 1.02), title=title)
    axes.set_axisbelow(True)
    axes.grid(color="0.88")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _to_boxes(what: str, boxes: Any) -> NDArray[np.float64]:
    array = np.zeros((0, 4)) if boxes is None else to_numpy(boxes).astype(np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{what} has shape {list(array.shape)}; expected [N, 4], x1, y1, x2, y2 in px")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} holds coordinates that are not finite: {array[~np.isfinite(array).all(1)][0]}")
    return array


def _to_uint8(image: Any) -> Image:
    array = to_numpy(image)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)) or array.size == 0:
        raise ValueError(
            f"image has shape {list(array.shape)}; expected grey, [H, W] or [1, H, W], or colour, [H, W, 3]"
        )
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    values = np.nan_to_num(array.astype(np.float64))
    low, high = values.min(), values.max()
    return np.round((values - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)


def _to_rgb(image: Any) -> Image:
    array = to_numpy(image)
    if array.dtype != np.uint8 or array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ValueError(
            f"image has shape {list(array.shape)} and type {array.dtype}; expected uint8, RGB [H, W, 3] or grey [H, W]"
        )
    return np.ascontiguousarray(cv2.cvtColor(array, cv2.COLOR_GRAY2RGB) if array.ndim == 2 else array, np.uint8)


def _grown(box: NDArray[np.float64], zoom: int, gap: int, picture: Image) -> tuple[int, int, int, int]:
    """Box in px of the picture, ``gap`` px larger on each side and kept inside; both ends inclusive."""
    height, width = picture.shape[:2]
    # In float and clipped first: a wild prediction must not overflow OpenCV's 32-bit points.
    x1, y1, x2, y2 = box * zoom
    left, right = np.clip([x1 - gap, x2 - 1 + gap], 0, width - 1).round()
    top, bottom = np.clip([y1 - gap, y2 - 1 + gap], 0, height - 1).round()
    return int(left), int(top), int(right), int(bottom)


def _draw_brackets(picture: Image, corners: tuple[int, int, int, int], colour: tuple[int, int, int], line: int) -> None:
    left, top, right, bottom = corners
    arm_x = min(max(4, (right - left) // 4), 14 * line)
    arm_y = min(max(4, (bottom - top) // 4), 14 * line)
    strokes = [
        np.array([[x + dx * arm_x, y], [x, y], [x, y + dy * arm_y]], np.int32)
        for x, dx in ((left, 1), (right, -1))
        for y, dy in ((top, 1), (bottom, -1))
    ]
    # A dark rim keeps the colour apart from a hot, white background.
    cv2.polylines(picture, strokes, False, _SHADOW, line + 2)
    cv2.polylines(picture, strokes, False, colour, line)


def _draw_label(
    picture: Image, text: str, corners: tuple[int, int, int, int], taken: list[tuple[int, int, int, int]]
) -> None:
    """Writes ``text`` beside a bracket, inside the picture and, where there is room, clear of what is ``taken``."""
    height, width = picture.shape[:2]
    left, top, right, bottom = corners
    (text_w, text_h), below = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
    w, h = text_w + 4, text_h + below + 2
    wanted = [(left, top - h - 3), (left, bottom + 4), (right + 4, top), (left - w - 3, top)]
    inside = [(min(max(x, 0), max(width - w, 0)), min(max(y, 0), max(height - h, 0))) for x, y in wanted]

    def obstructed(place: tuple[int, int]) -> int:
        x, y = place
        return sum(x < x2 and x1 < x + w and y < y2 and y1 < y + h for x1, y1, x2, y2 in taken)

    x, y = min(inside, key=obstructed)
    taken.append((x, y, x + w, y + h))
    picture[y : y + h, x : x + w] //= 3
    cv2.putText(picture, text, (x + 2, y + text_h + 1), _FONT, _FONT_SCALE, PREDICTION_COLOUR, 1, cv2.LINE_AA)


def _shortened(text: str, width: int) -> str:
    text = printable(text[:200]).encode("ascii", "replace").decode()  # OpenCV has no other letters

    def fits(candidate: str) -> bool:
        return bool(cv2.getTextSize(candidate, _FONT, _FONT_SCALE, 1)[0][0] <= width)

    if fits(text):
        return text
    return next((text[:n] + "..." for n in range(len(text) - 1, 0, -1) if fits(text[:n] + "...")), "")
