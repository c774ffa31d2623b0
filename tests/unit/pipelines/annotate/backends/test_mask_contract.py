"""What every mask backend promises; a new backend is one more row of BACKENDS."""

import numpy as np
import pytest

from pipelines.annotate import mask


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 255, (6, 100, 200, 3), dtype=np.uint8)


@pytest.fixture(params=sorted(mask.BACKENDS), scope="module")
def backend(request, sam2_file):
    return mask.BACKENDS[request.param](sam2_file if request.param == "sam2" else None)


def test_nobody_has_no_pixels(backend, frames, standing):
    assert not backend([], frames).instance.any()
    assert not backend([standing(0, 50, [False] * 6)], frames).instance.any()


def test_masks_have_the_clip_size_and_labels_of_the_tracks(backend, frames, standing):
    tracks = [standing(7, 50, [True] * 6), standing(3, 150, [False] * 3 + [True] * 3)]
    found = backend(tracks, frames).instance
    assert (found.shape, found.dtype) == (frames.shape[:3], np.uint8)
    assert found.max() <= 2
    np.testing.assert_array_equal(backend(tracks, frames).instance, found)


def test_labels_follow_the_order_of_the_tracks(backend, frames, standing):
    tracks = [standing(0, 50, [True] * 6), standing(1, 150, [True] * 6)]
    forward, backward = (backend(order, frames).instance for order in (tracks, tracks[::-1]))
    swapped = np.array([0, 2, 1], np.uint8)[backward]
    assert (forward == swapped).mean() > 0.999  # equal claims go to the first


@pytest.mark.parametrize(("name", "weights"), [("sam2", None), ("pose", "file.pt")])
def test_weights_where_none_belong_and_none_where_some_do(name, weights, tmp_path):
    with pytest.raises(ValueError, match="weights"):
        mask.BACKENDS[name](tmp_path / weights if weights else None)
