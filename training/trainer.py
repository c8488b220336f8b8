"""The training loop, to be read from top to bottom. `visearch train` runs it.

First the new layers learn alone while the backbone stays as it is (warm start), then everything learns end to end.
Every step seeds its own randomness from (seed, step), so a run that was killed goes on exactly as if it had not been.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training import checkpoint, cpu, data, distributed, optim, validation
from training.batches import Batches
from training.checkpoint import BEST, LAST, Checkpoint, Weights
from training.data import TrainingData
from training.distributed import Process
from training.imprint import imprint
from training.libraries import import_timm
from training.model import Unified
from training.proxies import GradNorm, ProxyBank, head_losses
from training.recipe import Recipe, check, from_plain_as, to_plain
from training.retention import Start, interpolate, similarity_loss
from training.revision import revision
from training.runlog import LOG, Bar, RunLog, progress_bar, tell_data
from visearch.errors import UsageError, VisearchError

LOG_STEPS = 10
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
MOST_LEFT_OUT = 50  # updates in a row that fp16 may leave out
MAY_CHANGE = ("card.", "schedule.workers", "schedule.checkpoint_minutes")  # when a run is gone on with
RETENTION = "retention"  # what logs call its loss, beside those of the heads


def train(recipe: Recipe, out: Path, *, resume: bool = False, progress: bool = True) -> Path:
    """Train a model; returns the path of the best checkpoint.

    Args:
        recipe: what to do.
        out: the folder of the run: last.pt (to go on from), best.pt (to export), data.txt (what was read),
            log.jsonl, tensorboard/.
        resume: go on with the run in `out`; begin it where there is none.
        progress: show what was read, a bar, and a line an epoch on standard error.

    Raises:
        UsageError: the recipe or its data cannot be used, or `out` holds a run and `resume` was not asked for.
        VisearchError: gradients are no longer finite, a data set cannot be decoded, a checkpoint cannot be written.
        KeyboardInterrupt: interrupted (SIGINT, SIGTERM); the run was saved first.
    """
    with distributed.started() as process, interruptible() as interrupted, ExitStack() as ending:
        return _train(recipe, out, resume, progress and process.main, process, interrupted, ending)


def _train(
    recipe: Recipe,
    out: Path,
    resume: bool,
    progress: bool,
    process: Process,
    interrupted: threading.Event,
    ending: ExitStack,
) -> Path:
    schedule, retention, device = recipe.schedule, recipe.retention, process.device
    check(recipe)
    saved, code = saved_run(recipe, out, resume), revision()

    # Data
    pictures = data.read(recipe)
    for head, names in pictures.classes.items():
        if len(names) == 1:
            raise UsageError(f"head {head}: all of its pictures are of one class, {names[0]}; there must be two")
    if saved:
        _check_same_run(saved, pictures, process, out)
    if process.main:
        tell_data(pictures, out, shown=progress)
    tasks, card = validation.tasks_of(recipe), validation.card_of(recipe)
    batches = Batches(pictures, recipe, rank=process.rank, world=process.world)
    course = optim.Course(recipe, batches.steps_per_epoch)
    step = saved.step if saved else 0
    # Before anything large is allocated: workers are forks, and would keep the memory as it was.
    coming = batches.iterate(step, course.total, schedule.workers, pin=device.type == "cuda")
    ending.enter_context(closing(coming))

    # Model
    if device.type == "cpu":
        cpu.prepare(distributed.threads(process.world))
    torch.manual_seed(recipe.seed)
    model = Unified(recipe.backbone, recipe.embedding).to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu":
        cpu.large_depthwise_in_float32(model)
    if not model.new_parameters():
        course.warm = 0  # nothing that a warm start could train: all steps are end to end
    start = Start(model) if retention.distill else None
    warm_weights: Weights | None = None  # those after the warm start; where another run came before, before that one
    if recipe.begin is not None and not saved:
        warm_weights = weights_of(model)
        checkpoint.load_weights(model, recipe.begin)
    shipped = deepcopy(model)  # takes the weights that are validated and shipped
    average = moving_average(model, schedule.ema) if schedule.ema else None
    banks = {
        head: ProxyBank(len(names), recipe.embedding, recipe.proxies, np.random.default_rng((recipe.seed, number)))
        for number, (head, names) in enumerate(pictures.classes.items())
    }
    if recipe.proxies.imprint and not saved:
        imprint(banks, model, pictures, recipe, process)
    gradnorm = GradNorm(banks) if schedule.balance == "gradnorm" else None
    optimizer = optim.build(model, recipe)
    scaler = torch.amp.GradScaler(device.type, enabled=schedule.precision == "fp16")
    autocast = AUTOCAST.get(schedule.precision)
    proxy_rate = recipe.proxies.rate or optim.PROXY_RATE * schedule.rate
    shared = (model.new_parameters() or model.backbone_layers()[-1])[0][1]  # where GradNorm looks

    best_score = -math.inf
    metrics: Mapping[str, Mapping[str, float]] = {}
    unvalidated = False  # an epoch has ended, and its validation did not come to an end
    if saved:
        assert saved.resume is not None
        state = saved.resume
        metrics, best_score, warm_weights = saved.metrics, state["best_score"], state["warm_weights"]
        unvalidated = state.get("unvalidated", False)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        for head, bank in banks.items():
            bank.load_state_dict(state["banks"][head])
        if gradnorm:
            gradnorm.weights = state["balance"]
        if average:
            average.module.load_state_dict(state["average"])

    def snapshot(*, resumable: bool) -> Checkpoint:
        weights = weights_of(average.module if average else model)
        if warm_weights is not None and retention.average < 1:
            weights = interpolate(warm_weights, weights, retention.average)
        state = {
            "model": weights_of(model),
            "average": weights_of(average.module) if average else None,
            "warm_weights": warm_weights,
            "banks": {head: bank.state_dict() for head, bank in banks.items()},
            "balance": gradnorm.weights if gradnorm else None,
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict(),
            "best_score": best_score,
            "unvalidated": unvalidated,
            "world": process.world,
        }
        return Checkpoint(
            recipe=to_plain(recipe),
            step=step,
            epoch=step / batches.steps_per_epoch,
            classes=pictures.classes,
            metrics=metrics,
            weights=weights,
            resume=state if resumable else None,
            revision=code,
        )

    def validate(log: RunLog, bar: Bar) -> None:
        """Measure what would ship at this step, and keep it where it is the best so far."""
        nonlocal metrics, best_score, unvalidated
        shipped.load_state_dict(snapshot(resumable=False).weights)
        metrics = validation.validate(shipped, tasks, card, device)
        candidate = snapshot(resumable=False)
        log.write(step, {"validation": metrics})
        bar.say(f"epoch {candidate.epoch:.3g}: {_validated(metrics)}")
        if candidate.score >= best_score:
            best_score = candidate.score
            checkpoint.save(candidate, out / BEST)
        unvalidated = False

    # Loop
    network = _begin_phase(model, recipe, process, warming=step < course.warm)
    norm: float | None = None  # of the gradients of the last update; none yet
    left_out = 0  # updates in a row whose gradients were not finite
    losses_since: dict[str, list[Tensor]] = defaultdict(list)
    unreadable: dict[Path, str] = {}
    unreadable_logged = 0
    saved_at = logged_at = time.monotonic()
    pictures_since = 0
    with RunLog(out, step) if process.main else nullcontext() as log, progress_bar(course.total, step, progress) as bar:
        if log and unvalidated:
            validate(log, bar)
        for batch in coming:
            if step == course.warm:
                if recipe.begin is None:
                    warm_weights = weights_of(model)
                network = _begin_phase(model, recipe, process, warming=False)
            torch.manual_seed(seed_of(recipe.seed, step, process.rank))
            sampling = np.random.default_rng((recipe.seed, step))  # all processes sample the same classes
            unreadable.update(batch.unreadable)
            images = batch.images.to(device, non_blocking=True)
            end_of_epoch = (step + 1) % batches.steps_per_epoch == 0 or step + 1 == course.total
            # Steps of this update: it may begin in one epoch and end in the next, and the run's last may have fewer.
            together = min(schedule.accumulate, course.total - step + step % schedule.accumulate)
            update = (step + 1) % schedule.accumulate == 0 or step + 1 == course.total

            with nullcontext() if update or process.world == 1 else network.no_sync():  # type: ignore[operator]
                with torch.autocast(device.type, autocast, enabled=autocast is not None):
                    embeddings, activations = network(images)
                losses = head_losses(banks, activations, batch.labels, sampling)
                balanced = gradnorm.balance(losses, shared) if gradnorm and losses else sum(losses.values())
                rows = batch.held if retention.distill_on == "unlabelled" else torch.arange(len(images))
                if start and len(rows) > 1:
                    rows = rows.to(device, non_blocking=True)
                    with torch.autocast(device.type, autocast, enabled=autocast is not None):
                        known = start.embeddings(images[rows])
                    losses[RETENTION] = retention.distill * similarity_loss(embeddings[rows], known)
                    balanced = balanced + losses[RETENTION]
                # A batch without any label must still give every process its (zero) gradients.
                loss = (balanced + 0 * activations.sum()) / together
                scaler.scale(loss).backward()
            factor = course.factor(step)
            if update:
                scaler.unscale_(optimizer)
                norm = float(nn.utils.clip_grad_norm_(model.parameters(), schedule.clip or math.inf))
                finite = math.isfinite(norm)
                left_out = 0 if finite else left_out + 1
                # In fp16 such a step is left out, as some are while the scale is looked for.
                if left_out > (MOST_LEFT_OUT if scaler.is_enabled() else 0):
                    raise VisearchError(
                        f"the gradients are not finite at step {step}; start again with lower rates,"
                        " schedule.clip or another precision"
                    )
                optim.set_rates(optimizer, factor)
                optim.update_proxies(banks.values(), proxy_rate * factor, scaler.get_scale(), finite)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
                if average:
                    average.update(model, step)
            step += 1

            pictures_since += len(batch.images) * process.world
            for name, value in losses.items():
                losses_since[name].append(value.detach())
            telling = step % LOG_STEPS == 0 or step == course.total
            if telling:
                unreadable = process.joined(unreadable)
            if log and telling:
                means = {name: float(torch.stack(values).mean()) for name, values in losses_since.items()}
                now = time.monotonic()
                speed = pictures_since / (now - logged_at)
                row = {"losses": means, "gradient_norm": norm, "rate": factor, "images_per_second": speed}
                log.write(step, row)
                bar.show(step, "warm start" if step <= course.warm else "end to end", speed, means)
                if new := list(unreadable.items())[unreadable_logged:]:
                    log.write(step, {"unreadable": {str(path): reason for path, reason in new}})
                    unreadable_logged = len(unreadable)
                losses_since.clear()
                pictures_since, logged_at = 0, now

            # Only between updates: gradients under way are in no checkpoint.
            stopping = update and process.any(interrupted.is_set())
            if end_of_epoch:
                unvalidated, saved_at = True, -math.inf  # to be saved with this update or the next
            paused = time.monotonic()
            try:
                if log and end_of_epoch:
                    validate(log, bar)
            finally:  # also where validation fails
                if log and update and (stopping or time.monotonic() - saved_at > 60 * schedule.checkpoint_minutes):
                    checkpoint.save(snapshot(resumable=True), out / LAST)
                    saved_at = time.monotonic()
            if end_of_epoch:
                process.wait()
                logged_at += time.monotonic() - paused  # what is told is the speed of steps
            if stopping and step < course.total:
                bar.say(f"stopped after step {step} of {course.total}; --resume goes on from there")
                raise KeyboardInterrupt
        if log and unreadable:
            path, reason = next(iter(unreadable.items()))
            bar.say(f"{len(unreadable)} pictures could not be decoded ({path}: {reason}); {LOG} has all of them")
    return out / BEST


def saved_run(recipe: object, out: Path, resume: bool) -> Checkpoint | None:
    """The checkpoint to go on from, if there is one; a folder for the run where there is none.

    Raises:
        UsageError: `out` holds a run and `resume` was not asked for, or one of another recipe, or cannot be made.
    """
    last = out / LAST
    if not last.exists():
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{out}: cannot be made ({error.strerror})") from None
        return None
    if not resume:
        raise UsageError(f"{out} holds a run already; go on with it (--resume) or name another folder (--out)")
    saved = checkpoint.load(last)
    began = from_plain_as(type(recipe), saved.recipe)  # not the plain one: a key may be newer than the run
    if changed := _changed(to_plain(began), to_plain(recipe)):
        raise UsageError(
            f"{out} holds a run of another recipe ({changed[0]} was different); name another folder (--out), or put the"
            " recipe back"
        )
    return saved


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> list[str]:
    """The keys of plain recipes that are not the same, but for those that do not change what is learnt."""
    found = []
    for key in before.keys() | now.keys():
        one, other, name = before.get(key), now.get(key), f"{within}{key}"
        if isinstance(one, dict) and isinstance(other, dict):
            found += _changed(one, other, f"{name}.")
        elif one != other and not name.startswith(MAY_CHANGE):
            found.append(name)
    return sorted(found)


def _check_same_run(saved: Checkpoint, pictures: TrainingData, process: Process, out: Path) -> None:
    """The recipe of a run may stay as it was while its data, or the number of processes, does not."""
    assert saved.resume is not None
    for head in saved.classes.keys() | pictures.classes.keys():
        if saved.classes.get(head) != pictures.classes.get(head):
            raise UsageError(
                f"{out}: head {head} has other classes than when the run began; put its data sets back, or name another"
                " folder (--out)"
            )
    began = saved.resume.get("world", process.world)
    if began != process.world:
        raise UsageError(
            f"{out} holds a run of {began} processes, not of {process.world}; start as many, or name another folder"
            " (--out)"
        )


def _begin_phase(model: Unified, recipe: Recipe, process: Process, *, warming: bool) -> nn.Module:
    """The network as this phase trains it: in the warm start the backbone stays as it is."""
    model.train()
    model.backbone.requires_grad_(not warming)
    model.freeze_batch_norm(warming or recipe.schedule.batch_norm == "frozen")
    network = distributed.wrap(model, process)
    return torch.compile(network) if recipe.schedule.compile else network  # type: ignore[return-value]


def moving_average(model: Unified, decay: float) -> Any:
    """timm's moving average of weights; it follows closely at first, so that a short run is not its start."""
    import_timm()
    from timm.utils.model_ema import ModelEmaV3

    return ModelEmaV3(model, decay=decay, use_warmup=True)


def weights_of(model: nn.Module) -> Weights:
    """A copy of a model's state, on the CPU."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in model.state_dict().items()}


def seed_of(*parts: int) -> int:
    """One number of several, as unlike that of others as can be."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _validated(metrics: Mapping[str, Mapping[str, float]]) -> str:
    if not metrics:
        return "no validation in the recipe; the last epoch is taken for the best"
    return ", ".join(
        f"{name} P@1 {100 * each['binary']:.1f} (float {100 * each['float']:.1f})" for name, each in metrics.items()
    )


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets, so that a step is never half done; the second one interrupts at once."""
    interrupted = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    if threading.current_thread() is not threading.main_thread():  # only there may signals be handled
        yield interrupted
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
