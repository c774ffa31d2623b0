"""Result files of PHALP/4D-Humans, WHAM, GVHMR, TRAM and ROMP, each with its own traps.

None is unpickled: `models.body.pickle_reader` and torch's weights-only reader know numbers only.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from models.body.pickle_reader import read_result_npz, read_result_pickle
from pipelines.annotate.backends.torch_file import read_torch_file
from pipelines.annotate.importers.found import (
    SMPL_PELVIS_M,
    SMPLX_PELVIS_M,
    FoundBodies,
    FoundPerson,
    camera_from_roots,
    mean_betas,
    rotvec_of,
)

PHALP_FOCAL = 5000 / 256
"""HMR2's focal length, over the longer side of the frame padded to a square."""
ROMP_FOCAL = 0.5 / np.tan(np.radians(30))
"""60 degrees over the longer side."""


def read_found(path: Path) -> FoundBodies:
    """Bodies of a result; the format is told by the names in it.

    Args:
        path: `.pkl` of PHALP, 4D-Humans or WHAM, `.pt` of GVHMR, `.npz` of ROMP, or TRAM's folder.

    Raises:
        ValueError: With file and finding, if it is none of these or damaged.
    """
    try:
        if path.is_dir():
            return read_tram(path)
        if path.suffix == ".pt":
            return read_gvhmr(read_torch_file(path))
        if path.suffix == ".npz":
            return _read_npz(path)
        content = read_result_pickle(path)
        if not isinstance(content, dict) or not content:
            raise ValueError(
                "it holds no people; a failed run of PHALP leaves such a file, or none"
            )
        if "tid" in next(iter(content.values()), {}):
            return read_phalp(content)
        return read_wham(content)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        finding = f"there is no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: {finding}") from error


def read_phalp(frames: Mapping[str, Any]) -> FoundBodies:
    """PHALP and 4D-Humans: frame name -> lists over people.

    Rows with `tracked_time` above 0 are ghosts: copies of the last detection, left out.
    """
    numbers = {name: frame_number(name) for name in frames}
    first = 0 if 0 in numbers.values() else 1
    rows: dict[int, list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]] = defaultdict(list)
    for name, frame in sorted(frames.items()):
        since = list(frame["tracked_time"])
        for i, person in enumerate(frame["tid"]):
            if i < len(since) and since[i] > 0:
                continue
            smpl = frame["smpl"][i]
            matrices = np.concatenate(
                [
                    np.reshape(smpl["global_orient"], (1, 3, 3)),
                    np.reshape(smpl["body_pose"], (-1, 3, 3)),
                ]
            )
            place = np.reshape(frame["camera"][i], 3)
            rows[int(float(person))].append((numbers[name] - first, matrices, place, smpl["betas"]))
    people: list[FoundPerson] = []
    for _, seen in sorted(rows.items()):
        at, matrices, places, betas = (np.stack([np.asarray(r[k]) for r in seen]) for k in range(4))
        people.append(_person(at, rotvec_of(matrices, "smpl"), places, betas))
    return FoundBodies(
        tracker="PHALP", people=tuple(people), focal=PHALP_FOCAL, focal_side="longer",
        T_camera_world={},
    )  # fmt: skip


def read_wham(content: Mapping[Any, Any]) -> FoundBodies:
    """WHAM: person -> arrays over frame_ids; the focal length is the diagonal of the frame."""
    people: list[FoundPerson] = []
    path: dict[int, np.ndarray] = {}
    for key in sorted(content, key=str):
        result = content[key]
        person = _person(
            np.asarray(result["frame_ids"]),
            rotvec_of(result["pose"]),
            result["trans"],
            result["betas"],
        )
        people.append(person)
        if "pose_world" in result and len(person.frames) > len(path):
            R = Rotation.from_rotvec(rotvec_of(result["pose_world"])[:, 0]).as_matrix()
            pelvis = np.asarray(result["trans_world"], float).reshape(-1, 3) + SMPL_PELVIS_M
            path = camera_from_roots(person, R, pelvis)  # each person has a world of their own
    return FoundBodies(
        tracker="WHAM", people=tuple(people), focal=1.0, focal_side="diagonal", T_camera_world=path
    )


def read_gvhmr(content: Mapping[str, Any]) -> FoundBodies:
    """GVHMR: one person, SMPL-X in camera and world, in every frame of the video."""

    def arrays(name: str) -> dict[str, np.ndarray]:
        return {key: np.asarray(value, float) for key, value in content[name].items()}

    seen, world = arrays("smpl_params_incam"), arrays("smpl_params_global")
    poses = np.concatenate([seen["global_orient"], seen["body_pose"]], axis=1)
    person = _person(
        np.arange(len(poses)), rotvec_of(poses), seen["transl"], seen["betas"], SMPLX_PELVIS_M
    )
    K = np.asarray(content["K_fullimg"], float)[0]
    R = Rotation.from_rotvec(world["global_orient"]).as_matrix()
    return FoundBodies(
        tracker="GVHMR", people=(person,), focal_side="diagonal",
        focal=float(K[0, 0] / np.hypot(2 * K[0, 2], 2 * K[1, 2])),
        T_camera_world=camera_from_roots(person, R, world["transl"] + SMPLX_PELVIS_M),
    )  # fmt: skip


def read_tram(folder: Path) -> FoundBodies:
    """TRAM: camera.npy and hps/hps_track_*.npy; its path (`world_cam_*`) is camera-to-world."""
    camera = read_result_pickle(folder / "camera.npy")
    centre = np.asarray(camera["img_center"], float).reshape(2)
    people: list[FoundPerson] = []
    for file in sorted(folder.glob("hps/hps_track_*.npy"), key=lambda f: frame_number(f.stem)):
        track = read_result_pickle(file)
        poses = rotvec_of(track["pred_rotmat"], f"{file.name} pred_rotmat")
        people.append(
            _person(np.asarray(track["frame"]), poses, track["pred_trans"], track["pred_shape"])
        )
    R = np.asarray(camera["world_cam_R"], float)
    t = np.asarray(camera["world_cam_T"], float).reshape(-1, 3)
    path: dict[int, np.ndarray] = {}
    for frame in range(len(R)):
        T_world_camera = np.eye(4)
        T_world_camera[:3, :3], T_world_camera[:3, 3] = R[frame], t[frame]
        path[frame] = np.linalg.inv(T_world_camera)
    return FoundBodies(
        tracker="TRAM", people=tuple(people), focal_side="longer", T_camera_world=path,
        focal=float(camera["img_focal"]) / (2 * float(centre.max())),
    )  # fmt: skip


def read_romp(results: Mapping[str, Any]) -> FoundBodies:
    """ROMP: one picture, or frame name -> picture; people without `track_ids` keep their order."""
    frames = {"0": results} if "smpl_thetas" in results else results
    numbers = {name: frame_number(name) for name in frames}
    first = 0 if 0 in numbers.values() else 1
    rows: dict[int, list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]] = defaultdict(list)
    for name, frame in frames.items():
        thetas = np.asarray(frame["smpl_thetas"], float)
        ids = np.reshape(frame.get("track_ids", np.arange(len(thetas))), -1).astype(int)
        for i, person in enumerate(ids.tolist()):
            rows[person].append(
                (numbers[name] - first, thetas[i], frame["cam_trans"][i], frame["smpl_betas"][i])
            )
    people: list[FoundPerson] = []
    for _, seen in sorted(rows.items()):
        at, thetas, places, betas = (np.stack([np.asarray(r[k]) for r in seen]) for k in range(4))
        people.append(_person(at, rotvec_of(thetas, "smpl_thetas"), places, betas))
    return FoundBodies(
        tracker="ROMP", people=tuple(people), focal=float(ROMP_FOCAL), focal_side="longer",
        T_camera_world={},
    )  # fmt: skip


def frame_number(name: str) -> int:
    """The last number in a file name: `_DEMO/a/img/000012.jpg` is 12."""
    digits = re.findall(r"\d+", Path(str(name)).stem)
    if not digits:
        raise ValueError(f"frame {name!r} has no number")
    return int(digits[-1])


def _read_npz(path: Path) -> FoundBodies:
    with np.load(path, allow_pickle=False) as file:
        names = file.files
    if "results" in names:
        return read_romp(read_result_npz(path, "results"))
    if "poses" in names:
        raise ValueError(
            "AMASS holds motion without a camera, which labels no footage; film it with "
            "`isa4d generate --motion FILE.npz`, or render with --motions"
        )
    raise ValueError(f"it holds {names}, which is no result of ROMP")


def _person(
    frames: Any,
    rotvec: np.ndarray,
    places_m: Any,
    betas: Any,
    pelvis_m: np.ndarray = SMPL_PELVIS_M,
) -> FoundPerson:
    """SMPL's translation becomes the place of the pelvis."""
    return FoundPerson(
        frames=np.asarray(frames).reshape(-1).astype(np.int64),
        rotvec=rotvec,
        pelvis_m=np.asarray(places_m, float).reshape(-1, 3) + pelvis_m,
        betas=mean_betas(betas),
    )
