"""What people read: links lead somewhere, commands are ones that there are, and Python runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from tdcnet import cli, stages
from tdcnet.deploy.fold import reparameterize
from tdcnet.deploy.formats import write_graphs
from tdcnet.models import motion_2d_nano
from tdcnet.stages.overrides import quote_paths

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    ROOT / "data" / "README.md",
    *(ROOT / ".github").rglob("*.md"),
]
PAGES = sorted({path.resolve() for path in PAGES})
NOT_RUN = (
    "ffmpeg",
    "git",
    "source",
    "pip",
    "tensorboard",
    "cd",
    "docker",
    "unzip",
    "curl",
    "mkdir",
    "mv",
    "ln",
    "nvidia-smi",
)
"""Commands of others, which change the machine or fetch from the net."""


def blocks(page: Path, *kinds: str) -> list[str]:
    return [m[2] for m in re.finditer(r"```(\w+)\n(.*?)```", page.read_text(encoding="utf-8"), re.S) if m[1] in kinds]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command in a block for the shell, with the page it is on; loops and functions are for people."""
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        for text in blocks(page, "sh", "bash"):
            for line in re.sub(r"\\\n\s*", " ", text).splitlines():
                if "$" in line or not line.strip() or line.startswith("#"):
                    continue
                for part in re.split(r" && | \| ", line):
                    words = shlex.split(part, comments=True)
                    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                        words = words[1:]
                    if words and ("() {" not in text or words[0] in ("tdcnet", "python")):
                        yield str(page.relative_to(ROOT)), words


COMMANDS = {f"{page}: {' '.join(words)}"[:150]: words for page, words in commands()}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith(("http", "#", "mailto:")):
            assert (page.parent / link.partition("#")[0]).exists() or (
                ROOT / "docs" / link.partition("#")[0]
            ).exists(), f"{page.name} links to {link}"


def test_the_pages_have_commands_that_are_checked():
    assert len(COMMANDS) > 60


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS.keys())
def test_commands_are_ones_that_there_are(words):
    first, *rest = words
    if first == "tdcnet" and rest[0] in cli.STAGES:
        composes(cli.as_options(rest[0], rest[1:]))
    elif first == "tdcnet":
        assert rest[0] in (*cli.COMMANDS, "--help", "VERB"), words
        if rest[0] in cli.COMMANDS:
            knows(rest)
    elif first == "python" and rest[0] == "train.py":
        composes(rest[1:])
    elif first == "python" and rest[0].startswith("scripts/"):
        text = (ROOT / rest[0]).read_text(encoding="utf-8")
        for option in (word.partition("=")[0] for word in rest[1:] if word.startswith("--")):
            assert f'"{option}"' in text, f"{rest[0]} has no {option}"
    elif first == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in (word for word in rest if "=" not in word):
            assert re.search(rf"^{target}:", makefile, re.M), target
    else:
        assert first in (*NOT_RUN, ".ci/run", "python"), words


def composes(given: list[str]) -> None:
    overrides = [word for word in given if not word.startswith("-")]
    if "-m" in given:
        parsed = OverridesParser.create().parse_overrides(overrides)
        firsts = [f"{o.get_key_element()}={next(o.sweep_string_iterator())}" for o in parsed if o.is_sweep_override()]
        overrides = [o.input_line for o in parsed if not o.is_sweep_override()] + firsts
    overrides = [word for word in overrides if word != "job" and not word.startswith("hydra.")]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("config", overrides=quote_paths(overrides))
    assert config.stage._target_


def knows(words: list[str]) -> None:
    code = f"from tdcnet.cli import main; main([{words[0]!r}, '--help'])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for option in (word.partition("=")[0] for word in words[1:] if word.startswith("--")):
        assert re.search(rf"{option}\b", told), f"tdcnet {words[0]} has no {option}"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the pages' code asks for."""
    folder = tmp_path_factory.mktemp("pages")
    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 30, (320, 256))
    (folder / "frames").mkdir()
    for i in range(4):
        image = rng.integers(90, 110, (256, 320), dtype=np.uint8)
        writer.write(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
        cv2.imwrite(str(folder / "frames" / f"{i}.png"), image)
    writer.release()
    torch.manual_seed(0)
    network = reparameterize(motion_2d_nano(num_frames=3))
    clip = torch.rand(1, 1, 3, 64, 64)
    (folder / "DEPLOY").mkdir()
    written = write_graphs(folder / "DEPLOY", network, ["onnx", "openvino"], [(clip, clip)])
    assert not written.refused
    return folder


PYTHON = {
    f"{page.name} {number}": text
    for page in (ROOT / "README.md", ROOT / "docs" / "detect.md", ROOT / "docs" / "export.md")
    for number, text in enumerate(blocks(page, "python"))
}


@pytest.mark.filterwarnings("ignore::tdcnet.data.alignment.AlignmentWarning")
@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON.keys())
def test_python_on_pages_runs(code, place, monkeypatch):
    monkeypatch.chdir(place)
    exec(compile(code, "page", "exec"), {"__name__": "page"})


def test_graphs_are_decoded_on_the_page_as_we_decode_them(place, monkeypatch, capsys):
    """The page's formula for a box against the project's own."""
    from tdcnet.deploy.backends import OnnxRuntime
    from tdcnet.models import postprocess

    monkeypatch.chdir(place)
    (code,) = [text for text in blocks(ROOT / "docs" / "export.md", "python") if "onnxruntime" in text]
    exec(compile(code, "page", "exec"), {"__name__": "page"})
    score, cx, cy, w, h = map(float, capsys.readouterr().out.split())
    clip = torch.from_numpy(np.random.default_rng(0).random((1, 1, 3, 64, 64), np.float32))
    (found,) = postprocess(OnnxRuntime(place / "DEPLOY" / "model.onnx")(clip, clip), 0.0)
    assert score == pytest.approx(float(found["scores"][0]), abs=1e-5)
    assert [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2] == pytest.approx(found["boxes"][0].tolist(), abs=1e-3)


@pytest.fixture
def extension(tmp_path, monkeypatch):
    """The files of the page on own parts, importable."""
    for text in blocks(ROOT / "docs" / "extend.md", "python"):
        name = re.match(r"# (\S+\.py)\n", text)
        (tmp_path / name[1]).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("mine", "mine_loss", "mine_data"):
        sys.modules.pop(name, None)


def test_own_parts_train_as_the_page_says(extension, tmp_path):
    """Its three commands in one: a tiny training with own attention, loss and reader."""
    from tests.integration.conftest import SMALL

    for split in ("train", "val"):
        folder = tmp_path / "data" / split / "a"
        folder.mkdir(parents=True)
        for i in range(6):
            cv2.imwrite(str(folder / f"{i}.png"), np.full((64, 64), 100 + i, np.uint8))
        (folder / "boxes.txt").write_text("".join(f"{i} 20 20 26 26\n" for i in range(6)))
    given = []
    for text in blocks(ROOT / "docs" / "extend.md", "sh"):
        words = shlex.split(text.replace("\\\n", " "))[3:]
        given += [word for word in words if not word.startswith(("+exp", "stage=", "trainer.max", "dataset.root"))]
    assert len(given) == 4
    small = [each for each in SMALL if each not in ("dataset=synthetic", "dataset.generate=null")]
    overrides = [*small, "dataset=demo", *given, f"dataset.root={tmp_path / 'data'}", "model=tdcnet_nano"]
    overrides += [f"paths.output_dir={tmp_path / 'run'}", f"paths.cache_dir={tmp_path / 'cache'}", "dataset.align=none"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = compose("config", overrides=overrides)
    _, parts = stages.run(config, overrides)
    assert "centre_and_size" in repr(parts["module"].loss.box_term)
    assert any(type(module).__name__ == "Gate" for module in parts["module"].model.modules())
    assert Path(parts["ckpt_path"]).is_file()
    (tmp_path / "data" / "val" / "a" / "boxes.txt").write_text("9 1 2 3 4\n")
    import mine_data

    with pytest.raises(ValueError, match=r"boxes\.txt:1: is '9 1 2 3 4'"):
        mine_data.read(tmp_path / "data", "val")


def test_the_page_on_python_is_that_of_the_docstrings():
    code = "import sys; sys.path.insert(0, 'scripts'); import api; print(api.page(), end='')"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert made == (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), "python scripts/api.py renews it"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.filterwarnings("ignore::tdcnet.data.alignment.AlignmentWarning")
def test_the_example_of_detection_runs(place, tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "detect.py"), str(place / "clip.mp4")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "wrote found/clip.csv" in done.stdout and (tmp_path / "found" / "clip.png").is_file()


def test_the_example_of_an_own_attention_runs(tmp_path):
    from tests.integration.conftest import SMALL

    small = [
        each for each in SMALL if each.startswith(("dataset.size", "dataset.augment.size", "callbacks", "+trainer"))
    ]
    small += [
        "dataset.generate.config.height=64",
        "dataset.generate.config.width=64",
        "dataset.generate.config.frames=6",
    ]
    small += ["dataset.generate.train_sequences=2", "dataset.generate.val_sequences=1", "dataset.align=none"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "own_attention.py"), *small, "dataset.samples_per_epoch=12"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Detector(" in done.stdout and (tmp_path / "own_attention" / "report.html").is_file()


def test_the_example_of_an_own_reader_runs(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'examples')!r}); import own_reader; own_reader.main("
        "'dataset.augment.size=[64,64]', 'callbacks.progress_bar=null', 'dataset.samples_per_epoch=4', "
        "'dataset.align=none', 'dataset.batch_size=4', frames=6, side=64)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "0: 6 frames" in done.stdout and (tmp_path / "own_reader_run" / "report.html").is_file()
