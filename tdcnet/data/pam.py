"""Portable arbitrary maps (PAM, netpbm's P7): grey and RGB, with transparency or without.

OpenCV takes transparency for further pixels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdcnet.shown import shown

_DEPTHS = {"BLACKANDWHITE": 1, "GRAYSCALE": 1, "RGB": 3}
_ALPHA = "_ALPHA"
_HEAD = 4096  # bytes


@dataclass(frozen=True)
class PamHeader:
    """The head of a PAM.

    Attributes:
        width: px.
        height: px.
        depth: numbers per pixel.
        highest: value.
        kind: ``TUPLTYPE``, empty if it is not told.
        start: of the pixels.
    """

    width: int
    height: int
    depth: int
    highest: int
    kind: str
    start: int

    @property
    def length(self) -> int:
        """Bytes of the pixels."""
        return self.width * self.height * self.depth * (1 if self.highest < 256 else 2)


def pam_header(data: bytes) -> PamHeader:
    """What a PAM says of itself.

    Raises:
        ValueError: if that makes no sense, or it holds something else than grey or RGB; without the file's name.
    """
    end = re.search(rb"^ENDHDR[ \t\r]*\n", data[:_HEAD], re.MULTILINE)
    head = data[: end.start() if end else 0]
    lines = re.findall(rb"^\s*(WIDTH|HEIGHT|DEPTH|MAXVAL)\s+(\d{1,9})\s*$", head, re.MULTILINE)
    found = {key: int(value) for key, value in lines}
    if end is None or len(found) < 4 or len(lines) > 4 or not 1 <= found[b"MAXVAL"] <= 65535:
        raise ValueError("is damaged (a PAM without its width, height, depth or highest value)")
    # Several such lines are one, says netpbm.
    kind = b" ".join(re.findall(rb"^\s*TUPLTYPE\s+(\S.*?)\s*$", head, re.MULTILINE)).decode("ascii", "replace")
    depth = found[b"DEPTH"]
    expected = _DEPTHS.get(kind.removesuffix(_ALPHA), -1) + kind.endswith(_ALPHA)
    if depth not in ((1, 2, 3, 4) if not kind else (expected,)):
        raise ValueError(
            f"is a PAM of kind {shown(kind)} with {depth} numbers a pixel; expected GRAYSCALE, GRAYSCALE_ALPHA, RGB or "
            "RGB_ALPHA with 1, 2, 3 or 4. Save it as PGM or PNG"
        )
    return PamHeader(found[b"WIDTH"], found[b"HEIGHT"], depth, found[b"MAXVAL"], kind, end.end())


def decode_pam(data: bytes) -> NDArray[Any]:
    """The values as stored, without transparency: grey [H, W] or red, green and blue [H, W, 3], uint8 or uint16.

    Raises:
        ValueError: if it is cut short, or see :func:`pam_header`.
    """
    head = pam_header(data)
    dtype = np.dtype(np.uint8 if head.highest < 256 else ">u2")
    if len(data) < head.start + head.length:
        raise ValueError(f"is cut short (a PAM of {len(data)} bytes)")
    pixels: NDArray[np.integer[Any]] = np.frombuffer(data, dtype, head.length // dtype.itemsize, head.start)
    pixels = pixels.reshape(head.height, head.width, head.depth)
    values = pixels[:, :, 0] if head.depth < 3 else pixels[:, :, :3]
    if int(values.max()) > head.highest:
        raise ValueError(f"is damaged (a PAM with values above {head.highest})")
    if head.kind.startswith("BLACKANDWHITE"):
        return np.where(values > 0, np.uint8(255), np.uint8(0))
    return values.astype(np.uint8 if head.highest < 256 else np.uint16)
