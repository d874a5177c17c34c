from __future__ import annotations

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tdcnet.drawing import (
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    VideoWriter,
    contact_sheet,
    draw_boxes,
    precision_recall_figure,
    write_png,
)

GREY = np.full((64, 80), 100, np.uint8)


def places(picture, colour):
    """Rows and columns of the pixels of exactly this colour."""
    return np.nonzero((picture == np.array(colour, np.uint8)).all(-1))


@pytest.mark.parametrize(
    ("shape", "zoom", "expected"),
    [
        ((64, 80), None, (512, 640)),
        ((100, 300), None, (600, 1800)),
        ((600, 700), None, (600, 700)),
        ((64, 80), 3, (192, 240)),
    ],
)
def test_small_images_are_enlarged_by_a_whole_number(shape, zoom, expected):
    picture = draw_boxes(np.zeros(shape, np.uint8), zoom=zoom)
    assert picture.shape == (*expected, 3)
    assert picture.dtype == np.uint8


def test_an_image_without_boxes_is_only_enlarged():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(
        draw_boxes(grey, np.zeros((0, 4)), [], [], zoom=2)[::2, ::2], np.repeat(grey[..., None], 3, 2)
    )


@pytest.mark.parametrize("zoom", [1, 4, 8])
def test_brackets_stand_off_the_target_and_close_round_it(zoom):
    x1, y1, x2, y2 = 40, 30, 43, 33
    picture = draw_boxes(GREY, [[x1, y1, x2, y2]], [[x1, y1, x2, y2]], zoom=zoom)
    assert (picture[y1 * zoom : y2 * zoom, x1 * zoom : x2 * zoom] == 100).all()
    extents = []
    for colour in (TRUTH_COLOUR, PREDICTION_COLOUR):
        rows, columns = places(picture, colour)
        assert len(rows) > 0
        # Round the middle of the box on all four sides, a pixel of asymmetry for even line widths allowed.
        assert rows.min() + rows.max() == pytest.approx((y1 + y2) * zoom - 1, abs=1)
        assert columns.min() + columns.max() == pytest.approx((x1 + x2) * zoom - 1, abs=1)
        extents.append(rows.max() - rows.min())
    assert extents[1] > extents[0]  # the prediction's brackets enclose the truth's


def test_boxes_outside_the_image_and_huge_ones_are_drawn_at_its_edge():
    picture = draw_boxes(GREY, None, [[-5, -5, 2, 2], [78, 60, 90, 70], [-1e12, -1e12, 1e12, 1e12]], zoom=2)
    rows, columns = places(picture, PREDICTION_COLOUR)
    assert rows.min() == columns.min() == 0
    assert rows.max() == 127
    assert columns.max() == 159


@pytest.mark.parametrize("box", [[0, 0, 2, 2], [78, 0, 80, 2], [0, 62, 2, 64], [78, 62, 80, 64], [40, 30, 42, 32]])
def test_scores_are_whole_inside_the_image(box):
    def written(grey, box):
        """How many pixels the score adds to a picture."""
        with_score, without = draw_boxes(grey, None, [box], [0.87], zoom=2), draw_boxes(grey, None, [box], zoom=2)
        return (with_score != without).any(-1).sum()

    # In a larger image with the same box far from every edge the text certainly has room.
    roomy = written(np.full((264, 280), 100, np.uint8), [140, 130, 142, 132])
    assert written(GREY, box) == pytest.approx(roomy, rel=0.05)


def test_scores_of_neighbours_do_not_overlap():
    boxes = [[40, 30, 43, 33]] * 2
    both = draw_boxes(GREY, None, boxes, [0.9, 0.8], zoom=8)
    bare = draw_boxes(GREY, None, boxes, zoom=8)
    changed = (both != bare).any(-1).astype(np.uint8)
    labels, _, stats, _ = cv2.connectedComponentsWithStats(changed, connectivity=8)
    areas = sorted(stats[1:, cv2.CC_STAT_AREA])
    assert labels == 3
    assert areas[0] == pytest.approx(areas[1], rel=0.1)


def test_tensors_and_deeper_images_are_taken():
    tensor = torch.tensor([[10.0, 10.0, 14.0, 14.0]], dtype=torch.bfloat16, requires_grad=True)
    deep = torch.linspace(1000, 3000, 20).reshape(1, 4, 5)
    picture = draw_boxes(deep, tensor, zoom=1)
    assert picture[0, 0, 0] == 0
    plain = draw_boxes(GREY, tensor, tensor, torch.tensor([0.5]))
    assert np.array_equal(plain, draw_boxes(GREY, [[10, 10, 14, 14]], [[10, 10, 14, 14]], [0.5]))
    assert np.array_equal(
        np.unique(draw_boxes(np.array([[500, 1000], [1500, 1000]], np.uint16), zoom=1)), [0, 128, 255]
    )


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"truth": [[1, 2, 3]]}, r"truth has shape \[1, 3\]"),
        ({"predictions": [[1, 2, 3, float("nan")]]}, "not finite"),
        ({"predictions": [[1, 2, 3, 4]], "scores": [0.1, 0.2]}, "2 scores for 1 predictions"),
        ({"zoom": 0}, "zoom is 0"),
    ],
)
def test_malformed_input_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        draw_boxes(GREY, **kwargs)


def test_colours_stay_and_names_are_written():
    image = np.zeros((64, 80, 3), np.uint8)
    image[10:20, 10:20, 2] = 200
    picture = draw_boxes(image, zoom=2)
    assert picture[30, 30].tolist() == [0, 0, 200] and picture.shape == (128, 160, 3)
    plain, named = (draw_boxes(GREY, None, [[30, 30, 36, 36]], [0.5], 8, names) for names in (None, ["drone"]))
    written = (np.abs(named.astype(int) - plain).max(2) > 20).any(0).nonzero()[0]
    assert np.ptp(written) > 30, "the name takes room beside the score"
    with pytest.raises(ValueError, match=r"\[64, 80, 4\]; expected grey"):
        draw_boxes(np.zeros((64, 80, 4), np.uint8))


def test_contact_sheet_places_images_by_row():
    images = [np.full((10, 12 + n), 50 * n, np.uint8) for n in range(1, 6)]
    sheet = contact_sheet(images, columns=3)
    assert sheet.shape == (2 * (10 + 4) + 4, 3 * (17 + 4) + 4, 3)
    for n in range(5):
        row, column = divmod(n, 3)
        top, left = 4 + row * 14, 4 + column * 21
        assert (sheet[top : top + 10, left : left + 13 + n] == 50 * (n + 1)).all()


def test_contact_sheet_captions_stay_in_their_cell():
    black = np.zeros((30, 90), np.uint8)
    long = contact_sheet([black, black], ["a caption much longer than ninety pixels", ""], columns=2)
    band = long[4:24]
    assert (band[:, 4:94] > 200).any()
    assert (band[:, 94:] < 200).all()
    with pytest.raises(ValueError, match="1 captions for 2 images"):
        contact_sheet([black, black], ["one"])
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


def test_png_keeps_the_colours_and_leaves_no_other_file(tmp_path):
    image = np.zeros((5, 7, 3), np.uint8)
    image[..., 0] = 200
    path = write_png(tmp_path / "new" / "picture.png", image)
    blue, green, red = cv2.imread(str(path))[2, 3]
    assert (red, green, blue) == (200, 0, 0)
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]
    with pytest.raises(ValueError, match="float64"):
        write_png(path, image.astype(float))


def read_video(path: Path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


def test_video_of_odd_size_plays_with_its_colours_and_rate(tmp_path):
    path = tmp_path / "new" / "out.mp4"
    with VideoWriter(path, fps=12.5) as video:
        for level in (40, 120, 200):
            image = np.zeros((65, 81, 3), np.uint8)
            image[..., 0] = level
            video.add(image)
        assert not path.exists()
    frames, fps = read_video(path)
    assert fps == pytest.approx(12.5)
    assert [frame.shape for frame in frames] == [(66, 82, 3)] * 3
    for frame, level in zip(frames, (40, 120, 200), strict=True):
        assert frame[..., 2].mean() == pytest.approx(level, abs=6)  # OpenCV reads B, G, R
        assert frame[..., 0].mean() < 10
    assert [p.name for p in path.parent.iterdir()] == ["out.mp4"]


def test_a_broken_video_stays_partial_and_plays_up_to_there(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"an earlier one")

    def record():
        with VideoWriter(path) as video:
            video.add(GREY)
            video.add(GREY)
            raise KeyError("broken")

    with pytest.raises(KeyError):
        record()
    assert path.read_bytes() == b"an earlier one"
    assert len(read_video(tmp_path / "out.partial.mp4")[0]) == 2


def test_video_errors_say_what_is_wrong(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="name the file so"):
        VideoWriter(tmp_path / "out.avi")
    with pytest.raises(ValueError, match="fps is 0"):
        VideoWriter(tmp_path / "out.mp4", fps=0)
    with VideoWriter(tmp_path / "out.mp4") as video:
        video.add(GREY)
        with pytest.raises(ValueError, match="frame 1 is 80 x 64 px, the first was 64 x 80"):
            video.add(GREY.T)
    with VideoWriter(tmp_path / "none.mp4"):
        pass
    assert not (tmp_path / "none.mp4").exists()
    monkeypatch.setattr(cv2.VideoWriter, "isOpened", lambda self: False)
    with pytest.raises(OSError, match="cannot write an mp4 video of 80 x 64 px"):
        VideoWriter(tmp_path / "closed.mp4").add(GREY)


def test_precision_recall_figure_shows_the_curve_without_pyplot():
    figure = precision_recall_figure(torch.tensor([0.0, 0.5, 1.0]), [1.0, 0.8, float("nan")], "AP50 = 0.66")
    (axes,) = figure.axes
    (line,) = axes.lines
    assert line.get_xdata().tolist() == [0.0, 0.5, 1.0]
    assert line.get_ydata()[:2].tolist() == [1.0, 0.8]
    assert axes.get_title() == "AP50 = 0.66"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall", "precision")
    buffer = BytesIO()
    figure.savefig(buffer)
    assert buffer.getvalue().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="2 values of recall and 1"):
        precision_recall_figure([0, 1], [1])


def test_figure_goes_to_tensorboard(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        writer.add_figure("val/precision_recall", precision_recall_figure([0, 1], [1, 0.5]))
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) > 5000


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (3, 3), (5, 3), (6, 3), (7, 4), (9, 3), (12, 4)])
def test_a_contact_sheet_leaves_few_cells_empty(count, columns):
    sheet = contact_sheet([np.zeros((10, 20), np.uint8)] * count, columns=4)
    assert sheet.shape[1] == columns * 24 + 4
