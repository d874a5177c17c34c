from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tdcnet.callbacks import processes


@pytest.fixture
def child(monkeypatch):
    monkeypatch.setattr(processes, "_children", [])
    started = []

    def start(code: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", code])
        processes._children.append(process)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_killed_process_is_told_and_its_status_is_ours(child, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_last", tmp_path / "last.ckpt")
    (tmp_path / "last.ckpt").touch()
    other, killed = child("import time; time.sleep(100)"), child("import time; time.sleep(100)")
    assert processes._child_died({}) == 0
    killed.kill()
    killed.wait()
    assert processes._child_died({}) == 137
    assert other.wait() < 0, "the others end, too"
    said = capsys.readouterr().err
    assert (
        said == f"error: process 3 of 3 was killed by SIGKILL, so all end; ckpt_path={tmp_path}/last.ckpt resumes it\n"
    )


def test_one_that_ends_by_itself_may_tell_why(child, capsys):
    child("raise SystemExit(3)").wait()
    since = {}
    assert processes._child_died(since) == 0
    assert processes._child_died({2: time.monotonic() - 60}) == 3
    assert capsys.readouterr().err == ""


def test_a_process_whose_starter_is_gone(capsys):
    assert processes._parent_died(os.getppid()) == 0
    assert processes._parent_died(-1) == 137
    assert "the first process of the run was killed, so all end" in capsys.readouterr().err
