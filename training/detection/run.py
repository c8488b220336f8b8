"""The training loop of the detector, to be read from top to bottom. `visearch train --detector` runs it.

As in training/trainer.py, every step is a function of (seed, step), so a run that was killed goes on as if it had not
been.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event

import torch
from torch import Tensor, nn

from training import checkpoint, cpu, distributed
from training.checkpoint import BEST, DETECTOR, LAST, Checkpoint
from training.detection import export, loss, measure, scenes
from training.detection.model import Network, start_network, take_over
from training.detection.recipe import DetectorRecipe, Schedule, check
from training.detection.scenes import Scene
from training.detection.views import Views
from training.recipe import to_plain
from training.revision import revision
from training.runlog import DATA, Bar, RunLog, progress_bar
from training.trainer import AUTOCAST, LOG_STEPS, interruptible, moving_average, saved_run, weights_of
from visearch.errors import UsageError, VisearchError

LAST_RATE = 0.02  # share of the full rate that the cosine ends at
LEAST_BIAS = 0.1
LEAST_CHANNEL = 1e-3  # share of its layer: a channel of smaller weights (of a new label: none) learns as the layer does


def train(recipe: DetectorRecipe, out: Path, *, resume: bool = False, progress: bool = True) -> Path:
    """Train a detector; returns the path of the best checkpoint. Arguments, folder and errors as of `trainer.train`;
    one process trains it, so UsageError where torchrun started several."""
    if distributed.world_size() > 1:
        raise UsageError("a detector is trained by one process; start it without torchrun")
    with interruptible() as interrupted, ExitStack() as ending:
        return _train(recipe, out, resume, progress, interrupted, ending)


def _train(
    recipe: DetectorRecipe, out: Path, resume: bool, progress: bool, interrupted: Event, ending: ExitStack
) -> Path:
    schedule = recipe.schedule
    check(recipe)
    saved, code = saved_run(recipe, out, resume), revision()
    step = saved.step if saved else 0
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    # Data
    sets = {each.name: scenes.read(each, recipe) for each in recipe.data}
    held = {each.name: scenes.read(each, recipe) for each in recipe.validation}
    cutouts = scenes.read_cutouts(recipe.views.products, recipe) if recipe.views.products else ()
    start, names = start_network(recipe.start) if recipe.start else (None, ())
    labels = scenes.labels_of(recipe, names, sets, cutouts)
    if saved and tuple(saved.classes["label"]) != labels:
        raise UsageError(f"{out}: other labels than when the run began; put its data sets back, or name another folder")
    report = data_report(recipe, sets, held, labels)
    (out / DATA).write_text(report)
    known = known_labels(recipe, labels).to(device)
    # Before the model is there: workers are forks, and would keep the memory as it was.
    coming = Views(recipe, tuple(sets.values()), labels, cutouts).iterate(step)
    ending.enter_context(closing(coming))

    # Model
    if device.type == "cpu":
        cpu.prepare(distributed.threads(1))
    torch.manual_seed(recipe.seed)
    network = Network(len(labels)).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    ours_of_start = torch.tensor([labels.index(recipe.label(name)) for name in names], device=device)
    if start:
        take_over(network, start, [recipe.label(name) for name in names], labels)
        start = start.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
    average = moving_average(network, schedule.ema) if schedule.ema else None
    optimizer = RelativeAdam(network)
    autocast = AUTOCAST.get(schedule.precision)
    best_score = -math.inf
    metrics: Mapping[str, Mapping[str, float]] = {}
    if saved:
        assert saved.resume is not None
        network.load_state_dict(saved.resume["model"])
        optimizer.adam.load_state_dict(saved.resume["optimizer"])
        best_score, metrics = saved.resume["best_score"], saved.metrics
        if average:
            average.module.load_state_dict(saved.resume["average"])

    def snapshot(*, resumable: bool) -> Checkpoint:
        state = {
            "model": weights_of(network),
            "average": weights_of(average.module) if average else None,
            "optimizer": optimizer.adam.state_dict(),
            "best_score": best_score,
        }
        return Checkpoint(
            recipe=to_plain(recipe),
            step=step,
            epoch=step / schedule.steps,
            classes={"label": labels},
            metrics=metrics,
            weights=weights_of(average.module if average else network),
            resume=state if resumable else None,
            revision=code,
            kind=DETECTOR,
        )

    def validate(log: RunLog, bar: Bar) -> None:
        """Measure what would ship at this step, and keep it where it is the best so far."""
        nonlocal metrics, best_score
        shipped = Network(len(labels)).eval()
        shipped.load_state_dict(weights_of(average.module if average else network))
        detector = export.as_detector(shipped, recipe, labels)
        metrics = {
            each.name: measure.measure(
                held[each.name], measure.find(detector, held[each.name], recipe), each.least_area
            ).summary()
            for each in recipe.validation
        }
        log.write(step, {"validation": metrics})
        bar.say(f"step {step}: {_told(metrics)}")
        score = sum(each["ap50"] for each in metrics.values())
        if score >= best_score:
            best_score = score
            checkpoint.save(snapshot(resumable=False), out / BEST)

    # Loop
    losses_since: dict[str, list[Tensor]] = defaultdict(list)
    unreadable: dict[Path, str] = {}
    saved_at = logged_at = time.monotonic()
    pictures_since = 0
    with RunLog(out, step) as log, progress_bar(schedule.steps, step, progress) as bar:
        if progress and not saved:
            bar.say(report)
        for batch in coming:
            unreadable.update(batch.unreadable)
            grid = loss.cells(batch.images.shape[1]).to(device)
            images = batch.images.to(device)
            with torch.autocast(device.type, autocast, enabled=autocast is not None):
                raw = network(images)
            made = loss.targets(
                raw, grid, batch.boxes.to(device), batch.labels.to(device), batch.ignored.to(device), known[batch.sets]
            )
            untold = torch.tensor([not recipe.data[number].boxes for number in batch.sets]).nonzero()[:, 0]
            if start and len(untold):
                with torch.no_grad(), torch.autocast(device.type, autocast, enabled=autocast is not None):
                    said = start(images[untold])
                made = loss.distilled(made, said, grid, ours_of_start, untold, schedule.distill)
            losses = loss.losses(raw, grid, made)
            torch.autograd.backward(sum(losses.values(), torch.zeros((), device=device)))
            norm = float(
                nn.utils.get_total_norm(value.grad for value in network.parameters() if value.grad is not None)
            )
            if not math.isfinite(norm):
                raise VisearchError(f"the gradients are not finite at step {step}; start again with a lower rate")
            rate = rate_at(schedule, step)
            optimizer.step(rate)
            if average:
                average.update(network, step)
            step += 1

            pictures_since += len(images)
            for name, value in losses.items():
                losses_since[name].append(value.detach())
            if step % LOG_STEPS == 0 or step == schedule.steps:
                means = {name: float(torch.stack(values).mean()) for name, values in losses_since.items()}
                now = time.monotonic()
                speed = pictures_since / (now - logged_at)
                log.write(step, {"losses": means, "gradient_norm": norm, "rate": rate, "images_per_second": speed})
                bar.show(step, "detector", speed, means)
                losses_since.clear()
                pictures_since, logged_at = 0, now
            stopping = interrupted.is_set()
            if step % schedule.validate_every == 0 or step == schedule.steps:
                paused = time.monotonic()
                validate(log, bar)  # one that is cut short is repeated with the steps since the last checkpoint
                saved_at, logged_at = -math.inf, logged_at + time.monotonic() - paused
            if stopping or time.monotonic() - saved_at > 60 * schedule.checkpoint_minutes:
                checkpoint.save(snapshot(resumable=True), out / LAST)
                saved_at = time.monotonic()
            if stopping and step < schedule.steps:
                bar.say(f"stopped after step {step} of {schedule.steps}; --resume goes on from there")
                raise KeyboardInterrupt
        if unreadable:
            log.write(step, {"unreadable": {str(path): reason for path, reason in unreadable.items()}})
            path, reason = next(iter(unreadable.items()))
            bar.say(f"{len(unreadable)} pictures could not be decoded ({path}: {reason})")
    return out / BEST


def known_labels(recipe: DetectorRecipe, labels: Sequence[str]) -> Tensor:
    """float32 [sets, L]: 1 where a set would tell an object of the label, 0 where it may show one without telling.

    Raises:
        UsageError: a set leaves out a label that there is not.
    """
    rows = []
    for data in recipe.data:
        for label in data.unlabelled:
            if label not in labels:
                raise UsageError(f"recipe {recipe.name}: data.{data.name}.unlabelled: there is no label {label}")
        rows.append([float(label not in data.unlabelled) for label in labels])
    return torch.tensor(rows)


class RelativeAdam:
    """Adam whose steps are shares of what a channel's weights were at the start.

    Where batch normalisation is folded into the convolutions, the weights of one channel are a thousand times those of
    another, and a step that trains the one would destroy the other.
    """

    def __init__(self, network: nn.Module) -> None:
        """Measure the weights as they are now."""
        self.parameters = list(network.parameters())
        self.scales = [_typical(value.detach()) for value in self.parameters]
        self.adam = torch.optim.Adam(self.parameters, lr=1.0)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Go down the gradients, and forget them."""
        before = [value.clone() for value in self.parameters]
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        self.adam.zero_grad()
        for value, old, scale in zip(self.parameters, before, self.scales, strict=True):
            value.copy_(old + scale * (value - old))


def _typical(value: Tensor) -> Tensor:
    """The root mean square of each output channel of a weight, or of all of a bias; never 0."""
    if value.ndim == 1:
        return value.square().mean().sqrt().clamp(min=LEAST_BIAS)
    whole = value.square().mean().sqrt()
    channels = value.square().mean(dim=tuple(range(1, value.ndim)), keepdim=True).sqrt()
    return torch.where(channels > LEAST_CHANNEL * whole, channels, whole)


def rate_at(schedule: Schedule, step: int) -> float:
    """The rate of a step: a ramp, then a cosine."""
    ramp = min(1.0, (step + 1) / max(1, schedule.ramp))
    return schedule.rate * ramp * (LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * step / schedule.steps)) / 2)


def data_report(
    recipe: DetectorRecipe,
    sets: Mapping[str, Sequence[Scene]],
    held: Mapping[str, Sequence[Scene]],
    labels: Sequence[str],
) -> str:
    """What was read, as lines: pictures and objects of each set, objects of each label in the sets that tell them."""
    lines = []
    for kind, of_kind in (("training", sets), ("validation", held)):
        for name, found in of_kind.items():
            things = sum(len(scene.things) for scene in found)
            lines.append(f"{kind}: {name}: {len(found)} pictures, {things} objects")
    counts: dict[str, int] = defaultdict(int)
    for data in recipe.data:
        for scene in sets[data.name]:
            for thing in scene.things:
                counts[thing.label] += 1
    told = ", ".join(f"{label} {count}" for label, count in sorted(counts.items(), key=lambda each: -each[1]))
    return "\n".join([*lines, f"{len(labels)} labels; objects of them: {told}", ""])


def _told(metrics: Mapping[str, Mapping[str, float]]) -> str:
    if not metrics:
        return "no validation in the recipe; the last step is taken for the best"
    return ", ".join(
        f"{name} AP50 {100 * each['ap50']:.1f}, AP {100 * each['ap']:.1f}, recall {100 * each['recall']:.1f}"
        for name, each in metrics.items()
    )
