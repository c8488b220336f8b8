"""Recipes: TOML files that become dataclasses, and every mistake in one line before anything runs."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pictures import save_all
from training import recipe
from training.recipe import Backbone, Card, Data, Embedding, Proxies, Recipe, Retention, Schedule, Validation
from training.tables import override
from visearch.errors import UsageError

OWN = """
[backbone]
name = "test_resnet"

[[data]]
name = "shoes"
path = "shoes"
heads = { kind = "class" }
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A person's recipe beside their folder of classes."""
    for number, name in enumerate(("boot", "clog")):
        save_all(tmp_path / "shoes" / name, range(3 * number, 3 * number + 3))
    return write(tmp_path, OWN)


def write(folder: Path, text: str, name: str = "own.toml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_a_folder_of_classes_of_ones_own_is_a_recipe_of_under_15_lines(own: Path) -> None:
    from training import data

    assert len(OWN.strip().splitlines()) < 15
    made = recipe.load(own)
    recipe.check(made)
    assert made.name == "own", "the file's name, where it says none"
    assert made.schedule == Schedule(), "what it does not say is as published"
    assert data.read(made).classes == {"kind": ("boot", "clog")}


def test_every_table_and_kind_of_value_is_read(tmp_path: Path) -> None:
    for name in ("weights.pth", "shoes.csv", "rooms.jsonl", "never.txt"):
        (tmp_path / name).write_text("a\n b \n\n")
    file = write(
        tmp_path,
        """
        name = "all of it"
        seed = 7
        [backbone]
        name = "resnet18"
        weights = "weights.pth"
        options = { drop_path_rate = 0.1, pad_type = "same" }
        identity = ["layer4.1.act2"]
        [embedding]
        dim = 64
        groups = 8
        head = "normalized"
        [[data]]
        name = "shoes"
        path = "shoes.csv"
        heads = { kind = "class", product = "sku" }
        where = { split = "train", size = [40, 41] }
        exclude = { class = "never.txt", broken = true }
        unseen = ["never.txt"]
        weight = 2
        [[data]]
        name = "rooms"
        path = "rooms.jsonl"
        format = "scenes"
        min_area = 0.01
        [schedule]
        epochs = 3
        rate = 1
        compile = true
        [[validation]]
        name = "val"
        queries = "shoes.csv"
        label = "class"
        where = { split = "val" }
        limit = 10
        [card]
        training_data = ["shoes (CC0)"]
        """,
    )
    made = recipe.load(file)
    assert made == Recipe(
        name="all of it",
        seed=7,
        backbone=Backbone(
            "resnet18",
            weights=tmp_path / "weights.pth",
            options={"drop_path_rate": 0.1, "pad_type": "same"},
            identity=("layer4.1.act2",),
        ),
        embedding=Embedding(dim=64, groups=8, head="normalized"),
        data=(
            Data(
                "shoes",
                tmp_path / "shoes.csv",
                heads={"kind": "class", "product": "sku"},
                where={"split": ("train",), "size": ("40", "41")},
                exclude={"class": ("a", "b"), "broken": ("true",)},
                unseen=(tmp_path / "never.txt",),
                weight=2.0,
            ),
            Data("rooms", tmp_path / "rooms.jsonl", format="scenes", min_area=0.01),
        ),
        schedule=Schedule(epochs=3.0, rate=1.0, compile=True),
        validation=(Validation("val", tmp_path / "shoes.csv", "class", where={"split": ("val",)}, limit=10),),
        card=Card(training_data=("shoes (CC0)",)),
    )
    assert isinstance(made.schedule.rate, float), "a whole number where a fraction may stand"


MISTAKES = [
    ("[schedule]\nrat = 1", "schedule.rat: no such key; did you mean rate?"),
    ("[scheduel]", "scheduel: no such key; did you mean schedule?"),
    ("[card]\nzzz = 1", "card.zzz: no such key; there are name, version, license, training_data"),
    ("[schedule]\nbatch = 0", "schedule.batch: 0 is not 1 or more"),
    ("[schedule]\nbatch = 2.5", "schedule.batch: 2.5 is not a whole number"),
    ("[schedule]\nbatch = true", "schedule.batch: true is not a whole number"),
    ("[schedule]\nrate = '1'", 'schedule.rate: "1" is not a number'),
    ("[schedule]\nrate = nan", "schedule.rate: nan is not 0 or more"),
    ("[schedule]\ncompile = 1", "schedule.compile: 1 is not true or false"),
    ("[schedule]\noptimizer = 'adam'", 'schedule.optimizer: "adam" is not one of "sgd", "adamw"'),
    ("[schedule]\ndecay_every = 0", "schedule.decay_every: 0 is not 1e-06 or more"),
    ("[embedding]\ndropout = 1.5", "embedding.dropout: 1.5 is not between 0 and 1"),
    ("[card]\nlicense = 4", "card.license: 4 is not a text"),
    ("[card]\ntraining_data = 'x'", 'card.training_data: "x" is not a list'),
    ("[validation]\nname = 'v'", "validation: {'name': 'v'} is not a list; write [[validation]]"),
    ("[[validation]]\nname = 'v'\nlabel = 'l'", "validation.v: `queries` is missing"),
    ("[[validation]]\nqueries = 'q.csv'", "validation[1]: `name` is missing"),
    ("[[data]]\nname = 'b'\npath = 'gone'", "data.b.path: {folder}/gone: no such file or folder"),
    ("[[data]]\nname = 'b'\npath = ''", 'data.b.path: "" is not a path'),
    ("[[data]]\nname = 'b'\npath = '$NOT_SET_1/x'", "data.b.path: the environment variable NOT_SET_1 is not set"),
    (
        "[[data]]\nname = 'b'\npath = '${NOT_SET_1:-gone}'",
        "data.b.path: {folder}/gone: no such file or folder (written ${NOT_SET_1:-gone})",
    ),
    ("[[data]]\nname = 'b'\npath = '.'\nheads = 'x'", 'data.b.heads: "x" is not a table, as in { column = "value" }'),
    ("[[data]]\nname = 'b'\npath = '.'\nheads = { x = 1 }", "data.b.heads.x: 1 is not a text"),
    ("[[data]]\nname = 'b'\npath = '.'\nformat = 'xml'", 'data.b.format: "xml" is not one of "", "folder", '),
    ("[[data]]\nname = 'b'\npath = '.'\nexclude = { class = 'no.txt' }", "data.b.exclude.class: {folder}/no.txt: no "),
    ("[[data]]\nname = 'b'\npath = '.'\nwhere = { class = [[1]] }", "data.b.where.class: [1] is not a value that a "),
    ("schedule = 3", "schedule: 3 is not a table"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_a_mistake_is_one_line_with_file_and_key(own: Path, text: str, message: str) -> None:
    """`{folder}` in a message is the recipe's folder."""
    own.write_text(f"{text}\n{OWN}" if "=" in text.split("\n", maxsplit=1)[0] else f"{OWN}\n{text}\n")
    with pytest.raises(UsageError) as error:
        recipe.load(own)
    assert error.value.message.startswith(f"{own}: " + message.replace("{folder}", str(own.parent)))
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_recipe_is_said(own: Path, tmp_path: Path) -> None:
    own.write_text("[backbone\n")
    cases = {
        str(own): f"{own}: not TOML (",
        str(tmp_path / "gone.toml"): f"{tmp_path / 'gone.toml'}: cannot be read (No such file",
        "unifeid": f"unifeid: no such recipe; name a .toml file or one of {', '.join(SHIPPED)}",
    }
    for name, message in cases.items():
        with pytest.raises(UsageError) as error:
            recipe.load(name)
        assert error.value.message.startswith(message)
    own.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        recipe.load(own)
    own.write_text("name = 'x'")
    with pytest.raises(UsageError, match="`backbone` is missing"):
        recipe.load(own)


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"embedding.dim": 100, "embedding.groups": 0}, "embedding.dim: 100 is not a multiple of 8"),
    ({"embedding.dim": 64, "embedding.groups": 48}, "embedding.dim: 64 is not a multiple of embedding.groups (48)"),
    ({"embedding.dim": 64, "embedding.groups": 64}, "embedding.groups: groups of one number are all 0"),
    ({"embedding.dropout": 1}, "embedding.dropout: 1 drops everything"),
    ({"backbone.pretrained": True, "backbone.weights": "."}, "backbone: give pretrained = true or weights, not both"),
    ({"data.shoes.heads": {}}, "data: no data set feeds a head"),
    ({"schedule.epochs": 0, "schedule.warm_epochs": 0}, "schedule: epochs and warm_epochs are both 0"),
    ({"schedule.ema": 1.0}, "schedule.ema: a decay of 1 never moves"),
    ({"retention.distill": 1.0}, "retention.distill_on: no data set is unlabelled"),
    (
        {"validation": [{"name": "v", "queries": "own.toml", "label": "class", "unseen_by": "sort"}]},
        "validation.v.unseen_by: no data set feeds a head sort",
    ),
    ({"data": [{"name": "a", "path": ".", "heads": {"a": "class"}}] * 2}, "data: two entries are named a"),
    ({"schedule.compile": True, "schedule.balance": "gradnorm"}, "schedule.balance: gradnorm looks into the network"),
]


@pytest.mark.parametrize(("overrides", "message"), CONTRADICTIONS, ids=[message[:40] for _, message in CONTRADICTIONS])
def test_what_contradicts_itself_is_found_before_anything_runs(
    own: Path, overrides: dict[str, Any], message: str
) -> None:
    recipe.check(recipe.load(own))
    with pytest.raises(UsageError) as error:
        recipe.check(recipe.load(own, overrides))
    assert error.value.message.startswith(f"recipe own: {message}")


def test_a_labelled_set_may_be_what_the_start_model_is_asked_about(own: Path) -> None:
    recipe.check(recipe.load(own, {"retention.distill": 1.0, "data.shoes.distill": True}))


def test_paths_are_relative_to_the_file_and_variables_to_where_one_is(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "shoes").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(tmp_path))

    def path_of(written: str) -> Path:
        return recipe.load(own, {"data.shoes.path": written}).data[0].path

    assert path_of("shoes") == tmp_path / "shoes"
    assert path_of("elsewhere/../shoes") == tmp_path / "shoes"
    assert path_of(str(elsewhere)) == elsewhere
    assert path_of("~/shoes") == tmp_path / "shoes"
    assert path_of("${PICTURES:-shoes}") == tmp_path / "shoes"
    monkeypatch.setenv("PICTURES", "shoes")
    assert path_of("$PICTURES") == path_of("${PICTURES:-gone}") == elsewhere / "shoes"
    monkeypatch.setenv("PICTURES", str(tmp_path))
    assert path_of("${PICTURES}/shoes") == tmp_path / "shoes"


def test_overrides_change_add_and_take_away(own: Path) -> None:
    made = recipe.load(
        own,
        {
            "seed": 3,
            "schedule.epochs": 2,
            "backbone.options.drop_rate": 0.5,
            "data.shoes.weight": 4,
            "data.shoes.where.class": ["boot"],
        },
    )
    assert (made.seed, made.schedule.epochs, made.backbone.options) == (3, 2.0, {"drop_rate": 0.5})
    assert (made.data[0].weight, made.data[0].where) == (4.0, {"class": ("boot",)})
    assert recipe.load(own, {"data.shoes": None}).data == ()
    assert recipe.load(own, {"backbone.name": "resnet18", "schedule": None}).backbone.name == "resnet18"
    for key, message in {
        "data.boots.weight": "no entry is named boots; there are shoes",
        "backbone.name.x": 'backbone: name.x: name is "test_resnet", not a table',
        "schedule.rats": "schedule.rats: no such key",
    }.items():
        with pytest.raises(UsageError, match=re.escape(message)):
            recipe.load(own, {key: 1})


def test_a_recipe_may_be_another_with_changes(own: Path, tmp_path: Path) -> None:
    save_all(tmp_path / "later" / "more" / "mule", range(6, 9))
    child = write(
        tmp_path / "later",
        """
        base = "../own.toml"
        [schedule]
        epochs = 2
        [[data]]
        name = "shoes"
        weight = 3
        [[data]]
        name = "more shoes"
        path = "more"
        heads = { kind = "class" }
        """,
        "child.toml",
    )
    changed = {"schedule.epochs": 2, "data.shoes.weight": 3}
    expected = recipe.load(own, changed)
    more = Data("more shoes", tmp_path / "later" / "more", heads={"kind": "class"})
    assert recipe.load(child) == dataclasses.replace(expected, name="child", data=(*expected.data, more)), (
        "each path relative to the file that it stands in"
    )
    grandchild = write(tmp_path, 'base = "later/child.toml"\nseed = 5', "grandchild.toml")
    assert recipe.load(grandchild, {"schedule.epochs": 7}).schedule.epochs == 7
    assert recipe.load(grandchild).seed == 5
    assert recipe.load(grandchild).data[1] == more
    write(tmp_path, 'base = "own.toml"\nvalidation = []\ndata = []', "emptied.toml")
    assert recipe.load(tmp_path / "emptied.toml").data == ()


def test_what_a_base_lacks_or_has_wrong_may_be_given(own: Path, tmp_path: Path) -> None:
    write(tmp_path, '[[data]]\nname = "shoes"\npath = "gone"\nexclude = { class = "gone.txt" }', "half.toml")
    child = write(
        tmp_path,
        """
        base = "half.toml"
        [backbone]
        name = "test_resnet"
        [[data]]
        name = "shoes"
        path = "shoes"
        heads = { kind = "class" }
        exclude = { class = "clog" }
        """,
        "child.toml",
    )
    assert recipe.load(child).data == recipe.load(own, {"data.shoes.exclude": {"class": "clog"}}).data


def test_texts_of_a_base_are_plain_texts(own: Path, tmp_path: Path) -> None:
    """Checkpoints hold them, which take no other."""
    own.write_text(
        OWN.replace('"test_resnet"', '"test_resnet"\noptions = { a = ["b", { c = "d" }] }\nidentity = ["e"]')
    )
    child = write(tmp_path, 'base = "own.toml"', "child.toml")
    plain = recipe.to_plain(recipe.load(child))
    kinds = {type(value) for value in leaves(plain)}
    assert kinds <= {str, int, float, bool}
    assert plain["backbone"]["options"] == {"a": ["b", {"c": "d"}]}


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    return [leaf for each in value for leaf in leaves(each)] if isinstance(value, list) else [value]


def test_the_base_of_a_recipe_may_be_one_that_ships(tmp_path: Path) -> None:
    child = write(tmp_path, 'base = "smoke"\n[schedule]\nepochs = 3')
    expected = recipe.load("smoke", {"schedule.epochs": 3})
    assert recipe.load(child) == dataclasses.replace(expected, name="own")


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ('"own.toml"', "base: own.toml has, in the end, this recipe as its own base"),
        ('"other.toml"', "base: own.toml has, in the end, this recipe as its own base"),
        ('"gone.toml"', "gone.toml: no such file or folder"),
        ('"gone"', "gone: no such recipe; name a .toml file or one of"),
        ("3", "base: 3 is not the name or path of a recipe"),
    ],
)
def test_a_base_that_cannot_be_one_is_a_line(tmp_path: Path, base: str, message: str) -> None:
    write(tmp_path, 'base = "own.toml"', "other.toml")
    with pytest.raises(UsageError, match=re.escape(message)):
        recipe.load(write(tmp_path, f"base = {base}"))


def test_a_mistake_names_the_file_and_its_base(own: Path, tmp_path: Path) -> None:
    child = write(tmp_path, 'base = "own.toml"\n[schedule]\nepoch = 1', "child.toml")
    with pytest.raises(UsageError, match=re.escape(f"{child} (base {own}): schedule.epoch: no such key")):
        recipe.load(child)
    own.write_text(OWN + "[schedule")
    with pytest.raises(UsageError, match=re.escape(f"{own}: not TOML")):
        recipe.load(child)
    write(tmp_path, 'base = "own.toml"' + 2 * '\n[[data]]\nname = "boots"\npath = "shoes"', "child.toml")
    own.write_text(OWN)
    with pytest.raises(UsageError, match="two entries are named boots"):
        recipe.check(recipe.load(child))


def test_an_entry_whose_name_holds_spaces_or_dots_can_be_overridden(own: Path) -> None:
    own.write_text(OWN.replace('"shoes"\npath', '"my shoes v1.2"\npath'))
    assert recipe.load(own, {"data.my shoes v1.2.weight": 3}).data[0].weight == 3
    own.write_text(own.read_text() + '[[data]]\nname = "my shoes v1"\npath = "shoes"')
    assert [each.name for each in recipe.load(own, {"data.my shoes v1.2": None}).data] == ["my shoes v1"]


texts = st.text(max_size=8)
columns = st.dictionaries(texts, st.lists(texts, max_size=3).map(tuple), max_size=2)
share = st.floats(0, 1)
recipes = st.builds(
    Recipe,
    name=texts,
    backbone=st.builds(
        Backbone,
        name=texts,
        weights=st.none() | st.just(Path("/a/b.pth")),
        options=st.dictionaries(texts, st.integers() | share | st.booleans() | texts, max_size=3),
        identity=st.lists(texts, max_size=2).map(tuple),
    ),
    data=st.lists(
        st.builds(
            Data,
            name=texts,
            path=st.sampled_from([Path("/a"), Path("/b c/d.csv")]),
            format=st.sampled_from(["", "scenes", "stl"]),
            heads=st.dictionaries(texts, texts, max_size=2),
            where=columns,
            exclude=columns,
            unseen=st.just((Path("/u.txt"),)),
            min_area=share,
            distill=st.booleans(),
            crop=st.none() | share,
            jitter=st.none() | share,
        ),
        max_size=3,
    ).map(tuple),
    embedding=st.builds(Embedding, dim=st.integers(1, 9999), relu=st.booleans(), dropout=share),
    proxies=st.builds(Proxies, optimizer=st.sampled_from(["sgd", "adam"])),
    retention=st.builds(Retention, distill=st.floats(0, 1e9), average=share),
    schedule=st.builds(Schedule, rate=st.floats(0, 10), optimizer=st.sampled_from(["sgd", "adamw"])),
    validation=st.lists(
        st.builds(Validation, name=texts, queries=st.just(Path("/q.csv")), label=texts, where=columns), max_size=2
    ).map(tuple),
    seed=st.integers(0, 2**40),
)


@given(recipes)
def test_a_checkpoint_holds_the_recipe_as_it_was(made: Recipe) -> None:
    """Through JSON and back nothing changes; the files it names need not be there any more."""
    assert recipe.from_plain(json.loads(json.dumps(recipe.to_plain(made)))) == made


@given(st.data())
def test_an_override_changes_that_value_and_no_other(data: st.DataObject) -> None:
    table = {"name": "x", "backbone": {"name": "b"}, "data": [], "schedule": {"epochs": 4}}
    section = data.draw(st.sampled_from(["schedule", "retention", "embedding"]))
    kind = {"schedule": Schedule, "retention": Retention, "embedding": Embedding}[section]
    key = data.draw(
        st.sampled_from([each.name for each in dataclasses.fields(kind) if each.type in {"Amount", "Share"}])
    )
    value = data.draw(share)
    before = recipe.from_plain(table)
    after = recipe.from_plain(override(table, {f"{section}.{key}": value}, "x"))
    expected = dataclasses.replace(before, **{section: dataclasses.replace(getattr(before, section), **{key: value})})
    assert after == expected
    assert table["schedule"] == {"epochs": 4}, "the table that is overridden stays as it was"


SHIPPED = ["paper", "smoke", "unified", "unified_settled", "vit"]


def test_the_recipes_that_ship_can_be_named() -> None:
    assert recipe.names() == SHIPPED


def text_with_bases(name: str) -> str:
    text = (recipe.SHIPPED / f"{name}.toml").read_text()
    base = tomllib.loads(text).get("base")
    return text + text_with_bases(base) if base else text


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_is_right_wherever_its_pictures_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every path of it goes through a variable, so that pictures may lie anywhere."""
    text = text_with_bases(name)
    variables = set(re.findall(r"\$\{?(\w+)", text))
    for variable in variables:
        monkeypatch.setenv(variable, str(tmp_path / variable))
    for written in re.findall(r'"(\$[^"]+)"', text):
        place = tmp_path / re.sub(r"\$(\{([^}:]+)[^}]*\}|(\w+))", lambda found: found[2] or found[3], written)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix:
            place.touch()
        else:
            place.mkdir(exist_ok=True)
    made = recipe.load(name)
    recipe.check(made)
    paths = [each.path for each in made.data] + [each.queries for each in made.validation]
    assert all(tmp_path in path.parents for path in paths)
    assert made.name == name


def test_the_recipe_as_published_is_as_published(tmp_path: Path) -> None:
    """arXiv 1908.01707 s4.1 and the setup in its appendix: rates are those of 8 GPUs."""
    table = tomllib.loads((recipe.SHIPPED / "paper.toml").read_text())
    for each in table["data"]:
        each["path"] = "/x"
    made = recipe.from_plain(table | {"name": "paper"})
    assert made.backbone.name == "seresnext101_32x4d"
    assert len({head for each in made.data for head in each.heads}) == 4
    assert (made.embedding.groups, made.embedding.relu, made.embedding.dropout) == (256, True, 0.5)
    schedule = made.schedule
    assert (schedule.rate, schedule.weight_decay, schedule.decay_every) == (0.08, 1e-4, 3)
    assert (schedule.warm_epochs, schedule.epochs, schedule.batch) == (1, 9, 64)
    assert made.proxies.sampled == 2048
    assert made.proxies.rate == pytest.approx(10 * schedule.rate)


def test_the_smoke_recipe_needs_nothing_but_the_repository() -> None:
    from training import data

    made = recipe.load("smoke")
    recipe.check(made)
    read = data.read(made)
    assert read.skipped == ()
    assert not made.backbone.pretrained, "no download"


def test_without_the_repository_the_smoke_recipe_says_which_path_it_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISEARCH_HOMESTORE_DEMO", str(tmp_path / "gone"))
    with pytest.raises(UsageError) as error:
        recipe.load("smoke")
    assert str(tmp_path / "gone" / "catalog.jsonl") in error.value.message
    assert "VISEARCH_HOMESTORE_DEMO" in error.value.message
