"""Every kind of product the store sells."""

from __future__ import annotations

from data.homestore.design import Design
from data.homestore.products.decor import Artwork, Candle, Clock, Mirror, Television, Vase
from data.homestore.products.lighting import FloorLamp, Pendant, TableLamp
from data.homestore.products.plants import Plant
from data.homestore.products.seating import BarStool, Bench, Chair, FoldingSeat, Ottoman
from data.homestore.products.sofas import Bed, Sofa
from data.homestore.products.storage import Cabinet, Dresser, Shelving
from data.homestore.products.tables import Fireplace, Table
from data.homestore.products.textiles import Curtain, Pillow, Rug

KINDS: tuple[type[Design], ...] = (
    Artwork, Bed, Bench, Cabinet, Candle, Chair, Curtain, Dresser, Fireplace, FoldingSeat, FloorLamp, TableLamp, Pendant,
    Mirror, Ottoman, Pillow, Rug, Shelving, Sofa, BarStool, Table, Vase, Plant, Clock, Television,
)  # fmt: skip
