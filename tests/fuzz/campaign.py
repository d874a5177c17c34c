"""Many inputs in one process that is watched, killed and started again; the findings are reduced and kept."""

from __future__ import annotations

import hashlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.verdict import SECONDS, Verdict

ROOT = Path(__file__).parents[2]
POLICIES = ("skip", "error")


@dataclass
class Finding:
    """A failure, with all that is needed to see it again.

    Attributes:
        reader: its name.
        seed: that made the input.
        policy: what is done about bad frames.
        edits: as :meth:`tests.fuzz.edits.Edit.as_json` gives them.
        count: of inputs that failed at the same place.
    """

    reader: str
    seed: str
    policy: str
    verdict: Verdict
    edits: list[dict[str, str]]
    how: str = ""
    count: int = 1

    def write(self, folder: Path) -> Path:
        """Keeps it as a file that ``--replay`` takes."""
        folder.mkdir(parents=True, exist_ok=True)
        key = hashlib.sha256(f"{self.reader}|{self.verdict.kind}|{self.verdict.place}".encode()).hexdigest()[:8]
        path = folder / f"{self.reader}-{self.verdict.kind.replace(' ', '-')}-{key}.json"
        content = {"reader": self.reader, "seed": self.seed, "policy": self.policy, "how": self.how}
        path.write_text(json.dumps({**content, "verdict": self.verdict.as_json(), "edits": self.edits}, indent=1))
        return path


@dataclass
class Counts:
    """Of a campaign."""

    by_reader: dict[str, Counter[str]] = field(default_factory=dict)
    findings: dict[tuple[str, str, str], Finding] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=Counter)

    def add(self, finding: Finding, seconds: float) -> bool:
        """Counts an input; whether it is the first of its finding."""
        self.by_reader.setdefault(finding.reader, Counter())[finding.verdict.kind] += 1
        self.seconds[finding.reader] = self.seconds.get(finding.reader, 0.0) + seconds
        if not finding.verdict.failed:
            return False
        key = (finding.reader, finding.verdict.kind, finding.verdict.place)
        if key in self.findings:
            self.findings[key].count += 1
            return False
        self.findings[key] = finding
        return True

    @property
    def inputs(self) -> int:
        """All that were tried."""
        return sum(sum(counts.values()) for counts in self.by_reader.values())

    def total(self) -> Counter[str]:
        """By verdict."""
        return sum(self.by_reader.values(), Counter())


class Worker:
    """The reading process; started when it is needed, and again after it was killed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._folder = ""

    def judge(self, task: dict[str, Any]) -> tuple[Verdict, list[dict[str, str]], str]:
        """What comes of an input; its edits, where that is a failure; and what was done to it, in words."""
        if self._process is None:
            self._start()
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        state, began, used = "", time.monotonic(), self._used()
        while True:
            answer = self._read(0.25)
            if answer == "":
                code = self._process.wait()
                self.close()
                if state == "preparing":
                    raise RuntimeError(f"the valid input of {task['reader']} ended its process with status {code}")
                return Verdict("crash", f"the process ended with status {code}", "crash"), [], ""
            if answer is not None:
                content = json.loads(answer)
                if content["state"] == "failed":
                    self.close()
                    raise RuntimeError(f"the valid input of {task['reader']} cannot be made or read: {content['said']}")
                if content["state"] == "end":
                    return Verdict(**content["verdict"]), content["edits"], content["how"]
                state, self._folder, began, used = content["state"], content["folder"], time.monotonic(), self._used()
                continue
            # Others may keep the machine busy, or stop it for a while: what counts is the time that the process got, or
            # that it only waits, and goes on to.
            waited, worked = time.monotonic() - began, self._used() - used
            idle = waited > 6 * SECONDS and worked < 0.1 * waited
            if state == "begin" and (worked > SECONDS or idle or waited > 60):
                self.close()
                return Verdict("hang", f"{worked:.1f} s of work in {waited:.1f} s", "hang"), [], ""

    def close(self) -> None:
        """Ends the process and removes what it left."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, "-m", "tests.fuzz.worker"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment, cwd=ROOT
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._pending = ""

    def _read(self, seconds: float) -> str | None:
        """The next line; empty where there will be none, None where there is none yet."""
        assert self._process is not None and self._process.stdout is not None
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while "\n" not in self._pending:
                if not selector.select(max(0.0, until - time.monotonic())):
                    return None
                piece = os.read(self._process.stdout.fileno(), 1 << 16)
                if not piece:
                    return ""
                self._pending += piece.decode()
        line, _, self._pending = self._pending.partition("\n")
        return line

    def _used(self) -> float:
        try:
            assert self._process is not None
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            return 0.0


def run(
    readers: dict[str, int],
    seed: int,
    inputs: int | None = None,
    minutes: float | None = None,
    worker: Worker | None = None,
) -> Iterator[Any]:
    """Tries inputs in turn over the readers; gives the counts after each input, and whether it is a new finding.

    Args:
        readers: weight by name: so many in a row of each.
        seed: of the campaign; input ``i`` of a reader has the seed ``SEED/READER/i``.
        inputs: to try; None for as many as the minutes allow.
        minutes: to go on.
        worker: that reads; one of its own if None.
    """
    counts, own, began = Counts(), worker is None, time.monotonic()
    worker = worker or Worker()
    numbers: Counter[str] = Counter()
    try:
        while True:
            for reader, weight in readers.items():
                for _ in range(2 * weight):
                    late = minutes is not None and time.monotonic() - began > 60 * minutes
                    if late or (inputs is not None and counts.inputs >= inputs):
                        return
                    task = {"reader": reader, "seed": f"{seed}/{reader}/{numbers[reader]}"}
                    task["policy"] = POLICIES[numbers[reader] % 2]
                    numbers[reader] += 1
                    start = time.monotonic()
                    verdict, edits, how = worker.judge(task)
                    if verdict.kind in ("crash", "hang"):  # that process can tell no more
                        _, edits, how = worker.judge(task | {"show": True})
                    finding = Finding(reader, task["seed"], task["policy"], verdict, edits, how)
                    yield counts, finding, counts.add(finding, time.monotonic() - start)
    finally:
        if own:
            worker.close()


def reduce(finding: Finding, worker: Worker) -> Finding:
    """The same failure with fewer edits, and those smaller, where that fails as well."""
    if len(finding.edits) < 2:
        return finding
    for edit in finding.edits:
        task = {"reader": finding.reader, "policy": finding.policy, "edits": [edit]}
        verdict, *_ = worker.judge(task)
        if (verdict.kind, verdict.place) == (finding.verdict.kind, finding.verdict.place):
            how = f"{edit['path']}: {edit['how']}"
            return Finding(finding.reader, finding.seed, finding.policy, verdict, [edit], how, finding.count)
    return finding


def replay(path: Path, worker: Worker) -> Verdict:
    """What comes of a kept input now."""
    content = json.loads(path.read_text())
    task = {"reader": content["reader"], "policy": content["policy"], "seed": content["seed"]}
    if content["edits"]:
        task["edits"] = content["edits"]
    return worker.judge(task)[0]
