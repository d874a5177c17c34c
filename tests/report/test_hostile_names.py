"""Names of recordings, classes and runs that steer a page, a plot, a spreadsheet or a terminal: shown as they are."""

from __future__ import annotations

import csv
import io
import json
import logging
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from tdcnet.callbacks.bad_frames import BadFrames
from tdcnet.commands import arguments
from tdcnet.data.clips import ClipDataset
from tdcnet.data.errors import DataError
from tdcnet.drawing import contact_sheet
from tdcnet.metrics import DetectionMetrics, format_table
from tdcnet.report import Run, plots, write_report
from tdcnet.report.comparison import as_csv, as_markdown, tables_of, write_comparison
from tdcnet.results import DetectionWriter, write_json
from tdcnet.shown import LogFormatter, emphasised
from tests.report.test_report import SIZE, detections, recording

NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% for %}",
    "$\\frac{$",
    "a$b",
    "_hidden",
    '=HYPERLINK("http://x";"y")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\x1b]0;title\x07\x1b[2J\x1b[31mred",
    "invoice_\u202egnp.exe",
    "a\nERROR: forged",
    "[bold]x[/][/bold][link=http://x]",
    "a | b `c` ![x](y)",
    "x" * 300,
    "目标 \U0001f600",
    "\udcff not utf-8",
    " ",
    "%s %d {0}",
)


def quiet(text):
    """Nothing in it steers a terminal or hides what it says."""
    return all(line.isprintable() for line in text.split("\n"))


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


@pytest.mark.filterwarnings("error")
def test_the_report_shows_them_as_text(tmp_path):
    dataset = ClipDataset([recording(name, i, 2) for i, name in enumerate(NAMES)], SIZE, num_frames=2)
    frames = detections(dataset, miss=range(0, len(dataset), 4), alarms=range(len(dataset)))
    figures = DetectionMetrics().figures(frames)
    runs = [Run(name, frames, figures) for name in NAMES[:6]]
    page = write_report(tmp_path, runs, dataset, title=NAMES[0], command=NAMES[2], samples=5, pictures=len(NAMES))
    text = page.read_text()
    parsed = Tags(text)
    assert not parsed.tags & {"script", "iframe", "object", "a", "base", "form"}
    assert parsed.attributes <= {"lang", "charset", "name", "content", "class", "id", "src", "alt"}
    assert quiet(parsed.text) and "\u202e" not in text
    assert (
        "<script>alert(1)</script>, frame" in parsed.text and "{{ 7 * 7 }}" in parsed.text and "49" not in parsed.text
    )
    for row in csv.reader((tmp_path / "by_sequence.csv").read_text().splitlines()):
        assert not any(cell.lstrip().startswith(("=", "+", "@", "\t")) for cell in row)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NAMES)
def test_plots_draw_them(name):
    figure = Figure()
    axis = figure.add_subplot()
    axis.plot([0, 1], label=plots.label(name))
    axis.set_yticks([0], [plots.label(name)])
    (text,) = axis.legend().get_texts()  # a hidden label has none
    assert len(plots.label(name)) < 60
    plots.save(figure, io.BytesIO(), format="svg")
    assert text.get_text().replace("\\$", "$").strip()[:5].strip() in plots.label(name).replace("\\$", "$")


def row_of(name):
    return {
        "name": name,
        "seeds": 1,
        **{
            f"{key}{end}": 0.5
            for key in ("AP50", "Pd@0.1", "Pd@1", "Pd@0.05")
            for end in ("", " low", " high", " least", " most", " to first", " to first low", " to first high")
        },
        **{"parameters": 1000, "GFLOPs": 1.0, "ms": 2.0},
    }


def test_comparisons_show_them(tmp_path):
    rows = [row_of(name) for name in NAMES]
    terminal = Console(file=io.StringIO(), width=400, force_terminal=False)
    terminal.print(*tables_of(rows, "[/] title"))
    shown = terminal.file.getvalue()
    assert quiet(shown) and "[bold]x[/][/bold]" in shown and "[/] title" in shown
    assert len(write_comparison(tmp_path, rows, "AP50", "$\\title[")) == 3
    markdown = as_markdown(rows).splitlines()
    assert len({line.replace("\\|", "").count("|") for line in markdown if line.startswith("|")}) == 1
    assert "<script" not in as_markdown(rows).replace("\\<", "")
    cells = [row[0] for row in csv.reader(as_csv(rows).splitlines())]
    assert len(cells) == 1 + len(NAMES) and not any(cell.startswith(("=", "@")) for cell in cells)


def test_tables_and_lines_on_the_terminal_show_them():
    for name in NAMES:
        terminal = Console(file=io.StringIO(), width=1000, soft_wrap=True)
        terminal.print(format_table({name: 0.5, "AP50": 0.5}, title=name))
        terminal.print(emphasised(f"report in [bold]/tmp/{name}/[/]/page.html[/], {name}"), highlight=False)
        assert quiet(terminal.file.getvalue())
    assert emphasised("in [bold]/a[/]b[x]/c[/]: d").plain == "in /a[/]b[x]/c: d"


def test_detections_keep_them(tmp_path):
    found = {"boxes": np.array([[-1.5, 2, 3, 4]]), "scores": np.array([0.5]), "labels": np.array([0])}
    for i, name in enumerate(NAMES):
        with DetectionWriter(tmp_path / str(i), [name], video=name) as writer:
            writer.add(0, f"/x/{name}.png", (10, 10), found)
        header, row = csv.reader((tmp_path / f"{i}.csv").read_text().splitlines())
        assert row[:2] == ["0", "-1.500"] and len(row) == len(header)
        assert not row[-1].startswith(("=", "@")) and quiet(row[-1])
        json.loads((tmp_path / f"{i}.json").read_text(encoding="utf-8"))
    assert json.loads(write_json(tmp_path / "a.json", {"\udcff": "\udcff"}).read_text()) == {"?": "?"}


def test_logs_and_errors_show_them(tmp_path, capsys):
    for name in NAMES:
        line = LogFormatter("%(levelname)s: %(message)s").format(logging.makeLogRecord({"msg": "%s", "args": (name,)}))
        assert quiet(line)

        def work(name=name):
            raise DataError(f"/x/{name}: is bad")

        assert arguments.exit_status(work) == 1
        assert quiet(capsys.readouterr().err)
    callback = BadFrames(str(tmp_path))
    callback._collect(SimpleNamespace(world_size=1, global_rank=0), {"bad_frames": list(NAMES)})
    assert len((tmp_path / "bad_frames.txt").read_text().splitlines()) == len(NAMES)


def test_captions_of_any_length_are_drawn():
    tile = np.zeros((20, 60, 3), np.uint8)
    names = (*NAMES, "y" * 1_000_000, "\0")
    assert contact_sheet([tile] * len(names), names, columns=5).any()
