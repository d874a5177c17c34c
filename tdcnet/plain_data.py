"""JSON, YAML and XML as plain data: every key once, numbers that are some, not nested without end."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn
from xml.etree import ElementTree

import numpy as np
import yaml

from tdcnet.data.errors import DataError
from tdcnet.limits import MOST_DEPTH, bound
from tdcnet.shown import printable, shown


class NoNumber(ValueError):
    """JSON that is right but for a number: NaN, infinity, or one too large for any use."""


def parse_json(text: str, where: object) -> Any:
    """What JSON text holds; ``where`` it stands is for messages. Raises DataError as :func:`read_json`."""
    try:
        if _nesting(text) > bound(MOST_DEPTH):
            raise DataError(f"{where}: is nested more than {bound(MOST_DEPTH)} levels deep; expected is plain data")
        content = json.loads(
            text, object_pairs_hook=_pairs, parse_int=_int, parse_float=_float, parse_constant=_no_constant
        )
        if _ODD_TEXT.search(text):
            _check_plain(content)
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is not JSON that can be used ({error}). Write the file again") from error
    return content


def parse_yaml(text: str, where: object) -> Any:
    """What YAML text holds; ``where`` it stands is for messages. Raises DataError as :func:`read_yaml`."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.AliasEvent):
                raise DataError(f"{where}: refers to *{shown(event.anchor)}; aliases are not read. Write the value out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > bound(MOST_DEPTH):
                raise DataError(f"{where}: is nested more than {bound(MOST_DEPTH)} levels deep; expected is plain data")
        content = yaml.load(text, Loader=_Loader)
        _check_plain(content)
    except DataError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError) as error:
        reason = printable(" ".join(str(error).split()))[:300]
        raise DataError(f"{where}: is not YAML that can be used ({reason}). Correct the file") from error
    return content


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain data, every key once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """As PyYAML, which takes the last of several."""
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise yaml.YAMLError(f"a key stands twice in one mapping{node.start_mark}")
        return found

    def construct_yaml_int(self, node: Any) -> Any:
        """As PyYAML, which takes time without end for those in base 60."""
        if len(node.value) > 66:
            raise yaml.YAMLError(f"a whole number has {len(node.value)} digits{node.start_mark}")
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


_WIDEST = 1 << 63
_ODD_TEXT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")  # escapes of NUL, and of half a character


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{shown(next(key for key in keys if keys.count(key) > 1))} stands twice in one object")
    return found


def _int(text: str) -> int:
    value = int(text) if len(text) < 24 else _WIDEST
    return _no_constant(f"{text[:24]}..") if abs(value) >= _WIDEST else value


def _float(text: str) -> float:
    value = float(text)
    return _no_constant(text[:24]) if math.isinf(value) else value


def _no_constant(name: str) -> NoReturn:
    raise NoNumber(f"{name} is no number that can be used")


def _check_plain(content: Any) -> None:
    """Raises ValueError for what names and numbers cannot be, however a file spells them."""
    todo = [content]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            todo += [*each, *each.values()]
        elif isinstance(each, list | tuple | set):
            todo += each
        elif isinstance(each, str):
            if "\0" in each or any(0xD800 <= ord(c) < 0xE000 for c in each):
                raise ValueError(f"{shown(each)} holds what is no character")
        elif isinstance(each, int) and abs(each) >= _WIDEST:
            raise ValueError("a whole number has more than 64 bits")


_STEPS = np.zeros(256, np.int8)
_STEPS[[0x5B, 0x7B]], _STEPS[[0x5D, 0x7D]] = 1, -1


def _nesting(text: str) -> int:
    """Levels of brackets outside of strings."""
    data = text.encode("utf-8", "surrogatepass")
    if b"\\" in data:
        data = re.sub(rb"\\.", b"__", data, flags=re.DOTALL)  # quotes among them
    deepest = depth = quotes = 0
    for at in range(0, len(data), 1 << 20):
        chunk = np.frombuffer(data, np.uint8, min(1 << 20, len(data) - at), at)
        inside = (np.cumsum(chunk == 0x22, dtype=np.int32) + quotes) & 1
        levels = np.cumsum(_STEPS[chunk] * (1 - inside), dtype=np.int32) + depth
        deepest, depth, quotes = max(deepest, int(levels.max())), int(levels[-1]), int(inside[-1])
    return deepest


# -- what a value of plain data is -------------------------------------------------------------------------------------


def is_whole(value: object, low: int, high: int) -> bool:
    """Whether a value is a whole number in a range, ends included; truth values are none."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def are_whole(values: object, count: int, low: int, high: int) -> bool:
    """Whether a value is a list of so many whole numbers in a range."""
    return isinstance(values, list | tuple) and len(values) == count and all(is_whole(n, low, high) for n in values)


def is_number(value: object) -> bool:
    """Whether a value is a finite number; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


class _Tree(ElementTree.TreeBuilder):
    """Elements alone: a document type, which could define entities, is refused; depth is bounded."""

    def __init__(self, where: object) -> None:
        super().__init__()
        self.where, self.depth = where, 0

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Of a document with a declaration of its type."""
        raise DataError(f"{self.where}: declares a document type, <!DOCTYPE {shown(name)}; delete the declaration")

    def start(self, tag: str, attrs: dict[str, str]) -> ElementTree.Element:
        """Of each element."""
        self.depth += 1
        if self.depth > bound(MOST_DEPTH):
            raise DataError(f"{self.where}: is nested more than {bound(MOST_DEPTH)} levels deep; expected are labels")
        return super().start(tag, attrs)

    def end(self, tag: str) -> ElementTree.Element:
        """Of each element."""
        self.depth -= 1
        return super().end(tag)


def parse_xml(text: str, where: object) -> ElementTree.Element:
    """The root element of XML text; ``where`` it stands is for messages.

    Raises:
        DataError: if it is not XML, declares a document type, or is nested too deeply.
    """
    parser = ElementTree.XMLParser(target=_Tree(where))
    try:
        parser.feed(text)
        found: ElementTree.Element = parser.close()
    except DataError:
        raise
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{where}: is not XML that can be used ({error}). Write the file again") from error
    return found
