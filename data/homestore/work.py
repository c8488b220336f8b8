"""One picture of a profile: its truth as a line of JSON, and its file. Runs in a worker process."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.homestore import catalogue, photos, rooms, studio
from data.homestore.catalogue import Product
from data.homestore.profiles import CATEGORIES, PROFILES, Profile
from data.homestore.truth import Seen, look

FILES = ("catalog.jsonl", "scenes.jsonl", "photos.jsonl")
DIGITS = 4  # of a fraction


@dataclass(frozen=True)
class Job:
    """One line of one of FILES and its pictures; `number` counts from 0 within the file."""

    file: str
    number: int
    pictures: tuple[str, ...]

    @property
    def key(self) -> str:
        """The line's `path`."""
        return self.pictures[0]


def jobs(profile: Profile, limit: int | None = None) -> list[Job]:
    """Everything a profile holds: products, then rooms and photos mixed: what a stopped run made is of both kinds."""
    made = [
        Job(
            FILES[0],
            i,
            (f"products/{p.product}.jpg", *([f"products/{p.product}-2.jpg"] if profile.second_view else [])),
        )
        for i, p in enumerate(profile.catalogue)
    ]
    scenes = [Job(FILES[1], i, (f"rooms/room-{i + 1:04d}.jpg",)) for i in range(profile.rooms)]
    scenes += [Job(FILES[2], i, (f"photos/photo-{i + 1:04d}.jpg",)) for i in range(profile.photos)]
    made += sorted(scenes, key=lambda job: job.number / (profile.rooms if job.file == FILES[1] else profile.photos))
    return [job for job in made if limit is None or job.number < limit]


class _Worker:
    """What a worker process keeps between jobs."""

    profile: Profile
    products: Sequence[Product]
    pictures: bool


def start_worker(profile: str, products: Sequence[Product], threads: int, pictures: bool) -> None:
    """Prepare this process; it ends with the one that started it. Blender talks a lot on stdout; it is silenced."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Worker.profile, _Worker.products, _Worker.pictures = PROFILES[profile], products, pictures
    if pictures:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        from data.homestore import render

        render.prepare(threads)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run(task: tuple[Job, Path]) -> tuple[Job, dict[str, Any]]:
    """Make the job's pictures that are missing; return it with its line."""
    job, out = task
    profile, products = _Worker.profile, _Worker.products
    row, shots = plan(profile, products, job)
    if _Worker.pictures:
        from data.homestore import render

        for name, made in zip(job.pictures, shots, strict=True):
            if (out / name).exists():
                continue
            image, quality = render.picture(made), profile.quality
            if job.file == FILES[2]:
                hand = photos.Handling(**row["handling"])
                image, quality = photos.develop(image, hand, job.number), hand.quality
            temporary = out / f"{name}.part"
            image.save(temporary, "JPEG", quality=quality, optimize=True)
            temporary.replace(out / name)
    return job, row


def plan(profile: Profile, products: Sequence[Product], job: Job) -> tuple[dict[str, Any], Iterator[Any]]:
    """The job's line, and its shots, which are made only when asked for."""
    if job.file == FILES[0]:
        product = products[job.number]
        row = {"path": job.key, **catalogue.row(product)}
        if profile.second_view:
            row["second_view"] = job.pictures[1]
        sides = (
            studio.shot(product.design, n > 0, profile.product_size, profile.product_samples)
            for n in range(len(job.pictures))
        )
        return row, sides
    split = profile.split(job.number)
    pool = [p for p in products if p.split == split]
    if job.file == FILES[1]:
        scene = rooms.scene(
            f"room-{job.number + 1:04d}",
            profile.room(job.number),
            profile.seed,
            split,
            pool,
            profile.room_size,
            profile.room_samples,
        )
        return scene_row(job, scene, look(scene.shot)), iter([scene.shot])
    name = f"photo-{job.number + 1:04d}"
    found = None
    for later in range(len(CATEGORIES)):  # the next category where this one cannot be shown
        category = profile.category(job.number + later)
        size, samples = profile.photo_size, profile.photo_samples
        found = found or photos.photo(name, profile.seed, split, category, pool, size, samples)
    if found is None:
        raise ValueError(f"{job.key}: no room of split {split} shows any product")
    scene, number = found
    hand = photos.handling(random.Random(f"{profile.seed}/{name}/hand"))
    return photo_row(job, scene, number, look(scene.shot), hand), iter([scene.shot])


def scene_row(job: Job, scene: rooms.Scene, seen: list[Seen]) -> dict[str, Any]:
    """A line of scenes.jsonl."""
    camera = scene.shot.camera
    objects = [truth_row(s, scene.products[s.number - 1]) for s in seen]
    return {
        "path": job.key,
        "room": scene.kind,
        "split": scene.split,
        "width": camera.width,
        "height": camera.height,
        "objects": objects,
    }


def photo_row(job: Job, scene: rooms.Scene, number: int, seen: list[Seen], hand: photos.Handling) -> dict[str, Any]:
    """A line of photos.jsonl: the product it is of first, what else shows in `objects`."""
    camera, product = scene.shot.camera, scene.products[number - 1]
    subject = next(truth_row(s, product) for s in seen if s.number == number)
    others = [truth_row(s, scene.products[s.number - 1]) for s in seen if s.number != number]
    return {
        "path": job.key, **subject, "label": product.category, "group": product.group, "room": scene.kind,
        "split": scene.split,
        "width": camera.width, "height": camera.height, "handling": asdict(hand), "others": others,
    }  # fmt: skip


def truth_row(seen: Seen, product: Product) -> dict[str, Any]:
    """One object of a picture."""
    return {
        "product": product.product, "category": product.category, "box": [round(float(v),
        DIGITS) for v in seen.box],
        "visible": round(seen.visible, DIGITS), "area": round(seen.area, DIGITS + 1),
    }  # fmt: skip
