"""A short sample of what ``make fuzz`` runs for minutes, and that it would see what is wrong."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tdcnet.data.errors import DataError
from tests.fuzz import campaign, verdict
from tests.fuzz.contents import Wrong
from tests.fuzz.edits import Edit, Pristine
from tests.fuzz.mutations import mutate
from tests.fuzz.targets import TARGETS
from tests.fuzz.verdict import FAILURES

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.json"))


@pytest.fixture(scope="module")
def worker():
    worker = campaign.Worker()
    yield worker
    worker.close()


def test_a_sample_of_damaged_inputs_for_every_reader(worker):
    found, counts = [], campaign.Counts()
    inputs = 6 * len(TARGETS)
    for state, finding, _ in campaign.run(dict.fromkeys(TARGETS, 1), seed=1, inputs=inputs, worker=worker):
        counts = state
        if finding.verdict.failed:
            found.append(f"{finding.reader} {finding.seed} ({finding.how}): {finding.verdict}")
    assert not found, "\n".join(found)
    assert set(counts.by_reader) == set(TARGETS)
    assert len(counts.total()) > 3  # not all one verdict, as if nothing were read


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_was_found_once_stays_mended(worker, path):
    found = campaign.replay(path, worker)
    assert not found.failed, found


def error_of(error, cause=None):
    try:
        raise error from cause
    except BaseException as raised:
        return verdict.of_error(raised, Path("/set")).kind


def test_errors_are_told_apart():
    assert error_of(DataError("/set/a.json: is bad")) == "named error"
    assert error_of(FileNotFoundError(2, "No such file", "/set/a.json")) == "named error"
    assert error_of(DataError("is bad")) == "unnamed error"
    assert error_of(DataError("/set/a.json: " + "x" * 5000)) == "unnamed error"
    assert error_of(ValueError("/set/a.json: is bad")) == "raw exception"
    assert error_of(RecursionError("deep")) == "raw exception"
    assert error_of(DataError("/set/a.json: is bad"), MemoryError()) == "memory"
    assert error_of(Wrong("score is 2")) == "silently other"
    for found, skipped, exact, kind in (
        *(("a", 0, True, "equal"), ("b", 0, True, "silently other"), ("b", 0, False, "other content")),
        *((None, 0, True, "made again"), ("b", 1, False, "counted skip")),
    ):
        assert verdict.of_content(found, "a", skipped, exact).kind == kind


def test_a_reader_that_hangs_or_dies_is_ended(worker, monkeypatch):
    monkeypatch.setattr(campaign, "SECONDS", 0.3)
    for how, kind in (("hang", "hang"), ("die", "crash")):
        assert worker.judge({"reader": "split", "policy": "error", "edits": [], "test": how})[0].kind == kind
    assert worker.judge({"reader": "split", "policy": "error", "edits": []})[0].kind == "equal"


def test_edits_are_undone(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/x.json", "y.txt"):
        (tmp_path / name).write_text(name)
    pristine, before = Pristine(tmp_path), sorted(tmp_path.rglob("*"))
    edits = [
        *(Edit("a/x.json", "pipe"), Edit("y.txt", "folder"), Edit("a/loop", "link", b".")),
        *(Edit("new/z", "bytes", b"z"), Edit("b", "hole", b"1000"), Edit("y.txt", "link", b"y.txt")),
    ]
    for edit in edits:
        assert Edit.of(edit.as_json()) == edit
        edit.apply(tmp_path)
    pristine.restore([edit.path for edit in edits], throughout=True)
    assert sorted(tmp_path.rglob("*")) == before
    assert [(tmp_path / name).read_text() for name in ("a/x.json", "y.txt")] == ["a/x.json", "y.txt"]


def test_a_seed_stands_for_one_mutation():
    files = {"a.json": b'{"a": [1, 2, {"b": "x"}]}', "b.png": os.urandom(200), "c.txt": b"1 2\n3 4\n"}
    assert mutate(files, ("*",), random.Random("7")) == mutate(files, ("*",), random.Random("7"))
    kinds = {edit.kind for seed in range(300) for edit in mutate(files, ("*",), random.Random(seed))}
    assert kinds == {"bytes", "link", "pipe", "folder", "hole", "removed"}
    assert set(FAILURES).isdisjoint(verdict.FINE)
