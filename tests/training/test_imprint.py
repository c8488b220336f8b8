"""Imprinted proxies stand where their classes are before anything was learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from tests.training.tiny_run import folder_of_classes, recipe_of
from training import data, validation
from training.checkpoint import LAST, load
from training.distributed import Process
from training.imprint import PICTURES, imprint
from training.model import Unified
from training.proxies import ProxyBank
from training.recipe import Data, Proxies, Recipe
from training.trainer import train

ALONE = Process(0, 1, torch.device("cpu"))


def colours(folder: Path, each: int = 4) -> Recipe:
    return recipe_of(Data("colours", folder_of_classes(folder, each), heads={"colour": "class"}))


def start(recipe: Recipe) -> tuple[dict[str, ProxyBank], Unified, data.TrainingData]:
    torch.manual_seed(0)
    pictures = data.read(recipe)
    banks = {
        head: ProxyBank(len(names), recipe.embedding, recipe.proxies, np.random.default_rng(0))
        for head, names in pictures.classes.items()
    }
    return banks, Unified(recipe.backbone, recipe.embedding), pictures


def test_a_proxy_is_the_direction_of_its_class_from_the_mean_of_all(tmp_path: Path) -> None:
    recipe = colours(tmp_path, each=PICTURES)
    banks, model, pictures = start(recipe)
    imprint(banks, model, pictures, recipe, ALONE)
    means = []
    for name in pictures.classes["colour"]:
        places = [(each.path, each.box) for each in pictures.sets[0].samples if each.labels["colour"] == name]
        embeddings = validation.embed(model, places, validation.card_of(recipe), ALONE.device)
        means.append(np.maximum(embeddings, 0).mean(axis=0))
    away = np.array(means) - np.mean(means, axis=0)
    wanted = away / np.linalg.norm(away, axis=1, keepdims=True)
    assert np.allclose(banks["colour"].weight.numpy(), wanted, atol=1e-5)


def test_the_first_answers_are_right_before_anything_is_learnt(tmp_path: Path) -> None:
    recipe = colours(tmp_path, each=8)
    banks, model, pictures = start(recipe)
    imprint(banks, model, pictures, recipe, ALONE)
    samples = pictures.sets[0].samples
    places = [(each.path, each.box) for each in samples]
    activations = model.activation(
        torch.from_numpy(validation.embed(model, places, validation.card_of(recipe), ALONE.device))
    )
    said = (activations @ banks["colour"].weight.T).argmax(dim=1).tolist()
    names = pictures.classes["colour"]
    assert [names[place] for place in said] == [each.labels["colour"] for each in samples]


def test_a_class_without_a_usable_picture_keeps_its_random_proxy(tmp_path: Path) -> None:
    recipe = colours(tmp_path)
    banks, model, pictures = start(recipe)
    for path in (tmp_path / "green").iterdir():
        path.write_bytes(path.read_bytes()[:60])
    before = banks["colour"].weight.clone()
    imprint(banks, model, pictures, recipe, ALONE)
    changed = (banks["colour"].weight != before).any(dim=1).tolist()
    assert dict(zip(pictures.classes["colour"], changed, strict=True)) == {"blue": True, "green": False, "red": True}


def test_a_recipe_asks_for_it_and_a_run_that_goes_on_keeps_what_it_learnt(tmp_path: Path) -> None:
    recipe = replace(colours(tmp_path / "pictures"), proxies=Proxies(imprint=True, rate=1e-9))
    train(recipe, tmp_path / "run", progress=False)
    state = load(tmp_path / "run" / LAST).resume
    assert state is not None
    learnt = state["banks"]["colour"]["weight"]
    banks, model, pictures = start(recipe)
    torch.manual_seed(recipe.seed)
    model = Unified(recipe.backbone, recipe.embedding)
    imprint(banks, model, pictures, recipe, ALONE)
    assert torch.allclose(learnt, banks["colour"].weight, atol=1e-3)
