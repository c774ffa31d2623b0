"""Bodies in SMPL format: shape, pose, linear blend skinning.

Implements SMPL (Loper et al. 2015, section 3, https://smpl.is.tue.mpg.de); no differences, except
that a body may come without pose blend shapes (the shipped free body does).

Frames: the body frame has x to the person's left, y up, z to the front, metres; the rest pose is
a T-pose. The global rotation turns the body about its pelvis joint, which is not the origin of the
body frame, and `transl` is added after that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor

from models.body.files import read_body_file
from models.geometry import rigid, so3_exp
from storage_schemas.conventions import SMPL_PARENTS

FREE_BODY_PATH = Path(__file__).with_name("free_body.npz")


def skin(
    vertices: Float[Tensor, "*#batch verts 3"],
    weights: Float[Tensor, "verts joints"],
    T_world_joint: Float[Tensor, "*#batch joints 4 4"],
) -> Float[Tensor, "*#batch verts 3"]:
    """Move rest vertices with their joints (linear blend skinning).

    Args:
        vertices: Rest vertices, body frame, metres.
        weights: Skinning weights, rows sum to 1 (checked when the body is loaded).
        T_world_joint: Motion of each joint from rest, body frame to world
            (`PosedBody.T_world_joint`).

    Returns:
        Posed vertices, world frame, metres.
    """
    flat = rearrange(T_world_joint[..., :3, :], "... joints row col -> ... joints (row col)")
    blended = rearrange(weights @ flat, "... verts (row col) -> ... verts row col", col=4)
    rotated = einsum(blended[..., :3], vertices, "... row col, ... col -> ... row")
    return rotated + blended[..., 3]


def _joint_motion(R_parent_joint: Tensor, joints: Tensor, transl: Tensor) -> Tensor:
    """Chain the joints' rotations from the root outwards; each turns about its rest place."""
    t_parent_joint = joints[..., 1:, :] - joints[..., list(SMPL_PARENTS[1:]), :]
    chain_R, chain_t = [R_parent_joint[..., 0, :, :]], [joints[..., 0, :] + transl]
    for joint, parent in enumerate(SMPL_PARENTS[1:], start=1):
        offset = t_parent_joint[..., joint - 1, :, None]
        chain_t.append(chain_t[parent] + (chain_R[parent] @ offset)[..., 0])
        chain_R.append(chain_R[parent] @ R_parent_joint[..., joint, :, :])
    R = torch.stack(chain_R, -3)
    t = torch.stack(chain_t, -2)
    return rigid(R, t - (R @ joints[..., None])[..., 0])


@dataclass(frozen=True, kw_only=True)
class ShapedBody:
    """A person's rest body: T-pose, body frame, metres."""

    vertices: Float[Tensor, "*batch verts 3"]
    joints: Float[Tensor, "*batch 24 3"]


@dataclass(frozen=True, kw_only=True)
class PosedBody:
    """A body in the world, metres."""

    vertices: Float[Tensor, "*batch verts 3"]
    joints: Float[Tensor, "*batch 24 3"]
    T_world_joint: Float[Tensor, "*batch 24 4 4"]
    """Motion of each joint from rest: maps rest points of the body frame that move with the joint
    to the world. What `skin` takes; the identity everywhere in the rest pose."""


@dataclass(frozen=True, kw_only=True)
class BodyModel:
    """A body model in SMPL format: values only, every method returns new ones."""

    name: str
    digest: str
    """First 16 hex digits of the SHA-256 of the file it came from."""
    v_template: Float[Tensor, "verts 3"]
    shapedirs: Float[Tensor, "verts 3 10"]
    """Metres per unit of each shape parameter."""
    posedirs: Float[Tensor, "verts 3 207"] | None
    """Pose corrections; None where the body has none: skinning alone."""
    weights: Float[Tensor, "verts 24"]
    J_template: Float[Tensor, "24 3"]
    J_shapedirs: Float[Tensor, "24 3 10"]
    faces: Int[Tensor, "faces 3"]
    """Triangles, counter-clockwise seen from outside; none in a subset."""
    surface_order: Int[Tensor, "points"]
    """Vertices of the outer surface, farthest point first; none in a subset."""
    appearance: Mapping[str, np.ndarray]
    """For painters: uv, uv_vertex, uv_faces (seams split), region, region_names, mask_*; empty in
    licensed files."""

    @property
    def parents(self) -> tuple[int, ...]:
        """Parent of each joint, -1 for the root: always SMPL's tree."""
        return SMPL_PARENTS

    @staticmethod
    def load(path: Path | None = None) -> "BodyModel":
        """Read a body file in float32.

        Args:
            path: None for the shipped free body; else a SMPL .npz, or a licensed SMPL .pkl, which
                is read without running anything in it.

        Raises:
            ValueError: If the file is no body of 24 joints in SMPL's tree.
        """
        path = FREE_BODY_PATH if path is None else path
        file = read_body_file(path)
        floats = {
            "v_template": file.v_template,
            "shapedirs": file.shapedirs,
            "weights": file.weights,
            "J_template": file.J_regressor @ file.v_template,
            "J_shapedirs": np.einsum("jv,vxb->jxb", file.J_regressor, file.shapedirs),
        }
        posedirs = None if file.posedirs is None else torch.as_tensor(file.posedirs).float()
        return BodyModel(
            name=path.stem,
            digest=file.digest,
            posedirs=posedirs,
            faces=torch.as_tensor(file.faces),
            surface_order=torch.as_tensor(file.surface_points),
            appearance=file.appearance,
            **{name: torch.as_tensor(value).float() for name, value in floats.items()},
        )

    def to(self, target: torch.device | torch.dtype | str) -> "BodyModel":
        """The same body on another device, or with its numbers in another float type."""
        tensors = {key: value for key, value in vars(self).items() if isinstance(value, Tensor)}
        if isinstance(target, torch.dtype):
            tensors = {key: value for key, value in tensors.items() if value.is_floating_point()}
        return replace(self, **{key: value.to(target) for key, value in tensors.items()})

    def subset(self, vertex_ids: Int[Tensor, "points"]) -> "BodyModel":
        """The same body with only the given vertices, in that order, and no faces."""
        return replace(
            self,
            v_template=self.v_template[vertex_ids],
            shapedirs=self.shapedirs[vertex_ids],
            posedirs=None if self.posedirs is None else self.posedirs[vertex_ids],
            weights=self.weights[vertex_ids],
            faces=self.faces[:0],
            surface_order=self.surface_order[:0],
            appearance={},
        )

    def surface_points(self, num_points: int) -> Int[Tensor, "points"]:
        """Vertex ids spread evenly over the neutral body, the same for every person.

        The ids for a smaller count are a prefix of those for a larger one.

        Raises:
            ValueError: If more points are asked for than the body file orders.
        """
        if not 0 < num_points <= len(self.surface_order):
            raise ValueError(
                f"num_points must lie in 1..{len(self.surface_order)} for body {self.name}, "
                f"got {num_points}; take them from the full body, not from a subset"
            )
        return self.surface_order[:num_points]

    def shape(self, betas: Float[Tensor, "*batch 10"]) -> ShapedBody:
        """Rest body of a person."""
        vertices = einsum(self.shapedirs, betas, "v xyz beta, ... beta -> ... v xyz")
        joints = einsum(self.J_shapedirs, betas, "j xyz beta, ... beta -> ... j xyz")
        return ShapedBody(vertices=self.v_template + vertices, joints=self.J_template + joints)

    def pose(
        self,
        betas: Float[Tensor, "*#batch 10"],
        global_orient: Float[Tensor, "*#batch 3"],
        body_pose: Float[Tensor, "*#batch 69"],
        transl: Float[Tensor, "*#batch 3"],
    ) -> PosedBody:
        """Put a person into the world.

        Args:
            betas: Shape, standard deviations; the first grows with height in the free body.
            global_orient: Rotation of the body about its pelvis joint, axis-angle, radians.
            body_pose: Rotations of the 23 other joints relative to their parents, SMPL order.
            transl: Added to the posed body, metres, world frame.

        Returns:
            The posed body; leading axes are those of the arguments broadcast together.
        """
        batch = torch.broadcast_shapes(
            betas.shape[:-1], global_orient.shape[:-1], body_pose.shape[:-1], transl.shape[:-1]
        )
        shaped = self.shape(betas)
        rotvec = torch.cat([global_orient.expand(*batch, 3), body_pose.expand(*batch, 69)], -1)
        R_parent_joint = so3_exp(rearrange(rotvec, "... (joints xyz) -> ... joints xyz", xyz=3))
        T_world_joint = _joint_motion(R_parent_joint, shaped.joints, transl.expand(*batch, 3))
        vertices = shaped.vertices
        if self.posedirs is not None:
            bend = R_parent_joint[..., 1:, :, :] - torch.eye(3).to(R_parent_joint)
            bend = rearrange(bend, "... joints row col -> ... (joints row col)")
            vertices = vertices + einsum(self.posedirs, bend, "v xyz k, ... k -> ... v xyz")
        moved = (T_world_joint[..., :3, :3] @ shaped.joints[..., None])[..., 0]
        return PosedBody(
            vertices=skin(vertices, self.weights, T_world_joint),
            joints=moved + T_world_joint[..., :3, 3],
            T_world_joint=T_world_joint,
        )
