"""What surrounds a picture goes, and only that."""

import cv2
import numpy as np
import pytest

from pipelines.ingest.crop import find_crop
from pipelines.video_io import iterate_frames, probe

LONG_SIDE_PX = 360


def grey_samples(path, count=10):
    info = probe(path)
    indices = np.unique(np.linspace(0, info.num_frames - 1, count).round().astype(int))
    size = LONG_SIDE_PX / max(info.height, info.width)
    size_px = (round(info.height * size) // 2 * 2, round(info.width * size) // 2 * 2)
    frames = iterate_frames(info, indices.tolist(), size_px)
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])


@pytest.fixture(scope="module")
def scene(shared_data):
    return grey_samples(shared_data / "real_videos/bedroom_two_kids.mp4")


def surround(scene, canvas, top, left):
    boxed = np.repeat(canvas[None], len(scene), 0) if canvas.ndim == 2 else canvas.copy()
    height, width = scene.shape[1:]
    boxed[:, top : top + height, left : left + width] = scene
    return boxed


def assert_close(crop, top, left, height, width):
    """Nothing of the surround is left, and at most four lines of the picture go."""
    gaps = (crop.top - top, crop.left - left, top + height - crop.top - crop.height,
            left + width - crop.left - crop.width)  # fmt: skip
    assert all(0 <= gap <= 4 for gap in gaps), gaps


@pytest.mark.parametrize("bar_level", [0, 16, 128, 250])
@pytest.mark.parametrize(("above", "beside"), [(40, 0), (0, 30), (40, 20)])
def test_bars_of_any_colour_go(scene, bar_level, above, beside):
    height, width = scene.shape[1:]
    canvas = np.full((height + 2 * above, width + 2 * beside), bar_level, np.uint8)
    crop = find_crop(surround(scene, canvas, above, beside))
    assert_close(crop, above, beside, height, width)


def test_a_screen_in_a_still_design_is_found(scene):
    height, width = scene.shape[1:]
    small = np.random.default_rng(0).integers(0, 255, (20, 20), np.uint8)
    canvas = cv2.resize(small, (width + 120, height + 100), interpolation=cv2.INTER_CUBIC)
    assert_close(find_crop(surround(scene, canvas, 30, 80)), 30, 80, height, width)


def test_a_blurred_copy_beside_the_picture_goes(scene):
    height, width = scene.shape[1:]
    wide = [cv2.GaussianBlur(cv2.resize(f, (2 * width, height)), (0, 0), 15) for f in scene]
    crop = find_crop(surround(scene, np.stack(wide), 0, width // 2))
    assert_close(crop, 0, width // 2, height, width)


def test_real_footage_is_left_as_it_is_but_for_its_bars(shared_data):
    # Pillarboxed by 72 of 640 px; the dance has 10 black columns at its right edge.
    bars = {"chaplin_two_men_bw.mp4": (0.75, 0.8), "dance_fast_vertical.mp4": (0.96, 0.99)}
    for path in sorted((shared_data / "real_videos").glob("*.m[po][4v]")):
        samples = grey_samples(path, 8)
        crop = find_crop(samples)
        low, high = bars.get(path.name, (1.0, 1.0))
        assert crop.height == samples.shape[1], path.name
        assert low <= crop.width / samples.shape[2] <= high, path.name


def test_a_frame_of_nothing_is_not_cropped_away():
    black = np.zeros((4, 64, 64), np.uint8)
    assert find_crop(black) == (0, 0, 64, 64)
