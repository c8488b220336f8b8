"""The embedder: a model file says by its card how it is fed, and gives the same embedding however it is run."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

from tests.pictures import picture
from tests.tiny_model import BITS, SIDE, card, write_model
from visearch import codes, embedder, images
from visearch.embedder import Card, Embedder
from visearch.errors import ModelError, UsageError

REQUIRED = [
    "contract", "name", "version", "embedding_dim", "height", "width", "resize", "training_data", "license", "metrics"
]  # fmt: skip


def batch(count: int) -> codes.U8:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)


def whole(image: Image.Image) -> images.Picture:
    return images.Picture(image, image.width, image.height, (0.0, 0.0, float(image.width), float(image.height)))


def make(**changes: Any) -> Card:
    return Card.from_json(json.dumps(card(**changes)), "m.onnx")


# The card


def test_the_card_is_read() -> None:
    read = make(metrics={"recall": 0.5}, training_data=["cub"])
    assert (read.name, read.version, read.embedding_dim, read.height, read.width) == ("tiny", "1", BITS, SIDE, SIDE)
    assert read.resize == embedder.Resize("squash", SIDE, "bicubic", True, "squash")
    assert (read.training_data, read.metrics, read.license) == (("cub",), {"recall": 0.5}, "CC0-1.0")


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ModelError, match=rf"m\.onnx: the model card lacks the key '{key}'"):
        make(**{key: None})


@pytest.mark.parametrize("key", ["mode", "size", "interpolation", "antialias"])
def test_a_missing_key_of_resize_is_named(key: str) -> None:
    resize = {name: value for name, value in card()["resize"].items() if name != key}
    with pytest.raises(ModelError, match=rf"lacks the key 'resize\.{key}'"):
        make(resize=resize)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"embedding_dim": "64"}, "'embedding_dim' is '64', a int is needed"),
        ({"embedding_dim": True}, "'embedding_dim' is True"),
        ({"embedding_dim": 60}, "impossible sizes"),
        ({"height": 0}, "impossible sizes"),
        ({"width": 10**9}, "impossible sizes"),
        ({"contract": 2}, "model contract 2, this visearch reads up to 1"),
        ({"kind": "detector"}, "a detector model, an embedding model is needed"),
        ({"resize": card()["resize"] | {"mode": "stretch"}}, "'resize.mode' is 'stretch', known are center_crop"),
        ({"resize": card()["resize"] | {"interpolation": "cubic"}}, "'resize.interpolation' is 'cubic'"),
        ({"resize": card()["resize"] | {"mode": "center_crop", "size": 8}}, "smaller than the input"),
    ],
)
def test_a_wrong_key_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=r"^m\.onnx: ") as caught:
        make(**changes)
    assert said in caught.value.message


def test_unknown_keys_are_ignored() -> None:
    assert make(colour="blue").name == "tiny"


@pytest.mark.parametrize("text", ["{", "[]", "null", '"text"'])
def test_a_card_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="model card"):
        Card.from_json(text, "m.onnx")


# The file


def test_a_model_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no model card"):
        Embedder(write_model(tmp_path / "m.onnx", ""))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing\.onnx: cannot be read \(No such file"):
        Embedder(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\0" * 1000])
def test_a_file_that_is_no_model_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.onnx: ") as caught:
        Embedder(path)
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("wrong", [{"embedding_dim": 128}, {"height": 64, "width": 64}])
def test_a_card_that_does_not_fit_its_model_is_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ModelError, match=r"its card (says|describes)"):
        Embedder(write_model(tmp_path / "m.onnx", json.dumps(card(**wrong))))


def test_a_model_of_other_names_is_refused(tmp_path: Path, tiny: Path) -> None:
    model = onnx.load(tiny)
    model.graph.output[0].name = model.graph.node[-1].output[0] = "vector"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="does not take the input its card describes"):
        Embedder(tmp_path / "m.onnx")


def test_an_embedding_that_is_not_finite_is_an_error(tmp_path: Path, tiny: Path) -> None:
    """0 / 0 for a black picture is allowed when the model is loaded, but never becomes a code."""
    model = onnx.load(tiny)
    model.graph.node[-1].output[0] = "raw"
    model.graph.node.append(helper.make_node("Log", ["raw"], ["embedding"]))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"m\.onnx: gave an embedding that is not finite"):
        Embedder(tmp_path / "m.onnx").embed(batch(2))


def test_the_identity_of_a_model_is_its_hash(tiny: Path) -> None:
    assert Embedder(tiny).sha256 == hashlib.sha256(tiny.read_bytes()).hexdigest()


def test_a_model_is_compiled_once_a_process(tiny: Path) -> None:
    assert embedder.load(tiny) is embedder.load(tiny)


# Running it


def reference(path: Path, images: codes.U8) -> codes.F32:
    """The tiny model in numpy: means of an 8x8 grid without the mean colour, projected."""
    projection = onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    cells = images.astype(np.float64).reshape(len(images), 8, 4, 8, 4, 3).mean((2, 4))
    centred = cells - images.astype(np.float64).mean((1, 2))[:, None, None]
    embeddings: codes.F32 = (centred.transpose(0, 3, 1, 2).reshape(len(images), -1) @ projection).astype(np.float32)
    return embeddings


def test_float32_gives_what_the_graph_says(tiny: Path) -> None:
    pixels = batch(5)
    found = Embedder(tiny, "float32").embed(pixels)
    assert found.dtype == np.float32
    assert np.allclose(found, reference(tiny, pixels), atol=0.05)


def test_what_computed_is_told(tiny: Path) -> None:
    model = Embedder(tiny, "float32")
    assert (model.runtime, model.precision, model.device) == ("openvino", "float32", "CPU")
    assert Embedder(tiny, "auto").precision in ("float32", "bf16")


def test_another_precision_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_PRECISION", "int8")
    with pytest.raises(UsageError, match="'int8': auto, float32 or bf16"):
        Embedder(tiny)


def test_no_pictures_give_no_embeddings(tiny: Path) -> None:
    assert Embedder(tiny).embed(batch(0)).shape == (0, BITS)


def test_a_picture_has_one_embedding_alone_and_in_any_batch(tiny: Path) -> None:
    model, pixels = Embedder(tiny), batch(7)
    alone = np.concatenate([model.embed(one[None]) for one in pixels])
    assert np.array_equal(model.embed(pixels), alone)


def test_many_threads_get_their_own_answers(tiny: Path) -> None:
    model, pixels = Embedder(tiny), batch(64)
    expected = model.embed(pixels)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: model.embed(pixels[place : place + 1]), range(64)))
    assert np.array_equal(np.concatenate(found), expected)


def test_the_result_is_not_overwritten_by_the_next_call(tiny: Path) -> None:
    model, pixels = Embedder(tiny), batch(2)
    first = model.embed(pixels[:1])
    kept = first.copy()
    model.embed(pixels[1:])
    assert np.array_equal(first, kept)


def test_signals_are_handled_after_models_have_come_and_gone(tiny: Path) -> None:
    """What OpenVINO sets up for signal handlers must not end with a model: the process would die of the next signal."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from visearch.embedder import Embedder\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled'))\n"
        "one, other = Embedder(Path(sys.argv[1])), Embedder(Path(sys.argv[1]))\n"
        "del one\n"
        "del other\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tiny], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n")


def test_without_openvino_onnx_runtime_computes_the_same(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_openvino = Embedder(tiny, "float32").embed(batch(50))
    monkeypatch.setitem(sys.modules, "openvino", None)
    model = Embedder(tiny)
    assert (model.runtime, model.precision, model.card.name) == ("onnxruntime", "float32", "tiny")
    assert np.mean(codes.hamming(codes.pack(with_openvino), codes.pack(model.embed(batch(50))))) <= 0.01 * BITS


def test_runtimes_and_precisions_agree_on_the_baseline(
    baseline: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN.md: at most 1% of bits between runtimes; bf16 flips about as many."""
    paths = sorted((shared / "datasets" / "ikea").rglob("*.jpg"))[::40][:8]
    exact = Embedder(baseline, "float32")
    pixels = np.stack([exact.prepare(images.decode(path.read_bytes(), min_side=exact.min_side())) for path in paths])
    truth = codes.pack(exact.embed(pixels))
    half = codes.pack(Embedder(baseline, "bf16").embed(pixels))
    monkeypatch.setitem(sys.modules, "openvino", None)
    other = codes.pack(Embedder(baseline).embed(pixels))
    assert codes.hamming(truth, other).mean() <= 0.01 * exact.card.embedding_dim
    assert codes.hamming(truth, half).mean() <= 0.02 * exact.card.embedding_dim


# Preparing a picture

BICUBIC = Image.Resampling.BICUBIC


def shape(height: int, width: int, mode: str, size: int) -> Card:
    resize = {"mode": mode, "size": size, "interpolation": "bicubic", "antialias": True}
    return make(height=height, width=width, resize=resize)


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (64, 64)])
def test_squash_is_one_resize(size: tuple[int, int]) -> None:
    image = picture(1, size)
    found = embedder.prepare(shape(32, 48, "squash", 48), whole(image))
    assert np.array_equal(found, np.asarray(image.resize((48, 32), BICUBIC)))


def test_a_box_is_cut_out_before_anything_else() -> None:
    image = picture(1, (100, 60))
    found = embedder.prepare(shape(32, 32, "squash", 32), whole(image), (0.1, 0.5, 0.6, 1.0))
    cropped = np.asarray(image.crop((10, 30, 60, 60)).resize((32, 32), BICUBIC))
    assert np.abs(found.astype(int) - cropped).max() <= 2  # weights are rounded


def test_pad_keeps_the_shape_and_fills_with_white() -> None:
    image = picture(1, (80, 40))
    found = embedder.prepare(shape(32, 32, "pad", 32), whole(image))
    assert np.array_equal(found[8:24], np.asarray(image.resize((32, 16), BICUBIC)))
    assert (found[:8] == 255).all()
    assert (found[24:] == 255).all()


def test_pad_of_a_very_long_picture_keeps_a_row_of_it() -> None:
    found = embedder.prepare(shape(32, 32, "pad", 32), whole(picture(1, (4000, 2))))
    assert (found != 255).any()


@pytest.mark.parametrize("size", [(120, 80), (80, 120), (96, 96)])
def test_centre_crop_is_resize_and_crop_in_one(size: tuple[int, int]) -> None:
    """The textbook: the shorter side to 40, then the middle 32x32. One resize differs by rounding only."""
    image = picture(2, size)
    scale = 40 / min(size)
    resized = image.resize((round(size[0] * scale), round(size[1] * scale)), BICUBIC)
    left, top = (resized.width - 32) // 2, (resized.height - 32) // 2
    expected = np.asarray(resized.crop((left, top, left + 32, top + 32))).astype(int)
    found = embedder.prepare(shape(32, 32, "center_crop", 40), whole(image)).astype(int)
    assert np.abs(found - expected).mean() < 1


def test_a_whole_picture_is_cropped_and_a_box_in_it_shown_whole_on_white() -> None:
    """Of a lamp or a sofa the middle is not enough; a model that squashes or pads does so with boxes too."""
    image = picture(3, (128, 96))
    box = (0.25, 0.0, 0.5, 1.0)  # 32 x 96 pixels
    found = embedder.prepare(shape(32, 32, "center_crop", 32), whole(image), box)
    inner = np.asarray(image.crop((32, 0, 64, 96)).resize((11, 32), BICUBIC))
    assert (np.delete(found, range(10, 21), axis=1) == 255).all()
    assert np.abs(found[:, 10:21].astype(int) - inner).mean() < 1
    assert (embedder.prepare(shape(32, 32, "center_crop", 32), whole(image)) != 255).any(axis=2).mean() > 0.9


@pytest.mark.parametrize(("said", "read"), [({}, "pad"), ({"regions": "center_crop"}, "center_crop")])
def test_the_card_may_say_how_boxes_are_shown(said: dict[str, str], read: str) -> None:
    resize = card()["resize"] | {"mode": "center_crop", "size": 64} | said
    assert embedder.Card.from_json(json.dumps(card(resize=resize)), "m.onnx").resize.regions == read


def test_the_side_to_decode_for_covers_the_input() -> None:
    assert embedder.shorter_side(shape(32, 48, "squash", 48)) == 48
    assert embedder.shorter_side(shape(224, 224, "center_crop", 256)) == 256
