"""What is to be compared is looked at before the work."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tdcnet.data.datamodule import ClipDataModule
from tdcnet.data.errors import DataError
from tdcnet.data.formats import yolo
from tdcnet.deploy.weights import CheckpointError
from tdcnet.stages.compared import check_compared


@pytest.fixture
def datamodule(tmp_path: Path) -> ClipDataModule:
    root = tmp_path / "set"
    for t in range(3):
        for folder in ("images", "labels"):
            (root / folder / "val/rec").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / f"images/val/rec/{t:04d}.png"), np.full((20, 40), t, np.uint8))
        (root / f"labels/val/rec/{t:04d}.txt").write_text("0 .5 .5 .1 .2")
    (root / "data.yaml").write_text("val: images/val\nnames: [target]\n")
    return ClipDataModule(yolo.read, root, (32, 64), align="none", num_frames=1)


def masks(folder: Path, names: list[str]) -> Path:
    (folder / "val_rec").mkdir(parents=True)
    for name in names:
        cv2.imwrite(str(folder / "val_rec" / name), np.zeros((20, 40), np.uint8))
    return folder


def test_each_kind_of_fault(datamodule: ClipDataModule, tmp_path: Path) -> None:
    def check(*paths: Path) -> None:
        check_compared(list(paths), datamodule, graphs=False)

    good = tmp_path / "good.json"
    good.write_text(json.dumps([{"image_id": 3, "category_id": 1, "bbox": [1, 1, 2, 2], "score": 0.5}]))
    named = masks(tmp_path / "named", ["0000.png", "0001.png", "0002.png"])
    numbered = masks(tmp_path / "numbered", ["0.png", "1.png", "2.png"])
    check(good, named, numbered)
    with pytest.raises(FileNotFoundError, match=r"stage\.compare names .*gone\.ckpt, which does not exist"):
        check(good, tmp_path / "gone.ckpt")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"names .*a\.txt, which is of no kind that is read: a checkpoint \(\.ckpt"):
        check(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"no mask of .*rec, frame 2; looked for .* holds '0000\.png', '0001\.png'"):
        check(masks(tmp_path / "short", ["0000.png", "0001.png"]))
    with pytest.raises(DataError, match=r"no mask of .*rec, frame 0; .* holds 'frame0\.png'; name the masks as"):
        check(masks(tmp_path / "other", ["frame0.png"]))
    bad = tmp_path / "bad.json"
    bad.write_text(good.read_text().replace("3", "4"))
    with pytest.raises(DataError, match=r"bad\.json, entry 0: image_id 4 is none of the evaluated frames"):
        check(bad)
    (tmp_path / "torn.ckpt").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"torn\.ckpt"):
        check(tmp_path / "torn.ckpt")
