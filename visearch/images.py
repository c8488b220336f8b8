"""Bytes -> upright RGB picture, safely; boxes, crops, thumbnails. Every picture enters through `decode`.

JPEG, PNG and WebP are decoded in the calling thread (Pillow releases the GIL) under one bound on decoded pixels in
flight. Every other format, and what could take long or does not fit that bound, is decoded in the supervised process
(decoder.py). A picture that cannot be used is an `ImageError`; its `reason` is one of REASONS.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from visearch import decoder, settings
from visearch.errors import BoxError, ImageError
from visearch.formats import (
    SUPPORTED_SUFFIXES,
    Header,
    decoders_fingerprint,
    read_header,
)

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

__all__ = [
    "REASONS",
    "SUPPORTED_SUFFIXES",
    "WHOLE",
    "Box",
    "Picture",
    "decode",
    "decoders_fingerprint",
    "resize",
    "thumbnail",
    "validate_box",
    "working_copy",
]

REASONS = {
    "empty": "the file has no bytes",
    "unsupported": "not a format that is read, or its decoder is not installed; the message says which",
    "corrupt": "cut off or damaged",
    "too-large": "more pixels than the setting max_megapixels, or a side of more than 65535",
    "timeout": "decoding took longer than the setting decode_seconds",
    "memory": "decoding needed more memory than the setting decode_memory",
    "crashed": "the decoder process died while decoding it",
}
"""Every reason an ImageError of this module can carry, and what it means."""

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1: fractions of the upright picture, origin top left."""

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

OVERSAMPLING = 2  # decode at no less than this many times the needed size: 1.3% of bits differ; 4% at once the size
WORKING_SIDE = 256  # pixels of the shorter side
THUMBNAIL_GAP = 1.01  # what Pillow's block average leaves to the bicubic resize
BYTES_PER_PIXEL = 4  # of an RGB picture in Pillow
STRIP_PIXELS = 1 << 20  # pixels converted at a time
LONGEST_SIDE = 65_535  # pixels, as in JPEG and GIF: tables that grow with a side stay small


@dataclass(frozen=True)
class Picture:
    """An upright RGB picture, possibly decoded at a smaller scale.

    `image` holds the pixels (mode RGB, no metadata). `width` and `height` are those of the full-size upright picture.
    `extent` is the box, in pixels of `image`, that the full picture covers: scaled decoding rounds sizes up, so that up
    to one pixel at an edge of `image` lies partly outside the picture.
    """

    image: Image.Image
    width: int
    height: int
    extent: tuple[float, float, float, float]


def validate_box(box: object) -> Box:
    """Return `box` as four floats; raises BoxError unless 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1."""
    try:
        x0, y0, x1, y1 = (float(value) for value in (() if isinstance(box, str | bytes) else box))  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError):
        raise BoxError(f"box {box!r} is not four numbers x0, y0, x1, y1") from None
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise BoxError(f"box {x0:g},{y0:g},{x1:g},{y1:g} is not 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1")
    return x0, y0, x1, y1


def decode(data: bytes, *, min_side: int | None = None, box: Box | None = None) -> Picture:
    """Decode the first frame of a picture, upright, in RGB on white.

    Args:
        data: the bytes of the file.
        min_side: the shorter side, in pixels, that the caller will resize the region to; the picture is then decoded at
            the smallest scale that gives at least twice that. None decodes at full size.
        box: the region the caller will resize; None is the whole picture. The whole picture is decoded in any case.

    Raises:
        ImageError: the picture cannot be used; its reason is one of REASONS.
        BoxError: `box` is not a box.
    """
    box = WHOLE if box is None else validate_box(box)
    most = settings.number("max_megapixels")
    capacity = int(settings.number("pixels_in_flight") * 1e6) * BYTES_PER_PIXEL
    header = read_header(data)
    if header is not None and not header.slow:
        job = plan(header, min_side, box, most)
        if job.cost <= capacity:
            with _in_flight(job.cost, capacity):
                return job.run()
    return Picture(*decoder.decode(data, min_side, box, most, lambda cost: _in_flight(cost, capacity)))


def resize(
    picture: Picture, box: Box, size: tuple[int, int], resample: Image.Resampling = Image.Resampling.BICUBIC
) -> NDArray[numpy.uint8]:
    """Resize exactly the region `box` to `size` (width, height), in one step: uint8 array [height, width, 3], RGB.

    Raises:
        BoxError: the box is malformed or covers less than one pixel of the full-size picture.
    """
    import numpy

    x0, y0, x1, y1 = validate_box(box)
    if (x1 - x0) * picture.width < 1 or (y1 - y0) * picture.height < 1:
        raise BoxError(f"box {x0:g},{y0:g},{x1:g},{y1:g} covers less than a pixel of {picture.width}x{picture.height}")
    left, top, right, bottom = picture.extent
    across, down = right - left, bottom - top
    region = (left + x0 * across, top + y0 * down, left + x1 * across, top + y1 * down)
    return numpy.asarray(picture.image.resize(size, resample, box=region))


def thumbnail(picture: Picture, longest_side: int) -> bytes:
    """Return the picture as a JPEG (quality 75, no metadata) whose longest side is at most `longest_side` pixels."""
    # Averaging blocks first halves the time, and a thumbnail is not looked at that closely.
    return _jpeg(picture, longest_side / max(picture.width, picture.height), 75, reducing_gap=THUMBNAIL_GAP)


def working_copy(picture: Picture) -> bytes:
    """Return the picture as a JPEG (quality 90, no metadata) whose shorter side is at most WORKING_SIDE pixels: what
    it can be embedded from once its file is out of reach."""
    # Where it was decoded at fewer pixels for a small model, more would be made up.
    decoded = (picture.extent[3] - picture.extent[1]) / picture.height
    return _jpeg(picture, min(WORKING_SIDE / min(picture.width, picture.height), decoded), 90)


def _jpeg(picture: Picture, scale: float, quality: int, reducing_gap: float | None = None) -> bytes:
    scale = min(1.0, scale)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    small = picture.image.resize(size, Image.Resampling.BICUBIC, box=picture.extent, reducing_gap=reducing_gap)
    stream = BytesIO()
    small.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


# Pixels in flight

_turn = threading.Lock()  # held by the one that waits for room, so that a large picture is not overtaken for ever
_room = threading.Condition()
_running: dict[int, int] = {}  # thread -> bytes of the picture it decodes now
_kept: dict[int, int] = {}  # thread -> bytes that the allocator may have kept for it since they were last given back


@contextmanager
def _in_flight(cost: int, capacity: int) -> Iterator[None]:
    """Hold `cost` bytes of the bound while the body runs; one picture that is larger than the bound runs alone."""
    me = threading.get_ident()
    with _turn, _room:
        _room.wait_for(lambda: not _running or sum(_running.values()) + cost <= capacity)
        _running[me] = cost
        _kept[me] = max(cost, _kept.get(me, 0))
        if sum(_kept.values()) > capacity:
            _give_back_memory()
            _kept.clear()
            _kept.update(_running)
    try:
        yield
    finally:
        with _room:
            del _running[me]
            _room.notify_all()


def _give_back_memory() -> None:
    """Return freed memory to the system: glibc keeps it for each thread, so that many would hold many pictures."""
    import ctypes

    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


# Decoding in this process


@dataclass(frozen=True)
class Job:
    """A picture about to be decoded: `run` gives it; `cost` is the memory in bytes that it takes at most, about."""

    cost: int
    run: Callable[[], Picture]


def plan(header: Header, min_side: int | None, box: Box, max_megapixels: float) -> Job:
    """Check the size and choose the scale; raises ImageError `too-large`."""
    width, height = header.width, header.height
    if width * height > max_megapixels * 1e6:
        megapixels = width * height / 1e6
        raise ImageError("too-large", f"{width}x{height} is {megapixels:.3g} megapixels (at most {max_megapixels:g})")
    if max(width, height) > LONGEST_SIDE:
        raise ImageError("too-large", f"{width}x{height} has a side of more than {LONGEST_SIDE} pixels")
    shrink = 1
    if min_side is not None:
        across, down = (height, width) if header.orientation > 4 else (width, height)
        shorter = min((box[2] - box[0]) * across, (box[3] - box[1]) * down)
        shrink = max(1, int(shorter / (OVERSAMPLING * min_side)))
    scale = 1
    if header.scalable:  # what is left to shrink after the decoder's own scaling is done by the caller's resize
        scale, shrink = next(scale for scale in (8, 4, 2, 1) if scale <= shrink), 1
    decoded = math.ceil(width / scale) * math.ceil(height / scale)
    cost = header.working_bytes + int(decoded * header.bytes_per_pixel)
    if shrink > 1 or not header.rgb or header.orientation > 1:  # a second picture is made
        cost += math.ceil(decoded / shrink**2) * BYTES_PER_PIXEL
    return Job(cost, lambda: _run(header, scale, shrink))


def _run(header: Header, scale: int, shrink: int) -> Picture:
    width, height = header.width, header.height
    turn = _TURNS[header.orientation]
    try:
        image = header.open()
        if image.size != (width, height):
            raise ValueError("its parts disagree about its size")
        # draft() takes the largest scale that leaves the picture no smaller than this size; that is `scale`.
        drafted = image.draft(None, (width // scale, height // scale)) if scale > 1 else None
        image.load()
        if drafted is None:
            width, height = image.size  # libheif may learn the size while it decodes
        upright = _upright(image, turn, shrink)
    except Exception as error:  # whatever Pillow raises on hostile bytes: there are many kinds
        if isinstance(error, MemoryError) or "memory" in str(error):
            raise ImageError("memory", "there was not enough memory to decode it") from None
        raise ImageError("corrupt", f"the {header.format} is damaged or cut off ({error})") from None
    upright.info = {}
    if turn.swap:
        width, height = height, width
    if drafted is None:
        extent = (0.0, 0.0, width / shrink, height / shrink)
    else:
        extent = _turned_extent(drafted[1], upright.size, turn)
    return Picture(upright, width, height, extent)


# Turning, flattening, shrinking


@dataclass(frozen=True)
class _Turn:
    """How stored pixels become upright ones: rows and columns swapped, then flipped."""

    method: Image.Transpose | None = None
    swap: bool = False
    flip_x: bool = False
    flip_y: bool = False


_TURNS = {  # by EXIF orientation
    1: _Turn(),
    2: _Turn(Image.Transpose.FLIP_LEFT_RIGHT, flip_x=True),
    3: _Turn(Image.Transpose.ROTATE_180, flip_x=True, flip_y=True),
    4: _Turn(Image.Transpose.FLIP_TOP_BOTTOM, flip_y=True),
    5: _Turn(Image.Transpose.TRANSPOSE, swap=True),
    6: _Turn(Image.Transpose.ROTATE_270, swap=True, flip_x=True),
    7: _Turn(Image.Transpose.TRANSVERSE, swap=True, flip_x=True, flip_y=True),
    8: _Turn(Image.Transpose.ROTATE_90, swap=True, flip_y=True),
}


def _turned_extent(
    stored: tuple[float, float, float, float], size: tuple[int, int], turn: _Turn
) -> tuple[float, float, float, float]:
    """Return where the extent (0, 0, right, bottom) of the stored picture lies in the upright one of this size."""
    across, down = (stored[3], stored[2]) if turn.swap else (stored[2], stored[3])
    left, top = size[0] - across if turn.flip_x else 0.0, size[1] - down if turn.flip_y else 0.0
    return left, top, left + across, top + down


def _upright(image: Image.Image, turn: _Turn, shrink: int) -> Image.Image:
    """Return `image` upright, in RGB on white, every block of `shrink` x `shrink` pixels averaged to one.

    It is done strip by strip of the upright picture, so that no second full-size picture is made on the way, and blocks
    begin at the upright top left, so that a picture stored in another orientation gives the same pixels.
    """
    flatten = _flattener(image, shrink)
    stored_width, stored_height = image.size
    width, height = (stored_height, stored_width) if turn.swap else (stored_width, stored_height)
    rows = max(1, STRIP_PIXELS // (width * shrink)) * shrink
    if rows >= height:
        return flatten(image if turn.method is None else image.transpose(turn.method))
    if flatten is _as_it_is and turn.method is None:
        return image
    out = Image.new("RGB", (math.ceil(width / shrink), math.ceil(height / shrink)))
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        y0, y1 = (height - bottom, height - top) if turn.flip_y else (top, bottom)
        strip = image.crop((y0, 0, y1, width) if turn.swap else (0, y0, width, y1))
        out.paste(flatten(strip if turn.method is None else strip.transpose(turn.method)), (0, top // shrink))
    return out


def _as_it_is(image: Image.Image) -> Image.Image:
    return image


def _flattener(image: Image.Image, shrink: int) -> Callable[[Image.Image], Image.Image]:
    """Return the function that makes a strip of this picture RGB on white and averages its blocks."""
    mode, transparency = image.mode, image.info.get("transparency")

    def reduce(strip: Image.Image) -> Image.Image:
        return strip.reduce(shrink) if shrink > 1 else strip

    def on_white(strip: Image.Image) -> Image.Image:
        pixels = strip.convert("RGBA")
        white = Image.new("RGB", strip.size, "white")
        white.paste(pixels, mask=pixels)
        return reduce(white)

    if mode in ("I", "F") or mode.startswith("I;16"):
        gain, offset = _levels(image)
        return lambda strip: reduce(_to_grey(strip, gain, offset, transparency)).convert("RGB")
    if transparency is not None or mode in ("LA", "PA", "RGBA", "RGBa"):
        return on_white
    if mode in ("RGB", "L"):
        return _as_it_is if mode == "RGB" and shrink == 1 else lambda strip: reduce(strip).convert("RGB")
    return lambda strip: reduce(strip.convert("RGB"))


def _levels(image: Image.Image) -> tuple[float, float]:
    """Return gain and offset that bring the samples of a grey picture deeper than 8 bits to 0-255.

    16-bit (and 12-bit TIFF) samples are scaled by their range. 32-bit integers and floats have no range of their own:
    the smallest of 0-1 (floats only), 0-255 and 0-65535 that holds them all, else their own smallest and largest.
    """
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(258)  # BitsPerSample
        return 255 / (4095 if bits == (12,) else 65535), 0.0
    low, high = image.getextrema()
    assert isinstance(low, int | float) and isinstance(high, int | float)
    for most in (1, 255, 65535) if image.mode == "F" else (255, 65535):
        if low >= 0 and high <= most:
            return 255 / most, 0.0
    return (255 / (high - low), -255 * low / (high - low)) if high > low else (0.0, 0.0)


def _to_grey(strip: Image.Image, gain: float, offset: float, transparent: object) -> Image.Image:
    """Return gain x sample + offset, rounded and cut to 0-255, in mode L; white where a sample is `transparent`."""
    import numpy

    samples = numpy.asarray(strip, dtype=numpy.float32)
    grey = numpy.clip(numpy.nan_to_num(samples) * gain + (offset + 0.5), 0, 255).astype(numpy.uint8)
    if isinstance(transparent, int):
        grey[samples == transparent] = 255
    return Image.fromarray(grey)
