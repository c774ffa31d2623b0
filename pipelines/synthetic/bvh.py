"""Motion capture as recorded skeletons, and the BVH reader: any skeleton and channel order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

CMU_UNIT_M = 0.056444
"""One unit of the CMU recordings: inches / 0.45."""
CMU_FPS = 120.0
CHANNELS = {f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation")}


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recorded skeleton over time, in the file's own unit and axes."""

    source: str
    names: tuple[str, ...]
    """Joints and, named after their parent with `_end`, the ends of the last bones; parents come
    first."""
    parents: tuple[int, ...]
    rest: Float[np.ndarray, "joints 3"]
    """Places in the zero pose, the root where its offset puts it."""
    places: Float[np.ndarray, "frames joints 3"]
    quaternions: Float[np.ndarray, "frames joints 4"]
    """Global rotations from the zero pose, xyzw as scipy has them."""
    fps: float
    unit_m: float | None
    """Metres per file unit; None where the file does not tell."""

    @property
    def num_frames(self) -> int:
        """Rows of motion, the made-up T-pose of CMU files left out."""
        return len(self.places)


class TextRows:
    """A text file's non-empty lines with their numbers, and errors that say where."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text(encoding="utf-8", errors="replace")
        self.rows = [(n, row.split()) for n, row in enumerate(text.splitlines(), 1) if row.strip()]
        self.position = 0
        self.number = 1

    def error(self, finding: str) -> ValueError:
        """The finding at the row last read."""
        return ValueError(f"{self.path}:{self.number}: {finding}")

    def next(self, expected: str) -> list[str]:
        """Words of the next row."""
        if self.position >= len(self.rows):
            raise self.error(f"the file ends where {expected} should stand")
        self.number, words = self.rows[self.position]
        self.position += 1
        return words

    def rest(self) -> Iterator[list[str]]:
        """Words of every further row."""
        while self.position < len(self.rows):
            yield self.next("a row of motion")

    def numbers(self, words: list[str], count: int, what: str) -> list[float]:
        """So many finite numbers, or an error that calls them `what`."""
        if len(words) != count:
            raise self.error(f"{what} needs {count} numbers, got {len(words)}")
        try:
            values = [float(word) for word in words]
        except ValueError:
            raise self.error(f"{what} must be numbers, got {' '.join(words)[:60]!r}") from None
        if not np.isfinite(values).all():
            raise self.error(f"{what} must be finite")
        return values


@lru_cache(maxsize=8)
def read_bvh(path: Path) -> Recording:
    """Read a BVH file: any joints, any channel order.

    The first row of CMU conversions is a made-up T-pose; it is dropped. Their header rounds the
    frame time: 0.0083333 s is 120 frames per second.

    Raises:
        ValueError: naming file, line and finding, if the file is truncated or malformed.
        FileNotFoundError: If there is no such file.
    """
    lines = TextRows(path)
    if lines.next("HIERARCHY") != ["HIERARCHY"]:
        raise lines.error("a BVH file starts with HIERARCHY")
    tree = _Hierarchy(lines)
    tree.read()
    channels = tuple(tree.channels.get(k, ()) for k in range(len(tree.names)))
    width = sum(len(c) for c in channels)
    count, frame_time_s = _read_motion_header(lines)
    values = np.array([lines.numbers(row, width, "a row of motion") for row in lines.rest()])
    if len(values) != count:
        raise lines.error(f"the header promises {count} frames, the file holds {len(values)}")
    is_cmu = {"LHipJoint", "LowerBack", "LeftUpLeg", "LThumb"} <= set(tree.names)
    if is_cmu and count > 1 and _is_rest_row(channels, values):
        values = values[1:]
    fps = 1.0 / frame_time_s
    offsets = np.array([tree.offsets[k] for k in range(len(tree.names))])
    _, rest = _kinematics(tree.parents, offsets, channels, np.zeros((1, width)), is_rest=True)
    quaternions, places = _kinematics(tree.parents, offsets, channels, values)
    return Recording(
        source=str(path),
        names=tuple(tree.names),
        parents=tuple(tree.parents),
        rest=rest[0],
        places=places,
        quaternions=quaternions,
        fps=CMU_FPS if abs(fps - CMU_FPS) < 0.01 else fps,
        unit_m=CMU_UNIT_M if is_cmu else None,
    )


def _is_rest_row(channels: tuple[tuple[str, ...], ...], values: np.ndarray) -> bool:
    kinds = np.array([c.endswith("rotation") for joint in channels for c in joint])
    first, second = values[0, kinds], values[1, kinds]
    return bool((first == np.round(first)).all() and (second != np.round(second)).any())


class _Hierarchy:
    """The joint tree while it is being read."""

    def __init__(self, lines: TextRows) -> None:
        self.lines = lines
        self.names: list[str] = []
        self.parents: list[int] = []
        self.offsets: dict[int, list[float]] = {}
        self.channels: dict[int, tuple[str, ...]] = {}
        self.open_joints: list[int] = []

    def read(self) -> None:
        """Read up to and with the line MOTION."""
        while (words := self.lines.next("MOTION")) != ["MOTION"]:
            keyword = words[0]
            if keyword in ("ROOT", "JOINT", "End"):
                self._open(keyword, " ".join(words[1:]))
            elif not self.open_joints:
                raise self.lines.error(f"unexpected {' '.join(words)[:60]!r}")
            elif words == ["}"]:
                self.open_joints.pop()
            else:
                self._describe(keyword, words[1:])
        if self.open_joints or not self.names:
            raise self.lines.error("a brace is not closed" if self.names else "there is no ROOT")
        for joint, name in enumerate(self.names):
            if joint not in self.offsets:
                raise self.lines.error(f"joint {name} has no OFFSET")

    def _open(self, keyword: str, name: str) -> None:
        parent = self.open_joints[-1] if self.open_joints else -1
        if (keyword == "ROOT") != (parent == -1):
            raise self.lines.error(f"{keyword} does not belong here")
        self.names.append(f"{self.names[parent]}_end" if keyword == "End" else name)
        self.parents.append(parent)
        if self.lines.next("{") != ["{"]:
            raise self.lines.error(f"joint {self.names[-1]} needs an opening brace")
        self.open_joints.append(len(self.names) - 1)

    def _describe(self, keyword: str, words: list[str]) -> None:
        joint = self.open_joints[-1]
        if keyword == "OFFSET":
            self.offsets[joint] = self.lines.numbers(words, 3, "OFFSET")
        elif keyword == "CHANNELS":
            kinds = words[1:]
            if words[:1] != [str(len(kinds))] or not set(kinds) <= CHANNELS:
                raise self.lines.error(f"unreadable CHANNELS {' '.join(words)[:80]!r}")
            self.channels[joint] = tuple(kinds)
        else:
            raise self.lines.error(f"unexpected {keyword!r}")


def _read_motion_header(lines: TextRows) -> tuple[int, float]:
    words = lines.next("Frames:")
    if len(words) != 2 or words[0] != "Frames:" or not words[1].isdigit():
        raise lines.error(f"expected 'Frames: N', got {' '.join(words)!r}")
    count = int(words[1])
    words = lines.next("Frame Time:")
    if words[:2] != ["Frame", "Time:"]:
        raise lines.error(f"expected 'Frame Time: SECONDS', got {' '.join(words)!r}")
    frame_time_s = lines.numbers(words[2:], 1, "Frame Time")[0]
    if count < 1 or frame_time_s <= 0:
        raise lines.error(f"needs frames and time, got {count} frames of {frame_time_s} s")
    return count, frame_time_s


def _kinematics(
    parents: Sequence[int],
    offsets: np.ndarray,
    channels: Sequence[tuple[str, ...]],
    values: np.ndarray,
    is_rest: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Global quaternions and places of every joint; at rest the offsets stand for positions."""
    rotations: list[Rotation] = []
    places = np.zeros((len(values), len(parents), 3))
    column = 0
    for joint, kinds in enumerate(channels):
        own = values[:, column : column + len(kinds)]
        column += len(kinds)
        shift = np.repeat(offsets[joint][None], len(values), axis=0)
        for k, kind in enumerate(kinds):
            if kind.endswith("position") and not is_rest:
                shift[:, "XYZ".index(kind[0])] = own[:, k]
        turning = [k for k, kind in enumerate(kinds) if kind.endswith("rotation")]
        order = "".join(kinds[k][0] for k in turning)
        local = (
            Rotation.from_euler(order, own[:, turning], degrees=True)
            if order
            else Rotation.identity(len(values))
        )
        parent = parents[joint]
        if parent < 0:
            rotations.append(local)
            places[:, joint] = shift
        else:
            rotations.append(rotations[parent] * local)
            places[:, joint] = places[:, parent] + rotations[parent].apply(shift)
    return np.stack([r.as_quat() for r in rotations], axis=1), places
