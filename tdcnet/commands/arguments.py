"""What verbs share: what they ask for on the command line, and how they end."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tdcnet.data.errors import DataError
from tdcnet.data.formats import FORMATS, reader
from tdcnet.data.name_patterns import NamePattern
from tdcnet.plain_data import parse_yaml
from tdcnet.shown import LogFormatter, lines


def parser_of(verb: str, help_text: str | None) -> argparse.ArgumentParser:
    """A parser for ``tdcnet VERB`` whose help begins with this text as it stands."""
    layout = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(f"tdcnet {verb}", description=help_text, formatter_class=layout)


def add_arguments(parser: argparse.ArgumentParser, on_bad_frame: str) -> None:
    """Adds ``--format``, ``--root``, ``--set`` and ``--on-bad-frame``, which is ``on_bad_frame`` unless given."""
    parser.add_argument(
        "--format", required=True, type=_format, metavar="FORMAT", help=f"layout of the data: {', '.join(FORMATS)}"
    )
    parser.add_argument("--root", required=True, type=Path, help="folder of the data set")
    parser.add_argument(
        "--set", nargs="+", default=[], type=_option, metavar="KEY=VALUE", help="options of the reader, as in YAML"
    )
    parser.add_argument("--on-bad-frame", choices=("error", "skip"), default=on_bad_frame, help="(%(default)s)")


def add_names(parser: argparse.ArgumentParser) -> None:
    """Adds ``--names``, a pattern for :func:`~tdcnet.data.names.naming`."""
    parser.add_argument(
        "--names",
        type=_name_pattern,
        metavar="REGEX",
        help="finds the groups recording and frame (or time) in the names of frames, as dataset.names does",
    )


def add_group(parser: argparse.ArgumentParser) -> None:
    """Adds ``--group``, for :func:`recording_of`."""
    parser.add_argument("--group", type=_regex, metavar="REGEX", help="finds the recording in a sequence's name")


def recording_of(name: str, pattern: re.Pattern[str] | None) -> str:
    """The recording that a sequence is a part of: what the pattern (its groups, if any) finds; the name if None.

    Raises:
        DataError: if the pattern finds nothing: that one could be a part of any recording.
    """
    if pattern is None:
        return name
    match = pattern.search(name)
    if match is None:
        raise DataError(f"--group {pattern.pattern!r} finds nothing in {name!r}. It must match every name")
    return "\0".join(part or "" for part in match.groups()) if match.groups() else match[0]


def exit_status(work: Callable[[], object], stopped: str = "stopped; the same command starts anew") -> int:
    """Does a script's work: 0; 1 after one message about what is wrong with its input; 130 where it was stopped."""
    log_to_terminal()
    try:
        work()
    except (DataError, OSError) as error:
        print(lines(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return 130
    return 0


def log_to_terminal() -> None:
    """Warnings on stderr, printable whatever names they hold."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def _name_pattern(text: str) -> NamePattern:
    try:
        return NamePattern(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _format(text: str) -> str:
    try:
        reader(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression ({error})") from error


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, parse_yaml(value, f"--set {key}")
    except DataError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
