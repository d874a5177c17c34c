"""A few of the kills of tests/kills."""

from __future__ import annotations

import signal

from tests.kills.harness import MADE, ONE, TINY, Driver, difference, result, whole

KILLS = (
    {"where": "write", "file": "last.ckpt", "call": 2},  # in the midst of the second one
    {"where": "validation", "call": 3},
)


def test_killed_again_and_again(clips, tmp_path):
    driver = Driver()
    short = [*TINY, *ONE, *MADE, f"dataset.root={clips}", "trainer.max_epochs=2"]
    checkpoints, resume = tmp_path / "run" / "checkpoints", []
    try:
        assert driver.run([*short, f"paths.output_dir={tmp_path / 'unbroken'}"], tmp_path / "log")[0] == 0
        for fault in KILLS:
            killed, _ = driver.run([*short, *resume, f"paths.output_dir={tmp_path / 'run'}"], tmp_path / "log", fault)
            assert killed == -signal.SIGKILL, (tmp_path / "log").read_text()[-3000:]
            assert "last.ckpt" in whole(checkpoints)
            resume = [f"ckpt_path={checkpoints / 'last.ckpt'}"]
        assert driver.run([*short, *resume, f"paths.output_dir={tmp_path / 'run'}"], tmp_path / "log")[0] == 0
    finally:
        driver.close()
    assert difference(result(tmp_path / "run"), result(tmp_path / "unbroken")) is None
