"""Image files of every kind: right values, upright, or an error with a name; never too large, never one of several."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from tdcnet.data import images
from tdcnet.data.errors import DataError
from tdcnet.data.frames import DecodedImages, ImageFiles, list_images, open_source
from tdcnet.data.images import read_channels, read_grey

RANDOM = np.random.default_rng(0)
BYTE = RANDOM.integers(0, 256, (24, 40), dtype=np.uint8)
WORD = RANDOM.integers(0, 1 << 14, (24, 40), dtype=np.uint16) + np.uint16(7000)
SMOOTH = cv2.GaussianBlur(BYTE, (0, 0), 4)
UPRIGHT = {
    # EXIF: where row 0 and column 0 of what is stored belong.
    1: lambda a: a,  # top, left
    2: lambda a: np.fliplr(a),  # top, right
    3: lambda a: np.fliplr(np.flipud(a)),  # bottom, right
    4: lambda a: np.flipud(a),  # bottom, left
    5: lambda a: a.T,  # left, top
    6: lambda a: np.fliplr(a.T),  # right, top
    7: lambda a: np.fliplr(np.flipud(a.T)),  # right, bottom
    8: lambda a: np.flipud(a.T),  # left, bottom
}


def tiff(
    *pages: np.ndarray,
    order: str = "<",
    photometric: int = 1,
    bits: int | None = None,
    orientation: int = 1,
    subfile: tuple[int, ...] = (),
    description: bytes = b"",
) -> bytes:
    """An uncompressed TIFF written by the letter of the specification; ``bits`` below 16 are packed."""
    out = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    for at, page in enumerate(pages):
        height, width = page.shape
        depth = bits or 8 * page.itemsize
        if depth < 8 * page.itemsize:
            flat = np.unpackbits(page.astype(">u2").view(np.uint8).reshape(height, width, 2), axis=2)
            data = np.packbits(flat[:, :, 16 - depth :].reshape(height, -1), axis=1).tobytes()
        else:
            data = page.astype(page.dtype.newbyteorder(order)).tobytes()
        kind = {"u": 1, "i": 2, "f": 3}[page.dtype.kind]
        tags = [(254, 4, subfile[at] if subfile else 0), (256, 4, width), (257, 4, height), (258, 3, depth)]
        tags += [(259, 3, 1), (262, 3, photometric)] + ([(270, 2, description)] if description else [])
        tags += [(273, 4, 0), (274, 3, orientation), (277, 3, 1), (278, 4, height), (279, 4, len(data)), (339, 3, kind)]
        end = len(out) + 2 + 12 * len(tags) + 4
        blob, entries = b"", b""
        for tag, form, value in tags:
            count = 1
            if tag == 273:
                value = end + len(description) + len(description) % 2
            if isinstance(value, bytes):
                blob, count, value = value + b"\0" * (len(value) % 2), len(value), end
            packed = struct.pack(f"{order}HH", value, 0) if form == 3 else struct.pack(f"{order}I", value)
            entries += struct.pack(f"{order}HHI", tag, form, count) + packed
        end += len(blob) + len(data)
        end += end % 2
        following = end if at + 1 < len(pages) else 0
        out += struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", following) + blob + data
        out += b"\0" * (end - len(out))
    return out


def colour_tiff(pixels: np.ndarray, transparency: int | None, count: int = 1) -> bytes:
    """A TIFF of RGB and one more sample, or grey and one more, of 8 or 16 bits, page by page."""
    height, width, samples = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8 * pixels.itemsize), (259, 3, 1)]
    tags += [(262, 3, 2 if samples > 2 else 1), (273, 4, 0), (277, 3, samples), (278, 4, height), (279, 4, len(data))]
    tags += [] if transparency is None else [(338, 3, transparency)]
    out = struct.pack("<2sHI", b"II", 42, 8)
    for page in range(count):
        end = len(out) + 2 + 12 * len(tags) + 4
        entries, blob = b"", b""
        for tag, form, value in tags:
            number, packed = 1, struct.pack("<HH", value, 0) if form == 3 else struct.pack("<I", value)
            if tag == 258:
                number = samples
                blob = struct.pack("<H", value) * samples
                packed = blob + bytes(4 - len(blob)) if samples < 3 else struct.pack("<I", end)
            elif tag == 273:
                packed = struct.pack("<I", end + 2 * samples)
            entries += struct.pack("<HHI", tag, form, number) + packed
        following = end + len(blob) + len(data) if page + 1 < count else 0
        out += struct.pack("<H", len(tags)) + entries + struct.pack("<I", following) + blob + data
    return out


def pam(pixels: np.ndarray, kind: str, highest: int, more: str = "") -> bytes:
    height, width, depth = pixels.shape
    head = f"P7\nWIDTH {width}\nHEIGHT {height}\n{more}DEPTH {depth}\nMAXVAL {highest}\n"
    data = pixels.astype(">u2" if highest > 255 else "u1").tobytes()
    return f"{head}{f'TUPLTYPE {kind}' + chr(10) if kind else ''}ENDHDR\n".encode() + data


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def png(width: int, height: int) -> bytes:
    """A PNG that says it is of this size, whole by its checksums."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def check(path: Path, expected: np.ndarray) -> None:
    image = read_grey(path)
    assert image.dtype == expected.dtype
    assert np.array_equal(image, expected)


# -- values ------------------------------------------------------------------------------------------------------------

GREY = Image.fromarray(BYTE)
LA = Image.merge("LA", [GREY, Image.fromarray(np.full_like(BYTE, 77))])
BITS = np.packbits(BYTE > 127, axis=1).tobytes()
GRADED = np.arange(BYTE.size).reshape(BYTE.shape) % 256  # a transparency with every value, none and full among them
GREYS = np.dstack([BYTE] * 3)
CLEAR = np.dstack([GREYS, GRADED]).astype(np.uint8)
FULL = np.dstack([GREYS, np.full_like(BYTE, 255)])
PALETTE = Image.fromarray(BYTE).convert("P")
PALETTE.putpalette([255 - n // 3 for n in range(768)])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tiff(WORD, order=">"), WORD),
        (tiff(WORD, photometric=0), 65535 - WORD),
        (tiff(BYTE, photometric=0), 255 - BYTE),
        (tiff(WORD >> 4, bits=12, order=">"), WORD >> 4),
        (tiff(WORD >> 2, bits=14, order=">"), WORD >> 2),
        (tiff(WORD >> 4, bits=12, order=">", photometric=0), 4095 - (WORD >> 4)),
        (tiff(WORD.astype(np.int16)), WORD),
        (tiff(WORD.astype(np.uint32)), WORD),
        (tiff(WORD.astype(np.float32)), WORD),
        (tiff(WORD.astype(np.float64)), WORD),
        (tiff(WORD, description=b"a comment\0"), WORD),
        (tiff(BYTE[::2, ::2], BYTE, subfile=(1, 0)), BYTE),
        (saved(Image.fromarray(WORD), "TIFF", compression="tiff_lzw"), WORD),
        (saved(GREY, "TIFF", tile=(16, 16)), BYTE),
        (saved(Image.fromarray(BYTE > 127), "TIFF", compression="group4"), np.where(BYTE > 127, 255, 0).astype("u1")),
        (saved(GREY.convert("P"), "PNG"), BYTE),
        (saved(LA, "PNG"), BYTE),
        (saved(LA.convert("RGBA"), "PNG"), BYTE),
        (saved(Image.fromarray(BYTE > 127), "PNG"), np.where(BYTE > 127, 255, 0).astype("u1")),
        (cv2.imencode(".png", np.dstack([WORD] * 3))[1].tobytes(), WORD),
        (cv2.imencode(".tif", np.dstack([WORD] * 3))[1].tobytes(), WORD),
        (saved(GREY, "WEBP", lossless=True), BYTE),
        (saved(LA, "WEBP", lossless=True), BYTE),
        (saved(GREY, "GIF"), BYTE),
        (saved(Image.fromarray(WORD), "JPEG2000"), WORD),
        (saved(GREY.convert("RGB"), "QOI"), BYTE),
        (b"P5\n# made by hand\n40 24\n255\n" + BYTE.tobytes(), BYTE),
        (b"P5 40 24 4095\n" + (WORD >> 4).astype(">u2").tobytes(), WORD >> 4),
        (b"P2\n40 24\n65535\n" + " ".join(map(str, WORD.ravel())).encode(), WORD),
        (b"P4\n40 24\n" + BITS, np.where(BYTE > 127, 0, 255).astype("u1")),
        (b"P6\n40 24\n255\n" + np.dstack([BYTE] * 3).tobytes(), BYTE),
        (npy(BYTE), BYTE),
        (npy(WORD.astype(">u2")), WORD),
        (npy(np.asfortranarray(WORD)), WORD),
        (npy(WORD.astype(np.int64)[:, :, None]), WORD),
        (npy(BYTE > 127), np.where(BYTE > 127, 255, 0).astype("u1")),
        # Transparency changes no value.
        *((colour_tiff(CLEAR, kind), BYTE) for kind in (None, 0, 2)),
        (colour_tiff(CLEAR.astype(np.uint16) * 257, 2), BYTE.astype(np.uint16) * 257),
        (colour_tiff(FULL, 1), BYTE),
        (colour_tiff(CLEAR[:, :, 2:], 2), BYTE),
        *((saved(Image.fromarray(CLEAR), "TIFF", compression=c), BYTE) for c in (None, "tiff_lzw", "tiff_deflate")),
        (saved(Image.fromarray(CLEAR), "PNG"), BYTE),
        (saved(Image.fromarray(CLEAR), "WEBP", lossless=True, exact=True), BYTE),
        (saved(Image.fromarray(CLEAR), "BMP"), BYTE),
        (saved(Image.fromarray(CLEAR), "QOI"), BYTE),
        (saved(Image.fromarray(CLEAR), "JPEG2000"), BYTE),
        (saved(GREY, "GIF", transparency=int(BYTE[3, 3])), BYTE),
        (saved(PALETTE, "GIF", transparency=int(BYTE[3, 3])), 255 - BYTE),
        (pam(BYTE[:, :, None], "GRAYSCALE", 255), BYTE),
        (pam(WORD[:, :, None], "GRAYSCALE", 65535, "# by hand\n"), WORD),
        (pam(CLEAR[:, :, 2:], "GRAYSCALE_ALPHA", 255), BYTE),
        (pam(np.dstack([WORD, WORD // 2]), "GRAYSCALE_ALPHA", 65535), WORD),
        (pam(GREYS, "RGB", 255), BYTE),
        (pam(CLEAR, "RGB_ALPHA", 255), BYTE),
        (pam(CLEAR[:, :, 2:], "", 255), BYTE),
        (pam(np.dstack([WORD >> 4] * 3 + [WORD >> 5]), "RGB_ALPHA", 4095), WORD >> 4),
        (pam((BYTE[:, :, None] > 127), "BLACKANDWHITE", 1), np.where(BYTE > 127, 255, 0).astype("u1")),
    ],
)
def test_values_are_those_that_were_written(tmp_path: Path, data: bytes, expected: np.ndarray) -> None:
    check(put(tmp_path / "frame", data), expected)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (tiff(WORD / np.float32(100) - np.float32(273.15)), r"float32 from -20.* to .*\+ 273\.15\) \* 100"),
        (tiff((WORD.astype(np.int32) - 9000).astype(np.int16)), "int16 from -"),
        (tiff(WORD.astype(np.uint32) * 7), "uint32 from .*8 and 16 bit"),
        (tiff(WORD.astype(np.int16), photometric=0), "int16 in which white is zero"),
        (tiff(np.full((4, 4), np.nan, np.float32)), "float32 from nan"),
        (tiff(WORD)[:200], "is cut short|truncated"),
        (tiff(WORD, description=b"ImageJ=1.54\nimages=90\n\0\0"), "holds 90 images of ImageJ in one page"),
        (npy(WORD)[:-1], r"is cut short .*\.npy of"),
        (npy(np.array([{}], dtype=object)), "something else than an array of plain numbers"),
        (npy(np.zeros((4, 4, 3), np.uint8)), r"shape \[4, 4, 3\]"),
        (npy(np.zeros((4, 4), np.complex64)), "plain numbers"),
        (npy(np.zeros((0, 4), np.uint8)), "says that it has 4x0 px"),
        (b"\x93NUMPY\x01\x00\x46\x00" + b"{'descr': '|u1', 'shape': " + b"(" * 44, "plain numbers"),
        (b"P5 40 24 255\n" + BYTE.tobytes()[:-1], "is cut short"),
        (saved(GREY, "WEBP")[:-30], "is cut short"),
        (cv2.imencode(".hdr", np.ones((4, 4, 3), np.float32))[1].tobytes(), "is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not an image"),
        (colour_tiff(CLEAR, 1), "multiplied by their transparency"),
        (colour_tiff(CLEAR[:, :, 2:], 1), "multiplied by their transparency"),
        (colour_tiff(CLEAR.astype(np.uint16) * 257, 1), "multiplied by their transparency"),
        (pam(BYTE[:, :, None], "GRAYSCALE", 255)[:-1], "is cut short"),
        (pam(BYTE[:, :, None], "GRAYSCALE", 100), "values above 100"),
        (pam(BYTE[:, :, None], "GRAYSCALE_ALPHA", 255), "of kind 'GRAYSCALE_ALPHA' with 1 numbers a pixel"),
        (pam(CLEAR, "CMYK", 255), "of kind 'CMYK' with 4 numbers"),
        (pam(BYTE[:, :, None], "GRAYSCALE", 0), "is damaged"),
        (pam(BYTE[:, :, None], "GRAYSCALE", 255) * 2, "holds several images"),
        (b"P5 40 24 255\n" + BYTE.tobytes() + b"P5 40 24 255\n" + BYTE.tobytes(), "holds several images"),
    ],
)
def test_what_has_no_right_values_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=rf"frame: .*(?:{message})"):
        read_grey(put(tmp_path / "frame", data))


def test_16_bits_that_opencv_would_take_for_8_are_refused(tmp_path: Path) -> None:
    planar = bytearray(cv2.imencode(".tif", np.dstack([WORD] * 3), [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes())
    at = planar.index(struct.pack("<HHI", 284, 3, 1)) + 8
    planar[at] = 2
    with pytest.raises(DataError, match="plane per colour"):
        read_grey(put(tmp_path / "planar.tif", bytes(planar)))


# -- orientation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "deep TIFF"])
def test_exif_orientation_is_applied(tmp_path: Path, kind: str, orientation: int) -> None:
    stored = np.zeros((32, 48), np.uint8)
    stored[:8, :24] = 200  # on one edge only, at one end of it
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind.endswith("TIFF"):
        deep = stored.astype(np.uint16) << 4 if kind.startswith("deep") else stored
        path = put(tmp_path / "a", tiff(deep, orientation=orientation))
    else:
        image = Image.fromarray(stored).convert("RGB" if kind in ("WEBP", "AVIF") else "L")
        path = put(tmp_path / "a", saved(image, kind, exif=exif, quality=95))
    image = read_grey(path)
    expected = UPRIGHT[orientation](stored)
    assert image.shape == expected.shape
    assert np.array_equal(image > image.max() / 2, expected > 0)
    assert np.array_equal(read_channels(path)[:, :, 0] > image.max() / 2, expected > 0), "of a mask alike"
    if kind in ("JPEG", "PNG", "WEBP"):
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("L")) > 100, expected > 0)


# -- several in one file -----------------------------------------------------------------------------------------------


def test_a_stack_is_a_recording_of_its_pages(tmp_path: Path) -> None:
    pages = [WORD + np.uint16(n) for n in range(5)]
    thumbnail = WORD[::2, ::2]
    files = {
        "rec.tif": tiff(*pages, order=">"),
        "white.tif": tiff(*(65535 - page for page in pages), photometric=0),
        "small.tif": tiff(thumbnail, *pages, subfile=(1, 0, 0, 0, 0, 0)),
        "rec.npy": npy(np.stack(pages)),
        "deep.npy": npy(np.stack(pages).astype(np.float64)),
    }
    for name, data in files.items():
        source = open_source(put(tmp_path / name, data), tmp_path / "cache")
        assert len(source) == 5, name
        assert source.where(2) == f"{tmp_path / name}#2"
        for n in (3, 0, 4):
            assert source.read(n).dtype == np.uint16
            assert np.array_equal(source.read(n), pages[n]), name


def test_transparency_changes_no_page(tmp_path: Path) -> None:
    source = open_source(put(tmp_path / "rec.tif", colour_tiff(CLEAR, 2, count=3)), tmp_path / "cache")
    assert len(source) == 3
    assert all(np.array_equal(source.read(n), BYTE) for n in range(3))
    with pytest.raises(DataError, match=r"page 0: .*multiplied by their transparency"):
        open_source(put(tmp_path / "bad.tif", colour_tiff(CLEAR, 1, count=3)), tmp_path / "cache").read(0)


def ome(**sizes: int) -> bytes:
    told = " ".join(f'Size{axis}="{size}"' for axis, size in sizes.items())
    filler = b"<!-- " + b"made by a microscope " * 400 + b"-->"
    return b'<?xml version="1.0"?>' + filler + f"<OME><Image><Pixels ID='P' {told}/></Image></OME>\0".encode()


@pytest.mark.parametrize(
    ("description", "told"),
    [
        (b"ImageJ=1.54\nimages=6\nchannels=2\nframes=3\nhyperstack=true\n\0", "2 channels x 3 times in 6 pages"),
        (b"ImageJ=1.54\nimages=6\nslices=3\nframes=2\n\0", "3 planes x 2 times"),
        (b"ImageJ=1.54\nimages=6\nchannels=3\nslices=2\n\0", "3 channels x 2 planes"),
        (ome(C=2, Z=1, T=3), "2 channels x 3 times"),
        (ome(C=1, Z=2, T=3), "2 planes x 3 times"),
        (ome(C=1, Z=1, T=3).replace(b"</Image>", b"</Image><Image><Pixels SizeT='3'/></Image>"), "2 recordings"),
        (b'{"shape": [2, 3, 24, 40]}\0', "2 x 3 images"),
        (b"ImageJ=1.54\nimages=6\nframes=6\n\0", None),
        (b"ImageJ=1.54\nimages=6\nslices=6\n\0", None),  # what ImageJ calls frames unless told otherwise
        (b"ImageJ=1.54\nimages=6\nchannels=6\n\0", None),  # and tifffile
        (ome(C=1, Z=1, T=6), None),
        (ome(C=2, Z=1, T=6), None),  # the other channel lies in a file of its own
        (b'{"shape": [6, 1, 24, 40], "axes": "TCYX"}\0', None),
        (b"{6 frames, 24 channels}\0", None),
    ],
)
def test_pages_of_several_axes_are_no_recording(tmp_path: Path, description: bytes, told: str | None) -> None:
    pages = [WORD + np.uint16(n) for n in range(6)]
    path = put(tmp_path / "rec.tif", tiff(*pages, description=description))
    if told is None:
        source = open_source(path, tmp_path / "cache")
        assert np.array_equal(np.stack([source.read(n) for n in range(len(source))]), np.stack(pages))
    else:
        with pytest.raises(DataError, match=rf"rec\.tif: holds {told}.* (Make Substack|Save each)"):
            open_source(path, tmp_path / "cache")


def test_a_stack_of_metamorph_is_told(tmp_path: Path) -> None:
    data = bytearray(tiff(WORD, description=b"six planes\0\0"))
    at = data.index(struct.pack("<HHI", 270, 2, 12))
    data[at : at + 8] = struct.pack("<HHI", 33629, 5, 6)
    for read in (read_grey, lambda path: open_source(path, tmp_path / "cache")):
        with pytest.raises(DataError, match="holds 6 images of MetaMorph in one page"):
            read(put(tmp_path / "rec.stk", bytes(data)))


def test_arrays_with_the_time_last_are_told(tmp_path: Path) -> None:
    frames = RANDOM.integers(0, 99, (7, 40, 56), dtype=np.uint16)
    for shown in (frames, frames[:2], frames[:1].repeat(20, axis=0)):
        last = np.moveaxis(shown, 0, -1)
        with pytest.raises(DataError, match=rf"rec.npy: .*\[40, 56, {len(shown)}\].*numpy.moveaxis\(array, -1, 0\)"):
            open_source(put(tmp_path / "rec.npy", npy(last)), tmp_path / "cache")
        source = open_source(put(tmp_path / "rec.npy", npy(np.moveaxis(last, -1, 0))), tmp_path / "cache")
        assert np.array_equal(source.read(1), shown[1])
        narrow = open_source(put(tmp_path / "narrow.npy", npy(last[..., None])), tmp_path / "cache")
        assert len(narrow) == 40
        assert np.array_equal(narrow.read(9), last[9])
    upright = np.zeros((64, 320, 180), np.uint8)  # a telephone's
    assert len(open_source(put(tmp_path / "rec.npy", npy(upright)), tmp_path / "cache")) == 64


def test_a_stack_is_no_frame(tmp_path: Path) -> None:
    for name, data in (("0.tif", tiff(WORD, WORD)), ("0.npy", npy(np.stack([WORD, WORD])))):
        put(tmp_path / name[2:] / name, data)
        source = open_source(tmp_path / name[2:])
        with pytest.raises(DataError, match=rf"{name}: holds .* images, expected one.*source={name}"):
            source.read(0)
    frames = [Image.fromarray(BYTE), Image.fromarray(255 - BYTE)]
    for kind in ("GIF", "PNG", "WEBP"):
        path = put(tmp_path / "moving", saved(frames[0], kind, save_all=True, append_images=frames[1:]))
        with pytest.raises(DataError, match="moving: holds 2 images, expected one"):
            read_grey(path)


def test_odd_pages_keep_their_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = put(tmp_path / "rec.tif", tiff(WORD, WORD[:10], WORD + np.uint16(1)))
    source = open_source(path, tmp_path / "cache")
    assert len(source) == 3
    assert "rec.tif: 1 of 3 pages cannot be read, or are of another size" in caplog.text
    assert np.array_equal(source.read(2), WORD + 1)
    with pytest.raises(DataError, match=r"page 1: is 40x10 uint16, but the first is 40x24 uint16"):
        source.read(1)


# -- bounds ------------------------------------------------------------------------------------------------------------


def _jpeg(width: int, height: int) -> bytes:
    data = bytearray(saved(Image.fromarray(SMOOTH), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _webp(width: int, height: int) -> bytes:
    data = bytearray(saved(LA, "WEBP", lossless=True))
    at = data.index(b"VP8L") + 9
    data[at : at + 4] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    return bytes(data)


def _tiff(width: int, height: int) -> bytes:
    data = bytearray(tiff(BYTE))
    for tag, value in ((256, width), (257, height)):
        at = data.index(struct.pack("<HHI", tag, 4, 1))
        data[at + 8 : at + 12] = struct.pack("<I", value)
    return bytes(data)


def _npy(width: int, height: int) -> bytes:
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({height}, {width}), }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head


@pytest.mark.parametrize(
    "make",
    [
        png,
        _jpeg,
        _tiff,
        _npy,
        lambda w, h: _webp(min(w, 16000), min(h, 16000)),
        lambda w, h: b"P5 %d %d 255\n" % (w, h),
        lambda w, h: b"GIF89a" + struct.pack("<HHBBB", w, h, 0, 0, 0) + b"\x3b",
        lambda w, h: b"BM" + b"\0" * 12 + struct.pack("<Iii", 40, w, -h) + b"\0" * 40,
        lambda w, h: b"\xff\x4f\xff\x51" + struct.pack(">HHIIII", 47, 0, w, h, 0, 0) + b"\0" * 40,
        lambda w, h: b"qoif" + struct.pack(">II", w, h) + b"\3\0",
    ],
)
def test_large_images_are_refused_by_their_head(tmp_path: Path, make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "bomb", make(30000, 30000))  # type: ignore[operator]
    monkeypatch.setattr(images, "_decode", None)
    with pytest.raises(DataError, match=r"bomb: has \d+x\d+ px, at most 100,000,000 are read.*TDCNET_LIMITS"):
        read_grey(path)
    monkeypatch.setenv("TDCNET_LIMITS", "10")
    with pytest.raises(TypeError, match="not callable"):
        read_grey(path)


def test_what_pillow_takes_for_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TDCNET_LIMITS", "20")
    with pytest.raises(DataError, match=r"bomb: is not an image that can be decoded .*exceeds limit"):
        read_grey(put(tmp_path / "bomb", _tiff(40000, 30000)))


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0.png")
    for path, what in ((tmp_path / "0.png", "a pipe"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")):
        with pytest.raises(DataError, match=f"is {what}, expected a file"):
            read_grey(path)
    with pytest.raises(DataError, match="is a pipe or a device"):
        open_source(tmp_path / "0.png")


# -- which files are frames --------------------------------------------------------------------------------------------


def test_images_are_found_whatever_their_ending(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "3.thermal", tiff(WORD))
    put(tmp_path / "1.WebP", saved(GREY, "WEBP"))
    put(tmp_path / "2", saved(GREY, "PNG"))
    for name in ("0001.txt", "labels.json", "Thumbs.db", ".DS_Store", ".hidden.png"):
        put(tmp_path / name, b"x")
    assert [path.name for path in list_images(tmp_path)] == ["1.WebP", "2", "3.thermal"]
    assert not caplog.records
    folder = tmp_path / "other"
    put(folder / "0.png", saved(GREY, "PNG"))
    put(folder / "0.npy", npy(BYTE))
    for name in ("1.raw", "2.raw", "2.seq"):
        put(folder / name, b"FFF\0")
    os.mkfifo(folder / "pipe")
    assert [path.name for path in list_images(folder)] == ["0.png"]
    assert list_images(folder)
    (record,) = caplog.records
    assert f"{folder}: passed over 5 files that are no images that can be read: 0.npy, 1.raw, 2.raw" in record.message


def test_arrays_alone_are_frames(tmp_path: Path) -> None:
    for n in range(3):
        put(tmp_path / f"{n}.npy", npy(WORD + np.uint16(n)))
    source = open_source(tmp_path)
    assert np.array_equal(source.read(2), WORD + 2)
    decoded = DecodedImages(ImageFiles(list_images(tmp_path)), tmp_path / "cache")
    assert np.array_equal(decoded.read(1), WORD + 1)
