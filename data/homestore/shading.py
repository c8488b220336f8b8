"""A finish as a Blender material: the only place that knows how wood, cloth, metal or glass looks."""

from __future__ import annotations

from typing import Any

import bpy  # type: ignore
import numpy as np

from data.homestore.finishes import Finish
from data.homestore.paint import paint, rgb


def linear(colour: str) -> tuple[float, float, float, float]:
    """A hex sRGB colour as linear RGBA."""
    red, green, blue = (_decode(v / 255) for v in rgb(colour))
    return red, green, blue, 1.0


def _decode(srgb: float) -> float:
    return srgb / 12.92 if srgb <= 0.04045 else float(((srgb + 0.055) / 1.055) ** 2.4)


class _Nodes:
    """A node tree under construction, with one short call for each kind of node."""

    def __init__(self, material: Any) -> None:
        material.use_nodes = True
        self.tree = material.node_tree
        self.tree.nodes.clear()
        self.output = self.tree.nodes.new("ShaderNodeOutputMaterial")

    def add(self, kind: str, **settings: Any) -> Any:
        """A node; settings are attributes, or inputs (values or sockets) named with spaces as underscores."""
        node = self.tree.nodes.new(f"ShaderNode{kind}")
        inputs = {s.name.replace(" ", "_"): s for s in reversed(node.inputs) if s.enabled}
        for name, value in settings.items():
            if name not in inputs:
                setattr(node, name, value)
            elif isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, inputs[name])
            else:
                inputs[name].default_value = value
        return node

    def surface(self, shader: Any) -> None:
        """Make this shader the material."""
        self.tree.links.new(shader.outputs[0], self.output.inputs[0])

    def coord(self, x: float = 1, y: float = 1, z: float = 1) -> Any:
        """The part's texture coordinates, scaled."""
        attribute = self.add("Attribute", attribute_name="coord")
        return self.add("Mapping", Vector=attribute.outputs["Vector"], Scale=(x, y, z)).outputs[0]

    def noise(self, vector: Any, scale: float, detail: float = 2, distortion: float = 0) -> Any:
        """Noise in 0..1."""
        return self.add("TexNoise", Vector=vector, Scale=scale, Detail=detail, Distortion=distortion).outputs[0]

    def shades(self, value: Any, colour: str, low: float, high: float) -> Any:
        """The colour, from `low` to `high` times as bright as the value goes from 0.3 to 0.7."""
        ramp = self.add("ValToRGB", Fac=value)
        base = np.array(linear(colour)[:3])
        for element, place, factor in zip(ramp.color_ramp.elements, (0.3, 0.7), (low, high), strict=True):
            element.position = place
            element.color = (*np.clip(base * factor, 0, 1), 1)
        return ramp.outputs[0]

    def bump(self, height: Any, strength: float, distance: float = 0.002) -> Any:
        """A normal that follows a height."""
        return self.add("Bump", Height=height, Strength=strength, Distance=distance).outputs[0]

    def principled(self, **settings: Any) -> Any:
        """The standard shader."""
        return self.add("BsdfPrincipled", **settings)


def _wood(n: _Nodes, f: Finish) -> Any:
    grain = n.noise(n.coord(1.1, 16, 5), 3.2, 4, 1.2)
    return n.principled(Base_Color=n.shades(grain, f.colour, 0.55, 1.18), Roughness=0.42)


def _lacquer(n: _Nodes, f: Finish) -> Any:
    return n.principled(Base_Color=linear(f.colour), Roughness=0.35, IOR=1.45)


def _metal(n: _Nodes, f: Finish) -> Any:
    if f.name in ("black", "white"):
        return n.principled(Base_Color=linear(f.colour), Roughness=0.42)
    rough = {"chrome": 0.12, "gold": 0.22, "brass": 0.24}.get(f.name, 0.3)
    return n.principled(Base_Color=linear(f.colour), Metallic=1.0, Roughness=rough)


def _cloth(n: _Nodes, f: Finish) -> Any:
    c = n.coord()
    kind = f.kind
    coarse = {"boucle": 95.0, "wool": 210.0, "linen": 330.0, "cotton": 420.0, "velvet": 500.0}[kind]
    fine = n.noise(c, coarse, 3 if kind == "boucle" else 2)
    if f.picture is not None:
        colour = _image(n, f)
    else:
        low, high = {"linen": (0.78, 1.14), "boucle": (0.72, 1.1), "velvet": (0.8, 1.05)}.get(kind, (0.85, 1.08))
        colour = n.shades(fine if kind != "velvet" else n.noise(c, 5.0, 2), f.colour, low, high)
    sheen = {"velvet": 1.0, "boucle": 0.4, "wool": 0.3}.get(kind, 0.15)
    strength = {"boucle": 0.9, "wool": 0.5, "linen": 0.4}.get(kind, 0.2)
    distance = 0.008 if kind == "boucle" else 0.002
    return n.principled(
        Base_Color=colour,
        Roughness=0.9,
        Sheen_Weight=sheen,
        Sheen_Roughness=0.35,
        Specular_IOR_Level=0.15,
        Normal=n.bump(fine, strength, distance),
    )


def _leather(n: _Nodes, f: Finish) -> Any:
    cells = n.add("TexVoronoi", Vector=n.coord(), Scale=170.0).outputs[0]
    colour = n.shades(n.noise(n.coord(), 9.0, 3), f.colour, 0.75, 1.15)
    return n.principled(Base_Color=colour, Roughness=0.38, Normal=n.bump(cells, 0.25, 0.0015))


def _glazed(n: _Nodes, f: Finish) -> Any:
    if f.picture is not None:
        colour = _image(n, f)
    elif f.name == "speckled":
        ramp = n.add("ValToRGB", Fac=n.noise(n.coord(), 160.0, 1))
        ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = (
            linear("7a6a58"),
            linear(f.colour),
        )
        ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = 0.36, 0.42
        colour = ramp.outputs[0]
    else:
        colour = n.shades(n.noise(n.coord(), 6.0, 3), f.colour, 0.9, 1.06)
    matte = f.kind == "stoneware"
    return n.principled(Base_Color=colour, Roughness=0.6 if matte else 0.18, Coat_Weight=0.0 if matte else 0.4)


def _glass(n: _Nodes, f: Finish) -> Any:
    """Thin glass: clear and tinted straight on, mirror-like at the rim. Refraction would cost noise and
    time.
    """
    through = n.add("BsdfTransparent", Color=linear(f.colour))
    gloss = n.add("BsdfGlossy", Roughness=0.03, Color=(1, 1, 1, 1))
    rim = n.add("LayerWeight", Blend=0.32).outputs["Facing"]
    tint = n.principled(Base_Color=linear(f.colour), Roughness=0.1)
    body = n.add("MixShader", Fac=0.10 if f.name == "clear" else 0.25)
    n.tree.links.new(through.outputs[0], body.inputs[1])
    n.tree.links.new(tint.outputs[0], body.inputs[2])
    mixed = n.add("MixShader", Fac=rim)
    n.tree.links.new(body.outputs[0], mixed.inputs[1])
    n.tree.links.new(gloss.outputs[0], mixed.inputs[2])
    return mixed


def _mirror(n: _Nodes, f: Finish) -> Any:
    return n.principled(Base_Color=linear(f.colour), Metallic=1.0, Roughness=0.02)


def _marble(n: _Nodes, f: Finish) -> Any:
    veins = n.noise(n.coord(), 3.5, 7, 2.6)
    ramp = n.add("ValToRGB", Fac=veins)
    base = linear(f.colour)
    contrast = linear("f0ede6") if f.name in ("black", "green") else linear("77746f")
    first, last = ramp.color_ramp.elements
    first.position, last.position, first.color, last.color = 0.455, 0.53, base, base
    middle = ramp.color_ramp.elements.new(0.49)
    middle.color = contrast
    return n.principled(Base_Color=ramp.outputs[0], Roughness=0.16)


def _woven(n: _Nodes, f: Finish) -> Any:
    wave = n.add("TexWave", Vector=n.coord(), Scale=42.0, Distortion=2.0, Detail=2.0, bands_direction="X").outputs[1]
    cross = n.add("TexWave", Vector=n.coord(), Scale=30.0, Distortion=1.0, bands_direction="Z").outputs[1]
    both = n.add("Math", operation="MULTIPLY", Value=wave)
    n.tree.links.new(cross, both.inputs[1])
    ramp = n.add("ValToRGB", Fac=both.outputs[0])
    base = np.array(linear(f.colour)[:3])
    ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = (*base * 0.35, 1), (*base, 1)
    ramp.color_ramp.elements[1].position = 0.4
    return n.principled(Base_Color=ramp.outputs[0], Roughness=0.7, Normal=n.bump(both.outputs[0], 0.5, 0.004))


def _plaster(n: _Nodes, f: Finish) -> Any:
    if f.picture is not None:
        return n.principled(Base_Color=_image(n, f), Roughness=0.8)
    colour = n.shades(n.noise(n.coord(), 2.0, 4), f.colour, 0.95, 1.03)
    return n.principled(Base_Color=colour, Roughness=0.85, Normal=n.bump(n.noise(n.coord(), 120, 2), 0.08))


def _wall(n: _Nodes, f: Finish) -> Any:
    """Wall paint. Most light paths in a room end on it, so it must be cheap."""
    return n.add("BsdfDiffuse", Color=_image(n, f) if f.picture is not None else linear(f.colour))


def _wax(n: _Nodes, f: Finish) -> Any:
    return n.principled(Base_Color=linear(f.colour), Roughness=0.5, Subsurface_Weight=0.2, Subsurface_Scale=0.02)


def _leaf(n: _Nodes, f: Finish) -> Any:
    colour = n.shades(n.noise(n.coord(), 14.0, 2), f.colour, 0.6, 1.3)
    return n.principled(Base_Color=colour, Roughness=0.45)


def _light(n: _Nodes, f: Finish) -> Any:
    return n.add("Emission", Color=linear(f.colour), Strength=f.glow)


def _paper(n: _Nodes, f: Finish) -> Any:
    """A lampshade: cloth or paper, glowing when its lamp is on."""
    base = n.principled(Base_Color=linear(f.colour), Roughness=0.9)
    if f.glow:
        base.inputs["Emission Color"].default_value = linear("ffd9a0")
        base.inputs["Emission Strength"].default_value = f.glow
    return base


def _screen(n: _Nodes, f: Finish) -> Any:
    base = n.principled(Base_Color=(0.01, 0.01, 0.012, 1), Roughness=0.15)
    if f.picture is not None:
        n.tree.links.new(_image(n, f), base.inputs["Emission Color"])
        base.inputs["Emission Strength"].default_value = 0.9
    return base


def _backdrop(n: _Nodes, f: Finish) -> Any:
    return n.add("Emission", Color=_image(n, f), Strength=f.glow)


def _planks(n: _Nodes, f: Finish) -> Any:
    """Floor boards: bricks that differ in shade, with grain along them."""
    c = n.coord()
    bricks = n.add(
        "TexBrick",
        Vector=c,
        Color1=(0.35, 0.35, 0.35, 1),
        Color2=(0.7, 0.7, 0.7, 1),
        Mortar=(0, 0, 0, 1),
        Scale=1.0,
        Mortar_Size=0.0016,
        Brick_Width=1.4,
        Row_Height=0.15,
        Bias=0.0,
    )
    bricks.offset = 0.37
    bend = n.add("MixRGB", blend_type="ADD", Fac=1.0)
    n.tree.links.new(n.coord(1.0, 15, 1), bend.inputs[1])
    n.tree.links.new(bricks.outputs[0], bend.inputs[2])
    grain = n.noise(bend.outputs[0], 3.0, 3, 1.0)
    mix = n.add("MixRGB", blend_type="MIX", Fac=0.45)
    n.tree.links.new(grain, mix.inputs[1])
    n.tree.links.new(bricks.outputs[0], mix.inputs[2])
    colour = n.shades(mix.outputs[0], f.colour, 0.6, 1.2)
    return n.principled(Base_Color=colour, Roughness=0.38)


def _tiles(n: _Nodes, f: Finish) -> Any:
    base = np.array(linear(f.colour)[:3])
    bricks = n.add(
        "TexBrick",
        Vector=n.coord(),
        Color1=(*base * 0.93, 1),
        Color2=(*base, 1),
        Mortar=(*base * 0.55, 1),
        Scale=1.0,
        Mortar_Size=0.004,
        Brick_Width=0.6,
        Row_Height=0.6,
    )
    bricks.offset = 0.0
    return n.principled(Base_Color=bricks.outputs[0], Roughness=0.25)


def _brickwork(n: _Nodes, f: Finish) -> Any:
    base = np.array(linear(f.colour)[:3])
    bricks = n.add(
        "TexBrick",
        Vector=n.coord(),
        Color1=(*base * 0.75, 1),
        Color2=(*base * 1.1, 1),
        Mortar=linear("b9b2a6"),
        Scale=1.0,
        Mortar_Size=0.006,
        Brick_Width=0.22,
        Row_Height=0.075,
    )
    return n.principled(Base_Color=bricks.outputs[0], Roughness=0.85, Normal=n.bump(bricks.outputs[1], -0.4, 0.01))


def _carpet(n: _Nodes, f: Finish) -> Any:
    c = n.coord()
    fine = n.noise(c, 300.0, 2)
    return n.principled(
        Base_Color=n.shades(fine, f.colour, 0.75, 1.12),
        Roughness=1.0,
        Specular_IOR_Level=0.05,
        Normal=n.bump(fine, 0.7, 0.01),
    )


def _image(n: _Nodes, f: Finish) -> Any:
    """The colours of the painted picture."""
    assert f.picture is not None
    pixels = paint(f.picture).astype(np.float32) / 255
    image = bpy.data.images.new("painted", pixels.shape[1], pixels.shape[0])
    image.pixels.foreach_set(np.dstack([pixels, np.ones(pixels.shape[:2], np.float32)]).ravel())
    image.update()
    return n.add("TexImage", Vector=n.coord(), image=image, extension="REPEAT").outputs[0]


_KINDS = {
    "wood": _wood, "lacquer": _lacquer, "plastic": _lacquer, "metal": _metal, "leather": _leather,
    "ceramic": _glazed, "stoneware": _glazed, "glass": _glass, "mirror": _mirror, "marble": _marble,
    "rattan": _woven, "seagrass": _woven, "plaster": _plaster, "wall": _wall, "wax": _wax, "leaf": _leaf,
    "light": _light,
    "paper": _paper, "screen": _screen, "backdrop": _backdrop, "planks": _planks, "tiles": _tiles,
    "brickwork": _brickwork, "carpet": _carpet,
    **dict.fromkeys(("linen", "cotton", "wool", "boucle", "velvet"), _cloth),
}  # fmt: skip


def material(f: Finish) -> Any:
    """The Blender material of a finish."""
    made = bpy.data.materials.new(f"{f.kind} {f.name}")
    nodes = _Nodes(made)
    nodes.surface(_KINDS[f.kind](nodes, f))
    return made
