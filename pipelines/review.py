"""Pictures of clips and labels, because people would rather look than read.

Frames are uint8 RGB. Nothing here opens a file: reports, the review page and the Dagster metadata
all draw with these functions.
"""

import base64
import io
from collections.abc import Sequence

import cv2
import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from PIL import Image

from models.body.model import BodyModel
from models.geometry import invert_rigid, project
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.conventions import SMPL_PARENTS

mpl.use("Agg")

Frames = UInt8[np.ndarray, "_ _ _ 3"]
Picture = UInt8[np.ndarray, "_ _ 3"]

COLOURS = np.array(
    [(86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (213, 94, 0), (240, 228, 66)],
    np.uint8,
)
"""One per person, distinguishable with every kind of colour vision (Okabe and Ito 2008)."""
LABEL_HEIGHT_PX = 18
GREY = (235, 235, 235)


def colour(person: int) -> tuple[int, int, int]:
    """RGB of a person."""
    red, green, blue = (int(value) for value in COLOURS[person % len(COLOURS)])
    return red, green, blue


def draw_skeletons(frames: Frames, bodies: BodyTracks) -> Frames:
    """Frames with every visible person's joints and bones."""
    drawn = frames.copy()
    thickness = max(1, round(min(frames.shape[1:3]) / 180))
    for person, (joints_px, visible) in enumerate(
        zip(bodies.joints_px, bodies.visible, strict=True)
    ):
        for image, joints, is_visible in zip(drawn, joints_px, visible, strict=True):
            if not is_visible:
                continue
            points = [(round(float(x)), round(float(y))) for x, y in np.clip(joints, -1e4, 1e4)]
            for joint, parent in enumerate(SMPL_PARENTS):
                if parent >= 0:
                    cv2.line(
                        image, points[parent], points[joint], colour(person), thickness, cv2.LINE_AA
                    )
            for point in points:
                cv2.circle(image, point, thickness + 1, (255, 255, 255), -1, cv2.LINE_AA)
    return drawn


def draw_bodies(
    frames: Frames,
    bodies: BodyTracks,
    camera: CameraTrack,
    body: BodyModel,
    opacity: float = 0.6,
) -> Frames:
    """Frames with every visible person's shaded body, far faces first."""
    drawn = frames.copy()
    for frame, image in enumerate(drawn):
        triangles, depths, shades = [], [], []
        for person in np.flatnonzero(bodies.visible[:, frame]):
            corners, depth, light = _project_faces(bodies, camera, body, int(person), frame)
            triangles.append(corners)
            depths.append(depth)
            shades.append(light[:, None] * COLOURS[person % len(COLOURS)])
        if triangles:
            layer = image.copy()
            order = np.argsort(-np.concatenate(depths))
            corners = np.concatenate(triangles)[order]
            shade = np.concatenate(shades)[order]
            for triangle, rgb in zip(corners, shade.tolist(), strict=True):
                cv2.fillConvexPoly(layer, triangle, rgb)
            cv2.addWeighted(layer, opacity, image, 1 - opacity, 0, dst=image)
    return drawn


def _project_faces(
    bodies: BodyTracks, camera: CameraTrack, body: BodyModel, person: int, frame: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integer corners, mean depth and brightness of the faces that look at the camera."""
    with torch.no_grad():
        posed = body.pose(
            torch.from_numpy(bodies.betas[person].copy()),
            torch.from_numpy(bodies.global_orient[person, frame].copy()),
            torch.from_numpy(bodies.body_pose[person, frame].copy()),
            torch.from_numpy(bodies.transl[person, frame].copy()),
        )
        xy_px, depth_m = project(
            posed.vertices.double(),
            torch.from_numpy(camera.K[frame].copy()),
            torch.from_numpy(camera.T_camera_world[frame].copy()),
        )
    faces = body.faces.numpy()
    corners = np.clip(xy_px.numpy(), -3e4, 3e4)[faces]
    depth = depth_m.numpy()[faces]
    vertices = posed.vertices.numpy()[faces]
    normal = np.cross(vertices[:, 1] - vertices[:, 0], vertices[:, 2] - vertices[:, 0])
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    # with y down, faces that look at the camera turn clockwise on the screen
    keep = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0) & (depth > 0.05).all(-1)
    light = 0.55 + 0.45 * np.clip(normal @ np.array([0.4, 0.8, 0.45]), 0, 1)
    return np.round(corners[keep]).astype(np.int32), depth[keep].mean(-1), light[keep]


def draw_masks(
    frames: Frames, instance: UInt8[np.ndarray, "frames height width"], opacity: float = 0.55
) -> Frames:
    """Frames with every person's mask in the person's colour."""
    table = np.concatenate([np.zeros((1, 3), np.uint8), np.tile(COLOURS, (43, 1))])[:256]
    tint = table[instance]
    mixed = (frames * (1 - opacity) + tint * opacity).astype(np.uint8)
    return np.where(instance[..., None] > 0, mixed, frames)


def draw_depth(depth_m: Float[np.ndarray, "frames height width"]) -> Frames:
    """Near is warm, far is cold, nothing is black; the scale of nearness is that of the clip."""
    near = np.where(np.isfinite(depth_m) & (depth_m > 0), 1 / np.maximum(depth_m, 1e-6), 0)
    known = near[near > 0]
    low, high = np.percentile(known, (2, 98)) if len(known) else (0.0, 1.0)
    level = np.clip((near - low) / max(high - low, 1e-9), 0, 1)
    drawn = np.stack([_colour_map((frame * 255).astype(np.uint8)) for frame in level])
    return np.where(near[..., None] > 0, drawn, 0).astype(np.uint8)


def _colour_map(level: UInt8[np.ndarray, "height width"]) -> Picture:
    return np.ascontiguousarray(cv2.applyColorMap(level, cv2.COLORMAP_TURBO)[..., ::-1])


def draw_normals(unit: Float[np.ndarray, "frames height width 3"]) -> Frames:
    """World x, y, z as red, green, blue; black where nothing was hit."""
    is_hit = np.abs(unit).max(-1, keepdims=True) > 0
    return np.where(is_hit, (unit + 1) * 127.5, 0).astype(np.uint8)


def draw_flow(
    flow_px: Float[np.ndarray, "frames height width 2"],
    occluded: Bool[np.ndarray, "frames height width"],
) -> Frames:
    """Direction as hue, length as strength on the scale of the clip; occluded pixels dimmed."""
    length_px = np.linalg.norm(flow_px, axis=-1)
    scale_px = max(float(np.percentile(length_px, 99)), 1e-3)
    hue = np.degrees(np.arctan2(flow_px[..., 1], flow_px[..., 0])) % 360 / 2
    strength = np.clip(length_px / scale_px, 0, 1) * 255
    light = np.where(occluded, 128, 255)
    hsv = np.stack([hue, strength, light], -1).astype(np.uint8)
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_HSV2RGB) for frame in hsv])


def draw_points(
    frames: Frames,
    xy_px: Float[np.ndarray, "points frames 2"],
    visible: Bool[np.ndarray, "points frames"],
    trail: int = 6,
) -> Frames:
    """Dimmed frames with tracked points and where they were over the last frames."""
    drawn = frames // 2
    hues = np.linspace(0, 255, max(1, len(xy_px))).astype(np.uint8)[:, None]
    colours = [tuple(int(value) for value in rgb) for rgb in _colour_map(hues)[:, 0]]
    for point, rgb in enumerate(colours):
        for index in np.flatnonzero(visible[point]):
            way = np.clip(xy_px[point, max(0, index - trail) : index + 1], -1e4, 1e4)
            line = way.round().astype(np.int32)[:, None]
            cv2.polylines(drawn[index], [line], False, rgb, 1, cv2.LINE_AA)
            cv2.circle(drawn[index], line[-1, 0].tolist(), 1, rgb, -1, cv2.LINE_AA)
    return drawn


def pick(frames: Frames, count: int) -> Frames:
    """Evenly spaced frames, the first and the last among them."""
    return frames[np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)]


def fit_height(frames: Frames, height_px: int) -> Frames:
    """Frames resized to a height, enlarged without blur so that small videos stay honest."""
    height, width = frames.shape[1:3]
    size = (max(1, round(width * height_px / height)), height_px)
    way = cv2.INTER_AREA if height_px < height else cv2.INTER_NEAREST
    return np.stack([cv2.resize(frame, size, interpolation=way) for frame in frames])


def label(picture: Picture, text: str) -> Picture:
    """Picture under a strip of text."""
    strip = np.full((LABEL_HEIGHT_PX, picture.shape[1], 3), 30, np.uint8)
    cv2.putText(strip, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, GREY, 1, cv2.LINE_AA)
    return np.concatenate([strip, picture])


def contact_sheet(
    rows: Sequence[tuple[str, Frames]], columns: int = 8, height_px: int = 128
) -> Picture:
    """One row per named video, evenly spaced frames from left to right."""
    lines = []
    for text, frames in rows:
        line = np.concatenate(list(fit_height(pick(frames, columns), height_px)), axis=1)
        lines.append(label(line, text))
    width = max(line.shape[1] for line in lines)
    padded = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0))) for line in lines]
    return np.concatenate(padded)


def side_by_side(videos: Sequence[tuple[str, Frames]], height_px: int = 192) -> Frames:
    """One video with the given ones next to each other; shorter ones hold their last frame."""
    length = max(len(frames) for _, frames in videos)
    columns = []
    for text, frames in videos:
        resized = fit_height(frames, height_px)
        held = resized[np.minimum(np.arange(length), len(frames) - 1)]
        columns.append(np.stack([label(frame, text) for frame in held]))
    joined = np.concatenate(columns, axis=2)
    height, width = joined.shape[1:3]
    return np.pad(joined, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))


def plot_camera_path(camera: CameraTrack, bodies: BodyTracks | None = None) -> Picture:
    """Top view of the camera's way and looking directions, and where the people walk."""
    T_world_camera = invert_rigid(torch.from_numpy(camera.T_camera_world.copy())).numpy()
    eye, forward = T_world_camera[:, :3, 3], T_world_camera[:, :3, 2]
    figure = Figure(figsize=(4.2, 3.6), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(eye[:, 0], eye[:, 2], "k.-", label=f"camera ({camera.kind})")
    step = max(1, len(eye) // 8)
    axes.quiver(
        eye[::step, 0], eye[::step, 2], forward[::step, 0], forward[::step, 2],
        angles="xy", scale=9, width=0.005,
    )  # fmt: skip
    if bodies is not None:
        for person, transl in enumerate(bodies.transl):
            shown = transl[bodies.visible[person]]
            rgb = tuple(value / 255 for value in colour(person))
            axes.plot(shown[:, 0], shown[:, 2], ".-", color=rgb, label=f"person {person}")
    unit = "m" if camera.is_metric else "free scale"
    axes.set(xlabel=f"x ({unit})", ylabel=f"z ({unit})", aspect="equal")
    axes.set_adjustable("datalim")
    axes.legend(fontsize=7)
    return figure_picture(figure)


def plot_curves(
    curves: Sequence[tuple[str, Sequence[int | float], Sequence[float]]], ylabel: str
) -> Picture:
    """Named curves over training steps."""
    figure = Figure(figsize=(5.2, 3.0), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for text, steps, values in curves:
        axes.plot(steps, values, label=text, linewidth=1.2)
    axes.set(xlabel="step", ylabel=ylabel)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return figure_picture(figure)


def figure_picture(figure: Figure) -> Picture:
    """A matplotlib figure as pixels."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))


def encode_picture(picture: Picture, quality: int = 88) -> bytes:
    """JPEG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def data_uri(data: bytes, kind: str) -> str:
    """Bytes inside a page, for example of kind `image/jpeg`."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
