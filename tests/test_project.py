"""The files round the code: what a user installs, runs and reads first."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tdcnet import __version__

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def constraints() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    found = {canonicalize_name(requirement.name): requirement for requirement in requirements}
    assert len(found) == len(requirements), "a package is named twice"
    return found


def pinned(requirement: Requirement) -> Version:
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", f"{requirement} is not an exact version"
    return Version(specifier.version)


def asked_for() -> list[Requirement]:
    project = PROJECT["project"]
    extras = [line for group in project["optional-dependencies"].values() for line in group]
    requirements = [Requirement(line) for line in project["dependencies"] + extras]
    return [requirement for requirement in requirements if requirement.name != project["name"]]


def shipped_files() -> list[Path]:
    """What is under version control, and what would be if it were added now; without git, what people read and run."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout.split("\0")
        files = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        folders = ["tdcnet", "configs", "scripts", "docs", "tests", ".ci"]
        files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
        files += [*ROOT.glob("*.*"), ROOT / "Makefile", ROOT / "Dockerfile"]
    return [path for path in files if path.is_file() and "__pycache__" not in path.parts]


def dockerfile() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile in order, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    lines = [line for line in re.sub(r"\\\n\s*", " ", text).splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


@pytest.mark.parametrize("requirement", asked_for(), ids=str)
def test_every_dependency_is_pinned_within_its_range(requirement):
    pin = constraints().get(canonicalize_name(requirement.name))
    assert pin is not None, f"{requirement.name} is missing in constraints.txt"
    assert requirement.specifier.contains(pinned(pin)), f"{pin} is outside {requirement}"


def test_constraints_hold_on_any_machine():
    for requirement in constraints().values():
        assert requirement.url is None, f"{requirement} names a place"
        assert pinned(requirement).local is None, f"{requirement} names one build"


def test_no_two_packages_bring_cv2():
    names = {name for name in constraints() if name.startswith("opencv")}
    assert names == {"opencv-python-headless"}


def test_torch_is_never_the_release_that_breaks_torchvision():
    (torch,) = [requirement for requirement in asked_for() if requirement.name == "torch"]
    assert not torch.specifier.contains("2.13.0")
    assert torch.specifier.contains("2.15.0")
    (lightning,) = [requirement for requirement in asked_for() if requirement.name == "pytorch-lightning"]
    assert not any(lightning.specifier.contains(bad) for bad in ("2.6.2", "2.6.3"))


def test_changelog_has_a_place_for_what_comes_next():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings.count("Unreleased") == 1


def test_licence_is_the_one_named():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_ci_script_can_be_executed_and_runs_targets_that_exist():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    subprocess.run(["bash", "-n", str(script)], check=True)
    (steps,) = re.findall(r"for step in (.+); do", script.read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for step in steps.split():
        assert re.search(rf"^{step}:", makefile, re.MULTILINE), f"no target {step}"


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_make_lists_its_targets():
    listed = make()
    assert listed.returncode == 0, listed.stderr
    for target in ("demo", "test", "test-slow", "lint", "types", "format", "clean"):
        assert re.search(rf"^  {target} ", listed.stdout, re.MULTILINE), target


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "not found"),
        ('case "$*" in *version_info*"(3, 11)"*) exit 1;; *) echo Python 3.9.2;; esac', "3.11 or newer is needed"),
        ('case "$*" in *ensurepip*) exit 1;; *"%d.%d"*) echo 3.11;; esac', "apt-get install python3.11-venv"),
    ],
)
def test_make_says_which_python_is_missing(tmp_path, body, message):
    python = tmp_path / "python3"
    if body is not None:
        python.write_text(f"#!/bin/sh\n{body}\n")
        python.chmod(0o755)
    venv = tmp_path / "venv"
    failed = make(f"PYTHON={python}", f"VENV={venv}", "venv")
    assert failed.returncode != 0
    assert message in failed.stderr
    assert not venv.exists()


def test_an_interrupted_install_is_taken_up_again(tmp_path):
    """The first run of the stand-in for pip fails, the second succeeds, a third is not made."""
    venv, log = tmp_path / "venv", tmp_path / "log"
    python = tmp_path / "python3"
    pip = f'#!/bin/sh\\ncase "$*" in *pip*) echo pip >> {log}; test -e {tmp_path}/online;; *) echo 1;; esac'
    python.write_text(
        "#!/bin/sh\n"
        f'case "$*" in "-m venv"*) mkdir -p {venv}/bin; printf \'{pip}\\n\' > {venv}/bin/python; '
        f"chmod +x {venv}/bin/python;; esac\n"
    )
    python.chmod(0o755)
    arguments = (f"PYTHON={python}", f"VENV={venv}", "venv")
    assert make(*arguments).returncode != 0
    assert not (venv / ".installed").exists()
    (tmp_path / "online").touch()
    again = make(*arguments)
    assert again.returncode == 0, again.stderr
    assert "about 7 GB" in again.stdout
    assert (venv / ".installed").exists()
    assert make(*arguments).returncode == 0
    assert log.read_text().split() == ["pip", "pip"]


def test_no_file_names_a_place_of_its_makers():
    # Put together here so that this file does not hold what it looks for.
    slash, dot = "/", r"\."
    registries = [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("download.pytorch", "org"),
    ]
    patterns = [
        rf"(?<![\w.]){slash}(work|tmp{slash}(venv|h\d)|opt{slash}(pypi|wheels)|root){slash}",
        *(dot.join([host.replace(".", dot), end]) for host, end in registries),
    ]
    unwanted = re.compile("|".join(patterns))
    found = []
    for path in shipped_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if match := unwanted.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    assert not found, "\n".join(found)


def test_citation_tells_the_version_and_workflow_runs_what_ci_runs():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["project"]["version"] == __version__
    assert citation["license"] == PROJECT["project"]["license"]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["ci"]["steps"][-1] == {"run": ".ci/run"}
    assert workflow["permissions"] == {"contents": "read"}


def test_image_runs_the_entry_point_as_an_ordinary_user():
    instructions = dockerfile()
    names = [name for name, _ in instructions]
    assert names[0] == "FROM"
    assert names[-1] == "ENTRYPOINT"
    assert json.loads(instructions[-1][1]) == ["python", "train.py"]
    (user,) = [value for name, value in instructions if name == "USER"]
    assert user not in ("root", "0")
    (volumes,) = [json.loads(value) for name, value in instructions if name == "VOLUME"]
    assert set(volumes) == {"/app/data", "/app/logs"}


def test_image_installs_dependencies_before_it_copies_the_source():
    copies = [(index, shlex.split(value)) for index, (name, value) in enumerate(dockerfile()) if name == "COPY"]
    installs = [(index, value) for index, (name, value) in enumerate(dockerfile()) if "pip install" in value]
    (first, second), (dependencies, project) = copies, installs
    assert first[1] == ["pyproject.toml", "constraints.txt", "./"]
    assert first[0] < dependencies[0] < second[0] < project[0]
    assert "-c constraints.txt" in dependencies[1]
    assert "--no-deps" in project[1]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {"*", "!tdcnet", "!configs", "!train.py", "!pyproject.toml", "!constraints.txt"} <= set(ignored)
