"""What every people backend promises; a new backend is one more row of BACKENDS."""

import numpy as np
import pytest

from pipelines.annotate import people
from pipelines.annotate.backends.observation import MASK_SIZE, PeopleBackend, Roi
from pipelines.annotate.tracking import HIPS, TrackingSettings

SCALES = (0.0, 1.0, 0.66)


@pytest.fixture(params=sorted(people.BACKENDS), scope="module")
def backend(request, yolo_file):
    return people.BACKENDS[request.param](yolo_file if request.param == "yolo" else None)


def observations(backend, frame):
    found = [backend.follow(frame, roi) for roi in backend.propose(frame, SCALES, [])]
    return [observation for observation in found if observation is not None]


def test_signature_and_empty_requests(backend, gathering):
    assert isinstance(backend, PeopleBackend)
    frame, _ = gathering.picture(2, np.random.default_rng(0))
    assert backend.propose(frame, (), []) == []
    nowhere = Roi(x_px=-900.0, y_px=-900.0, size_px=20.0)
    assert backend.follow(frame, nowhere) is None


@pytest.mark.parametrize("count", [1, 3, 10])
def test_windows_and_observations_are_well_formed(backend, gathering, count):
    frame, _ = gathering.picture(count, np.random.default_rng(count))
    proposals = backend.propose(frame, SCALES, [])
    for roi in proposals:
        assert np.isfinite([roi.x_px, roi.y_px, roi.size_px, roi.rotation_rad]).all()
        assert roi.size_px >= 1
    for seen in observations(backend, frame):
        assert seen.keypoints_px.shape == (33, 2)
        assert np.isfinite(seen.keypoints_px).all()
        assert (np.abs(seen.keypoints_px) < 4 * max(frame.shape)).all()  # pixels, not parts
        assert seen.keypoint_confidence.shape == (33,)
        assert (seen.keypoint_confidence >= 0).all()
        assert (seen.keypoint_confidence <= 1).all()
        assert np.abs(seen.world_keypoints_m).max() < 3  # metres about the hips
        assert np.abs(seen.world_keypoints_m[HIPS].mean(0)).max() < 0.1
        assert (seen.mask.shape, seen.mask.dtype) == ((MASK_SIZE, MASK_SIZE), np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (40, 30), (100, 700)])
def test_empty_frames_hold_nobody(backend, size):
    assert observations(backend, np.zeros((*size, 3), np.uint8)) == []


def test_the_same_frame_gives_the_same_answer(backend, gathering):
    first, _ = gathering.picture(3, np.random.default_rng(5))
    other, _ = gathering.picture(1, np.random.default_rng(6))
    before = observations(backend, first)
    observations(backend, other)  # what was remembered of a frame is not mixed up
    after = observations(backend, first)
    assert len(before) == len(after)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a.keypoints_px, b.keypoints_px)
        np.testing.assert_array_equal(a.mask, b.mask)


def check_counts_and_places(backend, gathering):
    rng = np.random.default_rng(11)
    for count in (0, 1, 2, 3, 5, 10):
        frame, truth = gathering.picture(count, rng)
        tracks, _ = people.track_people(
            np.repeat(frame[None], 8, axis=0), 25.0, backend, TrackingSettings()
        )
        assert len(tracks) == count
        for track in tracks:
            apart = np.linalg.norm(
                truth[:, [11, 12, 23, 24]] - track.keypoints_px[4, [11, 12, 23, 24]], axis=2
            )
            assert apart.mean(axis=1).min() < 8  # of 150 px


@pytest.mark.slow
def test_one_to_ten_people_are_found_by_mediapipe(gathering):
    check_counts_and_places(people.BACKENDS["mediapipe"](None), gathering)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_to_ten_people_are_found_by_a_yolo_taught_here(
    gathering, yolo_plan, save_yolo, tmp_path
):
    path = teach_yolo(gathering, yolo_plan, save_yolo, tmp_path / "taught.pt")
    check_counts_and_places(people.BACKENDS["yolo"](path), gathering)


def teach_yolo(gathering, plan, save_yolo, path, side_px=256, steps=180):
    """Train the package's network with its own loss until it knows this one person."""
    import cv2
    import torch
    from ultralytics.nn.tasks import PoseModel
    from ultralytics.utils import DEFAULT_CFG

    from pipelines.annotate.backends.yolo_pose import LANDMARK_OF_COCO

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = PoseModel(dict(plan), verbose=False)
    model.args, model.names = DEFAULT_CFG, {0: "person"}
    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 0.1
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    height, width = gathering.person.shape[:2]
    for step in range(steps):
        images, owners, boxes, keypoints = [], [], [], []
        for index in range(4):
            frame, points = gathering.picture(int(rng.integers(0, 11)), rng)
            small = cv2.resize(frame, (side_px, side_px // 2), interpolation=cv2.INTER_LINEAR)
            images.append(torch.tensor(small).permute(2, 0, 1) / 255)
            for person in points:
                corner = (person - gathering.points)[0]
                centre = corner + np.array([width, height]) / 2
                owners.append(index)
                boxes.append([*(centre / [960, 480]), width / 960, height / 480])
                joints = person[LANDMARK_OF_COCO] / [960, 480]
                keypoints.append(np.column_stack([joints, np.full(17, 2.0)]))
        model.train()
        for norm in norms:  # let the weights meet the statistics they will be used with
            norm.train(step < 110)
        loss, _ = model.loss({
            "img": torch.stack(images), "cls": torch.zeros(len(owners), 1),
            "bboxes": torch.tensor(np.array(boxes).reshape(-1, 4)).float(),
            "keypoints": torch.tensor(np.array(keypoints).reshape(-1, 17, 3)).float(),
            "batch_idx": torch.tensor(owners).float(),
        })  # fmt: skip
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        schedule.step()
    model.criterion = None
    return save_yolo(model.eval(), path, side_px)
