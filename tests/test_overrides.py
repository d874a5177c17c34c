"""Paths with any character on the command line."""

from __future__ import annotations

import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from tdcnet.stages.overrides import check_used, command_line, quote_paths

PATHS = [
    "clip.mp4",
    "/a/b/epoch=3-step=100.ckpt",
    "clip (1).mp4",
    "a,b.mp4",
    "with space.mp4",
    "{x}.mp4",
    "100%.mp4",
    "видео.mp4",
    "a:b.mp4",
    "[cam].mp4",
    "[1]",
    "it's.mp4",
    "it\\'s.mp4",
    'say "x".mp4',
    "back\\slash",
    "ends in \\",
    "~x#1.mp4",
    "true",
    "1e5",
    "a\tb",
    "rtsp://127.0.0.1:1/x?y=1&z=(2)",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", ["source", "ckpt_path", "dataset.root", "paths.output_dir", "+hydra.run.dir"])
def test_a_path_arrives_as_it_is(path, key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if path == "[1]":  # a list of sources, unless there is such a folder
        (tmp_path / path).mkdir()
    (argument,) = quote_paths([f"{key}={path}"])
    assert OverridesParser.create().parse_override(argument).value() == path
    assert quote_paths([argument]) == [argument], "what is quoted stays"


@pytest.mark.parametrize(
    ("program", "said"),
    [("/bin/tdcnet", "tdcnet"), ("train.py", "python train.py"), ("/x/tdcnet/stages/app.py", "tdcnet")],
)
def test_a_command_line_can_be_pasted(program, said, monkeypatch):
    monkeypatch.setattr(sys, "argv", [program])
    assert command_line(["stage=eval", "ckpt_path=a b"]) == f"{said} stage=eval 'ckpt_path=a b'"


def test_other_values_are_left_alone():
    given = ["+experiment=x", "--cfg", "job", "source=0", "ckpt_path=null", "source='a=b'", "dataset.size=[1,2]"]
    given += ["paths.log_dir=${paths.root_dir}/x", "~logger", "--config-dir=a=b"]
    assert quote_paths(given) == given
    assert quote_paths(["-m", "ckpt_path=a.ckpt,b.ckpt"]) == ["-m", "ckpt_path=a.ckpt,b.ckpt"]


def test_lists_of_paths_may_hold_equal_signs():
    (argument,) = quote_paths(["stage.compare=[/a/b=c.ckpt, x (1).json]"])
    assert OverridesParser.create().parse_override(argument).value() == ["/a/b=c.ckpt", "x (1).json"]
    assert quote_paths(["source=['a, b.mp4',c.mp4]"]) == ["source=['a, b.mp4',c.mp4]"]
    (argument,) = quote_paths(["source=[a=b.mp4, c d.mp4]"])
    assert OverridesParser.create().parse_override(argument).value() == ["a=b.mp4", "c d.mp4"]


def test_what_cannot_be_read_is_told_with_how_to_write_it():
    with pytest.raises(ValueError, match=r"name=a\(b cannot be read .* in two pairs of quotes: 'name='\"'\"'a\(b'"):
        quote_paths(["name=a(b"])


@pytest.mark.parametrize(
    ("added", "meant"),
    [
        ("+stage.treshold=0.5", "Did you mean stage.threshold"),
        ("+sed=1", "Did you mean seed"),
        ("+trianer.max_steps=1", "Did you mean trainer"),
        ("+anything=1", "nothing reads anything, which was added with \\+. Leave"),
    ],
)
def test_an_option_that_nothing_reads_is_refused(added, meant):
    content = {"seed": 0, "trainer": {"a": 1}, "stage": {"threshold": None}, "name": "x"}
    cfg = OmegaConf.merge(content, OmegaConf.from_dotlist([added.lstrip("+")]))
    with pytest.raises(ValueError, match=meant):
        check_used([added], cfg)


def test_options_that_something_may_read_are_not():
    content = {"seed": 0, "trainer": {"a": 1, "max_steps": 2}, "lr": 1, "module": {"rate": "${lr}"}, "stage": {"a": 1}}
    check_used(
        ["+trainer.max_steps=2", "+lr=1", "+experiment=demo", "+model/x=y", "stage.a=1"], OmegaConf.create(content)
    )


def test_the_home_folder_is_meant_after_an_equals_sign_too(monkeypatch):
    monkeypatch.setenv("HOME", "/home/a b")
    assert quote_paths(["ckpt_path=~/x.ckpt", "source=~x"]) == ["ckpt_path=/home/a b/x.ckpt", "source='~x'"]
    assert quote_paths(["ckpt_path=~/x(1).ckpt"]) == ["ckpt_path='/home/a b/x(1).ckpt'"]
