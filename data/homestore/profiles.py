"""What is made: how many products, rooms and photos, how large, how carefully rendered, and from which
seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from data.homestore.catalogue import SHARES, Product, catalogue
from data.homestore.products import KINDS

CATEGORIES = tuple(dict.fromkeys(kind.category for kind in KINDS))
ROOMS = (
    "living",
    "bedroom",
    "dining",
    "living",
    "study",
    "hall",
    "living",
)  # in turn; coprime to the splits' turn
Size = tuple[int, int]


@dataclass(frozen=True)
class Profile:
    """One set of pictures. `splits` gives each scene its split in turn; `samples` are rays a pixel."""

    name: str
    products: int
    rooms: int
    photos: int
    room_size: Size
    photo_size: Size
    product_size: int
    product_samples: int
    room_samples: int
    photo_samples: int
    second_view: bool
    splits: tuple[str, ...]
    quality: int = 85

    @property
    def seed(self) -> str:
        """Everything is drawn from it. Changing the number makes another store."""
        return f"homestore/{self.name}/1"

    @property
    def one_split(self) -> str | None:
        """The split of all products where there is only one."""
        return self.splits[0] if len(set(self.splits)) == 1 else None

    @cached_property
    def catalogue(self) -> tuple[Product, ...]:
        """Its products. None of `bench` is the same as, or near-alike to, one of another profile."""
        avoid = {
            "demo": (),
            "bench": ("demo",),
            "train": ("bench",),
            "train2": ("demo", "bench", "train"),
            "train3": ("demo", "bench", "train", "train2"),
        }[self.name]
        return tuple(
            catalogue(
                self.name,
                self.products,
                self.seed,
                self.one_split,
                [p for name in avoid for p in PROFILES[name].catalogue],
            )
        )

    def split(self, number: int) -> str:
        """The split of scene `number`."""
        return self.splits[number % len(self.splits)]

    def room(self, number: int) -> str:
        """The kind of room `number`."""
        return ROOMS[number % len(ROOMS)]

    def category(self, number: int) -> str:
        """The category that photo `number` is of: all in turn."""
        return CATEGORIES[number % len(CATEGORIES)]


MIXED = ("train", "test", "train", "val", "train", "train", "test", "train", "val", "train", "train", "test")

PROFILES = {
    p.name: p
    for p in (
        Profile("demo", sum(SHARES.values()), 92, 154, (640, 480), (270, 360), 256, 7, 4, 3, True, MIXED),
        Profile("train", 1200, 4000, 2000, (320, 240), (240, 320), 224, 4, 4, 4, True, ("train",)),
        # More products, larger rooms: what lets unseen products be told apart is how many others were seen.
        Profile("train2", 1600, 2000, 500, (480, 360), (240, 320), 224, 4, 3, 3, False, ("train",)),
        Profile("train3", 1600, 2000, 500, (480, 360), (240, 320), 224, 4, 3, 3, False, ("train",)),
        Profile("bench", 2000, 110, 300, (640, 480), (270, 360), 256, 7, 4, 3, False, ("test",)),
    )
}
