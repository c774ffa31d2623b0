"""People of a scene: their characters, their motion put in its place, their posed surfaces.

World frame: metres, y up, floor at y = 0.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

from pipelines.synthetic.characters import Character, MeshPart, make_character
from pipelines.synthetic.contact import foot_contact, sole_points
from pipelines.synthetic.detail import thinned, without_clear
from pipelines.synthetic.figure import BodyMotion
from pipelines.synthetic.gait import Skeleton
from pipelines.synthetic.people import PersonSpec, make_motion, place_motion
from pipelines.synthetic.renderers.mesh import SurfaceMesh
from pipelines.synthetic.scanned import ScanSpec, body_name, body_of

SKIN_GLOSS = 0.05


@dataclass(frozen=True, kw_only=True)
class Actor:
    """One person of a clip, ready to be drawn."""

    character: Character
    body_model: str
    """What labels call the body: name and digest."""
    motion: BodyMotion
    joints: Float[np.ndarray, "frames 24 3"]
    """World, metres."""
    T_world_joint: Float[np.ndarray, "frames 24 4 4"]
    """Motion of each joint from rest, as `models.body.model.skin` takes it."""
    surfaces: tuple[SurfaceMesh, ...]
    """The parts in the rest pose, body frame."""
    foot_contact: Bool[np.ndarray, "frames 4"]
    """Left heel, left ball, right heel, right ball on the floor (`pipelines.synthetic.contact`)."""

    def posed(
        self, part: int, frame: int
    ) -> tuple[Float[np.ndarray, "vertices 3"], Float[np.ndarray, "vertices 3"]]:
        """World vertices and normals of a part (linear blend skinning)."""
        surface, weights = self.surfaces[part], self.character.parts[part].weights
        rest, posedirs = surface.vertices, self.character.parts[part].posedirs
        if posedirs is not None:
            rest = rest + posedirs @ bends(self.motion.body_pose[frame])
        T = self.T_world_joint[frame, :, :3].reshape(-1, 12).astype(np.float32)
        blended = (weights.astype(np.float32, copy=False) @ T).reshape(-1, 3, 4)
        R = blended[..., :3]
        vertices = np.einsum("vij,vj->vi", R, rest) + blended[..., 3]
        return vertices, np.einsum("vij,vj->vi", R, surface.normals)

    def with_detail(self, cell_m: float) -> "Actor":
        """The same person without what is smaller than `cell_m` (`pipelines.synthetic.detail`)."""
        if any(part.posedirs is not None for part in self.character.parts):
            return self  # every vertex has corrections of its own
        pairs = zip(self.surfaces, self.character.parts, strict=True)
        kept = [(part, *thinned(surface, part.weights, cell_m)) for surface, part in pairs]
        parts = [
            replace(
                part, vertices_rest=s.vertices, weights=weights, faces=s.faces, uv=s.uv,
                normals_rest=s.normals,
            )
            for part, s, weights in kept
        ]  # fmt: skip
        character = replace(self.character, parts=tuple(parts))
        return replace(self, character=character, surfaces=tuple(s for _, s, _ in kept))


@lru_cache(maxsize=32)
def _character(seed: int, texture_px: int, scan: ScanSpec | None) -> Character:
    return make_character(seed, body_of(scan), texture_px, scan)


def bends(body_pose: Float[np.ndarray, "*frames 69"]) -> Float[np.ndarray, "*frames 207"]:
    """What SMPL's pose corrections are linear in: how far each joint's rotation is from none."""
    rotvec = rearrange(body_pose, "... (joints xyz) -> ... joints xyz", xyz=3)
    turns = Rotation.from_rotvec(rearrange(rotvec, "... xyz -> (...) xyz")).as_matrix() - np.eye(3)
    return turns.reshape(*body_pose.shape[:-1], 207).astype(np.float32)


def vertex_normals(
    vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> Float[np.ndarray, "vertices 3"]:
    """Area-weighted normals; vertices at one place (seams of the texture) share theirs."""
    _, group = np.unique(np.round(vertices, 5), axis=0, return_inverse=True)
    corners = vertices[faces]
    face_normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.zeros((group.max() + 1, 3))
    for corner in range(3):
        np.add.at(sums, group[faces[:, corner]], face_normal)
    normals = sums[group]
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _surface(part: MeshPart) -> SurfaceMesh:
    normals = part.normals_rest
    if normals is None:
        normals = vertex_normals(part.vertices_rest, part.faces)
    whole = SurfaceMesh(
        vertices=part.vertices_rest.astype(np.float32),
        normals=normals.astype(np.float32),
        uv=part.uv,
        faces=part.faces,
        texture=part.texture,
        gloss=SKIN_GLOSS if part.name == "skin" else 0.0,
        is_two_sided=part.name != "skin",  # clothes cover where the skin ends
    )
    return without_clear(whole)


def make_actor(spec: PersonSpec, fps: float, num_frames: int, texture_px: int = 512) -> Actor:
    """Dress a person and let it move.

    Args:
        spec: Who does what, where.
        fps: Frames per second.
        num_frames: Length.
        texture_px: Side of the skin's texture.

    Raises:
        ValueError: If a file is missing or does not fit.
    """
    body = body_of(spec.scan)
    character = _character(spec.character, texture_px, spec.scan)
    skeleton = Skeleton.of(body, character.betas)
    motion = make_motion(spec, fps, num_frames, skeleton)
    motion = place_motion(motion, skeleton, spec.heading_deg, spec.place_m)
    lowest = min(float(part.vertices_rest[:, 1].min()) for part in character.parts)
    sole_m = max(0.0, float(skeleton.heels[:, 1].min()) - lowest)
    transl = motion.transl + np.array([0.0, sole_m, 0.0], np.float32)
    motion = BodyMotion(
        global_orient=motion.global_orient, body_pose=motion.body_pose, transl=transl
    )
    posed = body.subset(body.surface_points(1)).pose(
        torch.as_tensor(character.betas, dtype=torch.float32),
        torch.as_tensor(motion.global_orient),
        torch.as_tensor(motion.body_pose),
        torch.as_tensor(motion.transl),
    )
    T_world_joint = posed.T_world_joint.numpy()
    return Actor(
        character=character,
        body_model=body_name(spec.scan),
        motion=motion,
        joints=posed.joints.numpy(),
        T_world_joint=T_world_joint,
        foot_contact=foot_contact(sole_points(T_world_joint, skeleton), fps, sole_m),
        surfaces=tuple(_surface(part) for part in character.parts),
    )


def outline_points(actor: Actor, points_per_part: int = 60) -> Float[np.ndarray, "frames points 3"]:
    """Some world points on every part over the clip, extremes of the rest pose included."""
    frames = len(actor.motion.transl)
    clouds = []
    for part, surface in enumerate(actor.surfaces):
        v = surface.vertices
        extreme = [int(f(v[:, axis])) for axis in range(3) for f in (np.argmin, np.argmax)]
        spread = np.linspace(0, len(v) - 1, points_per_part).astype(int)
        chosen = np.unique(np.concatenate([spread, np.array(extreme)]))
        weights = actor.character.parts[part].weights[chosen].astype(np.float64)
        T = actor.T_world_joint[:, :, :3].reshape(frames, 24, 12)
        blended = (weights @ T).reshape(frames, len(chosen), 3, 4)
        rest, posedirs = v[chosen][None], actor.character.parts[part].posedirs
        if posedirs is not None:
            bend = bends(actor.motion.body_pose)
            rest = rest + einsum(posedirs[chosen], bend, "v xyz k, t k -> t v xyz")
        posed = np.einsum("tvij,tvj->tvi", blended[..., :3], rest) + blended[..., 3]
        clouds.append(posed)
    return np.concatenate(clouds, axis=1)
