"""People by an ultralytics YOLO-pose network at a path (AGPL-3.0: imported only when asked for).

YOLO finds people in the whole frame and gives the 17 keypoints of COCO. What COCO lacks (feet,
hands, depth, the person mask) comes from the embedded landmark network, looking at the window
that YOLO found; a person counts where both see one.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from pipelines.annotate.backends.mediapipe_pose import MediaPipePose
from pipelines.annotate.backends.observation import Observation, Roi
from pipelines.annotate.backends.torch_file import read_torch_file, tensors_of

os.environ.setdefault("YOLO_OFFLINE", "true")  # read once, when ultralytics is loaded

from ultralytics.models.yolo.pose import PosePredictor
from ultralytics.nn.tasks import PoseModel
from ultralytics.utils import DEFAULT_CFG_DICT, patches

# It puts its own there, which breaks on what is no picture.
Image.open = patches._image_open  # pyright: ignore[reportPrivateUsage]

LANDMARK_OF_COCO = np.array([0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28])
"""MediaPipe's number of each COCO keypoint: nose, eyes, ears, shoulders ... ankles."""
INERT_MODULES = ("torch.nn", "ultralytics", "numpy", "_codecs", "pathlib")
"""What official files name: layers, and training arguments that are not used."""
PLAIN_ACTIVATION = re.compile(r"(torch\.)?nn\.\w+\(\)")
DEFAULT_SIDE = 640
FOLLOW_SCORE = 0.1
"""Weakest detection that continues a person; the tracker decides by the observation."""
NEW_SCORE = 0.5
SEEN = 0.5
SAME_PERSON = 0.08
"""Mean distance of common keypoints, part of the window, under which both networks see one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """One person as YOLO sees it."""

    score: float
    box_px: Float[np.ndarray, "4"]
    """Left, top, right, bottom."""
    keypoints_px: Float[np.ndarray, "17 2"]
    confidence: Float[np.ndarray, "17"]


class YoloPose:
    """YOLO-pose, built once from its weights file, with the embedded landmark network."""

    def __init__(self, weights: Path) -> None:
        """Load the network.

        Args:
            weights: `.pt` in the format of ultralytics, 17 keypoints.

        Raises:
            ValueError: If the file holds no such network, or names what could run code.
        """
        model, side_px = load_yolo(weights)
        self._predictor = PosePredictor(
            overrides={
                "conf": FOLLOW_SCORE, "imgsz": side_px, "max_det": 100, "verbose": False,
                "save": False, "rect": True, "device": "0" if torch.cuda.is_available() else "cpu",
            }
        )  # fmt: skip
        self._predictor.setup_model(model=model, verbose=False)
        self._landmarker = MediaPipePose()
        self._last: tuple[bytes, list[Detection]] = (b"", [])

    def propose(
        self,
        frame: UInt8[np.ndarray, "height width 3"],
        scales: Sequence[float],
        near: Sequence[Roi],
    ) -> list[Roi]:
        """Windows about everybody YOLO sees, best first; it always looks at the whole frame."""
        if not scales and not near:
            return []
        found = sorted(self.detect(frame), key=lambda d: -d.score)
        return [window(d) for d in found if d.score >= NEW_SCORE]

    def follow(self, frame: UInt8[np.ndarray, "height width 3"], roi: Roi) -> Observation | None:
        """The person in a window with YOLO's keypoints; None unless both networks see one."""
        seen = self._landmarker.follow(frame, roi)
        if seen is None:
            return None
        distances = [distance(seen, detection) for detection in self.detect(frame)]
        if not distances or min(distances) > SAME_PERSON * seen.size_px:
            return None
        return with_keypoints(seen, self.detect(frame)[int(np.argmin(distances))])

    def detect(self, frame: UInt8[np.ndarray, "height width 3"]) -> list[Detection]:
        """Everybody YOLO sees in a frame; the last frame is remembered."""
        key = hashlib.blake2b(frame.tobytes(), digest_size=16).digest()
        if key != self._last[0]:
            self._last = (key, self._detect(frame))
        return self._last[1]

    def _detect(self, frame: UInt8[np.ndarray, "height width 3"]) -> list[Detection]:
        bgr = np.ascontiguousarray(frame[..., ::-1])
        (result,) = self._predictor(bgr)
        boxes = result.boxes.data.cpu().double().numpy()
        points = result.keypoints.data.cpu().double().numpy()
        return [
            Detection(
                score=float(box[4]),
                box_px=box[:4],
                keypoints_px=point[:, :2],
                confidence=np.clip(point[:, 2], 0, 1),
            )
            for box, point in zip(boxes, points, strict=True)
            if min(box[2:4] - box[:2]) >= 1  # clipped at the border: nothing of it is inside
        ]


def window(detection: Detection) -> Roi:
    """Window about the hips that holds the whole body, upright for the landmark network."""
    x0, y0, x1, y1 = detection.box_px
    middle = np.array([x0 + x1, y0 + y1]) / 2
    seen = detection.confidence > SEEN
    if not (seen[5] or seen[6]) or not (seen[11] or seen[12]):
        return Roi(
            x_px=float(middle[0]), y_px=float(middle[1]), size_px=max(1.25 * float(y1 - y0), 1.0)
        )
    points = detection.keypoints_px
    hips, shoulders = (points[pair][seen[pair]].mean(0) for pair in ([11, 12], [5, 6]))
    up = shoulders - hips
    reach = 1.15 * float(np.linalg.norm(points[seen] - hips, axis=1).max())
    return Roi(
        x_px=float(hips[0]),
        y_px=float(hips[1]),
        size_px=max(2.5 * max(reach, 1.7 * float(np.hypot(*up))), 1.0),
        rotation_rad=float(np.arctan2(up[0], -up[1])),
    )


def distance(seen: Observation, detection: Detection) -> float:
    """Mean distance of the keypoints that both networks are sure of; infinite without any."""
    both = np.minimum(seen.keypoint_confidence[LANDMARK_OF_COCO], detection.confidence)
    apart = np.linalg.norm(seen.keypoints_px[LANDMARK_OF_COCO] - detection.keypoints_px, axis=1)
    sure = both > SEEN
    return float(apart[sure].mean()) if sure.any() else np.inf


def with_keypoints(seen: Observation, detection: Detection) -> Observation:
    """The observation, its common keypoints taken from YOLO where YOLO is the surer one."""
    confidence, points = seen.keypoint_confidence.copy(), seen.keypoints_px.copy()
    surer = detection.confidence > confidence[LANDMARK_OF_COCO]
    chosen = LANDMARK_OF_COCO[surer]
    confidence[chosen], points[chosen] = detection.confidence[surer], detection.keypoints_px[surer]
    return replace(seen, keypoints_px=points, keypoint_confidence=confidence)


def load_yolo(path: Path) -> tuple[PoseModel, int]:
    """The network of an ultralytics file, built by the package from the file's own plan.

    Returns:
        The network, and the image side it was trained at.

    Raises:
        ValueError: If the file holds no pose network of 17 keypoints.
    """
    content = read_torch_file(path, INERT_MODULES)
    if not isinstance(content, dict) or not (content.get("ema") or content.get("model")):
        raise ValueError(f"{path} holds no model; expected a YOLO-pose file of ultralytics")
    saved = content.get("ema") or content["model"]
    plan = getattr(saved, "yaml", None)
    if not isinstance(plan, dict) or list(plan.get("kpt_shape", ())) != [17, 3]:
        raise ValueError(f"{path} is no pose network of 17 keypoints; take a yolo*-pose.pt")
    _check_plan(plan, path)
    try:
        model = PoseModel(cast(Any, dict(plan)), ch=int(plan.get("channels", 3)), verbose=False)
        model.load_state_dict({name: value.float() for name, value in tensors_of(saved).items()})
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} does not fit the layers it names: {error}") from error
    # the package's own loader attaches these two
    model.args, model.task = dict(DEFAULT_CFG_DICT), "pose"  # type: ignore[reportAttributeAccessIssue]
    trained = content.get("train_args") or {}
    return model.eval().requires_grad_(False), int(trained.get("imgsz", DEFAULT_SIDE))


def _check_plan(plan: Mapping[str, Any], path: Path) -> None:
    """The package evaluates the activation as code and resolves layers by name: both plain only."""
    import ultralytics.nn.modules as layers

    activation = plan.get("activation")
    if activation and not PLAIN_ACTIVATION.fullmatch(str(activation)):
        raise ValueError(f"{path} names the activation {activation!r}; refused, it could run code")
    for layer in [*plan.get("backbone", ()), *plan.get("head", ())]:
        name = str(layer[2])
        kind = getattr(torch.nn, name[3:], None) if name[:3] == "nn." else getattr(layers, name, 0)
        if not (isinstance(kind, type) and issubclass(kind, torch.nn.Module)):
            raise ValueError(f"{path} names {name!r}, which is no layer of ultralytics; refused")
