"""Bodies on the floor: who touches it when, and feet and hands that stay where they touch.

Works on global joint rotations and pelvis places of a motion sampled finely and evenly, in the
project's world (metres, y up, floor at y = 0). What is slow and near the floor rests on it, unless
the body falls freely: so a hop stays a hop, however low, and a stance stays a stance.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from scipy.spatial.transform import Rotation

from pipelines.synthetic.gait import LEGS, REACH, Skeleton
from storage_schemas.conventions import SMPL_PARENTS

SLOW_M_S = 0.5
FLOOR_SLOW_M_S = 0.3
LOW_M, NEAR_M = 0.09, 0.05
"""What rests is at most so high, before and after the floor is evened."""
FREE_FALL_M_S2 = -5.5
SHORTEST_S = 0.06
"""A rest is no shorter, a move between two rests neither."""
BLEND_S = 0.25
TOE_M = 0.06
"""From the ball of the foot to the tip of the toes."""
WRIST_M = 0.056
"""Height of the wrist of a hand that lies on the floor; the thumb hangs below its line."""
FINGERS_M = 0.045
"""Lowest height of the fingers' line at its tips."""
FINGER_M = 0.15
"""From the wrist to the tips of the fingers."""
FLESH_M = {4: 0.05, 5: 0.05, 18: 0.04, 19: 0.04, 15: 0.1, 0: 0.11, 9: 0.11, 1: 0.09, 2: 0.09}
"""Other joints that may touch the floor, with the flesh around them."""
STRAIGHT = 0.3
"""Weight of the way a limb should bend against the way it is bent: recorded knees and elbows bend
backwards by some degrees when they are straight."""
ARMS = ((16, 18, 20, 22), (17, 19, 21, 23))


@dataclass(frozen=True, kw_only=True)
class Pose:
    """A motion before it is written as SMPL parameters."""

    R_world_joint: Float[np.ndarray, "frames 24 3 3"]
    pelvis: Float[np.ndarray, "frames 3"]
    """World place of the pelvis joint, metres."""

    def places(self, skeleton: Skeleton) -> Float[np.ndarray, "frames 24 3"]:
        """World places of the joints."""
        placed = np.zeros((len(self.pelvis), 24, 3))
        placed[:, 0] = self.pelvis
        for joint, parent in enumerate(SMPL_PARENTS):
            if parent >= 0:
                step = skeleton.joints[joint] - skeleton.joints[parent]
                placed[:, joint] = placed[:, parent] + self.R_world_joint[:, parent] @ step
        return placed


def _soles(pose: Pose, skeleton: Skeleton, side: int) -> Float[np.ndarray, "frames 3 3"]:
    """Heel, ball and toe tip, seen from the ankle, along the world's axes."""
    _, _, ankle, foot = LEGS[side]
    j = skeleton.joints
    R_foot, R_toes = pose.R_world_joint[:, ankle], pose.R_world_joint[:, foot]
    heel = R_foot @ (skeleton.heels[side] - j[ankle])
    to_toes = R_foot @ (j[foot] - j[ankle])
    ball = skeleton.balls[side] - j[foot]
    tip = ball + np.array([0.0, 0.0, TOE_M])
    return np.stack([heel, to_toes + R_toes @ ball, to_toes + R_toes @ tip], axis=1)


def _supports(pose: Pose, skeleton: Skeleton) -> Float[np.ndarray, "frames points 3"]:
    """What may rest on the floor: heel, ball, toes of both feet, both wrists, the other joints."""
    placed = pose.places(skeleton)
    points = [placed[:, LEGS[s][2], None] + _soles(pose, skeleton, s) for s in (0, 1)]
    for joint, flesh in {20: WRIST_M, 21: WRIST_M, **FLESH_M}.items():
        points.append(placed[:, joint, None] - np.array([0.0, flesh, 0.0]))
    return np.concatenate(points, axis=1)


def floor_m(before: Pose, after: Pose, apart_s: float, skeleton: Skeleton) -> float:
    """Height of the floor under a motion: where it rests when something of it does.

    Args:
        before: The motion at some moments all over it.
        after: At the moments `apart_s` later, from which speeds follow.
        apart_s: Seconds.
        skeleton: The body that moves.
    """
    first, second = _supports(before, skeleton), _supports(after, skeleton)
    slow = np.linalg.norm(second - first, axis=-1) < FLOOR_SLOW_M_S * apart_s
    heights = np.where(slow, first[..., 1], np.inf).min(1)
    resting = heights[np.isfinite(heights)]
    return float(np.percentile(resting, 30.0) if len(resting) else first[..., 1].min())


def _opened(mask: np.ndarray, frames: int) -> np.ndarray:
    """Runs of False shorter than `frames` filled, then such runs of True removed."""
    for value in (False, True):
        edges = np.flatnonzero(np.diff((np.r_[False, mask == value, False]).astype(int)))
        for begin, end in edges.reshape(-1, 2):
            is_inside = begin > 0 and end < len(mask)
            if end - begin < frames and (is_inside or value):
                mask = mask.copy()
                mask[begin:end] = not value
    return mask


def _resting(points: np.ndarray, pelvis_y: np.ndarray, rate: float, near_m: float) -> np.ndarray:
    """Which points [frames points] rest on the floor."""
    speed = np.linalg.norm(np.gradient(points, axis=0), axis=-1) * rate
    acceleration = gaussian_filter1d(pelvis_y, 0.025 * rate, order=2, mode="nearest") * rate**2
    falls = (acceleration < FREE_FALL_M_S2)[:, None]
    rests = (points[..., 1] < near_m) & (speed < SLOW_M_S) & ~falls
    frames = max(2, round(SHORTEST_S * rate))
    return np.stack([_opened(column, frames) for column in rests.T], axis=1)


def ground(pose: Pose, rate: float, skeleton: Skeleton) -> Pose:
    """Even the floor under a motion and hold what rests on it.

    Args:
        pose: With its floor at about y = 0; `rate` samples per second, 60 or more are well.
        rate: Samples per second.
        skeleton: The body that moves.

    Returns:
        The motion with soles that lie flat where they rest and stay where they are, hands likewise,
        nothing in the floor, and the flights between as they were.
    """
    points = _supports(pose, skeleton)
    rests = _resting(points, pose.pelvis[:, 1], rate, LOW_M)
    pelvis = pose.pelvis.copy()
    pelvis[:, 1] += _evened(points[..., 1], rests, rate)
    pose = Pose(R_world_joint=pose.R_world_joint.copy(), pelvis=pelvis)
    points = _supports(pose, skeleton)
    rests = _resting(points, pose.pelvis[:, 1], rate, NEAR_M)
    for side in (0, 1):
        _flatten(pose, side, rests[:, 3 * side : 3 * side + 3], rate)
        _spread_hand(pose, side, points[:, 6 + side, 1] + WRIST_M)
    lift = np.maximum(-points[:, 8:, 1].min(1), 0.0)
    pelvis[:, 1] += _rounded(lift, rate)
    ankles = [_held_foot(pose, skeleton, s, rests[:, 3 * s : 3 * s + 2], rate) for s in (0, 1)]
    carries = [rests[:, 3 * s : 3 * s + 2].any(1) for s in (0, 1)]
    pelvis[:, 1] -= _rounded(_out_of_reach(pose, skeleton, ankles, carries), rate)
    for side in (0, 1):
        _bend(pose, skeleton, LEGS[side], ankles[side], np.array([0.0, 0.0, 1.0]))
        wrist = _held_wrist(pose, skeleton, side, rests[:, 6 + side], rate)
        _bend(pose, skeleton, ARMS[side], wrist, np.array([0.0, 0.0, -1.0]))
    return pose


def _evened(heights: np.ndarray, rests: np.ndarray, rate: float) -> np.ndarray:
    """Lift of the whole body that brings what rests to the floor; even between rests."""
    down = np.where(rests, heights, np.inf).min(1)
    known = np.isfinite(down)
    if not known.any():
        return np.zeros(len(heights))
    frames = np.arange(len(heights))
    lift = np.interp(frames, frames[known], -down[known])
    return gaussian_filter1d(lift, 0.03 * rate, mode="nearest")


def _rounded(values: np.ndarray, rate: float) -> np.ndarray:
    """A smooth curve nowhere below the given one."""
    width = max(1, round(0.06 * rate))
    high = maximum_filter1d(values, 2 * width + 1, mode="nearest")
    return gaussian_filter1d(high, width / 3.0, mode="nearest", truncate=3.0)


def _turned(a: np.ndarray, b: np.ndarray, share: np.ndarray | float = 1.0) -> np.ndarray:
    """Smallest rotations [frames 3 3] that take directions a to b, or the given share of them."""
    a = a / np.linalg.norm(a, axis=-1, keepdims=True)
    b = b / np.linalg.norm(b, axis=-1, keepdims=True)
    axis = np.cross(a, b)
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(length, (a * b).sum(-1, keepdims=True))
    part = np.broadcast_to(np.asarray(share), angle.shape[:-1])[..., None]
    return Rotation.from_rotvec(axis / np.maximum(length, 1e-9) * angle * part).as_matrix()


def _flatten(pose: Pose, side: int, rests: np.ndarray, rate: float) -> None:
    """Lay the sole on the floor while heel and ball rest, the toes while the ball does."""
    up = np.array([0.0, 1.0, 0.0])
    _, _, ankle, foot = LEGS[side]
    for joint, weight in ((ankle, rests[:, 0] & rests[:, 1]), (foot, rests[:, 1] | rests[:, 2])):
        R = pose.R_world_joint[:, joint]
        share = gaussian_filter1d(weight.astype(float), 0.03 * rate, mode="nearest")
        if joint == ankle:  # a foot on its toes stays there
            tilt_deg = np.degrees(np.arccos(np.clip(R[:, 1, 1], -1, 1)))
            share = share * np.clip((60.0 - tilt_deg) / 20.0, 0.0, 1.0)
        turn = _turned(R[..., 1], np.broadcast_to(up, (len(R), 3)), share)
        pose.R_world_joint[:, joint] = turn @ R


def _spread_hand(pose: Pose, side: int, wrist_y: np.ndarray) -> None:
    """Bend the hand back where its fingers would be in the floor."""
    _, _, wrist, hand = ARMS[side]
    R = pose.R_world_joint[:, wrist]
    along = R[..., 0] * (1.0 if side == 0 else -1.0)
    lowest = np.clip((FINGERS_M - wrist_y) / FINGER_M, -1.0, 0.3)
    level = along + 0.5 * R[..., 1]  # towards the back of the hand, as wrists bend
    level[:, 1] = 0.0
    level /= np.maximum(np.linalg.norm(level, axis=1, keepdims=True), 1e-6)
    wanted = np.sqrt(1 - lowest**2)[:, None] * level
    wanted[:, 1] = lowest
    is_low = (along[:, 1] < lowest)[:, None]
    turn = _turned(along, np.where(is_low, wanted, along))
    for joint in (wrist, hand):
        pose.R_world_joint[:, joint] = turn @ pose.R_world_joint[:, joint]


def _spans(mask: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(int)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _faded(shift: np.ndarray, spans: list[tuple[int, int]], rate: float) -> np.ndarray:
    """Shifts known within spans, faded out (or over into the next) between them."""
    result = np.zeros_like(shift)
    frames = np.arange(len(shift))
    for number, (begin, end) in enumerate(spans):
        before = begin - (spans[number - 1][1] if number else 0)
        after = (spans[number + 1][0] if number + 1 < len(spans) else len(shift)) - end
        sides = ((begin, begin - frames, before), (end - 1, frames - end + 1, after))
        for edge, away, gap in sides:
            s = np.clip(1.0 - away / min(BLEND_S * rate, gap + 1), 0.0, 1.0)
            weight = np.where(away > 0, s * s * (3.0 - 2.0 * s), 0.0)
            result += weight[:, None] * shift[edge]
        result[begin:end] = shift[begin:end]
    return result


def _held_foot(
    pose: Pose, skeleton: Skeleton, side: int, rests: Bool[np.ndarray, "frames 2"], rate: float
) -> np.ndarray:
    """Places of the ankle for which resting heels and balls do not move, and none is too low."""
    ankle = pose.places(skeleton)[:, LEGS[side][2]]
    soles = _soles(pose, skeleton, side)
    shift = np.zeros_like(ankle)
    spans = _spans(rests.any(1))
    for begin, end in spans:
        held = ankle[begin:end].copy()
        for t in range(begin + 1, end):
            both = rests[t] & rests[t - 1]
            point = 1 if both[1] or not both[0] else 0
            held[t - begin] = held[t - begin - 1] + soles[t - 1, point] - soles[t, point]
        held += (ankle[begin:end] - held).mean(0)
        held[:, 1] = -soles[begin:end, :, 1].min(1)
        shift[begin:end] = held - ankle[begin:end]
    target = ankle + _faded(shift, spans, rate)
    target[:, 1] = np.maximum(target[:, 1], -soles[..., 1].min(1))
    return target


def _held_wrist(
    pose: Pose, skeleton: Skeleton, side: int, rests: np.ndarray, rate: float
) -> np.ndarray:
    wrist = pose.places(skeleton)[:, ARMS[side][2]]
    shift = np.zeros_like(wrist)
    spans = _spans(rests)
    for begin, end in spans:
        held = wrist[begin:end].mean(0)
        held[1] = WRIST_M
        shift[begin:end] = held - wrist[begin:end]
    target = wrist + _faded(shift, spans, rate)
    target[:, 1] = np.maximum(target[:, 1], WRIST_M)
    return target


def _out_of_reach(
    pose: Pose, skeleton: Skeleton, ankles: list[np.ndarray], carries: list[np.ndarray]
) -> np.ndarray:
    """How far the pelvis must come down for the carrying legs to reach their feet."""
    placed = pose.places(skeleton)
    down = np.zeros(len(pose.pelvis))
    for side, (hip, _, _, _) in enumerate(LEGS):
        away = ankles[side] - placed[:, hip]
        room = (REACH * skeleton.leg_m) ** 2 - (away[:, [0, 2]] ** 2).sum(1)
        missing = -away[:, 1] - np.sqrt(np.maximum(room, 0.0))
        is_below = carries[side] & (room > 0)
        down = np.maximum(down, np.where(is_below, np.clip(missing, 0.0, 0.15), 0.0))
    return down


def _bend(
    pose: Pose,
    skeleton: Skeleton,
    limb: tuple[int, int, int, int],
    target: np.ndarray,
    bends_to: np.ndarray,
) -> None:
    """Turn a limb's two bones so that its end comes to the target, bent in the plane it was.

    Where the limb was straight it bends towards `bends_to`, a direction of the upper bone.
    """
    root, middle, end, _ = limb
    j = skeleton.joints
    R_upper, R_lower = pose.R_world_joint[:, root], pose.R_world_joint[:, middle]
    upper, lower = R_upper @ (j[middle] - j[root]), R_lower @ (j[end] - j[middle])
    away = target - pose.places(skeleton)[:, root]
    a, b = np.linalg.norm(j[middle] - j[root]), np.linalg.norm(j[end] - j[middle])
    distance = np.linalg.norm(away, axis=1, keepdims=True)
    along = away / np.maximum(distance, 1e-9)
    reached = np.clip(distance, abs(a - b) + 0.02, (a + b) * 0.9999)
    shift_m = np.linalg.norm(away - upper - lower, axis=1, keepdims=True)
    # arms that need not move stay as they are; legs are nearly always moved a little
    weight = STRAIGHT * (1.0 if limb in LEGS else np.clip(shift_m / 0.01, 0.0, 1.0))
    pole = upper / a - lower / b + weight * (R_upper @ bends_to)
    pole = pole - (pole * along).sum(1, keepdims=True) * along
    pole /= np.maximum(np.linalg.norm(pole, axis=1, keepdims=True), 1e-9)
    cosine = np.clip((a * a + reached**2 - b * b) / (2 * a * reached), -1.0, 1.0)
    new_upper = a * (cosine * along + np.sqrt(1.0 - cosine**2) * pole)
    pose.R_world_joint[:, root] = _turned(upper, new_upper) @ R_upper
    pose.R_world_joint[:, middle] = _turned(lower, reached * along - new_upper) @ R_lower
