import numpy as np
import pytest

from pipelines.synthetic.surroundings.panorama import (
    ambient,
    direction_of_pixels,
    irradiance_sh,
    read_panorama,
    split_sun,
)

UP = np.array([[0.0, 1.0, 0.0]])


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
    sh = irradiance_sh(sky)
    assert ambient(sh, UP)[0, 0] == pytest.approx(1.0, abs=0.05)
    assert ambient(sh, -UP)[0, 0] == pytest.approx(0.0, abs=0.05)


def test_sun_and_rest_are_all_the_light():
    """A small bright disc in a grey sky is found where it is, with the light that it gives."""
    rows, columns = 256, 512
    sky = np.full((rows, columns, 3), 0.2, np.float32)
    d = direction_of_pixels(rows, columns)
    sun = np.array([0.6, 0.64, 0.48]) / np.linalg.norm([0.6, 0.64, 0.48])
    disc = d @ sun > np.cos(np.radians(2.0))
    sky[disc] = 900.0
    light = split_sun(sky)
    assert np.degrees(np.arccos(light.sun_direction @ sun)) < 0.5
    solid_angle = 2.0 * np.pi * (1.0 - np.cos(np.radians(2.0)))
    np.testing.assert_allclose(
        light.sun_rgb, 900.0 * solid_angle / np.pi, rtol=0.06
    )  # what is as bright as the sky stays
    total = ambient(light.ambient_sh, UP)[0] + light.sun_rgb * sun[1]
    theta = np.pi * (np.arange(rows) + 0.5) / rows
    area = (np.sin(theta) * np.pi / rows * 2.0 * np.pi / columns)[:, None]
    exact = (sky[..., 0] * np.maximum(d[..., 1], 0.0) * area).sum() / np.pi
    np.testing.assert_allclose(total, exact, rtol=0.02)


@pytest.mark.parametrize("name", ["venice_sunset_1k.hdr", "empty_warehouse_01_1k.hdr"])
def test_a_photographed_sun_stands_at_the_brightest_spot(shared_data, name):
    panorama = read_panorama(shared_data / "envmaps" / name)
    upper = panorama[: panorama.shape[0] // 2].sum(-1)
    row, column = np.unravel_index(upper.argmax(), upper.shape)
    brightest = direction_of_pixels(*panorama.shape[:2])[row, column]
    assert np.degrees(np.arccos(split_sun(panorama).sun_direction @ brightest)) < 8.0
    assert panorama.max() > 100  # peaks survive reading


def test_unreadable_panoramas_are_named(tmp_path, shared_data):
    venice = (shared_data / "envmaps" / "venice_sunset_1k.hdr").read_bytes()
    whole = (shared_data / "envmaps" / "OrientationLatLong.exr").read_bytes()
    for name, content in (
        ("noise.hdr", b"nothing"),
        ("empty.exr", b""),
        ("picture.png", b"nothing"),
        ("cut.hdr", venice[: len(venice) // 2]),
        ("cut.exr", whole[: len(whole) // 2]),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}.* take this file out"):
            read_panorama(tmp_path / name)


@pytest.mark.parametrize("name", ["damaged_heap_oob_1.exr", "damaged_truncated_header.exr"])
def test_damaged_files_are_named(shared_data, name):
    with pytest.raises(ValueError, match=rf"{name}.* take this file out"):
        read_panorama(shared_data / "broken" / name)


def test_maps_that_are_no_light_are_refused(tmp_path):
    import cv2

    for name, finding, change in (
        ("square.hdr", "twice as wide", np.ones((64, 64, 3), np.float32)),
        ("black.hdr", "black", np.zeros((32, 64, 3), np.float32)),
    ):
        cv2.imwrite(str(tmp_path / name), change)
        with pytest.raises(ValueError, match=rf"{name}.*{finding}"):
            read_panorama(tmp_path / name)
