"""Every kind of product the store sells."""

from __future__ import annotations

from data.homestore.design import Design
from data.homestore.products.candles import Candle
from data.homestore.products.chairs import Chair, FoldingSeat
from data.homestore.products.clocks import Clock, Television
from data.homestore.products.lighting import FloorLamp, Pendant, TableLamp
from data.homestore.products.plants import Plant
from data.homestore.products.sofas import Bed, Sofa
from data.homestore.products.stools import BarStool, Bench, Ottoman
from data.homestore.products.storage import Cabinet, Dresser, Shelving
from data.homestore.products.tables import Fireplace, Table
from data.homestore.products.textiles import Curtain, Pillow, Rug
from data.homestore.products.vases import Vase
from data.homestore.products.walls import Artwork, Mirror

KINDS: tuple[type[Design], ...] = (
    Artwork, Bed, Bench, Cabinet, Candle, Chair, Curtain, Dresser, Fireplace, FoldingSeat, FloorLamp,
    TableLamp, Pendant,
    Mirror, Ottoman, Pillow, Rug, Shelving, Sofa, BarStool, Table, Vase, Plant, Clock, Television,
)  # fmt: skip
