"""The page of tracks: each recording by itself, whose track is whose, and names that are markup."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tdcnet.metrics.matching import Frames
from tdcnet.metrics.outcomes import Outcomes
from tdcnet.metrics.tracks import TrackedFrame, iou
from tdcnet.report.tracks import (
    NAMES,
    SHOWN,
    Tracking,
    recording_figure,
    recording_rows,
    scores_table,
    tracks_table,
    write_page,
)


def box(x: float, y: float) -> list[float]:
    return [x - 2, y - 2, x + 2, y + 2]


def frame(targets: dict[int, tuple[float, float]], tracks: dict[int, tuple[float, float]]) -> TrackedFrame:
    sides = (targets, tracks)
    ids = [np.array(list(each), np.int64) for each in sides]
    boxes = [np.array([box(*place) for place in each.values()], np.float64).reshape(-1, 4) for each in sides]
    return TrackedFrame(ids[0], boxes[0], ids[1], boxes[1])


# Target 0 is followed by track 4, then by 5; track 6 has nothing; target 1 is never found.
FIRST = [
    frame({0: (10.0 + t, 20), 1: (50, 50)}, {4 if t < 6 else 5: (10.0 + t, 20), 6: (80, 10)} if t else {})
    for t in range(10)
]
SECOND = [frame({0: (5, 5)}, {1: (5, 5)}) for _ in range(4)]


@pytest.fixture
def told() -> Tracking:
    found = [{"boxes": torch.tensor([box(5, 5)]), "scores": torch.tensor([0.5]), "labels": torch.tensor([0])}]
    truth = [{"boxes": torch.tensor([box(5, 5)]), "labels": torch.tensor([0]), "size": torch.tensor((90, 90))}]
    outcomes = Outcomes.of(Frames.from_lists(found, truth), ["a"])
    figures = dict.fromkeys(SHOWN, 0.25) | {"minutes": 0.1, "targets": 3.0}
    for name in NAMES:
        figures[f"Pd@0.1_{name}"] = 0.5
    figures |= {"Pd@0.1_gain": 0.125, "Pd@0.1_gain_interval": [-0.25, 0.375]}
    row = {"score": 0.625, "targets_tracked": 0.75, "delay_seconds": 1.5, "false_tracks": 2.0}
    figures["by_score"] = [row | {"false_tracks_per_minute": 20.0}]
    seconds = [[at / 10 for at in range(len(frames))] for frames in (FIRST, SECOND)]
    return Tracking(figures, [0.1], dict.fromkeys(NAMES, outcomes), ["<b>a</b>", "b"], [FIRST, SECOND], seconds)


def test_each_recording_by_itself(told):
    first, second = recording_rows(told, iou)
    assert (first["targets"], first["tracked"], first["false_tracks"], first["IDSW_dot"]) == (2, 0.5, 1, 1)
    assert first["delay_seconds"] == pytest.approx(0.1)
    assert first["MOTA_dot"] == pytest.approx((9 - 9 - 1) / 20)  # hits, false ones, a switch, of 20
    assert (second["HOTA_dot"], second["IDSW_dot"], second["false_tracks"]) == (pytest.approx(1.0), 0, 0)


def test_tracks_are_drawn_with_their_targets():
    where, when = recording_figure(FIRST, [at / 10 for at in range(10)]).axes
    assert [label.get_text() for label in when.get_yticklabels()] == ["target 0", "target 1", "no target"]
    drawn = [(float(line.get_ydata()[0]), line.get_color()) for line in when.lines]
    assert [row[0] for row in drawn] == [0, 1, 0, 2, 0]  # targets 0 and 1, tracks 4, 6 and 5
    assert [tuple(line.get_xdata()) for line in when.lines] == [(0, 0.9), (0, 0.9), (0.1, 0.5), (0.1, 0.9), (0.6, 0.9)]
    assert len({drawn[0][1], drawn[2][1], drawn[3][1]}) == 3
    assert where.yaxis_inverted()


def test_a_recording_without_anything_is_drawn():
    nothing = [frame({}, {}) for _ in range(3)]
    where, _ = recording_figure(nothing, [0.0, 0.1, 0.2]).axes
    assert not where.lines


def test_the_page(told, tmp_path):
    page, table = write_page(tmp_path, told, recording_rows(told, iou), title="a & b", command="tdcnet track")
    text = page.read_text()
    assert "<b>a</b>" not in text and "&lt;b&gt;a&lt;/b&gt;" in text and "a &amp; b" in text
    assert text.index("&lt;b&gt;a") < text.index("<td>b</td>")  # the worse one first
    assert text.count("data:image/svg+xml") == 3 and "+0.125" in text and "-0.250..+0.375" in text
    with table.open() as file:
        assert [row["recording"] for row in csv.DictReader(file)] == ["<b>a</b>", "b"]


def test_the_table_names_every_figure(told):
    table = tracks_table(told)
    assert [str(cell) for cell in table.columns[0].cells] == [*SHOWN, "Pd@0.1"]
    row = [next(iter(column.cells)) for column in scores_table(told).columns]
    assert row == ["0.62", "0.750", "1.50", "2", "20.00"]


def test_a_recording_without_targets_comes_last(tmp_path, told):
    empty = [frame({}, {}) for _ in range(4)]
    more = replace(
        told, names=["empty", *told.names], truth=[empty, *told.truth], times=[[0.0, 0.1, 0.2, 0.3], *told.times]
    )
    rows = recording_rows(more, iou)
    assert math.isnan(rows[0]["HOTA_dot"]) and rows[0]["false_tracks"] == 0
    page, _ = write_page(tmp_path, more, rows, title="t")
    text = page.read_text()
    assert text.index("<td>b</td>") < text.index("<td>empty</td>") and "nan" not in text
