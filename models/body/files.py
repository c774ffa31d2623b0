"""Body files on disk: the shipped compact form, SMPL .npz and SMPL .pkl; checked when read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int, Integer

from models.body.pickle_reader import read_body_pickle
from models.body.surface import farthest_points
from storage_schemas.arrays import read_npz
from storage_schemas.conventions import NUM_BETAS, SMPL_PARENTS

NUM_JOINTS = len(SMPL_PARENTS)
NUM_SURFACE_POINTS = 1024
SMPL_NAMES = (
    "v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f",
)  # fmt: skip
APPEARANCE = ("uv", "uv_vertex", "uv_faces", "region", "region_names")


@dataclass(frozen=True, kw_only=True)
class BodyFile:
    """Content of a body file, numpy, metres; the meaning is that of `BodyModel`."""

    digest: str
    v_template: Float[np.ndarray, "verts 3"]
    shapedirs: Float[np.ndarray, "verts 3 10"]
    posedirs: Float[np.ndarray, "verts 3 207"] | None
    weights: Float[np.ndarray, "verts 24"]
    J_regressor: Float[np.ndarray, "24 verts"]
    faces: Int[np.ndarray, "faces 3"]
    surface_points: Int[np.ndarray, "points"]
    appearance: dict[str, np.ndarray]


def expand_weights(
    joints: Integer[np.ndarray, "verts k"], values: Integer[np.ndarray, "verts k"]
) -> Float[np.ndarray, "verts 24"]:
    """Full skinning weights from the shipped files' few largest per vertex."""
    weights = np.zeros((len(joints), NUM_JOINTS))
    np.put_along_axis(weights, joints.astype(int), values.astype(float), axis=1)
    return weights / weights.sum(1, keepdims=True)


def _expand_compact(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The shipped form to SMPL's names."""
    regressor = np.zeros((NUM_JOINTS, len(arrays["v_template"])))
    ids, values = arrays["regressor_vertex"].astype(int), arrays["regressor_value"]
    np.add.at(regressor, (np.arange(NUM_JOINTS)[:, None], ids), values)
    appearance = {name: arrays[name] for name in APPEARANCE}
    appearance["uv"] = arrays["uv"].astype(np.float32) / 65535
    appearance |= {key: value for key, value in arrays.items() if key.startswith("mask_")}
    return {
        "v_template": arrays["v_template"],
        "shapedirs": arrays["shapedirs"],
        "weights": expand_weights(arrays["weights_joint"], arrays["weights_value"]),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "f": arrays["faces"],
        "surface_points": arrays["surface_points"].astype(np.int64),
        "appearance": appearance,
    }


def _check_tree(path: Path, table: Any) -> None:
    parents = np.asarray(table, dtype=np.int64)[0]
    if len(parents) != NUM_JOINTS or tuple(parents[1:]) != SMPL_PARENTS[1:]:
        raise ValueError(
            f"kintree_table of {path} must be SMPL's tree of {NUM_JOINTS} joints, got "
            f"{len(parents)} joints; SMPL+H, SMPL-X, MANO and FLAME files do not fit: "
            "give the SMPL file of the same person model"
        )


def _check_shapes(path: Path, arrays: dict[str, Any], num_vertices: int) -> None:
    expected = {
        "v_template": (num_vertices, 3),
        "shapedirs": (num_vertices, 3, NUM_BETAS),
        "weights": (num_vertices, NUM_JOINTS),
        "J_regressor": (NUM_JOINTS, num_vertices),
        "posedirs": (num_vertices, 3, 9 * (NUM_JOINTS - 1)),
    }
    for name, shape in expected.items():
        array = arrays[name]
        if array is None:
            continue
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"{name} of {path} must be finite {shape}, got {array.shape}")
    if not np.allclose(arrays["weights"].sum(1), 1, atol=1e-3):
        raise ValueError(f"weights of {path} must sum to 1 per vertex")


def _dense(value: Any) -> np.ndarray:
    dense = value.toarray() if scipy.sparse.issparse(value) else value
    return np.asarray(dense, dtype=np.float64)


def _read_arrays(path: Path) -> dict[str, Any]:
    if path.suffix == ".pkl":
        return read_body_pickle(path, SMPL_NAMES)
    if path.suffix != ".npz":
        raise ValueError(f"a body file must end in .npz or .pkl, got {path}")
    try:
        arrays = read_npz(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not a readable body file: {error}") from error
    return _expand_compact(arrays) if "weights_joint" in arrays else dict(arrays)


def read_body_file(path: Path) -> BodyFile:
    """Read and check a body file.

    Raises:
        ValueError: If something is missing, has a wrong shape, or is no SMPL tree.
    """
    if not path.is_file():
        raise ValueError(f"no body file at {path}; leave the path out for the shipped free body")
    arrays = _read_arrays(path)
    missing = [n for n in ("v_template", "shapedirs", "J_regressor", "weights", "f")
               if n not in arrays]  # fmt: skip
    if missing:
        raise ValueError(f"{path} must hold {', '.join(SMPL_NAMES)}; missing {missing}")
    if "kintree_table" in arrays:
        _check_tree(path, arrays["kintree_table"])
    dense = {name: _dense(arrays[name]) for name in ("v_template", "J_regressor", "weights")}
    dense["shapedirs"] = _dense(arrays["shapedirs"])[..., :NUM_BETAS]
    posedirs = _dense(arrays["posedirs"]) if "posedirs" in arrays else None
    template = dense["v_template"]
    _check_shapes(path, dense | {"posedirs": posedirs}, len(template))
    surface = arrays.get("surface_points")
    if surface is None:
        surface = farthest_points(template, min(NUM_SURFACE_POINTS, len(template)))
    return BodyFile(
        digest=hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        posedirs=posedirs if posedirs is not None and posedirs.any() else None,
        faces=np.asarray(arrays["f"]).astype(np.int64),
        surface_points=surface,
        appearance=arrays.get("appearance", {}),
        **dense,
    )
