"""People with the user's own skins: a licensed SMPL file and a folder of textures in its UV layout.

The folder holds one OBJ file with the UV layout (`smpl_uv.obj` of the SMPL pages) and pictures
(PNG or JPEG) of dressed people in that layout; nothing of it is shipped. Shape and skin follow from
the character's number; files count by their content.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int, UInt8

from models.body.model import BodyModel
from pipelines.synthetic.asset import UNKNOWN, Asset
from pipelines.synthetic.mannequin import Mesh

PICTURES = (".png", ".jpg", ".jpeg")
SMPL_LICENCE = "LicenseRef-SMPL-non-commercial"
"""Of the body files and layouts of the SMPL pages: research only, whoever else adds what."""
MAX_BETA = 2.0


@dataclass(frozen=True, kw_only=True)
class ScanSpec:
    """The user's own body and skin of a person."""

    body: Asset
    """A SMPL file, .npz or .pkl."""
    layout: Asset
    """The OBJ file with its UVs."""
    skin: Asset
    """A picture in that layout."""

    @property
    def files(self) -> tuple[Asset, ...]:
        """All that the person is made from."""
        return (self.body, self.layout, self.skin)


def body_of(scan: ScanSpec | None) -> BodyModel:
    """A person's body, read once per process: the shipped free one without a scan.

    Raises:
        ValueError: If there is no such file, or it holds no SMPL body.
    """
    return _body(None if scan is None else scan.body)


@lru_cache(maxsize=2)
def _body(file: Asset | None) -> BodyModel:
    return BodyModel.load(None if file is None else file.file)


def draw_scan(
    character: int,
    body_file: Path,
    folder: Path,
    body_licence: str = SMPL_LICENCE,
    skin_licence: str = UNKNOWN,
) -> ScanSpec:
    """Which skin a character wears; the same for the same number and file names.

    Raises:
        ValueError: If the folder does not hold one OBJ file and at least one picture, or there is
            no body file.
    """
    layout, pictures = texture_files(folder)
    if not body_file.is_file():
        raise ValueError(f"no body file at {body_file}; leave it out for the free body")
    rng = np.random.default_rng((character, 0x5CA8))
    return ScanSpec(
        body=Asset.of(body_file, body_licence),
        layout=Asset.of(layout, body_licence),
        skin=Asset.of(pictures[int(rng.integers(len(pictures)))], skin_licence),
    )


def body_name(scan: ScanSpec | None) -> str:
    """What labels call a person's body: name and digest, however its file is named."""
    body = body_of(scan)
    return f"{body.name if scan is None else 'smpl'}:{body.digest}"


def scan_betas(character: int) -> Float[np.ndarray, "10"]:
    """Body shape of a character in a licensed body."""
    rng = np.random.default_rng((character, 0x5CA7))
    return np.clip(rng.normal(size=10), -MAX_BETA, MAX_BETA).astype(np.float32)


def check_scans(body_file: Path, folder: Path) -> None:
    """Look at all of it once, before anything is rendered.

    Raises:
        ValueError: If the body file is none, or the folder holds no layout of it or a file that
            is no picture.
    """
    layout, pictures = texture_files(folder)
    read_uv_layout(layout, BodyModel.load(body_file))
    for path in pictures:
        if not cv2.haveImageReader(str(path)):
            raise ValueError(f"{path} is not a readable picture; take it out of the folder")


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
    if corners.shape[1:] != (3, 2):
        raise ValueError(f"{path} must hold triangles with UVs (f v/vt), got none or other faces")
    num_faces = len(body.faces)
    if num_vertices != len(body.v_template) or len(corners) != num_faces:
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


@lru_cache(maxsize=2)
def _split(layout: Asset, body_file: Asset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices split along the seams of a layout: the body's vertex and UV of each; triangles."""
    corners, uv = read_uv_layout(layout.file, _body(body_file))
    pairs, inverse = np.unique(
        rearrange(corners, "f corner pair -> (f corner) pair"), axis=0, return_inverse=True
    )
    owner, number = pairs.T
    return owner, uv[number].astype(np.float32), inverse.reshape(-1, 3).astype(np.int32)


def scanned_mesh(
    scan: ScanSpec, betas: Float[np.ndarray, "10"]
) -> tuple[Mesh, Float[np.ndarray, "verts 3 207"] | None]:
    """The person's rest body with its vertices split along the seams of the UV layout.

    Returns:
        The mesh and, where the body has them, the pose corrections of its vertices.
    """
    body = body_of(scan)
    owner, uv, faces = _split(scan.layout, scan.body)
    rest = body.shape(torch.as_tensor(betas, dtype=torch.float32)).vertices.numpy()
    mesh = Mesh(vertices=rest[owner], weights=body.weights.numpy()[owner], faces=faces, uv=uv)
    return mesh, None if body.posedirs is None else body.posedirs.numpy()[owner]
