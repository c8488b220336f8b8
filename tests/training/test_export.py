"""Export: the file is the checkpoint's model to the bit, small, by the contract, or there is no file."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import onnx
import onnxruntime
import torch
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from training import checkpoint as checkpoints
from training import recipe as recipes
from training.checkpoint import Checkpoint
from training.export import PICTURES, Exported, export, find_pictures, halve_weights
from training.model import Unified
from training.recipe import Backbone, Card, Data, Embedding, Recipe
from training.validation import card_of
from visearch.cli import cli
from visearch.embedder import Embedder
from visearch.errors import UsageError, VisearchError
from visearch.runtime import _onnxruntime

SIDE = 64
EMBEDDING = Embedding(dim=64, groups=16, size=SIDE)


def recipe(folder: Path, backbone: str = "test_efficientnet", embedding: Embedding = EMBEDDING) -> Recipe:
    options = {"img_size": SIDE} if "vit" in backbone else {}
    return Recipe(
        name="trial",
        backbone=Backbone(backbone, options=options),
        data=(Data("photos", folder),),
        embedding=embedding,
        card=Card(version="3", license="CC0-1.0", training_data=("made pictures",)),
    )


def save_checkpoint(path: Path, made: Recipe, scale: float = 1.0) -> Unified:
    """A checkpoint of a model that has trained a little: statistics and weights are not those of the start."""
    torch.manual_seed(0)
    model = Unified(made.backbone, made.embedding).train()
    for _ in range(5):
        model(torch.randint(0, 256, (8, SIDE, SIDE, 3), dtype=torch.uint8))
    with torch.no_grad():
        model.get_parameter("projection.weight").mul_(scale)
    metrics = {"photos": {"binary": 0.5, "float": 0.75}}
    classes = {"kind": ("a", "b", "c")}
    values = (recipes.to_plain(made), 7, 1.0, classes, metrics, model.state_dict())
    checkpoints.save(Checkpoint(*values, revision="0123abc"), path)
    return model.eval()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of smooth colour with detail, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(20):
        coarse = Image.fromarray(rng.integers(0, 256, (2 + number, 3 + number, 3), dtype=np.uint8))
        coarse.resize((110, 90), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")
    (folder / "broken.jpg").write_bytes(b"not a picture")
    (folder / "labels.csv").write_text("\n".join(["path", *(path.name for path in sorted(folder.glob("*.jpg")))]))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> tuple[Path, Unified, Exported]:
    """One exported model for the tests that only look at it."""
    folder = tmp_path_factory.mktemp("exported")
    model = save_checkpoint(folder / "best.pt", recipe(photos))
    return folder / "model.onnx", model, export(folder / "best.pt", folder / "model.onnx")


def batch(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_both_runtimes_give_the_embeddings_of_torch_for_any_batch(
    made: tuple[Path, Unified, Exported], runtime: str
) -> None:
    path, model, _ = made
    embedder = Embedder(path, "float32")
    other = _onnxruntime(path, "CPUExecutionProvider")
    run = embedder.embed if runtime == "openvino" else lambda pixels: other.run(pixels)["embedding"]
    for n in (1, 2, 5):
        with torch.no_grad():
            expected = model.embedding(model.features(torch.tensor(batch(n)))).numpy()
        np.testing.assert_allclose(run(batch(n)), expected, atol=0.02)


def test_the_report_says_what_was_compared(made: tuple[Path, Unified, Exported]) -> None:
    path, _, exported = made
    assert exported.size == path.stat().st_size
    assert exported.pictures == 20  # the broken one left out
    assert 0 <= exported.flipped <= 0.001


def test_short_codes_are_compared_on_more_pictures(made: tuple[Path, Unified, Exported], tmp_path: Path) -> None:
    """Of 64 pictures with 64 bits each, five that lie at the threshold would be too many."""
    for number in range(PICTURES + 6):
        colour = tuple(np.random.default_rng(number).integers(0, 256, 3).tolist())
        Image.new("RGB", (SIDE, SIDE), colour).save(tmp_path / f"{number}.png")
    assert export(made[0].parent / "best.pt", tmp_path / "model.onnx", tmp_path).pictures == PICTURES + 6


def test_weights_are_stored_in_half_precision(made: tuple[Path, Unified, Exported]) -> None:
    path, model, _ = made
    weights = sum(value.numel() for value in model.parameters())
    assert path.stat().st_size < 2.3 * weights + 60_000  # 60 kB of graph


def test_the_casts_of_weights_are_folded_away(made: tuple[Path, Unified, Exported], tmp_path: Path) -> None:
    """Else each request would convert all weights again. The cast of the picture stays."""
    path, _, _ = made
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    casts = [node for node in onnx.load(tmp_path / "optimised.onnx").graph.node if node.op_type == "Cast"]
    assert len(casts) == 1

    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = [node.get_rt_info()["layerType"].astype(str) for node in compiled.get_runtime_model().get_ops()]
    assert kinds.count("Convert") <= 1


def test_the_card_says_where_the_model_comes_from(made: tuple[Path, Unified, Exported], photos: Path) -> None:
    path, _, _ = made
    card = Embedder(path).card
    assert (card.name, card.version, card.license) == ("trial", "3", "CC0-1.0")
    assert (card.embedding_dim, card.height, card.width, card.resize.size) == (64, SIDE, SIDE, SIDE)
    assert card.training_data == ("made pictures",)
    assert card.metrics == {"photos": {"binary": 0.5, "float": 0.75}}
    assert replace(card, metrics={}) == card_of(recipe(photos))  # as it was validated
    (text,) = [prop.value for prop in onnx.load(path).metadata_props if prop.key == "visearch"]
    more = json.loads(text)
    assert (more["recipe"], more["backbone"], more["steps"]) == ("trial", "test_efficientnet", 7)
    assert more["classes"] == {"kind": 3}
    assert more["revision"] == "0123abc"  # of the code that trained, not of that which exports


def test_several_checkpoints_make_the_model_of_their_mean_weights(tmp_path: Path, photos: Path) -> None:
    one, other = tmp_path / "one.pt", tmp_path / "other.pt"
    wanted = save_checkpoint(one, recipe(photos), scale=0.5)
    projection = wanted.get_parameter("projection.weight").detach() * 2  # their mean is 1.0 times that of the start
    save_checkpoint(other, recipe(photos), scale=1.5)
    export(one, tmp_path / "mean.onnx", others=[other])
    model = Embedder(tmp_path / "mean.onnx", "float32")
    with torch.no_grad():
        wanted.get_parameter("projection.weight").copy_(projection)
        pictures = batch(4)
        embeddings = wanted.embedding(wanted.features(torch.from_numpy(pictures))).numpy()
    assert np.abs(model.embed(pictures) - embeddings).max() < 0.02
    (text,) = [prop.value for prop in onnx.load(tmp_path / "mean.onnx").metadata_props if prop.key == "visearch"]
    assert json.loads(text)["runs"] == 2
    assert model.card.metrics == {}, "nobody has measured the mean"

    save_checkpoint(other, recipe(photos, embedding=replace(EMBEDDING, dim=32, groups=8)))
    with pytest.raises(UsageError, match=r"other\.pt: its model is not that of .*one\.pt"):
        export(one, tmp_path / "none.onnx", others=[other])


def test_the_file_names_no_place_of_the_machine_that_made_it(
    made: tuple[Path, Unified, Exported], photos: Path
) -> None:
    content = made[0].read_bytes()
    for place in (photos, Path(__file__).parents[2], Path(sys.prefix)):
        assert str(place).encode() not in content


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "embedding"),
    [
        ("test_vit", EMBEDDING),
        ("test_resnet", replace(EMBEDDING, head="normalized", groups=0)),
        ("test_efficientnet", replace(EMBEDDING, dim=256, projection=False, groups=0)),
    ],
    ids=["transformer", "normalized", "backbone alone"],
)
def test_every_form_of_the_model_can_be_exported(
    tmp_path: Path, photos: Path, backbone: str, embedding: Embedding
) -> None:
    torch.manual_seed(0)
    made = recipe(photos, backbone, embedding)
    model = Unified(made.backbone, made.embedding)
    checkpoints.save(Checkpoint(recipes.to_plain(made), 0, 0.0, {}, {}, model.state_dict()), tmp_path / "last.pt")
    exported = export(tmp_path / "last.pt", tmp_path / "model.onnx")
    assert Embedder(tmp_path / "model.onnx").card.embedding_dim == embedding.dim
    assert exported.pictures == 20


def test_bits_that_do_not_survive_are_an_error_and_no_file(tmp_path: Path, photos: Path) -> None:
    """A projection below the range of float16, with nothing after it that would bring it back."""
    save_checkpoint(tmp_path / "best.pt", recipe(photos, embedding=replace(EMBEDDING, groups=0)), scale=1e-9)
    out = tmp_path / "model.onnx"
    out.write_bytes(b"the model before")
    with pytest.raises(VisearchError, match=r"not written: \d\d\.\d\d% of the bits of 20 pictures"):
        export(tmp_path / "best.pt", out)
    assert out.read_bytes() == b"the model before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "model.onnx"]


def test_weights_above_the_range_of_half_precision_stay_float32(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    small, large = (rng.normal(size=(64, 64)).astype(np.float32) * scale for scale in (1, 1e6))
    nodes = [helper.make_node("MatMul", ["x", name], [f"by {name}"]) for name in ("small", "large")]
    places = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in ("x", "by small", "by large")
    }
    graph = helper.make_graph(
        nodes,
        "two weights",
        [places.pop("x")],
        list(places.values()),
        [numpy_helper.from_array(small, "small"), numpy_helper.from_array(large, "large")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    halve_weights(proto)
    x = rng.normal(size=(1, 64)).astype(np.float32)
    by_small, by_large = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    ).run(None, {"x": x})
    np.testing.assert_allclose(by_small, x @ small.astype(np.float16).astype(np.float32), atol=1e-4)
    np.testing.assert_allclose(by_large, x @ large, rtol=1e-3, atol=10)
    assert [each.data_type for each in proto.graph.initializer] == [TensorProto.FLOAT16, TensorProto.FLOAT]


def test_pictures_are_taken_evenly_from_all_places(tmp_path: Path) -> None:
    for name, count in (("many", 300), ("few", 3)):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f"{number:03}.JPG").touch()
    many, few = (sorted((tmp_path / name).iterdir()) for name in ("many", "few"))
    found = find_pictures(None, [many, few + few])
    assert len([path for path in found if path.parent.name == "few"]) == 3
    numbers = [int(path.stem) for path in found if path.parent.name == "many"]
    assert len(numbers) == 32
    assert numbers[0] == 0 and numbers[-1] > 200


def test_wrong_calls_are_one_line(tmp_path: Path, made: tuple[Path, Unified, Exported], photos: Path) -> None:
    good = made[0].parent / "best.pt"
    (tmp_path / "noise.pt").write_bytes(b"noise")
    (tmp_path / "empty").mkdir()
    (tmp_path / "unreadable").mkdir()
    (tmp_path / "unreadable" / "a.jpg").write_bytes(b"noise")
    out = tmp_path / "model.onnx"
    for checkpoint, target, pictures, words in (
        (tmp_path / "none.pt", out, photos, "none.pt: cannot be read"),
        (tmp_path / "noise.pt", out, photos, "noise.pt: not a checkpoint"),
        (good, tmp_path / "model.pt", photos, "must be named .onnx"),
        (good, tmp_path / "no" / "model.onnx", photos, "in a folder that exists"),
        (good, out, tmp_path / "empty", "no pictures under .*--pictures"),
    ):
        with pytest.raises(UsageError, match=words):
            export(checkpoint, target, pictures)
    with pytest.raises(UsageError, match=r"none of the pictures .* can be decoded"):
        export(good, out, tmp_path / "unreadable")
    assert not out.exists()


def test_the_command_writes_a_model_that_can_be_looked_at(
    tmp_path: Path, made: tuple[Path, Unified, Exported], photos: Path
) -> None:
    arguments = ["models", "export", str(made[0].parent / "best.pt"), str(tmp_path / "m.onnx")]
    result = CliRunner().invoke(cli, [*arguments, "--pictures", str(photos)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "of the bits of 20 pictures differ" in result.output
    info = CliRunner().invoke(cli, ["models", "info", str(tmp_path / "m.onnx")], catch_exceptions=False)
    assert json.loads(info.output)["name"] == "trial"
    arguments[2:2] = [str(made[0].parent / "best.pt")]
    result = CliRunner().invoke(cli, [*arguments, "--pictures", str(photos)], catch_exceptions=False)
    assert result.exit_code == 0
