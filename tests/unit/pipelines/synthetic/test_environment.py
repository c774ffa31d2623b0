import hashlib
import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

from pipelines.synthetic.asset import Asset
from pipelines.synthetic.environment import (
    ENVIRONMENT_KINDS,
    PHOTOGRAPHED,
    Environment,
    EnvironmentSpec,
    make_environment,
    sample_environment,
)
from pipelines.synthetic.renderers.opengl import OpenGLRenderer, View
from pipelines.synthetic.surroundings.outdoors import OUTDOORS
from pipelines.synthetic.surroundings.panorama import ambient

EYES = np.array([[0.3, 1.5, 5.0], [1.6, 1.8, 5.2], [-6.0, 1.4, 0.5]])
HDRS = (
    "venice_sunset_1k.hdr",
    "studio_small_03_1k.hdr",
    "potsdamer_platz_1k.hdr",
    "empty_warehouse_01_1k.hdr",
)


def _spec(kind: str = "park", seed: int = 3, **changes) -> EnvironmentSpec:
    values = {"sky": "clear", "free_radius_m": 2.0, "sun_azimuth_deg": 40.0}
    return EnvironmentSpec(seed=seed, kind=kind, **(values | changes))


def _photographed(path) -> Environment:
    return make_environment(_spec(PHOTOGRAPHED, panorama=Asset.of(path)), EYES)


def _digest(environment: Environment) -> str:
    total = hashlib.sha256()
    for mesh in environment.still:
        for array in (mesh.vertices, mesh.uv, mesh.faces, mesh.tint, mesh.texture):
            total.update(np.ascontiguousarray(array).tobytes())
    light = environment.lighting
    for array in (light.panorama, light.ambient_sh, light.sun_rgb, np.array(light.exposure)):
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _plate(environment: Environment, T_camera_world, K, side: int, with_still: bool = True):
    with OpenGLRenderer(
        width=side,
        height=side,
        still=environment.still if with_still else (),
        people=(),
        lighting=environment.lighting,
        shadow_centre=np.zeros(3),
        shadow_radius_m=1.0,
    ) as renderer:
        return renderer.render(View(K=K, T_camera_world=T_camera_world)).plate


def _look(direction, eye=(0.0, 0.0, 0.0)) -> np.ndarray:
    z = np.array(direction, float)
    x = np.cross(z, (0.0, 1.0, 0.0) if abs(z[1]) < 0.9 else (0.0, 0.0, 1.0))
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(z, x), z])
    T[:3, 3] = -T[:3, :3] @ np.array(eye)
    return T


def test_a_thousand_seeds_are_a_thousand_worlds():
    specs = [
        sample_environment(
            np.random.default_rng(seed),
            kinds=ENVIRONMENT_KINDS,
            free_radius_m=2.0,
            azimuth_deg=0.0,
            panorama_folder=None,
        )
        for seed in range(1000)
    ]
    assert len({json.dumps(asdict(spec)) for spec in specs}) == 1000
    assert len({spec.seed for spec in specs}) == 1000
    assert {spec.kind for spec in specs} == set(ENVIRONMENT_KINDS)


@pytest.mark.parametrize("kind", ENVIRONMENT_KINDS)
def test_seeds_of_a_kind_differ_and_hide_nobody(kind):
    """Seen from above: between any eye and the disc of the people nothing stands."""
    worlds = [make_environment(_spec(kind, seed), EYES) for seed in range(3)]
    assert len({_digest(world) for world in worlds}) == 3
    for world in worlds:
        for mesh in world.still:
            assert np.isfinite(mesh.vertices).all()
            assert np.isfinite(mesh.uv).all()
            assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(1.0, abs=1e-3)
            corners = mesh.vertices[mesh.faces]
            if mesh.texture.shape[2] == 4 and mesh.vertices[:, 1].min() < -0.5:
                continue  # the ring of what lies far away
            # middles and corners; floors and carpets lie lower, ceilings and crowns higher
            points = np.concatenate([corners.mean(1), mesh.vertices])
            points = points[(points[:, 1] > 0.15) & (points[:, 1] < 2.2)]
            for eye in EYES[:, [0, 2]]:
                t = np.clip(points[:, [0, 2]] @ eye / (eye @ eye), 0.0, 1.0)
                gap = np.linalg.norm(points[:, [0, 2]] - t[:, None] * eye, axis=1)
                assert (gap > 2.0 * (1 - t) + 0.3 * t).all()


@pytest.mark.parametrize("kind", ENVIRONMENT_KINDS)
def test_people_stand_on_the_floor(kind):
    """Below the people the world is level and at zero."""
    world = make_environment(_spec(kind), EYES)
    low = [
        face
        for mesh in world.still
        for face in mesh.vertices[mesh.faces]
        if face[:, 1].max() < 0.05 and np.linalg.norm(face[:, [0, 2]].mean(0)) < 2.0
    ]
    assert low
    assert np.abs(np.array(low)[..., 1]).max() < 0.02


@pytest.mark.parametrize("kind", [k for k in ENVIRONMENT_KINDS if k not in OUTDOORS])
def test_rooms_are_closed_around_every_camera(kind):
    world = make_environment(_spec(kind), EYES)
    vertices = np.concatenate([mesh.vertices for mesh in world.still])
    for axis in (0, 1, 2):
        assert vertices[:, axis].max() > EYES[:, axis].max()
        assert vertices[:, axis].min() < min(EYES[:, axis].min(), 0.01)


def test_the_order_of_cameras_is_nothing():
    """All views of a performance, each of which names itself first, see one world."""
    for kind in ("street", "office"):
        first, second = (make_environment(_spec(kind), eyes) for eyes in (EYES, EYES[::-1]))
        for a, b in zip(first.still, second.still, strict=True):
            np.testing.assert_array_equal(a.vertices, b.vertices)
        assert first.lighting.exposure == second.lighting.exposure


def test_another_process_makes_the_same_world():
    spec = _spec("living room", 11)
    program = f"""
import numpy as np
from pipelines.synthetic.environment import EnvironmentSpec, make_environment
import hashlib
world = make_environment(EnvironmentSpec(**{asdict(spec)!r}), np.array({EYES.tolist()!r}))
total = hashlib.sha256()
for mesh in world.still:
    for array in (mesh.vertices, mesh.uv, mesh.faces, mesh.tint, mesh.texture):
        total.update(np.ascontiguousarray(array).tobytes())
light = world.lighting
for array in (light.panorama, light.ambient_sh, light.sun_rgb, np.array(light.exposure)):
    total.update(np.ascontiguousarray(array).tobytes())
print(total.hexdigest())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == _digest(make_environment(spec, EYES))


@pytest.mark.parametrize("kind", ["street", "beach", "living room", "studio"])
@pytest.mark.parametrize("sky", ["clear", "overcast", "dusk"])
def test_what_faces_the_camera_is_well_exposed(kind, sky):
    light = make_environment(_spec(kind, sky=sky), EYES[:1]).lighting
    normal = np.array([[0.0, 0.0, 1.0]])
    sun = light.sun_rgb * max(float(normal[0] @ light.sun_direction), 0.0)
    white = light.exposure * (ambient(light.ambient_sh, normal)[0] + sun).mean()
    assert 0.3 < white < 1.0


@pytest.mark.parametrize("direction", [(1, 0, 0), (-1, 0, 0), (0, 0, 1), (0, 0, -1), (0, 1, 0)])
def test_sky_shows_the_labelled_map_in_the_labelled_direction(shared_data, direction):
    """The black axis letters of the golden map are compared with its own pixels."""
    environment = _photographed(shared_data / "envmaps" / "OrientationLatLong.exr")
    panorama, side = environment.lighting.panorama, 48
    K = np.array([[60.0, 0, side / 2], [0, 60.0, side / 2], [0, 0, 1]])
    T = _look(direction)
    picture = _plate(environment, T, K, side, with_still=False).mean(-1)
    centres = np.stack(np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5), -1)
    rays = np.concatenate([centres, np.ones((side, side, 1))], -1) @ np.linalg.inv(K).T @ T[:3, :3]
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    rows, columns = panorama.shape[:2]
    u = (0.5 - np.arctan2(rays[..., 0], rays[..., 2]) / (2 * np.pi)) * columns
    v = np.arccos(np.clip(rays[..., 1], -1, 1)) / np.pi * rows
    expected = panorama[np.clip(v, 0, rows - 1).astype(int), u.astype(int) % columns].mean(-1)
    assert np.corrcoef(picture.ravel(), expected.ravel())[0, 1] > 0.7
    assert abs(np.corrcoef(picture[:, ::-1].ravel(), expected.ravel())[0, 1]) < 0.6  # not mirrored


@pytest.mark.parametrize("name", HDRS)
def test_photographed_floor_continues_the_photograph(shared_data, name):
    """From where the map was taken, the floor shows what the map shows there without a floor."""
    environment = _photographed(shared_data / "envmaps" / name)
    still = tuple(replace(mesh, casts_shadow=False) for mesh in environment.still)
    environment, side = replace(environment, still=still), 96
    K = np.array([[70.0, 0, side / 2], [0, 70.0, side / 2], [0, 0, 1]])
    level = np.array([0.0, -0.35, 1.0]) / np.hypot(0.35, 1.0)
    T = _look(level, eye=(0.0, 1.6, 0.0))
    with_floor, without = (_plate(environment, T, K, side, w).astype(int) for w in (True, False))
    assert np.median(np.abs(with_floor - without)) <= 6
    assert with_floor.std() > 8


@pytest.mark.parametrize("name", HDRS)
def test_photographed_light_is_measured(shared_data, name):
    light = _photographed(shared_data / "envmaps" / name).lighting
    level = EYES[0] * [1, 0, 1]
    normal = (level / np.linalg.norm(level))[None]
    sun = light.sun_rgb * max(float(normal[0] @ light.sun_direction), 0.0)
    white = light.exposure * (ambient(light.ambient_sh, normal)[0] + sun).mean()
    assert 0.15 < white < 1.4


def test_records_that_contradict_themselves_are_refused():
    for changes, message in (
        ({"kind": "moon"}, "kind must be one of"),
        ({"kind": PHOTOGRAPHED}, "a panorama belongs to"),
        ({"sky": "green"}, "sky must be one of"),
        ({"free_radius_m": -1.0}, "free_radius_m"),
    ):
        with pytest.raises(ValueError, match=message):
            _spec(**changes)
