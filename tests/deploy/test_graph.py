from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from tdcnet.deploy import formats, graph, optional
from tdcnet.deploy.backends import OnnxRuntime, OpenVINO, read_info
from tdcnet.deploy.graph import ExportError
from tdcnet.deploy.optional import MissingPackage
from tdcnet.deploy.quantize import quantize
from tdcnet.deploy.weights import CheckpointError, read_weights
from tests.deploy.conftest import SIZE

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")


def clips(batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    aligned, frames = torch.rand(2, batch, 1, 5, *SIZE, generator=generator)
    return aligned, frames


@pytest.fixture(scope="session")
def exported(network, tmp_path_factory) -> tuple[Path, formats.Written]:
    folder = tmp_path_factory.mktemp("deploy")
    return folder, formats.write_graphs(folder, network, ["onnx", "openvino"], [clips(2)])


@pytest.fixture
def no_export(monkeypatch, exported):
    """Tests of what comes after: the ONNX file is the one that lies there already."""
    monkeypatch.setattr(graph, "to_onnx", lambda model, path, *_: Path(shutil.copy(exported[0] / "model.onnx", path)))


@pytest.mark.parametrize("backend", [OnnxRuntime, OpenVINO])
def test_backends_agree_with_pytorch_for_any_number_of_clips(network, exported, backend):
    running = backend(exported[0])
    assert (running.in_channels, running.num_frames, running.num_classes) == (1, 5, 2)
    assert not list(running.parameters())
    for batch in (1, 3, 2):
        aligned, frames = clips(batch, seed=batch)
        expected = network(aligned, frames)
        assert expected.std() > 0.1, "outputs that hardly differ would agree in any case"
        assert_close(running(aligned, frames), expected, atol=1e-4, rtol=0)
        assert (running(frames, aligned) - expected).abs().max() > 1e-3, "the inputs are told apart"


def test_what_was_written(exported):
    folder, written = exported
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "model.xml", "model.bin"}
    assert set(written.differences) == {"model.onnx", "model.xml"} and not written.refused and written.compared == 2
    assert all(0 <= value <= 1e-3 for value in written.differences.values())
    content = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(content)
    assert [(o.domain, o.version) for o in content.opset_import] == [("", 20)]
    shapes = {
        x.name: [d.dim_value or d.dim_param for d in x.type.tensor_type.shape.dim]
        for x in (*content.graph.input, *content.graph.output)
    }
    h, w = SIZE
    clip = ["batch", 1, 5, h, w]
    assert shapes == {"aligned": clip, "frames": clip, "raw": ["batch", 7, h // 8, w // 8]}
    here = str(Path(__file__).parents[2]).encode()
    assert not any(here in path.read_bytes() for path in folder.iterdir()), "files tell where they were made"


def test_eager_network_is_as_before(network, exported):
    aligned, frames = clips(1)
    assert type(network(aligned, frames)) is torch.Tensor, "nothing of the tracing stays in what layers keep"


def test_threads_follow_pytorch_unless_given(exported):
    assert OnnxRuntime(exported[0]).threads == torch.get_num_threads()
    assert OpenVINO(exported[0], threads=2).compiled.get_property("INFERENCE_NUM_THREADS") == 2
    assert "float" in str(OpenVINO(exported[0]).compiled.get_property("INFERENCE_PRECISION_HINT"))
    with pytest.raises(ValueError, match=r"precision is 'int8'; allowed are f32, bf16 and f16"):
        OpenVINO(exported[0], precision="int8")


def test_other_sizes_are_refused(exported):
    x = torch.rand(1, 1, 5, 64, 64)
    with pytest.raises(
        ValueError, match=r"takes clips of 1x5x64x96 .*, got 1x5x64x64\. Give dataset.size=\[64,96\].*export"
    ):
        OnnxRuntime(exported[0])(x, x)


def test_graphs_that_differ_are_removed_and_the_rest_is_kept(network, exported, no_export, monkeypatch, tmp_path):
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "model.xml").write_text("of an earlier export")
    compute = OpenVINO.compute
    monkeypatch.setattr(OpenVINO, "compute", lambda self, a, f: compute(self, a, f) + 0.01)
    written = formats.write_graphs(tmp_path, network, ["onnx", "openvino"], [clips(1)])
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model.safetensors"}
    (sentence,) = written.refused
    assert sentence.startswith("model.xml was removed") and "by 0.01 on 1 clips, more than 0.001" in sentence
    run = OnnxRuntime.compute
    monkeypatch.setattr(OnnxRuntime, "compute", lambda self, a, f: run(self, a, f) * float("nan"))
    written = formats.write_graphs(tmp_path, network, ["onnx"], [clips(1)])
    assert not written.differences and "differs from PyTorch's by nan" in written.refused[0]


def test_a_network_that_cannot_be_exported_is_reported(tmp_path):
    class Undecided(torch.nn.Module):
        def forward(self, aligned, frames):
            return aligned if aligned.sum() > 0 else frames

    written = formats.write_graphs(tmp_path, Undecided(), ["onnx"], [clips(1)])
    assert "PyTorch could not export the network as ONNX with opset 20 for clips of 1x5x64x96" in written.refused[0]
    assert not list(tmp_path.iterdir())


def test_no_clips_no_graphs(network, tmp_path):
    with pytest.raises(ExportError, match="no clip could be read"):
        formats.write_graphs(tmp_path, network, ["onnx"], [])


def test_formats_are_chosen(monkeypatch):
    assert formats.chosen(["int8"]) == ["openvino", "int8"]
    assert formats.chosen("auto") == formats.chosen(["openvino", "onnx"]) == ["onnx", "openvino"]
    assert formats.chosen([]) == []
    with pytest.raises(ValueError, match=r"tflite.*allowed are auto, or some of onnx, openvino, int8, or \[\]"):
        formats.chosen(["tflite"])


def test_missing_packages_are_asked_for(exported, monkeypatch):
    monkeypatch.setattr(optional, "missing", lambda names: [n for n in names if n in ("openvino", "nncf")])
    assert formats.chosen("auto") == ["onnx"]
    with pytest.raises(
        MissingPackage, match=r"formats=int8 needs openvino and nncf.*pip install openvino nncf.*export"
    ):
        formats.chosen(["int8"])
    with pytest.raises(MissingPackage, match=r"backend=openvino needs openvino, not installed here"):
        OpenVINO(exported[0])


def test_files_that_are_no_graphs_are_named(exported, tmp_path):
    folder = exported[0]
    with pytest.raises(FileNotFoundError, match=r"looked for .*model.onnx, which does not exist.*stage=deploy"):
        OnnxRuntime(tmp_path)
    with pytest.raises(ValueError, match=r"backend=onnxruntime reads .onnx, ckpt_path is .*model.xml"):
        OnnxRuntime(folder / "model.xml")
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:1000])
    for backend in (OnnxRuntime, OpenVINO):
        with pytest.raises(CheckpointError, match=r"model.onnx cannot be read by .*export it again"):
            backend(tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match=r"is a graph for another runtime.*add backend=openvino"):
        read_weights(folder / "model.xml")
    with pytest.raises(FileNotFoundError, match=r"no config.json at .*keep its files together"):
        read_info(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nothing\.onnx, which does not exist"):
        read_info(tmp_path / "nothing.onnx")
    other = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }'
    )
    onnx.save(other, tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match=r"takes \{.*expected is a graph by stage=deploy"):
        OnnxRuntime(tmp_path)


def test_int8_needs_clips(exported, tmp_path):
    pytest.importorskip("nncf")
    with pytest.raises(ExportError, match="needs clips to calibrate on"):
        quantize(exported[0] / "model.xml", tmp_path / "model_int8.xml", [])


def test_runtimes_that_come_and_go_leave_the_process_its_signals(exported):
    """Each OpenVINO Core sets a signal stack; two that ended in the order they began would end the process here."""
    code = f"""
import gc, signal, subprocess
from tdcnet.deploy.backends import OpenVINO
signal.signal(signal.SIGCHLD, lambda *_: None)
import faulthandler; faulthandler.enable()
first = OpenVINO({str(exported[0])!r}); second = OpenVINO({str(exported[0])!r})
del first; gc.collect(); del second; gc.collect()
subprocess.run(["true"], check=True)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
