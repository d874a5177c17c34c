"""Formats that people have under other names, or that are not read: one line says what is, and how to convert."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from tdcnet.commands.arguments import add_arguments
from tdcnet.data.formats import FORMATS, foreign, reader, yolo


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Pascal-VOC", "read with .*dataset=voc"),
        ("MOT17", "read with .*dataset=mot"),
        ("labelme", "not read; .*dataset="),
        ("kitti", "not read; .*dataset="),
        ("via", "not read; .*dataset="),
        ("DarkLabel", "not read; .*video_csv"),
    ],
)
def test_a_name_that_is_known_elsewhere(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=rf"format is '{name}'; allowed are .*{said}") as raised:
        reader(name)
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=r"allowed are anti_uav, .*, yolo$"):
        reader("nonsense")


def test_folders_of_other_layouts(tmp_path: Path) -> None:
    for at, (name, text, said) in enumerate(
        (
            ("Annotations/1.xml", "<annotation><object/></annotation>", "Pascal VOC"),
            ("annotations.xml", "<?xml version='1.0'?><annotations><track/></annotations>", "CVAT"),
            ("gt/gt.txt", "1,1,2,3,4,5,1,1,1", "MOT's gt.txt"),
            ("seq1/gt/gt.txt", "1,1,2,3,4,5,1,1,1", "MOT's gt.txt"),
        )
    ):
        path = tmp_path / str(at) / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        with pytest.raises(FileNotFoundError, match=rf"data\.yaml.* looks like another layout: {said}.* is read with"):
            yolo.read(tmp_path / str(at), "train")
    (tmp_path / "empty").mkdir()
    assert foreign.hint(tmp_path / "empty") == "" == foreign.hint(tmp_path / "nowhere")


def test_the_command_line_says_so_too() -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser, "error")
    with pytest.raises(argparse.ArgumentError, match="labelme's JSON is not read"):
        parser.parse_args(["--format", "labelme", "--root", "x"])
    assert parser.parse_args(["--format", "yolo", "--root", "x"]).format == "yolo"


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_said_about_a_name_that_is_read(name: str) -> None:
    assert foreign.of_name(name) is None


@pytest.mark.parametrize("name", ["voc", "cvat", "mot", "label_studio"])
def test_the_app_takes_the_name(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "train.py", f"dataset={name}", f"dataset.root={tmp_path}", "trainer=cpu"]
    root = Path(__file__).parents[3]
    found = subprocess.run([*command, f"hydra.run.dir={tmp_path / 'run'}"], cwd=root, capture_output=True, text=True)
    assert found.returncode == 1
    assert "not found; looked for" in found.stderr and str(tmp_path) in found.stderr
