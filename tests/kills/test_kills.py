"""A hundred trainings that are killed, at chosen moments and at any, and go on to what an unbroken one comes to.

`make kills`; a few of them are in the suite, in tests/integration/test_resume.py.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tdcnet.data.synthetic import SyntheticConfig, write_dataset
from tests.kills.harness import MADE, ONE, ROOT, TINY, Driver, difference, result, whole

pytestmark = [pytest.mark.kills, pytest.mark.slow]

SMALL = SyntheticConfig(height=64, width=64, frames=6, targets=(1, 2), hot_spots=(0, 0))
MAKES = [
    *("dataset.generate.train_sequences=3", "dataset.generate.val_sequences=2", "dataset.generate.config.frames=6"),
    *("dataset.generate.config.height=64", "dataset.generate.config.width=64"),
]


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "clips", SMALL, train_sequences=3, val_sequences=2)


@pytest.fixture(scope="module")
def unbroken(driver: Driver, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float]:
    run = tmp_path_factory.mktemp("unbroken")
    status, seconds = driver.run(command(data, run, 0), run / "log")
    assert status == 0, (run / "log").read_text()[-3000:]
    return result(run), seconds


def command(data: Path, run: Path, workers: int, *more: str) -> list[str]:
    given = [f"dataset.root={data}", f"paths.output_dir={run}", f"paths.cache_dir={run}/cache"]
    return [*TINY, *ONE, *MADE, *given, f"dataset.num_workers={workers}", *more]


def cases() -> list[tuple[str, dict[str, Any], int, bool]]:
    """Name, fault, workers, and whether the run goes on in the same folder."""
    chosen: list[dict[str, Any]] = []
    for where, calls in (
        ("step", (2, 3, 4, 6, 9)),
        ("backward", (1, 2, 4, 5, 8)),
        ("before the optimiser", (3, 5, 7, 9)),
        ("average", (1, 3, 6)),
        ("after a step", (2, 3, 6, 9)),
        ("validation", (1, 4, 5, 8, 11)),
        ("figures", (2, 3, 4)),
    ):
        chosen += [{"where": where, "call": call} for call in calls]
    for name, calls in (("last.ckpt", (1, 2, 3, 4, 6, 9)), ("best.ckpt", (1, 2))):
        for where in ("write", "before renaming", "after renaming"):
            chosen += [{"where": where, "call": call, "file": name} for call in calls]
    chosen += [{"where": "time", "call": None, "seed": seed} for seed in range(100 - len(chosen))]
    return [
        ("-".join(str(v) for v in fault.values()).replace(" ", "_"), fault, 2 * (i % 4 == 3), i % 2 == 0)
        for i, fault in enumerate(chosen)
    ]


@pytest.mark.parametrize(
    ("name", "fault", "workers", "same_folder"), cases(), ids=lambda v: v if type(v) is str else ""
)
def test_killed(driver, data, unbroken, tmp_path, name, fault, workers, same_folder):
    expected, seconds = unbroken
    if fault["where"] == "time":
        fault = fault | {"call": random.Random(fault["seed"]).uniform(0.2, seconds * (1.6 if workers else 1.0))}
    run, log = tmp_path / "run", tmp_path / "log"
    status, _ = driver.run(command(data, run, workers), log, fault)
    if status == 0:
        assert fault["where"] in ("time", "write", "before renaming", "after renaming"), "the fault has not come"
    else:
        assert status == -signal.SIGKILL, log.read_text()[-3000:]
    there = whole(run / "checkpoints")
    if status and there:
        assert "last.ckpt" in there or there == ["best.ckpt"]
    if status:
        on = run if same_folder else tmp_path / "on"
        best = run / "checkpoints" / there[-1] if there else None
        resume = [f"ckpt_path={best}"] if best is not None else []
        status, _ = driver.run(command(data, on, workers, *resume), log)
        assert status == 0, log.read_text()[-3000:]
        run = on
    assert difference(result(run), expected) is None
    shutil.rmtree(tmp_path)


SAVING = [
    *({"where": "write", "file": ".ckpt.", "call": call} for call in range(1, 11)),
    *({"where": "before renaming", "file": "last.ckpt", "call": call} for call in (1, 5)),
    *({"where": "before renaming", "file": "best.ckpt", "call": call} for call in (1,)),
]
MAKING = [
    *({"where": "write", "file": name, "call": 1} for name in ("train.txt", "val_coco.json", "synthetic.json")),
    *({"where": "write", "file": ".npz.", "call": call} for call in (1, 4)),
    *({"where": "write", "file": ".npy.", "call": call} for call in (1, 4)),
]


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("fault", SAVING, ids=lambda fault: "-".join(map(str, fault.values())))
def test_full_disk(driver, data, unbroken, tmp_path, fault, stays):
    """What was there is there, one line is said, and the run goes on from it; or it is trained to the end where that
    was asked for."""
    fault, run, log = fault | {"what": "full", "stays": stays}, tmp_path / "run", tmp_path / "log"
    if not stays:
        status, _ = driver.run(command(data, run, 0), log, fault)
        assert status == 1, log.read_text()[-3000:]
        said = [line for line in log.read_text().splitlines() if "No space left on device" in line]
        assert len(said) == 1 and "Traceback" not in log.read_text()
        there = whole(run / "checkpoints")
        resume = [f"ckpt_path={run / 'checkpoints' / there[-1]}"] if there else []
        status, _ = driver.run(command(data, tmp_path / "on", 0, *resume), log)
        assert status == 0 and difference(result(tmp_path / "on"), unbroken[0]) is None
        return
    status, _ = driver.run(command(data, run, 0, "callbacks.checkpoints.on_full_disk=continue"), log, fault)
    assert status == 0, log.read_text()[-3000:]
    said = log.read_text().count("No space left on device")
    assert 1 <= said <= 2, "once for each file"
    assert (run / "metrics.json").is_file()
    whole(run / "checkpoints")


@pytest.mark.parametrize("fault", MAKING, ids=lambda fault: "-".join(map(str, fault.values())))
def test_full_disk_while_data_are_made(driver, made, tmp_path, fault):
    """Nothing half done is taken for whole later."""
    log = tmp_path / "log"
    status, _ = driver.run(making(tmp_path, tmp_path / "run"), log, fault | {"what": "full"})
    assert status == 1 and "Traceback" not in log.read_text(), log.read_text()[-3000:]
    status, _ = driver.run(making(tmp_path, tmp_path / "on"), log)
    assert status == 0 and difference(result(tmp_path / "on"), made[0]) is None


def making(folder: Path, run: Path) -> list[str]:
    """A training that makes its data, decodes and registers them first."""
    given = [f"dataset.root={folder / 'data'}", f"paths.cache_dir={folder / 'cache'}", "dataset.decode=ahead"]
    return [*TINY, *ONE, *MAKES, *given, f"paths.output_dir={run}"]


@pytest.fixture(scope="module")
def made(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float]:
    folder = tmp_path_factory.mktemp("made")
    status, seconds = driver.run(making(folder, folder / "run"), folder / "log")
    assert status == 0, (folder / "log").read_text()[-3000:]
    return result(folder / "run"), seconds


@pytest.mark.parametrize("seed", range(4))
def test_killed_while_data_are_made(driver, made, tmp_path, seed):
    """The set itself, its cache of frames and its homographies; what is half done is done again."""
    random_, (expected, seconds) = random.Random(seed), made
    for attempt in range(3):
        fault = {"where": "time", "call": random_.uniform(0.02, 0.8) * seconds}
        driver.run(making(tmp_path, tmp_path / f"run{attempt}"), tmp_path / "log", fault)
    status, _ = driver.run(making(tmp_path, tmp_path / "on"), tmp_path / "log")
    assert status == 0, (tmp_path / "log").read_text()[-3000:]
    assert difference(result(tmp_path / "on"), expected) is None


def start(*overrides: str, log: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "train.py", *overrides], cwd=ROOT, env=environment, stdout=file, stderr=file
        )


def test_two_runs_share_a_data_set_and_a_cache_that_both_make(tmp_path):
    given = [f"dataset.root={tmp_path / 'data'}", f"paths.cache_dir={tmp_path / 'cache'}", "dataset.decode=ahead"]
    runs = [
        start(*TINY, *ONE, *MAKES, *given, f"hydra.run.dir={tmp_path / name}", log=tmp_path / f"{name}.log")
        for name in ("one", "two")
    ]
    assert [run.wait(timeout=300) for run in runs] == [0, 0], (tmp_path / "two.log").read_text()[-3000:]
    assert difference(result(tmp_path / "one"), result(tmp_path / "two")) is None


def second_of(process: subprocess.Popen[bytes]) -> int:
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


@pytest.fixture(scope="module")
def unbroken_by_two(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = tmp_path_factory.mktemp("two") / "run"
    assert start(*by_two(data, run), log=run.parent / "log").wait(timeout=300) == 0
    return result(run)


def by_two(data: Path, run: Path, *more: str) -> list[str]:
    return [*TINY, *MADE, f"dataset.root={data}", f"hydra.run.dir={run}", *more]


@pytest.mark.parametrize(("rank", "step"), [(0, 1), (1, 2), (0, 4), (1, 5), (0, 7), (1, 8)])
def test_one_of_two_processes_is_killed(data, unbroken_by_two, tmp_path, rank, step):
    """Whichever it is, all end within 30 s with the same status and one line, and the run goes on."""
    run, log = tmp_path / "run", tmp_path / "log"
    process = start(*by_two(data, run), log=log)
    last = run / "checkpoints" / "last.ckpt"
    end = time.monotonic() + 280
    written: set[int] = set()
    while len(written) < step and time.monotonic() < end and process.poll() is None:
        if last.is_file():
            written.add(last.stat().st_mtime_ns)
        time.sleep(0.002)
    second = second_of(process)
    os.kill(process.pid if rank == 0 else second, signal.SIGKILL)
    killed = time.monotonic()
    assert process.wait(timeout=30) in (-signal.SIGKILL, 137)
    while Path(f"/proc/{second}").exists() and "Z" not in Path(f"/proc/{second}/stat").read_text().split()[2]:
        assert time.monotonic() - killed < 30
        time.sleep(0.1)
    text = log.read_text()
    assert text.count("error: ") == 1 and "so all end" in text and "Traceback" not in text
    assert "last.ckpt" in whole(run / "checkpoints")
    assert start(*by_two(data, tmp_path / "on", f"ckpt_path={last}"), log=log).wait(timeout=300) == 0
    assert difference(result(tmp_path / "on"), unbroken_by_two) is None
