"""Gestures of people who stand: wave, point, clap, stretch, reach, bow, kick, box.

Same contract as `pipelines.synthetic.motion`. Wrists are placed in lengths of the arm from the
middle between the shoulders: outwards, up, ahead.
"""

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

from pipelines.synthetic.figure import (
    Arm,
    BodyMotion,
    Reach,
    Trunk,
    build_body,
    columns,
    drift,
    hanging_arm,
    idle_trunk,
    still_path,
)
from pipelines.synthetic.gait import Feet, Skeleton, planted_feet

HANGS = np.array([0.42, -0.9, 0.1])
ELBOW_BACK = np.array([0.5, -0.4, -1.0])


def _pulse(
    rng: np.random.Generator,
    times_s: np.ndarray,
    rests: tuple[float, float],
    holds: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """A gesture made again and again: its share in [0, 1] and its number, both per frame."""
    rest, hold, ramp = rng.uniform(*rests), rng.uniform(*holds), rng.uniform(0.45, 0.75)
    knots = np.cumsum([0.0, ramp, hold, ramp, rest])
    since = times_s + rng.uniform(0.0, knots[-1])
    number = np.floor(since / knots[-1])
    curve = PchipInterpolator(knots, [0.0, 1.0, 1.0, 0.0, 0.0])
    return np.asarray(curve(since - number * knots[-1])), number


def _draws(
    rng: np.random.Generator, number: np.ndarray, low: tuple[float, ...], high: tuple[float, ...]
) -> np.ndarray:
    """Random values [frames, len(low)] between the bounds, one draw per number."""
    key = int(rng.integers(2**31))
    kinds, index = np.unique(number, return_inverse=True)
    drawn = [np.random.default_rng((key, int(k) + 10**6)).uniform(low, high) for k in kinds]
    return np.array(drawn)[index]


def _between(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    return a + (b - a) * share[:, None]


def _reach_arm(wrist: np.ndarray, elbow: np.ndarray, bent: np.ndarray | float = 0.0) -> Reach:
    return Reach(
        wrist=wrist,
        elbow=np.broadcast_to(elbow, wrist.shape),
        bent=np.broadcast_to(np.asarray(bent, float), wrist.shape[:1]),
    )


def _standing(
    rng: np.random.Generator,
    times_s: np.ndarray,
    skeleton: Skeleton,
    trunk: Trunk,
    arms: tuple[Arm | Reach, Arm | Reach],
    lowered: np.ndarray | float = 0.01,
    back: np.ndarray | float = 0.0,
) -> BodyMotion:
    """A figure on two planted feet that sways a little."""
    feet = planted_feet(skeleton, len(times_s), float(rng.uniform(0.2, 0.34)), 8.0)
    sway = drift(rng, times_s, 0.03)
    shift = columns(sway, drift(rng, times_s, 0.015) - back, like=times_s)
    low = np.broadcast_to(np.asarray(lowered, float), times_s.shape)
    return build_body(skeleton, times_s, still_path(), feet, trunk, arms, low, shift)


def _trunk(idle: Trunk, pelvis: np.ndarray, spine: np.ndarray, head: np.ndarray) -> Trunk:
    """The small movements of standing and a gesture on top of them."""
    return Trunk(pelvis=idle.pelvis + pelvis, spine=idle.spine + spine, head=idle.head * 0.6 + head)


def wave(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Stand and wave one raised hand."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(2))
    rate = rng.uniform(1.2, 2.2)
    arm = Arm(
        raised=rng.uniform(70.0, 105.0) + drift(rng, times_s, 6.0),
        ahead=rng.uniform(0.0, 35.0) + drift(rng, times_s, 5.0),
        twist=np.full_like(times_s, -rng.uniform(70.0, 90.0)),
        flexed=rng.uniform(60.0, 85.0) + 28.0 * np.sin(2 * np.pi * rate * times_s),
    )
    arms = [hanging_arm(rng, times_s), hanging_arm(rng, times_s)]
    arms[side] = arm
    return _standing(rng, times_s, skeleton, idle_trunk(rng, times_s), (arms[0], arms[1]))


def point(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Point with a straight arm, each time somewhere else, and look there."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(2))
    share, number = _pulse(rng, times_s, (0.3, 1.2), (0.7, 1.6))
    azimuth, elevation = _draws(rng, number, (-30.0, -25.0), (85.0, 45.0)).T  # outwards, up
    a, e = np.radians(azimuth), np.radians(elevation)
    far = np.stack([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], 1) * 0.97
    far[:, 0] += 0.32  # the shoulder's place
    swung = HANGS + (np.array([0.45, -0.35, 0.6]) - HANGS) * np.sin(np.pi * share)[:, None] * 0.5
    wrist = _between(swung, far, share)
    arms: list[Arm | Reach] = [hanging_arm(rng, times_s), hanging_arm(rng, times_s)]
    arms[side] = _reach_arm(wrist, ELBOW_BACK, 4.0 * share)
    looks = (1.0 if side == 0 else -1.0) * azimuth * share
    zero = columns(0.0, 0.0, 0.0, like=times_s)
    spine = columns(0.0, 0.22 * looks, 0.0, like=times_s)
    head = columns(-0.5 * elevation * share, 0.55 * looks, 0.0, like=times_s)
    trunk = _trunk(idle_trunk(rng, times_s), zero, spine, head)
    return _standing(rng, times_s, skeleton, trunk, (arms[0], arms[1]))


def clap(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Clap both hands before the chest or over the head."""
    rng = np.random.default_rng(seed)
    rate, phase = rng.uniform(1.4, 2.8), rng.uniform(0.0, 2 * np.pi)
    apart = 0.5 - 0.5 * np.cos(2 * np.pi * rate * times_s + phase)
    over_head = rng.random() < 0.3
    height = rng.uniform(0.75, 0.95) if over_head else rng.uniform(-0.45, -0.1)
    ahead = rng.uniform(0.15, 0.3) if over_head else rng.uniform(0.5, 0.62)
    closed = 0.07
    outwards = closed + (rng.uniform(0.18, 0.4) - closed) * apart
    wrist = columns(
        outwards, height + 0.04 * apart + drift(rng, times_s, 0.03), ahead, like=times_s
    )
    elbow = np.array([1.0, 0.0, -0.2]) if over_head else np.array([0.8, -0.9, -0.3])
    arm = _reach_arm(wrist, elbow, 6.0)
    zero = columns(0.0, 0.0, 0.0, like=times_s)
    nod = columns(2.0 * apart, 0.0, 0.0, like=times_s)
    trunk = _trunk(idle_trunk(rng, times_s), zero, nod, nod)
    return _standing(rng, times_s, skeleton, trunk, (arm, arm))


def stretch(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Stretch both arms up, out or to one side, arching the back."""
    rng = np.random.default_rng(seed)
    share, number = _pulse(rng, times_s, (0.2, 0.8), (0.8, 1.8))
    wide, lean, arch = _draws(rng, number, (0.12, -24.0, 0.0), (1.1, 24.0, 14.0)).T
    up = np.sqrt(np.maximum(0.96 - np.maximum(wide - 0.32, 0.0) ** 2, 0.05))
    top = np.stack([wide, up, -0.05 - 0.006 * arch], 1)
    outwards = columns(1.15, -0.1, 0.25, like=times_s)
    swung = _between(HANGS, outwards, np.sin(np.pi * share) * 0.8)
    wrist = _between(swung, top, share)
    arm = _reach_arm(wrist, np.array([0.9, -0.1, -0.5]), 12.0 * share)
    spine = columns(-arch * share, 0.0, lean * share, like=times_s)
    pelvis = columns(0.0, 0.0, -0.15 * lean * share, like=times_s)
    head = columns(-0.6 * arch * share, 0.0, 0.3 * lean * share, like=times_s)
    trunk = _trunk(idle_trunk(rng, times_s), pelvis, spine, head)
    return _standing(rng, times_s, skeleton, trunk, (arm, arm))


def reach(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Reach with one hand for things high, at the side, or down at the floor."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(2))
    share, number = _pulse(rng, times_s, (0.2, 0.7), (0.25, 0.8))
    level, out = _draws(rng, number, (-1.0, -0.1), (1.0, 0.75)).T
    low, high = np.clip(-level, 0.0, 1.0), np.clip(level, 0.0, 1.0)
    ahead = 0.85 - 0.35 * high + 0.1 * low  # bent over, ahead of the chest is the floor
    there = np.stack([0.25 + 0.6 * out, 0.75 * high + 0.1 * low, ahead], 1)
    swung = HANGS + (np.array([0.4, -0.45, 0.45]) - HANGS) * np.sin(np.pi * share)[:, None] * 0.5
    wrist = _between(swung, there, share)
    arms: list[Arm | Reach] = [hanging_arm(rng, times_s), hanging_arm(rng, times_s)]
    arms[side] = _reach_arm(wrist, ELBOW_BACK, 8.0 * share)
    sign = 1.0 if side == 0 else -1.0
    bend, twist = low * share, sign * (10.0 + 25.0 * out) * share
    pelvis = columns(58.0 * bend, 0.3 * twist, 0.0, like=times_s)
    spine = columns(26.0 * bend - 6.0 * high * share, 0.6 * twist, 0.0, like=times_s)
    head = columns(-20.0 * bend - 18.0 * high * share, 0.3 * twist, 0.0, like=times_s)
    trunk = _trunk(idle_trunk(rng, times_s), pelvis, spine, head)
    down = 0.01 + 0.38 * skeleton.leg_m * bend
    return _standing(
        rng, times_s, skeleton, trunk, (arms[0], arms[1]), down, 0.14 * bend * skeleton.leg_m
    )


def bow(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Bow with the arms at the sides, hands together, or one arm swept wide."""
    rng = np.random.default_rng(seed)
    share, _ = _pulse(rng, times_s, (0.5, 1.5), (0.4, 1.2))
    depth, style = rng.uniform(25.0, 65.0), int(rng.integers(3))
    folded = np.array([0.075, -0.3, 0.42])
    placed = {0: (HANGS, HANGS), 1: (folded, folded)}
    swept = (np.array([0.16, -0.42, 0.36]), np.array([1.15, -0.25, 0.1]))
    arms = [
        _reach_arm(
            _between(HANGS, target, share),
            np.array([0.9, -0.7, -0.4]) if style else ELBOW_BACK,
            20.0 * share if style == 1 else 0.0,
        )
        for target in placed.get(style, swept)
    ]
    pelvis = columns(0.6 * depth * share, 0.0, 0.0, like=times_s)
    spine = columns(0.4 * depth * share, 0.0, 0.0, like=times_s)
    head = columns(0.15 * depth * share, 0.0, 0.0, like=times_s)
    trunk = _trunk(idle_trunk(rng, times_s), pelvis, spine, head)
    return _standing(
        rng, times_s, skeleton, trunk, (arms[0], arms[1]), 0.01, 0.0022 * depth * share
    )


def kick(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Stand on one leg, draw the other back and kick ahead; again and again."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(2))
    height = float(rng.uniform(0.25, 0.75)) * skeleton.leg_m
    knots = np.cumsum([0.0, 0.4, 0.4, 0.28, 0.2, 0.35, 0.35, 0.4])
    since = (times_s + rng.uniform(0.0, knots[-1])) % knots[-1]

    def curve(*values: float | int) -> np.ndarray:
        return np.asarray(PchipInterpolator(knots, values)(since))

    over = curve(0, 1, 1, 1, 1, 1, 1, 0)  # weight on the standing leg
    far = 0.72 * skeleton.leg_m
    ahead = curve(0, 0, -0.32, far, 0.97 * far, 0.2, 0, 0)
    lift = curve(0, 0.03, 0.2, height, height, 0.2, 0, 0)
    width = float(rng.uniform(0.18, 0.26))
    flat = planted_feet(skeleton, len(times_s), width, 8.0)
    ankles, pitch = flat.ankles.copy(), flat.pitch.copy()
    ankles[side, :, 1] += lift
    ankles[side, :, 2] += ahead
    pitch[side] = np.radians(curve(0, 12, 55, -20, -25, 15, 0, 0))
    feet = Feet(
        ankles=ankles, yaw=flat.yaw, pitch=pitch, toe_bend=flat.toe_bend, stance=flat.stance
    )
    sign = 1.0 if side == 0 else -1.0
    swing = curve(0, 0, -1, 1, 1, 0.2, 0, 0)
    idle = idle_trunk(rng, times_s)
    pelvis = columns(
        -9.0 * np.maximum(swing, 0) + 4.0 * over, -10.0 * sign * swing, 0, like=times_s
    )
    spine = columns(6.0 * np.maximum(swing, 0), 16.0 * sign * swing, 0.0, like=times_s)
    trunk = _trunk(idle, pelvis, spine, columns(4.0 * over, 0.0, 0.0, like=times_s))
    arms: list[Arm | Reach] = []
    for arm_side in (0, 1):  # the arm across swings ahead, the near one out to balance
        forth = swing if arm_side != side else -swing
        wrist = HANGS + over[:, None] * np.array([0.28, 0.28, 0.12])
        wrist = wrist + forth[:, None] * np.array([0.0, 0.12, 0.3])
        arms.append(_reach_arm(wrist, ELBOW_BACK))
    shift = columns(-sign * over * width / 2, 0.0, like=times_s)
    lowered = 0.015 + 0.02 * over
    return build_body(
        skeleton, times_s, still_path(), feet, trunk, (arms[0], arms[1]), lowered, shift
    )


def box(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Box: both fists up, fast straight punches of either arm."""
    rng = np.random.default_rng(seed)
    beat = float(rng.uniform(0.45, 0.75))
    number = np.floor(times_s / beat)
    since = (times_s / beat - number) / 0.85
    hit = np.where(since < 1.0, np.sin(np.pi * np.clip(since, 0.0, 1.0)) ** 2, 0.0)
    which, height, out = _draws(rng, number, (0.0, -0.25, -0.05), (2.0, 0.2, 0.12)).T
    arms, turn = [], np.zeros_like(times_s)
    for side in (0, 1):
        share = hit * (which.astype(int) == side)
        guard = columns(0.17, -0.08 + drift(rng, times_s, 0.02), 0.46, like=times_s)
        wrist = _between(guard, np.stack([out, height, 0 * out + 0.98], 1), share)
        arms.append(_reach_arm(wrist, np.array([0.6, -1.0, -0.2])))
        turn = turn - (1.0 if side == 0 else -1.0) * share
    zero = columns(0.0, 0.0, 0.0, like=times_s)
    pelvis = columns(8.0, 12.0 * turn, 0.0, like=times_s)
    spine = columns(8.0, 24.0 * turn, 0.0, like=times_s)
    trunk = _trunk(idle_trunk(rng, times_s), pelvis, spine, zero - spine * [[0.6, 0.7, 0.0]])
    bounce = 0.06 + 0.015 * np.cos(2 * np.pi * times_s / beat)
    return _standing(rng, times_s, skeleton, trunk, (arms[0], arms[1]), bounce, 0.02)
