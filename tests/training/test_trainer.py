"""The loop: what learns when, what is saved and shipped, what a user is told."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from tests.training.tiny_run import EMBEDDING, SCHEDULE, folder_of_classes, loose_pictures, picture, recipe_of
from training import checkpoint, optim, trainer, validation
from training.checkpoint import BEST, LAST
from training.model import Unified
from training.recipe import Backbone, Card, Data, Proxies, Recipe, Retention, Validation
from training.retention import similarity_loss
from training.runlog import RunLog
from training.trainer import train
from visearch.errors import UsageError, VisearchError
from visearch.images import WHOLE

EXACT = replace(EMBEDDING, dropout=0.0)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def colours(tmp_path: Path) -> Data:
    return Data("colours", folder_of_classes(tmp_path / "colours"), heads={"colour": "class"})


@pytest.fixture
def loose(tmp_path: Path) -> Data:
    return Data("loose", loose_pictures(tmp_path / "loose"))


def schedule(**values: Any) -> Any:
    return replace(SCHEDULE, **values)


def trained(recipe: Recipe, out: Path, **options: Any) -> dict[str, Tensor]:
    """The weights that a run ends with."""
    train(recipe, out, progress=False, **options)
    saved = checkpoint.load(out / LAST)
    assert saved.resume is not None
    weights: dict[str, Tensor] = saved.resume["model"]
    return weights


def first_weights(recipe: Recipe) -> dict[str, Tensor]:
    torch.manual_seed(recipe.seed)
    return Unified(recipe.backbone, recipe.embedding).state_dict()


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_it_learns(colours: Data, tmp_path: Path) -> None:
    recipe = recipe_of(
        colours,
        validation=colours.path,
        schedule=schedule(steps_per_epoch=10, epochs=2, batch_norm="tracked", optimizer="adamw", rate=3e-3, clip=1.0),
    )
    best = train(recipe, tmp_path / "out", progress=False)
    assert best == tmp_path / "out" / BEST
    log = rows(tmp_path / "out")
    losses = [row["losses"]["colour"] for row in log if "losses" in row]
    assert losses[-1] < 0.7 * losses[0]
    assert [row["step"] for row in log if "validation" in row] == [10, 20]
    shipped = checkpoint.load(best)
    assert shipped.metrics["colours"]["binary"] > 0.9
    assert shipped.score == max(row["validation"]["colours"]["binary"] for row in log if "validation" in row)
    assert shipped.classes == {"colour": ("blue", "green", "red")}
    assert shipped.resume is None
    assert list((tmp_path / "out" / "tensorboard").iterdir())
    assert "colours" in (tmp_path / "out" / "data.txt").read_text()


def test_the_warm_start_leaves_the_backbone_as_it_is(colours: Data, tmp_path: Path) -> None:
    recipe = recipe_of(colours, schedule=schedule(warm_epochs=1, epochs=0, batch_norm="tracked"))
    before, after = first_weights(recipe), trained(recipe, tmp_path / "out")
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert not {name for name in changed if name.startswith("backbone.")}


@pytest.mark.parametrize("batch_norm", ["frozen", "tracked"])
def test_batch_norm_statistics_are_tracked_or_not(colours: Data, tmp_path: Path, batch_norm: str) -> None:
    recipe = recipe_of(colours, schedule=schedule(batch_norm=batch_norm))
    before, after = first_weights(recipe), trained(recipe, tmp_path / "out")
    moved = [name for name in after if "running_" in name and not torch.equal(after[name], before[name])]
    assert bool(moved) == (batch_norm == "tracked")
    assert not torch.equal(after["backbone.conv1.0.weight"], before["backbone.conv1.0.weight"])


@pytest.mark.parametrize(("an_epoch", "epochs"), [(9, 1.0), (2, 4.5)], ids=["one epoch", "ends between updates"])
@pytest.mark.parametrize("proxies", [Proxies(), Proxies(optimizer="adam", rate=1e-2)], ids=["sgd", "adam"])
def test_accumulated_steps_are_one_larger_step(
    colours: Data, tmp_path: Path, proxies: Proxies, an_epoch: int, epochs: float
) -> None:
    values: dict[str, Any] = {"embedding": EXACT, "proxies": proxies}
    constant: dict[str, Any] = {"decay": "step", "decay_every": 100.0}
    whole = recipe_of(colours, schedule=schedule(batch=6, steps_per_epoch=3, **constant), **values)
    accumulated = schedule(batch=2, steps_per_epoch=an_epoch, epochs=epochs, accumulate=3, **constant)
    parts = recipe_of(colours, schedule=accumulated, **values)
    one, other = trained(whole, tmp_path / "whole"), trained(parts, tmp_path / "parts")
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, atol=1e-4, rtol=1e-3)
    assert (one["projection.weight"] - first_weights(whole)["projection.weight"]).abs().max() > 0.01


def test_the_last_update_of_fewer_steps_is_no_weaker(colours: Data, tmp_path: Path) -> None:
    """A run of one step is the same run, whatever is accumulated."""
    alone = recipe_of(colours, schedule=schedule(steps_per_epoch=1))
    early = recipe_of(colours, schedule=schedule(steps_per_epoch=1, accumulate=3))
    one, other = trained(alone, tmp_path / "alone"), trained(early, tmp_path / "early")
    for name, value in one.items():
        torch.testing.assert_close(other[name], value)


def test_without_new_parameters_there_is_no_warm_start(colours: Data, tmp_path: Path) -> None:
    projection = Unified(Backbone("test_resnet"), EMBEDDING).projection
    assert isinstance(projection, torch.nn.Linear)
    bare = replace(EMBEDDING, dim=projection.in_features, projection=False, groups=0)
    recipe = recipe_of(colours, embedding=bare, schedule=schedule(warm_epochs=1, epochs=0))
    before, after = first_weights(recipe), trained(recipe, tmp_path / "out")
    assert not torch.equal(after["backbone.conv1.0.weight"], before["backbone.conv1.0.weight"])


@pytest.mark.parametrize(
    ("average", "ema"), [(1.0, 0.9), (0.5, 0.0), (0.5, 0.9)], ids=["moving average", "with the warm start", "both"]
)
def test_what_is_validated_is_what_ships(
    colours: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, average: float, ema: float
) -> None:
    validated: list[dict[str, Tensor]] = []
    validate = validation.validate

    def spy(model: Unified, *others: Any) -> dict[str, dict[str, float]]:
        validated.append({name: value.clone() for name, value in model.state_dict().items()})
        return validate(model, *others)

    monkeypatch.setattr(validation, "validate", spy)
    base = recipe_of(colours, validation=colours.path, schedule=schedule(warm_epochs=1, epochs=2, ema=ema))
    end = trained(replace(base, retention=Retention(average=average)), tmp_path / "out")
    assert len(validated) == 3
    best, last = checkpoint.load(tmp_path / "out" / BEST), checkpoint.load(tmp_path / "out" / LAST)
    for shipped, weights in ((best, validated[round(best.epoch) - 1]), (last, validated[-1])):
        assert all(torch.equal(shipped.weights[name], weights[name]) for name in weights)
    assert not torch.equal(validated[-1]["projection.weight"], end["projection.weight"])


def test_a_failed_validation_loses_no_step_and_is_done_again(
    colours: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(colours, validation=colours.path)

    def fail(*_: Any) -> None:
        raise VisearchError("no memory")

    with monkeypatch.context() as patched, pytest.raises(VisearchError, match="no memory"):
        patched.setattr(validation, "validate", fail)
        train(recipe, tmp_path / "out", progress=False)
    assert checkpoint.load(tmp_path / "out" / LAST).step == 6
    best = train(recipe, tmp_path / "out", resume=True, progress=False)
    assert checkpoint.load(best).metrics["colours"]["binary"] > 0
    assert [row["step"] for row in rows(tmp_path / "out") if "validation" in row] == [6]


def test_averages_are_what_they_say(colours: Data, loose: Data, tmp_path: Path) -> None:
    """With `average` 0 the model after the warm start ships; a moving average lags behind the trained one."""
    base = recipe_of(colours, loose, validation=colours.path, schedule=schedule(warm_epochs=1), embedding=EXACT)
    warm_only = recipe_of(colours, loose, schedule=schedule(warm_epochs=1, epochs=0, decay="step"), embedding=EXACT)
    trained(replace(base, retention=Retention(average=0.0)), tmp_path / "none")
    after_warm = trained(warm_only, tmp_path / "warm")
    shipped = checkpoint.load(tmp_path / "none" / LAST).weights
    assert all(torch.equal(shipped[name], after_warm[name]) for name in shipped)

    end = trained(replace(base, retention=Retention(average=0.5)), tmp_path / "half")
    shipped = checkpoint.load(tmp_path / "half" / LAST).weights
    for name, value in shipped.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (end[name] + after_warm[name]) / 2)

    end = trained(replace(base, schedule=schedule(ema=0.9)), tmp_path / "ema")
    start, averaged = first_weights(base), checkpoint.load(tmp_path / "ema" / LAST).weights
    name = "backbone.conv1.0.weight"
    assert 0 < (averaged[name] - start[name]).norm() < (end[name] - start[name]).norm()


def test_distillation_holds_the_similarities_of_the_start(colours: Data, loose: Data, tmp_path: Path) -> None:
    from training import data
    from training.batches import Batches

    rates: dict[str, Any] = {"optimizer": "adamw", "rate": 3e-3, "backbone_rate": 3e-3}
    recipe = recipe_of(colours, loose, schedule=schedule(steps_per_epoch=15, **rates))
    images = Batches(data.read(recipe), recipe).make(0).images

    def embeddings(weights: dict[str, Tensor]) -> Tensor:
        model = Unified(recipe.backbone, recipe.embedding).eval()
        model.load_state_dict(weights)
        with torch.no_grad():
            return model.embedding(model.features(images))

    start = embeddings(first_weights(recipe))
    drifts = {}
    for weight in (0.0, 100.0):
        kept = replace(recipe, retention=Retention(distill=weight, distill_on="all"))
        drifts[weight] = float(similarity_loss(embeddings(trained(kept, tmp_path / f"{weight}")), start))
    assert drifts[100.0] < 0.5 * drifts[0.0]
    assert "retention" in rows(tmp_path / "100.0")[0]["losses"]


def test_a_run_begins_where_another_ended(colours: Data, loose: Data, tmp_path: Path) -> None:
    first = trained(recipe_of(colours, loose), tmp_path / "first")
    still = schedule(rate=0.0, backbone_rate=0.0)
    begun = recipe_of(colours, loose, begin=tmp_path / "first" / LAST, schedule=still)
    second = trained(begun, tmp_path / "second")
    assert all(torch.equal(second[name], value) for name, value in first.items())

    # What is retained is what the backbone knew, not what the first run made of it.
    held = replace(begun, retention=Retention(distill=1.0), schedule=replace(still, steps_per_epoch=10))
    train(held, tmp_path / "held", progress=False)
    assert [row["losses"]["retention"] for row in rows(tmp_path / "held") if "losses" in row][-1] > 1e-4

    # And so is what the result is averaged with.
    averaged = replace(begun, retention=Retention(average=0.25))
    train(averaged, tmp_path / "averaged", progress=False)
    shipped, untrained = checkpoint.load(tmp_path / "averaged" / LAST).weights, first_weights(averaged)
    name = "backbone.conv1.0.weight"
    torch.testing.assert_close(shipped[name], 0.25 * first[name] + 0.75 * untrained[name])

    with pytest.raises(UsageError, match=r"last\.pt: a checkpoint of another backbone or embedding than the recipe's"):
        train(replace(begun, embedding=replace(EMBEDDING, dim=64)), tmp_path / "other", progress=False)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precisions(colours: Data, tmp_path: Path, precision: str) -> None:
    after = trained(recipe_of(colours, schedule=schedule(precision=precision)), tmp_path / "out")
    assert all(torch.isfinite(value).all() for value in after.values())
    before = first_weights(recipe_of(colours))
    assert not torch.equal(after["backbone.conv1.0.weight"], before["backbone.conv1.0.weight"])


def test_gradnorm(colours: Data, tmp_path: Path) -> None:
    two = Data("two", folder_of_classes(tmp_path / "two", classes=("red", "blue"), seed=40), heads={"two": "class"})
    trained(recipe_of(colours, two, schedule=schedule(balance="gradnorm")), tmp_path / "out")
    saved = checkpoint.load(tmp_path / "out" / LAST)
    assert saved.resume is not None
    weights = saved.resume["balance"]
    assert sum(weights.values()) == pytest.approx(2)
    assert abs(weights["colour"] - 1) > 0.01


def test_a_checkpoint_says_which_code_trained_it(colours: Data, tmp_path: Path) -> None:
    train(recipe_of(colours, schedule=schedule(steps_per_epoch=1)), tmp_path / "out", progress=False)
    revision = checkpoint.load(tmp_path / "out" / BEST).revision
    if revision is not None:  # else not trained in a checkout
        command = ["git", "cat-file", "-e", revision.removesuffix("+")]
        subprocess.run(command, cwd=Path(__file__).parent, check=True)


def test_an_error_before_the_first_step_leaves_no_process_behind(
    colours: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a GPU's memory is full: what decodes pictures has been started by then."""

    def full(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(optim, "build", full)
    with pytest.raises(RuntimeError, match="out of memory") as error:
        train(recipe_of(colours, schedule=schedule(workers=1)), tmp_path / "out", progress=False)
    assert not multiprocessing.active_children(), error  # which keeps what the run held


def test_a_log_that_can_no_longer_be_written_ends_the_run(tmp_path: Path) -> None:
    """TensorBoard writes in a thread of its own, and to wait for one that is gone would be for ever."""
    with RunLog(tmp_path, 0) as log:
        log.write(1, {"loss": 1.0})
        log._board.file_writer.event_writer._worker.stop()
        with pytest.raises(VisearchError, match="tensorboard: can no longer be written; is the disk full"):
            log.write(2, {"loss": 1.0})


def test_a_run_is_not_written_over(colours: Data, tmp_path: Path) -> None:
    recipe = recipe_of(colours, schedule=schedule(steps_per_epoch=1))
    out = tmp_path / "out"
    train(recipe, out, progress=False)
    with pytest.raises(UsageError, match="holds a run already"):
        train(recipe, out, progress=False)
    with pytest.raises(UsageError, match=r"another recipe \(seed was different\)"):
        train(replace(recipe, seed=1), out, resume=True, progress=False)
    with pytest.raises(UsageError, match=r"another recipe \(schedule.rate was different\)"):
        train(replace(recipe, schedule=schedule(steps_per_epoch=1, rate=0.01)), out, resume=True, progress=False)
    assert train(recipe, out, resume=True, progress=False) == out / BEST  # done: nothing to do


def test_a_run_may_go_on_with_other_workers_and_another_card(colours: Data, tmp_path: Path) -> None:
    """Neither changes what is learnt."""
    recipe, out = recipe_of(colours, schedule=schedule(steps_per_epoch=1)), tmp_path / "out"
    train(recipe, out, progress=False)
    other = replace(recipe, card=Card(version="2"), schedule=schedule(steps_per_epoch=1, workers=1))
    assert train(other, out, resume=True, progress=False) == out / BEST


def test_a_run_goes_on_with_the_classes_and_the_processes_it_began_with(colours: Data, tmp_path: Path) -> None:
    recipe, out = recipe_of(colours, schedule=schedule(steps_per_epoch=1)), tmp_path / "out"
    train(recipe, out, progress=False)
    saved = checkpoint.load(out / LAST)
    assert saved.resume is not None
    of_two = replace(saved, resume={**saved.resume, "world": 2})
    (tmp_path / "two").mkdir()
    checkpoint.save(of_two, tmp_path / "two" / LAST)
    with pytest.raises(UsageError, match="a run of 2 processes, not of 1"):
        train(recipe, tmp_path / "two", resume=True, progress=False)
    (colours.path / "red").rename(tmp_path / "red")
    with pytest.raises(UsageError, match="head colour has other classes"):
        train(recipe, out, resume=True, progress=False)


@pytest.mark.parametrize("precision", ["float32", "fp16"])
def test_gradients_that_are_not_finite_stop_it(
    colours: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr(trainer, "MOST_LEFT_OUT", 2)  # of fp16, which looks for a scale that works
    recipe = recipe_of(colours, schedule=schedule(rate=1e30, backbone_rate=1e30, epochs=3, precision=precision))
    with pytest.raises(VisearchError, match="not finite at step"):
        train(recipe, tmp_path / "out", progress=False)


def test_the_speed_that_is_told_is_that_of_the_steps(
    colours: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def takes(seconds: float, done: Callable[..., Any]) -> Callable[..., Any]:
        def run(*values: Any) -> Any:
            nonlocal now
            now += seconds
            return done(*values)

        return run

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(optim, "set_rates", takes(1.0, optim.set_rates))  # once a step
    monkeypatch.setattr(validation, "validate", takes(100.0, validation.validate))
    # Epochs of 6 steps end between the lines, of which there is one every 10.
    recipe = recipe_of(colours, validation=colours.path, schedule=schedule(epochs=4))
    train(recipe, tmp_path / "out", progress=False)
    speeds = [row["images_per_second"] for row in rows(tmp_path / "out") if "losses" in row]
    assert len(speeds) == 3
    assert speeds == pytest.approx([recipe.schedule.batch] * 3)


def test_a_head_of_one_class_is_told_before_training(colours: Data, tmp_path: Path) -> None:
    only = replace(colours, where={"class": ("red",)})
    with pytest.raises(UsageError, match="head colour: all of its pictures are of one class, red"):
        train(recipe_of(only), tmp_path / "out", progress=False)


def test_a_validation_of_nothing_is_told_before_training(colours: Data, tmp_path: Path) -> None:
    nothing = Validation("none", colours.path, "class", where={"class": ("purple",)})
    with pytest.raises(UsageError, match=r"validation\.none"):
        train(replace(recipe_of(colours), validation=(nothing,)), tmp_path / "out", progress=False)
    other = folder_of_classes(tmp_path / "other", classes=("red",))
    nowhere = Validation("nowhere", colours.path, "class", corpus=other, exclude={"class": ("red",)})
    with pytest.raises(UsageError, match=r"validation\.nowhere: nothing that is searched"):
        train(replace(recipe_of(colours), validation=(nowhere,)), tmp_path / "out", progress=False)
    for picture_file in other.glob("red/*"):
        picture_file.write_bytes(b"no picture")
    gone = replace(nowhere, name="gone", exclude={})
    with pytest.raises(UsageError, match=r"validation\.gone: no picture can be used of 4; the first is .*png"):
        train(replace(recipe_of(colours), validation=(gone,)), tmp_path / "out", progress=False)


def test_what_validation_cannot_use_finds_nothing(colours: Data, tmp_path: Path) -> None:
    recipe = recipe_of(colours)
    good, broken = colours.path / "red" / "0.png", tmp_path / "broken.png"
    broken.write_bytes(good.read_bytes()[:90])
    places = [(good, WHOLE), (broken, WHOLE), (good, (0.0, 0.0, 0.01, 0.01))]  # less than half a pixel
    model = Unified(recipe.backbone, recipe.embedding)
    vectors = validation.embed(model, places, validation.card_of(recipe), torch.device("cpu"))
    assert [bool(vector.any()) for vector in vectors] == [True, False, False]


def test_pictures_that_cannot_be_decoded_are_reported(
    colours: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = colours.path / "red" / "photo.jpg"
    picture("red", seed=1).save(broken)
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) * 2 // 3])  # its header is whole
    train(recipe_of(colours), tmp_path / "out")
    [told] = [row["unreadable"] for row in rows(tmp_path / "out") if "unreadable" in row]
    assert list(told) == [str(broken)]
    assert "1 pictures could not be decoded" in capsys.readouterr().err


# Optimizer


def test_rates_fall_layer_by_layer_and_norms_do_not_decay() -> None:
    recipe = recipe_of(Data("x", Path("x")), retention=Retention(layer_decay=0.5))
    model = Unified(recipe.backbone, recipe.embedding)
    optimizer = optim.build(model, recipe)
    rates = {id(p): group["full_rate"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    layers = model.backbone_layers()
    for above, (_, value) in enumerate(layer[0] for layer in reversed(layers)):
        assert rates[id(value)] == pytest.approx(recipe.schedule.backbone_rate * 0.5**above)
    assert {rates[id(value)] for _, value in model.new_parameters()} == {recipe.schedule.rate}
    decayed = {p.ndim for group in optimizer.param_groups for p in group["params"] if group["weight_decay"]}
    assert min(decayed) > 1


def test_the_course_of_the_rates() -> None:
    stepped = optim.Course(recipe_of(schedule=schedule(warm_epochs=1, epochs=6, decay="step", decay_every=2.0)), 100)
    assert stepped.total == 700
    assert [round(stepped.factor(step), 6) for step in (50, 150, 299, 300, 499, 500, 699)] == [
        1,
        0.85,
        1,
        0.1,
        0.1,
        0.01,
        0.01,
    ]
    cosine = optim.Course(recipe_of(schedule=schedule(warm_epochs=0, epochs=4, decay="cosine")), 100)
    assert cosine.factor(200) == pytest.approx(0.5)
    assert cosine.factor(399) < 1e-4
    assert max(map(cosine.factor, range(400))) <= 1


# Checkpoints


def test_a_soup_is_the_mean(colours: Data, tmp_path: Path) -> None:
    recipe = recipe_of(colours, schedule=schedule(steps_per_epoch=2))
    many = [trained(replace(recipe, seed=seed), tmp_path / str(seed)) for seed in range(2)]
    soup = checkpoint.soup([tmp_path / str(seed) / LAST for seed in range(2)])
    torch.testing.assert_close(
        soup["projection.weight"], (many[0]["projection.weight"] + many[1]["projection.weight"]) / 2
    )
    model, saved = checkpoint.load_model(tmp_path / "0" / BEST)
    assert not model.training
    assert saved.step == 2
    assert all(torch.equal(value, saved.weights[name]) for name, value in model.state_dict().items())


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with pytest.raises(UsageError, match="cannot be read"):
        checkpoint.load(path)
    path.write_bytes(b"not at all")
    with pytest.raises(UsageError, match="not a checkpoint"):
        checkpoint.load(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(UsageError, match="not a checkpoint"):
        checkpoint.load(path)
    torch.save({"format": 99}, path)
    with pytest.raises(UsageError, match="another version"):
        checkpoint.load(path)
    torch.save({"format": 1, "recipe": Path("an object")}, path)  # reading it would run its code
    with pytest.raises(UsageError, match="not a checkpoint"):
        checkpoint.load(path)
