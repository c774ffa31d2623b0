"""Which parts of the soles stand on the floor, read off the true motion.

World frame: metres, y up, floor at y = 0. The four points are left heel, left ball, right heel,
right ball; heels move with the ankle joints, balls with the foot joints.
"""

import numpy as np
from jaxtyping import Bool, Float

from pipelines.synthetic.gait import LEGS, Skeleton

SOLE_POINTS = ("left_heel", "left_ball", "right_heel", "right_ball")
CONTACT_HEIGHT_M = 0.02
"""A sole point in contact is no higher than this over the place where it stands."""
CONTACT_SPEED_M_S = 0.15
"""... and moves slower than this towards at least one of its neighbouring frames."""


def sole_points(
    T_world_joint: Float[np.ndarray, "frames 24 4 4"], skeleton: Skeleton
) -> Float[np.ndarray, "frames 4 3"]:
    """Places of SOLE_POINTS in the world, metres.

    Args:
        T_world_joint: Motion of each joint from rest (`PosedBody.T_world_joint`).
        skeleton: The body that moves.
    """
    points = []
    for side, (_, _, ankle, foot) in enumerate(LEGS):
        for joint, rest in ((ankle, skeleton.heels[side]), (foot, skeleton.balls[side])):
            T = T_world_joint[:, joint].astype(float)
            points.append(T[:, :3, :3] @ rest + T[:, :3, 3])
    return np.stack(points, axis=1)


def foot_contact(
    points: Float[np.ndarray, "frames 4 3"], fps: float, standing_m: float = 0.0
) -> Bool[np.ndarray, "frames 4"]:
    """Contact with the floor of each sole point (`sole_points`) in each frame.

    A point is in contact where it is low and at rest: no more than CONTACT_HEIGHT_M over
    `standing_m`, and slower than CONTACT_SPEED_M_S since the frame before or until the frame after.
    One frame alone is judged by its height.

    Args:
        points: World, metres.
        fps: Frames per second.
        standing_m: Height at which the bare soles stand: the thickness of the shoes' soles.
    """
    is_low = points[..., 1] - standing_m < CONTACT_HEIGHT_M
    if len(points) == 1:
        return is_low
    step_m = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    rests = step_m * fps < CONTACT_SPEED_M_S
    edge = np.zeros((1, rests.shape[1]), np.bool_)
    return is_low & (np.concatenate([edge, rests]) | np.concatenate([rests, edge]))
