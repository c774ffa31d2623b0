"""One clip in space: bodies on their floor, the camera on its way, and what it saw.

World axes are those of the records (metres, y up). A browser draws; viser sends it the shapes of
the chosen frame. The server listens on the loopback address only.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import viser
from jaxtyping import Float, UInt8
from viser.transforms import SO3

from models.body.model import BodyModel
from models.geometry import invert_rigid
from pipelines.clip_files import ReadMember
from pipelines.review import colour, draw_masks, draw_points
from pipelines.video_io import decode_mp4
from storage_schemas import shards
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.clip import ClipRecord
from storage_schemas.mask import MaskTrack
from storage_schemas.points import PointTracks

PICTURE_SIDE_PX = 480
"""Longest side of the pictures that are sent for each frame."""
FRUSTUM_M = 0.6
GREY = (150, 150, 150)


@dataclass(kw_only=True)
class ClipScene:
    """A clip's labels, ready to be drawn frame by frame."""

    clip: ClipRecord
    bodies: BodyTracks
    camera: CameraTrack
    pictures: UInt8[np.ndarray, "frames _ _ 3"]
    """The video with masks and background points over it."""
    body: BodyModel

    @classmethod
    def read(cls, read: ReadMember) -> "ClipScene":
        """The scene of a labelled clip.

        Raises:
            FileNotFoundError: A label is missing.
        """
        pictures = decode_mp4(read(shards.VIDEO))
        pictures = draw_masks(pictures, MaskTrack.from_npz(read(shards.MASK)).instance, 0.35)
        try:
            points = PointTracks.from_npz(read(shards.POINTS))
            drawn = draw_points(pictures, points.xy_px, points.visible)
            # `draw_points` dims the picture so that points stand out in a report; here both count.
            pictures = np.maximum(drawn, pictures)
        except FileNotFoundError:
            pass
        step = max(1, -(-max(pictures.shape[1:3]) // PICTURE_SIDE_PX))
        return cls(
            clip=ClipRecord.from_json(read(shards.CLIP)),
            bodies=BodyTracks.from_npz(read(shards.BODY)),
            camera=CameraTrack.from_npz(read(shards.CAMERA)),
            pictures=np.ascontiguousarray(pictures[:, ::step, ::step]),
            body=BodyModel.load(),
        )

    def vertices(self, person: int, frame: int) -> Float[np.ndarray, "vertices 3"]:
        """A person's surface, world, metres."""
        tracks = self.bodies
        with torch.no_grad():
            posed = self.body.pose(
                torch.from_numpy(tracks.betas[person].copy()),
                torch.from_numpy(tracks.global_orient[person, frame].copy()),
                torch.from_numpy(tracks.body_pose[person, frame].copy()),
                torch.from_numpy(tracks.transl[person, frame].copy()),
            )
        return posed.vertices.numpy()

    def T_world_camera(self) -> Float[np.ndarray, "frames 4 4"]:
        """The camera's way."""
        return invert_rigid(torch.from_numpy(self.camera.T_camera_world.copy())).numpy()


class View:
    """Shapes on a running server that follow the frame slider."""

    def __init__(self, server: viser.ViserServer, scene: ClipScene):
        self.server, self.scene = server, scene
        self.T_world_camera = scene.T_world_camera()
        server.scene.set_up_direction("+y")
        self._add_still_things()
        self.frustum = self._add_frustum()
        count = len(scene.bodies.person_id)
        faces = scene.body.faces.numpy()
        self.people = [
            server.scene.add_mesh_simple(
                f"/person_{person}", scene.vertices(person, 0), faces, color=colour(person)
            )
            for person in range(count)
        ]
        self.picture = server.gui.add_image(scene.pictures[0], label="what the camera saw")
        last = scene.clip.num_frames - 1
        self.slider = server.gui.add_slider("frame", 0, max(1, last), 1, 0)
        self.is_playing = server.gui.add_checkbox("play", True)
        server.gui.add_markdown(describe(scene))
        self.slider.on_update(lambda _: self.show(min(self.slider.value, last)))
        self._look_from_aside()
        self.show(0)

    def show(self, frame: int) -> None:
        """Move everything to a frame."""
        with self.server.atomic():
            self.frustum.position = self.T_world_camera[frame, :3, 3]
            self.frustum.wxyz = _wxyz(self.T_world_camera[frame, :3, :3])
            self.frustum.image = self.scene.pictures[frame]
            for person, mesh in enumerate(self.people):
                mesh.visible = bool(self.scene.bodies.visible[person, frame])
                if mesh.visible:
                    mesh.vertices = self.scene.vertices(person, frame)
        self.picture.image = self.scene.pictures[frame]

    def play(self) -> None:
        """Step through the frames at the clip's rate, where the browser keeps up, until stopped."""
        while True:
            time.sleep(1 / self.scene.clip.fps)
            if self.is_playing.value:
                self.slider.value = (self.slider.value + 1) % self.scene.clip.num_frames

    def _add_still_things(self) -> None:
        centre = self._people_centre()
        self.server.scene.add_grid(
            "/floor", 12.0, 12.0, plane="xz", position=(float(centre[0]), 0.0, float(centre[2])),
            cell_color=GREY, cell_size=0.5, section_size=1.0,
        )  # fmt: skip
        way = self.T_world_camera[:, :3, 3]
        if np.ptp(way, axis=0).max() > 1e-6:
            lines = np.stack([way[:-1], way[1:]], axis=1)
            self.server.scene.add_line_segments("/camera_way", lines, (20, 20, 20))

    def _add_frustum(self) -> viser.CameraFrustumHandle:
        clip, K = self.scene.clip, self.scene.camera.K[0]
        fov = 2 * np.arctan2(clip.height / 2, K[1, 1])
        return self.server.scene.add_camera_frustum(
            "/camera", float(fov), clip.width / clip.height, scale=FRUSTUM_M, color=(213, 94, 0)
        )

    def _people_centre(self) -> Float[np.ndarray, "3"]:
        seen = self.scene.bodies.transl[self.scene.bodies.visible]
        return seen.mean(0) if len(seen) else self.T_world_camera[0, :3, 3]

    def _look_from_aside(self) -> None:
        """Start beside and above, so that people, floor and camera are all in the picture."""
        centre, eye = self._people_centre(), self.T_world_camera[0, :3, 3]
        back = eye - centre
        aside = np.cross([0.0, 1.0, 0.0], back)
        middle = (centre + eye) / 2
        reach = max(2.0, float(np.linalg.norm(back)))
        aside = aside / max(float(np.linalg.norm(aside)), 1e-6)
        camera = self.server.initial_camera
        camera.position = tuple(middle + reach * aside + np.array([0.0, 0.5 * reach, 0.0]))
        camera.look_at = tuple(middle)


def describe(scene: ClipScene) -> str:
    """What a person wants to know besides the picture."""
    clip, camera = scene.clip, scene.camera
    unit = "metric" if camera.is_metric else "free scale"
    return (
        f"{len(scene.bodies.person_id)} people, {clip.num_frames} frames at {clip.fps:g} fps, "
        f"camera {camera.kind} ({camera.source}, {unit})"
    )


@contextmanager
def open_view(read: ReadMember, port: int) -> Iterator[View]:
    """The view of a clip on http://127.0.0.1:port, until left.

    Raises:
        FileNotFoundError: A label is missing.
    """
    scene = ClipScene.read(read)
    server = viser.ViserServer(host="127.0.0.1", port=port, verbose=False)
    try:
        yield View(server, scene)
    finally:
        server.stop()


def _wxyz(R: Float[np.ndarray, "3 3"]) -> tuple[float, float, float, float]:
    w, x, y, z = SO3.from_matrix(R).wxyz
    return float(w), float(x), float(y), float(z)
