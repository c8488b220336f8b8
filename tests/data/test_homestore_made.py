"""How the home store is made: one seed gives the same truth, and the truth agrees with a second,
independent way.
"""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.homestore import mesh, truth
from data.homestore.camera import Camera, Shot
from data.homestore.catalogue import near_alike, row
from data.homestore.design import Design, draw, looks, vary
from data.homestore.finishes import finish
from data.homestore.mesh import bounds
from data.homestore.products import KINDS
from data.homestore.profiles import PROFILES
from data.homestore.sheets import read
from data.homestore.work import FILES, Job, jobs, plan

DEMO = PROFILES["demo"]
STORE = Path(__file__).resolve().parents[2] / "data" / "homestore" / "demo"
WOOD = finish("wood oak")
AHEAD = Camera((0, -4, 1), (0, 0, 1), 60, 160, 120)


def planned(job: Job) -> dict[str, object]:
    return plan(DEMO, DEMO.catalogue, job)[0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_silhouette_has_a_sound_shape(kind: type[Design]) -> None:
    shapes = next(f for f in dataclasses.fields(kind) if f.name == "shape").metadata["choice"]
    for number, shape in enumerate(shapes):
        design = dataclasses.replace(draw(kind, random.Random(number)), shape=shape)
        parts = design.model().parts
        low, high = bounds(parts)
        assert all(np.isfinite(p.vertices).all() and p.faces.max() < len(p.vertices) for p in parts)
        assert ((high - low) > 0.002).all() and (high - low).max() < 3.5
        if design.mount in ("floor", "top"):
            assert abs(low[2]) < 0.02, f"{shape} floats or sinks"
        if design.mount == "ceiling":
            assert abs(high[2]) < 0.001


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(KINDS), st.integers(0, 10_000))
def test_near_alikes_differ_in_one_field_and_can_be_told_apart(kind: type[Design], seed: int) -> None:
    rng = random.Random(seed)
    field, designs = vary(draw(kind, rng), 3, rng)
    assert len(designs) == (3 if field else 1)
    for other in designs[1:]:
        assert near_alike(designs[0], other)
        assert looks(designs[0]) != looks(other)


def test_the_catalogue_text_names_what_is_seen() -> None:
    for product in DEMO.catalogue[::9]:
        text = row(product)
        assert product.name in text["title"]
        assert text["category"] == product.category
        assert "  " not in text["title"] and text["title"][0].isupper()


def test_two_runs_give_the_same_truth() -> None:
    some = [job for job in jobs(DEMO) if job.number == 7]
    assert [planned(job) for job in some] == [planned(job) for job in some]


def test_the_committed_truth_is_what_the_code_makes() -> None:
    committed = {name: {r["path"]: r for r in read(STORE / name)} for name in FILES}
    for job in [job for job in jobs(DEMO) if job.number in (3, 50)]:
        assert planned(job) == committed[job.file][job.key]


@pytest.mark.slow
def test_no_product_of_bench_is_near_alike_to_one_that_training_may_see() -> None:
    bench = PROFILES["bench"].catalogue
    seen = [p.design for name in ("demo", "train", "train2", "train3") for p in PROFILES[name].catalogue]
    assert len(bench) >= 2000
    assert not [b.product for b in bench if any(near_alike(b.design, d) for d in seen)]


def test_a_box_straight_ahead_is_where_geometry_says() -> None:
    thing = [mesh.box((1.0, 1.0, 1.0), WOOD, (0, 0, 0.5), radius=0.0001)]
    [seen] = truth.look(Shot([thing], AHEAD, []))
    half = AHEAD.focal * 0.5 / 3.5  # its front stands 3.5 m off
    expected = ((80 - half) / 160, (60 - half) / 120, (80 + half) / 160, (60 + half) / 120)
    assert truth.agree(seen.box, expected) < 1 / 120
    assert seen.visible == 1
    assert seen.area == pytest.approx((2 * half) ** 2 / (160 * 120), rel=0.05)


def test_what_is_hidden_is_not_seen_and_half_hidden_is_half_visible() -> None:
    back = [mesh.box((1.0, 0.1, 1.0), WOOD, (0, 1, 0.5), radius=0.001)]
    wall = [mesh.box((4.0, 0.1, 4.0), WOOD, (0, -1, -1), radius=0.001)]
    half = [mesh.box((2.0, 0.1, 4.0), WOOD, (-1.0, -1, -1), radius=0.001)]
    assert [s.number for s in truth.look(Shot([back, wall], AHEAD, []))] == [2]
    seen = truth.look(Shot([back, half], AHEAD, []))
    assert seen[0].visible == pytest.approx(0.5, abs=0.03)


def test_things_behind_the_camera_are_cut_away() -> None:
    floor = [mesh.box((20.0, 20.0, 0.1), WOOD, (0, 0, -0.1), radius=0.001)]
    [seen] = truth.look(Shot([floor], AHEAD, []))
    assert seen.box[0] == 0 and seen.box[2] == 1 and seen.box[3] == 1
    assert 0.4 < seen.box[1] < 0.6  # up to the horizon


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000))
def test_the_nearest_triangle_wins_as_in_a_dumber_z_buffer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    camera = Camera((0, 0, 0), (0, 1, 0), 90, 24, 18)
    things = []
    for _ in range(3):
        corners = rng.uniform((2, 2, 0.2), (22, 16, 1.0), (2, 3, 3))  # column, row, 1/distance
        things.append(corners)
    mask = truth.id_mask([np.zeros((0, 3, 3)), *things], camera)
    for r in range(18):
        for c in range(24):
            best, owner = 0.0, 0
            for number, triangles in enumerate(things, start=1):
                for a, b, d in triangles:
                    matrix = np.array([[a[0], b[0], d[0]], [a[1], b[1], d[1]], [1, 1, 1]])
                    weights = np.linalg.solve(matrix, np.array([c + 0.5, r + 0.5, 1]))
                    near = float(weights @ np.array([a[2], b[2], d[2]]))
                    if weights.min() >= 0 and near > best:
                        best, owner = near, number
            assert mask[r, c] == owner


def test_a_mask_that_blender_renders_agrees_with_every_box() -> None:
    pytest.importorskip("bpy", reason="needs Blender's Python module (constraints-render.txt)")
    from data.homestore import render

    render.prepare(2)
    for job in [job for job in jobs(DEMO) if job.file == "scenes.jsonl"][:10]:
        line, shots = plan(DEMO, DEMO.catalogue, job)
        [shot] = shots
        rendered = truth.boxes(render.mask(shot))
        for seen in truth.look(shot):
            if seen.area * 640 * 480 < 12:
                continue  # a few pixels at an edge: no box to speak of
            assert truth.agree(rendered[seen.number], seen.box) <= 0.01, (line["path"], seen)


def test_jobs_name_pictures_inside_the_folder() -> None:
    for job in jobs(DEMO):
        assert all(not Path(p).is_absolute() and ".." not in p for p in job.pictures)
