"""Axes, units, orders and joint tables: the one page that every importer is tested against.

World: right-handed, metres, y up, gravity along -y. Camera: OpenCV (x right, y down, z forward).
`T_a_b` maps coordinates of frame b to frame a, so `T_camera_world` is world-to-camera (w2c) and
`p_camera = T_camera_world @ p_world` with column vectors. Pixel centres lie at half-integers: the
image spans [0, W] x [0, H]; K is in pixels. Rotations: axis-angle in SMPL records, quaternions
wxyz elsewhere. Time: float seconds `*_s` or int64 nanoseconds `*_ns`, half-open spans.
Body: SMPL; the root joint is not the model origin (t' = R (J0 + t) - J0 under a rotation R).
"""

from typing import Final

NUM_BETAS: Final = 10
SMPL_JOINTS: Final = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2",
    "left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar",
    "right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
"""SMPL's 24 joints, in its order. Left is the person's left, +x in the rest pose."""

SMPL_PARENTS: Final = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21,
)  # fmt: skip
"""Kinematic tree: the parent of each joint, -1 for the root."""

EVALUATION_JOINTS: Final = (
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "neck",
    "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
    "right_wrist",
)  # fmt: skip
"""The 14 joints over which pose errors are stated."""


def latent_frames(num_frames: int, factor: int = 4) -> int:
    """Latents of a clip of 1 + factor * k frames.

    Raises:
        ValueError: If the length has another form.
    """
    if num_frames < 1 or (num_frames - 1) % factor:
        raise ValueError(
            f"num_frames must be 1 + {factor} * k, got {num_frames}; "
            f"take {1 + factor * max(0, (num_frames - 1) // factor)} frames"
        )
    return 1 + (num_frames - 1) // factor
