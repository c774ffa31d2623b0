"""BodyTracks: every person's SMPL body in every frame (`<id>.body.npz`)."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float32, Int64

from storage_schemas.arrays import check_finite, check_shape, freeze, read_npz, write_npz
from storage_schemas.conventions import NUM_BETAS

OPTIONAL_SHAPES: dict[str, tuple[int | None, ...]] = {
    "left_hand_pose": (15, 3),
    "right_hand_pose": (15, 3),
    "jaw_pose": (3,),
    "expression": (None,),
    "foot_contact": (4,),
    "joint_sigma_m": (24,),
}
DTYPES: dict[str, type[np.generic]] = {
    "person_id": np.int64,
    "visible": np.bool_,
    "foot_contact": np.bool_,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyTracks:
    """People of one clip in the clip's world frame; person p is instance p + 1 of the mask."""

    person_id: Int64[np.ndarray, " people"]
    """Identity within the source; the same person in two clips of one source has one number."""
    betas: Float32[np.ndarray, "people 10"]
    global_orient: Float32[np.ndarray, "people frames 3"]
    """Axis-angle of the pelvis in the world."""
    body_pose: Float32[np.ndarray, "people frames 69"]
    """Axis-angle of joints 1 to 23 relative to their parents."""
    transl: Float32[np.ndarray, "people frames 3"]
    """Metres, added after posing about the pelvis joint, as SMPL does."""
    visible: Bool[np.ndarray, "people frames"]
    """False where nothing showed the person: the pose is then interpolated, not observed."""
    confidence: Float32[np.ndarray, "people frames"]
    """In [0, 1]."""
    joints_px: Float32[np.ndarray, "people frames 24 2"]
    """The body's own joints through the clip's camera."""
    body_model: str
    """Name and digest of the body model, for example `free_body:1a2b3c4d`."""
    left_hand_pose: Float32[np.ndarray, "people frames 15 3"] | None = None
    right_hand_pose: Float32[np.ndarray, "people frames 15 3"] | None = None
    jaw_pose: Float32[np.ndarray, "people frames 3"] | None = None
    expression: Float32[np.ndarray, "people frames components"] | None = None
    foot_contact: Bool[np.ndarray, "people frames 4"] | None = None
    """Left heel, left ball, right heel, right ball resting on the floor."""
    joint_sigma_m: Float32[np.ndarray, "people frames 24"] | None = None
    """Standard deviation along each axis of a joint's place relative to the pelvis; grows away
    from the frames that were seen."""

    def __post_init__(self) -> None:
        """Validate every field."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                frozen = freeze(value, DTYPES.get(field.name, np.float32))
                object.__setattr__(self, field.name, frozen)
                check_finite(field.name, frozen)
        people = len(self.person_id)
        frames = self.transl.shape[1] if self.transl.ndim == 3 else 0
        check_shape("betas", self.betas, (people, NUM_BETAS))
        check_shape("global_orient", self.global_orient, (people, frames, 3))
        check_shape("body_pose", self.body_pose, (people, frames, 69))
        check_shape("transl", self.transl, (people, frames, 3))
        check_shape("visible", self.visible, (people, frames))
        check_shape("confidence", self.confidence, (people, frames))
        check_shape("joints_px", self.joints_px, (people, frames, 24, 2))
        for name, tail in OPTIONAL_SHAPES.items():
            value = getattr(self, name)
            if value is not None:
                check_shape(name, value, (people, frames, *tail))
        if len(set(self.person_id.tolist())) != people:
            raise ValueError(f"person_id must be distinct, got {self.person_id.tolist()}")
        if self.joint_sigma_m is not None and np.any(self.joint_sigma_m < 0):
            raise ValueError("joint_sigma_m must not be negative")
        if np.any((self.confidence < 0) | (self.confidence > 1)):
            raise ValueError("confidence must lie in [0, 1]")

    def to_npz(self) -> bytes:
        """Bytes for the shard; absent hands, face and contacts stay absent."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["body_model"] = np.array(self.body_model)
        return write_npz({name: value for name, value in values.items() if value is not None})

    @classmethod
    def from_npz(cls, data: bytes) -> "BodyTracks":
        """Read what `to_npz` wrote."""
        arrays = read_npz(data)
        body_model = str(arrays.pop("body_model"))
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(arrays) - known)
        if unknown:
            raise ValueError(f"body.npz has unknown arrays {unknown}")
        return cls(body_model=body_model, **arrays)
