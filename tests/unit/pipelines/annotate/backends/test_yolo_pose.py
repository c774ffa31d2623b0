"""YOLO-pose files are rebuilt from their plan, and answer as the package itself answers."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.annotate.backends.torch_file import read_torch_file, tensors_of
from pipelines.annotate.backends.yolo_pose import (
    INERT_MODULES,
    LANDMARK_OF_COCO,
    Detection,
    YoloPose,
    distance,
    load_yolo,
    window,
    with_keypoints,
)


def test_detections_are_those_of_the_package(yolo_file):
    from ultralytics import YOLO

    frame = np.random.default_rng(1).integers(0, 255, (120, 200, 3), dtype=np.uint8)
    mine = YoloPose(yolo_file).detect(frame)
    result = YOLO(str(yolo_file), task="pose").predict(
        frame[..., ::-1].copy(), conf=0.1, imgsz=256, max_det=100, verbose=False
    )[0]
    boxes = result.boxes.data.numpy()
    inside = (boxes[:, 2:4] - boxes[:, :2]).min(axis=1) >= 1
    assert len(mine) == inside.sum() > 3
    assert np.ptp(boxes[:, 4]) > 0.01
    np.testing.assert_allclose([d.box_px for d in mine], boxes[inside, :4], atol=1e-3)
    points = result.keypoints.data.numpy()[inside]
    np.testing.assert_allclose([d.keypoints_px for d in mine], points[..., :2], atol=1e-2)
    np.testing.assert_allclose([d.confidence for d in mine], points[..., 2], atol=1e-5)


def test_every_tensor_of_the_file_arrives(yolo_file):
    content = read_torch_file(yolo_file, INERT_MODULES)
    saved = tensors_of(content["model"])
    network, side_px = load_yolo(yolo_file)
    assert side_px == 256
    assert set(saved) == set(network.state_dict())
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value.float(), saved[name].float())


def standing(scale=100.0, at=(300.0, 200.0)):
    """A person facing us, hips at `at`, 1.7 high."""
    points = np.zeros((17, 2))
    points[:5] = (0, -0.85)
    points[[5, 6]] = (0.2, -0.5), (-0.2, -0.5)
    points[7:11] = (0.2, -0.1)
    points[[11, 12]] = (0.1, 0), (-0.1, 0)
    points[13:15], points[15:17] = (0.1, 0.4), (0.1, 0.85)
    points = points * scale + at
    box = np.concatenate([points.min(0), points.max(0)])
    return Detection(score=0.9, box_px=box, keypoints_px=points, confidence=np.full(17, 0.9))


def test_window_stands_on_the_hips_and_turns_with_the_body():
    person = standing()
    upright = window(person)
    assert (upright.x_px, upright.y_px) == (300.0, 200.0)
    assert upright.rotation_rad == pytest.approx(0)
    assert upright.size_px / 2 > 100  # everybody fits
    turned = (person.keypoints_px - [300, 200]) @ np.array([[0, 1], [-1, 0]]) + [300, 200]
    lying = Detection(
        score=0.9, box_px=person.box_px, keypoints_px=turned, confidence=person.confidence
    )
    assert window(lying).rotation_rad == pytest.approx(np.pi / 2)
    assert window(lying).size_px == pytest.approx(upright.size_px)


def test_surer_network_gives_the_keypoint(gathering):
    from pipelines.annotate.backends.mediapipe_pose import MediaPipePose

    frame, _ = gathering.picture(1, np.random.default_rng(0))
    network = MediaPipePose()
    seen = network.follow(frame, network.propose(frame, (0.66,), [])[0])
    assert seen is not None
    moved = seen.keypoints_px[LANDMARK_OF_COCO] + 3.0
    confidence = np.where(np.arange(17) % 2 == 0, 1.0, 0.0)
    both = Detection(score=1.0, box_px=np.zeros(4), keypoints_px=moved, confidence=confidence)
    assert distance(seen, both) == pytest.approx(np.hypot(3, 3))
    joined = with_keypoints(seen, both)
    np.testing.assert_allclose(joined.keypoints_px[LANDMARK_OF_COCO[::2]], moved[::2])
    np.testing.assert_array_equal(
        joined.keypoints_px[LANDMARK_OF_COCO[1::2]], seen.keypoints_px[LANDMARK_OF_COCO[1::2]]
    )


class Danger:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return exec, (self.command,)


@pytest.mark.parametrize("inside", ["alone", "beside a model"])
def test_a_malicious_weights_file_is_refused_before_it_acts(tmp_path, yolo_file, inside):
    marker = tmp_path / "ran"
    danger = Danger(f"open({str(marker)!r}, 'w').close()")
    path = tmp_path / "bad.pt"
    torch.save(
        {"model": danger} if inside == "alone" else {"model": torch.nn.ReLU(), "x": danger}, path
    )
    with pytest.raises(ValueError, match=r"bad\.pt names .*exec.* refused"):
        load_yolo(path)
    assert not marker.exists()


def test_a_raw_pickle_and_a_damaged_file_are_refused(tmp_path, yolo_file):
    raw = tmp_path / "raw.pt"
    marker = tmp_path / "ran"
    raw.write_bytes(pickle.dumps(Danger(f"open({str(marker)!r}, 'w').close()")))
    cut = tmp_path / "cut.pt"
    cut.write_bytes(yolo_file.read_bytes()[:10_000])
    for path in (raw, cut):
        with pytest.raises(ValueError, match=path.name):
            load_yolo(path)
    assert not marker.exists()
    with pytest.raises(FileNotFoundError, match="nothing"):
        load_yolo(tmp_path / "nothing.pt")


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"activation": "__import__('os').system('true')"}, "activation"),
        ({"backbone": [[-1, 1, "os.system", ["true"]]]}, "no layer"),
        ({"head": [[-1, 1, "torch_safe_load", ["true"]]]}, "no layer"),
        ({"kpt_shape": [5, 3]}, "17 keypoints"),
        ({"nc": 7}, "does not fit"),
    ],
)
def test_a_plan_that_runs_code_or_does_not_fit_is_refused(tmp_path, yolo_plan, change, finding):
    from ultralytics.nn.tasks import PoseModel

    model = PoseModel(dict(yolo_plan), verbose=False)
    model.yaml = {**model.yaml, **change}
    path = tmp_path / "plan.pt"
    torch.save({"model": model}, path)
    with pytest.raises(ValueError, match=finding):
        load_yolo(path)


def test_tensors_alone_are_no_pose_network(tmp_path):
    path = tmp_path / "tensors.pt"
    torch.save({"model": {"a": torch.zeros(1)}}, path)
    with pytest.raises(ValueError, match="no pose network"):
        load_yolo(path)


def test_the_package_is_loaded_only_when_asked_for():
    import subprocess
    import sys

    code = (
        "import sys, pipelines.annotate.clip as c; c.STEPS;"
        "sys.exit(any(m in sys.modules for m in ('ultralytics', 'sam2')))"
    )
    root = Path(__file__).parents[5]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_pictures_are_still_opened_by_pillow():
    assert Image.open.__module__ == "PIL.Image"
