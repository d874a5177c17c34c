"""The command ``tdcnet``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tdcnet import __version__, cli
from tdcnet.config_folder import config_folder
from tdcnet.data.alignment import AlignmentWarning
from tdcnet.stages import app
from tdcnet.stages.overrides import quote_paths

ROOT = Path(__file__).parents[1]


@pytest.fixture
def asked(monkeypatch):
    """What the app is asked for by a command line."""

    def ask(*arguments: str) -> list[str]:
        seen: list[list[str]] = []
        monkeypatch.setattr(sys, "argv", ["tdcnet", *arguments])
        monkeypatch.setattr(app, "run", lambda: seen.append(sys.argv[1:]))
        cli.main()
        (only,) = seen
        return only

    return ask


def test_a_verb_is_a_stage_and_options_alone_are_train_pys(asked):
    assert asked("train", "+experiment=demo", "seed=1") == ["+experiment=demo", "seed=1"]
    assert asked("demo", "seed=1") == ["+experiment=demo", "seed=1"]
    assert asked("eval", "ckpt_path=a") == ["stage=eval", "ckpt_path=a"]
    assert asked("predict", "source=a.mp4") == ["stage=predict", "source=a.mp4"]
    assert asked("+experiment=demo") == ["+experiment=demo"]
    assert asked("stage=deploy", "ckpt_path=a") == ["stage=deploy", "ckpt_path=a"]
    assert asked("--cfg", "job") == ["--cfg", "job"]
    assert asked("train", "--cfg", "job") == ["--cfg", "job"]


def test_predict_takes_paths_as_they_are(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=1.mp4").touch()
    given = asked("predict", "clip.mp4", "ckpt_path=a", "it's (1).mp4", "a=1.mp4")
    assert given[:2] == ["stage=predict", "ckpt_path=a"] and len(given) == 3
    (argument,) = quote_paths(given[2:])
    assert OverridesParser.create().parse_override(argument).value() == ["clip.mp4", "it's (1).mp4", "a=1.mp4"]
    assert asked("predict", "a.mp4", "threshold=0.5", "tile=false")[1:3] == ["stage.threshold=0.5", "stage.tile=false"]
    assert asked("predict", "--cfg", "job", "+x=1") == ["--cfg", "job", "stage=predict", "+x=1"]


def test_help_of_predict_names_its_options(capsys):
    cli.main(["predict", "--help"])
    said = capsys.readouterr().out
    for option in cli.SHORT:
        assert option in said


def test_a_warning_about_frames_is_one_line():
    said = app.as_line(AlignmentWarning("frames left unregistered"), AlignmentWarning, "x.py", 3)
    assert said == "WARNING: frames left unregistered\n"
    assert "x.py:3: UserWarning: other" in app.as_line("other", UserWarning, "x.py", 3)


def test_an_empty_verb_is_told(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tdcnet", ""])
    with pytest.raises(SystemExit, match="there is no verb ''"):
        cli.main()


def test_another_verb_is_told(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tdcnet", "predct"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == (
        f"error: there is no verb 'predct'; known are {', '.join(cli.VERBS)}. Did you mean predict?"
    )


def test_help_and_version_load_nothing_that_takes_time(tmp_path):
    code = (
        "import sys; from tdcnet.cli import main; main(['--help']); main(['eval', '-h']); main(['--version'])\n"
        "print(sorted({'torch', 'hydra', 'numpy', 'cv2', 'rich', 'pytorch_lightning'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert said.endswith(f"tdcnet {__version__}\n[]\n")
    assert "tdcnet predict clip.mp4 ckpt_path=BEST.ckpt" in said
    assert f"tdcnet eval: {cli.STAGES['eval']}" in said


@pytest.mark.parametrize("verb", sorted(cli.COMMANDS))
def test_help_of_a_command_loads_no_network(verb, tmp_path):
    code = (
        "import contextlib, sys; from tdcnet.cli import main\n"
        f"with contextlib.suppress(SystemExit): main([{verb!r}, '--help'])\n"
        "print(sorted({'torch', 'hydra', 'pytorch_lightning'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert said.startswith(f"usage: tdcnet {verb} ") and said.endswith("\n[]\n")


def test_every_package_is_in_the_wheel():
    found = {".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("tdcnet/**/__init__.py")}
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(listed) == listed and set(listed) == found | {"tdcnet.configs"}


def test_configs_are_found_in_a_checkout_and_in_a_wheel(monkeypatch, tmp_path):
    assert config_folder() == ROOT / "configs"
    package = tmp_path / "tdcnet"
    monkeypatch.setattr("tdcnet.config_folder.__file__", str(package / "config_folder.py"))
    with pytest.raises(FileNotFoundError, match="install it again"):
        config_folder()
    (package / "configs").mkdir(parents=True)
    (package / "configs" / "config.yaml").write_text("")
    assert config_folder() == package / "configs"


@pytest.mark.slow
def test_a_wheel_works_elsewhere(tmp_path):
    """Built, unpacked, and used outside the checkout for all that a person does."""
    source = tmp_path / "source"  # pip builds in the folder itself
    for name in ("tdcnet", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*build, str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")

    def tdcnet(*arguments: str) -> str:
        code = "import tdcnet.cli, tdcnet; print(tdcnet.__file__); tdcnet.cli.main()"
        ended = subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert ended.stdout.startswith(str(tmp_path / "site"))
        return ended.stdout

    assert "name: drone_ir" in tdcnet("train", "--cfg", "job", "+experiment=drone_ir")
    small = ["dataset.generate.train_sequences=2", "dataset.generate.val_sequences=1"]
    small += ["dataset.generate.config.frames=6", "dataset.samples_per_epoch=24", "trainer.max_epochs=1"]
    demo = tdcnet("demo", *small)
    assert "Pd " in demo and "exported network" in demo
    (frames,) = (tmp_path / "data" / "demo" / "images").glob("3")
    (best,) = tmp_path.glob("logs/demo/*/train/checkpoints/best.ckpt")
    one = ["trainer=cpu", "trainer.devices=1", "trainer.strategy=auto"]
    assert "report in" in tdcnet("eval", f"ckpt_path={best}", "dataset=demo", *small[:3], *one)
    assert "exported to" in tdcnet("deploy", f"ckpt_path={best}", "dataset=demo", *small[:3], *one, "stage.formats=[]")
    assert "motion_2d" in tdcnet("models")
    assert "3: " in tdcnet("predict", str(frames), "trainer=cpu")
    assert len(list(tmp_path.glob("logs/predict/*/predictions/3.csv"))) == 1


def test_hydras_own_options_may_stand_anywhere():
    assert cli.as_options("eval", ["-m", "ckpt_path=a,b"]) == ["-m", "stage=eval", "ckpt_path=a,b"]
    assert cli.as_options("eval", ["ckpt_path=a", "--cfg", "job", "x=1"]) == [
        "--cfg",
        "job",
        "stage=eval",
        "ckpt_path=a",
        "x=1",
    ]
    assert cli.as_options("train", ["seed=1", "--multirun"]) == ["--multirun", "seed=1"]


def test_a_source_in_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert cli.with_sources(["~/v/*.mp4", "~name"]) == ["~name", "source=['/home/me/v/*.mp4']"]


@pytest.mark.parametrize(
    ("verb", "given", "told"),
    [
        ("track", ["clip.mp4", "--rate", "25", "--video=false"], ["stage.rate=25", "stage.video=false"]),
        ("predict", ["clip.mp4", "--threshold", "0.5"], ["stage.threshold=0.5"]),
        ("live", ["0", "--around-alarms"], ["stage.around_alarms=true"]),
    ],
)
def test_options_may_have_dashes(verb, given, told):
    assert [each for each in cli.as_options(verb, given) if each.startswith("stage.")] == told


def test_an_option_that_there_is_not_is_told_with_what_may_be_meant():
    with pytest.raises(SystemExit, match=r"tdcnet live has no option --snapshot\. Did you mean --snapshots\?"):
        cli.as_options("live", ["0", "--snapshot", "x"])
    with pytest.raises(SystemExit, match=r"tdcnet track has no option --foo\. `tdcnet track --help`"):
        cli.as_options("track", ["clip.mp4", "--foo"])
    assert cli.as_options("live", ["--cfg", "job", "0"])[:2] == ["--cfg", "job"]


def test_values_of_options_are_told_from_options():
    with pytest.raises(SystemExit, match="--csv needs a value"):
        cli.as_options("live", ["0", "--csv", "--mot", "x"])
    assert "stage.quiet=false" in cli.as_options("live", ["0", "--quiet", "false"])
    with pytest.raises(SystemExit, match=r"Options of the config have no dashes: tracker\.score=VALUE"):
        cli.as_options("track", ["clip.mp4", "--tracker.score", "0.6"])
