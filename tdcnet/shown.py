"""Text from files as one may show it: on a terminal, in a message, in a table."""

from __future__ import annotations

import csv
import io
import logging
import re
import reprlib
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.text import Text


def is_hidden(letter: str) -> bool:
    """Whether a letter steers a terminal, hides what others say, ends a line, or is none."""
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def printable(text: object) -> str:
    """A name from a file as one may show it: without what steers a terminal or hides what it says."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(f"\\x{ord(c):02x}" if is_hidden(c) and c != "\t" else c for c in text)


def lines(text: object) -> str:
    """A message of one line or several, each printable."""
    return "\n".join(printable(line) for line in str(text).split("\n"))


def emphasised(text: str) -> Text:
    """A line for the terminal: ``[bold]..[/]`` before a blank, punctuation or the end is set off, all else is text."""
    from rich.text import Text  # late: files are read with this module, too

    found, at = Text(), 0
    for match in re.finditer(r"\[bold\](.*?)\[/\](?=[\s,:;.]|$)", text):
        found.append(lines(text[at : match.start()])).append(lines(match[1]), "bold")
        at = match.end()
    return found.append(lines(text[at:]))


class LogFormatter(logging.Formatter):
    """Writes a log's lines as one may show them, whatever names they hold."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return lines(super().format(record))


def markdown_cell(value: object) -> str:
    """A value for a table in Markdown, where bars, line ends and tags mean something."""
    return re.sub(r"([\\`*_{}\[\]<>|$~])", r"\\\1", printable(value))


def shown(value: object, most: int = 80) -> str:
    """Any value from a file for a message: on one line, printable, and cut where it is longer than ``most``."""
    text = value[: most + 1] if isinstance(value, str) else reprlib.repr(value)  # which cuts, too
    text = printable(text)
    text = f"{text[: most - 2]}.." if len(text) > most else text
    return f"'{text}'" if isinstance(value, str) else text


_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


def csv_cell(value: object) -> object:
    """A value for a CSV file: text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    value = printable(value.replace("\t", " "))
    # Wide forms of the signs count as well where a spreadsheet is set to East Asian languages.
    return f"'{value}" if unicodedata.normalize("NFKC", value.lstrip()[:1]).startswith(("=", "+", "-", "@")) else value


class CsvWriter:
    """Writes rows of numbers and of names from anywhere (:func:`csv_cell`) to a text file."""

    def __init__(self, file: TextIO) -> None:
        self._rows = csv.writer(file, lineterminator="\n")

    def writerow(self, row: Iterable[object]) -> None:
        """Writes a row."""
        self._rows.writerow([csv_cell(value) for value in row])


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as a CSV file."""
    text = io.StringIO()
    writer = CsvWriter(text)
    for row in rows:
        writer.writerow(row)
    return text.getvalue()
