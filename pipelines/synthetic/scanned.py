"""People with the user's own skins: a licensed SMPL file and a folder of textures in its UV layout.

The folder holds one OBJ file with the UV layout (`smpl_uv.obj` of the SMPL pages) and pictures
(PNG or JPEG) of dressed people in that layout; nothing of it is shipped.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int, UInt8

from models.body.model import BodyModel
from pipelines.synthetic.garment import Mesh

PICTURES = (".png", ".jpg", ".jpeg")


def texture_files(folder: Path) -> tuple[Path, list[Path]]:
    """The UV layout and the pictures of a folder, sorted.

    Raises:
        ValueError: If the folder does not hold one OBJ file and at least one picture.
    """
    if not folder.is_dir():
        raise ValueError(f"no texture folder at {folder}; leave it out for the made-up people")
    layouts = sorted(folder.glob("*.obj"))
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if len(layouts) != 1 or not pictures:
        raise ValueError(
            f"{folder} must hold one .obj with the UV layout and at least one picture "
            f"{PICTURES}, got {len(layouts)} .obj files and {len(pictures)} pictures"
        )
    return layouts[0], pictures


def read_uv_layout(
    path: Path, body: BodyModel
) -> tuple[Int[np.ndarray, "faces 3 2"], Float[np.ndarray, "uvs 2"]]:
    """Vertex and UV number of every corner, and the UVs ((0, 0) upper left) of an OBJ file.

    Raises:
        ValueError: If the file is no layout of this body's triangles.
    """
    lines = [line.split() for line in path.read_text(errors="replace").splitlines()]
    num_vertices = sum(words[:1] == ["v"] for words in lines)
    try:
        uv = np.array([words[1:3] for words in lines if words[:1] == ["vt"]], dtype=float)
        corners = np.array(
            [
                [corner.split("/")[:2] for corner in words[1:]]
                for words in lines
                if words[:1] == ["f"]
            ],
            dtype=int,
        )
    except ValueError as error:
        raise ValueError(f"{path} must hold triangles with UVs (f v/vt): {error}") from error
    num_faces = len(body.faces)
    if num_vertices != len(body.v_template) or corners.shape != (num_faces, 3, 2):
        raise ValueError(
            f"{path} lays out {num_vertices} vertices and {len(corners)} triangles, body "
            f"{body.name} has {len(body.v_template)} and {num_faces}: give the layout of this body"
        )
    corners -= 1
    if (
        corners.min() < 0
        or corners[..., 0].max() >= num_vertices
        or corners[..., 1].max() >= len(uv)
    ):
        raise ValueError(f"{path} names vertices or UVs that it does not hold")
    return corners, uv * (1, -1) + (0, 1)


def read_picture(path: Path, size: int) -> UInt8[np.ndarray, "size size 4"]:
    """A texture at the wanted size, opaque.

    Raises:
        ValueError: If the file is no picture.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path} is not a readable picture")
    rgb = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)[..., ::-1]
    return np.dstack([rgb, np.full((size, size), 255, np.uint8)]).astype(np.uint8)


def scanned_mesh(body: BodyModel, betas: Float[np.ndarray, "10"], layout: Path) -> Mesh:
    """The person's rest body with its vertices split along the seams of the UV layout."""
    corners, uv = read_uv_layout(layout, body)
    pairs, inverse = np.unique(
        rearrange(corners, "f corner pair -> (f corner) pair"), axis=0, return_inverse=True
    )
    rest = body.shape(torch.as_tensor(betas, dtype=torch.float32)).vertices.numpy()
    return Mesh(
        vertices=rest[pairs[:, 0]],
        weights=body.weights.numpy()[pairs[:, 0]],
        faces=inverse.reshape(-1, 3).astype(np.int32),
        uv=uv[pairs[:, 1]].astype(np.float32),
    )
