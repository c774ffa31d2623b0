"""Poses and person masks of several people with the networks inside the mediapipe wheel.

The public solution of mediapipe knows one person; its two inner graphs know more: the detector
gives every person of a tile, and the landmark network works on any window (checked in 0.10.21).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from pipelines.annotate.backends.observation import MASK_SIZE, Observation, Roi

os.environ.setdefault("GLOG_minloglevel", "2")  # read once, when mediapipe is loaded

import mediapipe as mp
from google.protobuf import text_format
from mediapipe.framework import calculator_pb2
from mediapipe.framework.formats import rect_pb2
from mediapipe.python import packet_creator, packet_getter
from mediapipe.python._framework_bindings import calculator_graph, image_frame, resource_util

_calculator: Any = calculator_pb2  # generated modules: their names are unknown to type checkers
_rect: Any = rect_pb2

DETECT_GRAPH = """
input_stream: "image" output_stream: "detections"
node { calculator: "PoseDetectionCpu"
  input_stream: "IMAGE:image" output_stream: "DETECTIONS:detections" }
"""
FOLLOW_GRAPH = """
input_stream: "image" input_stream: "roi"
input_side_packet: "complexity" input_side_packet: "segment"
output_stream: "landmarks" output_stream: "world" output_stream: "auxiliary" output_stream: "mask"
node { calculator: "PoseLandmarkByRoiCpu"
  input_side_packet: "MODEL_COMPLEXITY:complexity" input_side_packet: "ENABLE_SEGMENTATION:segment"
  input_stream: "IMAGE:image" input_stream: "ROI:roi"
  output_stream: "LANDMARKS:landmarks" output_stream: "WORLD_LANDMARKS:world"
  output_stream: "AUXILIARY_LANDMARKS:auxiliary" output_stream: "SEGMENTATION_MASK:mask" }
"""
DETECTOR_SIDE = 224
DETECTION_SCORE = 0.5
ROI_ENLARGEMENT = 1.25


class MediaPipePose:
    """The two graphs, built once; about 22 ms of CPU per tile and 25 ms per person and frame."""

    def __init__(self) -> None:
        resource_util.set_resource_dir(str(Path(mp.__file__).parents[1]))
        self._detector = _Graph(DETECT_GRAPH, ["detections"], {})
        self._landmarker = _Graph(
            FOLLOW_GRAPH,
            ["landmarks", "world", "auxiliary", "mask"],
            {
                "complexity": packet_creator.create_int(1),
                "segment": packet_creator.create_bool(True),
            },
        )

    def propose(
        self,
        frame: UInt8[np.ndarray, "height width 3"],
        scales: Sequence[float],
        near: Sequence[Roi],
    ) -> list[Roi]:
        """Windows about everybody the detector sees, best first; bodies cut by a tile twice.

        Args:
            frame: RGB.
            scales: Tile sides as parts of the short side; 0 stands for the whole frame at once.
            near: Windows where somebody is expected; each gets a tile of its own.
        """
        found: list[tuple[float, Roi]] = []
        for scale in scales:
            found.extend(self._detect_tiles(frame, scale))
        for roi in near:
            found.extend(self._detect_near(frame, roi))
        return [roi for _, roi in _without_repeated_rois(found)]

    def follow(self, frame: UInt8[np.ndarray, "height width 3"], roi: Roi) -> Observation | None:
        """Landmarks and mask of the person in a window; None when the network sees nobody."""
        affine = roi.affine_image_from_roi()
        window = _sample_window(frame, affine)
        full = _rect.NormalizedRect(x_center=0.5, y_center=0.5, width=1.0, height=1.0)
        answer = self._landmarker.run(image=_image(window), roi=packet_creator.create_proto(full))
        if "landmarks" not in answer or "mask" not in answer:
            return None
        points, confidence = _landmarks(answer["landmarks"])
        auxiliary, _ = _landmarks(answer["auxiliary"])
        world, _ = _landmarks(answer["world"])
        mask = packet_getter.get_image(answer["mask"]).numpy_view()
        if mask.shape[:2] != (MASK_SIZE, MASK_SIZE):
            raise ValueError(f"mask must be {MASK_SIZE} cells wide, got {mask.shape}")
        to_image = affine[:, :2] * MASK_SIZE
        centre, scale_point = auxiliary[:2, :2] @ to_image.T + affine[:, 2]
        cos, sin = np.cos(roi.rotation_rad), np.sin(roi.rotation_rad)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])  # the graph saw it upright
        return Observation(
            keypoints_px=points[:, :2] @ to_image.T + affine[:, 2],
            keypoint_confidence=confidence,
            world_keypoints_m=world @ turn.T,
            mask=np.rint(np.clip(mask, 0, 1) * 255).astype(np.uint8),
            roi=roi,
            next_roi=_roi(centre, scale_point),
        )

    def _detect_tiles(
        self, frame: UInt8[np.ndarray, "height width 3"], scale: float
    ) -> list[tuple[float, Roi]]:
        height, width = frame.shape[:2]
        side = max(height, width) if scale == 0 else round(scale * min(height, width))
        shrink = min(1.0, DETECTOR_SIDE / side)
        small = cv2.resize(
            frame, (round(width * shrink), round(height * shrink)), interpolation=cv2.INTER_AREA
        )
        small_side = round(side * shrink)
        found = []
        for y in _tile_starts(small.shape[0], small_side):
            for x in _tile_starts(small.shape[1], small_side):
                tile = small[y : y + small_side, x : x + small_side]
                for score, centre, scale_point in self._detect_tile(tile):
                    offset = np.array([x, y])
                    found.append(
                        (score, _roi((centre + offset) / shrink, (scale_point + offset) / shrink))
                    )
        return found

    def _detect_near(
        self, frame: UInt8[np.ndarray, "height width 3"], roi: Roi
    ) -> list[tuple[float, Roi]]:
        side = max(round(0.8 * roi.size_px), 32)
        x, y = (max(0, round(v - side / 2)) for v in (roi.x_px, roi.y_px))
        tile = frame[y : y + side, x : x + side]
        if min(tile.shape[:2]) < 16:
            return []
        shrink = min(1.0, DETECTOR_SIDE / side)
        if shrink < 1:
            tile = cv2.resize(tile, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        offset = np.array([x, y])
        return [
            (score, _roi(centre / shrink + offset, scale_point / shrink + offset))
            for score, centre, scale_point in self._detect_tile(tile)
        ]

    def _detect_tile(
        self, tile: UInt8[np.ndarray, "height width 3"]
    ) -> list[tuple[float, Float[np.ndarray, "2"], Float[np.ndarray, "2"]]]:
        answer = self._detector.run(image=_image(tile))
        if "detections" not in answer:
            return []
        size = np.array([tile.shape[1], tile.shape[0]])
        found = []
        detections: list[Any] = packet_getter.get_proto_list(answer["detections"])
        for detection in detections:
            score = float(detection.score[0])
            points = detection.location_data.relative_keypoints
            if score >= DETECTION_SCORE:
                centre, scale_point = (np.array([p.x, p.y]) * size for p in points[:2])
                found.append((score, centre, scale_point))
        return found


class _Graph:
    """A mediapipe graph that answers one question at a time."""

    def __init__(self, text: str, outputs: Sequence[str], side_packets: dict[str, Any]) -> None:
        config = text_format.Parse(text, _calculator.CalculatorGraphConfig())
        self._graph = calculator_graph.CalculatorGraph(graph_config=config)
        self._answer: dict[str, Any] = {}
        self._time = 0
        for name in outputs:
            self._graph.observe_output_stream(name, self._answer.__setitem__)
        self._graph.start_run(side_packets)

    def run(self, **inputs: Any) -> dict[str, Any]:
        self._time += 1
        self._answer.clear()
        for name, packet in inputs.items():
            self._graph.add_packet_to_input_stream(name, packet.at(self._time))
        self._graph.wait_until_idle()
        return dict(self._answer)


def _image(pixels: UInt8[np.ndarray, "height width 3"]) -> Any:
    return packet_creator.create_image_frame(
        image_format=image_frame.ImageFormat.SRGB, data=np.ascontiguousarray(pixels)
    )


def _landmarks(packet: Any) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n"]]:
    landmarks: Any = packet_getter.get_proto(packet)
    points = landmarks.landmark
    xyz = np.array([[p.x, p.y, p.z] for p in points])
    return xyz, np.array([p.visibility * p.presence for p in points])


def _roi(centre: Float[np.ndarray, "2"], scale_point: Float[np.ndarray, "2"]) -> Roi:
    """Window around the hip centre; the scale point lies above the head at rotation 0."""
    up = scale_point - centre
    return Roi(
        x_px=float(centre[0]),
        y_px=float(centre[1]),
        size_px=max(float(2 * ROI_ENLARGEMENT * np.hypot(*up)), 1.0),
        rotation_rad=float(np.arctan2(up[0], -up[1])),
    )


def _sample_window(
    frame: UInt8[np.ndarray, "height width 3"], affine_image_from_roi: Float[np.ndarray, "2 3"]
) -> UInt8[np.ndarray, "256 256 3"]:
    """The window at the size of the network, black outside the image, without aliasing."""
    shrink = np.hypot(*affine_image_from_roi[:, 0])
    centre = affine_image_from_roi @ np.array([MASK_SIZE / 2, MASK_SIZE / 2, 1])
    reach = shrink * MASK_SIZE * 0.75
    x0, y0 = np.maximum(np.floor(centre - reach).astype(int), 0)
    x1, y1 = np.ceil(centre + reach).astype(int)
    part = frame[y0 : max(y1, y0), x0 : max(x1, x0)]
    if part.size == 0:
        return np.zeros((MASK_SIZE, MASK_SIZE, 3), np.uint8)
    factor = min(1.0, 2.0 / shrink)
    if factor < 1:
        part = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    affine = affine_image_from_roi.copy()
    affine[:, 2] -= (x0, y0)
    affine *= factor
    affine[:, 2] += affine[:, :2] @ np.full(2, 0.5) - 0.5  # OpenCV puts pixel centres at integers
    return cv2.warpAffine(
        part, affine, (MASK_SIZE, MASK_SIZE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )


def _tile_starts(length: int, side: int) -> list[int]:
    """Starts of tiles that overlap by a third or more and cover the whole length."""
    if side >= length:
        return [0]
    count = int(np.ceil((length - side) / (side * 0.66))) + 1
    return [round(start) for start in np.linspace(0, length - side, count)]


def _without_repeated_rois(rois: list[tuple[float, Roi]]) -> list[tuple[float, Roi]]:
    """Drop windows about the same hip centre and of similar size, best score first."""
    kept: list[tuple[float, Roi]] = []
    for score, roi in sorted(rois, key=lambda scored: -scored[0]):
        for _, other in kept:
            distance = np.hypot(roi.x_px - other.x_px, roi.y_px - other.y_px)
            ratio = roi.size_px / other.size_px
            if distance < 0.12 * max(roi.size_px, other.size_px) and 0.6 < ratio < 1.67:
                break
        else:
            kept.append((score, roi))
    return kept
