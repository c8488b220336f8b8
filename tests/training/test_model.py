"""The model: any backbone, the binarization module, weights taken strictly."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import save_file
from torch.nn import functional

from training.libraries import import_timm
from training.model import Unified, binarized
from training.recipe import Backbone, Embedding
from visearch.errors import UsageError

timm = import_timm()

SMALL = Backbone("test_efficientnet")
EMBEDDING = Embedding(dim=64, groups=16, size=64, dropout=0.0)


def pictures(n: int = 2, side: int = 64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_convnext", "test_vit", "test_nfnet"])
def test_any_timm_backbone_gives_embeddings(name: str) -> None:
    model = Unified(Backbone(name, options={"img_size": 64} if "vit" in name else {}), EMBEDDING).eval()
    images = pictures()
    embedding = model.embedding(model.features(images))
    assert embedding.shape == (2, 64)
    assert embedding.dtype == torch.float32
    assert torch.equal(model(images), functional.relu(embedding))
    # Its layers and the new parameters are the whole model, each parameter once.
    names = [name for layer in model.backbone_layers() for name, _ in layer]
    names += [name for name, _ in model.new_parameters()]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert len(model.backbone_layers()) > 2


def test_pictures_are_normalised_as_the_backbone_wants() -> None:
    model = Unified(SMALL, EMBEDDING).eval()
    config = timm.data.resolve_model_data_config(model.backbone)
    images = pictures()
    seen = (images.permute(0, 3, 1, 2) / 255 - torch.tensor(config["mean"]).view(-1, 1, 1)) / torch.tensor(
        config["std"]
    ).view(-1, 1, 1)
    torch.testing.assert_close(model.features(images), model.backbone(seen), atol=1e-4, rtol=1e-4)


def test_a_recipe_can_say_another_mean() -> None:
    overlay = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 0.5]}
    model = Unified(replace(SMALL, options={"pretrained_cfg_overlay": overlay}), EMBEDDING)
    assert model.mean.flatten().tolist() == [127.5] * 3
    assert model.std.flatten().tolist() == [63.75, 127.5, 127.5]


def test_groups_of_an_embedding_are_centred_before_the_threshold() -> None:
    embedding = Unified(SMALL, EMBEDDING).embedding(torch.randn(5, 256))
    groups = embedding.reshape(5, 16, 4)
    torch.testing.assert_close(groups.mean(dim=2), torch.zeros(5, 16), atol=1e-5, rtol=0)


def test_without_groups_relu_or_dropout_the_proxies_see_the_projection() -> None:
    model = Unified(SMALL, replace(EMBEDDING, groups=0, relu=False))
    features = torch.randn(3, 256)
    assert torch.equal(model.activation(model.embedding(features)), model.projection(features))


def test_dropout_is_for_training_only() -> None:
    model = Unified(SMALL, replace(EMBEDDING, dropout=0.5))
    embedding = torch.ones(200, 64)
    assert model.eval().activation(embedding).eq(1).all()
    assert 0.4 < model.train().activation(embedding).eq(0).float().mean() < 0.6


def test_a_share_of_the_training_pictures_is_seen_in_binary() -> None:
    model = Unified(SMALL, replace(EMBEDDING, binary=0.5))
    embedding = torch.randn(400, 64)
    numbers = functional.relu(embedding)
    assert torch.equal(model.eval().activation(embedding), numbers)
    seen = model.train().activation(embedding)
    binary = (seen != numbers).any(dim=1)
    assert 0.4 < binary.float().mean() < 0.6
    for row in binary.nonzero()[:20, 0]:
        on = embedding[row] > 0
        torch.testing.assert_close(seen[row][on], numbers[row][on].mean().expand(int(on.sum())))
        assert seen[row][~on].eq(0).all()


def test_without_relu_cosines_of_what_is_seen_in_binary_are_hamming_distances() -> None:
    model = Unified(SMALL, replace(EMBEDDING, head="normalized", groups=0, relu=False, binary=1.0)).train()
    embedding = torch.randn(20, 64)
    bits = (embedding > 0).float()
    distances = (bits[:, None] != bits[None]).sum(dim=2)
    seen = model.activation(embedding)
    torch.testing.assert_close(seen @ seen.T, 1 - 2 * distances / 64)


@pytest.mark.parametrize("off", [0.0, -1.0])
def test_gradients_pass_through_binary_activations_as_through_the_numbers(off: float) -> None:
    activation = functional.relu(torch.randn(3, 8)).requires_grad_()
    weight = torch.randn(3, 8)
    (gradient,) = torch.autograd.grad((binarized(activation, off) * weight).sum(), activation)
    assert torch.equal(gradient, weight)


def test_the_normalized_head_sees_binarized_activations_at_unit_length() -> None:
    model = Unified(SMALL, replace(EMBEDDING, head="normalized")).train()
    embedding = model.embedding(torch.randn(3, 256))
    torch.testing.assert_close(embedding.reshape(3, 16, 4).mean(dim=2), torch.zeros(3, 16), atol=1e-5, rtol=0)
    activation = model.activation(embedding)
    torch.testing.assert_close(activation, functional.normalize(functional.relu(embedding), dim=1))
    torch.testing.assert_close(activation.norm(dim=1), torch.ones(3))


def test_the_normalized_head_as_published_is_layer_norm_and_unit_length() -> None:
    model = Unified(SMALL, replace(EMBEDDING, head="normalized", groups=0, relu=False)).train()
    features = torch.randn(3, 256)
    embedding = model.embedding(features)
    torch.testing.assert_close(embedding.mean(dim=1), torch.zeros(3), atol=1e-6, rtol=0)
    assert torch.equal(embedding, functional.layer_norm(model.projection(features), (64,)))
    torch.testing.assert_close(model.activation(embedding).norm(dim=1), torch.ones(3))


def test_bits_are_decided_in_float32_under_autocast() -> None:
    model = Unified(SMALL, EMBEDDING).eval()
    with torch.autocast("cpu", torch.bfloat16):
        embedding = model.embedding(model.features(pictures()))
    assert embedding.dtype == torch.float32


def test_the_untrained_projection_keeps_angles() -> None:
    weight = Unified(SMALL, EMBEDDING).get_parameter("projection.weight")
    torch.testing.assert_close(weight @ weight.T, torch.eye(64), atol=1e-5, rtol=0)


def test_frozen_batch_norm_keeps_its_statistics_and_learns_its_scale() -> None:
    model = Unified(SMALL, EMBEDDING)
    model.freeze_batch_norm()
    model.train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    model(pictures()).sum().backward()
    for name, value in model.named_buffers():
        assert torch.equal(value, before[name]), name
    assert model.get_parameter("backbone.bn1.weight").grad is not None
    model.freeze_batch_norm(False)
    model.train()(pictures())
    assert not torch.equal(model.get_buffer("backbone.bn1.running_mean"), before["backbone.bn1.running_mean"])


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_half_precision_weights_of_a_whole_model_are_taken(tmp_path: Path, suffix: str) -> None:
    whole = timm.create_model("test_efficientnet")
    halves = {key: value.half() if value.is_floating_point() else value for key, value in whole.state_dict().items()}
    path = tmp_path / f"whole{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": halves}, path)
    else:
        save_file(halves, path)
    model = Unified(replace(SMALL, weights=path), EMBEDDING)
    for name, value in model.backbone.state_dict().items():
        assert value.dtype in (torch.float32, torch.int64)
        assert torch.equal(value, halves[name].to(value.dtype))


def test_weights_of_another_model_are_refused_in_one_line(tmp_path: Path) -> None:
    def refused(tensors: object) -> str:
        path = tmp_path / "weights.pth"
        torch.save(tensors, path)
        with pytest.raises(UsageError) as error:
            Unified(replace(SMALL, weights=path), EMBEDDING)
        assert "\n" not in error.value.message
        return error.value.message

    good = timm.create_model("test_efficientnet").state_dict()
    assert "lacks conv_stem.weight" in refused({key: value for key, value in good.items() if key != "conv_stem.weight"})
    assert "has extra.weight, which" in refused(good | {"extra.weight": torch.zeros(1)})
    assert "conv_stem.weight is [1], the model's [24, 3, 3, 3]" in refused(good | {"conv_stem.weight": torch.zeros(1)})
    assert "not weights of a model" in refused([1, 2])
    assert "lacks" in refused({})
    (tmp_path / "noise.safetensors").write_bytes(b"no tensors here")
    for name, words in (("noise.safetensors", "not weights of a model"), ("none.pth", "no such file")):
        with pytest.raises(UsageError, match=words):
            Unified(replace(SMALL, weights=tmp_path / name), EMBEDDING)


@pytest.mark.parametrize(
    ("backbone", "embedding", "words"),
    [
        (Backbone("no_such_net"), EMBEDDING, "backbone no_such_net cannot be made"),
        (replace(SMALL, options={"colour": 1}), EMBEDDING, "backbone test_efficientnet cannot be made"),
        (replace(SMALL, identity=("blocks.9",)), EMBEDDING, "backbone.identity.*'blocks.9'"),
        (Backbone("vit_tiny_patch16_224", options={"depth": 1}), EMBEDDING, "embedding.size = 64.*img_size"),
        (SMALL, replace(EMBEDDING, projection=False), "embedding.dim is 64 and test_efficientnet has 256 features"),
        (SMALL, replace(EMBEDDING, groups=48), "embedding.groups is 48"),
        (SMALL, replace(EMBEDDING, groups=64), "embedding.groups is 64"),
    ],
)
def test_what_cannot_be_built_is_one_line_that_names_the_field(
    backbone: Backbone, embedding: Embedding, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        Unified(backbone, embedding)


def test_the_shipped_backbone_gives_the_features_of_its_own_classifier(shared: Path) -> None:
    """The identity in place of one ReLU and the mean of 0.5: with them the features are those its classifier reads."""
    weights = shared / "models" / "mobilenet_edgetpu_100.safetensors"
    half = {"mean": [0.5] * 3, "std": [0.5] * 3}
    model = Unified(
        Backbone(
            "mobilenet_edgetpu_100",
            weights=weights,
            options={"pad_type": "same", "pretrained_cfg_overlay": half},
            identity=("blocks.0.0.bn1.act",),
        ),
        Embedding(),
    ).eval()
    reference = timm.create_model("mobilenet_edgetpu_100", pad_type="same")
    reference.blocks[0][0].bn1.act = torch.nn.Identity()
    reference.load_state_dict(timm.models.load_state_dict(str(weights)))
    images = pictures(1, 224)
    with torch.no_grad():
        expected = reference.eval().forward_head(
            reference.forward_features(images.permute(0, 3, 1, 2) / 127.5 - 1), pre_logits=True
        )
        torch.testing.assert_close(model.features(images), expected, atol=1e-3, rtol=1e-3)
