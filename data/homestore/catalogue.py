"""The catalogue: which products there are, which of them are near-alike, and the text a shop would write
for each.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data.homestore.design import Design, draw, vary
from data.homestore.finishes import finish
from data.homestore.mesh import bounds
from data.homestore.products import KINDS

SPLITS = {"train": 0.6, "val": 0.2, "test": 0.2}
SHARES = {  # products of each kind in a catalogue of 271; larger ones are in proportion
    "Artwork": 14, "Bed": 12, "Bench": 10, "Cabinet": 15, "Candle": 8, "Chair": 16, "Curtain": 10,
    "Dresser": 10,
    "Fireplace": 8, "FoldingSeat": 8, "FloorLamp": 7, "TableLamp": 7, "Pendant": 7, "Mirror": 10,
    "Ottoman": 10,
    "Pillow": 15, "Rug": 14, "Shelving": 10, "Sofa": 16, "BarStool": 8, "Table": 18, "Vase": 12, "Plant": 12,
    "Clock": 8, "Television": 6,
}  # fmt: skip
NAMES = [
    "Alder",
    "Brisa",
    "Calla",
    "Dover",
    "Elm",
    "Fjord",
    "Garda",
    "Haven",
    "Isla",
    "Juno",
    "Kestrel",
    "Lumi",
    "Marlow",
    "Nord",
    "Orla",
    "Pella",
    "Quill",
    "Rosa",
    "Sorrel",
    "Tarn",
    "Umbra",
    "Vale",
    "Wren",
    "Yarrow",
    "Zola",
    "Arden",
    "Birk",
    "Cove",
    "Dune",
    "Ember",
    "Fern",
    "Grove",
    "Hollis",
    "Indra",
    "Jasper",
    "Koto",
    "Linden",
    "Mira",
    "Nuo",
    "Ostra",
    "Piper",
    "Rhea",
    "Sable",
    "Tilda",
    "Ursa",
    "Vera",
    "Wilde",
    "Xanthe",
    "Ymir",
    "Zephyr",
    "Aster",
    "Bram",
    "Cedar",
    "Dahlia",
    "Esker",
    "Flint",
    "Gale",
    "Hazel",
    "Ivo",
    "Jorn",
]
SELLERS = (  # seller, currency
    ("Nook & Timber", "USD"), ("Lantern Lane", "USD"), ("Hearthside", "GBP"), ("Maison Verte", "EUR"),
    ("Fernhill Home", "USD"), ("Studio Holm", "EUR"), ("Brick Row", "GBP"), ("The Linen Yard", "USD"),
)  # fmt: skip
DEARER = {
    "leather": 1.3,
    "velvet": 1.1,
    "marble": 1.35,
    "boucle": 1.12,
    "rattan": 0.9,
    "plastic": 0.7,
    "cotton": 0.9,
}
STUFF = {"lacquer": "painted wood", "boucle": "bouclé", "paper": "paper", "stoneware": "stoneware"}


@dataclass(frozen=True)
class Product:
    """One thing for sale. Products of one `group` are near-alike: they differ in the field `differs` only."""

    product: str
    design: Design
    name: str
    group: str
    differs: str
    split: str
    seller: str
    currency: str
    price: float
    availability: str

    @property
    def category(self) -> str:
        """One of the store's categories."""
        return self.design.category


def near_alike(one: Design, other: Design) -> bool:
    """Whether two designs differ in at most one field."""
    if type(one) is not type(other):
        return False
    fields = dataclasses.fields(one)
    return sum(bool(getattr(one, f.name) != getattr(other, f.name)) for f in fields) <= 1


def catalogue(
    prefix: str, total: int, seed: str, one_split: str | None = None, avoid: Sequence[Product] = ()
) -> list[Product]:
    """About `total` products, drawn from a seed. None is near-alike to a product of `avoid`.

    Near-alike groups stay in one split; `one_split` puts everything there.
    """
    kept_away: dict[type[Design], list[Design]] = {}
    for product in avoid:
        kept_away.setdefault(type(product.design), []).append(product.design)
    made: list[Product] = []
    for kind in KINDS:
        rng = random.Random(f"{seed}/{kind.__name__}")
        wanted = max(3, round(SHARES[kind.__name__] * total / sum(SHARES.values())))
        groups = _groups(kind, wanted, rng, kept_away.get(kind, []))
        splits = _splits(groups)
        for number, (differs, designs) in enumerate(groups):
            group = f"{prefix}-{kind.__name__.lower()}-{number:03d}"
            split = one_split or splits[number]
            name, price_at = rng.choice(NAMES), rng.random() ** 1.6
            seller, currency = rng.choice(SELLERS)
            for design in designs:
                shown = f"{prefix}-{len(made) + 1:05d}"
                in_stock = rng.choices(("in stock", "out of stock", "preorder"), (88, 8, 4))[0]
                price = _price(design, price_at, rng)
                made.append(Product(shown, design, name, group, differs, split, seller, currency, price, in_stock))
    return made


def _groups(kind: type[Design], wanted: int, rng: random.Random, avoid: list[Design]) -> list[tuple[str, list[Design]]]:
    """Groups of 3 to 5 near-alikes and single products, about half of the products each; silhouettes take
    turns.
    """
    shapes = list(next(f for f in dataclasses.fields(kind) if f.name == "shape").metadata["choice"])
    rng.shuffle(shapes)
    groups: list[tuple[str, list[Design]]] = []
    count = tries = 0
    while count < wanted and tries < 40 * wanted:  # a kind with few looks may run out of them
        tries += 1
        base = dataclasses.replace(draw(kind, rng), shape=shapes[len(groups) % len(shapes)])
        size = min(rng.choice((3, 3, 4, 5)), wanted - count, max(3, wanted // 3)) if len(groups) % 3 == 0 else 1
        differs, designs = vary(base, size, rng) if size > 1 else ("", [base])
        taken = avoid + [d for _, others in groups for d in others]
        if any(near_alike(d, other) for d in designs for other in taken):
            continue
        groups.append((differs, designs))
        count += len(designs)
    return groups


def _splits(groups: list[tuple[str, list[Design]]]) -> list[str]:
    """A split for each group: always the one that lacks most of its share so far, test first."""
    total = sum(len(designs) for _, designs in groups)
    lacking = {split: SPLITS[split] * total for split in ("test", "train", "val")}
    given = []
    for _, designs in groups:
        split = max(lacking, key=lambda name: lacking[name] / SPLITS[name])
        lacking[split] -= len(designs)
        given.append(split)
    return given


def _price(design: Design, at: float, rng: random.Random) -> float:
    low, high = design.price
    price = (low + (high - low) * at) * DEARER.get(design.main.split()[0], 1.0) * rng.choice((0.95, 1.0, 1.0, 1.05))
    return round(price) - 0.01 if price < 60 else float(round(price / 10) * 10 - 1)


def _words(stuff: str) -> str:
    kind, _, colour = stuff.partition(" ")
    if kind == "wood":
        return f"{colour} wood" if colour in ("black", "grey", "whitewashed") else colour
    if kind in ("glass", "wax", "paper"):
        return f"{colour} {STUFF.get(kind, kind)}"
    if kind == "metal":
        return f"{colour} metal" if colour in ("black", "white") else colour
    if kind == "lacquer":
        return colour
    return f"{colour} {STUFF.get(kind, kind)}"


def title(product: Product) -> str:
    """As in "Alder Track-Arm Loveseat, Emerald Velvet with Walnut"."""
    design = product.design
    pattern = design.pattern_words
    colour = getattr(design, "colour_word", "")
    first = (
        f"{colour} tones, {_words(design.main)} frame"
        if colour
        else " ".join(w for w in (pattern, _words(design.main)) if w)
    )
    second = f" with {_words(design.second)}" if design.second and design.second != design.main else ""
    return f"{product.name} {design.name}, {_title_case(first + second)}"


def _title_case(text: str) -> str:
    small = {"with", "and", "of"}
    return " ".join(w if w in small else w[:1].upper() + w[1:] for w in text.split())


def row(product: Product) -> dict[str, Any]:
    """The product's line of catalog.jsonl, less its pictures."""
    design = product.design
    main = finish(design.main)
    low, high = bounds(design.model().parts)
    width, depth, height = (round(float(v) * 100) for v in high - low)
    colour = getattr(design, "colour_word", "") or main.name
    text = f"{_article(design.style).capitalize()} {design.style} {design.name.lower()} in {_words(design.main)}"
    if design.second and design.second != design.main:
        text += f" and {_words(design.second)}"
    return {
        "product": product.product,
        "title": title(product),
        "description": f"{text}. W {width} x D {depth} x H {height} cm.",
        "category": design.category,
        "label": design.category,
        "color": colour,
        "color_family": main.family if colour == main.name else colour,
        "material": STUFF.get(main.kind, main.kind),
        "style": design.style,
        "pattern": design.pattern_words or "plain",
        "price": product.price,
        "price_currency": product.currency,
        "availability": product.availability,
        "seller": product.seller,
        "url": f"https://homestore.example/p/{product.product}",
        "group": product.group,
        "differs": product.differs,
        "split": product.split,
    }


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
