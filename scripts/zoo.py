"""Makes the detectors that come with the package (tdcnet/weights) from their trainings, and the page on them.

python scripts/zoo.py CHECKPOINT NAME --root DRONE_IR
python scripts/zoo.py --again NAME --root DRONE_IR
python scripts/zoo.py --docs

The trainings: tdcnet train +experiment=zoo/NAME dataset.root=DRONE_IR. A checkpoint is exported, its weights are
rounded to half precision, and what the card tells is measured on these. zoo.json holds what no program can tell of each
model: what it is for, what it is bad at, other seeds, the machine.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from tdcnet.commands.models import card_text
from tdcnet.data.clips import ClipDataset, thin
from tdcnet.data.formats import drone_ir
from tdcnet.deploy.fold import reparameterize
from tdcnet.deploy.weights import CONFIG, WEIGHTS, export, load_detector, load_plain, read_record, write_record
from tdcnet.results import write_json
from tdcnet.weights import CARD, ROOT, card_of, list_models

TEXTS = Path(__file__).with_name("zoo.json")
DOCS = Path(__file__).parents[1] / "docs" / "models.md"
FIGURES = ("AP50", "Pd@1", "Pd@0.1", "Pd@0.05")
"""With intervals, from summary.csv."""
STRESS_STEP = 60
"""Frames from one to the next that stage=stress looks at."""
PLAIN = ("AP", "Pd@0.01")
"""Without, from metrics.json."""


def main() -> None:
    """Packs a checkpoint, or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path)
    parser.add_argument("name", nargs="?", help="of the model")
    parser.add_argument("--root", type=Path, help="folder of drone_ir")
    parser.add_argument("--again", metavar="NAME", help="measures the figures of a model that is there")
    parser.add_argument("--docs", action="store_true", help=f"writes {DOCS} from the cards that are there")
    given = parser.parse_args()
    if given.again is not None:
        if given.root is None:
            parser.error("--root is needed to evaluate the model")
        again(given.again, given.root)
    elif given.name is not None:
        if given.root is None:
            parser.error("--root is needed to evaluate the model")
        pack(given.checkpoint, given.name, given.root)
    elif not given.docs:
        parser.error("give CHECKPOINT and NAME, or --docs")
    DOCS.write_text(page(), encoding="utf-8")


def pack(checkpoint: Path, name: str, root: Path) -> None:
    """Writes the folder of a model."""
    folder, texts = ROOT / name, json.loads(TEXTS.read_text(encoding="utf-8"))[name]
    with tempfile.TemporaryDirectory() as place:
        at = Path(place)
        stage("deploy", f"ckpt_path={checkpoint}", f"dataset.root={root}", "stage.formats=[]", at / "deploy")
        network = load_detector(checkpoint)  # in training form, which others may start from
        record = read_record(at / "deploy" / "deploy" / CONFIG)
        seed = int(dict(word.partition("=")[::2] for word in shlex.split(record.command)).get("seed", 0))
        command = texts.get("command") or " ".join(
            re.sub(r"^(dataset\.root)=.*", r"\1=PATH", word) for word in shlex.split(record.command)
        ).replace("python app.py", "python train.py")
        export(folder, halved(network), replace(record, name=name, command=command))
        metrics, measured = measure(folder, root, at)
        threshold = metrics["threshold@0.1"]
        record = replace(read_record(folder / CONFIG), threshold=threshold)
        write_record(folder, record)
    content = load_plain(checkpoint)
    train, validation = (drone_ir.read(root, split, problems=None, cache_dir=None) for split in ("train", "val"))
    evaluated = ClipDataset(validation, record.size, image_step=10, image_offset=5)
    assert len(evaluated) == metrics["frames"]
    card = {
        "summary": texts["summary"],
        "network": texts["network"],
        "parameters": sum(p.numel() for p in reparameterize(network.float()).parameters()),
        "bytes": (folder / WEIGHTS).stat().st_size,
        "sha256": record.files[WEIGHTS],
        "clip": f"{record.num_frames} frames {record.stride} apart at {record.rate:g} frames a second, "
        f"{record.size[1]}x{record.size[0]} px, {record.scale:g} px for a px of the training's frames",
        "licence": "Apache-2.0",
        "data": {
            "name": "drone_ir, the infrared half of Drone-detection-dataset (Svanström and others, 2020)",
            "licence": "CC0 1.0",
            "train": counted(train),
            "validation": counted(validation),
            "validation_sha256": evaluated.fingerprint,
        },
        "training": {
            "command": command,
            "seed": seed,
            "steps": int(content["global_step"]),
            "minutes": float(content["minutes"]),
            "machine": texts["machine"],
        },
        "threshold": threshold,
        "frames": int(metrics["frames"]),
        "targets": int(metrics["targets"]),
        **measured,
        "seeds": texts["seeds"],
        "bad_at": texts["bad_at"],
    }
    write_json(folder / CARD, card)


def again(name: str, root: Path) -> None:
    """Measures what the card tells of weights that are there."""
    folder, texts = ROOT / name, json.loads(TEXTS.read_text(encoding="utf-8"))[name]
    with tempfile.TemporaryDirectory() as place:
        _, measured = measure(folder, root, Path(place))
    told = {key: texts[key] for key in ("summary", "seeds", "bad_at")}
    write_json(folder / CARD, json.loads((folder / CARD).read_text()) | measured | told)


def measure(folder: Path, root: Path, at: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures of an evaluation of a model, and what its card tells of it."""
    stage("eval", f"ckpt_path={folder}", f"dataset.root={root}", at / "eval")
    stage("eval", f"ckpt_path={folder}", f"dataset.root={root}", "+dataset/degrade=hard", at / "hard")
    stage(
        "stress",
        f"ckpt_path={folder}",
        f"dataset.root={root}",
        f"dataset.val_step={STRESS_STEP}",
        "stage.baselines=[]",
        at / "stress",
    )
    return json.loads((at / "eval" / "metrics.json").read_text()), {
        "figures": figures_of(at / "eval"),
        "hard": figures_of(at / "hard"),
        "stress": stress_of(at / "stress" / "stress.json"),
        "by": {kind: bins(at / "eval" / f"by_{kind}.csv") for kind in ("side", "scr", "speed")},
    }


def figures_of(folder: Path) -> dict[str, Any]:
    """Those of an evaluation, with intervals where there are some."""
    (summary,), metrics = rows(folder / "summary.csv"), json.loads((folder / "metrics.json").read_text())
    figures: dict[str, Any] = {
        each: {
            "value": float(summary[each]),
            "low": float(summary[f"{each} low"]),
            "high": float(summary[f"{each} high"]),
        }
        for each in FIGURES
    }
    return figures | {each: {"value": metrics[each]} if metrics.get(each) is not None else None for each in PLAIN}


def stress_of(path: Path) -> dict[str, Any]:
    """The mean Pd at 0.1 of a stage=stress, and that of each way's hardest step."""
    told = json.loads(path.read_text())
    last = {row["way"]: row for row in told["rows"] if row["detector"] == told["detectors"][0]["detector"]}
    return {
        "step": STRESS_STEP,
        "mean": told["detectors"][0]["mean"],
        "hardest": {
            way: {"strength": row["strength"], "Pd@0.1": row["Pd@0.1"]} for way, row in last.items() if way != "plain"
        },
    }


def halved(network: nn.Module) -> nn.Module:
    """The network with kernels and matrices in half precision; vectors, such as variances, are few and stay whole."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data.half()
    return network


def stage(name: str, *arguments: str | Path) -> None:
    """Runs a stage in a process of its own; the last argument is its folder."""
    *options, folder = arguments
    command = [sys.executable, "-m", "tdcnet.stages.app", f"stage={name}", *map(str, options), "trainer=cpu"]
    command += ["trainer.devices=1", "trainer.strategy=auto", f"hydra.run.dir={folder}"]
    subprocess.run(command, check=True)


def rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def bins(path: Path) -> list[dict[str, Any]]:
    """Of each bin with targets its bounds and figures."""
    return [
        {
            "from": float(row["from"]),
            "to": "" if math.isinf(float(row["to"])) else f"{float(row['to']):g}",
            "targets": int(float(row["targets"])),
            "Pd@0.1": float(row["Pd@0.1"]),
            "AP50": float(row["AP50"]),
        }
        for row in rows(path)
        if float(row["targets"])
    ]


def counted(sequences: list[Any]) -> str:
    """How much data that is."""
    return f"{len(sequences)} videos of {sum(len(thin(each).indices) for each in sequences):,} frames"


def page() -> str:
    """The page on all models."""
    parts = [
        card_text(name, card_of(name)).replace("\n## ", "\n### ").replace("# ", "## ", 1) for name in list_models()
    ]
    head = """# Models

Detectors that come with the package: `tdcnet.load(NAME)`, `ckpt_path=NAME`, `init_from=NAME`. This page is made of
their cards (`python scripts/zoo.py --docs`; `tdcnet models NAME` prints one). None was evaluated on what it was trained
on.

"""
    return head + "\n".join(parts)


if __name__ == "__main__":
    main()
