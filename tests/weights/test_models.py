"""The detectors that come with the package, and those of the hub."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tdcnet
from tdcnet.commands.models import main as models
from tdcnet.deploy.gate import build_network
from tdcnet.deploy.optional import MissingPackage
from tdcnet.deploy.transfer import take_over
from tdcnet.deploy.weights import CheckpointError, read_weights
from tdcnet.inference.detector import load
from tdcnet.weights import DEFAULT, ROOT, card_of, find, hub, list_models

DOCS = Path(__file__).parents[2] / "docs" / "models.md"


def scene(frames=70, size=(256, 320), seed=0):
    """A sky that hardly moves, and a small target that does; frames and its centres."""
    rng = np.random.default_rng(seed)
    sky = cv2.GaussianBlur(rng.normal(0, 1, size).astype(np.float32), (0, 0), 12)
    sky = 110 + 12 * sky / sky.std()
    images, centres = [], []
    y, x = np.mgrid[: size[0], : size[1]]
    for t in range(frames):
        cx, cy = 90 + 1.3 * t, 120 + 0.4 * t
        spot = 75 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 2.2**2))
        images.append((sky + spot + rng.normal(0, 2, size)).clip(0, 255).astype(np.uint8))
        centres.append((cx + 0.5, cy + 0.5))
    return images, centres


@pytest.mark.parametrize("name", list_models())
def test_a_model_is_what_its_card_tells(name):
    card, folder = card_of(name), ROOT / name
    data = (folder / "model.safetensors").read_bytes()
    assert card["sha256"] == hashlib.sha256(data).hexdigest() and card["bytes"] == len(data) <= 8_000_000
    kernels = [value for value in load_file(folder / "model.safetensors").values() if value.ndim > 1]
    assert {value.dtype for value in kernels} == {torch.float16}
    detector = tdcnet.load(name)
    assert sum(p.numel() for p in detector.network.parameters()) == card["parameters"]
    assert detector.threshold == card["threshold"] and detector.name == name
    assert (
        detector.info["data"]["licence"] == "CC0 1.0" and detector.info["sha256"]["model.safetensors"] == card["sha256"]
    )
    for figure in ("AP50", "Pd@1", "Pd@0.1", "Pd@0.05"):
        assert 0 < card["figures"][figure]["low"] <= card["figures"][figure]["value"] <= card["figures"][figure]["high"]
    assert sum(row["targets"] for row in card["by"]["side"]) == card["targets"]
    assert card["bad_at"] and "dataset.root=PATH" in card["training"]["command"]
    assert "/" not in card["training"]["command"].replace("zoo/", "")


@pytest.mark.parametrize("name", list_models())
def test_a_model_finds_what_moves(name):
    """On frames unlike those that it was trained on."""
    images, centres = scene()
    hits = alarms = 0
    found = list(tdcnet.load(name).predict(images))[48:]
    for _, each in found:
        away = np.hypot(*((each.boxes[:, :2] + each.boxes[:, 2:]) / 2 - centres[each.index]).T)
        hits += bool((away < 3).any())
        alarms += int((away >= 3).sum())
    assert hits >= 0.9 * len(found) and alarms <= 0.1 * len(found)


def test_a_training_may_start_from_a_model():
    for name in list_models():
        weights = read_weights(find(name))
        taken = take_over(build_network(weights.record.model, name), weights, name)
        assert not taken.own and not taken.left


def test_weights_that_were_changed_are_refused(tmp_path):
    folder = shutil.copytree(ROOT / DEFAULT, tmp_path / "copy")
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="its SHA-256 differs"):
        load(folder)
    (folder / "card.json").write_text("[1, 2")
    shutil.copy(ROOT / DEFAULT / "model.safetensors", folder)
    assert load(folder).card == {}, "a card that cannot be read changes nothing"


def test_names_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tdcnet.list_models() == list_models() and DEFAULT in list_models()
    with pytest.raises(FileNotFoundError, match=rf"is called motion2d; the models are .*Did you mean {DEFAULT}\?"):
        tdcnet.load("motion2d")
    with pytest.raises(ValueError, match="there is no model 'x'"):
        card_of("x")
    Path(DEFAULT).mkdir()
    assert find(DEFAULT) == ROOT / DEFAULT and find(f"./{DEFAULT}") == Path(DEFAULT)


def test_the_command_lists_models_and_tells_one(capsys):
    assert models([]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in list_models()) and f"tdcnet predict clip.mp4 uses {DEFAULT}" in said
    assert models([DEFAULT]) == 0
    assert card_of(DEFAULT)["sha256"] in capsys.readouterr().out
    with pytest.raises(SystemExit):
        models(["gone"])


def test_the_page_on_models_is_that_of_the_cards():
    code = "import sys; sys.path.insert(0, 'scripts'); import zoo; print(zoo.page(), end='')"
    root = DOCS.parents[1]
    made = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert made == DOCS.read_text(encoding="utf-8")


def test_listing_models_loads_no_network():
    code = "import sys, tdcnet; tdcnet.list_models(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.fixture
def hosted(monkeypatch, tmp_path):
    """A hub that has one model, and what it was asked for."""
    asked = []

    def snapshot_download(name, revision, allow_patterns):
        asked.append((name, revision, allow_patterns))
        if name == "gone/gone":
            raise OSError("401 Client Error\nmore")
        return str(ROOT / DEFAULT if name == "a/b" else tmp_path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot_download))
    monkeypatch.setattr("tdcnet.weights.hub.optional.missing", lambda names: [])
    return asked


def test_a_model_of_the_hub_is_fetched_without_its_code(hosted, caplog):
    caplog.set_level("INFO")
    assert tdcnet.load("hf:a/b@main").threshold == card_of(DEFAULT)["threshold"]
    assert hosted == [("a/b", "main", ["model.safetensors", "config.json", "card.json"])]
    assert card_of(DEFAULT)["sha256"] in caplog.text
    for name, said in (
        ("gone/gone", r"hf:gone/gone could not be fetched \(401 Client Error\)"),
        ("c/d", r"hf:c/d has no model\.safetensors and no config\.json"),
    ):
        with pytest.raises(FileNotFoundError, match=said):
            tdcnet.load(f"hf:{name}")
    for name in ("a", "a/b/c", "../x", "a/b@", "a/b@x y"):
        with pytest.raises(ValueError, match="names no model"):
            hub.fetch(name)


def test_the_hub_needs_its_package(monkeypatch):
    monkeypatch.setattr("tdcnet.weights.hub.optional.missing", list)
    with pytest.raises(MissingPackage, match="pip install huggingface_hub"):
        find("hf:a/b")


def test_cards_hold_plain_text():
    for name in list_models():
        assert "NaN" not in json.dumps(card_of(name))
