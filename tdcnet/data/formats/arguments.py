"""What scripts ask for on the command line to read a data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from tdcnet.data.formats import FORMATS


def add_arguments(parser: argparse.ArgumentParser, on_bad_frame: str) -> None:
    """Adds ``--format``, ``--root``, ``--set`` and ``--on-bad-frame``, which is ``on_bad_frame`` unless given."""
    parser.add_argument("--format", required=True, choices=FORMATS, help="layout of the data")
    parser.add_argument("--root", required=True, type=Path, help="folder of the data set")
    parser.add_argument(
        "--set", nargs="+", default=[], type=_option, metavar="KEY=VALUE", help="options of the reader, as in YAML"
    )
    parser.add_argument("--on-bad-frame", choices=("error", "skip"), default=on_bad_frame, help="(%(default)s)")


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, yaml.safe_load(value)
