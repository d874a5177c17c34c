"""The process that reads: ``python -m tests.fuzz.worker``. A line of JSON in names an input, a line out tells of it.

It is killed by :mod:`campaign` when an input takes too long, hence the line ``begin`` before each.
"""

from __future__ import annotations

import contextlib
import glob
import io
import json
import logging
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tdcnet.data.errors import Problems
from tests.fuzz import contents, verdict
from tests.fuzz.edits import Edit, Pristine
from tests.fuzz.mutations import mutate
from tests.fuzz.targets import TARGETS, Target, prepare

HEADROOM = 5 << 30  # of address space, above what is mapped before: a limit for accidents, not the measure


class Bench:
    """The valid input of one reader, and what it says."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.root = folder / target.name
        self.root.mkdir()
        self.pristine = prepare(target, self.root)
        if not target.keep:
            shutil.rmtree(self.root / "cache", ignore_errors=True)
        self.files = Pristine(self.root)

    def edits(self, seed: str) -> list[Edit]:
        """The mutation that a seed stands for."""
        content = {name: data for name, (data, _) in self.files.files.items()}
        return mutate(content, self.target.files, random.Random(seed), self.target.special)

    def here(self, edit: Edit) -> Edit:
        """An edit of another process: names in caches hold a digest of the folder, which is another one here."""
        pattern = re.sub(r"[0-9a-f]{12}", "?" * 12, glob.escape(edit.path))
        path = next((name for name in self.files.files if fnmatch(name, pattern)), edit.path)
        return replace(edit, path=path)

    def judge(self, edits: list[Edit], policy: str) -> verdict.Verdict:
        """Reads the input with these edits."""
        os.environ["TDCNET_CACHE"] = str(self.root / "cache")
        for edit in edits:
            edit.apply(self.root)
        before = _forget_peak()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 31, resource.RLIM_INFINITY))
        problems = Problems(policy)  # type: ignore[arg-type]
        exact = all(any(fnmatch(edit.path, pattern) for pattern in self.target.exact) for edit in edits)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                found = self.target.read(self.root, problems)
                found = None if found is None else contents.digest(found)
            result = verdict.of_content(found, self.pristine, len(problems.found), exact)
            unnamed = next((text for text in problems.found if str(self.root) not in text), None)
            if unnamed is not None:
                result = verdict.Verdict("unnamed error", unnamed[:3000], "a problem that names no file")
        except Exception as error:
            result = verdict.of_error(error, self.root)
        if (grown := _peak() - before) > verdict.MEMORY:
            result = verdict.Verdict("memory", f"{grown / 1e9:.1f} GB; {result.kind}: {result.said}"[:300], "memory")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.files.restore([edit.path for edit in edits], throughout=True)
        return result


def _forget_peak() -> int:
    """Resident bytes now; the peak is counted anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def _told(edits: list[Edit]) -> str:
    return "; ".join(f"{edit.path}: {edit.how}" for edit in edits)


def _limit() -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + HEADROOM, resource.RLIM_INFINITY))


def main() -> None:
    """Serves until the input ends."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is not for the pipe

    def tell(**content: Any) -> None:
        out.write(json.dumps(content) + "\n")
        out.flush()

    benches: dict[str, Bench] = {}
    with tempfile.TemporaryDirectory(prefix="tdcnet-fuzz-") as folder:
        for line in sys.stdin:
            task = json.loads(line)
            name = task["reader"]
            if name not in benches:
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                tell(state="preparing", folder=folder)
                try:
                    benches[name] = Bench(TARGETS[name], Path(folder))
                except Exception as error:
                    tell(state="failed", folder=folder, said=repr(error))
                    raise
                _limit()
            bench = benches[name]
            given = [bench.here(Edit.of(each)) for each in task.get("edits", ())]
            edits = given if "edits" in task else bench.edits(task["seed"])
            if task.get("show"):
                tell(state="end", verdict={"kind": "equal"}, edits=[edit.as_json() for edit in edits], how=_told(edits))
                continue
            tell(state="begin", folder=folder)
            if task.get("test") == "hang":
                time.sleep(60)
            if task.get("test") == "die":
                os.abort()
            result = bench.judge(edits, task["policy"])
            kept = [edit.as_json() for edit in edits] if result.failed else []
            tell(state="end", verdict=result.as_json(), edits=kept, how=_told(edits))


if __name__ == "__main__":
    main()
