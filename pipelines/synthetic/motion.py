"""Procedural motions in SMPL axis-angle: whole-body movement, and all motions by name.

Each motion is a pure function of its seed, its times and the body; a person starts at the world
origin facing +z, feet on the floor y = 0. +x is the person's left. Angles inside are degrees for
people to read, radians in the result.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

from pipelines.synthetic import gesture
from pipelines.synthetic.figure import (
    Arm,
    BodyMotion,
    Reach,
    Trunk,
    build_body,
    columns,
    drift,
    from_chest,
    keyframed,
    still_path,
)
from pipelines.synthetic.gait import Feet, Path, Skeleton, plan_feet, planted_feet, rolled_ankle

GRAVITY_M_S2 = 9.81


def _curved_path(rng: np.random.Generator, until_s: float, speed: float, turn_deg_s: float) -> Path:
    times = np.arange(-3.0, until_s + 3.0, 0.02)
    yaw = np.radians(turn_deg_s) * times + np.radians(drift(rng, times, 5.0, 4.0))
    step = np.stack([np.sin(yaw), np.cos(yaw)], 1) * speed * 0.02
    xz = np.cumsum(step, axis=0)
    return Path(times_s=times, xz_m=xz - xz[np.searchsorted(times, 0.0)], yaw=yaw)


def _stepping(
    rng: np.random.Generator, times_s: np.ndarray, skeleton: Skeleton, path: Path, speed: float
) -> BodyMotion:
    """Steps along a path with the swing of arms, pelvis and spine that goes with them."""
    step_s = float(rng.uniform(0.48, 0.58)) * (1.25 - 0.2 * min(speed, 1.6))
    times = times_s + rng.uniform(0.0, 2 * step_s)
    path = Path(times_s=path.times_s + (times - times_s)[0], xz_m=path.xz_m, yaw=path.yaw)
    feet = plan_feet(skeleton, path, times, step_s, float(rng.uniform(0.14, 0.2)))
    beat = np.cos(np.pi * (times / step_s - 0.9))  # +1 when the left foot is ahead
    vigour = min(1.0, 0.35 + 0.5 * speed)
    lean = rng.uniform(1.0, 4.0)
    pelvis = columns(lean, -5.0 * vigour * beat, 2.0 * np.roll(beat, 0), like=times)
    spine = columns(lean * 0.5 - 2.0, 9.0 * vigour * beat, -2.0 * beat, like=times)
    head = columns(drift(rng, times, 4.0), drift(rng, times, 12.0), 0.0, like=times)
    reach, elbow = rng.uniform(16.0, 28.0) * vigour, rng.uniform(6.0, 20.0)
    arms = []
    for sign in (-1.0, 1.0):  # the left arm goes back as the left leg goes ahead
        swing = sign * beat * reach + 4.0
        side = rng.uniform(6.0, 12.0)
        arms.append(
            Arm(
                raised=np.hypot(swing, side),
                ahead=np.degrees(np.arctan2(swing, side)),
                twist=np.zeros_like(times),
                flexed=elbow + 0.35 * np.maximum(swing, 0.0),
            )
        )
    sway = np.cos(np.pi * (times / step_s - 0.4)) * -0.02
    shift = columns(sway, 0.0, like=times)
    lowered = np.full_like(times, 0.015)
    trunk = Trunk(pelvis=pelvis, spine=spine, head=head)
    return build_body(skeleton, times, path, feet, trunk, (arms[0], arms[1]), lowered, shift)


def walk(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Walk ahead at 0.6 to 1.5 m/s, straight or on a wide curve."""
    rng = np.random.default_rng(seed)
    speed = float(rng.uniform(0.6, 1.5)) * skeleton.leg_m / 0.82
    turn = float(rng.choice([0.0, rng.uniform(-25, 25)]))
    return _stepping(
        rng, times_s, skeleton, _curved_path(rng, float(times_s.max()), speed, turn), speed
    )


def turn(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Turn about on the spot with small steps, 40 to 110 degrees per second."""
    rng = np.random.default_rng(seed)
    rate = float(rng.uniform(40.0, 110.0)) * float(rng.choice([-1.0, 1.0]))
    return _stepping(
        rng, times_s, skeleton, _curved_path(rng, float(times_s.max()), 0.05, rate), 0.2
    )


def run(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Run ahead at 2 to 3.4 m/s, both feet in the air between steps."""
    rng = np.random.default_rng(seed)
    speed = float(rng.uniform(2.0, 3.4)) * skeleton.leg_m / 0.82
    turn = float(rng.choice([0.0, rng.uniform(-20, 20)]))
    path = _curved_path(rng, float(times_s.max()), speed, turn)
    step_s, share = float(rng.uniform(0.33, 0.38)), 1.4
    times = times_s + rng.uniform(0.0, 2 * step_s)
    path = Path(times_s=path.times_s + (times - times_s)[0], xz_m=path.xz_m, yaw=path.yaw)
    feet = plan_feet(skeleton, path, times, step_s, float(rng.uniform(0.06, 0.12)), share)
    beat = np.cos(np.pi * (times / step_s - 1.25))  # +1 when the left foot is ahead
    lean = rng.uniform(6.0, 12.0)
    trunk = Trunk(
        pelvis=columns(lean, -7.0 * beat, 0.0, like=times),
        spine=columns(2.0, 16.0 * beat, 0.0, like=times),
        head=columns(
            drift(rng, times, 3.0) - lean, drift(rng, times, 8.0) - 6 * beat, 0, like=times
        ),
    )
    elbow, reach = rng.uniform(80.0, 105.0), rng.uniform(32.0, 48.0)
    arms = []
    for sign in (-1.0, 1.0):
        swing, side = sign * beat * reach - 6.0, rng.uniform(10.0, 16.0)
        arms.append(
            Arm(
                raised=np.hypot(swing, side),
                ahead=np.degrees(np.arctan2(swing, side)),
                twist=np.full_like(times, 12.0),
                flexed=elbow + 0.3 * swing,
            )
        )
    # highest in the middle of the flight, which ends when the foot that was in the air lands
    flight = (times / step_s - share + 0.5 * (share - 1.0)) % 1.0
    lowered = 0.04 - 0.03 * np.cos(2 * np.pi * flight)
    still = columns(0.0, 0.0, like=times)
    return build_body(skeleton, times, path, feet, trunk, (arms[0], arms[1]), lowered, still)


def jump(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Crouch, jump with swinging arms, land and stand, again and again, on the spot or ahead."""
    rng = np.random.default_rng(seed)
    rise = float(rng.uniform(0.1, 0.38))
    ahead = float(rng.choice([0.0, rng.uniform(0.2, 0.7)]))
    crouch = float(rng.uniform(0.22, 0.38)) * skeleton.leg_m
    toes_deg, toes_up = 48.0, 0.08
    flight = 2 * np.sqrt(2 * rise / GRAVITY_M_S2)
    leaves = 0.75
    lands, ends = leaves + flight, leaves + flight + 0.9
    times = times_s + rng.uniform(0.0, ends)
    index = np.floor(times / ends)
    since = times - index * ends
    speed = GRAVITY_M_S2 * flight / 2
    knots = np.array([0.0, 0.12, 0.5, leaves, lands, lands + 0.22, lands + 0.7, ends])
    heights = np.array([0.0, 0.0, -crouch, toes_up, toes_up, -0.75 * crouch, 0.0, 0.0])
    slopes = np.array([0.0, 0.0, 0.0, speed, -speed, 0.0, 0.0, 0.0])
    height = CubicHermiteSpline(knots, heights, slopes)(since)
    in_air = (since > leaves) & (since < lands)
    share = np.clip((since - leaves) / flight, 0.0, 1.0)
    ballistic = 0.5 * GRAVITY_M_S2 * flight**2 * share * (1.0 - share)
    pitch = np.radians(toes_deg) * np.interp(
        since, [leaves - 0.16, leaves, lands, lands + 0.1], [0.0, 1.0, 0.75, 0.0]
    )
    moved = (index + share) * ahead
    depth = np.clip(-height / crouch, 0.0, 1.0)
    width, lifted = float(rng.uniform(0.2, 0.32)), 0.25 * rise * np.sin(np.pi * share) ** 2
    feet = _jumping_feet(skeleton, width, pitch, ballistic + np.where(in_air, lifted, 0.0), moved)
    flung = np.interp(
        since, [0, 0.15, 0.5, leaves + 0.1, lands, lands + 0.5], [0, 0, -1, 1, 0.55, 0]
    )
    top = float(rng.uniform(80.0, 165.0))
    swing = np.where(flung < 0, 45.0 * flung, top * flung)
    side = float(rng.uniform(9.0, 14.0))
    arm = Arm(
        raised=np.hypot(np.abs(swing), side),
        ahead=np.degrees(np.arctan2(swing, side)),
        twist=np.zeros_like(times),
        flexed=18.0 + 25.0 * np.clip(flung, 0, 1) * (1 - np.clip(flung, 0, 1)) * 4,
    )
    trunk = Trunk(
        pelvis=columns(38.0 * depth, 0.0, 0.0, like=times),
        spine=columns(4.0 * depth - 4.0 * in_air, drift(rng, times, 2.0), 0.0, like=times),
        head=columns(-16.0 * depth, drift(rng, times, 8.0), 0.0, like=times),
    )
    shift = columns(0.0, moved - 0.16 * depth * crouch, like=times)
    lowered = 0.01 - height
    return build_body(skeleton, times, still_path(), feet, trunk, (arm, arm), lowered, shift)


def _jumping_feet(
    skeleton: Skeleton, width_m: float, pitch: np.ndarray, up_m: np.ndarray, ahead_m: np.ndarray
) -> Feet:
    """Both feet side by side, rolled over the toes, lifted and moved ahead."""
    flat = planted_feet(skeleton, len(pitch), width_m, 8.0)
    ankles = np.stack(
        [rolled_ankle(skeleton, s, flat.ankles[s], flat.yaw[s], pitch) for s in (0, 1)]
    )
    ankles = ankles + np.stack([0 * up_m, up_m, ahead_m], axis=-1)
    both = np.stack([pitch, pitch])
    is_down = np.stack([up_m, up_m]) <= 0
    return Feet(
        ankles=ankles, yaw=flat.yaw, pitch=both, toe_bend=np.where(is_down, -both, -0.4 * both),
        stance=is_down.astype(float),
    )  # fmt: skip


def sit(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Sit down on the floor with the knees up, rest and look about, stand up; again and again."""
    rng = np.random.default_rng(seed)
    stay, slow = float(rng.uniform(1.5, 4.0)), float(rng.uniform(0.9, 1.3))
    knots = np.cumsum([0.0, 0.6, 1.5 * slow, stay, 1.5 * slow, 0.6])
    since = (times_s + rng.uniform(0.0, knots[-1])) % knots[-1]
    share = np.asarray(PchipInterpolator(knots, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0])(since))
    down = share * share * (3.0 - 2.0 * share)
    far = float(rng.uniform(0.6, 0.68)) * skeleton.leg_m
    seat_m = 0.118 * skeleton.leg_m / 0.82
    crouched = np.sin(np.pi * np.clip(share, 0.0, 1.0)) ** 2
    hugs = rng.random() < 0.5
    bent_deg = 40.0 if hugs else 6.0
    trunk = Trunk(
        pelvis=columns(-14.0 * down + 46.0 * crouched, 0.0, 0.0, like=times_s),
        spine=columns(
            bent_deg * down, drift(rng, times_s, 7.0), drift(rng, times_s, 3.0), like=times_s
        ),
        head=columns(
            drift(rng, times_s, 7.0) - 14 * down, drift(rng, times_s, 24.0), 0, like=times_s
        ),
    )
    resting = (-14.0, bent_deg)
    if hugs:  # hands before the shins, below the knees
        rests = from_chest(skeleton, resting, (0.11, 0.42 * skeleton.leg_m - seat_m, 0.72 * far))
    else:  # hands on the floor behind
        rests = from_chest(skeleton, resting, (0.3, 0.085 - seat_m, -0.3))
    hangs, ahead = np.array([0.42, -0.86, 0.12]), np.array([0.3, -0.35, 0.75])
    wrist = _between(hangs, rests, down)
    wrist = wrist + crouched[:, None] * (ahead - wrist) * (1.0 if hugs else 0.55)
    elbow = np.broadcast_to([0.9, -0.5, -0.3] if hugs else [0.4, 0.2, -1.0], wrist.shape)
    bent = down * (0.0 if hugs else 85.0)
    arm = Reach(wrist=wrist, elbow=elbow, bent=bent)
    feet = planted_feet(skeleton, len(times_s), float(rng.uniform(0.2, 0.34)), 8.0)
    shift = columns(0.0, -far * down - 0.1 * crouched * far, like=times_s)
    lowered = 0.01 + (skeleton.standing_m - seat_m - 0.01) * down
    return build_body(skeleton, times_s, still_path(), feet, trunk, (arm, arm), lowered, shift)


def _between(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    return a + (b - a) * share[:, None]


def squat(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Squat down and up again and again, arms coming to the front."""
    rng = np.random.default_rng(seed)
    period, phase = rng.uniform(1.6, 2.8), rng.uniform(0, 2 * np.pi)
    depth = 0.5 - 0.5 * np.cos(2 * np.pi * times_s / period + phase)
    far = float(rng.uniform(0.25, 0.5)) * skeleton.leg_m
    arm = Arm(
        raised=15.0 + 70.0 * depth,
        ahead=30.0 + 52.0 * depth,
        twist=np.zeros_like(times_s),
        flexed=15.0 + rng.uniform(0.0, 50.0) * depth,
    )
    trunk = Trunk(
        pelvis=columns(38.0 * depth, 0.0, 0.0, like=times_s),
        spine=columns(-8.0 * depth, drift(rng, times_s, 3.0), 0.0, like=times_s),
        head=columns(-14.0 * depth, drift(rng, times_s, 10.0), 0.0, like=times_s),
    )
    feet = planted_feet(skeleton, len(times_s), float(rng.uniform(0.3, 0.45)), 14.0)
    shift = columns(0.0, -0.22 * depth * far, like=times_s)
    lowered = 0.01 + far * depth
    return build_body(skeleton, times_s, still_path(), feet, trunk, (arm, arm), lowered, shift)


def dance(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Free movement to a beat: both arms anywhere, swaying hips, turning trunk, bent knees."""
    rng = np.random.default_rng(seed)
    beat = float(rng.uniform(0.45, 0.85))

    def curve(low: float | int, high: float | int) -> np.ndarray:
        return keyframed(rng, times_s, low, high, beat)

    arms = [
        Arm(
            raised=curve(15, 160),
            ahead=curve(-15, 85),
            twist=curve(-80, 20),
            flexed=curve(5, 115),
        )
        for _ in range(2)
    ]
    trunk = Trunk(
        pelvis=columns(curve(-4, 14), curve(-18, 18), curve(-7, 7), like=times_s),
        spine=columns(curve(-10, 16), curve(-25, 25), curve(-14, 14), like=times_s),
        head=columns(curve(-12, 18), curve(-35, 35), curve(-10, 10), like=times_s),
    )
    feet = planted_feet(skeleton, len(times_s), float(rng.uniform(0.24, 0.5)), 12.0)
    shift = columns(curve(-0.09, 0.09), curve(-0.04, 0.05), like=times_s)
    lowered = curve(0.01, 0.17)
    return build_body(
        skeleton, times_s, still_path(), feet, trunk, (arms[0], arms[1]), lowered, shift
    )


MOTIONS: dict[str, Callable[[int, np.ndarray, Skeleton], BodyMotion]] = {
    "walk": walk,
    "run": run,
    "turn": turn,
    "jump": jump,
    "squat": squat,
    "sit": sit,
    "dance": dance,
    "wave": gesture.wave,
    "point": gesture.point,
    "clap": gesture.clap,
    "stretch": gesture.stretch,
    "reach": gesture.reach,
    "bow": gesture.bow,
    "kick": gesture.kick,
    "box": gesture.box,
}
