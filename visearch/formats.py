"""What a file is, read from its first bytes and its header: never from its name, and before any pixel is decoded.

JPEG, PNG and WebP headers are read here, so that size, orientation and cost are known before Pillow allocates
anything. Pillow is given JPEG and PNG without their metadata: no text, EXIF or profile can slow it down, fill memory
or fail the picture.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import util
from importlib.metadata import version
from io import BytesIO

from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin, features
from PIL import __version__ as pillow_version

from visearch import settings
from visearch.errors import ImageError

IN_THREAD = frozenset({"JPEG", "PNG", "WebP"})  # the rest is decoded by the supervised process
MOST_PARTS = 10_000  # JPEG segments or PNG chunks that are walked in the calling thread
MOST_SCAN_MEGAPIXELS = 1000.0  # scans x megapixels of a JPEG in the calling thread: about 0.6 s above the plain decode
MOST_METADATA = 1 << 20  # bytes of inflated EXIF or XMP text that are looked at

SUPPORTED_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
    | {".heic", ".heif", ".hif", ".avif"}
)
"""Lower-case suffixes that a folder crawl takes for pictures, those included whose decoder is not installed."""

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_REFUSED_MAGIC = (
    (b"%PDF", "PDF"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"8BPS", "PSD"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\2\0", "CUR"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
)
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC and AVIF are read"


@dataclass(frozen=True)
class Header:
    """What is known of a picture before its pixels are decoded.

    `width` and `height` are in pixels as stored, before the orientation (EXIF number 1-8) is applied. `open` gives the
    picture, undecoded. `bytes_per_pixel` is the memory that decoding takes for each decoded pixel, `working_bytes` what
    it takes besides whatever the scale. `rgb` says that it decodes to RGB as it is, `scalable` that the decoder can
    scale by 1/2, 1/4 and 1/8 (JPEG), `slow` that decoding could take long for its number of pixels.
    """

    format: str
    width: int
    height: int
    open: Callable[[], Image.Image]
    bytes_per_pixel: float = 4
    working_bytes: int = 0
    rgb: bool = False
    scalable: bool = False
    orientation: int = 1
    slow: bool = False


def sniff(data: bytes) -> str:
    """Return the format's name, one of JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF, from the first bytes.

    Raises:
        ImageError: `empty`, or `unsupported` for everything else and where the decoder of the format is not installed.
    """
    if not data:
        raise ImageError("empty", "the file is empty")
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        return _sniff_brands(data)
    for magic, name in _REFUSED_MAGIC:
        if data.startswith(magic):
            raise ImageError("unsupported", f"{name} is not supported ({_READABLE})")
    if b"<svg" in data[:1024].lower():
        raise ImageError("unsupported", f"SVG is not supported ({_READABLE})")
    raise ImageError("unsupported", f"not a picture of a known format ({_READABLE})")


def _sniff_brands(data: bytes) -> str:
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        if not features.check("avif"):
            raise ImageError(
                "unsupported", "AVIF needs Pillow 11.3 or newer built with AVIF: pip install --upgrade pillow"
            )
        return "AVIF"
    if brands & _HEIC_BRANDS:
        if util.find_spec("pillow_heif") is None:
            raise ImageError("unsupported", "HEIC needs the package pillow-heif: pip install pillow-heif")
        return "HEIC"
    raise ImageError("unsupported", f"a video or another ISO media file, not a picture ({_READABLE})")


LIMITS = ("max_megapixels", "max_file_megabytes", "decode_seconds", "decode_memory")


def decoders_fingerprint() -> str:
    """Name the decoders in use and their limits; a change means that a file that failed may be read now."""
    heif = version("pillow_heif") if util.find_spec("pillow_heif") is not None else "none"
    avif = features.version("avif") if features.check("avif") else "none"
    limits = ", ".join(f"{name} {settings.number(name):g}" for name in LIMITS)
    return f"pillow {pillow_version}, heif {heif}, avif {avif}, {limits}"


def read_header(data: bytes, *, supervised: bool = False) -> Header | None:
    """Read what is known before decoding; None where only the supervised process may look.

    `supervised` says that this is the supervised process.

    Raises:
        ImageError: `empty`, `unsupported` or `corrupt`.
    """
    name = sniff(data)
    most_parts = len(data) if supervised else MOST_PARTS
    if name == "JPEG":
        return _jpeg(data, most_parts)
    if name == "PNG":
        return _png(data, most_parts)
    if name == "WebP":
        return _webp(data, most_parts)
    return _other(data, name) if supervised else None


def damaged(detail: str) -> ImageError:
    """Return the error of a file that is cut off or broken."""
    return ImageError("corrupt", f"the {detail}")


# JPEG (ITU T.81)

_MARKER = re.compile(rb"\xff([\x01-\xfe])")
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_METADATA = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})  # APP1-APP13, APP15, COM; APP0 and APP14 tell the colour space
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"


def _jpeg(data: bytes, most_parts: int) -> Header | None:
    kept, exif, xmp, frame, progressive = [data[:2]], b"", b"", b"", False
    position = 2
    for _ in range(most_parts):
        found = _MARKER.search(data, position)
        if found is None or found.end() + 2 > len(data):
            raise damaged("JPEG is cut off before its pixels")
        marker = found[1][0]
        if marker in _STANDALONE:
            position = found.end()
            continue
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        body = data[found.end() + 2 : position]
        if position > len(data) or position < found.end() + 2:
            raise damaged("JPEG is cut off before its pixels")
        if marker == 0xDA:
            return _jpeg_header(data, found.start(), body[:1], kept, frame, progressive, _orientation(exif, xmp))
        if marker in _START_OF_FRAME:
            frame, progressive = body, marker in _PROGRESSIVE
        if marker == 0xE1 and body.startswith(b"Exif\0"):
            exif += body[6:]
        elif marker == 0xE1 and body.startswith(_XMP_HEAD):
            xmp = xmp or body[len(_XMP_HEAD) :]
        if marker not in _METADATA:
            kept.append(data[found.start() : position])
    return None


def _jpeg_header(
    data: bytes, scan: int, in_scan: bytes, kept: list[bytes], frame: bytes, progressive: bool, orientation: int
) -> Header:
    if len(frame) < 6 or len(frame) < 6 + 3 * frame[5]:
        raise damaged("JPEG has no frame header")
    bits, height, width, components = struct.unpack_from(">BHHB", frame)
    if bits != 8:
        raise ImageError("unsupported", f"a JPEG with {bits} bits a sample is not supported (8 are)")
    if components not in (1, 3, 4) or not width or not height:
        raise damaged(f"JPEG says it has {width}x{height} pixels of {components} components")
    # Several scans: libjpeg holds the coefficients (2 bytes each) of the full picture, whatever the scale, and walks
    # them once a scan. The count may take a pattern in other data for a scan: at worst the picture takes the slow road.
    several_scans = progressive or in_scan != bytes([components])
    scans = data.count(b"\xff\xda", scan) if several_scans else 1
    sampling = [(frame[i] >> 4, frame[i] & 15) for i in range(7, 7 + 3 * components, 3)]
    most = max(h for h, _ in sampling) * max(v for _, v in sampling) or 1
    coefficients = 2 * width * height * sum(h * v for h, v in sampling) // most if several_scans else 0
    clean = data if len(b"".join(kept)) == scan else b"".join([*kept, data[scan:]])
    return Header(
        "JPEG",
        width,
        height,
        lambda: JpegImagePlugin.JpegImageFile(BytesIO(clean)),
        bytes_per_pixel=1 if components == 1 else 4,
        working_bytes=coefficients,
        rgb=components == 3,
        scalable=True,
        orientation=orientation,
        slow=scans * width * height / 1e6 > MOST_SCAN_MEGAPIXELS,
    )


# PNG (third edition)

_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_BYTES = {0: 1, 2: 4, 3: 1, 4: 4, 6: 4}  # colour type -> bytes of a pixel in Pillow


def _png(data: bytes, most_parts: int) -> Header | None:
    view, ihdr, exif, xmp = memoryview(data), b"", b"", b""
    kept: list[bytes | memoryview] = [data[:8]]
    transparent = False
    position = 8
    for _ in range(most_parts):
        length, kind = struct.unpack(">I4s", data[position : position + 8].ljust(8, b"\xff"))
        end = position + 12 + length
        if end > len(data):
            raise damaged("PNG is cut off")
        if not ihdr and kind not in (b"IHDR", b"CgBI"):
            raise damaged("PNG does not begin with its header")
        if kind in _PNG_KEPT:
            crc = int.from_bytes(data[end - 4 : end], "big")
            sound = zlib.crc32(view[position + 4 : end - 4]) == crc
            if kind != b"tRNS":
                if not sound:
                    raise damaged(f"PNG is damaged (checksum of {kind.decode()})")
                kept.append(view[position:end])
            elif sound:  # transparency can be done without
                kept.append(_narrowed(data[position:end], ihdr))
                transparent = True
        elif not kind[0] & 0x20:
            raise ImageError("unsupported", f"the PNG needs an unknown extension ({kind.decode('latin-1')!r})")
        if kind == b"IHDR":
            ihdr = data[position + 8 : end - 4]
        elif kind == b"eXIf":
            exif = exif or data[position + 8 : end - 4]
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            key, text = _png_text(kind, data[position + 8 : end - 4])
            if key == b"Raw profile type exif":
                exif = exif or _hexadecimal(text)
            elif key == b"XML:com.adobe.xmp":
                xmp = xmp or text
        position = end
        if kind == b"IEND":
            return _png_header(b"".join(kept), ihdr, transparent, _orientation(exif, xmp))
    return None


def _png_header(clean: bytes, ihdr: bytes, transparent: bool, orientation: int) -> Header:
    if len(ihdr) != 13:
        raise damaged("PNG has a broken header")
    width, height, bits, colour = struct.unpack_from(">IIBB", ihdr)
    if colour not in _PNG_BYTES or bits not in (1, 2, 4, 8, 16) or not width or not height:
        raise damaged(f"PNG says it has {width}x{height} pixels of {bits} bits and colour type {colour}")
    bytes_per_pixel = 2 if (bits, colour) == (16, 0) else _PNG_BYTES[colour]
    return Header(
        "PNG",
        width,
        height,
        lambda: PngImagePlugin.PngImageFile(BytesIO(clean)),
        bytes_per_pixel=bytes_per_pixel,
        rgb=colour == 2 and not transparent,
        orientation=orientation,
    )


def _narrowed(transparency: bytes, ihdr: bytes) -> bytes:
    """Return a tRNS chunk of 16-bit RGB with the high bytes only: Pillow compares it with samples cut to 8 bits."""
    if ihdr[8:10] != b"\x10\2" or len(transparency) != 18:
        return transparency
    body = b"tRNS" + b"".join(b"\0" + transparency[i : i + 1] for i in (8, 10, 12))
    return transparency[:4] + body + struct.pack(">I", zlib.crc32(body))


def _png_text(kind: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Return keyword and text of a text chunk, at most MOST_METADATA bytes of it; empty text where it is broken."""
    key, _, rest = body.partition(b"\0")
    compressed = kind == b"zTXt"
    if kind == b"iTXt":
        compressed, rest = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif compressed:
        rest = rest[1:]
    if key not in (b"Raw profile type exif", b"XML:com.adobe.xmp") or not compressed:
        return key, rest[:MOST_METADATA]
    try:
        return key, zlib.decompressobj().decompress(rest, MOST_METADATA)
    except zlib.error:
        return key, b""


def _hexadecimal(text: bytes) -> bytes:
    """Return the bytes of ImageMagick's raw profile: an empty line, a name, a length, then hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.decode("ascii").split("\n")[3:]))
    except ValueError:
        return b""


# WebP (RFC 9649)


def _webp(data: bytes, most_parts: int) -> Header | None:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data) + 1 or len(data) < 30:
        raise damaged("WebP is cut off")
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8X":
        width, height = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    else:
        raise damaged("WebP has no picture")
    if not width or not height:
        raise damaged(f"WebP says it has {width}x{height} pixels")
    metadata = {b"EXIF": b"", b"XMP ": b""}
    position = 12
    for _ in range(most_parts):
        chunk, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        if chunk in metadata:
            metadata[chunk] = data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
        if position + 8 > end:
            break
    else:
        return None
    return Header(
        "WebP",
        width,
        height,
        lambda: WebPImagePlugin.WebPImageFile(BytesIO(data)),
        bytes_per_pixel=16,  # two canvases in libwebp's animation decoder, the bytes of one, and the picture
        orientation=_orientation(metadata[b"EXIF"], metadata[b"XMP "]),
    )


# The formats of the supervised process

_BYTES_PER_PIXEL = {"GIF": 10, "BMP": 4, "TIFF": 10, "HEIC": 16, "AVIF": 16}  # measured, with what the libraries hold


def _other(data: bytes, name: str) -> Header:
    """Open with the one plugin of that format; runs in the supervised process only."""
    stream = BytesIO(data)
    image: Image.Image
    if name == "GIF":
        from PIL.GifImagePlugin import GifImageFile

        image = GifImageFile(stream)
    elif name == "BMP":
        from PIL.BmpImagePlugin import BmpImageFile

        image = BmpImageFile(stream)
    elif name == "TIFF":
        from PIL.TiffImagePlugin import TiffImageFile

        image = TiffImageFile(stream)
    elif name == "AVIF":
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        image = AvifImagePlugin.AvifImageFile(stream)
    else:
        import pillow_heif

        pillow_heif.options.DECODE_THREADS = 1
        image = pillow_heif.HeifImageFile(stream)  # type: ignore[no-untyped-call]
    # Pillow turns TIFF itself while it decodes, and libheif HEIC; `size` is upright already.
    exif, xmp = (image.info.get(key) for key in ("exif", "xmp"))
    orientation = 1
    if name not in ("TIFF", "HEIC"):
        orientation = _orientation(exif if isinstance(exif, bytes) else b"", xmp if isinstance(xmp, bytes) else b"")
    return Header(
        name,
        *image.size,
        lambda: image,
        bytes_per_pixel=_BYTES_PER_PIXEL[name],
        working_bytes=2 * len(data),  # this process and its library each hold the file
        orientation=orientation,
    )


# EXIF and XMP


def _orientation(exif: bytes, xmp: bytes) -> int:
    """Return the orientation, 1-8, from EXIF, else from XMP; 1 where neither holds a valid one, whatever is broken."""
    for value in _exif_orientations(exif.removeprefix(b"Exif\0\0")):
        return value if 1 <= value <= 8 else 1
    found = re.search(rb'tiff:Orientation(?:="|>)([1-8])', xmp[:MOST_METADATA])
    return int(found[1]) if found else 1


def _exif_orientations(tiff: bytes) -> Iterator[int]:
    """Yield the values of tag 274 in the first directory of a TIFF structure, as far as it can be read."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (entries,) = struct.unpack(f"{order}H", tiff[start : start + 2].ljust(2, b"\0"))
    for position in range(start + 2, min(start + 2 + 12 * entries, len(tiff) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, position)
        if tag == 274 and kind == 3:
            yield value
