"""Figures of drone_ir without what is to be seen in its validation videos and was never labelled.

python scripts/unlabelled.py logs/eval/RUN logs/eval/OTHER/hard

In three of the 21 validation videos things fly, drive and walk that have no box; `drone_ir_unlabelled.csv` beside this
script says where they are, as looked at by eye. A detector that finds them is said to give false alarms. This takes the
results of stage=eval and tells Pd as they are, and with detections on these things counted neither way.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tdcnet.comparison import read_entries
from tdcnet.files import read_yaml
from tdcnet.metrics.outcomes import pd_at

LISTED = Path(__file__).with_name("drone_ir_unlabelled.csv")
NEAR = 6.0
"""px from the centre of a detection to such a thing that it is taken to be of."""
AROUND = 30
"""Frames before the first and after the last place listed, in which it is taken to be there still."""
MOVED = ("Shake", "Dropped", "Repeated")
"""Ways to make clips harder after which what is listed is not where it was."""
BUDGETS = (1.0, 0.1, 0.05, 0.01)


def places(listed: Path = LISTED) -> dict[str, list[np.ndarray]]:
    """Of each video, for each thing in it its places: rows of frame, x, y in px of the frame."""
    found: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    with listed.open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["video"], row["what"]].append([float(row[key]) for key in ("frame", "x", "y")])
    of_video: dict[str, list[np.ndarray]] = defaultdict(list)
    for (video, _), rows in found.items():
        of_video[video].append(np.array(sorted(rows)))
    return of_video


def is_of_one(things: list[np.ndarray], frame: int, centre: np.ndarray) -> bool:
    """Whether a place of a frame is one of theirs; between the frames listed they move evenly."""
    for at, x, y in (thing.T for thing in things):
        if at[0] - AROUND <= frame <= at[-1] + AROUND:
            there = np.array([np.interp(frame, at, x), np.interp(frame, at, y)])
            if np.hypot(*(centre - there)) <= NEAR:
                return True
    return False


def without(detections: list[dict[str, Any]], truth: dict[str, Any]) -> list[dict[str, Any]]:
    """COCO results without those on what is not labelled."""
    name = {video["id"]: video["name"] for video in truth["videos"]}
    image = {each["id"]: (name[each["video_id"]], each["frame_id"]) for each in truth["images"]}
    of_video = places()
    kept = []
    for each in detections:
        video, frame = image[each["image_id"]]
        x, y, width, height = each["bbox"]
        if not is_of_one(of_video.get(video, []), frame, np.array([x + width / 2, y + height / 2])):
            kept.append(each)
    return kept


def unfit(run: Path) -> str:
    """Why a run says nothing here; empty if it does."""
    config = run / ".hydra" / "config.yaml"
    if not config.is_file():
        return "is no run of stage=eval; expected a folder with .hydra/config.yaml and predictions.json"
    ways = (read_yaml(config).get("dataset") or {}).get("degrade") or {}
    moved = [name for name, way in ways.items() if str(way.get("_target_")).rpartition(".")[2] in MOVED]
    return f"its clips were made harder by {moved[0]}, after which places or frames are others" if moved else ""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of stage=eval on drone_ir; several are averaged")
    runs = parser.parse_args(argv).runs
    with tempfile.TemporaryDirectory() as work:
        copies = []
        for number, run in enumerate(runs):
            if told := unfit(run):
                parser.error(f"{run}: {told}")
            copies.append(Path(work) / str(number))
            shutil.copytree(
                run, copies[-1], ignore=shutil.ignore_patterns("checkpoints", "tensorboard", "*.html", "*.png")
            )
            truth = json.loads((run / "ground_truth.json").read_text())
            kept = without(json.loads((run / "predictions.json").read_text()), truth)
            (copies[-1] / "predictions.json").write_text(json.dumps(kept))
        entries = read_entries({"as labelled": runs, "without": copies})
        table = Table(title=f"Pd, mean of {len(runs)} runs" if len(runs) > 1 else "Pd")
        for column in ("false alarms per frame", "as labelled", "without what has no label"):
            table.add_column(column, justify="right")
        for budget in BUDGETS:
            pd = [statistics.fmean(pd_at(each["Pd@1"], budget) for each in entry.outcomes) for entry in entries]
            table.add_row(f"{budget:g}", *(f"{value:.3f}" for value in pd))
        Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
