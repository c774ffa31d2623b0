"""Every pixel belongs to one person at most, and conflicts are settled as a whole."""

import cv2
import numpy as np
import pytest

from pipelines.annotate.mask import build_masks, people_pixels, resolve_conflicts, without_islands
from pipelines.annotate.people import PersonTrack, detect_people
from storage_schemas.mask import MaskTrack


def standing(person_id, x_px, visible, probability=255, size=100.0):
    frames = len(visible)
    mask = np.zeros((frames, 256, 256), np.uint8)
    mask[:, 64:192, 96:160] = probability
    mask[~np.asarray(visible)] = 0
    return PersonTrack(
        person_id=person_id,
        visible=np.asarray(visible),
        box_px=np.tile(np.array([x_px - 12.5, 25, x_px + 12.5, 75], np.float32), (frames, 1)),
        keypoints_px=np.zeros((frames, 33, 2), np.float32),
        keypoint_confidence=np.zeros((frames, 33), np.float32),
        world_keypoints_m=np.zeros((frames, 33, 3), np.float32),
        mask_roi=mask,
        roi=np.tile(np.array([x_px, 50, size, 0], np.float32), (frames, 1)),
    )


def test_labels_follow_the_order_of_tracks_and_visibility():
    frames = np.zeros((2, 100, 200, 3), np.uint8)
    tracks = [standing(4, 50, [True, True]), standing(9, 150, [True, False])]
    instance = build_masks(tracks, frames).instance
    assert instance[0, 50, 50] == 1
    assert instance[0, 50, 150] == 2
    assert set(np.unique(instance[1])) == {0, 1}
    assert abs(np.count_nonzero(instance[1]) - 25 * 50) < 80


def test_the_surer_network_wins_the_whole_overlap():
    frames = np.zeros((1, 100, 200, 3), np.uint8)
    tracks = [standing(0, 90, [True], probability=180), standing(1, 100, [True])]
    instance = build_masks(tracks, frames).instance[0]
    assert (instance[30:70, 90:110] == 2).all()
    assert (instance[30:70, 79:86] == 1).all()


def test_equal_claims_go_to_the_nearer_person():
    probability = np.full((2, 20, 20), 220, np.uint8)
    assert (resolve_conflicts(probability, np.array([50.0, 80.0])) == 1).all()
    assert (resolve_conflicts(probability, np.array([80.0, 50.0])) == 0).all()


def test_islands_and_pinholes_go():
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    mask[30, 30] = False
    mask[2:4, 2:4] = True
    clean = without_islands(mask)
    assert clean[30, 30]
    assert not clean[:6, :6].any()
    assert clean.sum() == 1600


def test_margin_grows_people_only():
    instance = np.zeros((1, 30, 30), np.uint8)
    instance[0, 10:20, 10:20] = 3
    masks = MaskTrack(instance=instance)
    assert people_pixels(masks).sum() == 100
    grown = people_pixels(masks, 3)
    assert grown[0, 8, 15]
    assert not grown[0, 5, 15]


@pytest.mark.parametrize("refine", [False, True])
def test_skier_agrees_with_the_annotated_outline(shared_data, refine):
    import json

    image = cv2.imread(str(shared_data / "images/coco_skier.jpg"))[..., ::-1]
    golden = json.loads((shared_data / "golden/coco_keypoints.json").read_text())
    outlines = [
        np.array(part, np.float32).reshape(-1, 2)
        for annotation in golden["annotations"]
        if annotation["image_id"] == 785 and not annotation["iscrowd"]
        for part in annotation["segmentation"]
    ]
    truth = np.zeros(image.shape[:2], np.uint8)
    for outline in outlines:
        cv2.fillPoly(truth, [np.round(outline).astype(np.int32)], 1)
    frames = np.ascontiguousarray(image)[None]
    mask = build_masks(detect_people(frames, 25.0), frames, refine=refine).instance[0] == 1
    overlap = (mask & (truth > 0)).sum() / (mask | (truth > 0)).sum()
    assert overlap > 0.75
