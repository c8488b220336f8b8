"""Training data -> batches: which pictures a step sees, decoded and augmented in worker processes.

Everything random here is a function of (seed, step), so a run that goes on at step n sees the batches of one that never
stopped, whatever the number of workers.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from training import augment
from training.data import DataSet, TrainingData
from training.recipe import Recipe
from visearch import images
from visearch.codes import I64, U8
from visearch.embedder import fitted, on_white
from visearch.errors import BoxError, ImageError, VisearchError
from visearch.files import read_limited
from visearch.formats import read_header
from visearch.images import WHOLE

PREFETCH = 3  # batches a worker keeps ready
REPLACEMENTS = 20  # pictures tried in the place of one that cannot be decoded

Made_co = TypeVar("Made_co", covariant=True)


class Maker(Protocol[Made_co]):
    """What makes the batch of a step, in whatever process; or gives the error, to be raised where it is taken."""

    def __getitem__(self, step: int) -> Made_co | VisearchError:
        """The batch of a step."""


@dataclass
class Batch:
    """What one process sees in one step.

    Attributes:
        images: uint8 [n, size, size, 3], RGB.
        labels: head -> (rows int64 [m], class ids int64 [m]); every head is there, some with m = 0.
        held: rows int64 of the pictures that are held to the start model: those without any label, and those of data
            sets with `distill`.
        unreadable: (path, reason) of pictures that could not be decoded; others of their data set are in their place.
    """

    images: Tensor
    labels: dict[str, tuple[Tensor, Tensor]]
    held: Tensor
    unreadable: list[tuple[Path, str]] = field(default_factory=list)

    def pin_memory(self) -> Batch:
        """As the loader calls it where there is a GPU."""
        return replace(
            self,
            images=self.images.pin_memory(),
            labels={head: (rows.pin_memory(), ids.pin_memory()) for head, (rows, ids) in self.labels.items()},
            held=self.held.pin_memory(),
        )


class Mix:
    """Which picture of which data set each place of each batch holds.

    The pictures of a run are one endless row of slots, a step being the next `batch` of them (of all processes
    together). Data set i is due in it as often as its share w_i says: its k-th picture at slot (k + 1/2) / w_i, ordered
    by that. So any step can be computed without those before it. Each set goes through all of its pictures in an order
    of its own before it begins again in another.
    """

    def __init__(self, sizes: list[int], shares: list[float], batch: int, seed: int) -> None:
        """`sizes` are pictures of each set, `shares` positive numbers (of any sum), `batch` pictures a step."""
        self.sizes, self.batch, self.seed = sizes, batch, seed
        self.shares = np.array(shares, np.float64) / np.sum(shares)

    def steps_per_epoch(self) -> int:
        """Steps that show the largest data set once."""
        largest = int(np.argmax(self.sizes))
        return max(1, round(self.sizes[largest] / (self.batch * float(self.shares[largest]))))

    def step(self, step: int) -> list[tuple[int, int]]:
        """(data set, turn) of each slot of a step. Turn k of a set is its k-th picture since the start of the run."""
        start = step * self.batch
        # All that is due a little before the step's first slot until a little after its last, in order.
        early, late = max(0, start - len(self.sizes) - 1), start + self.batch + len(self.sizes) + 1
        first = np.ceil(early * self.shares - 0.5).clip(min=0).astype(np.int64)
        last = np.ceil(late * self.shares - 0.5).clip(min=0).astype(np.int64)
        due = [
            ((turn + 0.5) / share, number, int(turn))
            for number, share in enumerate(self.shares)
            for turn in range(first[number], last[number])
        ]
        skip = start - int(first.sum())
        return [(number, turn) for _, number, turn in sorted(due)[skip : skip + self.batch]]

    def picture(self, number: int, turn: int) -> int:
        """Which picture of set `number` its k-th turn shows."""
        size = self.sizes[number]
        return int(_order(self.seed, number, turn // size, size)[turn % size])


@lru_cache(maxsize=64)
def _order(seed: int, number: int, lap: int, size: int) -> I64:
    return np.random.default_rng((seed, number, lap)).permutation(size)


class Batches:
    """The batches of a run, for one of `world` processes: `make` one, or `iterate`, with workers that go ahead."""

    def __init__(self, data: TrainingData, recipe: Recipe, *, rank: int = 0, world: int = 1) -> None:
        """Prepare; nothing is decoded yet. `schedule.batch` is pictures a step and process."""
        schedule = recipe.schedule
        self.sets = data.sets
        self.size = recipe.embedding.train_size or recipe.embedding.size
        self.crop, self.jitter, self.seed = schedule.crop, schedule.jitter, recipe.seed
        self.rank, self.world = rank, world
        self.heads = tuple(data.classes)
        class_ids = {head: {name: place for place, name in enumerate(names)} for head, names in data.classes.items()}
        self.labels = [_labels(each, class_ids) for each in data.sets]
        sizes = [len(each.samples) for each in data.sets]
        by_name = {each.name: each for each in recipe.data}
        self.sources = [by_name[each.name] for each in data.sets]
        shares: dict[str, list[float]] = {
            "uniform": [1.0] * len(sizes),
            "proportional": [float(size) for size in sizes],
            "weighted": [each.weight for each in self.sources],
        }
        self.mix = Mix(sizes, shares[schedule.mix], schedule.batch * world, recipe.seed)
        self.steps_per_epoch = schedule.steps_per_epoch or self.mix.steps_per_epoch()

    def make(self, step: int) -> Batch:
        """Decode the batch of a step.

        Raises:
            VisearchError: picture after picture of a data set cannot be decoded.
        """
        joint = self.mix.step(step)
        each = len(joint) // self.world
        # Neighbours, not every world-th slot: sets take turns, and one process would see only some of them.
        slots = joint[self.rank * each : (self.rank + 1) * each]
        pixels = np.empty((len(slots), self.size, self.size, 3), np.uint8)
        labels: dict[str, tuple[list[int], list[int]]] = {head: ([], []) for head in self.heads}
        held: list[int] = []
        unreadable: list[tuple[Path, str]] = []
        for row, (number, turn) in enumerate(slots):
            random = np.random.default_rng((self.seed, number, turn, 1))
            place = self.mix.picture(number, turn)
            place, pixels[row] = self._view(number, place, random, unreadable)
            known = [(head, int(ids[place])) for head, ids in self.labels[number].items() if ids[place] >= 0]
            for head, class_id in known:
                labels[head][0].append(row)
                labels[head][1].append(class_id)
            if not known or self.sources[number].distill:
                held.append(row)
        return Batch(
            torch.from_numpy(pixels),
            {head: (_int64(rows), _int64(ids)) for head, (rows, ids) in labels.items()},
            _int64(held),
            unreadable,
        )

    def _view(
        self, number: int, place: int, random: np.random.Generator, unreadable: list[tuple[Path, str]]
    ) -> tuple[int, U8]:
        """The place and the pixels of a picture of set `number`, or of another of it where that cannot be used."""
        data_set, source = self.sets[number], self.sources[number]
        crop = self.crop if source.crop is None else source.crop
        jitter = self.jitter if source.jitter is None else source.jitter
        for _ in range(REPLACEMENTS):
            sample = data_set.samples[place]
            try:
                return place, view(sample.path, sample.box, self.size, crop, jitter, random)
            except (ImageError, BoxError) as error:
                unreadable.append((sample.path, error.message))
            place = int(random.integers(len(data_set.samples)))
        path, reason = unreadable[-1]
        raise VisearchError(
            f"data set {data_set.name}: {REPLACEMENTS} pictures, one after the other, cannot be used ({path}: {reason})"
        )

    def iterate(self, start: int, stop: int, workers: int, *, pin: bool = False) -> Generator[Batch, None, None]:
        """The batches of steps start..stop - 1 in order, made ahead by `workers` processes (0: in this one).

        The workers start now, as forks of this process: what it allocates later is not theirs. Close it where it is not
        taken to its end (`ahead`).

        Raises:
            VisearchError: as `make`, or a worker died; when the batch is taken.
        """
        return ahead(self, start, stop, workers, pin=pin)

    def __getitem__(self, step: int) -> Batch | VisearchError:
        """What the loader's workers call; an error is handed over whole, as the loader would make a traceback of it."""
        try:
            return self.make(step)
        except VisearchError as error:
            return error


def ahead(
    maker: Maker[Made_co], start: int, stop: int, workers: int, *, pin: bool = False
) -> Generator[Made_co, None, None]:
    """What `maker` gives for start..stop - 1 in order, made ahead by `workers` forks of this process (0: in this one).

    Close it where it is not taken to its end: workers that are left over keep this process from ending, and hold open
    the pipes that it had when they began.

    Raises:
        VisearchError: what the maker gave in the place of a batch, or a worker died; when the batch is taken.
    """
    loader: Any = DataLoader(
        maker,  # type: ignore[arg-type]
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        prefetch_factor=PREFETCH if workers else None,
        pin_memory=pin,
        worker_init_fn=_leave_interrupts_to_parent,
    )
    if not workers:
        return _take(iter(loader))
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None  # not on Windows
    made = iter(loader)
    if before is not None and threading.current_thread() is threading.main_thread():
        # torch's own makes the death of a worker an error in whatever line the run is at; here it is one of the batch.
        signal.signal(signal.SIGCHLD, before)
    return _take(made, made._shutdown_workers)


def _take(
    made: Iterator[Made_co | VisearchError], end: Callable[[], None] | None = None
) -> Generator[Made_co, None, None]:
    try:
        for batch in made:
            if isinstance(batch, VisearchError):
                raise batch
            yield batch
        return
    except (RuntimeError, EOFError, OSError) as error:  # the loader's, when a worker is gone, or its last batch with it
        if end is None:  # nobody else makes them
            raise
        why = str(error).partition("\n")[0] or type(error).__name__
    finally:
        # Not left to the end of `made`: the traceback of an error would keep it for as long as it is kept itself.
        if end is not None:
            end()
    raise VisearchError(f"a process that decodes pictures died ({why})")


def view(path: Path, box: images.Box, size: int, crop: float, jitter: float, random: np.random.Generator) -> U8:
    """A random view of the region `box` of a picture file: uint8 [size, size, 3].

    Raises:
        ImageError, BoxError: the file or the box cannot be used.
    """
    data = read_limited(path)
    # decode() gives twice what it is asked for. Training need not match to the bit, and the halved scale is faster.
    least = max(1, size // 2)
    region = box if box == WHOLE else augment.loosen(random, box)
    if random.uniform() < (augment.PADDED_WHOLE if box == WHOLE else augment.PADDED_BOX):
        region = augment.random_part(random, region, max(crop, augment.LEAST_PADDED))
        picture = images.decode(data, min_side=least, box=region)
        pixels = fitted(picture, region, (size, size), Image.Resampling.BICUBIC)
    else:
        header = read_header(data)
        if header is None:  # only decoding tells its size
            picture = images.decode(data, min_side=least, box=region)
            region = augment.random_region(random, picture.width, picture.height, region, crop)
        else:
            turned = header.orientation > 4
            width, height = (header.height, header.width) if turned else (header.width, header.height)
            region = augment.random_region(random, width, height, region, crop)
            picture = images.decode(data, min_side=least, box=region)
        pixels = images.resize(picture, region, (size, size))
    image = Image.fromarray(pixels)
    if random.uniform() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if jitter:
        image = augment.change_colours(random, image, jitter)
    image = augment.as_by_phone(random, image, balanced=not jitter)
    return on_white(np.asarray(image), (size, size))  # last: white as in use


def _labels(data_set: DataSet, class_ids: dict[str, dict[str, int]]) -> dict[str, I64]:
    """head -> class id of each sample of the set, -1 where it has none."""
    return {
        head: np.array(
            [class_ids[head][sample.labels[head]] if head in sample.labels else -1 for sample in data_set.samples],
            np.int64,
        )
        for head in data_set.heads
    }


def _int64(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def _leave_interrupts_to_parent(worker: int) -> None:
    # Terminals and `timeout` signal all processes at once; a worker that ends first fails the run before it is saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
