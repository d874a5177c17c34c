"""Files from a stranger, given to real commands: none of what they ask for may happen, and each is told in one message.

A command is train.py or a script, run as ``__main__`` in a process of its own (``child.py``).
"""

from __future__ import annotations

import contextlib
import json
import pickle
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import instantiate

from tdcnet.data.synthetic import SyntheticConfig, write_dataset
from tdcnet.deploy.record import Record
from tdcnet.deploy.weights import export, write_record
from tdcnet.models import tdcnet_nano
from tdcnet.models.single_stream import single_stream
from tests.integration.conftest import SMALL
from tests.security import child
from tests.security.child import Ended
from tests.security.payloads import CLEAN, PAYLOADS, Touch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(tmp_path) -> Callable[..., Ended]:
    """``command("train.py", *arguments, cwd=...)``."""
    return partial(child.command, tmp_path / "said.txt")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "clips"
    return write_dataset(root, SyntheticConfig(height=64, width=64, frames=6, hot_spots=(0, 0)), 1, 1)


@pytest.fixture
def canary(tmp_path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "stranger").mkdir()
    return tmp_path / "stranger"


@pytest.fixture
def options(clips, tmp_path) -> list[str]:
    return [
        *[o for o in SMALL if not o.startswith(("model", "dataset.augment"))],
        f"dataset.root={clips}",
        f"paths.cache_dir={tmp_path / 'cache'}",
        f"hydra.run.dir={tmp_path / 'run'}",
        "dataset.align=none",
        "logger=none",
        "stage.report=false",
    ]


def some(cases: Iterable[Any], *quick: Any) -> list[Any]:
    """All cases, of which only a few are in the suite and the others are tried by `make hostile`."""
    several = [case if isinstance(case, tuple) else (case,) for case in cases]
    wanted = [case if isinstance(case, tuple) else (case,) for case in quick]
    return [pytest.param(*case, marks=() if case in wanted else pytest.mark.slow) for case in several]


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return single_stream(tdcnet_nano(), "2d")


def nested(payload: dict, place: str) -> dict:
    """The payload in some part of a network's config, or in its place."""
    if not place:
        return payload
    config = json.loads(json.dumps(CLEAN))
    inside = config
    *path, last = place.split(".")
    for key in path:
        inside = inside[key]
    inside[last] = payload
    return config


def checkpoint(folder: Path, record: object, **more: object) -> Path:
    state = {f"model.{n}": v for n, v in network().state_dict().items()}
    torch.save({"state_dict": state, "tdcnet": record, **more}, folder / "evil.ckpt")
    return folder / "evil.ckpt"


def record(model: object = CLEAN, **old: object) -> dict:
    return {**Record(model={}).plain(), "model": model, **old} if not old else {"model": model, **old}


def refused(ended: Ended, canary: Path, names: str = "") -> None:
    assert not canary.exists(), "it ran"
    assert ended.status == 1, ended.said
    assert "error: " in ended.said and "Traceback" not in ended.said, ended.said
    assert names in ended.said, ended.said


def test_payloads_bite(tmp_path, monkeypatch):
    """They do what they must never do when Hydra builds them: else nothing below would mean anything."""
    monkeypatch.chdir(tmp_path)
    for name in ("torch.hub.load", "torch.load", "numpy.load", "distutils.spawn", "logging.FileHandler"):
        folder, canary = tmp_path / name, tmp_path / f"{name}.canary"
        folder.mkdir()
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            built = instantiate(PAYLOADS[name](folder, canary))
            getattr(built, "close", lambda: None)()
        assert canary.exists(), name


@pytest.mark.parametrize("name", some(PAYLOADS, "torch.hub.load", "numpy.load", "through this package"))
def test_a_checkpoint_builds_nothing_else(name, folder, canary, command, options):
    path = checkpoint(folder, record(PAYLOADS[name](folder, canary)))
    refused(command("train.py", "stage=eval", f"ckpt_path={path}", *options, cwd=folder), canary, "is refused: it asks")


PLACES = ["fusion", "head.prior", "backbone_tdc.temporal_conv", "attention", "extra"]


@pytest.mark.parametrize(
    ("place", "stage"),
    some(product(PLACES, ["eval", "predict", "deploy"]), ("fusion", "predict"), ("head.prior", "deploy")),
)
def test_nor_in_a_part_of_its_network(place, stage, folder, canary, command, options, clips):
    payload = PAYLOADS["torch.hub.load"](folder, canary)
    if place == "backbone_tdc.temporal_conv":
        payload["_partial_"] = True
    path = checkpoint(folder, record(nested(payload, place)))
    source = f"source={next(clips.glob('images/*'))}"
    options = [o for o in options if stage == "eval" or not o.startswith("stage.report")]
    refused(command("train.py", f"stage={stage}", f"ckpt_path={path}", source, *options, cwd=folder), canary)


@pytest.mark.parametrize("text", ["${", "${oc.env:HOME}"])
def test_what_its_network_says_is_no_config(text, folder, canary, command, options):
    path = checkpoint(folder, record({**CLEAN, "init": text}))
    ended = command("train.py", "stage=eval", f"ckpt_path={path}", *options, cwd=folder)
    refused(ended, canary, f"init is {text!r}")


OVERRIDES = [
    "module.max_minutes={PAYLOAD}",
    "dataset.intensity_range={PAYLOAD}",
    "+dataset.x={PAYLOAD}",
    "dataset.size={PAYLOAD}",
    "dataset.generate={PAYLOAD}",
    "+callbacks.x={PAYLOAD}",
    "+trainer.plugins=[{PAYLOAD}]",
    "dataset.read={PAYLOAD}",
    "module.optimizer={PAYLOAD}",
    "+hydra.callbacks.x={PAYLOAD}",
    "hydra.searchpath=[file://FOLDER]",
    "+experiment=FOLDER/evil",
    "dataset=FOLDER/evil",
    "--config-dir=FOLDER",
    "dataset.cache_dir=CANARY",
    "dataset.homography_dir=CANARY",
    "paths.output_dir=CANARY",
    "hydra.run.dir=CANARY",
]


@pytest.mark.parametrize("override", some(OVERRIDES, OVERRIDES[0], OVERRIDES[2]))
def test_a_stored_command_line_decides_nothing(override, folder, canary, command, options):
    payload = PAYLOADS["torch.hub.load"](folder, canary)
    text = "{" + ",".join(f"{k}: '{v}'" for k, v in payload.items()) + "}"
    (folder / "evil.yaml").write_text(f"# @package _global_\nmodule: {json.dumps({'max_minutes': payload})}\n")
    stored = override.replace("{PAYLOAD}", text).replace("FOLDER", str(folder)).replace("CANARY", str(canary))
    path = checkpoint(folder, record(name="x", dataset="synthetic", overrides=[stored]))
    ended = command("train.py", "stage=eval", f"ckpt_path={path}", *options, cwd=folder)
    assert ended.status == 0 and not canary.exists(), ended.said


@pytest.mark.parametrize(
    "dataset", some(["../../evil", "/evil", "evil", "${oc.env:HOME}", "../experiment/demo"], "evil")
)
def test_a_data_set_is_chosen_among_the_configs_there_are(dataset, folder, canary, command, options, clips):
    (folder / "evil.yaml").write_text(f"generate: {json.dumps(PAYLOADS['torch.hub.load'](folder, canary))}\n")
    path = checkpoint(folder, record(dataset=dataset, name="x"))
    options = [o for o in options if not o.startswith(("dataset=", "dataset.generate"))]
    ended = command("train.py", "stage=eval", f"ckpt_path={path}", *options, cwd=folder)
    assert not canary.exists() and "Traceback" not in ended.said, ended.said


HIDDEN = {
    "hyper_parameters": lambda p: {
        "hyper_parameters": {"model": p, "_class_path": "os.system", "_instantiator": "os.x"}
    },
    "hparams_type": lambda p: {"hparams_name": "kwargs", "hparams_type": "omegaconf.DictConfig", "hyper_parameters": p},
    "datamodule": lambda p: {"datamodule_hyper_parameters": p, "ClipDataModule": p},
    "callbacks": lambda p: {"callbacks": {"EMA": p, "ModelCheckpoint": p}},
    "optimizer": lambda p: {"optimizer_states": [p], "lr_schedulers": [p], "loops": p},
    "ema": lambda p: {"ema": p},
}


@pytest.mark.parametrize(
    ("place", "stage"), some(product(HIDDEN, ["eval", "train"]), ("ema", "eval"), ("callbacks", "train"))
)
def test_nothing_else_in_a_checkpoint_is_built(place, stage, folder, canary, command, options):
    path = checkpoint(folder, record(), **HIDDEN[place](PAYLOADS["torch.hub.load"](folder, canary)))
    options = [o for o in options if not o.startswith("dataset.augment")]
    model = [] if stage == "eval" else ["model=tdcnet_nano", "model/fusion=only_2d", "dataset.augment=null"]
    ended = command("train.py", f"stage={stage}", f"ckpt_path={path}", *options, *model, cwd=folder)
    assert not canary.exists(), ended.said
    assert "Traceback" not in ended.said, ended.said


@pytest.mark.parametrize(
    ("how", "stage"),
    some(
        product(["torch", "pickle", "legacy"], ["eval", "train", "compare", "official"]),
        *[("torch", "eval"), ("torch", "train"), ("legacy", "official")],
    ),
)
def test_a_pickle_is_refused_wherever_a_checkpoint_is_taken(how, stage, folder, canary, command, options):
    path = folder / "evil.ckpt"
    content = {"state_dict": {"model.x": Touch(canary)}, "tdcnet": Touch(canary)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how != "legacy")
    if stage == "official":
        ended = command("tdcnet", "convert-official", str(path), str(folder / "out.ckpt"), cwd=folder)
    elif stage == "compare":
        good = checkpoint(folder, record()).rename(folder / "good.ckpt")
        if how != "pickle":
            torch.save(content, path)
        else:
            path.write_bytes(pickle.dumps(content))
        given = [o for o in options if not o.startswith("stage.report")]
        ended = command("train.py", "stage=eval", f"ckpt_path={good}", f"stage.compare=[{path}]", *given, cwd=folder)
    else:
        ended = command("train.py", f"stage={stage}", f"ckpt_path={path}", *options, cwd=folder)
    refused(ended, canary)


@pytest.mark.parametrize(
    ("kind", "name"),
    some(
        product(
            ["safetensors", "onnxruntime", "openvino"],
            ["torch.hub.load", "numpy.load", "distutils.spawn", "through its layers"],
        ),
        ("safetensors", "torch.hub.load"),
    ),
)
def test_an_exported_folder_builds_nothing_else(kind, name, folder, canary, command, options):
    export(folder, network(), Record(model=CLEAN))
    content = json.loads((folder / "config.json").read_text())
    content |= {"model": PAYLOADS[name](folder, canary)}
    (folder / "config.json").write_text(json.dumps(content))
    backend = []
    if kind != "safetensors":
        pytest.importorskip(kind)
        backend = [f"backend={kind}"]
        (folder / ("model.onnx" if kind == "onnxruntime" else "model.xml")).write_bytes(b"<net/>")
    ended = command("train.py", "stage=eval", f"ckpt_path={folder}", *backend, *options, cwd=folder)
    refused(ended, canary)


@pytest.mark.parametrize("kind", some(["onnxruntime", "openvino"], "onnxruntime"))
def test_a_stored_command_line_beside_a_graph_decides_nothing(kind, folder, canary, command, options):
    pytest.importorskip(kind)
    write_record(folder, Record(model=CLEAN))
    payload = json.dumps(PAYLOADS["torch.hub.load"](folder, canary))
    content = {"model": CLEAN, "overrides": [f"module.max_minutes={payload}"]}
    (folder / "config.json").write_text(json.dumps(content))
    (folder / ("model.onnx" if kind == "onnxruntime" else "model.xml")).write_bytes(b"<net/>")
    ended = command("train.py", "stage=eval", f"backend={kind}", f"ckpt_path={folder}", *options, cwd=folder)
    refused(ended, canary, "cannot be read by")


RUN_CONFIG = {
    "model": {"_target_": "tdcnet.models.classical.TopHat"},
    "dataset": {"classes": ["target"], "size": [64, 64], "num_frames": 5, "stride": 1},
    "module": {"metrics": {"_target_": "tdcnet.metrics.DetectionMetrics", "distance": 3.0}},
    "ckpt_path": None,
}


def stranger_run(folder: Path, config: str) -> Path:
    run = folder / "run"
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "config.yaml").write_text(config)
    (run / "predictions.json").write_text("[]")
    image = {"id": 1, "file_name": "a/0", "width": 64, "height": 64, "video_id": 1, "frame_id": 0}
    truth = {
        "videos": [{"id": 1, "name": "a"}],
        "images": [image],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}],
        "categories": [{"id": 1, "name": "target"}],
    }
    (run / "ground_truth.json").write_text(json.dumps(truth))
    return run


@pytest.mark.parametrize(
    ("name", "place"),
    some(
        product(
            ["torch.hub.load", "numpy.load", "runpy.run_path", "through this package"],
            ["module.metrics", "module.metrics.rule", "tag", "interpolation"],
        ),
        *[("torch.hub.load", "module.metrics.rule"), ("numpy.load", "tag"), ("torch.hub.load", "module.metrics")],
    ),
)
def test_a_strangers_run_is_compared_without_building_anything(name, place, folder, canary, command):
    payload = PAYLOADS[name](folder, canary)
    config = json.loads(json.dumps(RUN_CONFIG))
    if place == "module.metrics":
        config["module"]["metrics"] = payload
    elif place == "module.metrics.rule":
        config["module"]["metrics"]["rule"] = payload
    elif place == "interpolation":
        config["dataset"]["size"] = "${oc.create:" + json.dumps(payload) + "}"
    text = yaml.safe_dump(config)
    if place == "tag":
        text += f"x: !!python/object/apply:os.mkdir ['{canary}']\n"
    run = stranger_run(folder, text)
    ended = command("tdcnet", "compare", str(run), "--out", str(folder), cwd=folder)
    assert not canary.exists() and "Traceback" not in ended.said, ended.said
    if place != "module.metrics":
        assert ended.status == 1, ended.said


@pytest.mark.parametrize(("side", "frames"), some([(16384, 1000), (8192, 5)], (16384, 1000)))
def test_a_strangers_run_fills_no_memory(side, frames, folder, command):
    config = {**RUN_CONFIG, "dataset": {**RUN_CONFIG["dataset"], "size": [side, side], "num_frames": frames}}
    run = stranger_run(folder, yaml.safe_dump(config))
    ended = command("tdcnet", "compare", str(run), "--out", str(folder), cwd=folder)
    assert ended.status == 1 and "Traceback" not in ended.said, ended.said
    assert f"config.yaml: asks for clips of {frames} frames" in ended.said


def test_a_data_sets_yaml_makes_no_objects(folder, canary, command):
    (folder / "data.yaml").write_text(f"train: !!python/object/apply:os.mkdir ['{canary}']\nval: images\nnames: [a]\n")
    (folder / "images").mkdir()
    given = ("--format", "yolo", "--root", str(folder), str(folder / "out"))
    ended = command("tdcnet", "check", *given, cwd=folder)
    assert not canary.exists() and "Traceback" not in ended.said and ended.status == 1, ended.said


def test_kept_arrays_hold_no_objects(folder, canary, command, options, clips, tmp_path):
    """A cache that somebody else may write to, as on a shared disk."""
    options = [o for o in options if not o.startswith("dataset.align")]
    path = checkpoint(folder, record())
    given = ("train.py", "stage=eval", f"ckpt_path={path}", *options, "dataset.decode=ahead")
    assert command(*given, cwd=folder).status == 0
    array = np.empty(1, dtype=object)
    array[0] = Touch(canary)
    kept = [p for p in (tmp_path / "cache").rglob("*") if p.suffix in (".npz", ".npy")]
    assert {p.suffix for p in kept} >= {".npz"}
    for file in kept:
        if file.suffix == ".npz":
            names = ("homographies", "tag", "segments", "sha256")
            np.savez(file, allow_pickle=True, **dict.fromkeys(names, array))
        else:
            np.save(file, array, allow_pickle=True)
    ended = command(*given, cwd=folder)
    assert not canary.exists() and ended.status == 0, ended.said


def test_modules_in_the_working_folder_are_not_what_is_imported(folder, canary, command, options):
    """No file is imported because a checkpoint lies beside it."""
    (folder / "payload_module.py").write_text(f"open({str(canary)!r}, 'w')\nclass Net: pass\n")
    path = checkpoint(folder, record({**CLEAN, "neck": {"_target_": "payload_module.Net"}}))
    refused(command("train.py", "stage=eval", f"ckpt_path={path}", *options, cwd=folder), canary, "allow=[PACKAGE]")


def test_the_users_word_lets_their_own_parts_in(folder, canary, command, options):
    (folder / "own_parts.py").write_text("from tdcnet.models import TopDownNeck\nclass Neck(TopDownNeck):\n    pass\n")
    path = checkpoint(folder, record({**CLEAN, "neck": {"_target_": "own_parts.Neck", "in_channels": [32, 64, 128]}}))
    ended = command("train.py", "stage=eval", f"ckpt_path={path}", "allow=[own_parts]", *options, cwd=folder)
    assert ended.status == 0, ended.said
