"""Runs a real command in a process forked from a server with everything loaded, which takes a tenth of the time.

The server (multiprocessing's) has one thread: a child forked from a test's own process could hang on locks of others.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import sys
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

# Loaded before the first fork.
import tdcnet.cli
import tdcnet.comparison
import tdcnet.stages.ablation
import tdcnet.stages.baselines
import tdcnet.stages.deployment
import tdcnet.stages.evaluation
import tdcnet.stages.prediction
import tdcnet.stages.training

ROOT = Path(__file__).parents[2]
TIMEOUT = 120


@dataclass
class Ended:
    """How a command ended, and all that it said."""

    status: int
    said: str


def command(log: Path, script: str, *arguments: str, cwd: Path) -> Ended:
    """``command(log, "train.py", "stage=eval", cwd=FOLDER)``, or ``"tdcnet"`` in place of the script."""
    os.environ["PYTHONPATH"] = str(ROOT)  # the server takes it from here when it starts
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_run, args=(log, script, arguments, cwd))
    process.start()
    process.join(TIMEOUT)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"{script} {' '.join(arguments)} did not end; it said {log.read_text()}")
    assert process.exitcode is not None
    return Ended(process.exitcode, log.read_text())


def _run(log: Path, script: str, arguments: tuple[str, ...], cwd: Path) -> None:
    status = 99
    try:
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        warnings.resetwarnings()
        os.chdir(cwd)
        sys.path[:0] = [str(cwd), str(ROOT)]  # as if the stranger's folder were the working one
        sys.argv = [script, *arguments]
        if script == "tdcnet":
            tdcnet.cli.main()
        else:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        status = 0
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
