"""Pictures from shots, by Blender's Cycles. Nothing is decided here: a `Shot` says all of it."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import Any

import bpy  # type: ignore
import numpy as np
from mathutils import Matrix  # type: ignore
from numpy.typing import NDArray
from PIL import Image

from data.homestore.camera import Camera, Lamp, Shot
from data.homestore.finishes import Finish
from data.homestore.mesh import Parts
from data.homestore.shading import linear, material

GROUND_LIFT = 0.82  # how much brighter than lit paper the white ground looks
GPU_KINDS = ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI")


def prepare(threads: int) -> str:
    """Set Cycles up once for this process; returns "CPU" or the kind of GPU that will render."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.threads_mode = "FIXED"
    # With one thread Cycles 4.5 keeps a second one spinning: the same picture to the bit for twice the processor time.
    scene.render.threads = max(2, threads)
    device = _find_gpu()
    scene.cycles.device = "CPU" if device == "CPU" else "GPU"
    return device


def _find_gpu() -> str:
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in GPU_KINDS:
        try:
            preferences.compute_device_type = kind
        except TypeError:
            continue  # not built for this kind
        preferences.refresh_devices()
        found = [d for d in preferences.devices if d.type == kind]
        for device in preferences.devices:
            device.use = device in found
        if found:
            return kind
    return "CPU"


def picture(shot: Shot) -> Image.Image:
    """The shot as an RGB picture."""
    _build(shot)
    scene = bpy.context.scene
    cycles = scene.cycles
    cycles.samples = shot.samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = True
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
    cycles.denoising_prefilter = "FAST"
    cycles.pixel_filter_type = "BLACKMAN_HARRIS"
    cycles.filter_width = 1.5
    cycles.max_bounces = 3
    cycles.diffuse_bounces = 1
    cycles.glossy_bounces = 2
    cycles.transmission_bounces = 2
    cycles.transparent_max_bounces = 8
    cycles.sample_clamp_indirect = 4.0
    cycles.blur_glossy = 1.0
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.use_light_tree = len(shot.lamps) > 4
    scene.view_settings.view_transform = "Standard" if shot.white else "AgX"
    scene.view_settings.look = "None" if shot.white else "AgX - Medium High Contrast"
    scene.view_settings.exposure = shot.exposure
    return _rendered()


def mask(shot: Shot) -> NDArray[np.int64]:
    """Which object is seen at each pixel's centre [height, width], 0 where it is none.

    A second, independent way to the numbers of `truth.py`: flat emission of the object's number, one
    sample, no filter.
    """
    _build(shot)
    scene = bpy.context.scene
    cycles = scene.cycles
    scene.view_layers[0].material_override = _number_material()
    scene.world.node_tree.nodes["Background"].inputs[1].default_value = 0.0
    cycles.samples = 1
    cycles.use_denoising = False
    cycles.pixel_filter_type = "BOX"
    cycles.filter_width = 0.01
    cycles.max_bounces = 0
    scene.view_settings.view_transform = "Raw"
    scene.view_settings.look = "None"
    scene.view_settings.exposure = 0.0
    levels = np.asarray(_rendered())[..., 0].astype(np.int64)
    scene.view_layers[0].material_override = None
    return np.rint(levels / 4).astype(np.int64)


def _number_material() -> Any:
    made = bpy.data.materials.new("number")
    made.use_nodes = True
    tree = made.node_tree
    tree.nodes.clear()
    info = tree.nodes.new("ShaderNodeObjectInfo")
    scale = tree.nodes.new("ShaderNodeMath")
    scale.operation = "MULTIPLY"
    scale.inputs[1].default_value = 4 / 255
    glow = tree.nodes.new("ShaderNodeEmission")
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(info.outputs["Object Index"], scale.inputs[0])
    tree.links.new(scale.outputs[0], glow.inputs[0])
    tree.links.new(glow.outputs[0], output.inputs[0])
    return made


def _rendered() -> Image.Image:
    scene = bpy.context.scene
    handle, name = tempfile.mkstemp(suffix=".png")
    os.close(handle)
    try:
        scene.render.filepath = name
        scene.render.image_settings.file_format = "PNG"
        scene.render.image_settings.color_mode = "RGB"
        scene.render.image_settings.compression = 0
        bpy.ops.render.render(write_still=True)
        with Image.open(name) as image:
            image.load()
            return image.convert("RGB")
    finally:
        Path(name).unlink(missing_ok=True)


def _build(shot: Shot) -> None:
    """Replace everything in Blender's scene by this shot."""
    for pool in (
        bpy.data.objects,
        bpy.data.meshes,
        bpy.data.lights,
        bpy.data.materials,
        bpy.data.images,
        bpy.data.cameras,
        bpy.data.worlds,
    ):
        bpy.data.batch_remove(list(pool))
    finishes: dict[Finish, Any] = {}
    for number, parts in enumerate([shot.surroundings, *shot.objects]):
        if parts:
            _add_mesh(parts, number, finishes)
    if shot.outside:
        beyond = _add_mesh(shot.outside, 0, finishes)
        beyond.visible_shadow = beyond.visible_diffuse = False
    if shot.white:
        _add_white_ground(shot)
    for lamp in shot.lamps:
        _add_lamp(lamp)
    _set_world(shot)
    _set_camera(shot.camera)


def _add_mesh(parts: Parts, number: int, finishes: dict[Finish, Any]) -> Any:
    mesh = bpy.data.meshes.new("thing")
    offsets = np.cumsum([0, *(len(p.vertices) for p in parts)])
    faces = np.concatenate([np.where(p.faces >= 0, p.faces + o, -1) for p, o in zip(parts, offsets, strict=False)])
    corners = faces.ravel()
    corners = corners[corners >= 0]
    totals = (faces >= 0).sum(axis=1)
    vertices = np.concatenate([p.vertices for p in parts])
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.astype(np.float32).ravel())
    mesh.loops.add(len(corners))
    mesh.loops.foreach_set("vertex_index", corners.astype(np.int32))
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", (np.cumsum(totals) - totals).astype(np.int32))
    slots: dict[Finish, int] = {}
    for p in parts:
        if p.finish not in slots:
            slots[p.finish] = len(slots)
            if p.finish not in finishes:
                finishes[p.finish] = material(p.finish)
            mesh.materials.append(finishes[p.finish])
    index = np.concatenate([np.full(len(p.faces), slots[p.finish]) for p in parts])
    mesh.polygons.foreach_set("material_index", index.astype(np.int32))
    mesh.polygons.foreach_set("use_smooth", np.concatenate([p.smooth for p in parts]))
    attribute = mesh.attributes.new("coord", "FLOAT_VECTOR", "POINT")
    attribute.data.foreach_set("vector", np.concatenate([p.coord for p in parts]).astype(np.float32).ravel())
    mesh.update(calc_edges=True)
    thing = bpy.data.objects.new("thing", mesh)
    thing.pass_index = number
    bpy.context.scene.collection.objects.link(thing)
    return thing


def _add_white_ground(shot: Shot) -> None:
    """A floor that the camera sees as pure white save for the shadow, and that lights the product as paper
    would.
    """
    low = min(float(p.vertices[:, 2].min()) for parts in shot.objects for p in parts)
    mesh = bpy.data.meshes.new("ground")
    mesh.from_pydata([(-60, -60, low), (60, -60, low), (60, 60, low), (-60, 60, low)], [], [(0, 1, 2, 3)])
    paper = bpy.data.materials.new("ground")
    paper.use_nodes = True
    tree = paper.node_tree
    shader, path = tree.nodes["Principled BSDF"], tree.nodes.new("ShaderNodeLightPath")
    shader.inputs["Base Color"].default_value = (0.8, 0.8, 0.8, 1)
    shader.inputs["Specular IOR Level"].default_value = 0.0
    shader.inputs["Emission Color"].default_value = (1, 1, 1, 1)
    lift = tree.nodes.new("ShaderNodeMath")
    lift.operation = "MULTIPLY"
    lift.inputs[1].default_value = GROUND_LIFT
    tree.links.new(path.outputs["Is Camera Ray"], lift.inputs[0])
    tree.links.new(lift.outputs[0], shader.inputs["Emission Strength"])
    mesh.materials.append(paper)
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("ground", mesh))


def _add_lamp(lamp: Lamp) -> None:
    kind = {"area": "AREA", "bulb": "POINT", "sun": "SUN"}[lamp.kind]
    light = bpy.data.lights.new("lamp", kind)
    light.energy = lamp.power
    light.color = linear(lamp.colour)[:3]
    if kind == "AREA":
        light.shape, light.size, light.size_y, light.spread = (
            "RECTANGLE",
            lamp.size,
            lamp.size_y,
            math.radians(lamp.spread),
        )
    elif kind == "POINT":
        light.shadow_soft_size = lamp.size
    else:
        light.angle = math.radians(lamp.size)
    thing = bpy.data.objects.new("lamp", light)
    thing.visible_camera = False
    thing.visible_glossy = kind == "AREA" and lamp.size > 0.5
    thing.matrix_world = _looking(Camera(lamp.position, _off_axis(lamp), 50, 1, 1))
    bpy.context.scene.collection.objects.link(thing)


def _off_axis(lamp: Lamp) -> tuple[float, float, float]:
    """The target, moved a hair where it is straight below, since a camera looking straight down has no
    right.
    """
    x, y, z = lamp.target
    same = abs(x - lamp.position[0]) < 1e-6 and abs(y - lamp.position[1]) < 1e-6
    return (x, y + 1e-4, z) if same else (x, y, z)


def _looking(camera: Camera) -> Any:
    rotation = Matrix(camera.axes().T.tolist()).to_4x4()
    return Matrix.Translation(camera.position) @ rotation


def _set_world(shot: Shot) -> None:
    world = bpy.data.worlds.new("world")
    bpy.context.scene.world = world
    world.use_nodes = True
    world.cycles.sampling_method = "NONE"  # an even sky needs no importance map, which takes a second to make
    tree = world.node_tree
    background = tree.nodes["Background"]
    background.inputs[0].default_value = linear(shot.sky)
    background.inputs[1].default_value = shot.sky_power
    if shot.white:  # mirrors and metal need something darker to reflect than a white page
        ramp, coord = tree.nodes.new("ShaderNodeValToRGB"), tree.nodes.new("ShaderNodeTexCoord")
        split = tree.nodes.new("ShaderNodeSeparateXYZ")
        tree.links.new(coord.outputs["Generated"], split.inputs[0])
        tree.links.new(split.outputs[2], ramp.inputs[0])
        ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = (
            (0.45, 0.46, 0.48, 1),
            (1, 1, 1, 1),
        )
        ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = 0.45, 0.75
        path, pick = tree.nodes.new("ShaderNodeLightPath"), tree.nodes.new("ShaderNodeMixRGB")
        pick.inputs[2].default_value = (4, 4, 4, 1)
        tree.links.new(path.outputs["Is Camera Ray"], pick.inputs[0])
        tree.links.new(ramp.outputs[0], pick.inputs[1])
        tree.links.new(pick.outputs[0], background.inputs[0])


def _set_camera(camera: Camera) -> None:
    data = bpy.data.cameras.new("camera")
    data.sensor_fit = "HORIZONTAL"
    data.angle = math.radians(camera.view)
    data.clip_start, data.clip_end = 0.02, 100.0
    thing = bpy.data.objects.new("camera", data)
    thing.matrix_world = _looking(camera)
    scene = bpy.context.scene
    scene.collection.objects.link(thing)
    scene.camera = thing
    scene.render.resolution_x, scene.render.resolution_y = camera.width, camera.height
    scene.render.resolution_percentage = 100
