"""Folders that cannot be written to are told in one line before the work."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tdcnet.data.synthetic import MARKER, SyntheticConfig, write_dataset
from tdcnet.files import FolderError, check_writable
from tdcnet.stages.folders import CheckOutput, check_folders


def cannot(tmp_path: Path) -> Path:
    """A folder that nobody can make, root neither."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "x"


def test_a_folder_is_made_and_left_as_it_was(tmp_path):
    assert check_writable(tmp_path / "a" / "b", "Remedy") == tmp_path / "a" / "b"
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("reason", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_the_reason_is_told(tmp_path, monkeypatch, reason):
    def refuse(*_, **__):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(FolderError) as caught:
        check_writable(tmp_path, "Give another one")
    assert str(caught.value) == f"{tmp_path}: cannot be written to ({os.strerror(reason)}). Give another one"


@pytest.mark.parametrize("bad", ["dataset.homography_dir", "dataset.cache_dir", "logger.save_dir"])
def test_a_stage_asks_before_it_begins(tmp_path, bad):
    good = {name: str(tmp_path / name) for name in ("homography_dir", "cache_dir", "save_dir")}
    cfg = OmegaConf.create(
        {
            "stage": {"name": "train"},
            "dataset": {"align": "ahead", "decode": "ahead", **good},
            "logger": {"save_dir": good["save_dir"]},
        }
    )
    check_folders(cfg)
    OmegaConf.update(cfg, bad, str(cannot(tmp_path)))
    with pytest.raises(FolderError, match=rf"file/x: cannot be written to .* {bad} names another folder"):
        check_folders(cfg)


def test_what_is_not_used_is_not_asked_for(tmp_path):
    unused = {"align": "on_the_fly", "homography_dir": cannot(tmp_path), "decode": "on_the_fly", "cache_dir": "/sys/x"}
    check_folders(OmegaConf.create({"stage": {"name": "train"}, "dataset": unused, "logger": None}))


def test_the_run_s_own_folder(tmp_path, capsys):
    folder = str(cannot(tmp_path))
    config = OmegaConf.create({"hydra": {"run": {"dir": folder}, "sweep": {"dir": folder}}})
    for begin, option in (
        (CheckOutput().on_run_start, "hydra.run.dir"),
        (CheckOutput().on_multirun_start, "hydra.sweep"),
    ):
        with pytest.raises(SystemExit) as stopped:
            begin(config)
        said = capsys.readouterr().err
        assert stopped.value.code == 1 and said.startswith(f"error: {folder}: cannot be written to") and option in said
        assert said.count("\n") == 1


CONFIG = SyntheticConfig(height=32, width=32, frames=2)
HOSTILE_MARKERS = (
    "",
    "[" * 5000,
    '{"config": "x"}',
    '{"config": [1]}',
    "[1]",
    '{"generator": NaN}',
    "\0",
    '{"a": 1, "a": 2}',
)


@pytest.mark.parametrize("text", HOSTILE_MARKERS, ids=range(len(HOSTILE_MARKERS)))
def test_a_damaged_marker_is_another_data_set(tmp_path, text):
    root = write_dataset(tmp_path / "set", CONFIG, 1, 1)
    before = (root / MARKER).read_text()
    (root / MARKER).write_text(text)
    with pytest.raises(Exception, match=r"set: holds a synthetic data set made otherwise") as caught:
        write_dataset(root, CONFIG, 1, 1)
    assert len(str(caught.value)) < 2000
    write_dataset(root, CONFIG, 1, 1, overwrite=True)
    assert (root / MARKER).read_text() == before and [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_data_set_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    root = write_dataset(tmp_path / "set", CONFIG, 1, 1)
    before = sorted(path.name for path in root.rglob("*"))
    real = Path.rename

    def refuse(self, target):
        if "partial" in self.name and "before" not in self.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError):
        write_dataset(root, SyntheticConfig(height=32, width=32, frames=3), 1, 1, overwrite=True)
    assert sorted(path.name for path in root.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_data_set_that_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(FolderError, match="cannot be written to"):
        write_dataset(cannot(tmp_path) / "set", CONFIG, 1, 1)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(FolderError, match=r"cannot be written .No space left on device"):
        write_dataset(tmp_path / "set", CONFIG, 1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
