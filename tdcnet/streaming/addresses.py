"""What a source is called on a command line, and how it is told to people: without a password."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from tdcnet.data.errors import DataError
from tdcnet.shown import printable

SCHEMES = ("rtsp", "rtsps", "http", "https")
"""Of addresses that are opened."""
STDIN = "-"
_SECRET = re.compile(r"(?i)\b(pass(?:word|wd)?|pwd|pw|user(?:name)?|usr|login|token|key|auth|secret)=[^&/;]*")
_ALMOST = re.compile(r"(?i)(rtsps?|https?):/?(?!/)")
_DEVICE = re.compile(r"/dev/video([0-9]+)$")


def is_address(source: str) -> bool:
    """Whether a source is an address, or was meant to be one, and no file."""
    return "://" in source or _ALMOST.match(source) is not None


def device_of(source: str) -> int | str | None:
    """A camera's number or device file; None where the source is none. A file or folder called ``0`` is ``./0``."""
    if source.isascii() and source.isdecimal():
        return int(source) if len(source) < 4 else None
    return source if _DEVICE.match(source) else None


def without_password(address: str) -> str:
    """An address for people: who opens it, and what is asked of the server, are left out."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = None, "", None
    if parts is None or not host or "@" in parts.path:  # a password with a slash in it
        return printable(f"{address.partition(':')[0][:10]}://...")
    where = f"[{host}]" if ":" in host else host
    where += "" if port is None else f":{port}"
    rest = "?..." if parts.query or parts.fragment else ""
    path = _SECRET.sub(r"\1=...", parts.path)
    return printable(f"{parts.scheme}://{where}{path}{rest}")


def check_address(address: str) -> None:
    """Sees to it that an address can be opened.

    Raises:
        DataError: if it is of another kind, or has no host.
    """
    told = without_password(address)
    scheme = address.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise DataError(f"{told}: an address begins with {', '.join(f'{each}://' for each in SCHEMES)}")
    try:
        parts = urlsplit(address)
        bad = not parts.hostname or (parts.port is not None and not 0 < parts.port < 65536)
    except ValueError:
        bad = True
    if bad or any(ord(char) < 33 for char in address):
        raise DataError(f"{told}: expected {scheme}://HOST[:PORT]/PATH; a password's special characters as %XX")


def name_of(source: str) -> str:
    """A short name of a source, for files and people."""
    if source == STDIN:
        return "stdin"
    device = device_of(source)
    if device is not None:
        return f"camera{device}" if isinstance(device, int) else Path(device).name
    if is_address(source):
        parts = urlsplit(without_password(source))
        return f"{parts.hostname or 'stream'}{parts.path}".rstrip("/").replace("/", "_")
    return Path(source).stem or Path(source).resolve().stem
