"""Acclaim motion capture (.asf skeleton, .amc motion), the original form of the CMU recordings.

A bone turns by C M C^-1 against its parent: C is the bone's axes in the zero pose, M the degrees
of freedom of the row, about fixed axes in the order they are written.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from pipelines.synthetic.bvh import CMU_FPS, Recording, TextRows

INCH_M = 0.0254
ROOT = "root"
JOINT_NAMES = {
    "root": "Hips", "lowerback": "LowerBack", "upperback": "Spine", "thorax": "Spine1",
    "lowerneck": "Neck", "upperneck": "Neck1", "head": "Head",
    "lhipjoint": "LHipJoint", "rhipjoint": "RHipJoint",
} | {
    f"{side[0].lower()}{bone}": side + joint
    for side in ("Left", "Right")
    for bone, joint in {
        "femur": "UpLeg", "tibia": "Leg", "foot": "Foot", "toes": "ToeBase",
        "clavicle": "Shoulder", "humerus": "Arm", "radius": "ForeArm", "wrist": "Hand",
        "hand": "FingerBase", "fingers": "HandIndex1", "thumb": "Thumb",
    }.items()
}  # fmt: skip
"""Bone -> the joint at its beginning, by the names of the BVH conversions."""


@dataclass
class _Bone:
    """A bone of the skeleton file."""

    direction: np.ndarray = field(default_factory=lambda: np.zeros(3))
    length: float = 0.0
    axes: Rotation = field(default_factory=Rotation.identity)
    freedoms: tuple[str, ...] = ()
    """rx ry rz, and tx ty tz for the root."""


@dataclass
class _Skeleton:
    bones: dict[str, _Bone]
    parents: dict[str, str]
    """In an order in which parents come first."""
    unit_m: float
    is_degrees: bool


def skeleton_of(path: Path) -> Path:
    """The .asf beside an .amc: the one whose name begins the motion's name, or the only one.

    Raises:
        ValueError: If there is none, or several and none fits.
    """
    found = sorted(p for p in path.parent.iterdir() if p.suffix.lower() == ".asf")
    fitting = [p for p in found if path.stem.startswith(p.stem)]
    if len(fitting) == 1 or len(found) == 1:
        return (fitting or found)[0]
    raise ValueError(
        f"{path}: needs its skeleton beside it, found {len(found)} .asf files; put the right one "
        f"there, named like the beginning of {path.stem!r}"
    )


@lru_cache(maxsize=8)
def read_amc(path: Path) -> Recording:
    """Read a motion and the skeleton beside it.

    The format has no frame rate: 120 per second, as CMU recorded.

    Raises:
        ValueError: naming file, line and finding, if one is missing, truncated or malformed.
        FileNotFoundError: If there is no such file.
    """
    rows = TextRows(path)
    skeleton = _read_skeleton(TextRows(skeleton_of(path)))
    poses = _read_poses(rows, skeleton)
    names = [ROOT, *skeleton.parents]
    index = {name: k for k, name in enumerate(names)}
    parents = [-1, *(index[p] for p in skeleton.parents.values())]
    leaves = [name for name in names if name not in skeleton.parents.values()]
    zero = {name: np.zeros((1, len(bone.freedoms))) for name, bone in skeleton.bones.items()}
    _, rest = _kinematics(skeleton, names, leaves, zero)
    quaternions, places = _kinematics(skeleton, names, leaves, poses)
    joint_names = [JOINT_NAMES.get(name, name) for name in names]
    return Recording(
        source=str(path),
        names=(*joint_names, *(f"{JOINT_NAMES.get(name, name)}_end" for name in leaves)),
        parents=(*parents, *(index[name] for name in leaves)),
        rest=rest[0],
        places=places,
        quaternions=quaternions,
        fps=CMU_FPS,
        unit_m=skeleton.unit_m,
    )


def _kinematics(
    skeleton: _Skeleton, names: list[str], leaves: list[str], poses: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Global quaternions and places of the bones' beginnings, then of the last bones' ends."""
    turned: dict[str, Rotation] = {}
    begins: dict[str, np.ndarray] = {}
    ends: dict[str, np.ndarray] = {}
    scale = 1.0 if skeleton.is_degrees else 180.0 / np.pi
    for name in names:
        bone, values = skeleton.bones[name], poses[name]
        kinds = [(k, f[1]) for k, f in enumerate(bone.freedoms) if f[0] == "r"]
        local = Rotation.identity(len(values))
        if kinds:
            order = "".join(axis for _, axis in kinds)
            angles = values[:, [k for k, _ in kinds]] * scale
            local = bone.axes * Rotation.from_euler(order, angles, degrees=True) * bone.axes.inv()
        if name == ROOT:
            place = np.zeros((len(values), 3))
            for k, freedom in enumerate(bone.freedoms):
                if freedom[0] == "t":
                    place[:, "xyz".index(freedom[1])] = values[:, k]
            turned[name], begins[name], ends[name] = local, place, place
        else:
            parent = skeleton.parents[name]
            turned[name], begins[name] = turned[parent] * local, ends[parent]
            ends[name] = begins[name] + turned[name].apply(bone.direction * bone.length)
    places = [begins[name] for name in names] + [ends[name] for name in leaves]
    rotations = [turned[name] for name in (*names, *leaves)]
    return np.stack([r.as_quat() for r in rotations], axis=1), np.stack(places, axis=1)


def _read_skeleton(rows: TextRows) -> _Skeleton:
    skeleton = _Skeleton(bones={ROOT: _Bone()}, parents={}, unit_m=INCH_M, is_degrees=True)
    section = ""
    for words in rows.rest():
        if words[0].startswith(":"):
            section = words[0]
        elif section == ":units":
            _read_unit(rows, words, skeleton)
        elif section == ":root":
            _read_root(rows, words, skeleton.bones[ROOT])
        elif section == ":bonedata" and words == ["begin"]:
            _read_bone(rows, skeleton)
        elif section == ":hierarchy" and words not in (["begin"], ["end"]):
            _read_branch(rows, words, skeleton)
    orphans = set(skeleton.bones) - set(skeleton.parents) - {ROOT}
    if orphans or len(skeleton.bones) < 2:
        finding = f"bones {sorted(orphans)} hang nowhere" if orphans else "there are no bones"
        raise rows.error(f"{finding}; the file may be truncated")
    return skeleton


def _read_unit(rows: TextRows, words: list[str], skeleton: _Skeleton) -> None:
    if words[0] == "length":
        length = rows.numbers(words[1:], 1, "length")[0]
        if not length > 0:
            raise rows.error(f"length must be positive, got {length}")
        skeleton.unit_m = INCH_M / length
    if words[0] == "angle":
        skeleton.is_degrees = words[1:] == ["deg"]


def _read_root(rows: TextRows, words: list[str], root: _Bone) -> None:
    if words[0] == "order":
        root.freedoms = _freedoms(rows, words[1:])
    if words[0] in ("position", "orientation") and any(rows.numbers(words[1:], 3, words[0])):
        raise rows.error(f"a root {words[0]} other than 0 0 0 is not supported")


def _freedoms(rows: TextRows, words: list[str]) -> tuple[str, ...]:
    freedoms = tuple(word.lower() for word in words)
    if not set(freedoms) <= {kind + axis for kind in "rt" for axis in "xyz"}:
        raise rows.error(f"unreadable degrees of freedom {' '.join(words)[:60]!r}")
    return freedoms


def _read_bone(rows: TextRows, skeleton: _Skeleton) -> None:
    name, bone = "", _Bone()
    while (words := rows.next("the end of a bone")) != ["end"]:
        if words[0] == "name":
            name = words[-1]
        elif words[0] == "direction":
            bone.direction = np.array(rows.numbers(words[1:], 3, "direction"))
        elif words[0] == "length":
            bone.length = rows.numbers(words[1:], 1, "length")[0]
        elif words[0] == "axis":
            angles = rows.numbers(words[1:4], 3, "axis")
            order = words[4].lower() if len(words) > 4 else "xyz"
            bone.axes = Rotation.from_euler(order, angles, degrees=skeleton.is_degrees)
        elif words[0] == "dof":
            bone.freedoms = _freedoms(rows, words[1:])
    if not name:
        raise rows.error("a bone has no name")
    skeleton.bones[name] = bone


def _read_branch(rows: TextRows, words: list[str], skeleton: _Skeleton) -> None:
    for name in words:
        if name not in skeleton.bones:
            raise rows.error(f"the hierarchy names {name!r}, which is no bone")
    if words[0] != ROOT and words[0] not in skeleton.parents:
        raise rows.error(f"{words[0]!r} has children before it has a parent")
    for child in words[1:]:
        skeleton.parents[child] = words[0]


def _read_poses(rows: TextRows, skeleton: _Skeleton) -> dict[str, np.ndarray]:
    """Bone -> its degrees of freedom, a row per frame; frames must be whole and in order."""
    moving = {name: len(bone.freedoms) for name, bone in skeleton.bones.items() if bone.freedoms}
    values: dict[str, list[list[float]]] = {name: [] for name in moving}
    number: int | None = None
    count = 0
    for words in rows.rest():
        if words[0].startswith((":", "#")):
            continue
        if len(words) == 1 and words[0].isdigit():
            _check_whole(rows, values, count)
            if number is not None and int(words[0]) != number + 1:
                raise rows.error(f"frame {words[0]} follows frame {number}; frames are missing")
            number, count = int(words[0]), count + 1
        elif words[0] in moving and count:
            values[words[0]].append(rows.numbers(words[1:], moving[words[0]], words[0]))
        else:
            raise rows.error(f"{words[0]!r} is no moving bone of the skeleton")
    if count == 0:
        raise rows.error("there is no frame of motion")
    _check_whole(rows, values, count)
    still = {name: np.zeros((count, 0)) for name in skeleton.bones if name not in moving}
    return {name: np.array(v) for name, v in values.items()} | still


def _check_whole(rows: TextRows, values: dict[str, list[list[float]]], count: int) -> None:
    missing = [name for name, bone_rows in values.items() if len(bone_rows) != count]
    if missing:
        raise rows.error(f"frame row {count} lacks {', '.join(missing)}; the file may be truncated")
