from __future__ import annotations

import json
import math

import pytest

from tdcnet.deploy.errors import CheckpointError
from tdcnet.deploy.record import Record

FULL = Record(
    model={"_target_": "tdcnet.models.tdcnet_nano"},
    classes=("drone", "bird / plane"),
    size=(256, 320),
    num_frames=5,
    stride=12,
    scale=0.5,
    rate=29.97,
    intensity_range=(7000.0, 8200.0),
    dataset="drone_ir",
    name="night 3",
    command="python train.py +experiment=drone_ir 'a=b'",
    deployed=True,
    files={"model.safetensors": "0" * 64},
)


def test_a_record_is_read_as_it_was_written():
    assert Record.of(json.loads(json.dumps(FULL.plain())), "x") == FULL
    assert Record.of(Record().plain(), "x") == Record()
    assert Record.of({}, "x") == Record()


FAULTS = {
    "version": ["2", 3, True, None],
    "unknown": [1],
    "model": [[], "tdcnet"],
    "classes": ["drone", [1], ["a", "a"], [""], ["a" * 101], ["\x1b[2J"], ["${oc.env:HOME}"], ["a"] * 1001, ["???"]],
    "size": [[256], [0, 32], [256, 1e9], [256.0, 320.0], "256x320", [10**9, 32]],
    "num_frames": [0, -1, 1.5, True, 10**9, "5"],
    "stride": [0, "1", 10**9],
    "scale": [0, -1, math.inf, math.nan, "1", True, 10**9, [1]],
    "rate": [0, -1, math.inf, "30", True, 10**9],
    "intensity_range": [[1], [5, 1], [math.nan, 1], [0, math.inf], ["0", "1"], 5, [0, 10**400], [-1e308, 1e308]],
    "dataset": [5, "a\nb", "${x}"],
    "name": [["a"], "\x07", "???"],
    "command": [5, "a\x1b[2J", "x" * 20_000],
    "deployed": [1, "true"],
    "files": [[], {"../x": "0" * 64}, {"a": "0"}, {1: "0" * 64}],
}


@pytest.mark.parametrize("key", FAULTS)
def test_every_entry_is_checked(key):
    for value in FAULTS[key]:
        if key == "version" and value is None:
            continue
        with pytest.raises(CheckpointError, match=r"^file: .*" + ("version|known" if key == "version" else key)):
            Record.of(FULL.plain() | {key: value}, "file")


@pytest.mark.parametrize(
    ("size", "frames"), [((16384, 16384), 1), ((8192, 8192), 5), ((2160, 3840), 1000), ((8192, 8192), None)]
)
def test_clips_that_would_fill_the_memory_are_refused(size, frames, monkeypatch):
    content = FULL.plain() | {"size": list(size), "num_frames": frames}
    with pytest.raises(CheckpointError, match=rf"^file: asks for clips of .*{size[0]} x {size[1]} px.*TDCNET_LIMITS"):
        Record.of(content, "file")
    old = {"overrides": [f"dataset.size=[{size[0]},{size[1]}]"], "num_frames": frames}
    with pytest.raises(CheckpointError, match=r"^file: asks for clips"):
        Record.of(old, "file")
    monkeypatch.setenv("TDCNET_LIMITS", "100")
    assert Record.of(content, "file").size == size


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_clips_of_4k_frames_are_not(frames):
    assert Record.of(FULL.plain() | {"size": [2160, 3840], "num_frames": frames}, "file").num_frames == frames


def test_the_first_version_is_read_without_its_command_line():
    old = {
        "name": "drone_ir",
        "model": {"_target_": "tdcnet.models.tdcnet_nano"},
        "dataset": "drone_ir",
        "classes": ["target"],
        "num_frames": 5,
        "stride": 12,
        "overrides": [
            "+experiment=drone_ir",
            "dataset.size=[192, 256]",
            "++dataset.intensity_range=[0,1e4]",
            "module.max_minutes={_target_: os.system}",
            "dataset.cache_dir=/etc",
        ],
    }
    record = Record.of(old, "x")
    assert (record.size, record.intensity_range, record.stride) == ((192, 256), (0, 1e4), 12)
    assert record.command.startswith("python train.py +experiment=drone_ir") and record.dataset == "drone_ir"


@pytest.mark.parametrize("overrides", ["x", [1], {"a": 1}, ["dataset.size=[1,2,3]"], ["dataset.size=[1000000000,1]"]])
def test_a_hostile_first_version_is_refused(overrides):
    with pytest.raises(CheckpointError, match="x: "):
        Record.of({"name": "n", "overrides": overrides}, "x")


def test_size_as_an_interpolation_is_not_taken():
    assert Record.of({"overrides": ["dataset.size=${oc.env:HOME}", "dataset.size={_target_: a}"]}, "x").size is None
