from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.commands import score_masks
from tests.conftest import GOLDEN


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The golden masks as files, in two sequences; predictions as scores of 100 and 200 of 255."""
    data = np.load(GOLDEN / "protocols.npz")
    shape = tuple(data["shape"])
    for name, values in (("true", (0, 1)), ("found", (100, 200))):
        key = {"true": "targets", "found": "predictions"}[name]
        masks = np.unpackbits(data[key])[: np.prod(shape)].reshape(shape)
        for i, mask in enumerate(masks):
            suffix = ".png" if name == "true" else ".bmp"
            write(tmp_path / name / f"s{i % 2}" / f"{i}{suffix}", np.array(values, np.uint8)[mask])
    return tmp_path / "found", tmp_path / "true"


def test_figures_are_those_of_the_published_codes(folders, tmp_path, capsys):
    found, true = folders
    out = tmp_path / "scores.json"
    assert score_masks.main([str(found), str(true), "--json", str(out)]) == 0
    figures = json.loads(out.read_text())
    data = np.load(GOLDEN / "protocols.npz")
    total, pixels = data["counts"].sum(axis=0), np.prod(data["shape"])
    for name, at in (("basicirstd", 0), ("dnanet", 3), ("shooting_as_published", 6)):
        assert figures[f"Pd_{name}"] == pytest.approx(total[at + 1] / total[at])
        assert figures[f"Fa_{name}"] == pytest.approx(total[at + 2] / pixels)
    masks = [np.unpackbits(data[k])[: int(pixels)] > 0 for k in ("predictions", "targets")]
    assert figures["IoU"] == pytest.approx((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())
    assert "basicirstd" in capsys.readouterr().out


def test_what_is_missing_or_of_another_kind_is_named(folders, capsys):
    found, true = folders
    assert score_masks.main([str(found), str(true), "--threshold", "220"]) == 1
    assert "the highest is 200 of 255" in capsys.readouterr().err
    write(found / "s0" / "2.bmp", np.zeros((5, 6), np.uint8))
    assert score_masks.main([str(found), str(true)]) == 1
    assert "2.bmp: is 6x5, " in capsys.readouterr().err
    (found / "s0" / "2.bmp").unlink()
    assert score_masks.main([str(found), str(true)]) == 1
    assert "1 of 60 frames have no predicted mask, the first: s0/2" in capsys.readouterr().err
    assert score_masks.main([str(found), str(true / "none")]) == 1
    assert "holds no images" in capsys.readouterr().err


def test_masks_of_0_and_1_score_as_those_of_0_and_255(folders, tmp_path):
    found, true = folders
    for path in [*found.rglob("*.bmp"), *true.rglob("*.png")]:
        target = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) >= (200 if path.suffix == ".bmp" else 1)
        for high in (1, 255):
            side = f"{'found' if path.suffix == '.bmp' else 'true'}{high}"
            write(tmp_path / side / path.parent.name / f"{path.stem}.png", target.astype(np.uint8) * np.uint8(high))
    results = []
    for a in (1, 255):
        for b in (1, 255):
            out = tmp_path / f"{a}{b}.json"
            assert score_masks.main([str(tmp_path / f"found{a}"), str(tmp_path / f"true{b}"), "--json", str(out)]) == 0
            results.append(json.loads(out.read_text()))
    assert results[0]["IoU"] > 0
    assert all(result == results[0] for result in results)


def test_a_score_of_1_of_255_is_no_target(tmp_path):
    soft, hard = np.zeros((2, 20, 30), np.uint8)
    hard[4:8, 4:8] = 255
    for name, image in (("0", soft + np.uint8(1)), ("1", hard)):
        write(tmp_path / "found" / f"{name}.png", image)
        write(tmp_path / "true" / f"{name}.png", hard if name == "1" else soft)
    out = tmp_path / "out.json"
    assert score_masks.main([str(tmp_path / "found"), str(tmp_path / "true"), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["IoU"] == 1
