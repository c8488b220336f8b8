"""What things are made of: a finish is a word for the stuff and a word for its colour, as a catalogue says
it.

"velvet emerald", "wood walnut", "metal brass". The same words choose the shading and write the product
text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

WOODS = {
    "oak": "b98a57",
    "walnut": "6b442a",
    "ash": "d0b48c",
    "birch": "dcc29a",
    "teak": "9a6234",
    "mahogany": "5a2a1b",
    "black": "262320",
    "grey": "8c8378",
    "whitewashed": "d9cfbf",
    "cherry": "934f30",
}
METALS = {
    "black": "1d1d1f",
    "brass": "c79a4b",
    "chrome": "c9ccd0",
    "copper": "b86b45",
    "bronze": "5e4630",
    "white": "e6e4df",
    "gold": "d4af57",
    "steel": "8f949a",
}
TEXTILES = {
    "white": "e9e5dc",
    "cream": "e2d6bd",
    "sand": "c9b391",
    "taupe": "94836f",
    "grey": "8d9093",
    "charcoal": "404347",
    "black": "232427",
    "navy": "25365a",
    "blue": "4d77a8",
    "teal": "2f6f70",
    "emerald": "1f6247",
    "sage": "95a387",
    "olive": "6a6a3c",
    "mustard": "c8952e",
    "terracotta": "b65f3e",
    "rust": "95452a",
    "red": "a12f2f",
    "burgundy": "632231",
    "blush": "d9aaa0",
    "lilac": "a596b8",
}
PAINTS = {
    "white": "eae7e0",
    "cream": "e3d8c0",
    "grey": "9a9c9b",
    "anthracite": "3c3f42",
    "black": "242424",
    "sage": "98a58c",
    "navy": "2b3d5c",
    "blush": "d8b0a4",
    "mint": "b4cfbf",
    "mustard": "cb9a38",
    "red": "a93a34",
    "green": "3f5f4a",
    "light blue": "a3bccb",
}
LEATHERS = {
    "cognac": "93512a",
    "brown": "5a3826",
    "black": "232120",
    "cream": "d8c9ae",
    "tan": "b98354",
    "oxblood": "5c2424",
}
GLAZES = {
    **PAINTS,
    "terracotta": "b8673f",
    "cobalt": "27459a",
    "celadon": "a6bfa5",
    "ochre": "bd8a3a",
    "teal": "2d6d72",
    "sand": "cbb893",
    "speckled": "d8d0c0",
}
GLASS = {
    "clear": "f4f8f6",
    "smoke": "8a8681",
    "amber": "d39a4a",
    "green": "7fb08c",
    "blue": "86aecb",
    "pink": "dfa9a6",
}
STONES = {"white": "e6e3de", "black": "2b2b2d", "green": "47604f", "beige": "d1c2a8", "grey": "a4a3a0"}
NATURAL = {"natural": "c39b63", "dark": "7d5632", "black": "33302c", "white": "dad2c2"}

COLOURS: dict[str, dict[str, str]] = {
    "wood": WOODS,
    "metal": METALS,
    "linen": TEXTILES,
    "cotton": TEXTILES,
    "wool": TEXTILES,
    "boucle": TEXTILES,
    "velvet": TEXTILES,
    "leather": LEATHERS,
    "lacquer": PAINTS,
    "plastic": PAINTS,
    "ceramic": GLAZES,
    "stoneware": GLAZES,
    "wax": {**TEXTILES, "ivory": "efe6cf"},
    "glass": GLASS,
    "marble": STONES,
    "rattan": NATURAL,
    "seagrass": NATURAL,
    "paper": {"white": "f1ede2", "cream": "ead9b4"},
    "plaster": PAINTS,
}
FABRICS = ("linen", "cotton", "wool", "boucle", "velvet")

# Colours a shopper filters by; anything not listed is its own family.
FAMILIES = {
    "oak": "brown",
    "walnut": "brown",
    "teak": "brown",
    "mahogany": "brown",
    "cherry": "brown",
    "cognac": "brown",
    "tan": "brown",
    "dark": "brown",
    "bronze": "brown",
    "taupe": "brown",
    "amber": "orange",
    "ash": "beige",
    "birch": "beige",
    "natural": "beige",
    "sand": "beige",
    "cream": "beige",
    "ivory": "beige",
    "whitewashed": "white",
    "clear": "clear",
    "speckled": "beige",
    "brass": "gold",
    "ochre": "yellow",
    "mustard": "yellow",
    "chrome": "silver",
    "steel": "silver",
    "charcoal": "grey",
    "anthracite": "grey",
    "smoke": "grey",
    "navy": "blue",
    "cobalt": "blue",
    "light blue": "blue",
    "teal": "green",
    "emerald": "green",
    "sage": "green",
    "olive": "green",
    "mint": "green",
    "celadon": "green",
    "terracotta": "orange",
    "rust": "orange",
    "copper": "orange",
    "burgundy": "red",
    "oxblood": "red",
    "blush": "pink",
    "lilac": "purple",
}


@dataclass(frozen=True)
class Picture:
    """A painted surface: which painter, with which sRGB colours (hex), from which seed."""

    painter: str
    colours: tuple[str, ...]
    seed: int = 0


@dataclass(frozen=True)
class Finish:
    """Stuff (`kind`), its sRGB colour (hex), the colour's name, how far it glows (watts/m2), a picture on
    it.
    """

    kind: str
    colour: str
    name: str = ""
    glow: float = 0.0
    picture: Picture | None = None

    @property
    def family(self) -> str:
        """The basic colour, as a filter would list it."""
        return FAMILIES.get(self.name, self.name)


@cache
def finish(words: str) -> Finish:
    """The finish named by "kind colour", as in "velvet emerald"; KeyError names what is unknown."""
    kind, _, name = words.partition(" ")
    return Finish(kind, COLOURS[kind][name], name)


def painted(kind: str, picture: Picture, name: str = "") -> Finish:
    """A surface of some stuff that carries a picture or a pattern."""
    return Finish(kind, picture.colours[0], name, picture=picture)


def colours_of(kind: str) -> tuple[str, ...]:
    """Every finish of this kind."""
    return tuple(f"{kind} {name}" for name in COLOURS[kind])


WOOD = colours_of("wood")
METAL = colours_of("metal")
UPHOLSTERY = tuple(f"{kind} {name}" for kind in ("linen", "velvet", "boucle", "wool") for name in TEXTILES) + tuple(
    2 * list(colours_of("leather"))
)
BODY = WOOD + tuple(f"lacquer {name}" for name in PAINTS)

LEAF = Finish("leaf", "3f6b35", "green")
LIGHT_LEAF = Finish("leaf", "6f9a4a", "green")
DARK_LEAF = Finish("leaf", "28503a", "green")
SOIL = Finish("plaster", "3a2c22")
BARK = Finish("wood", "6a4c33")
MIRROR = Finish("mirror", "f2f4f4", "silver")
FLAME = Finish("light", "ffb25a", glow=4.0)
EMBER = Finish("light", "ff7a2a", glow=2.5)
BULB = Finish("light", "ffe2b8", glow=12.0)
DARK = Finish("plaster", "17171a")
WICK = Finish("plaster", "2a2522")
