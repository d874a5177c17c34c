"""What the shell is offered after Tab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tdcnet.cli import COMMANDS, SHORTS, STAGES, main
from tdcnet.completion import SCRIPTS, candidates

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def offered(line: str) -> list[str]:
    return candidates(line, STAGES, COMMANDS, SHORTS)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tdcnet tr", ["track", "train"]),
        ("tdcnet completion ", ["bash", "fish", "zsh"]),
        ("tdcnet completion bash ", []),
        ("tdcnet train +exp", ["+experiment="]),
        ("tdcnet train +experiment=ablation/b", ["+experiment=ablation/boxes", "+experiment=ablation/branches"]),
        ("tdcnet train seed=1 dataset=dr", ["dataset=drone_ir"]),
        ("tdcnet train model/fus", ["model/fusion="]),
        ("tdcnet train model.head.", []),
        ("tdcnet train dataset.si", ["dataset.size="]),
        ("tdcnet train ++dataset.dec", ["++dataset.decode="]),
        ("tdcnet train loss.assign", ["loss.assign."]),
        ("tdcnet eval ckpt_path=mot", ["ckpt_path=motion_2d"]),
        ("tdcnet predict thr", ["threshold="]),
        ("tdcnet train thr", []),
        ("tdcnet predict clip", []),
        ("tdcnet predict README", ["README.md"]),
        ("tdcnet predict exam", ["examples/"]),
        ("tdcnet predict examples/det", ["examples/detect.py"]),
        ("tdcnet train experiment", []),
        ("tdcnet models t", ["tdcnet_nano"]),
        ("tdcnet live --sn", ["--snapshots"]),
        ("tdcnet live rea", ["realtime="]),
        ("tdcnet track vid", ["video="]),
        ("tdcnet check --form", ["--format"]),
        ("tdcnet check fold", []),
        ("tdcnet nothing ", []),
        ("tdcnet train ../..=", []),
        ("tdcnet train ...", []),
    ],
)
def test_what_may_come_next(line, expected):
    assert offered(line) == expected


def test_all_verbs_and_groups_are_offered():
    assert set(STAGES) | set(COMMANDS) <= set(offered("tdcnet "))
    groups = {f"{path.name}=" for path in (ROOT / "configs").iterdir() if path.is_dir()} - {"hydra=", "experiment="}
    assert groups < set(offered("tdcnet train "))


def test_an_answer_loads_nothing_heavy(tmp_path):
    code = (
        "import sys; from tdcnet.cli import main\nmain(['--complete', 'tdcnet train dataset='])\n"
        "print(sorted({'torch', 'hydra', 'yaml', 'numpy', 'rich'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert "dataset=drone_ir\n" in said and said.endswith("\n[]\n")


def test_a_shell_that_is_not_known_is_told(capsys):
    with pytest.raises(SystemExit, match="tdcnet completion bash"):
        main(["completion", "tcsh"])
    main(["completion", "zsh"])
    assert capsys.readouterr().out == SCRIPTS["zsh"]


def answers(shell: str, code: str) -> str:
    """What a shell says, to which ``tdcnet`` is this one."""
    own = f'tdcnet() {{ "{sys.executable}" -m tdcnet "$@"; }}\n'
    if shell == "fish":
        own = f'function tdcnet; "{sys.executable}" -m tdcnet $argv; end\n'
    done = subprocess.run(
        [shell, "-c", own + code], capture_output=True, text=True, cwd=ROOT, env=os.environ, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bash_completes_behind_an_equals_sign():
    line = "tdcnet train +experiment=dr"
    code = f'{SCRIPTS["bash"]}\nCOMP_LINE="{line}" COMP_POINT={len(line)}; _tdcnet; echo "${{COMPREPLY[@]}}"'
    assert answers("bash", code) == "drone_ir drone_ir_robust\n"


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes():
    assert "+experiment=drone_ir\n" in answers("fish", SCRIPTS["fish"] + 'complete -C "tdcnet train +experiment=dr"')
