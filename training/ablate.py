"""What each choice is worth: the rows of the paper's tables (arXiv 1908.01707) on our tasks, and of our own questions.

A row is a change to a recipe. Every row trains for the same number of steps on the same pictures, without validation
(the last step counts), is exported, and measured on the tasks of tasks.py. It has a folder of its own:

    <out>/<row>/recipe.json   what was trained
                last.pt, log.jsonl   the run, to go on from where it was stopped
                model.onnx    what was measured
                results.npz   every query's measures
                metrics.json  the figures; written last: a row that has it is done and not done again
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training import recipe, retrieval, tasks
from visearch.embedder import Embedder
from visearch.errors import UsageError, VisearchError
from visearch.files import write_durably

if TYPE_CHECKING:
    from training.checkpoint import Weights
    from training.recipe import Embedding, Recipe

METRICS, RESULTS, MODEL, PLAN, RECIPE = "metrics.json", "results.npz", "model.onnx", "plan.json", "recipe.json"
CODE_LENGTHS = (64, 128, 256, 512, 1024, 2048)
PACE_STEPS = 40

BASELINE, UNIFIED = "imagenet", "unified"


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: of its folder, and for `--rows`.
        table: the title of the table it stands in.
        title: what it is, for readers.
        changes: recipe values by dotted key, as `recipe.load` takes them.
        trained: False for the backbone as it was before training.
        made_from: rows whose weights are averaged in place of training.
        share: with one row in `made_from`, the share of its end in the average; the rest are its weights after the warm
            start.
    """

    name: str
    table: str
    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = True
    made_from: tuple[str, ...] = ()
    share: float = 1.0


EMBEDDING = "The embedding"
BALANCE = "Balance of data sets and losses"
ALONE = "Specialised embeddings: one task alone"
LENGTH = "Length of the code"
FORGETTING = "Against forgetting"


def rows(base: Recipe) -> tuple[Row, ...]:
    """All rows for a recipe; those that change nothing in it, and those made from such a row, are left out."""
    published = _changes(recipe.published("normalized", base.embedding))
    dropout = _changes(recipe.published("softmax", base.embedding))
    relu = dropout | {"embedding.dropout": 0.0}
    plain = relu | {"embedding.relu": False}
    lower = {"schedule.backbone_rate": base.schedule.backbone_rate / 10}
    distill_all: dict[str, Any] = {"retention.distill_on": "all"} if base.retention.distill else {}
    less: dict[str, Any] = {f"data.{data.name}": None for data in base.data if not data.heads}
    less |= distill_all if less else {}
    every = (
        Row(BASELINE, EMBEDDING, "ImageNet backbone, random projection: untrained", trained=False),
        Row("normalized", EMBEDDING, "LayerNorm and normalised softmax (1811.12649)", published),
        Row("signs", EMBEDDING, "+ half of the pictures seen in binary", published | {"embedding.binary": 0.5}),
        Row("groupnorm", EMBEDDING, "softmax and GroupNorm", plain),
        Row("relu", EMBEDDING, "softmax, GroupNorm and ReLU", relu),
        Row("dropout", EMBEDDING, "softmax, GroupNorm, ReLU and dropout (1908.01707)", dropout),
        Row(UNIFIED, EMBEDDING, "the recipe as it is"),
        Row("proportional", BALANCE, "no balancing: data sets by their sizes", {"schedule.mix": "proportional"}),
        Row("uniform", BALANCE, "as much of each data set", {"schedule.mix": "uniform"}),
        Row("gradnorm", BALANCE, "GradNorm", {"schedule.balance": "gradnorm"}),
        *(_alone(base, sets) for sets in families(base)),
        *(_length(bits, base) for bits in CODE_LENGTHS),
        Row("no_distillation", FORGETTING, "no distillation", {"retention.distill": 0.0}),
        Row("distill_all", FORGETTING, "distillation on all pictures", distill_all),
        Row("less_varied", FORGETTING, "less varied: no unlabelled pictures, distillation on all others", less),
        Row("low_rate", FORGETTING, "a tenth of the backbone's rate", lower),
        Row("layer_decay", FORGETTING, "rates that fall by 0.8 a layer", {"retention.layer_decay": 0.8}),
        *(_average(UNIFIED, f"average_{share}", "", share) for share in (30, 50, 70, 100)),
        *(_average("no_distillation", f"plain_average_{share}", "no distillation, ", share) for share in (50, 100)),
        Row("seed", FORGETTING, "unified, another seed: how much chance there is in a run", {"seed": base.seed + 1}),
        Row(
            "soup",
            FORGETTING,
            "mean of unified, the lower rate and the falling rates: runs of one start",
            made_from=(UNIFIED, "low_rate", "layer_decay"),
        ),
    )
    kept = [row for row in every if row.name == UNIFIED or not _changes_nothing(row, base)]
    fixed = set() if base.embedding.projection else {"embedding.dim"}  # as many as the backbone has features
    if base.begin is not None:  # a run goes on with the layers that it had
        fixed = {"embedding.dim", "embedding.groups"}
    own = recipe.to_plain(base)
    kept = [row for row in kept if all(row.changes[key] == _at(own, key) for key in fixed & row.changes.keys())]
    names = {row.name for row in kept}
    return tuple(row for row in kept if names.issuperset(row.made_from))


def _changes(embedding: Embedding) -> dict[str, Any]:
    return {f"embedding.{key}": getattr(embedding, key) for key in ("head", "groups", "relu", "dropout", "binary")}


def families(base: Recipe) -> list[tuple[str, ...]]:
    """The names of the labelled data sets that belong together, because they feed a head in common."""
    found: list[tuple[set[str], list[str]]] = []
    for data in base.data:
        if data.heads:
            joined = [each for each in found if each[0] & data.heads.keys()]
            heads = set(data.heads).union(*(each[0] for each in joined))
            names = [name for each in joined for name in each[1]] + [data.name]
            found = [each for each in found if each not in joined] + [(heads, names)]
    return [tuple(names) for _, names in found]


def _alone(base: Recipe, sets: tuple[str, ...]) -> Row:
    """Only these labelled data sets, and the unlabelled ones at the share of a batch that they have in the base."""
    changes: dict[str, Any] = {f"data.{data.name}": None for data in base.data if data.heads and data.name not in sets}
    if changes and base.schedule.mix != "proportional":  # there the sizes of the sets are their shares
        weights = {data.name: data.weight if base.schedule.mix == "weighted" else 1.0 for data in base.data}
        left = sum(weights[name] for name in sets) / sum(weights[data.name] for data in base.data if data.heads)
        changes["schedule.mix"] = "weighted"
        for data in base.data:
            if f"data.{data.name}" not in changes:
                changes[f"data.{data.name}.weight"] = weights[data.name] * (1.0 if data.heads else left)
    name = "only_" + sets[0].replace(" ", "_")
    return Row(name, ALONE, f"only {', '.join(sets)}", changes)


def _length(bits: int, base: Recipe) -> Row:
    changes = {"embedding.dim": bits}
    if base.embedding.groups:
        changes["embedding.groups"] = bits // recipe.BITS_A_GROUP
    return Row(f"bits_{bits}", LENGTH, f"{bits} bits", changes)


def _average(of: str, name: str, what: str, share: int) -> Row:
    title = f"{what}average: {share}% of the end, the rest of the warm start"
    if share == 100:
        title = f"{what}no average: the end alone"
    return Row(name, FORGETTING, title, made_from=(of,), share=share / 100)


def _changes_nothing(row: Row, base: Recipe) -> bool:
    """Whether a row has the values of the base already, or is an average as the base has it."""
    if row.made_from:
        return len(row.made_from) == 1 and row.share == base.retention.average
    if not row.trained:
        return False
    plain = recipe.to_plain(base)
    return all(value == _at(plain, key) for key, value in row.changes.items())


def _at(table: Any, key: str) -> Any:
    first, _, rest = key.partition(".")
    if isinstance(table, list):  # of data sets, which go by their names
        return next((each for each in table if each["name"] == key), None)
    return _at(table.get(first, {}), rest) if rest else table.get(first)


# Running


def run(
    out: Path,
    base: str = UNIFIED,
    *,
    names: Sequence[str] = (),
    minutes: float = 40.0,
    steps: int = 0,
    sources: tasks.Sources | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Train and measure rows that are not done; returns those that are.

    Args:
        out: the folder of all rows; what is done there stays done.
        base: the recipe that rows change: a name or a path.
        names: of the rows wanted (and of those they are made from); none is all.
        minutes: about how long a row trains. The first run measures the pace and fixes the steps for all rows.
        steps: so many steps a row, in place of that.
        sources: where the data of the tasks is; None is where the environment says.
        say: called with a line about each thing that is done.

    Raises:
        UsageError: an unknown row, or `out` holds rows of another recipe or number of steps.
    """
    start = recipe.load(base)
    every = {row.name: row for row in rows(start)}
    wanted = _with_needed(every, names)
    suite, unavailable = tasks.build(sources or tasks.Sources.found(tasks.installed_detector()))
    for family, reason in unavailable.items():
        say(f"not measured: {family}: {reason}")
    if not suite:
        raise VisearchError("there is no data for any task; VISEARCH_SHARED names the folder of data sets")
    for row in wanted:
        recipe.check(_recipe(base, row.changes, row.name, PACE_STEPS))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be made ({error.strerror})") from None
    planned = _plan(out, base, start, minutes, steps, say)
    for number, row in enumerate(wanted, 1):
        place = f"{number}/{len(wanted)} {row.name} ({row.title})"
        if is_done(out, row):
            say(f"{place}: done before")
            continue
        say(f"{place}: begun")
        say(f"{place}: {_do(out, row, base, planned, suite)}")
    return [row for row in every.values() if is_done(out, row)]


def is_done(out: Path, row: Row) -> bool:
    """Whether the row was trained and measured."""
    return (out / row.name / METRICS).exists()


def _with_needed(every: Mapping[str, Row], names: Iterable[str]) -> list[Row]:
    """The rows of these names, each after those that it is made from."""
    found: dict[str, Row] = {}
    for name in names or every:
        if name not in every:
            raise UsageError(f"no row {name}; there are {', '.join(every)}")
        for needed in (*every[name].made_from, name):
            found[needed] = every[needed]
    return list(found.values())


def _plan(out: Path, base: str, start: Recipe, minutes: float, steps: int, say: Callable[[str], None]) -> int:
    """Steps of every row: those of the rows that are there already, or as many as are done in the minutes given."""
    file, plain = out / PLAN, recipe.to_plain(start)
    if file.exists():
        plan = json.loads(file.read_text(encoding="utf-8"))
        if recipe.from_plain(plan["recipe"]) != start or steps not in (0, plan["steps"]):
            raise UsageError(f"{out} holds rows of another recipe or number of steps; name another folder (--out)")
        return int(plan["steps"])
    if not steps:
        pace = _pace(base)
        steps = max(PACE_STEPS, round(60 * minutes * pace / start.schedule.batch))
        say(f"{pace:.0f} images/s: {steps} steps a row")
    write_durably(file, json.dumps({"steps": steps, "recipe": plain}, indent=1).encode())
    return steps


def _pace(base: str) -> float:
    """Images a second, measured end to end."""
    from training.runlog import LOG
    from training.trainer import train

    with tempfile.TemporaryDirectory() as folder:
        train(_recipe(base, {}, "pace", PACE_STEPS), Path(folder), progress=False)
        lines = (Path(folder) / LOG).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]  # a row of fewer steps than others, at the end, would tell less
    return float([row["images_per_second"] for row in rows if "losses" in row and row["step"] <= PACE_STEPS][-1])


def _recipe(base: str, changes: Mapping[str, Any], name: str, steps: int) -> Recipe:
    """The recipe of a row: the base's share of warm start, `steps` in all, no validation."""
    start = recipe.load(base)
    epochs = start.schedule.warm_epochs + start.schedule.epochs
    common = {"validation": None, "schedule.steps_per_epoch": max(1, round(steps / epochs))}
    read = recipe.load(base, common | dict(changes))
    return replace(read, name=f"{start.name}-{name}", card=replace(read.card, name=""))  # each model by its own name


def _do(out: Path, row: Row, base: str, steps: int, suite: Sequence[retrieval.Task]) -> str:
    """Train (or average), export, measure; returns a line about it."""
    from training import checkpoint
    from training.export import export

    folder = out / row.name
    folder.mkdir(exist_ok=True)
    began = time.monotonic()
    if not (folder / MODEL).exists():
        export(_checkpoint(out, row, base, steps), folder / MODEL)
    trained = time.monotonic()
    model = Embedder(folder / MODEL)
    results = retrieval.measure_all(suite, retrieval.embed_with(model))
    retrieval.save(results, folder / RESULTS)
    figures = {
        "row": row.name,
        "title": row.title,
        "table": row.table,
        "steps": checkpoint.load(folder / checkpoint.BEST).step,
        "bits": model.card.embedding_dim,
        "minutes": round((trained - began) / 60, 1),
        "sha256": model.sha256,
        "tasks": {name: result.to_json() for name, result in results.items()},
    }
    write_durably(folder / METRICS, (json.dumps(figures, indent=1) + "\n").encode())
    if not any(row.name in other.made_from for other in rows_by_name(base).values()):
        (folder / "last.pt").unlink(missing_ok=True)  # three times the size of the model
    return f"trained in {(trained - began) / 60:.1f} minutes, measured in {(time.monotonic() - trained) / 60:.1f}"


def _checkpoint(out: Path, row: Row, base: str, steps: int) -> Path:
    """The row's checkpoint: trained, averaged, or of the model before training."""
    from training import checkpoint
    from training.retention import interpolate
    from training.trainer import train

    folder = out / row.name
    changes = row.changes
    if row.made_from:
        changes = rows_by_name(base)[row.made_from[0]].changes
    read = _recipe(base, changes, row.name, steps)
    write_durably(folder / RECIPE, (json.dumps(recipe.to_plain(read), indent=1) + "\n").encode())
    if row.trained and not row.made_from:
        return train(read, folder, resume=True)
    weights: Weights
    if not row.trained:
        weights = _untrained(read)
    elif len(row.made_from) == 1:
        state = checkpoint.load(out / row.made_from[0] / checkpoint.LAST).resume
        assert state is not None, "the last checkpoint of a run can always be gone on from"
        end = state["average"] or state["model"]
        weights = interpolate(state["warm_weights"], end, row.share) if state["warm_weights"] else end
    else:
        weights = checkpoint.soup([out / name / checkpoint.BEST for name in row.made_from])
    path = folder / checkpoint.BEST
    checkpoint.save(checkpoint.Checkpoint(recipe.to_plain(read), 0, 0.0, {}, {}, weights), path)
    return path


def rows_by_name(base: str) -> dict[str, Row]:
    """The rows of a recipe by their names."""
    return {row.name: row for row in rows(recipe.load(base))}


def _untrained(read: Recipe) -> Weights:
    import torch

    from training.model import Unified

    torch.manual_seed(read.seed)
    return dict(Unified(read.backbone, read.embedding).state_dict())
