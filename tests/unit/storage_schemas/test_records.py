"""Records: round trips to the byte, frozen values, and one clear refusal per bad field."""

import dataclasses
import io
import re

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from storage_schemas.arrays import read_npz, write_npz
from storage_schemas.background import BackgroundValid
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.clip import ClipRecord
from storage_schemas.conventions import (
    EVALUATION_JOINTS,
    SMPL_JOINTS,
    SMPL_PARENTS,
    latent_frames,
)
from storage_schemas.depth import DepthTrack
from storage_schemas.flow import FlowTrack
from storage_schemas.latent import LatentRecord
from storage_schemas.mask import MaskTrack
from storage_schemas.normal import NormalTrack
from storage_schemas.points import PointTracks

RANDOM = np.random.default_rng(0)


def floats(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def clip(**changes):
    values = {
        "clip_id": "0123456789abcdef0123456789abcdef",
        "source": "real",
        "uri": "walk é.mp4",
        "source_sha256": "ab" * 32,
        "licence": "CC-BY-4.0",
        "start_ns": 0,
        "end_ns": 300,
        "fps": 16.0,
        "num_frames": 3,
        "width": 64,
        "height": 48,
        "timestamps_ns": np.array([0, 100, 250]),
        "quality": {"mask_iou": 0.9},
        "provenance": {"ingest": {"version": "1"}},
    }
    return ClipRecord(**(values | changes))


def camera(**changes):
    values = {
        "K": np.tile(np.diag([50.0, 50, 1]), (2, 1, 1)),
        "T_camera_world": np.tile(np.eye(4), (2, 1, 1)),
        "kind": "static",
        "is_metric": True,
        "source": "rendered",
    }
    return CameraTrack(**(values | changes))


def bodies(people=2, frames=3, **changes):
    values = {
        "person_id": np.arange(people),
        "betas": floats(people, 10),
        "global_orient": floats(people, frames, 3),
        "body_pose": floats(people, frames, 69),
        "transl": floats(people, frames, 3),
        "visible": np.ones((people, frames), bool),
        "confidence": np.full((people, frames), 0.5, np.float32),
        "joints_px": floats(people, frames, 24, 2),
        "body_model": "free_body:00",
    }
    return BodyTracks(**(values | changes))


def latents():
    return LatentRecord(
        mean=floats(4, 2, 3, 3),
        logvar=floats(4, 2, 3, 3),
        background=floats(4, 2, 3, 3),
        reference_frames=np.array([0, 4]),
        reference=floats(2, 4, 3, 3),
        image_embedding=floats(2, 8),
        vae_digest="00",
        embedding_source="random weights (seed 0)",
        window="{}",
    )


ARRAY_RECORDS = [
    camera(),
    bodies(),
    bodies(people=0),  # a clip without people is a clip
    bodies(left_hand_pose=floats(2, 3, 15, 3), jaw_pose=floats(2, 3, 3)),
    MaskTrack(instance=RANDOM.integers(0, 3, (3, 4, 5)).astype(np.uint8)),
    BackgroundValid(valid=RANDOM.random((3, 4, 5)) > 0.5),
    bodies(foot_contact=RANDOM.random((2, 3, 4)) > 0.5),
    PointTracks(
        xy_px=floats(6, 3, 2),
        visible=RANDOM.random((6, 3)) > 0.5,
        instance=np.array([0, 0, 1, 1, 2, 2], np.uint8),
    ),
    FlowTrack(
        forward=RANDOM.integers(-32767, 32767, (3, 4, 5, 2)).astype(np.int16),
        backward=RANDOM.integers(-32767, 32767, (3, 4, 5, 2)).astype(np.int16),
        forward_occluded=RANDOM.random((3, 4, 5)) > 0.5,
        backward_occluded=RANDOM.random((3, 4, 5)) > 0.5,
    ),
    NormalTrack(normal=RANDOM.integers(-127, 128, (3, 4, 5, 3)).astype(np.int8)),
    DepthTrack(depth_m=np.array([[[1.0, np.inf]]], np.float32)),
    latents(),
]


@pytest.mark.parametrize("record", ARRAY_RECORDS, ids=lambda r: type(r).__name__)
def test_an_array_record_survives_the_round_trip_to_the_byte(record):
    data = record.to_npz()
    again = type(record).from_npz(data)
    for field in dataclasses.fields(record):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(record, field.name))
    assert again.to_npz() == data


def test_a_clip_record_survives_the_round_trip_to_the_byte():
    record = clip()
    again = ClipRecord.from_json(record.to_json())
    assert again.to_json() == record.to_json()
    np.testing.assert_array_equal(again.timestamps_ns, record.timestamps_ns)
    assert again.uri == "walk é.mp4"


def test_arrays_of_a_record_are_read_only_copies():
    source = np.ones((2, 3, 3), bool)
    record = BackgroundValid(valid=source)
    source[:] = False
    assert record.valid.all()
    with pytest.raises(ValueError, match="read-only"):
        record.valid[0] = False


@pytest.mark.parametrize(
    ("make", "finding"),
    [
        (lambda: clip(clip_id="ABC"), "clip_id must be 32 lower-case hex digits, got 'ABC'"),
        (lambda: clip(schema=2), "has schema 2, this reader knows 1"),
        (lambda: clip(fps=0.0), "fps must be positive"),
        (lambda: clip(end_ns=0), "span must be half-open"),
        (lambda: clip(timestamps_ns=np.array([0, 2, 1])), "must not decrease"),
        (lambda: clip(timestamps_ns=np.array([0, 1])), r"must have shape \(3\), got \(2,\)"),
        (lambda: clip(quality={"x": float("nan")}), "quality must be finite"),
        (lambda: camera(kind="shaky"), "kind must be one of"),
        (lambda: camera(K=np.zeros((2, 3, 3))), "focal lengths must be positive"),
        (lambda: camera(T_camera_world=2 * np.tile(np.eye(4), (2, 1, 1))), "must hold rotations"),
        (
            lambda: camera(T_camera_world=np.tile(np.diag([1.0, 1, -1, 1]), (2, 1, 1))),
            "must hold rotations",  # a mirror is not a rotation
        ),
        (lambda: bodies(betas=floats(2, 9)), r"betas must have shape \(2, 10\), got \(2, 9\)"),
        (lambda: bodies(transl=np.full((2, 3, 3), np.nan, np.float32)), "transl must be finite"),
        (lambda: bodies(person_id=np.array([1, 1])), "must be distinct"),
        (lambda: bodies(confidence=np.full((2, 3), 1.5, np.float32)), r"must lie in \[0, 1\]"),
        (lambda: DepthTrack(depth_m=np.zeros((1, 1, 1), np.float32)), "must be positive"),
    ],
)
def test_a_bad_field_is_refused_with_name_and_finding(make, finding):
    with pytest.raises((ValueError, TypeCheckError)) as caught:
        make()
    # in tests the run-time type check may speak before the record's own validation
    assert isinstance(caught.value, TypeCheckError) or re.search(finding, str(caught.value))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"clip_id": 3}'])
def test_a_broken_clip_json_is_a_value_error(data):
    with pytest.raises(ValueError, match=r"clip\.json"):
        ClipRecord.from_json(data)


def test_a_pickled_array_is_neither_written_nor_read():
    with pytest.raises(ValueError, match="must hold numbers or text"):
        write_npz({"x": np.array([{}], dtype=object)})
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{"payload": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_npz(buffer.getvalue())


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 cut", b"text"])
def test_bytes_that_are_no_npz_are_a_value_error(data):
    with pytest.raises(ValueError, match=r"npz|pickle"):
        read_npz(data)


def test_the_joint_tables_are_consistent():
    assert len(SMPL_JOINTS) == len(SMPL_PARENTS) == 24
    assert all(parent < joint for joint, parent in enumerate(SMPL_PARENTS))
    for name, parent in zip(SMPL_JOINTS, SMPL_PARENTS, strict=True):
        if name.startswith("left_"):  # the tree is mirror-symmetric
            mirror = SMPL_JOINTS.index(name.replace("left_", "right_"))
            other = SMPL_JOINTS[SMPL_PARENTS[mirror]].replace("right_", "left_")
            assert other == SMPL_JOINTS[parent]
    assert set(EVALUATION_JOINTS) <= set(SMPL_JOINTS)
    assert len(EVALUATION_JOINTS) == 14


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (17, 5), (97, 25)])
def test_latent_count(frames, latents):
    assert latent_frames(frames) == latents


@pytest.mark.parametrize("frames", [0, 2, 4, 16])
def test_another_length_is_refused_with_the_way_out(frames):
    with pytest.raises(ValueError, match=r"must be 1 \+ 4 \* k"):
        latent_frames(frames)


def test_depth_keeps_every_bit_and_older_files_are_read():
    rng = np.random.default_rng(0)
    depth_m = rng.uniform(0.1, 60.0, (3, 5, 7)).astype(np.float32)
    depth_m[1, 2, 3:] = np.inf
    track = DepthTrack(depth_m=depth_m)
    assert np.array_equal(DepthTrack.from_npz(track.to_npz()).depth_m, depth_m)
    assert np.array_equal(DepthTrack.from_npz(write_npz({"depth_m": depth_m})).depth_m, depth_m)
