"""Run-length masks agree with other people's tools, bit by bit and text by text."""

import json

import numpy as np
import pytest

from pipelines.annotate.importers.masks import decode_rle, encode_rle, read_sav, write_sav
from storage_schemas.mask import MaskTrack


def test_mean_areas_of_sav_are_those_it_states(shared_data):
    content = json.loads((shared_data / "golden/masks/sav_000001_manual.json").read_text())
    stated = json.loads((shared_data / "golden/reference_values.json").read_text())["sav"]
    areas = np.array([[decode_rle(rle).sum() for rle in frame] for frame in content["masklet"]])
    means = [column[column > 0].mean() for column in areas.T]
    np.testing.assert_allclose(means, stated["masklet_size_abs"], atol=1e-4)


def test_sav_masks_are_encoded_to_the_same_text(shared_data):
    content = json.loads((shared_data / "golden/masks/sav_000001_manual.json").read_text())
    for rle in (rle for frame in content["masklet"][::10] for rle in frame):
        assert encode_rle(decode_rle(rle)) == rle


def test_coco_masks_are_encoded_to_the_same_text(shared_data):
    annotations = json.loads((shared_data / "golden/masks/coco_fakesegm100.json").read_text())
    for annotation in annotations[::20]:
        rle = annotation["segmentation"]
        assert encode_rle(decode_rle(rle)) == rle


def test_sav_video_is_a_mask_track(shared_data):
    masks = read_sav(shared_data / "golden/masks/sav_000001_manual.json")
    assert masks.instance.shape == (121, 848, 480)
    assert set(np.unique(masks.instance)) <= set(range(6))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_round_trip(tmp_path, share):
    rng = np.random.default_rng(0)
    instance = np.where(rng.random((3, 17, 23)) < share, rng.integers(1, 4, (3, 17, 23)), 0)
    masks = MaskTrack(instance=instance.astype(np.uint8))
    write_sav(tmp_path / "a.json", masks)
    np.testing.assert_array_equal(read_sav(tmp_path / "a.json").instance, masks.instance)
    for frame in masks.instance:
        np.testing.assert_array_equal(decode_rle(encode_rle(frame > 0)), frame > 0)


def test_known_texts():
    """Worked by hand: 6 pixels, of which the runs are 2, 3, 1; then 0, 6."""
    mask = np.array([[0, 1, 1], [0, 1, 0]], bool)
    assert encode_rle(mask) == {"size": [2, 3], "counts": "231"}
    assert encode_rle(np.ones((2, 3), bool)) == {"size": [2, 3], "counts": "06"}


@pytest.mark.parametrize(
    "content", ["{}", "[]", "x", '{"masklet": [[{"size": [2, 2], "counts": "9"}]]}']
)
def test_a_malformed_file_is_named(tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"bad\.json is no SA-V"):
        read_sav(path)
