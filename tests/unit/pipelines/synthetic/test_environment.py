import numpy as np
import pytest

from pipelines.synthetic.environment import (
    GROUNDS,
    direction_of_pixels,
    ground_texture,
    irradiance_sh,
    make_environment,
    read_panorama,
)
from pipelines.synthetic.renderers.opengl import OpenGLRenderer, View


def _environment(**changes):
    values = {
        "seed": 3,
        "ground": "tiles",
        "num_props": 6,
        "free_radius_m": 2.0,
        "view_deg": (-20.0, 20.0),
        "sun_azimuth_deg": 40.0,
        "panorama": None,
    }
    return make_environment(**(values | changes))


def _look(direction) -> np.ndarray:
    z = np.array(direction, float)
    x = np.cross(z, (0.0, 1.0, 0.0) if abs(z[1]) < 0.9 else (0.0, 0.0, 1.0))
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(z, x), z])
    return T


def test_rows_and_columns_of_a_panorama_look_where_openexr_says():
    d = direction_of_pixels(64, 128)
    np.testing.assert_allclose(d[32, 64], (0, 0, 1), atol=0.06)
    np.testing.assert_allclose(d[32, 32], (1, 0, 0), atol=0.06)
    np.testing.assert_allclose(d[0, 5], (0, 1, 0), atol=0.06)
    np.testing.assert_allclose(np.linalg.norm(d, axis=-1), 1.0)


def test_irradiance_of_a_uniform_sky_is_uniform():
    sh = irradiance_sh(np.full((64, 128, 3), 0.7, np.float32))
    np.testing.assert_allclose(sh[0], 0.7, rtol=1e-3)
    np.testing.assert_allclose(sh[1:], 0.0, atol=1e-3)


def test_light_from_above_lights_what_faces_up():
    sky = np.zeros((64, 128, 3), np.float32)
    sky[:32] = 1.0
    sh = irradiance_sh(sky)[:, 0]
    up = sh[0] + sh[1] - sh[6] - sh[8]
    down = sh[0] - sh[1] - sh[6] - sh[8]
    assert up == pytest.approx(1.0, abs=0.05)
    assert down == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("direction", [(1, 0, 0), (-1, 0, 0), (0, 0, 1), (0, 0, -1), (0, 1, 0)])
def test_sky_shows_the_labelled_map_in_the_labelled_direction(shared_data, direction):
    """The black axis letters of the golden map are compared with its own pixels."""
    path = shared_data / "envmaps" / "OrientationLatLong.exr"
    panorama = read_panorama(path)
    environment = _environment(panorama=path, num_props=0)
    side = 48
    K = np.array([[60.0, 0, side / 2], [0, 60.0, side / 2], [0, 0, 1]])
    T = _look(direction)
    with OpenGLRenderer(
        width=side,
        height=side,
        still=(),
        people=(),
        lighting=environment.lighting,
        shadow_centre=np.zeros(3),
        shadow_radius_m=1.0,
    ) as renderer:
        picture = renderer.render(View(K=K, T_camera_world=T)).plate.mean(-1)
    centres = np.stack(np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5), -1)
    rays = np.concatenate([centres, np.ones((side, side, 1))], -1) @ np.linalg.inv(K).T @ T[:3, :3]
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    rows, columns = panorama.shape[:2]
    u = (0.5 - np.arctan2(rays[..., 0], rays[..., 2]) / (2 * np.pi)) * columns
    v = np.arccos(np.clip(rays[..., 1], -1, 1)) / np.pi * rows
    expected = panorama[np.clip(v, 0, rows - 1).astype(int), u.astype(int) % columns].mean(-1)
    assert np.corrcoef(picture.ravel(), expected.ravel())[0, 1] > 0.7
    assert abs(np.corrcoef(picture[:, ::-1].ravel(), expected.ravel())[0, 1]) < 0.6  # not mirrored


def test_a_photographed_sun_stands_at_the_brightest_spot(shared_data):
    path = shared_data / "envmaps" / "venice_sunset_1k.hdr"
    panorama = read_panorama(path)
    upper = panorama[: panorama.shape[0] // 2].sum(-1)
    row, column = np.unravel_index(upper.argmax(), upper.shape)
    brightest = direction_of_pixels(*panorama.shape[:2])[row, column]
    sun = _environment(panorama=path).lighting.sun_direction
    flat = [v[[0, 2]] / np.linalg.norm(v[[0, 2]]) for v in (sun, brightest)]
    assert flat[0] @ flat[1] > 0.999
    assert panorama.max() > 1000  # peaks survive reading


def test_unreadable_panoramas_are_named(tmp_path):
    for name in ("a.hdr", "b.png"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(ValueError, match=name):
            read_panorama(tmp_path / name)


@pytest.mark.parametrize("kind", GROUNDS)
def test_grounds_repeat_without_a_seam(kind):
    texture = ground_texture(kind, np.random.default_rng(0), 128).astype(float)
    inner = np.abs(np.diff(texture, axis=0)).mean((1, 2))
    seam = np.abs(texture[0] - texture[-1]).mean()
    assert seam <= 1.5 * inner.max()
    assert texture.std() > 4
    with pytest.raises(ValueError, match="ground must be one of"):
        ground_texture("lava", np.random.default_rng(0), 128)


def test_props_leave_people_and_camera_free():
    still = _environment(num_props=30).still
    for prop in still[:-1]:
        middle = prop.vertices.mean(0)
        azimuth_deg = np.degrees(np.arctan2(middle[0], middle[2]))
        assert np.linalg.norm(prop.vertices[:, [0, 2]], axis=1).min() > 1.5
        assert abs(azimuth_deg) > 65
        assert prop.vertices[:, 1].min() == pytest.approx(0.0, abs=1e-9)
