"""Ways to damage the content of a file: each takes bytes and gives bytes."""

from __future__ import annotations

import json
import random
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

PLAIN = (
    "NaN -NaN Infinity -Infinity 1e999 -1e999 1e-999 -1 0 -0 1.5 0x10 1_000 ١٢ ² 99999999999999999999 2147483648 "
    "-2147483649 9223372036854775808 1e308 1e18 null true ~ [] {} [[]] \"\" '' ' \" , ; : - # % $ & * ! | > ? @ ` \\ / "
    "../../../../etc/passwd /etc/passwd /dev/zero /dev/stdin . .. ~/x C:\\x file:///x &a *a <<: !!python/name:x "
    "${oc.env:HOME} ${x} {0} %s =1+1 +1 @SUM(1) <script>alert(1)</script> [bold] [/]"
)
TOKENS = (
    *PLAIN.split(),
    *("", " ", "\t", "\n", "\r\n", "\r", "\0", "\x1b[2J", "\x1b]0;x\x07", "\u202e", "\u2028", "\ufeff", "\x85", "\x0c"),
    *("9" * 5000, "[" * 3000, "{" * 3000, "(" * 300, "x" * 300, "a/" * 300, "é" * 200, '{"a":' * 300, "- " * 500),
    *("1," * 2000, "\U0001f600", "\ud800", "= (a, {b}) [c]"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 10**30, -(10**30), 2**31, 2**63, 1e308, -1e308, float("nan"), float("inf")),
    *("", "x", "NaN", "1", "-1", "1e999", "x" * 300, "a/../../b", "/etc/passwd", "\0", "\x1b[31m", "\u202e", "\ud800"),
    *([], {}, [[]], [None], {"a": 1}, [1, 2, 3, 4], [0] * 5, [float("nan")] * 4, [-5, -5, 3, 3], [1e12] * 4, 0.5, "²"),
)
CUT = 4_000_000  # bytes of what a mutation may make

Mutator = Callable[[random.Random, bytes], bytes]


# -- bytes ---------------------------------------------------------------------------------------------------------


def flip(rng: random.Random, data: bytes) -> bytes:
    """Turns some bits round."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(rng: random.Random, data: bytes) -> bytes:
    """Random bytes, or the extremes that lengths and counts have, over a stretch."""
    at = _place(rng, data)
    with_ = rng.choice((rng.randbytes(rng.choice((1, 4, 40))), b"\xff" * 4, b"\0" * 8, b"\xff\xff\xff\x7f", b"\x80"))
    return data[:at] + with_ + data[at + len(with_) :]


def truncate(rng: random.Random, data: bytes) -> bytes:
    """Ends early."""
    return data[: _place(rng, data)]


def insert(rng: random.Random, data: bytes) -> bytes:
    """A token, random bytes or a stretch of the file itself, anywhere."""
    at, more = _place(rng, data), token(rng)
    if rng.random() < 0.4:
        start = _place(rng, data)
        more = rng.choice((rng.randbytes(rng.choice((1, 16, 200))), data[start : start + 64]))
    return data[:at] + more + data[at:]


def delete(rng: random.Random, data: bytes) -> bytes:
    """Leaves a stretch out."""
    at = _place(rng, data)
    return data[:at] + data[at + rng.choice((1, 2, 8, 100)) :]


def replace_all(rng: random.Random, data: bytes) -> bytes:
    """Something else altogether."""
    heads = (b"\xef\xbb\xbf", b"\x1f\x8b", b"PK\x03\x04")
    return rng.choice((b"", token(rng), b"\0" * 500, rng.randbytes(300), *heads, data * 3))


# -- text ----------------------------------------------------------------------------------------------------------


def number(rng: random.Random, data: bytes) -> bytes:
    """Another number, or no number, in the place of one."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?", data[:CUT]))
    if not found:
        return insert(rng, data)
    match = rng.choice(found)
    return data[: match.start()] + token(rng) + data[match.end() :]


def word(rng: random.Random, data: bytes) -> bytes:
    """A token in the place of a word."""
    found = list(re.finditer(rb"[A-Za-z_./]+", data[:CUT]))
    if not found:
        return insert(rng, data)
    match = rng.choice(found)
    return data[: match.start()] + token(rng) + data[match.end() :]


def lines(rng: random.Random, data: bytes) -> bytes:
    """Lines twice, gone, swapped, cut or joined."""
    rows = data.split(b"\n")
    i, j = rng.randrange(len(rows)), rng.randrange(len(rows))
    way = rng.randrange(5)
    if way == 0:
        rows.insert(j, rows[i])
    elif way == 1:
        del rows[i]
    elif way == 2:
        rows[i], rows[j] = rows[j], rows[i]
    elif way == 3:
        rows[i] = rows[i][: rng.randrange(len(rows[i]) + 1)]
    else:
        return rng.choice((b"", b"\r", b",", b"\0", b"\x85")).join(rows)
    return b"\n".join(rows)


def encoding(rng: random.Random, data: bytes) -> bytes:
    """The same text as other programs save it."""
    text = data.decode("utf-8", "replace")
    way = rng.randrange(5)
    if way < 2:
        return (b"\xef\xbb\xbf", b"\xff\xfe")[way] + data
    return text.encode(("utf-16", "utf-32", "utf-7")[way - 2], "replace")


def tree(rng: random.Random, data: bytes) -> bytes:
    """JSON with a value of another type, a key less, a key twice, or nested."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return insert(rng, data)
    places = list(_places(content))
    if not places:
        return json.dumps(rng.choice(VALUES)).encode()
    # Half near the top: most places are numbers of boxes.
    holder, key = rng.choice(places if rng.random() < 0.5 else places[: max(4, len(places) // 8)])
    way = rng.random()
    if way < 0.6:
        holder[key] = rng.choice(VALUES)
    elif way < 0.75:
        del holder[key]
    elif way < 0.8 and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif way < 0.85:
        holder[key] = [holder[key]] if rng.random() < 0.5 else {"x": holder[key]}
    elif way < 0.9:
        deep: Any = holder[key]
        for _ in range(rng.choice((60, 400))):
            deep = [deep]
        holder[key] = deep
    elif isinstance(holder, dict):
        name = json.dumps(key) + ":"
        text = json.dumps(content, separators=(",", ":"))
        return text.replace(name, name + json.dumps(rng.choice(VALUES)) + "," + name, 1).encode()
    else:
        holder[key] = holder[rng.randrange(len(holder))]
    return json.dumps(content).encode()


def yaml_tree(rng: random.Random, data: bytes) -> bytes:
    """YAML with a value replaced, or with what YAML is notorious for."""
    rows = data.split(b"\n")
    at = rng.randrange(len(rows))
    notorious = (
        b"a: &a [x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]",
        b"a: !!python/object/apply:os.system ['true']",
        b"? [a, b]\n: c",
        b"<<: {a: 1}",
        b"nc: 99999999",
        b"names: {0: a, 7: b}",
        b"train: /",
        b"train: .",
        b"x: 1e5000",
        b"when: 2024-99-99",
        b"a: " + b"[" * 200,
        b"a: 0o7777777777777777777777",
        b"9" * 5000 + b": 1",
        b"x: 1:1:1:1:1:1" + b":59" * 3000,
    )
    if rng.random() < 0.5:
        key, colon, _ = rows[at].partition(b":")
        rows[at] = key + colon + b" " + rng.choice((json.dumps(rng.choice(VALUES)).encode(), token(rng)))
    else:
        rows.insert(at, rng.choice(notorious))
    return b"\n".join(rows)


# -- pictures ------------------------------------------------------------------------------------------------------


def picture_size(rng: random.Random, data: bytes) -> bytes:
    """A picture that says it is huge, or of no size, with correct checksums."""
    sides = rng.choice(
        ((30000, 30000), (65535, 65535), (2**31 - 1, 2**31 - 1), (0, 10), (1, 2**30), (31, 23), (33, 24))
    )
    if data.startswith(b"\x89PNG") and len(data) > 33:
        head = b"IHDR" + struct.pack(">II", *sides) + data[24:29]
        return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    if data.startswith(b"BM") and len(data) > 26:
        return data[:18] + struct.pack("<ii", *(min(s, 2**31 - 1) for s in sides)) + data[26:]
    if (at := data.find(b"\xff\xc0")) > 0 and data.startswith(b"\xff\xd8"):
        return data[: at + 5] + struct.pack(">HH", *(min(s, 65535) for s in sides)) + data[at + 9 :]
    return flip(rng, data)


def png_chunks(rng: random.Random, data: bytes) -> bytes:
    """A PNG whose chunks are gone, twice, swapped or changed, each with a correct checksum."""
    if not data.startswith(b"\x89PNG"):
        return flip(rng, data)
    chunks, at = [], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return flip(rng, data)
    i, j = rng.randrange(len(chunks)), rng.randrange(len(chunks))
    way = rng.randrange(4)
    if way == 0:
        del chunks[i]
    elif way == 1:
        chunks.insert(j, chunks[i])
    elif way == 2:
        chunks[i], chunks[j] = chunks[j], chunks[i]
    else:
        chunks[i] = chunks[i][0], flip(rng, chunks[i][1])
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


# -- by kind of file -----------------------------------------------------------------------------------------------

BINARY: tuple[Mutator, ...] = (flip, flip, overwrite, truncate, insert, delete, replace_all)
TEXT: tuple[Mutator, ...] = (flip, truncate, insert, delete, number, number, word, lines, encoding, replace_all)
OF_SUFFIX: dict[str, tuple[Mutator, ...]] = {
    ".json": (*TEXT, tree, tree, tree, tree, tree, tree),
    ".yaml": (*TEXT, yaml_tree, yaml_tree, yaml_tree, yaml_tree),
    ".txt": TEXT,
    ".csv": TEXT,
    ".png": (*BINARY, picture_size, png_chunks, png_chunks),
    **dict.fromkeys((".bmp", ".jpg", ".tif"), (*BINARY, picture_size)),
}


def _places(content: Any) -> Any:
    if isinstance(content, dict | list):
        for key, value in list(content.items() if isinstance(content, dict) else enumerate(content)):
            yield content, key
            yield from _places(value)


def _place(rng: random.Random, data: bytes) -> int:
    # Half in the head, where files say what they are.
    return rng.randrange(len(data) + 1) if rng.random() < 0.5 else rng.randrange(min(len(data), 120) + 1)


def token(rng: random.Random) -> bytes:
    return rng.choice(TOKENS).encode("utf-8", "surrogatepass")
