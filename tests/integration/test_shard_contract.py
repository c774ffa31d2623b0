"""The data contract from outside: render, pack, read with plain WebDataset, project, compare."""

import io
import json

import numpy as np
import pytest
import torch

from models.body.model import BodyModel
from pipelines.pack import pack
from pipelines.synthetic.produce import render_clips
from pipelines.synthetic.scene import SceneSettings
from storage_schemas.store import Store


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("root"))
    settings = SceneSettings(width=96, height=96, num_frames=3, num_people=(2, 2), framing="fill")
    assert render_clips(store, [3, 4], settings).kept == 2
    report = pack(store, "contract")
    (entry,) = report.index.shards
    return store.local_path(entry.key)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves its file open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_joints_of_a_shard_read_by_plain_webdataset_land_in_its_masks(shard):
    import webdataset as wds

    samples = list(wds.WebDataset(str(shard), shardshuffle=False, empty_check=False))
    assert len(samples) == 2
    for sample in samples:
        clip = json.loads(sample["clip.json"])
        arrays = {
            name: np.load(io.BytesIO(sample[f"{name}.npz"]), allow_pickle=False)
            for name in ("body", "camera", "mask")
        }
        instance = arrays["mask"]["instance"]
        assert instance.shape == (clip["num_frames"], clip["height"], clip["width"])
        projected = project_joints(arrays["body"], arrays["camera"])
        # the renderer's own joints, to half a pixel
        assert np.abs(projected - arrays["body"]["joints_px"]).max() < 0.5
        inside = [
            instance[frame, int(y), int(x)] == person + 1
            for person, frames in enumerate(projected[:, :, (0, 3, 6, 9)])  # pelvis and spine
            for frame, joints in enumerate(frames)
            for x, y in joints
        ]
        # a person may stand before the other: then the joint lies in the other's mask
        assert np.mean(inside) > 0.5
        people = [
            instance[frame, int(y), int(x)] > 0
            for frames in projected[:, :, (0, 3, 6, 9)]
            for frame, joints in enumerate(frames)
            for x, y in joints
        ]
        assert np.mean(people) > 0.98


def project_joints(body, camera):
    """Joints in pixels from the SMPL parameters and the camera, written out by hand."""
    posed = BodyModel.load().pose(
        torch.from_numpy(body["betas"])[:, None],
        *(torch.from_numpy(body[name]) for name in ("global_orient", "body_pose", "transl")),
    )
    joints = posed.joints.numpy().astype(np.float64)
    R, t = camera["T_camera_world"][:, :3, :3], camera["T_camera_world"][:, :3, 3]
    in_camera = np.einsum("tij,ptkj->ptki", R, joints) + t[None, :, None]
    pixels = np.einsum("tij,ptkj->ptki", camera["K"], in_camera)
    return pixels[..., :2] / pixels[..., 2:]
