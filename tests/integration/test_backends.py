"""Export of graphs and their use, through the stages; of the light detector, whose graph is made in seconds."""

from __future__ import annotations

import json
import shutil

import pytest

from tdcnet import stages
from tdcnet.deploy.backends import OnnxRuntime, OpenVINO
from tdcnet.deploy.graph import ExportError
from tdcnet.deploy.optional import MissingPackage

pytestmark = pytest.mark.filterwarnings("ignore::tdcnet.data.alignment.AlignmentWarning")
for package in ("onnx", "onnxruntime", "onnxscript", "openvino", "nncf"):
    pytest.importorskip(package)


@pytest.fixture
def run_light(run):
    return lambda *overrides: run("model=motion_2d_nano", *overrides)


@pytest.fixture
def checkpoint(run_light) -> str:
    return run_light("stage.report=false")[1]["ckpt_path"]


def test_graphs_are_exported_evaluated_and_predict(checkpoint, run_light, clips, tmp_path):
    metrics, parts = run_light(
        "stage=deploy", f"ckpt_path={checkpoint}", "stage.formats=[onnx,openvino,int8]", "stage.calibration=3"
    )
    folder = parts["folder"]
    assert {p.name for p in folder.iterdir()} - {"model.safetensors", "config.json", "deploy.ckpt", "README.md"} == {
        *("model.onnx", "model.xml", "model.bin", "model_int8.xml", "model_int8.bin")
    }
    assert set(parts["differences"]) == {"model.onnx", "model.xml"} and max(parts["differences"].values()) <= 1e-3
    assert parts["int8"]["frames"] == 12 and parts["module"].results["AP50"] == metrics["AP50"]
    assert (folder / "model_int8.bin").stat().st_size < 0.5 * (folder / "model.bin").stat().st_size
    card = (folder / "README.md").read_text()
    assert "| form | AP50 | Pd | Fa |" in card and "`model.onnx`" in card and "ONNX opset 20" in card
    written = json.loads((folder / "config.json").read_text())
    assert "backend" not in written["command"] and "model=motion_2d_nano" in written["command"]
    assert set(written["files"]) == {"model.safetensors", "model.onnx", "model.xml", "model.bin"} | {
        *("model_int8.xml", "model_int8.bin")
    }

    compare = f"stage.compare=[{folder / 'model_int8.xml'},{folder / 'deploy.ckpt'}]"
    for backend, ckpt_path, kind, own in (
        ("onnxruntime", folder, OnnxRuntime, "stage.report=false"),
        ("openvino", folder / "model.xml", OpenVINO, compare),
    ):
        found, evaluated = run_light("stage=eval", f"backend={backend}", f"ckpt_path={ckpt_path}", own)
        assert isinstance(evaluated["module"].model, kind)
        for name in ("AP50", "Pd", "Fa", "frames"):
            assert found[name] == pytest.approx(metrics[name], abs=1e-4), name
    summary = (tmp_path / "run" / "summary.csv").read_text().splitlines()
    assert [line.split(",")[0].rpartition("/")[2] for line in summary[1:]] == ["model", "model_int8", "deploy"]

    _, predicted = run_light(
        "stage=predict",
        "backend=onnxruntime",
        f"ckpt_path={folder / 'deploy.ckpt'}",  # any file in it will do
        f"source={clips / 'images' / '4'}",
        "stage.threshold=0.001",
    )
    assert {path.suffix for path in predicted["files"]} == {".csv", ".json", ".mp4", ".png"}

    with pytest.raises(ValueError, match=r"takes clips of 1x5x64x64 .* got 1x5x64x96"):
        run_light("stage=eval", "backend=openvino", f"ckpt_path={folder}", "dataset.size=[64,96]")
    with pytest.raises(ValueError, match=r"dataset.classes is \[a, b\], but the network tells apart \[target\]"):
        run_light("stage=eval", "backend=openvino", f"ckpt_path={folder}", "dataset.classes=[a,b]")


def test_a_graph_that_differs_costs_nothing_else(checkpoint, run_light, monkeypatch, tmp_path):
    compute = OnnxRuntime.compute
    monkeypatch.setattr(OnnxRuntime, "compute", lambda self, a, f: compute(self, a, f) + 0.01)
    with pytest.raises(ExportError, match=r"model.onnx was removed.*by 0.01 on 8 clips.*What else is in .* is whole"):
        run_light("stage=deploy", f"ckpt_path={checkpoint}", "stage.formats=[onnx]")
    folder = tmp_path / "run" / "deploy"
    assert {p.name for p in folder.iterdir()} == {"model.safetensors", "config.json", "deploy.ckpt", "README.md"}
    assert "Not written: model.onnx was removed" in (folder / "README.md").read_text()


def test_without_their_packages_all_else_is_exported(checkpoint, run_light, monkeypatch, capsys):
    monkeypatch.setattr("tdcnet.deploy.optional.missing", lambda names: [n for n in names if n in ("onnx", "openvino")])
    _, parts = run_light("stage=deploy", f"ckpt_path={checkpoint}")
    assert (parts["folder"] / "model.safetensors").is_file() and not (parts["folder"] / "model.onnx").exists()
    assert "pip install -c constraints.txt -e '.[export]'" in capsys.readouterr().out
    shutil.rmtree(parts["folder"])
    with pytest.raises(MissingPackage, match=r"formats=onnx needs onnx, not installed"):
        run_light("stage=deploy", f"ckpt_path={checkpoint}", "stage.formats=[onnx]")
    assert not parts["folder"].exists(), "told before anything is computed"


def test_backends_are_for_evaluation_and_prediction(configure):
    with pytest.raises(ValueError, match=r"stage=train runs in PyTorch only"):
        stages.run(*configure("backend=openvino"))
    with pytest.raises(ValueError, match=r"OnnxRuntime needs ckpt_path=FOLDER"):
        stages.run(*configure("stage=eval", "backend=onnxruntime"))
