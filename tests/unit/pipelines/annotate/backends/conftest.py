"""Small networks in the official formats of the outside backends, made here."""

import os
from pathlib import Path

os.environ.setdefault("YOLO_OFFLINE", "true")

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

SHARED_IMAGES = Path(__file__).parents[6] / "shared" / "data" / "images"


@pytest.fixture(scope="session")
def yolo_plan():
    """The package's own yolo11 pose network, narrower."""
    from ultralytics.nn.tasks import yaml_model_load

    plan = yaml_model_load("yolo11n-pose.yaml")
    return {**plan, "scales": {"t": [0.33, 0.125, 256]}, "scale": "t", "nc": 1}


@pytest.fixture(scope="session")
def yolo_file(yolo_plan, save_yolo, tmp_path_factory):
    """A pose network with random weights that sees somebody in many places."""
    from ultralytics.nn.tasks import PoseModel

    torch.manual_seed(0)
    model = PoseModel(dict(yolo_plan), verbose=False)
    with torch.no_grad():
        for branch in model.model[-1].cv3:  # the scores
            branch[-1].bias.fill_(0.0)
            branch[-1].weight.normal_(0, 1)
        for _ in range(30):  # the norms learn the spread, so that answers differ over the picture
            model(torch.rand(2, 3, 128, 128))
    return save_yolo(model.eval(), tmp_path_factory.mktemp("yolo") / "tiny-pose.pt", 256)


@pytest.fixture(scope="session")
def save_yolo():
    """Writes a network as the package's trainer does: the whole module, in half precision."""

    def save(model, path, side_px):
        model.task = "pose"
        torch.save({"model": model.half(), "ema": None, "train_args": {"imgsz": side_px}}, path)
        return path

    return save


@pytest.fixture(scope="session")
def sam2_file(tmp_path_factory):
    """A SAM2 of 0.7 M parameters with random weights, and its plan beside it."""
    import sam2

    from pipelines.annotate.backends.sam2_masks import build_predictor

    plan = OmegaConf.load(Path(sam2.__path__[0], "configs/sam2.1/sam2.1_hiera_t.yaml"))
    attention = {"embedding_dim": 32}
    small = {
        "image_size": 64,
        "image_encoder": {
            "trunk": {"embed_dim": 8, "stages": [1, 1, 2, 1], "global_att_blocks": [3]},
            "neck": {
                "d_model": 32, "backbone_channel_list": [64, 32, 16, 8],
                "position_encoding": {"num_pos_feats": 32},
            },
        },
        "memory_attention": {
            "d_model": 32, "num_layers": 1,
            "layer": {
                "d_model": 32, "dim_feedforward": 32, "self_attention": attention,
                "cross_attention": {**attention, "kv_in_dim": 16},
            },
        },
        "memory_encoder": {
            "in_dim": 32, "out_dim": 16, "position_encoding": {"num_pos_feats": 16},
            "mask_downsampler": {"embed_dim": 32}, "fuser": {"layer": {"dim": 32}},
        },
    }  # fmt: skip
    path = tmp_path_factory.mktemp("sam2") / "tiny.pt"
    OmegaConf.save(OmegaConf.merge(plan, {"model": small}), path.with_suffix(".yaml"))
    torch.manual_seed(0)
    state = build_predictor(path, {}).state_dict()
    for name, value in state.items():  # random weights would say that nobody is there
        if name.endswith("pred_obj_score_head.layers.2.bias"):
            value.fill_(10.0)
    torch.save({"model": state}, path)
    return path


class Gathering:
    """Pictures of 0 to 10 copies of one photographed person, and where their joints are."""

    def __init__(self) -> None:
        import cv2

        from pipelines.annotate.backends.mediapipe_pose import MediaPipePose

        path = SHARED_IMAGES / "fullbody_woman_white.png"
        if not path.is_file():
            pytest.skip(f"no real test material at {path}")
        photo = cv2.imread(str(path))[..., ::-1]
        scale = 384 / len(photo)
        photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        network = MediaPipePose()
        seen = network.follow(photo, network.propose(photo, (0.0, 1.0), [])[0])
        self.points = seen.keypoints_px
        low = np.maximum(self.points.min(0) - 15, 0).astype(int)
        high = np.minimum(self.points.max(0) + 15, photo.shape[1::-1]).astype(int)
        person = photo[low[1] : high[1], low[0] : high[0]]
        self.scale = 0.45
        self.person = cv2.resize(
            person, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA
        )
        self.points = (self.points - low) * self.scale

    def picture(self, count, rng):
        """480 x 960 px; the 33 landmarks of everybody in it."""
        height, width = self.person.shape[:2]
        frame = np.full((480, 960, 3), 235, np.uint8)
        points = []
        for slot in rng.permutation(10)[:count]:
            x = slot % 5 * 192 + int(rng.integers(0, 192 - width))
            y = slot // 5 * 240 + int(rng.integers(0, 240 - height))
            frame[y : y + height, x : x + width] = self.person
            points.append(self.points + np.array([x, y]))
        return frame, np.array(points).reshape(-1, 33, 2)


@pytest.fixture(scope="session")
def gathering():
    return Gathering()


@pytest.fixture(scope="session")
def standing():
    """A function that makes the track of a box-shaped person of 25 x 50 px at x_px."""
    return _standing


def _standing(person_id, x_px, visible):
    from pipelines.annotate.people import PersonTrack

    visible = np.asarray(visible)
    frames = len(visible)
    cells = np.zeros((frames, 256, 256), np.uint8)
    cells[visible, 64:192, 96:160] = 255
    points = np.tile(np.array([x_px, 50.0]), (frames, 33, 1))
    points[:, :, 1] += np.linspace(-20, 20, 33)
    return PersonTrack(
        person_id=person_id,
        visible=visible,
        box_px=np.tile(np.array([x_px - 12.5, 25, x_px + 12.5, 75], np.float32), (frames, 1)),
        keypoints_px=points.astype(np.float32),
        keypoint_confidence=np.full((frames, 33), 0.9, np.float32) * visible[:, None],
        world_keypoints_m=np.zeros((frames, 33, 3), np.float32),
        mask_roi=cells,
        roi=np.tile(np.array([x_px, 50, 100, 0], np.float32), (frames, 1)),
    )
