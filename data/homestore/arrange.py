"""What stands where: one function for each kind of room."""

from __future__ import annotations

from collections.abc import Callable

from data.homestore import shell as built
from data.homestore.furnisher import Furnisher, against, facing, nearest_wall
from data.homestore.mesh import bounds, move, turn


def _living(f: Furnisher) -> None:
    w, d, rng = f.space.width, f.space.depth, f.rng
    side = rng.choice(("back", "back", "back", "left", "right"))
    middle = f.space.length(side) / 2 + rng.uniform(-0.3, 0.3)
    sofa = f.against(f.pick("Sofa"), side, middle, rng.choice((0.03, 0.12, 0.3))) or f.against(
        f.pick("Sofa"), "back", w / 2, 0.05
    )
    f.pillows(sofa, rng.choice((1, 2, 2)))
    cx, cy = w / 2, d / 2
    if sofa:
        low, high = bounds(sofa.parts)
        cx, cy = float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2
        ahead = {"back": (0, -1), "left": (1, 0), "right": (-1, 0)}[side if against(sofa, f.space, side) else "back"]
        reach = 1.12
        cx, cy = cx + ahead[0] * reach, cy + ahead[1] * reach
    across = 90 if side in ("left", "right") else 0
    if rng.random() < 0.85:
        f.rug(f.pick("Rug", "Area", "Fringed", "Round", "Oval"), cx, cy, across)
    table = f.stand(
        f.pick("Table", "Coffee", "Oval Coffee", "Nest Coffee") or f.pick("Ottoman"),
        cx,
        cy - (0.1 if not across else 0),
        across,
    )
    f.litter(table, built.books(rng, rng.randint(1, 3)), -0.3)
    f.litter(table, built.mug(rng), 0.35, 0.06)
    f.on_top(table, f.pick(rng.choice(("Candle", "Vase"))), 0.05)
    seat = f.pick("Chair", "Wing", "Barrel", "Shell") or f.pick("Ottoman")
    hand = rng.choice((-1, 1))
    chair = (
        f.stand(seat, cx + hand * 1.5, cy - 0.1, -hand * rng.uniform(50, 80))
        if not across
        else f.stand(seat, cx, cy + 1.4, rng.uniform(-25, 25))
    )
    f.pillows(chair, rng.choice((0, 1)))
    if rng.random() < 0.5:
        f.stand(f.pick("Ottoman"), cx - hand * 1.25, cy - 0.35, rng.uniform(-20, 20))
    lamp_x = (cx + rng.choice((-1, 1)) * 1.55) if not across else (0.35 if side == "left" else w - 0.35)
    f.stand(f.pick("FloorLamp"), lamp_x, d - 0.4, rng.uniform(-30, 30))
    side_table = f.stand(f.pick("Table", "Side", "Drum Side"), cx - (lamp_x - cx), d - 0.5, 0) if not across else None
    f.on_top(side_table, f.pick("TableLamp") or f.pick("Plant", "Cactus", "Pothos"), 0.0)
    if rng.random() < 0.45:
        mantel = f.against(f.pick("Fireplace"), rng.choice(("left", "right", "back")))
        f.on_top(
            mantel,
            f.pick("Clock", "Mantel") or f.pick("Candle"),
            rng.choice((-0.3, 0.0, 0.3)),
            facing(mantel, f.space),
        )
        f.on_top(mantel, f.pick("Vase"), rng.choice((-0.4, 0.4)))
    else:
        stand = f.against(
            f.pick("Cabinet", "Media", "Sideboard") or f.pick("Cabinet", "Hall"),
            rng.choice(("left", "right")),
        )
        if f.on_top(stand, f.pick("Television"), 0.0, facing(stand, f.space)) is None:
            f.on_top(stand, f.pick("Vase"), -0.3)
    f.against(f.pick("Shelving"), rng.choice(("left", "right", "back")))
    f.hang(f.pick("Artwork"), side, middle, 1.62)
    f.drop(built.basket(rng), rng.uniform(0.3, w - 0.3), rng.uniform(d * 0.5, d - 0.3), 0.22)
    f.drop(built.slippers(rng), cx + rng.uniform(-0.9, 0.9), cy - rng.uniform(0.6, 0.9), 0.2)


def _bedroom(f: Furnisher) -> None:
    w, d, rng = f.space.width, f.space.depth, f.rng
    middle = w / 2 + rng.uniform(-0.4, 0.4)
    side = (
        "back"
        if f.space.window.side == "back" or rng.random() < 0.75
        else ("left" if f.space.window.side == "right" else "right")
    )
    if side != "back":
        middle = d * (0.58 if side == "left" else 0.42)
    bed = f.against(f.pick("Bed"), side, middle, 0.02) or f.against(f.pick("Bed"), "back", None, 0.02)
    f.pillows(bed, rng.choice((1, 2, 2)))
    if bed:
        low, high = bounds(bed.parts)
        turned = not against(bed, f.space, "back")
        cx, cy = float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2
        half = (float(high[1] - low[1]) if turned else float(high[0] - low[0])) / 2
        wall = side if turned else "back"
        at = cx if wall == "back" else cy if wall == "left" else d - cy
        night = f.pick("Cabinet", "Nightstand") or f.pick("Table", "Side", "Drum Side")
        lamp = f.pick("TableLamp")
        for s in (-1, 1):
            stand = f.against(night, wall, at + s * (half + 0.34))
            f.on_top(stand, lamp, 0.0)
            if s > 0:
                f.litter(stand, built.mug(rng), 0.4, 0.05)
        f.hang(f.pick("Artwork") or f.pick("Mirror"), wall, at, 1.75)
        if not turned:
            f.rug(f.pick("Rug", "Area", "Fringed", "Oval", "Round"), cx, d - 2.1)
            if rng.random() < 0.6:
                f.stand(f.pick("Bench") or f.pick("Ottoman"), cx, float(low[1]) - 0.28, 0)
        else:
            f.rug(f.pick("Rug"), w / 2, cy, 90)
        if rng.random() < 0.5:
            along = built.throw(rng, min(0.7, half * 1.2), 0.9, 0.26)
            if not turned:
                f.clutter += move(along, (cx + rng.uniform(-0.2, 0.2), float(low[1]) - 0.01, 0.575))
    chest = f.against(f.pick("Dresser") or f.pick("Cabinet", "Wardrobe"), rng.choice(("left", "right", "back")))
    if chest and chest.tops:
        toward = facing(chest, f.space)
        f.on_top(chest, f.pick("Vase") or f.pick("Plant", "Cactus", "Pothos"), 0.35)
        if rng.random() < 0.6:
            f.on_top(chest, f.pick("Clock", "Mantel") if rng.random() < 0.4 else f.pick("Candle"), -0.35, toward)
        f.litter(chest, built.books(rng, 2), 0.0)
        wall, t = nearest_wall(chest, f.space)
        f.hang(f.pick("Mirror"), wall, t, 1.5)
    if rng.random() < 0.4:
        f.against(f.pick("Cabinet", "Wardrobe"), rng.choice(("left", "right")))
    f.stand(
        f.pick("Chair", "Wing", "Barrel", "Shell"),
        rng.choice((0.7, w - 0.7)),
        rng.uniform(d * 0.45, d * 0.6),
        rng.choice((-40, 40)),
    )
    f.drop(built.slippers(rng), w / 2 + rng.uniform(-1.2, 1.2), d - 2.5, 0.2)


def _dining(f: Furnisher) -> None:
    w, d, rng = f.space.width, f.space.depth, f.rng
    cx, cy = w / 2 + rng.uniform(-0.3, 0.3), d * 0.58
    bar = rng.random() < 0.35 and f.pick("BarStool") is not None and f.pick("Table", "Bar") is not None
    rug = f.pick("Rug", "Area", "Round", "Fringed", "Oval")
    if not bar and rng.random() < 0.6:
        f.rug(rug, cx, cy)
    top = (
        f.pick("Table", "Bar")
        if bar
        else f.pick("Table", "Dining", "Round Dining", "Pedestal Dining", "Trestle Dining")
    )
    table = f.stand(top, cx, cy, 0, 0.0) if top else None
    stool = (
        f.pick("BarStool")
        if bar
        else rng.choice(
            [
                c
                for c in (
                    f.pick("Chair", "Slat-Back", "Windsor", "Ladder-Back", "Cross-Back", "Parsons", "Shell"),
                    f.pick("FoldingSeat", "Bistro", "Slatted", "Director's"),
                )
                if c
            ]
            or [None]
        )
    )
    if table and stool:
        low, high = bounds(table.parts)
        long = float(high[0] - low[0]) > 1.3
        columns = (-0.24, 0.24) if long else (0.0,)
        for s, face in ((1, 0), (-1, 180)):
            for k in columns:
                gap = rng.uniform(0.10, 0.30)
                y = (float(high[1]) + gap) if s > 0 else (float(low[1]) - gap)
                f.stand(stool, cx + k * float(high[0] - low[0]), y, face + rng.uniform(-9, 9), 0.0, table)
        f.pendant(cx, cy, f.pick("Pendant"))
    f.on_top(table, f.pick("Vase") if rng.random() < 0.7 else f.pick("Candle"), 0.0)
    f.litter(table, built.fruit_bowl(rng), 0.35, 0.15)
    f.litter(table, built.mug(rng), -0.35, 0.06)
    board = f.against(f.pick("Cabinet", "Sideboard", "Display", "Hall"), rng.choice(("back", "back", "left", "right")))
    if board and board.tops:
        f.on_top(board, f.pick("TableLamp"), rng.choice((-0.4, 0.4)))
        f.on_top(board, f.pick("Candle") or f.pick("Vase"), 0.05)
        f.on_top(board, f.pick("Plant", "Cactus", "Pothos"), rng.choice((-0.25, 0.25)))
        wall, t = nearest_wall(board, f.space)
        f.hang(f.pick("Artwork") if rng.random() < 0.6 else f.pick("Mirror"), wall, t, 1.65)
    f.against(f.pick("Shelving"), rng.choice(("left", "right")))
    f.against(
        f.pick("Bench") if rng.random() < 0.5 else f.pick("FoldingSeat"),
        rng.choice(("left", "right", "back")),
    )
    f.hang(
        f.pick("Clock", "Minimal", "Station", "Sunray", "Pendulum"),
        rng.choice(("back", "left", "right")),
        None,
        1.85,
    )


def _study(f: Furnisher) -> None:
    w, d, rng = f.space.width, f.space.depth, f.rng
    side = rng.choice(("back", "back", "left", "right"))
    length = f.space.length(side)
    at = length * rng.uniform(0.35, 0.65)
    desk = f.against(
        f.pick("Table", "Writing") or f.pick("Table", "Dining", "Console", "Trestle Dining"), side, at, 0.04
    )
    if desk:
        low, high = bounds(desk.parts)
        x, y = float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2
        wall, _ = nearest_wall(desk, f.space)
        dx, dy = {"back": (0, -1), "left": (1, 0), "right": (-1, 0)}.get(wall, (0, -1))
        half = (float(high[1] - low[1]) if dy else float(high[0] - low[0])) / 2
        seat = f.pick("Chair", "Shell", "Slat-Back", "Parsons", "Windsor", "Cross-Back", "Ladder-Back") or f.pick(
            "FoldingSeat"
        )
        turned = {"back": 180, "left": -90, "right": 90}.get(wall, 180) + rng.uniform(-25, 25)
        f.stand(seat, x + dx * (half + 0.22), y + dy * (half + 0.22), turned, 0.0, desk)
        f.on_top(desk, f.pick("TableLamp", "Desk") or f.pick("TableLamp"), rng.choice((-0.48, 0.48)))
        top = desk.tops[0]
        spot = (top.x, top.y)
        f.clutter += move(
            turn(built.laptop(rng), {"back": 0, "left": 90, "right": -90}.get(wall, 0) + rng.uniform(-8, 8)),
            (*spot, top.z),
        )
        f.reserve(*spot, top.z, 0.2)
        f.litter(desk, built.books(rng, 3), 0.3)
        f.litter(desk, built.mug(rng), -0.28, 0.06)
        f.on_top(desk, f.pick("Plant", "Cactus", "Pothos"), 0.4)
        f.hang(f.pick("Artwork"), wall, nearest_wall(desk, f.space)[1], 1.6)
    for wall in rng.sample(("left", "right", "back"), 2):
        f.against(f.pick("Shelving", "Bookcase", "Industrial", "Ladder", "Cube", "Etagere"), wall)
    f.hang(f.pick("Shelving", "Wall"), rng.choice(("back", "left", "right")), None, 1.6)
    f.rug(f.pick("Rug"), w / 2, d * 0.5, rng.choice((0, 90)))
    chair = f.stand(f.pick("Chair", "Wing", "Barrel"), rng.choice((0.75, w - 0.75)), d * 0.55, rng.choice((-50, 50)))
    f.pillows(chair, 1)
    if rng.random() < 0.5:
        f.stand(f.pick("Ottoman"), w / 2 + rng.uniform(-0.8, 0.8), d * 0.45, rng.uniform(-20, 20))
    f.stand(f.pick("FloorLamp"), rng.choice((0.35, w - 0.35)), d - 0.4, 0)
    f.against(
        f.pick("Cabinet", "Hall", "Sideboard", "Nightstand") if rng.random() < 0.6 else f.pick("BarStool"),
        rng.choice(("left", "right", "back")),
    )
    f.hang(
        f.pick("Clock", "Minimal", "Station", "Sunray", "Pendulum"),
        rng.choice(("back", "left", "right")),
        None,
        1.85,
    )
    f.drop(built.books(rng, 4), rng.uniform(0.4, w - 0.4), rng.uniform(d * 0.4, d * 0.8), 0.16)


def _hall(f: Furnisher) -> None:
    w, d, rng = f.space.width, f.space.depth, f.rng
    if f.space.window.side != "back":
        at = w * rng.choice((0.28, 0.72))
        f.clutter += f.space.on_wall(built.door(), "back", at)
        f.occupy("back", (at - 0.55, at + 0.55, 0, 2.2))
        f.keep_clear(at - 0.5, d - 0.5, at + 0.5, d + 0.02)
    f.rug(f.pick("Rug", "Runner", "Area", "Fringed"), w / 2, d * 0.55, 90)
    for wall in rng.sample(("left", "right"), 2):
        unit = (
            f.pick("Bench")
            if rng.random() < 0.5
            else f.pick("Cabinet", "Hall", "Sideboard") or f.pick("Table", "Console") or f.pick("Dresser")
        )
        piece = f.against(unit, wall, f.space.length(wall) * (0.62 if wall == "left" else 0.38))
        if piece:
            t = nearest_wall(piece, f.space)[1]
            f.hang(f.pick("Mirror") if rng.random() < 0.7 else f.pick("Artwork"), wall, t, 1.55)
            if type(piece.product.design).__name__ != "Bench":
                f.on_top(piece, f.pick("TableLamp"), -0.4)
                f.on_top(piece, f.pick("Vase"), 0.1)
                f.on_top(piece, f.pick("Candle"), 0.4)
            else:
                f.litter(piece, built.books(rng, 2), 0.3)
    f.against(
        f.pick("FoldingSeat") if rng.random() < 0.6 else f.pick("BarStool"),
        rng.choice(("left", "right", "back")),
    )
    f.stand(
        f.pick("Plant", "Fiddle-Leaf Fig", "Snake Plant", "Monstera", "Areca Palm", "Rubber Tree"),
        rng.choice((0.45, w - 0.45)),
        d - 0.5,
        0,
    )
    f.stand(f.pick("FloorLamp"), rng.choice((0.4, w - 0.4)), d - 0.45, 0)
    f.pendant(w / 2, d * 0.62, f.pick("Pendant"))
    f.against(f.pick("Dresser") or f.pick("Shelving"), "back")
    f.hang(
        f.pick("Clock", "Minimal", "Station", "Sunray", "Pendulum"),
        rng.choice(("back", "left", "right")),
        None,
        1.85,
    )
    f.hang(f.pick("Artwork"), "back", None, 1.6)
    f.drop(built.slippers(rng), w / 2 + rng.uniform(-0.6, 0.6), d * 0.5, 0.2)


def finish_off(f: Furnisher) -> None:
    """What any room may have."""
    w, d, rng = f.space.width, f.space.depth, f.rng
    green = f.pick("Plant", "Fiddle-Leaf Fig", "Snake Plant", "Monstera", "Areca Palm", "Rubber Tree")
    for x, y in rng.sample([(0.45, d - 0.45), (w - 0.45, d - 0.45), (0.45, d * 0.55), (w - 0.45, d * 0.55)], 4):
        if rng.random() < 0.8 and f.stand(green, x, y, 0):
            break
    for side in rng.sample(("back", "left", "right"), 3):
        if rng.random() < 0.7:
            f.hang(f.pick(rng.choice(("Artwork", "Artwork", "Mirror"))), side, None, 1.6)


KINDS: dict[str, tuple[Callable[[Furnisher], None], tuple[float, float]]] = {
    "living": (_living, (4.6, 4.6)), "bedroom": (_bedroom, (4.2, 4.4)), "dining": (_dining, (4.2, 4.6)),
    "study": (_study, (3.7, 4.0)), "hall": (_hall, (3.0, 4.2)),
}  # fmt: skip
