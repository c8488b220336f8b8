"""Decoding: CPU milliseconds a picture, this decode against Pillow's full decode, to a shorter side of 224 pixels.

    python benchmarks/bench_decode.py [PICTURE]

PICTURE is any photograph (a made one without it); it is re-encoded as JPEG at 0.2, 2 and 12 megapixels. One thread,
medians of alternated runs; `error` is the mean difference of the two results, of 255.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visearch import images

SIDE = 224  # pixels
ALTERNATIONS = 9
BICUBIC = Image.Resampling.BICUBIC


def jpeg(picture: Image.Image, megapixels: float) -> bytes:
    """Return the picture with 4:3 sides and so many megapixels."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    stream = BytesIO()
    picture.resize((round(height * 4 / 3), height), Image.Resampling.LANCZOS).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def size(width: int, height: int) -> tuple[int, int]:
    """Return the size with the shorter side SIDE."""
    scale = SIDE / min(width, height)
    return round(width * scale), round(height * scale)


def ours(data: bytes) -> NDArray[np.uint8]:
    """Decode and resize as the product does."""
    picture = images.decode(data, min_side=SIDE)
    return images.resize(picture, images.WHOLE, size(picture.width, picture.height))


def full(data: bytes) -> NDArray[np.uint8]:
    """Decode and resize with Pillow alone, at full size."""
    with Image.open(BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB").resize(size(*picture.size), BICUBIC))


def made() -> Image.Image:
    """Return a picture with detail at every scale."""
    layers = np.zeros((1200, 1600, 3), np.float32)
    rng = np.random.default_rng(0)
    for cells in (4, 16, 64, 256):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        layers += np.asarray(coarse.resize((1600, 1200), BICUBIC), np.float32) / 4
    return Image.fromarray(layers.astype(np.uint8))


def milliseconds(decode: Callable[[bytes], NDArray[np.uint8]], data: bytes, times: int) -> float:
    """Return the CPU time of one call in this thread."""
    began = time.thread_time()
    for _ in range(times):
        decode(data)
    return (time.thread_time() - began) / times * 1000


def main() -> None:
    """Print the table."""
    picture = Image.open(sys.argv[1]).convert("RGB") if len(sys.argv) > 1 else made()
    print("megapixels    visearch  Pillow full   ratio   error")
    for megapixels, times in ((0.2, 20), (2.0, 5), (12.0, 2)):
        data = jpeg(picture, megapixels)
        error = np.abs(ours(data).astype(int) - full(data)).mean()
        runs = [(milliseconds(ours, data, times), milliseconds(full, data, times)) for _ in range(ALTERNATIONS)]
        here, there = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"{megapixels:10g} {here:8.2f} ms {there:9.2f} ms {there / here:6.1f}x {error:7.2f}")


if __name__ == "__main__":
    main()
