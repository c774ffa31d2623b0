"""Fixtures shared by all tests."""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ.setdefault("WDS_SECURE", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pytest
import torch

from pipelines.video_io import encode_mp4
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.clip import ClipRecord
from storage_schemas.conventions import SMPL_PARENTS
from storage_schemas.dataset import Manifest, ShardEntry, index_key
from storage_schemas.mask import MaskTrack
from storage_schemas.shards import write_shard
from storage_schemas.store import Store

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test material beside the checkout; tests skip without it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real test material at {folder}")
    return folder


@pytest.fixture(scope="session")
def write_toy_shard() -> Callable[..., Path]:
    """A function that writes a real shard of a walking box, its body, camera, mask and plate."""
    return _write_toy_shard


def _write_toy_shard(
    path: Path, count: int = 6, frames: int = 9, size_px: tuple[int, int] = (48, 64), first: int = 0
) -> Path:
    samples = [_toy_clip(number, frames, size_px) for number in range(first, first + count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_shard(samples, file)
    return path


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A body as SMPL is distributed (.npz, pose corrections, other shapes) and skins for it."""
    from models.body.files import read_body_file
    from models.body.model import FREE_BODY_PATH

    folder, rng = tmp_path_factory.mktemp("scans"), np.random.default_rng(0)
    free = read_body_file(FREE_BODY_PATH)
    corrections = rng.normal(0.0, 3e-3, (24, 3, 207))
    np.savez(
        folder / "SMPL_NEUTRAL.npz",
        v_template=free.v_template.astype(np.float32),
        shapedirs=(free.shapedirs @ np.linalg.qr(rng.normal(size=(10, 10)))[0]).astype(np.float32),
        posedirs=np.einsum("vj,jxk->vxk", free.weights, corrections).astype(np.float32),
        J_regressor=free.J_regressor.astype(np.float32),
        weights=free.weights.astype(np.float32),
        kintree_table=np.array([(-1, *SMPL_PARENTS[1:]), range(24)]),
        f=free.faces.astype(np.uint32),
    )
    skins = folder / "skins"
    skins.mkdir()
    uv, owner = free.appearance["uv"], free.appearance["uv_vertex"]
    lines = ["v 0 0 0"] * len(free.v_template) + [f"vt {u:.5f} {1 - v:.5f}" for u, v in uv]
    for face in free.appearance["uv_faces"].astype(int):
        lines.append("f " + " ".join(f"{owner[k] + 1}/{k + 1}" for k in face))
    (skins / "smpl_uv.obj").write_text("\n".join(lines))
    for name in ("anna", "bert", "cleo"):
        cells = rng.integers(40, 255, (16, 16, 3)).astype(np.uint8)
        cv2.imwrite(str(skins / f"{name}.png"), cv2.resize(cells, (256, 256)))
    return folder / "SMPL_NEUTRAL.npz", skins


@pytest.fixture(scope="session")
def write_packed() -> Callable[..., Manifest]:
    """A function that leaves what `pack` leaves; the videos are no videos, which nobody notices."""
    return _write_packed


def _write_packed(
    store: Store,
    name: str,
    clips: Mapping[int, tuple[bytes, str]],
    per_shard: int = 2,
    labels_apart: bool = False,
) -> Manifest:
    """`clips`: number -> (video, caption); every third is for validation."""
    shards: list[ShardEntry] = []

    def add(key: str, samples: Mapping[str, dict[str, bytes]], media: str = "") -> str:
        buffer = io.BytesIO()
        ids = write_shard(samples.items(), buffer)
        data = buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        store.write(key, data)
        shards.append(
            ShardEntry(
                key=key, sha256=digest, size_bytes=len(data), clip_ids=tuple(ids), media=media
            )
        )
        return digest

    numbers = sorted(clips)
    splits = ["validation" if number % 3 == 2 else "train" for number in numbers]
    for first in range(0, len(numbers), per_shard):
        part = {toy_id(n): (n, *clips[n]) for n in numbers[first : first + per_shard]}
        labels = {i: {"clip.json": _record(n, caption)} for i, (n, _, caption) in part.items()}
        media = {i: {"video.mp4": video} for i, (_, video, _) in part.items()}
        key = f"shards/{name}/shard-{first // per_shard:06d}"
        if labels_apart:
            add(f"{key}.labels.tar", labels, add(f"{key}.tar", media))
        else:
            add(f"{key}.tar", {i: labels[i] | media[i] for i in part})
    index = Manifest(
        name=name,
        version=0,
        parent="",
        created="",
        splits=dict(Counter(splits)),
        shards=tuple(shards),
    )
    store.write(index_key(name), index.to_json())
    return index


def toy_id(number: int) -> str:
    """Id of a toy clip."""
    return hashlib.sha256(b"toy %d" % number).hexdigest()[:32]


def _record(number: int, caption: str) -> bytes:
    return ClipRecord(
        clip_id=toy_id(number), source="real", uri=f"film{number // 4}.mp4", caption=caption,
        source_sha256=hashlib.sha256(b"%d" % (number // 4)).hexdigest(),
        licence="CC0-1.0" if number % 2 else "CC-BY-4.0", start_ns=0, end_ns=10**9, fps=10.0,
        num_frames=2, width=8, height=8, timestamps_ns=np.array([0, 10**8]),
        split="validation" if number % 3 == 2 else "train",
        provenance={"ingest": {"version": "1"}, "people": {"version": "2", "weights": "abc"}},
    ).to_json()  # fmt: skip


def _toy_clip(number: int, frames: int, size_px: tuple[int, int]) -> tuple[str, dict[str, bytes]]:
    """A box of 0.4 x 0.8 m at 3 m that moves sideways; its 24 joints lie on a grid inside it."""
    rng = np.random.default_rng(number)
    height, width = size_px
    clip_id = toy_id(number)
    K = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]])
    transl = np.zeros((1, frames, 3), np.float32)
    transl[0, :, 0] = np.linspace(-0.4, 0.4, frames) * rng.uniform(0.3, 1)
    transl[0, :, 2] = 3
    u, v = np.meshgrid(np.linspace(-0.2, 0.2, 4), np.linspace(-0.4, 0.4, 6))
    joints = np.stack([u.ravel(), v.ravel(), np.zeros(24)], -1) + transl[0, :, None]
    joints_px = (joints @ K.T)[..., :2] / joints[..., 2:]
    video = np.full((frames, height, width, 3), rng.integers(60, 180, 3), np.uint8)
    plate, mask = video.copy(), np.zeros((frames, height, width), np.uint8)
    colour = rng.integers(0, 255, 3)
    for t in range(frames):
        (x0, y0), (x1, y1) = np.round(joints_px[t, 0]), np.round(joints_px[t, -1])
        video[t, int(y0) : int(y1), int(x0) : int(x1)] = colour
        mask[t, int(y0) : int(y1), int(x0) : int(x1)] = 1
    clip = ClipRecord(
        clip_id=clip_id, source="synthetic", uri="toy", source_sha256="0" * 64, licence="CC0-1.0",
        start_ns=0, end_ns=frames * 10**8, fps=10.0, num_frames=frames, width=width, height=height,
        timestamps_ns=np.arange(frames) * 10**8, split="validation" if number % 6 == 5 else "train",
    )  # fmt: skip
    body = BodyTracks(
        person_id=np.array([0]),
        betas=rng.normal(size=(1, 10)).astype(np.float32),
        global_orient=np.zeros((1, frames, 3), np.float32),
        body_pose=np.zeros((1, frames, 69), np.float32),
        transl=transl,
        visible=np.ones((1, frames), bool),
        confidence=np.ones((1, frames), np.float32),
        joints_px=joints_px[None].astype(np.float32),
        body_model="toy",
    )
    camera = CameraTrack(
        K=np.tile(K, (frames, 1, 1)), T_camera_world=np.tile(np.eye(4), (frames, 1, 1)),
        kind="static", is_metric=True, source="toy",
    )  # fmt: skip
    return clip_id, {
        "clip.json": clip.to_json(),
        "video.mp4": encode_mp4(video, 10.0),
        "body.npz": body.to_npz(),
        "camera.npz": camera.to_npz(),
        "mask.npz": MaskTrack(instance=mask).to_npz(),
        "background.mp4": encode_mp4(plate, 10.0),
    }
