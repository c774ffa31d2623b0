"""Bodies as AMASS motion (.npz): the form that other people's tools read back.

One file per person, SMPL-H order, z up, shape and rate included; `pipelines.synthetic.amass`
reads it again.
"""

from pathlib import Path

import numpy as np
from einops import rearrange
from scipy.spatial.transform import Rotation

from storage_schemas.body import BodyTracks

NUM_JOINTS = 52
"""22 of the body, 15 of each hand."""
R_Z_UP = Rotation.from_rotvec([np.pi / 2, 0.0, 0.0])
"""From our world (y up) to AMASS's."""


def write_amass(path: Path, bodies: BodyTracks, person: int, fps: float) -> None:
    """Write one person's frames that show them, from the first to the last.

    The two hand joints of SMPL have no place in SMPL-H; the fingers are taken where known.

    Raises:
        ValueError: If the person is nowhere visible.
    """
    shown = np.flatnonzero(bodies.visible[person])
    if len(shown) == 0:
        raise ValueError(f"person {bodies.person_id[person]} is visible in no frame")
    span = slice(shown[0], shown[-1] + 1)
    poses = np.zeros((shown[-1] + 1 - shown[0], NUM_JOINTS, 3))
    body_pose = rearrange(bodies.body_pose[person, span], "t (joint xyz) -> t joint xyz", xyz=3)
    root = R_Z_UP * Rotation.from_rotvec(bodies.global_orient[person, span])
    poses[:, 0], poses[:, 1:22] = root.as_rotvec(), body_pose[:, :21]
    for first, hand in ((22, bodies.left_hand_pose), (37, bodies.right_hand_pose)):
        if hand is not None:
            poses[:, first : first + 15] = hand[person, span]
    np.savez(
        path,
        poses=rearrange(poses, "t joint xyz -> t (joint xyz)"),
        trans=R_Z_UP.apply(bodies.transl[person, span]),
        betas=np.pad(bodies.betas[person].astype(float), (0, 6)),
        gender=np.array("neutral"),
        mocap_framerate=np.array(float(fps)),
        body_model=np.array(bodies.body_model),
    )
