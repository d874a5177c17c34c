"""Writes docs/api.md, what one calls from Python, from the docstrings.

python scripts/api.py
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs" / "api.md"
SHOWN = {
    "Detection": ("tdcnet.inference.detector.load", "tdcnet.list_models", "tdcnet.inference.detector.Detector"),
    "What predict gives": (
        "tdcnet.inference.predictions.Predictions",
        "tdcnet.inference.predictions.Prediction",
        "tdcnet.inference.found.Found",
        "tdcnet.inference.writer.PredictionWriter",
    ),
    "Streams and tracks": (
        "tdcnet.streaming.sources.open_source",
        "tdcnet.streaming.stream.Stream",
        "tdcnet.streaming.stream.Seen",
        "tdcnet.streaming.frames.LiveFrame",
        "tdcnet.tracking.stream.TrackStream",
        "tdcnet.tracking.stream.Tracked",
        "tdcnet.tracking.tracker.TrackPoint",
        "tdcnet.tracking.tracker.TrackerOptions",
        "tdcnet.streaming.alarms.Rule",
    ),
    "Networks": ("tdcnet.models.tdcnet", "tdcnet.models.motion_2d", "tdcnet.models.postprocess"),
    "Loss": ("tdcnet.losses.DetectionLoss",),
    "Data": (
        "tdcnet.data.sequence.Sequence",
        "tdcnet.data.clips.ClipDataset",
        "tdcnet.data.datamodule.ClipDataModule",
        "tdcnet.data.alignment.Aligner",
    ),
    "Metrics": ("tdcnet.metrics.DetectionMetrics",),
    "Files": ("tdcnet.deploy.weights.load_detector", "tdcnet.deploy.weights.export", "tdcnet.deploy.record.Record"),
}
"""Heading -> what stands below it."""


def main() -> None:
    """Writes the page."""
    DOCS.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page."""
    parts = ["# Python\n\nWhat one calls, from its docstrings (`python scripts/api.py`)."]
    for heading, names in SHOWN.items():
        parts.append(f"## {heading}")
        parts += [section(name) for name in names]
    return "\n\n".join(parts) + "\n"


def section(name: str) -> str:
    """A class with its public methods, or a function."""
    module, _, attribute = name.rpartition(".")
    thing = getattr(importlib.import_module(module), attribute)
    name = name.replace("tdcnet.inference.detector.load", "tdcnet.load")
    text = f"### `{name}`\n\n```text\n{attribute}{signature(thing)}\n```\n\n{markdown(inspect.getdoc(thing) or '')}"
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            if member.startswith("_") or not (inspect.isfunction(value) or isinstance(value, property)):
                continue
            if not (doc := inspect.getdoc(value)):
                continue
            call = "" if isinstance(value, property) else signature(value)
            text += f"\n\n#### `.{member}`\n\n" + (f"```text\n{member}{call}\n```\n\n" if call else "") + markdown(doc)
    return text


def signature(thing: Any) -> str:
    """How it is called, an argument per line where it is long."""
    found = inspect.signature(thing)
    given: list[str] = []
    for each in found.parameters.values():
        if each.kind is each.KEYWORD_ONLY and "*" not in given:
            given.append("*")
        star = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        kind = "" if each.annotation is each.empty else f": {each.annotation}"
        default = "" if each.default is each.empty else f" = {getattr(each.default, '__name__', repr(each.default))}"
        given += [] if each.name == "self" else [f"{star}{each.name}{kind}{default}"]
    gives = "" if found.return_annotation in (found.empty, "None") else f" -> {found.return_annotation}"
    line = f"({', '.join(given)}){gives}"
    return line if len(line) < 90 else "(\n    " + ",\n    ".join(given) + f",\n){gives}"


def markdown(doc: str) -> str:
    """A docstring in Markdown: sections become lists, roles and double back-ticks code."""
    doc = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", doc).replace("``", "`")
    lines: list[str] = []
    inside = False
    for line in doc.splitlines():
        if re.fullmatch(r"(Args|Attributes|Returns|Raises):", line):
            lines += ["", f"**{line[:-1]}**", ""]
            inside = True
        elif inside and (entry := re.match(r"    (\w[\w, .*]*): (.*)", line)):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif inside and line.startswith("    "):
            lines.append(f"  {line.strip()}" if lines[-1] else line.strip())
        else:
            inside = inside and not line
            lines.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip().replace("Args**", "Arguments**")


if __name__ == "__main__":
    main()
