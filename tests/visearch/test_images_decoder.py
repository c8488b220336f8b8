"""The supervised decoder process, with real processes: limits, kills, crashes, concurrency; pixels in flight."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from visearch import decoder, images
from visearch.errors import ImageError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and /proc")


@pytest.fixture(autouse=True)
def no_child_left() -> Iterator[None]:
    decoder.close()
    yield
    decoder.close()
    assert not decoder.processes()


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


GIF = encoded(Image.new("RGB", (64, 48), "red").quantize(), "GIF")


def many_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG with so many scans, all but a few of them empty: a small file that decodes for very long."""
    data = encoded(Image.new("RGB", (width, height), (10, 200, 30)), "JPEG", progressive=True)
    last = data[data.rfind(b"\xff\xc4") : -2]  # the Huffman table and the data of the last scan
    return data[:-2] + last * (scans - data.count(b"\xff\xda")) + b"\xff\xd9"


def reason(data: bytes) -> str:
    try:
        images.decode(data)
    except ImageError as error:
        assert "\n" not in error.message and error.message
        assert error.reason in images.REASONS
        return error.reason
    return "decoded"


def in_thread(data: bytes) -> tuple[threading.Thread, list[str]]:
    result: list[str] = []
    thread = threading.Thread(target=lambda: result.append(reason(data)))
    thread.start()
    return thread, result


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def busy(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "R"


def test_jpeg_png_and_webp_need_no_child() -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        assert reason(encoded(Image.new("RGB", (64, 48)), kind)) == "decoded"
    assert not decoder.processes()


def test_one_child_serves_many_pictures() -> None:
    assert reason(GIF) == "decoded"
    first = decoder.processes()
    assert [reason(GIF) for _ in range(5)] == ["decoded"] * 5
    assert decoder.processes() == first and len(first) == 1


def test_both_sides_decode_alike(shared: Path) -> None:
    for path in sorted((shared / "datasets/nasty/exif-orientation").glob("*_[26].jpg")):
        for min_side in (None, 64):
            data = path.read_bytes()
            here = images.decode(data, min_side=min_side)
            there = images.Picture(*decoder.decode(data, min_side, images.WHOLE, 50, lambda cost: nullcontext()))
            assert (here.width, here.height, here.extent) == (there.width, there.height, there.extent)
            assert here.image.tobytes() == there.image.tobytes()


def test_what_does_not_fit_the_bound_on_pixels_in_flight_goes_to_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("RGB", (1250, 1000), "red"), "PNG")
    monkeypatch.setenv("VISEARCH_PIXELS_IN_FLIGHT", "1.25")
    assert reason(data) == "decoded" and not decoder.processes()
    monkeypatch.setenv("VISEARCH_PIXELS_IN_FLIGHT", "1.24")
    assert reason(data) == "decoded" and decoder.processes()


def test_a_file_that_takes_too_long_is_given_up_and_the_next_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = many_scans(4000, 3000, 20_000)
    assert len(bomb) < 2_500_000
    monkeypatch.setenv("VISEARCH_DECODE_SECONDS", "0.5")
    began = time.monotonic()
    assert reason(bomb) == "timeout"
    assert time.monotonic() - began < 30
    assert not decoder.processes()
    assert reason(GIF) == "decoded"


def test_a_child_that_never_answers_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(GIF) == "decoded"
    [stopped] = decoder.processes()
    os.kill(stopped, signal.SIGSTOP)
    monkeypatch.setenv("VISEARCH_DECODE_SECONDS", "0.5")
    assert reason(encoded(Image.effect_noise((1500, 1500), 50), "TIFF")) == "timeout"  # more than a pipe holds
    assert not running(stopped)
    assert reason(GIF) == "decoded"
    assert decoder.processes() != [stopped]


def test_a_crash_is_a_reason_and_the_next_is_decoded() -> None:
    assert reason(GIF) == "decoded"
    [child] = decoder.processes()
    thread, result = in_thread(many_scans(4000, 3000, 20_000))
    wait_until(lambda: busy(child))
    os.kill(child, signal.SIGSEGV)
    thread.join()
    assert result == ["crashed"]
    assert reason(GIF) == "decoded"


def test_a_child_that_died_between_two_pictures_is_replaced() -> None:
    assert reason(GIF) == "decoded"
    [pid] = decoder.processes()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not running(pid))
    assert reason(GIF) == "decoded"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space is bounded on Linux only")
def test_a_picture_that_needs_more_memory_than_allowed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    large = encoded(Image.new("RGB", (6000, 5000)), "TIFF", compression="tiff_lzw")
    monkeypatch.setenv("VISEARCH_DECODE_MEMORY", "100")
    assert reason(large) == "memory"
    monkeypatch.delenv("VISEARCH_DECODE_MEMORY")
    assert reason(large) == "decoded"


def test_limits_follow_the_settings_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(GIF) == "decoded"
    monkeypatch.setenv("VISEARCH_MAX_MEGAPIXELS", "0.001")
    assert reason(GIF) == "too-large"


def test_no_more_children_than_usable_cores_however_many_threads() -> None:
    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(reason, [GIF] * 200)) == ["decoded"] * 200
    assert 1 <= len(decoder.processes()) <= len(os.sched_getaffinity(0))


def test_threads_get_their_own_pictures() -> None:
    def one(value: int) -> bool:
        colour = (value, 255 - value, value // 2)
        picture = images.decode(encoded(Image.new("RGB", (30 + value, 20), colour), "BMP" if value % 2 else "PNG"))
        return picture.width == 30 + value and picture.image.getpixel((3, 3)) == colour

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(one, range(256)))


def test_the_child_takes_no_module_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIL", "visearch", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the current folder')")
    monkeypatch.chdir(tmp_path)
    assert reason(GIF) == "decoded"


PARENT = """
import sys
from visearch import decoder, images
images.decode(bytes.fromhex(sys.argv[1]))
print(*decoder.processes(), flush=True)
if len(sys.argv) > 2:
    images.decode(open(sys.argv[2], "rb").read())
sys.stdin.read()
"""


def parent(*arguments: str, **environment: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, GIF.hex(), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("end", ["end of input", "SIGTERM", "SIGKILL"])
def test_the_child_ends_with_its_parent_however_that_ends(end: str) -> None:
    process, child = parent()
    with process:
        assert running(child)
        if end == "end of input":
            assert process.stdin is not None
            process.stdin.close()
        else:
            process.send_signal(signal.Signals[end])
    wait_until(lambda: not running(child))


def test_ctrl_c_is_for_the_parent() -> None:
    process, child = parent()
    with process:
        assert os.getpgid(child) != os.getpgid(process.pid)
        process.kill()


FORK = """
import os, sys
from visearch import decoder, images
gif = bytes.fromhex(sys.argv[1])
images.decode(gif)
before = decoder.processes()
fork = os.fork()
images.decode(gif)
if fork == 0:
    assert decoder.processes() != before
    decoder.close()
    os._exit(0)
assert os.waitpid(fork, 0)[1] == 0
images.decode(gif)
assert decoder.processes() == before
"""


def test_a_forked_process_has_children_of_its_own() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK, GIF.hex()], check=True, timeout=60)


@pytest.mark.slow
def test_the_child_ends_by_itself_when_its_parent_dies_during_a_decode_that_does_not(tmp_path: Path) -> None:
    (tmp_path / "bomb.jpg").write_bytes(many_scans(4000, 3000, 20_000))
    process, child = parent(str(tmp_path / "bomb.jpg"), VISEARCH_DECODE_SECONDS="2")
    with process:
        wait_until(lambda: busy(child))
        process.kill()
    wait_until(lambda: not running(child))


# Pixels in flight


IN_FLIGHT = """
from PIL import Image
from tests.visearch.test_images_decoder import decode_all, encoded
data = encoded(Image.new("RGB", (4000, 3000), "red"), "PNG", compress_level=1)  # 48 MB decoded
results, growth = decode_all([data] * 16, threads=8, min_sides=(224,))
assert results["decoded"] == 16
print(growth)
"""


def test_pixels_in_flight_are_bounded_however_many_threads() -> None:
    """Eight at once would be 384 MB, the bound is 52 MB. In a process of its own, whose allocator keeps nothing of
    each thread."""
    own = {"VISEARCH_PIXELS_IN_FLIGHT": "13", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", IN_FLIGHT],
        env=os.environ | own,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert int(done.stdout) < 150_000_000


def test_a_picture_larger_than_the_bound_is_decoded_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_PIXELS_IN_FLIGHT", "1")
    with ThreadPoolExecutor(4) as threads:
        data = [encoded(Image.new("RGB", (2000, 1000)), kind) for kind in ("PNG", "BMP", "GIF", "JPEG", "WEBP")]
        assert set(threads.map(reason, data * 4)) == {"decoded"}


# Hostile files


def nasty(shared: Path) -> list[Path]:
    return [path for path in sorted((shared / "datasets/nasty").rglob("*")) if path.is_file()]


def anonymous_memory(*pids: int) -> int:
    """RssAnon of this process and of `pids`, in bytes."""
    total = 0
    for pid in (os.getpid(), *pids):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        total += 1024 * sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    return total


def decode_all(
    files: list[bytes], threads: int = 2, min_sides: tuple[int | None, ...] = (224, None)
) -> tuple[Counter[str], int]:
    """Decode in threads; return the reasons and by how much memory grew at most, child processes included."""
    reason(GIF)
    idle = peak = anonymous_memory()
    finished = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not finished.wait(0.002):
            peak = max(peak, anonymous_memory(*decoder.processes()))

    def one(data: bytes, min_side: int | None) -> str:
        try:
            picture = images.decode(data, min_side=min_side)
        except ImageError as error:
            assert error.reason in images.REASONS and "\n" not in error.message
            return error.reason
        images.thumbnail(picture, 192)
        assert images.resize(picture, images.WHOLE, (224, 224)).shape == (224, 224, 3)
        return "decoded"

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(threads) as pool:
            results = Counter(pool.map(one, files, list(min_sides) * len(files)))
    finally:
        finished.set()
        watcher.join()
    return results, peak - idle


def repaired(png: bytes) -> bytes:
    """Set the checksums of a PNG right, so that damage gets past them."""
    data, position = bytearray(png), 8
    while position + 12 <= len(data):
        end = position + 8 + int(struct.unpack_from(">I", data, position)[0])
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[position + 4 : end]))
        position = end + 4
    return bytes(data)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Damage a file: bytes changed, cut out, put in, or its end cut off."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 12))):
        if len(damaged) < 4:
            break
        at = rng.randrange(3, min(len(damaged), rng.choice((64, 1024, 1 << 20))))
        kind = rng.randrange(6)
        if kind == 0:
            damaged[at] = rng.randrange(256)
        elif kind == 1:
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            damaged[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\x20\0"))
        elif kind == 3:
            del damaged[at : at + rng.randrange(1, 32)]
        elif kind == 4:
            damaged[at:at] = rng.randbytes(rng.randrange(1, 32))
        elif rng.random() < 0.2:
            del damaged[rng.randrange(len(damaged)) :]
    is_png = damaged.startswith(b"\x89PNG\r\n\x1a\n")
    return repaired(bytes(damaged)) if is_png and rng.random() < 0.8 else bytes(damaged)


def mutations(shared: Path, number: int, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    supported = [data for path in nasty(shared) if (data := path.read_bytes()) and looks_supported(data)]
    return [mutated(data, rng) for data in rng.choices(supported, k=number)]


def looks_supported(data: bytes) -> bool:
    try:
        images.decode(data, min_side=64)
    except ImageError as error:
        return error.reason != "unsupported"
    return True


MOST_MEMORY = 300_000_000


def test_every_nasty_file_is_decoded_or_refused_within_memory(shared: Path) -> None:
    files = [path.read_bytes() for path in nasty(shared)]
    results, growth = decode_all(files)
    assert results.total() == len(files) > 1700
    assert results["decoded"] > 700
    assert set(results) == {"decoded", "corrupt", "unsupported", "too-large"}
    assert growth < MOST_MEMORY


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(65_535, 300), (300, 65_535)])
def test_a_picture_of_extreme_shape_stays_within_memory(mode: str, size: tuple[int, int]) -> None:
    results, growth = decode_all([encoded(Image.new(mode, size), "PNG", compress_level=1)] * 2)
    assert results["decoded"] == 2
    whole, resizing = 4 * size[0] * size[1], 4 * max(size) * 224  # bytes, of each of two that may be at it at once
    assert growth < 1.25 * 2 * (whole + resizing)  # a quarter of it: the allocator keeps some of what was freed


def test_500_mutations_are_decoded_or_refused_within_memory(shared: Path) -> None:
    results, growth = decode_all(mutations(shared, 500, seed=1))
    assert results["decoded"] > 50 and results["corrupt"] > 50
    assert growth < MOST_MEMORY


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_5000_mutations_are_decoded_or_refused_within_memory(shared: Path, seed: int) -> None:
    _, growth = decode_all(mutations(shared, 5000, seed))
    assert growth < MOST_MEMORY


def test_a_nasty_neighbour_does_not_change_a_picture(shared: Path) -> None:
    good = (shared / "datasets/nasty/exif-orientation/Landscape_6.jpg").read_bytes()
    alone = images.decode(good, min_side=224).image.tobytes()
    files = [path.read_bytes() for path in nasty(shared)[::8]]
    with ThreadPoolExecutor(4) as threads:
        neighbours = [threads.submit(reason, data) for data in files]
        between = [threads.submit(images.decode, good, min_side=224) for _ in range(40)]
        assert all(future.result().image.tobytes() == alone for future in between)
        assert all(future.result() for future in neighbours)
