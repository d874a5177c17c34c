from __future__ import annotations

import csv
import json
import logging
import math
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from pytorch_lightning import Trainer
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch.testing import assert_close

from tdcnet import stages
from tdcnet.callbacks import Reparam
from tdcnet.callbacks.reparam import ReparamError
from tdcnet.data.errors import DataError
from tdcnet.deploy.optional import MissingPackage
from tdcnet.deploy.record import Record
from tdcnet.deploy.weights import CheckpointError, export, load_detector, read_weights
from tdcnet.detection import NonFiniteLoss
from tdcnet.stages.runs import RunsFailed

ROOT = Path(__file__).parents[2]

# Clips of 64 px hold little to register on; what alignment does then has its own tests.
pytestmark = pytest.mark.filterwarnings("ignore::tdcnet.data.alignment.AlignmentWarning")


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_best_checkpoint_is_evaluated_once(run, tmp_path, monkeypatch, epochs):
    """What the last validation of a training found is told if it is the best one's; else the best one's is."""
    validations = []
    before = Trainer.validate
    monkeypatch.setattr(Trainer, "validate", lambda *args, **kw: validations.append(1) or before(*args, **kw))
    metrics, parts = run(f"trainer.max_epochs={epochs}", "module.lr=1e-5")
    best = torch.load(parts["ckpt_path"], weights_only=True)
    last_is_best = best["epoch"] == epochs - 1
    assert len(validations) == (0 if last_is_best else 1)
    assert epochs == 2 or last_is_best
    output = tmp_path / "run"
    told = json.loads((output / "predictions.json").read_text())
    again, _ = run("stage=eval", f"ckpt_path={parts['ckpt_path']}", f"paths.output_dir={tmp_path / 'again'}")
    assert {k: pytest.approx(v, nan_ok=True) for k, v in again.items()} == metrics
    assert json.loads((tmp_path / "again" / "predictions.json").read_text()) == told and told


def test_train_writes_what_it_promises(trained, tmp_path):
    metrics, parts = trained
    output = tmp_path / "run"
    assert Path(parts["ckpt_path"]).name == "best.ckpt"
    for name in ("checkpoints/last.ckpt", "metrics.json", "validation.png", "precision_recall.png", "report.html"):
        assert (output / name).is_file(), name
    (record,) = (output / "tensorboard").glob("events*")  # of the evaluation at the end too
    events = [value for event in EventFileLoader(str(record)).Load() for value in event.summary.value]
    assert {"_hparams_/session_start_info", "end/AP50"} <= {value.tag for value in events}
    written = json.loads((output / "metrics.json").read_text())
    assert written["frames"] == metrics["frames"] == 12
    assert {"AP50", "AP", "P", "R", "F1", "Pd", "Fa", "false_alarms_per_frame", "Pd@0.1"} <= set(written)


def test_a_training_starts_from_the_weights_of_another(run, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    light = ("model=motion_2d_nano", "stage.report=false", "dataset.align=none")
    _, first = run(*light, f"paths.output_dir={tmp_path / 'first'}")
    still = ("module.lr=1e-12", "module.weight_decay=0", "seed=1", "dataset.num_frames=4")
    _, second = run(*light, *still, f"init_from={first['ckpt_path']}", f"paths.output_dir={tmp_path / 'second'}")
    before, after = (read_weights(each["ckpt_path"]).state for each in (first, second))
    assert before["backbone.stem.conv.weight"].shape != after["backbone.stem.conv.weight"].shape
    kept = [n for n, p in second["module"].model.named_parameters() if n != "backbone.stem.conv.weight"]
    for name in kept:
        assert_close(after[name], before[name], atol=1e-6, rtol=0)
    assert "these keep their own start: backbone.stem.conv.weight" in caplog.text

    with pytest.raises(ValueError, match="ckpt_path resumes a training"):
        run(*light, f"init_from={first['ckpt_path']}", f"ckpt_path={first['ckpt_path']}")
    with pytest.raises(ValueError, match="init_from starts a training; stage=eval takes its weights from ckpt_path"):
        run("stage=eval", f"init_from={first['ckpt_path']}")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at gone\.ckpt"):
        run(*light, "init_from=gone.ckpt")


def test_checkpoint_alone_is_enough_to_evaluate_deploy_and_predict(trained, configure, run, clips, tmp_path):
    metrics, parts = trained
    checkpoint = parts["ckpt_path"]
    again, _ = run("stage=eval", f"ckpt_path={checkpoint}")
    assert again == pytest.approx(metrics, nan_ok=True, abs=1e-6)

    deployed, result = run("stage=deploy", f"ckpt_path={checkpoint}", "stage.formats=[]")
    folder = result["folder"]
    assert result["difference"] <= 1e-4
    assert {p.name for p in folder.iterdir()} == {"model.safetensors", "config.json", "deploy.ckpt", "README.md"}
    assert "load_detector" in (folder / "README.md").read_text()
    assert deployed["AP50"] == pytest.approx(metrics["AP50"], abs=1e-6)

    told = read_weights(folder).record
    assert (told.scale, told.rate) == (1.0, None)  # clips of 64 px; images tell no rate

    model = load_detector(folder / "model.safetensors")
    x = torch.rand(1, 1, 5, 64, 64)
    with torch.no_grad():
        assert_close(model(x, x), parts["module"].model.eval()(x, x), atol=1e-4, rtol=0)

    from_deploy, _ = run("stage=eval", f"ckpt_path={folder / 'deploy.ckpt'}")
    assert from_deploy["AP50"] == pytest.approx(metrics["AP50"], abs=1e-3)

    source = clips / "images" / "4"
    _, predicted = run(
        "stage=predict", f"ckpt_path={folder / 'deploy.ckpt'}", f"source={source}", "stage.threshold=0.001"
    )
    kinds = {path.suffix: path for path in predicted["files"]}
    assert set(kinds) == {".csv", ".json", ".mp4", ".png"}
    coco = json.loads(kinds[".json"].read_text())
    assert [image["frame_id"] for image in coco["images"]] == list(range(6))
    with kinds[".csv"].open() as file:
        assert len(list(csv.DictReader(file))) == len(coco["annotations"]) > 0
    video = cv2.VideoCapture(str(kinds[".mp4"]))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 6


def test_several_classes_are_told_each(run, tmp_path, capsys):
    run("dataset.read._target_=tests.integration.parts.read", "dataset.classes=[bird,drone]")
    figures = json.loads((tmp_path / "run" / "metrics.json").read_text())
    each = [figures[f"{name}/targets"] for name in ("bird", "drone")]
    assert min(each) > 0 and sum(each) == figures["targets"]
    assert np.mean([figures[f"{name}/AP50"] for name in ("bird", "drone")]) == pytest.approx(figures["AP50"])
    assert "by class, each against the rest" in capsys.readouterr().out
    assert (tmp_path / "run" / "confusion.csv").is_file()


def test_a_logger_without_its_package_is_told(run):
    with pytest.raises(MissingPackage, match=r"absent_logger needs a package .*wandb>=0\.12\.10' not met"):
        run("logger=wandb", "logger._target_=tests.integration.parts.absent_logger")
    with pytest.raises(InstantiationException, match="division by zero"):  # any other fault is shown as it is
        run("logger=csv", "logger._target_=tests.integration.parts.broken_logger")


def test_predict_gives_original_coordinates(trained, run, tmp_path):
    """Boxes on a frame of another size than the network's lie inside that frame, not the network's input."""
    _, parts = trained
    folder = tmp_path / "wide"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), np.random.default_rng(i).integers(0, 255, (90, 200), dtype=np.uint8))
    _, predicted = run("stage=predict", f"ckpt_path={parts['ckpt_path']}", f"source={folder}", "stage.threshold=0.01")
    coco = json.loads(next(p for p in predicted["files"] if p.suffix == ".json").read_text())
    assert {(i["height"], i["width"]) for i in coco["images"]} == {(90, 200)}
    right = [a["bbox"][0] + a["bbox"][2] for a in coco["annotations"]]
    assert max(right) > 64, "some boxes lie beyond the network's 64 px"
    assert all(a["bbox"][1] + a["bbox"][3] <= 90 + 1e-3 for a in coco["annotations"])


def test_predict_goes_through_every_source(trained, run, clips, tmp_path, caplog):
    _, parts = trained
    for name in ("a", "b"):
        shutil.copytree(clips / "images" / "4", tmp_path / name / "clip")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "clip.mp4").write_bytes(b"no video")
    given = ["stage=predict", f"ckpt_path={parts['ckpt_path']}", "stage.video=false", "stage.sheet=0"]
    _, predicted = run(*given, f"source=['{tmp_path}/[ab]/clip']", "module.score_threshold=0.01")
    names = [path.name for path in predicted["files"]]
    assert len(set(names)) == 4 and names[:2] == ["clip.csv", "clip.json"], "of one name, and yet apart"
    several = [f"{tmp_path}/{each}/clip" for each in "ab"]
    with pytest.raises(DataError, match=r"1 of 3 sources could not be read: .*c/clip\.mp4"):
        run(*given, f"source=['{several[0]}','{tmp_path}/c/clip.mp4','{several[1]}']")
    assert "clip.mp4" in caplog.text and (tmp_path / "run" / "predictions" / names[2]).is_file()
    for name in ("1-a", "2-a", "1-b", "2-b"):
        shutil.copy(next((clips / "images" / "4").iterdir()), tmp_path / "c" / f"{name}.png")
    (tmp_path / "c" / "clip.mp4").unlink()
    _, predicted = run(*given, f"source={tmp_path / 'c'}", r"dataset.names='(?P<frame>\d)-(?P<recording>.)\.'")
    assert [path.name for path in predicted["files"][::2]] == ["c_a.csv", "c_b.csv"]
    with pytest.raises(DataError, match=r"finds no file; a pattern such as"):
        run(*given, f"source='{tmp_path}/*.avi'")
    with pytest.raises(DataError, match=r"1 of 2 sources could not be read: .*\*\.avi"):
        run(*given, f"source=['{tmp_path}/*.avi','{several[0]}']")
    assert (tmp_path / "run" / "predictions" / names[0]).is_file()
    for camera in ("source=0", "source='0'", "source=['rtsp://a']"):
        with pytest.raises(ValueError, match=r"source=\S+ is a camera or a stream"):
            run(*given, camera)
    with pytest.raises(ValueError, match=r"stage=predict needs a source: tdcnet predict clip\.mp4"):
        run(*given)


def test_predict_heeds_options_of_the_module_and_notes_bad_frames(trained, run, clips, tmp_path, caplog):
    _, parts = trained
    folder = shutil.copytree(clips / "images" / "4", tmp_path / "clip")
    sorted(folder.iterdir())[3].write_bytes(b"no picture")
    given = ["stage.threshold=0.01", "module.max_detections=2", "dataset.on_bad_frame=skip", "dataset.num_frames=5"]
    given += ["trainer.precision=bf16-mixed", "stage.video=false", "stage.sheet=0"]
    _, predicted = run("stage=predict", f"ckpt_path={parts['ckpt_path']}", f"source={folder}", *given)
    coco = json.loads(predicted["files"][1].read_text())
    assert len(coco["annotations"]) == 2 * len(coco["images"]) > 0
    assert len((tmp_path / "run" / "bad_frames.txt").read_text().splitlines()) == 1
    assert "1 frames could not be read: see" in caplog.text and "precision=bf16-mixed is not used" in caplog.text


def test_a_checkpoint_tells_the_score_for_its_use(trained, run, clips, tmp_path):
    _, parts = trained
    module = parts["module"]
    for results, told in (
        ({"Pd@0.1": 0.5, "threshold@0.1": 0.2541}, 0.2541),
        ({"Pd@0.1": 0.0, "threshold@0.1": 0.9}, 0.2541),  # what finds nothing tells nothing
        ({"Pd@0.1": 0.5, "threshold@0.1": math.inf}, 0.2541),
    ):
        module.results = results
        module._note_threshold()
        assert module.checkpoint_info["threshold"] == told
    export(tmp_path / "deploy", module.model, Record.of(module.checkpoint_info, "this"))
    source = f"source={clips / 'images' / '4'}"
    _, predicted = run("stage=predict", f"ckpt_path={tmp_path / 'deploy'}", source)
    assert predicted["detector"].threshold == 0.2541
    coco = json.loads(next(path for path in predicted["files"] if path.suffix == ".json").read_text())
    assert all(each["score"] >= 0.2541 - 1e-6 for each in coco["annotations"])


def test_predict_finds_what_evaluation_finds(trained, run, clips, tmp_path):
    """Frames of the training's own size: the same detections, from two ways through the code."""
    _, parts = trained
    run("stage=eval", f"ckpt_path={parts['ckpt_path']}", "module.score_threshold=0.1")
    output = tmp_path / "run"
    truth = json.loads((output / "ground_truth.json").read_text())
    wanted = {image["id"]: [] for image in truth["images"] if "/4/" in image["file_name"]}
    for each in json.loads((output / "predictions.json").read_text()):
        if each["image_id"] in wanted:
            wanted[each["image_id"]].append((*each["bbox"], each["score"]))
    source = f"source={clips / 'images' / '4'}"
    _, predicted = run("stage=predict", f"ckpt_path={parts['ckpt_path']}", source, "stage.threshold=0.1")
    coco = json.loads(next(path for path in predicted["files"] if path.suffix == ".json").read_text())
    found = {image["id"]: [] for image in coco["images"]}
    for each in coco["annotations"]:
        found[each["image_id"]].append((*each["bbox"], each["score"]))
    assert len(found) == len(wanted) == 6 and sum(map(len, wanted.values())) > 6
    for a, b in zip(found.values(), wanted.values(), strict=True):
        away = np.abs(np.array(a)[:, None] - np.array(b)).max(2)  # scores that are nearly one change places
        assert len(a) == len(b) and away.min(0).max() < 2e-3 and away.min(1).max() < 2e-3


def test_resume_goes_on_where_it_stopped(trained, run, tmp_path):
    _, parts = trained
    last = Path(parts["ckpt_path"]).with_name("last.ckpt")
    before = torch.load(last, weights_only=True)
    _, resumed = run(f"ckpt_path={last}", "trainer.max_epochs=2", f"paths.output_dir={tmp_path / 'resumed'}")
    assert (before["epoch"], resumed["trainer"].current_epoch) == (0, 2)
    assert resumed["trainer"].global_step == 2 * before["global_step"]
    ema = next(c for c in resumed["trainer"].callbacks if type(c).__name__ == "EMA")
    assert ema.updates == 2 * before["ema"]["updates"], "the average goes on, too"


def test_checkpoint_holds_trained_weights_and_their_average(trained):
    _, parts = trained
    content = torch.load(parts["ckpt_path"], weights_only=True)
    average = read_weights(parts["ckpt_path"]).state
    name = "head.box_pred.weight"
    assert not torch.equal(content["state_dict"][f"model.{name}"], average[name])
    assert_close(parts["module"].model.state_dict()[name], average[name])


@pytest.mark.parametrize("limit", ["trainer.max_epochs=2", "module.max_minutes=0.001"])
def test_the_end_is_always_validated(run, limit):
    """Whether by epochs or by the clock, and however rarely validation is asked for: there is a best checkpoint."""
    _, parts = run("trainer.check_val_every_n_epoch=5", limit)
    assert Path(parts["ckpt_path"]).is_file()
    expected = 4 if "epochs" in limit else 1
    assert torch.load(parts["ckpt_path"], weights_only=True)["global_step"] == expected


@pytest.mark.parametrize(
    "group",
    ["module=published", "callbacks=early_stopping", "logger=csv", "logger=none", "trainer.precision=bf16-mixed"],
)
def test_groups_switch_freely(run, group):
    metrics, _ = run(group, "callbacks.progress_bar=null", "model.init=published")
    assert metrics["frames"] == 12


def test_staged_training_freezes_both_backbones(run):
    _, parts = run("stage.staged=true")
    last = Path(parts["ckpt_path"]).with_name("last.ckpt")
    _, on = run(
        "stage.staged=true", "trainer.max_epochs=2", f"ckpt_path={last}", "paths.output_dir=" + str(last.parent)
    )
    assert on["trainer"].global_step == 4 and not (last.parent / "stage_2d").exists(), "the last step goes on alone"
    model = parts["module"].model
    for name, value in on["module"].model.backbone_3d.state_dict().items():
        assert torch.equal(value, model.backbone_3d.state_dict()[name])
    for part in (model.backbone_2d, model.backbone_3d):
        assert not any(p.requires_grad for p in part.parameters())
    tracked = [m.num_batches_tracked for m in model.backbone_2d.modules() if hasattr(m, "num_batches_tracked")]
    assert all(int(n) == 2 for n in tracked), "two steps on its own, none while frozen"
    assert all(p.requires_grad for p in model.fusion.parameters())


def test_staged_training_needs_both_backbones(run):
    with pytest.raises(ValueError, match=r"this network has no 3d stream.*choose a model/fusion that joins both"):
        run("stage.staged=true", "model/fusion=only_2d")


def test_colour_network_sees_grey_clips(run):
    metrics, parts = run("model.in_channels=3")
    assert parts["module"].model.in_channels == 3 and metrics["frames"] == 12


def test_nan_in_the_loss_stops_and_keeps_what_there_was(run, monkeypatch, tmp_path):
    from tdcnet.losses import DetectionLoss

    calls = []
    forward = DetectionLoss.forward

    def poisoned(self, raw, *more):
        calls.append(1)
        return forward(self, raw * float("nan") if len(calls) > 1 else raw, *more)

    monkeypatch.setattr(DetectionLoss, "forward", poisoned)
    with pytest.raises(NonFiniteLoss, match=r"the loss is nan at step 1 on .*#.*lower module.lr"):
        run()
    kept = read_weights(tmp_path / "run" / "checkpoints" / "interrupted.ckpt")
    assert all(torch.isfinite(v).all() for v in kept.state.values())


def test_bad_frames_are_skipped_counted_and_reported(run, clips, tmp_path):
    import shutil

    copy = tmp_path / "damaged"
    shutil.copytree(clips, copy)
    for name in ("1/00000003.png", "4/00000005.png"):
        path = copy / "images" / name
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"00000005.png"):
        run(f"dataset.root={copy}", "dataset.align=none")
    metrics, _ = run(f"dataset.root={copy}", "dataset.on_bad_frame=skip", "dataset.align=none")
    assert metrics["frames"] == 11
    report = (tmp_path / "run" / "bad_frames.txt").read_text()
    assert "00000005.png" in report


def test_missing_data_set_says_where_and_how(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.*data/README.md"):
        run(f"dataset.root={tmp_path / 'nowhere'}")


def test_checkpoint_of_another_model_is_refused(trained, run):
    _, parts = trained
    with pytest.raises(CheckpointError, match="of another network"):
        run("stage=eval", f"ckpt_path={parts['ckpt_path']}", "model=tdcnet_small")


def test_export_is_refused_when_outputs_differ(trained, run, monkeypatch, tmp_path):
    _, parts = trained
    from tdcnet.layers import ConvNormAct

    fold = ConvNormAct.fold

    def wrong(self):
        fold(self)
        self.conv.bias += 0.1

    monkeypatch.setattr(ConvNormAct, "fold", wrong)
    with pytest.raises(ReparamError, match=r"differ by .* nothing was exported"):
        run("stage=deploy", f"ckpt_path={parts['ckpt_path']}")
    assert not (tmp_path / "run" / "deploy").exists()


def test_reparam_needs_clips():
    with pytest.raises(ValueError, match="at least one clip"):
        Reparam("x", clips=0)


def command_line(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "train.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "Grad strides" not in done.stderr, "DDP copies gradients whose layout is not their parameter's"
    return done.stdout


def test_two_processes_train_and_give_the_same_figures_as_one(clips, tmp_path):
    """Two CPU processes through the command line; then one, which is given the checkpoint and where the data lies."""
    from tests.integration.conftest import SMALL

    printed = command_line(
        *[o for o in SMALL if not o.startswith(("trainer=", "trainer.devices", "trainer.strategy"))],
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        f"dataset.root={clips}",
        f"dataset.homography_dir={tmp_path / 'homographies'}",
        f"hydra.run.dir={tmp_path / 'two'}",
        "dataset.eval_batch_size=5",  # 12 frames: the sampler repeats some to fill both processes' batches
    )
    assert printed.count("all figures in") == 1, "the first process speaks for all"
    checkpoint = tmp_path / "two" / "checkpoints" / "best.ckpt"
    data = (
        "dataset=synthetic",
        f"dataset.root={clips}",
        "dataset.generate=null",
        f"paths.cache_dir={tmp_path / 'cache'}",
    )
    command_line("stage=eval", f"ckpt_path={checkpoint}", *data, f"hydra.run.dir={tmp_path / 'one'}")
    two, one = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("two", "one"))
    assert one["frames"] == 12 and set(one) == set(two)
    for key, value in one.items():
        if not key.startswith("threshold"):  # of a network that knows nothing yet: equal scores, but for rounding
            assert two[key] == pytest.approx(value, abs=1e-6), key


def test_a_user_error_is_one_message_without_a_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "train.py", f"dataset.root={tmp_path / 'none'}", f"hydra.run.dir={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 1
    assert "error: " in done.stderr and "data/README.md" in done.stderr and "Traceback" not in done.stderr


def test_the_demo_runs_all_its_stages(clips, tmp_path):
    """As `make demo` does, on tiny clips."""
    from tests.integration.conftest import SMALL

    small = [o for o in SMALL if not o.startswith(("dataset=", "model=", "trainer=", "trainer.devices", "trainer.str"))]
    printed = command_line(
        "+experiment=demo", *small, f"dataset.root={clips}", f"paths.cache_dir={tmp_path}", f"hydra.run.dir={tmp_path}"
    )
    assert "at 0.1 false alarms per frame on sequences it never saw" in printed
    for path in (
        "train/metrics.json",
        "deploy/deploy/model.safetensors",
        "eval/metrics.json",
        "predict/predictions/4.mp4",
    ):
        assert (tmp_path / path).is_file(), path


def test_eval_writes_a_report_and_compares(trained, run, tmp_path):
    _, parts = trained
    output = tmp_path / "run"
    _, first = run("stage=eval", f"ckpt_path={parts['ckpt_path']}")
    assert first["report"] == output / "report.html"
    assert {"summary.csv", "by_sequence.csv", "ground_truth.json", "predictions.json"} <= {
        p.name for p in output.iterdir()
    }
    others = tmp_path / "others"
    others.mkdir()
    results = json.loads((output / "predictions.json").read_text())
    (others / "rival.json").write_text(json.dumps(results[::2]))
    (others / "nothing.json").write_text("[]")
    run(
        "stage=eval",
        f"ckpt_path={parts['ckpt_path']}",
        f"stage.compare=[{others / 'rival.json'},{parts['ckpt_path']},{others / 'nothing.json'}]",
    )
    with (output / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    own = rows[0]["detector"]
    assert [row["detector"] for row in rows] == [own, "rival", f"{own} (2)", "nothing"]
    assert rows[2]["Pd@1"] == rows[0]["Pd@1"] and float(rows[3]["Pd@1"]) == 0
    assert "Differences on the same sequences" in (output / "report.html").read_text()


def test_detectors_without_learning_need_no_checkpoint(configure, tmp_path):
    from tests.integration.conftest import SMALL

    base = [o for o in SMALL if not o.startswith("model")]
    metrics, _ = stages.run(*configure("stage=eval", "model=top_hat", base=base))
    assert metrics["frames"] == 12 and (tmp_path / "run" / "report.html").is_file()


def test_a_network_needs_a_checkpoint(run):
    with pytest.raises(ValueError, match="stage=eval needs ckpt_path=CHECKPOINT"):
        run("stage=eval")


def test_other_frame_distances_are_set_beside(trained, run, tmp_path):
    _, parts = trained
    metrics, _ = run("stage=eval", f"ckpt_path={parts['ckpt_path']}", "stage.strides=[1,2]")
    with (tmp_path / "run" / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    own = rows[0]["detector"]
    assert [row["detector"] for row in rows] == [own, f"{own}, stride 1", f"{own}, stride 2"]
    assert rows[1]["centre AP"] == rows[0]["centre AP"]
    assert float(rows[0]["Pd"]) == pytest.approx(metrics["Pd"])
    with (tmp_path / "run" / "by_gap.csv").open() as file:
        gaps = {(row["detector"], float(row["from"])): int(row["targets"]) for row in csv.DictReader(file)}
    # Clips of five frames in recordings of six: the newest is at 0..5, so with stride 1 no clip spans 5 or more.
    assert gaps[f"{own}, stride 1", 5] == gaps[own, 5] == 0 < gaps[f"{own}, stride 2", 5]


def test_figures_alone(trained, run, tmp_path):
    _, parts = trained
    given = ["stage=eval", f"ckpt_path={parts['ckpt_path']}", "stage.report=false", f"paths.output_dir={tmp_path}/bare"]
    metrics, evaluated = run(*given)
    assert metrics["frames"] == 12 and "frames" not in evaluated
    assert (tmp_path / "bare" / "metrics.json").is_file() and not (tmp_path / "bare" / "report.html").exists()
    with pytest.raises(ValueError, match=r"leave stage\.report=true"):
        run(*given, "stage.strides=[2]")


def test_baselines_are_runs_of_their_own(configure, tmp_path):
    """One fails, which costs the other nothing; given again, only that one runs, and all are compared."""
    output = tmp_path / "run"

    def baselines(*of_net: str):
        cfg, overrides = configure("stage=baselines")
        cfg.stage.detectors = {
            "net": ["stage=train", "model/fusion=only_2d", *of_net],
            "hat": ["stage=eval", "model=top_hat", "dataset.num_frames=2"],
        }
        return stages.run(cfg, overrides)

    with pytest.raises(RunsFailed, match=rf"1 of 2 runs failed: net.*hydra\.run\.dir={output}"):
        baselines("model.backbone_2d.in_channels=3")
    first = (output / "hat" / "report.html").stat().st_mtime_ns
    _, result = baselines("seed=1")
    assert result["report"] == output / "report.html"
    assert (output / "hat" / "report.html").stat().st_mtime_ns == first, "what was done stays"
    with (output / "summary.csv").open() as file:
        assert [row["detector"] for row in csv.DictReader(file)] == ["net", "hat"]
    with (output / "by_gap.csv").open() as file:
        targets = {(row["detector"], float(row["from"])): int(row["targets"]) for row in csv.DictReader(file)}
    assert targets["hat", 3] == 0 < targets["net", 3], "each is told by the clips that it saw"
    state = read_weights(output / "net" / "checkpoints" / "best.ckpt").state
    assert {name.split(".")[0] for name in state} == {"backbone_2d", "neck", "head"}
    with pytest.raises(ValueError, match="holds a run with other options"):
        baselines("seed=2")


def test_starts_draw_anew_and_are_taken_up_again(configure, tmp_path, capsys):
    """Same data, other weights and order; a start that is done is not trained again."""
    output = tmp_path / "run"
    given = ("stage=starts", "stage.seeds=2", "stage.steps=2", "stage.least=0", "model/fusion=only_2d")
    figures, result = stages.run(*configure(*given))
    assert figures["passed"] == 1 and "2 of 2 starts end with Pd@0.1 of 0 or more" in capsys.readouterr().out
    one, other = (read_weights(output / name / "checkpoints" / "last.ckpt").state for name in ("seed0", "seed1"))
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert (output / "starts.png").is_file() and len(result["starts"]) == 2
    frames = [(output / name / "ground_truth.json").read_bytes() for name in ("seed0", "seed1")]
    assert frames[0] == frames[1]
    before = (output / "seed0" / "report.html").stat().st_mtime_ns
    stages.run(*configure(*given))
    assert (output / "seed0" / "report.html").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"stage\.seeds is 0; expected a number of starts from 1"):
        stages.run(*configure("stage=starts", "stage.seeds=0"))
    with pytest.raises(ValueError, match=r"stage\.metric is 'Pd@0\.2'; a validation gives AP50, AP, .*Pd@0\.1"):
        stages.run(*configure("stage=starts", "stage.metric=Pd@0.2"))
