from __future__ import annotations

import json

import pytest

from scripts import profile_model
from tdcnet.cost import OTHER, parts_of
from tdcnet.deploy.fold import reparameterize
from tdcnet.deploy.record import Record
from tdcnet.deploy.weights import export
from tdcnet.models import tdcnet_nano

SMALL = ["--size", "32", "64", "--batch", "2", "--rounds", "2"]


def test_every_part_of_a_training_step_is_told_and_they_sum_up(tmp_path, capsys):
    file = tmp_path / "parts.json"
    assert profile_model.main(["--model", "tdcnet_nano", *SMALL, "--backward", "--json", str(file)]) == 0
    rows = json.loads(file.read_text())["rows"]
    model = tdcnet_nano()
    for form, more in (("training", ["loss", "optimiser"]), ("deploy", [])):
        own = {row["part"]: row for row in rows if row["form"] == form}
        total = own.pop("total")
        assert set(own) == {*parts_of(model), *more, OTHER}
        for figure in ("parameters", "GFLOPs", "kept MB"):
            assert total[figure] == pytest.approx(sum(row[figure] for row in own.values()))
        for part in parts_of(model):
            assert own[part]["forward ms"] > 0 and own[part]["GFLOPs"] > 0
            assert (own[part]["backward ms"] > 0) == (own[part]["kept MB"] > 0) == (form == "training")
        assert sum(row["forward %"] for row in own.values()) == pytest.approx(100)  # a median of two is their mean
        assert total["step ms"] == pytest.approx(total["forward ms"] + total["backward ms"])
        if form == "training":
            assert total["parameters"] == sum(p.numel() for p in model.parameters())
    told = capsys.readouterr().out
    assert "32x64" in told and "fusion.scales.2" in told


def test_a_deployed_checkpoint_and_chosen_parts(tmp_path, capsys):
    config = {"_target_": "tdcnet.models.tdcnet_nano", "num_frames": 3}
    export(tmp_path / "net", reparameterize(tdcnet_nano(num_frames=3)), Record(model=config))
    file = tmp_path / "parts.json"
    arguments = [
        "--checkpoint",
        str(tmp_path / "net"),
        *SMALL,
        "--parts",
        "head.box_convs",
        "head",
        "--json",
        str(file),
    ]
    assert profile_model.main(arguments) == 0
    content = json.loads(file.read_text())
    rows = {(row["form"], row["part"]): row for row in content["rows"]}
    assert "clips of 3 frames" in content["title"]
    assert set(rows) == {("deploy", part) for part in ("head.box_convs", "head", OTHER, "total")}
    # Two 3x3 convolutions of 64 channels on 2 maps of 4x8; those of the classes stay with the head.
    assert rows["deploy", "head.box_convs"]["GFLOPs"] == pytest.approx(2 * 2 * (2 * 64 * 4 * 8) * (64 * 9) / 1e9)
    assert rows["deploy", "head"]["GFLOPs"] > rows["deploy", "head.box_convs"]["GFLOPs"]

    assert profile_model.main(["--checkpoint", str(tmp_path / "none.ckpt")]) == 1
    assert "none.ckpt" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        profile_model.main(["--model", "tdcnet_nano", "--parts", "tail"])
    assert "tail" in capsys.readouterr().err


def test_a_budget_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(profile_model, "VARIANTS", ("tdcnet_nano:2d",))
    file = tmp_path / "cost.json"
    assert profile_model.main(["--budget", str(file)]) == 0
    costs = json.loads(file.read_text())["costs"]["tdcnet_nano:2d"]
    assert costs == profile_model.budget_of("tdcnet_nano:2d")
    assert costs["training"]["kept_bytes"] > 0 and costs["deploy"]["kept_bytes"] == 0
    assert costs["deploy"]["parameters"] < costs["training"]["parameters"]
