"""AMASS motion (.npz): SMPL-H or SMPL-X poses, z up, as 24 joints, y up.

Both spellings of the rate are read, `mocap_framerate` and `mocap_frame_rate`. Of the hands only
their place is kept: the two hand joints of SMPL stay as in the rest pose.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from einops import rearrange
from jaxtyping import Float
from scipy.spatial.transform import Rotation

RATE_KEYS = ("mocap_framerate", "mocap_frame_rate")
NUM_BODY_JOINTS = 22
"""Joints that SMPL, SMPL-H and SMPL-X share; hands and face follow."""
R_Y_UP = Rotation.from_rotvec([-np.pi / 2, 0.0, 0.0])
"""From AMASS's world (z up) to ours."""


@dataclass(frozen=True, kw_only=True)
class SmplRecording:
    """A recorded SMPL pose over time, in a y-up world, metres."""

    source: str
    rotvec: Float[np.ndarray, "frames 24 3"]
    """Axis-angle of each joint against its parent, of the pelvis in the world."""
    transl: Float[np.ndarray, "frames 3"]
    """SMPL's `trans`, turned y up: the pelvis joint is at `transl + R_Y_UP J0`."""
    fps: float

    @property
    def num_frames(self) -> int:
        """Rows of motion."""
        return len(self.transl)


@lru_cache(maxsize=8)
def read_amass(path: Path) -> SmplRecording:
    """Read poses, places and rate; shape, gender and soft tissue are left out.

    Raises:
        ValueError: naming file and finding, if an array is missing, misshapen or not finite.
        FileNotFoundError: If there is no such file.
    """
    arrays = _arrays(path)
    poses, trans = (_floats(path, arrays, name) for name in ("poses", "trans"))
    if trans.ndim != 2 or trans.shape[1] != 3 or len(trans) == 0:
        raise ValueError(f"{path}: trans must be [frames, 3] with frames, got {trans.shape}")
    if poses.ndim != 2 or len(poses) != len(trans) or poses.shape[1] < 3 * NUM_BODY_JOINTS:
        raise ValueError(
            f"{path}: poses must be [{len(trans)}, {3 * NUM_BODY_JOINTS} or more], "
            f"got {poses.shape}"
        )
    rotvec = np.zeros((len(trans), 24, 3))
    body = poses[:, : 3 * NUM_BODY_JOINTS]
    rotvec[:, :NUM_BODY_JOINTS] = rearrange(body, "t (j c) -> t j c", c=3)
    rotvec[:, 0] = (R_Y_UP * Rotation.from_rotvec(rotvec[:, 0])).as_rotvec()
    return SmplRecording(
        source=str(path), rotvec=rotvec, transl=R_Y_UP.apply(trans), fps=_rate(path, arrays)
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    wanted = ("poses", "trans", *RATE_KEYS)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in wanted if name in file.files}
    except (BadZipFile, EOFError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no readable .npz ({error}); fetch the file again") from error


def _floats(path: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise ValueError(f"{path}: there is no array {name!r}; is this an AMASS motion file?")
    if not np.issubdtype(arrays[name].dtype, np.number):
        raise ValueError(f"{path}: {name} must hold numbers, got {arrays[name].dtype}")
    values = arrays[name].astype(float)
    bad = ~np.isfinite(values).reshape(len(values), -1).all(1) if values.ndim else np.zeros(1)
    if bad.any():
        raise ValueError(
            f"{path}: {name} is not finite in {int(bad.sum())} of {len(values)} frames, first in "
            f"frame {int(bad.argmax())}; cut them out or leave the file out"
        )
    return values


def _rate(path: Path, arrays: dict[str, np.ndarray]) -> float:
    for key in RATE_KEYS:
        if key in arrays:
            rate = _floats(path, {key: arrays[key].reshape(-1)}, key)
            if len(rate) != 1 or not rate[0] > 0:
                raise ValueError(f"{path}: {key} must be one positive number, got {rate.tolist()}")
            return float(rate[0])
    raise ValueError(
        f"{path}: neither {' nor '.join(RATE_KEYS)} is there; add the frame rate or leave it out"
    )
