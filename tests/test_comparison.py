"""Finished runs side by side, on figures that can be counted by hand."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from tdcnet.commands import compare
from tdcnet.comparison import FIGURES, add_costs, find_runs, read_entries, rows_of
from tdcnet.cost import OTHER, count
from tdcnet.data.errors import DataError
from tdcnet.deploy.fold import reparameterize
from tdcnet.deploy.record import Record
from tdcnet.deploy.weights import export
from tdcnet.models import tdcnet_nano
from tdcnet.report.comparison import as_markdown
from tdcnet.stages import ablation
from tdcnet.stages.runs import RunsFailed

CONFIGS = Path(__file__).parents[1] / "configs"
VIDEOS, LENGTH = 4, 5


def make_run(folder: Path, found: int, network: Path | None = None, size: int = 8, model: str = "tdcnet_nano") -> Path:
    """A finished run on four videos of five frames with a target each, of which it found the first so many."""
    images = [
        {
            "id": v * LENGTH + t + 1,
            "file_name": f"{v}/{t}.png",
            "height": 64,
            "width": 64,
            "video_id": v + 1,
            "frame_id": t,
        }
        for v in range(VIDEOS)
        for t in range(LENGTH)
    ]
    boxes = [[10.0, 20.0, float(size), 8.0] for _ in images]
    truth = {
        "videos": [{"id": v + 1, "name": f"video {v}"} for v in range(VIDEOS)],
        "images": images,
        "annotations": [
            {"id": i + 1, "image_id": image["id"], "category_id": 1, "bbox": box, "area": 64.0, "iscrowd": 0}
            for i, (image, box) in enumerate(zip(images, boxes, strict=True))
        ],
        "categories": [{"id": 1, "name": "target"}],
    }
    results = [
        {"image_id": image["id"], "category_id": 1, "bbox": box, "score": 0.9}
        for image, box in list(zip(images, boxes, strict=True))[:found]
    ]
    (folder / ".hydra").mkdir(parents=True)
    (folder / "ground_truth.json").write_text(json.dumps(truth))
    (folder / "predictions.json").write_text(json.dumps(results))
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        given = ["dataset=synthetic", f"model={model}", "dataset.size=[40,64]"]
        given += [] if network is None else [f"ckpt_path={network}"]
        cfg = compose("config", overrides=given)
    OmegaConf.save(cfg, folder / ".hydra" / "config.yaml")
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose("config", overrides=["dataset=synthetic", "model=tdcnet_nano"])
    folder = tmp_path_factory.mktemp("network")
    return export(folder, tdcnet_nano(), Record(model=OmegaConf.to_container(cfg.model, resolve=True)))


def test_the_command_names_every_figure_that_a_plot_may_show():
    assert tuple(FIGURES) == compare.FIGURES


def test_seeds_are_one_row_and_rows_are_told_against_the_first(tmp_path):
    make_run(tmp_path / "all" / "seed0", 20)
    make_run(tmp_path / "all" / "seed1", 10)
    make_run(tmp_path / "few", 5)
    runs = find_runs(tmp_path)
    assert {name: len(folders) for name, folders in runs.items()} == {"all": 2, "few": 1}
    both, few = rows_of(read_entries(runs), samples=200)
    assert (both["seeds"], both["Pd@1"], both["Pd@1 least"], both["Pd@1 most"]) == (2, 0.75, 0.5, 1.0)
    # AP50 counts 101 recalls from 0 to 1; up to one half there are 51.
    assert both["AP50"] == pytest.approx((1 + 51 / 101) / 2) and few["AP50"] == pytest.approx(26 / 101)
    assert few["Pd@0.1 to first"] == pytest.approx(0.25 - 0.75)
    assert 0 <= both["Pd@1 low"] < 0.75 < both["Pd@1 high"] <= 1
    assert few["Pd@1 to first low"] < -0.5 < few["Pd@1 to first high"]
    assert both["Pd@1 to first low"] == both["Pd@1 to first high"] == 0
    assert few["GFLOPs"] is None and few["ms"] is None


def test_seeds_widen_the_intervals_of_all_rows(tmp_path):
    """All or nothing is found in each video, so only seeds matter. Seeds at 0 and 1 lie 0.71 (one half times the root
    of 2) from their mean: what is drawn of two is -0.71, 0 or 0.71 on average, of one -0.71 or 0.71."""
    make_run(tmp_path / "two" / "seed0", 0)
    make_run(tmp_path / "two" / "seed1", 20)
    make_run(tmp_path / "one" / "seed0", 20)
    runs = find_runs(tmp_path)
    one, two = rows_of(read_entries(runs), samples=400)
    away = 0.5 * 2**0.5
    assert one["Pd@1"] == 1 and one["Pd@1 low"] == pytest.approx(1 - away) and one["Pd@1 high"] == 1
    assert two["Pd@1"] == 0.5 and (two["Pd@1 low"], two["Pd@1 high"]) == (0, 1)
    assert two["Pd@1 to first low"] == pytest.approx(-0.5 - 2 * away)
    assert two["Pd@1 to first high"] == pytest.approx(-0.5 + 2 * away)
    assert as_markdown([one, two]).count("bootstrap over sequences and seeds") == 2
    (alone,) = rows_of(read_entries({"one": runs["one"]}), samples=400)
    assert alone["Pd@1 low"] == alone["Pd@1 high"] == 1
    assert "bootstrap over sequences;" in as_markdown([alone]) and "and seeds" not in as_markdown([alone])


def test_costs_are_those_of_the_deploy_form_on_a_padded_clip(tmp_path, network):
    make_run(tmp_path / "net", 20, network)
    make_run(tmp_path / "no network", 20)
    entries = read_entries(find_runs(tmp_path))
    add_costs(entries, rounds=1)
    net, other = entries
    assert other.parameters is None and other.milliseconds is None
    assert net.parameters < sum(p.numel() for p in tdcnet_nano().parameters()) and net.milliseconds > 0
    deployed, clip = reparameterize(tdcnet_nano()), torch.rand(1, 1, 5, 64, 64)  # 40 rows are padded to 64
    with torch.inference_mode():
        assert net.gflops == pytest.approx(count(deployed, lambda: deployed(clip, clip))[OTHER].flops / 1e9)


def test_a_network_that_does_not_fit_is_named(tmp_path, network, monkeypatch, capsys):
    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes.")

    monkeypatch.setattr("tdcnet.comparison.count", full)
    run = make_run(tmp_path / "net", 20, network)
    assert compare.main([str(run)]) == 1
    assert f"{run}: its network does not fit into memory on a clip of 5 frames of 64 x 64 px" in capsys.readouterr().err


def test_script_writes_table_and_plot(tmp_path, network, capsys):
    make_run(tmp_path / "runs" / "SML" / "seed0", 18, network)
    make_run(tmp_path / "runs" / "S" / "seed0", 20, network)
    make_run(tmp_path / "elsewhere", 4)
    broken = make_run(tmp_path / "runs" / "unfinished", 3)
    (broken / "predictions.json").unlink()
    out = tmp_path / "out"
    given = [str(tmp_path / "runs"), str(tmp_path / "elsewhere"), "--out", str(out), "--rounds", "1", "--samples", "20"]
    assert compare.main([*given, "--first", "SML", "--metric", "Pd@0.1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count(" SML ") == 2 and printed.count(" elsewhere ") == 2 and "unfinished" not in printed
    with (out / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["SML", "S", "elsewhere"]
    assert float(rows[1]["Pd@1 to first"]) == pytest.approx(0.1)
    assert rows[0]["GFLOPs"] == rows[1]["GFLOPs"] != "" == rows[2]["GFLOPs"]
    page = (out / "comparison.md").read_text()
    assert page.count("| S |") == 2 and "Against SML" in page and "| S | +9.9 |" in page and "+10.0" in page
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_compared_is_told(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="no finished run below"):
        find_runs(tmp_path)
    make_run(tmp_path / "a", 20)
    make_run(tmp_path / "b", 20, size=9)
    with pytest.raises(DataError, match=r"b was evaluated on other frames than .*a; compare runs of one data set"):
        read_entries(find_runs(tmp_path))
    assert compare.main([str(tmp_path)]) == 1
    assert "other frames" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "b")
    make_run(tmp_path / "a" / "seed1", 20, model="tdcnet_small")
    with pytest.raises(DataError, match=r"seed1 has another network than .*give each row a name of its own"):
        read_entries(find_runs(tmp_path))
    shutil.rmtree(tmp_path / "a" / "seed1")
    (tmp_path / "a" / "ground_truth.json").write_text("[]")
    assert compare.main([str(tmp_path)]) == 1
    assert "is no ground_truth.json of stage=eval" in capsys.readouterr().err


def test_an_ablation_is_a_run_for_each_variant_and_seed(tmp_path, monkeypatch):
    """What is started, and that the others are compared when one fails; the runs themselves are made up."""
    started = {}

    def run_all(runs, overrides, output):
        started.update(runs)
        for name in runs:
            if name != "M/seed1":
                make_run(output / name, 20 if name.startswith("SML") else 10)
        return ["M/seed1"]

    monkeypatch.setattr(ablation, "run_all", run_all)
    monkeypatch.setattr(ablation, "data_of", lambda cfg: None)
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        given = ["+experiment=ablation/branches", "dataset=synthetic", f"paths.output_dir={tmp_path}"]
        cfg = compose("config", overrides=given)
    cfg.stage.only = ["SML", "S", "M"]
    with pytest.raises(RunsFailed, match=rf"1 of 6 runs failed: M/seed1\..*hydra\.run\.dir={tmp_path}"):
        ablation.compare(cfg, given)
    assert list(started) == [f"{name}/seed{seed}" for seed in (0, 1) for name in ("SML", "S", "M")]
    assert started["S/seed1"] == ["model.backbone_tdc.temporal_conv.branches=[short]", "stage=train", "seed=1"]
    cfg.stage.only = ["SML", "XL"]
    with pytest.raises(ValueError, match=r"stage\.only names XL; branches has SML, S, M, L, SM"):
        ablation.compare(cfg, given)
    with (tmp_path / "comparison.csv").open() as file:
        assert [(row["name"], row["seeds"]) for row in csv.DictReader(file)] == [("SML", "2"), ("S", "2"), ("M", "1")]
