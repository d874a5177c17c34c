"""What a checkpoint brings along to its evaluation, and what it leaves to configs and command line."""

from __future__ import annotations

import logging

import cv2
import numpy as np
import pytest
import torch

from tdcnet import stages
from tdcnet.deploy.record import Record
from tdcnet.deploy.weights import read_weights
from tdcnet.models import tdcnet_nano
from tdcnet.models.single_stream import single_stream
from tests.integration.conftest import SMALL
from tests.security import child
from tests.security.payloads import CLEAN

pytestmark = pytest.mark.filterwarnings("ignore::tdcnet.data.alignment.AlignmentWarning")
BASE = [o for o in SMALL if not o.startswith(("dataset.augment", "dataset.generate", "dataset="))]


@pytest.fixture
def counts(tmp_path):
    """Counts of a 14-bit sensor in 16-bit files, one dot on each frame."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for t in range(6):
            frame = rng.normal(7400, 30, (64, 64))
            frame[20 + t : 26 + t, 30:36] += 700
            name = f"{split}/rec_{split}/{t:06d}"
            for folder in ("images", "labels"):
                (tmp_path / "set" / folder / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "set" / "images" / f"{name}.png"), frame.astype(np.uint16))
            label = f"0 {33 / 64} {(23 + t) / 64} {6 / 64} {6 / 64}\n"
            (tmp_path / "set" / "labels" / f"{name}.txt").write_text(label)
    (tmp_path / "set" / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: [target]\n")
    return tmp_path / "set"


def test_the_range_that_the_data_had_goes_with_the_network(counts, configure, caplog):
    given = [
        "dataset=yolo",
        f"dataset.root={counts}",
        "dataset.align=none",
        "dataset.num_workers=0",
        "dataset.stride=2",
    ]
    caplog.set_level(logging.INFO)
    _, parts = stages.run(*configure("model/fusion=only_2d", *given, "stage.report=false", base=BASE))
    record = read_weights(parts["ckpt_path"]).record
    assert record.intensity_range is not None
    low, high = record.intensity_range
    assert 6500 < low < 7330 and 8000 < high < 8500
    assert (record.size, record.stride, record.dataset) == ((64, 64), 2, "yolo")
    plain = [o for o in BASE if not o.startswith(("dataset.size", "model"))]
    again = ["stage=eval", f"ckpt_path={parts['ckpt_path']}", *[o for o in given if "stride" not in o]]
    _, evaluated = stages.run(*configure(*again, "stage.report=false", base=plain))
    data = evaluated["datamodule"]
    assert (data.intensity_range, data.size, data.stride) == ((low, high), (64, 64), 2)
    _, other = stages.run(*configure(*again, "stage.report=false", "dataset.intensity_range=[0,65535]", base=plain))
    assert other["datamodule"].intensity_range == (0, 65535), "what is given now wins"


@pytest.fixture
def trained(run):
    return run("model/fusion=only_2d", "stage.report=false", "dataset.val_step=2")[1]["ckpt_path"]


def test_a_network_of_made_up_clips_is_evaluated_on_a_set_of_ones_own(trained, counts, configure):
    """The generator of its training's data set has no part in it."""
    given = ["stage=eval", "dataset=yolo", f"dataset.root={counts}", f"ckpt_path={trained}", "dataset.num_workers=0"]
    metrics, parts = stages.run(*configure(*given, base=[o for o in BASE if not o.startswith("model")]))
    assert metrics["frames"] == 6 and parts["datamodule"].generate is None
    assert type(parts["module"].model.fusion).__name__ == "SingleStream", "the network is the checkpoint's own"


def test_an_export_is_of_the_data_set_that_its_checkpoint_is_of(counts, tmp_path):
    """By a real command, which knows of a first choice of data set: the config's own."""
    network = single_stream(tdcnet_nano(), "2d")
    config = {**CLEAN, "num_frames": 5}
    record = Record(model=config, classes=("target",), size=(64, 64), num_frames=5, stride=1, dataset="yolo", name="n")
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "tdcnet": record.plain()}, tmp_path / "a.ckpt")
    given = [f"dataset.root={counts}", "dataset.num_workers=0", "dataset.align=none", "logger=none", "trainer=cpu"]
    given += [f"paths.cache_dir={tmp_path / 'cache'}", f"hydra.run.dir={tmp_path / 'run'}", "stage.formats=[]"]
    ended = child.command(
        tmp_path / "said.txt", "train.py", "stage=deploy", f"ckpt_path={tmp_path / 'a.ckpt'}", *given, cwd=tmp_path
    )
    assert ended.status == 0, ended.said
    exported = read_weights(tmp_path / "run" / "deploy").record
    assert (exported.dataset, exported.name) == ("yolo", "n")


def test_its_name_goes_along(run, capsys):
    path = run("model/fusion=only_2d", "name=night", "stage.report=false")[1]["ckpt_path"]
    given = ["stage=eval", "model/fusion=only_2d", f"ckpt_path={path}", "stage.report=false"]
    _, parts = run(*given)
    assert (
        parts["module"].checkpoint_info["name"] == "night" and "night: validation split of" in capsys.readouterr().out
    )
    assert run(*given, "name=day")[1]["module"].checkpoint_info["name"] == "day"


def test_other_classes_than_the_networks_are_refused(trained, run):
    with pytest.raises(ValueError, match=r"classes is \[drone, bird\], but the network tells apart \[target\]"):
        run("stage=eval", f"ckpt_path={trained}", "dataset.classes=[drone,bird]")


def test_options_of_the_training_that_do_not_hold_are_told(trained, run, caplog):
    run("stage=eval", "model/fusion=only_2d", f"ckpt_path={trained}", "stage.report=false")
    assert "trained with dataset.val_step=2, which a checkpoint does not bring along" in caplog.text


def test_a_checkpoint_of_the_first_version_is_used(trained, run, tmp_path):
    content = torch.load(trained, weights_only=True)
    new = content["tdcnet"]
    content["tdcnet"] = {
        **{key: new[key] for key in ("name", "model", "dataset", "classes", "num_frames", "stride")},
        "overrides": ["dataset=synthetic", "dataset.size=[96,96]", f"dataset.cache_dir={tmp_path / 'other'}"],
    }
    torch.save(content, tmp_path / "old.ckpt")
    assert read_weights(tmp_path / "old.ckpt").record.size == (96, 96)
    given = ["stage=eval", "model/fusion=only_2d", f"ckpt_path={tmp_path / 'old.ckpt'}", "stage.report=false"]
    metrics, _ = run(*given)
    assert metrics["frames"] == 12 and not (tmp_path / "other").exists()
