"""Bytes -> upright RGB picture: every kind of pixel, every orientation, every scale; boxes, crops and thumbnails."""

from __future__ import annotations

import struct
import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps, features

from visearch import images
from visearch.errors import BoxError, ImageError

Pixels = NDArray[np.int64]
BICUBIC = Image.Resampling.BICUBIC


def pixels(image: Image.Image) -> Pixels:
    return np.asarray(image).astype(np.int64)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth colourful picture without any symmetry."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), BICUBIC)


def plain(data: bytes) -> Image.Image:
    """The second, dumber implementation: Pillow's full decode, turned, on white, in RGB."""
    with Image.open(BytesIO(data)) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


def real_pictures(shared: Path) -> list[Path]:
    folders = ("ikea/rooms", "natural-free/kodak", "grocery/natural", "clothing/Dress", "nasty/exif-orientation")
    return [path for folder in folders for path in sorted((shared / "datasets" / folder).rglob("*.jpg"))[:6]]


# Real pictures against the plain implementation


def test_full_size_equals_the_plain_implementation(shared: Path) -> None:
    for path in real_pictures(shared):
        data = path.read_bytes()
        picture, reference = images.decode(data), plain(data)
        assert (picture.width, picture.height) == reference.size == picture.image.size
        assert picture.extent == (0, 0, picture.width, picture.height)
        np.testing.assert_array_equal(pixels(picture.image), pixels(reference))


@pytest.mark.parametrize("box", [(0.0, 0.0, 1.0, 1.0), (0.13, 0.29, 0.61, 0.87)])
def test_scaled_decoding_selects_the_same_content(shared: Path, box: images.Box) -> None:
    for path in real_pictures(shared):
        data = path.read_bytes()
        reference = plain(data)
        x0, y0, x1, y1 = box
        region = (x0 * reference.width, y0 * reference.height, x1 * reference.width, y1 * reference.height)
        whole = pixels(reference.resize((96, 96), BICUBIC, box=region))
        scaled = images.resize(images.decode(data, min_side=96, box=box), box, (96, 96))
        assert scaled.shape == (96, 96, 3) and scaled.dtype == np.uint8
        assert abs(scaled - whole).mean() < 1.0, path


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_scale_is_the_smallest_that_gives_twice_the_needed_size(kind: str) -> None:
    data = encoded(photo(1003, 757), kind)
    assert images.decode(data, min_side=757).image.size == (1003, 757)
    assert images.decode(data, min_side=190).image.size == (1003, 757)
    assert images.decode(data, min_side=189).image.size == (502, 379)
    assert images.decode(data, min_side=94).image.size == (251, 190)
    assert images.decode(data, min_side=94, box=(0, 0, 1, 0.5)).image.size == (502, 379)
    picture = images.decode(data, min_side=94)
    assert (picture.width, picture.height) == (1003, 757)
    assert picture.extent == (0, 0, 1003 / 4, 757 / 4)


# Orientation

STORED = {  # how the upright picture is stored under each EXIF orientation
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def stored(upright: Image.Image, orientation: int, kind: str, **options: Any) -> bytes:
    method = STORED[orientation]
    turned = upright if method is None else upright.transpose(method)
    return encoded(turned, kind, exif=exif(orientation), **options)


@pytest.mark.parametrize("min_side", [None, 40])
@pytest.mark.parametrize("size", [(253, 181), (1511, 1201)])  # in one strip, in several
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_eight_orientations_of_a_png_are_the_same_pixels(
    mode: str, size: tuple[int, int], min_side: int | None
) -> None:
    upright = photo(*size).convert(mode)
    first = images.decode(stored(upright, 1, "PNG", compress_level=1), min_side=min_side)
    box = (0.11, 0.23, 0.57, 0.91)
    for orientation in range(2, 9):
        turned = images.decode(stored(upright, orientation, "PNG", compress_level=1), min_side=min_side)
        assert (turned.width, turned.height, turned.extent) == (first.width, first.height, first.extent)
        np.testing.assert_array_equal(pixels(turned.image), pixels(first.image))
        np.testing.assert_array_equal(images.resize(turned, box, (32, 32)), images.resize(first, box, (32, 32)))


@pytest.mark.parametrize("min_side", [None, 40])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_jpeg_turns_pixels_size_and_extent(orientation: int, min_side: int | None) -> None:
    upright = photo(331, 257)  # not a multiple of 8: the extent matters
    picture = images.decode(stored(upright, orientation, "JPEG", quality=95), min_side=min_side)
    assert (picture.width, picture.height) == (331, 257)
    for box in (images.WHOLE, (0.0, 0.0, 0.25, 0.25), (0.75, 0.75, 1.0, 1.0)):
        region = (box[0] * 331, box[1] * 257, box[2] * 331, box[3] * 257)
        expected = pixels(upright.resize((40, 40), BICUBIC, box=region))
        assert abs(images.resize(picture, box, (40, 40)) - expected).mean() < 1.5


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_other_formats(kind: str, orientation: int) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    upright = photo(130, 90)
    picture = images.decode(stored(upright, orientation, kind, quality=95))
    assert (picture.width, picture.height) == picture.image.size == (130, 90)
    assert abs(pixels(picture.image) - pixels(upright)).mean() < 4


def test_orientation_in_the_older_places() -> None:
    upright = photo(60, 40)
    sideways = upright.transpose(Image.Transpose.ROTATE_90)
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert images.decode(encoded(sideways, "JPEG", xmp=xmp)).image.size == (60, 40)
    assert images.decode(encoded(sideways, "WEBP", xmp=xmp)).image.size == (60, 40)
    profile = b"\nexif\n%8d\n" % len(exif(6)) + exif(6).hex().encode() + b"\n"
    text = png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile))
    assert images.decode(with_chunks(encoded(sideways, "PNG"), text)).image.size == (60, 40)
    itxt = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp))
    assert images.decode(with_chunks(encoded(sideways, "PNG"), itxt)).image.size == (60, 40)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_out_of_range_is_none(orientation: int) -> None:
    assert images.decode(encoded(photo(60, 40), "JPEG", exif=exif(orientation))).image.size == (60, 40)


@settings(max_examples=200, deadline=None)
@given(broken=st.binary(max_size=200), kind=st.sampled_from(["JPEG", "PNG", "WEBP"]), keep=st.integers(0, 30))
def test_broken_exif_does_not_fail_the_picture(broken: bytes, kind: str, keep: int) -> None:
    picture = images.decode(encoded(photo(24, 16), kind, exif=b"Exif\0\0" + exif(1)[6 : 6 + keep] + broken))
    assert sorted(picture.image.size) == [16, 24]


# Kinds of pixels


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """Put chunks after the header of a PNG."""
    return png[:33] + b"".join(chunks) + png[33:]


def png16(samples: NDArray[Any], colour: int, transparent: bytes = b"") -> bytes:
    """Write a 16-bit PNG [height, width, channels] by hand: Pillow cannot."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = [png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))]
    chunks += [png_chunk(b"tRNS", transparent)] if transparent else []
    return b"\x89PNG\r\n\x1a\n" + b"".join([*chunks, png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")])


MODES = ("1 PNG", "L PNG", "L JPEG", "P PNG", "P GIF", "LA PNG", "RGBA PNG", "RGBA WEBP", "RGBA TIFF", "RGB BMP")
OTHER_MODES = ("CMYK TIFF", "CMYK JPEG", "YCbCr TIFF", "LAB TIFF")


@pytest.mark.parametrize("min_side", [None, 10])
@pytest.mark.parametrize(
    ("mode", "kind"),
    [pair.split() for pair in MODES + OTHER_MODES],
)
def test_every_mode_becomes_rgb(mode: str, kind: str, min_side: int | None) -> None:
    image = Image.new("LAB", (80, 60), (200, 20, 230)) if mode == "LAB" else photo(80, 60).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize((80, 60)))
    data = encoded(image, kind, **({"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}))
    picture = images.decode(data, min_side=min_side)
    assert picture.image.mode == "RGB" and not picture.image.info
    reference = plain(data).resize((10, 8), BICUBIC)
    assert abs(images.resize(picture, images.WHOLE, (10, 8)) - pixels(reference)).mean() < 4


def test_cmyk_colours_are_right_whether_the_file_stores_them_inverted_or_not() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for data in (encoded(red, "JPEG", quality=95), encoded(red, "TIFF")):  # Adobe's JPEG is inverted, TIFF is not
        assert abs(pixels(images.decode(data).image)[8, 8] - (255, 0, 0)).max() <= 3


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(4, 0)
    expected = np.rint(ramp / 257).astype(np.int64)
    for data in (png16(ramp[..., None], 0), encoded(Image.fromarray(ramp), "TIFF")):
        np.testing.assert_array_equal(pixels(images.decode(data).image)[..., 0], expected)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bit_colour_and_alpha(colour: int, channels: int) -> None:
    samples = np.random.default_rng(1).integers(0, 65536, (8, 8, channels))
    samples[..., -1] = 65535
    grey_or_rgb = samples[..., : 3 if channels > 2 else 1] // 256
    np.testing.assert_array_equal(
        pixels(images.decode(png16(samples, colour)).image), np.broadcast_to(grey_or_rgb, (8, 8, 3))
    )


def test_a_transparent_16_bit_colour_is_white() -> None:
    grey = np.full((4, 4, 1), 20_000)
    grey[0, 0] = 1234
    assert (
        pixels(images.decode(png16(grey, 0, struct.pack(">H", 1234))).image)[0].tolist() == [[255] * 3] + [[78] * 3] * 3
    )
    colour = np.full((4, 4, 3), 20_000)
    colour[0, 0] = 1234, 2345, 3456
    decoded = pixels(images.decode(png16(colour, 2, struct.pack(">HHH", 1234, 2345, 3456))).image)
    assert decoded[0].tolist() == [[255] * 3] + [[78] * 3] * 3


@pytest.mark.parametrize("most", [1.0, 255.0, 65535.0])
def test_floats_take_the_smallest_usual_range_that_holds_them(most: float) -> None:
    ramp = np.linspace(0, most, 32, dtype=np.float32)[None].repeat(4, 0)
    decoded = pixels(images.decode(encoded(Image.fromarray(ramp), "TIFF")).image)[..., 0]
    np.testing.assert_allclose(decoded, ramp / most * 255, atol=0.51)


def test_floats_outside_every_usual_range_are_stretched() -> None:
    ramp = np.linspace(-7, 1e6, 32, dtype=np.float32)[None].repeat(4, 0)
    decoded = pixels(images.decode(encoded(Image.fromarray(ramp), "TIFF")).image)[..., 0]
    assert decoded.min() == 0 and decoded.max() == 255
    flat = encoded(Image.fromarray(np.full((4, 4), -3, np.float32)), "TIFF")
    assert pixels(images.decode(flat).image).max() == 0


def test_transparency_is_white() -> None:
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 200, 0, 0])
    for data in (
        encoded(clear, "PNG"),
        encoded(clear, "WEBP", lossless=True, exact=True),
        encoded(palette, "PNG", transparency=1),
        encoded(palette, "PNG", transparency=b"\xff\0"),
        encoded(palette, "GIF", transparency=1),
        encoded(Image.new("L", (8, 8), 7), "PNG", transparency=7),
        encoded(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
    ):
        assert pixels(images.decode(data).image).min() == 255


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert abs(pixels(images.decode(data).image) - (255, 0, 0)).max() <= 3


def test_pngsuite_is_decoded_and_its_corrupt_files_are_refused(shared: Path) -> None:
    good = bad = 0
    for path in sorted((shared / "datasets/nasty/pngsuite").rglob("*.png")):
        data = path.read_bytes()
        if path.name.startswith("x"):
            with pytest.raises(ImageError) as refusal:
                images.decode(data)
            assert refusal.value.reason in ("corrupt", "unsupported")
            bad += 1
        else:
            assert images.decode(data).image.mode == "RGB", path
            good += 1
    assert good > 150 and bad > 10


# Boxes


@pytest.mark.parametrize(
    "box",
    [
        None,
        7,
        "0011",
        b"\0\0\1\1",
        (10**400, 0, 1, 1),
        (),
        (0, 0, 1),
        (0, 0, 1, 1, 1),
        (0, 0, 0, 1),
        (0.5, 0, 0.4, 1),
        (-0.1, 0, 1, 1),
        (0, 0, 1, 1.01),
    ],
)
def test_a_box_that_is_none_is_refused_in_one_line(box: object) -> None:
    with pytest.raises(BoxError) as refusal:
        images.validate_box(box)
    assert "\n" not in str(refusal.value) and "box" in str(refusal.value)


@pytest.mark.parametrize("value", ["nan", "inf", "a", None])
def test_a_box_of_other_than_finite_numbers_is_refused(value: object) -> None:
    with pytest.raises(BoxError):
        images.validate_box((0, 0, value, 1))


def test_a_box_of_numbers_becomes_four_floats() -> None:
    assert images.validate_box([0, "0.25", 1, 0.5]) == (0.0, 0.25, 1.0, 0.5)


boxes = st.tuples(*[st.floats(0, 0.8)] * 2, *[st.floats(0.1, 0.2)] * 2).map(
    lambda v: (v[0], v[1], min(1.0, v[0] + v[2]), min(1.0, v[1] + v[3]))
)


@settings(max_examples=60, deadline=None)
@given(width=st.integers(120, 700), height=st.integers(120, 700), box=boxes, orientation=st.integers(1, 8))
def test_a_box_selects_the_same_content_at_every_scale(
    width: int, height: int, box: images.Box, orientation: int
) -> None:
    data = stored(photo(width, height), orientation, "JPEG", quality=95)
    full = images.resize(images.decode(data), box, (12, 12)).astype(int)
    for min_side in (12, 3):
        scaled = images.resize(images.decode(data, min_side=min_side, box=box), box, (12, 12))
        assert abs(scaled - full).mean() < (2 if min_side == 12 else 8)


@settings(max_examples=60, deadline=None)
@given(box=boxes, scale=st.sampled_from([1, 2, 4, 8]))
def test_a_region_is_exactly_the_box(box: images.Box, scale: int) -> None:
    """A horizontal ramp resized from a box has the box's ends at its ends, whatever the scale of decoding."""
    ramp = Image.fromarray(np.linspace(0, 255, 1600).round().astype(np.uint8)[None].repeat(800, 0)).convert("RGB")
    picture = images.decode(encoded(ramp, "PNG", compress_level=1), min_side=400 // scale)
    columns = images.resize(picture, box, (16, 16))[8, :, 0].astype(float)
    middles = box[0] + (np.arange(16) + 0.5) / 16 * (box[2] - box[0])
    np.testing.assert_allclose(columns[2:-2], 255 * middles[2:-2], atol=1.6)


def test_a_box_of_less_than_a_pixel_is_refused() -> None:
    picture = images.decode(encoded(photo(100, 50), "PNG"))
    assert images.resize(picture, (0.99, 0.98, 1.0, 1.0), (4, 4)).shape == (4, 4, 3)
    with pytest.raises(BoxError, match="less than a pixel"):
        images.resize(picture, (0.5, 0.5, 0.509, 0.6), (4, 4))


# Thumbnails


def test_a_thumbnail_is_a_small_jpeg_without_metadata() -> None:
    data = encoded(photo(900, 300), "JPEG", exif=exif(6), comment=b"secret", icc_profile=b"secret" * 9, dpi=(72, 72))
    small = images.thumbnail(images.decode(data, min_side=100), 120)
    assert b"secret" not in small and b"Exif" not in small
    with Image.open(BytesIO(small)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (40, 120))
        full = images.decode(data).image.resize((40, 120), BICUBIC)
        assert abs(pixels(image) - pixels(full)).mean() < 6


def test_a_thumbnail_is_never_larger_than_the_picture_nor_empty() -> None:
    for size, expected in (((30, 20), (30, 20)), ((5000, 2), (192, 1))):
        with Image.open(BytesIO(images.thumbnail(images.decode(encoded(photo(*size), "PNG")), 192))) as image:
            assert image.size == expected


# What is not decoded


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"%PDF-1.7", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "EPS"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"8BPS\0\1", "PSD"),
        (b"\0\0\1\0\1\0\x10\x10", "ICO"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "video"),
        (b"P6 1 1 255 abc", "known format"),
        (b"hello", "known format"),
    ],
)
def test_other_formats_are_refused_by_their_content(data: bytes, word: str) -> None:
    with pytest.raises(ImageError, match=word) as refusal:
        images.decode(data)
    assert refusal.value.reason == "unsupported"
    assert "JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC and AVIF" in refusal.value.message


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(ImageError) as refusal:
        images.decode(b"")
    assert refusal.value.reason == "empty"


def test_a_missing_decoder_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    before = images.decoders_fingerprint()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    monkeypatch.setitem(features.modules, "avif", ("PIL._no_such_module", None))
    for brand, remedy in ((b"heic", "pip install pillow-heif"), (b"avif", "pip install --upgrade pillow")):
        with pytest.raises(ImageError, match=remedy) as refusal:
            images.decode(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1miaf")
        assert refusal.value.reason == "unsupported"
    assert images.decoders_fingerprint() != before
    assert {".heic", ".avif", ".jpg", ".png"} <= images.SUPPORTED_SUFFIXES


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_file_cut_off_is_refused(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    data = encoded(photo(200, 150), kind)
    for share in (0.02, 0.3, 0.6, 0.9, 0.98):
        with pytest.raises(ImageError) as refusal:
            images.decode(data[: int(len(data) * share)])
        assert refusal.value.reason == "corrupt", share
        assert "\n" not in refusal.value.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_one_pixel_too_many_is_refused_before_decoding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_MAX_MEGAPIXELS", "0.01")
    assert images.decode(encoded(photo(100, 100), kind)).width == 100
    with pytest.raises(ImageError, match=r"100x101 .* 0\.0101 megapixels \(at most 0\.01\)") as refusal:
        images.decode(encoded(photo(100, 101), kind))
    assert refusal.value.reason == "too-large"


@pytest.mark.parametrize("size", [(65_536, 1), (1, 65_536)])
def test_a_side_one_pixel_too_long_is_refused(size: tuple[int, int]) -> None:
    assert (
        images.decode(encoded(Image.new("L", (min(size[0], 65_535), min(size[1], 65_535))), "PNG")).image.mode == "RGB"
    )
    with pytest.raises(ImageError, match=f"{size[0]}x{size[1]} has a side of more than 65535 pixels") as refusal:
        images.decode(encoded(Image.new("L", size), "PNG"))
    assert refusal.value.reason == "too-large"


def test_the_default_limit_is_50_megapixels() -> None:
    def header(width: int, height: int) -> bytes:
        body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", body) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")

    for size, reason in (((10_000, 5_000), "corrupt"), ((10_000, 5_001), "too-large"), ((2**31, 2**31), "too-large")):
        with pytest.raises(ImageError) as refusal:
            images.decode(header(*size))
        assert refusal.value.reason == reason


def test_text_and_profile_bombs_are_not_inflated() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    chunks = [png_chunk(b"zTXt", b"a%d\0\0" % i + bomb) for i in range(200)]
    chunks += [png_chunk(b"iCCP", b"profile\0\0" + bomb), png_chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb)]
    data = with_chunks(encoded(photo(24, 16), "PNG"), *chunks)
    assert images.decode(data).image.size == (24, 16)


def test_damage_outside_the_pixels_of_a_png_is_let_pass() -> None:
    broken = png_chunk(b"tEXt", b"key\0value")[:-4] + b"\0\0\0\0"
    assert images.decode(with_chunks(encoded(photo(24, 16), "PNG"), broken)).width == 24
    with pytest.raises(ImageError, match="checksum"):
        images.decode(with_chunks(encoded(photo(24, 16), "PNG"), png_chunk(b"PLTE", b"abc")[:-4] + b"\0\0\0\0"))
