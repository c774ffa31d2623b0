"""Laws of generation: a shot repeats itself from its JSON, guidance combines as stated."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.body.model import BodyModel
from models.dit.conditions import CONDITION_NAMES
from models.dit.model import ISADiT
from models.flow import SAMPLERS
from models.generate import (
    generate,
    generate_chunks,
    guided_velocity,
    hold,
    pose_points,
    prepare,
    windows,
)
from models.geometry import look_at
from models.recipes.dit import dit_debug
from models.shot import SampleSettings, Shot
from models.vae.model import VideoVAE, tiny_vae
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack

FRAMES, SIZE = 5, 32


def make_camera(frames):
    centre = torch.tensor([0.0, 0.9, 0.0], dtype=torch.float64)
    T = look_at(centre + torch.tensor([0.3, 0.2, 3.0], dtype=torch.float64), centre)
    K = np.array([[40.0, 0, 16], [0, 40, 16], [0, 0, 1]])
    return CameraTrack(
        K=np.repeat(K[None], frames, 0), T_camera_world=np.repeat(T.numpy()[None], frames, 0),
        kind="static", is_metric=True, source="test",
    )  # fmt: skip


def make_bodies(frames, people=2):
    rng = np.random.default_rng(frames)
    shape = (people, frames)
    return BodyTracks(
        person_id=np.arange(people),
        betas=rng.normal(size=(people, 10)).astype(np.float32),
        global_orient=rng.normal(size=(*shape, 3)).astype(np.float32) * 0.1,
        body_pose=rng.normal(size=(*shape, 69)).astype(np.float32) * 0.1,
        transl=np.zeros((*shape, 3), np.float32) + np.float32([0, 0.9, 0]),
        visible=np.ones(shape, bool),
        confidence=np.ones(shape, np.float32),
        joints_px=np.zeros((*shape, 24, 2), np.float32),
        body_model="free_body:test",
    )


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    model, vae = ISADiT(dit_debug().model), VideoVAE(tiny_vae())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5
        model.latent_std.fill_(0.8)
    return model, vae, BodyModel.load()


@pytest.fixture
def shot():
    rng = np.random.default_rng(0)
    return Shot(
        size_px=(SIZE, SIZE),
        camera=make_camera(FRAMES),
        bodies=make_bodies(FRAMES),
        reference_image=rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
        reference_bodies=make_bodies(1),
        reference_camera=make_camera(1),
        background=rng.integers(0, 256, (FRAMES, SIZE, SIZE, 3), dtype=np.uint8),
        settings=SampleSettings(seed=3, num_steps=2, guidance={"all": 2.0, "body": 1.5}),
        weights={"dit": "0123"},
    )


def test_the_same_json_gives_the_same_video(parts, shot):
    text = shot.to_json()
    again = Shot.from_json(text)
    assert again.to_json() == text
    video = generate(*parts, shot)
    assert torch.equal(generate(*parts, again), video)
    assert video.shape == (1, 3, FRAMES, SIZE, SIZE)
    assert 0 <= video.min() < video.max() <= 1


@pytest.mark.parametrize("missing", ["reference_image", "background", "bodies"])
def test_every_picture_and_the_bodies_may_be_absent(parts, shot, missing):
    changes = {missing: None}
    if missing == "bodies":
        changes |= {"reference_bodies": None, "reference_camera": None}
    without = replace(shot, **changes)
    assert Shot.from_json(without.to_json()).to_json() == without.to_json()
    assert not torch.equal(generate(*parts, without), generate(*parts, shot))


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"num_steps": 3}, {"guidance": {"all": 3.0}}, {"sampler": "heun"}]
)
def test_every_setting_changes_the_video(parts, shot, change):
    changed = replace(shot, settings=replace(shot.settings, **change))
    assert not torch.equal(generate(*parts, changed), generate(*parts, shot))


def test_guidance_over_all_is_the_usual_formula_and_one_is_plain(parts, shot):
    model, vae, body = parts
    conditions = prepare(model, vae, body, shot)
    x = torch.randn(1, 16, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        v = model(x, torch.tensor([0.4]), conditions)
        nothing = model(x, torch.tensor([0.4]), conditions.without(*CONDITION_NAMES))
        assert torch.equal(guided_velocity(model, conditions, {"all": 1.0})(x, 0.4), v)
        guided = guided_velocity(model, conditions, {"all": 2.5})(x, 0.4)
    torch.testing.assert_close(guided, nothing + 2.5 * (v - nothing), atol=1e-4, rtol=1e-4)


def test_points_are_those_of_the_whole_posed_body(parts):
    body, tracks = parts[2], make_bodies(FRAMES)
    points, is_visible = pose_points(body, tracks, 8, torch.device("cpu"))
    whole = body.pose(
        torch.tensor(tracks.betas[1]), torch.tensor(tracks.global_orient[1, 3]),
        torch.tensor(tracks.body_pose[1, 3]), torch.tensor(tracks.transl[1, 3]),
    )  # fmt: skip
    expected = whole.vertices[body.surface_points(8)]
    torch.testing.assert_close(points[0, 1, 3], expected, atol=1e-5, rtol=1e-5)
    assert is_visible.shape == (1, 2, FRAMES)


def test_impossible_shots_are_refused_with_the_way_out(parts, shot):
    with pytest.raises(ValueError, match="cut the tracks to 5"):
        replace(shot, camera=make_camera(7))
    with pytest.raises(ValueError, match=r"bodies\.visible must have shape"):
        replace(shot, bodies=make_bodies(9))
    with pytest.raises(ValueError, match="must be given together"):
        replace(shot, reference_camera=None)
    with pytest.raises(ValueError, match="guidance must name"):
        SampleSettings(guidance={"text": 2.0})
    with pytest.raises(ValueError, match="shot version must be 1"):
        Shot.from_json(json.dumps({"version": 9}))
    with pytest.raises(ValueError, match="held_latents must be 0 or more"):
        SampleSettings(held_latents=-1)
    pictures = ISADiT(replace(dit_debug().model, max_frames=1))
    with pytest.raises(ValueError, match="single pictures, got 5 frames"):
        generate(pictures, *parts[1:], replace(shot, background=None))


@pytest.mark.parametrize("num_latents", [1, 2, 5, 6, 7, 9, 30])
@pytest.mark.parametrize(("size", "held"), [(5, 0), (5, 2), (5, 9), (2, 1), (9, 3)])
def test_windows_make_every_latent_once_and_know_what_they_hold(num_latents, size, held):
    size = min(size, num_latents)
    made = []
    for start, known in windows(num_latents, size, held):
        assert start + known == len(made)
        assert not made or known > min(held, size - 2)
        assert known < size
        made += range(start + known, start + size)
    assert made == list(range(num_latents))


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_held_latents_come_out_as_they_are_whatever_the_model_says(sampler):
    generator = torch.Generator().manual_seed(0)
    known = torch.randn(1, 4, 2, 3, 3, generator=generator)
    noise = torch.randn(1, 4, 5, 3, 3, generator=generator)
    seen = []

    def model(x, t):
        seen.append(x[:, :, :2])
        return torch.sin(7 * x) + x.flip(2)

    found = SAMPLERS[sampler](hold(model, known, noise), noise, 6, 2.0)
    torch.testing.assert_close(found[:, :, :2], known, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(seen[0], seen[-1])
    free = SAMPLERS[sampler](model, noise, 6, 2.0)
    assert not torch.allclose(free[:, :, 2:], found[:, :, 2:])


@pytest.fixture(scope="module")
def long_shot():
    rng = np.random.default_rng(1)
    return Shot(
        size_px=(SIZE, SIZE), camera=make_camera(21), bodies=make_bodies(21, people=1),
        reference_image=rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
        background=rng.integers(0, 256, (21, SIZE, SIZE, 3), dtype=np.uint8),
        settings=SampleSettings(num_steps=2, held_latents=1),
    )  # fmt: skip


def test_a_long_shot_is_one_pass_of_the_decoder_over_windows(parts, long_shot, monkeypatch):
    model, vae, body = parts
    model = ISADiT(replace(model.config, max_frames=13)).eval()
    model.load_state_dict(parts[0].state_dict())
    decoded, decode = [], vae._decode
    monkeypatch.setattr(
        vae, "_decode", lambda latent, stream: decoded.append(latent) or decode(latent, stream)
    )
    chunks = [*generate_chunks(model, vae, body, long_shot)]
    assert [chunk.shape[2] for chunk in chunks] == [1, 4, 4, 4, 4, 4]
    whole = (vae.decode(torch.cat(decoded[:6], dim=2)).clamp(-1, 1) + 1) / 2
    assert torch.equal(torch.cat(chunks, dim=2), whole)
    assert torch.equal(generate(model, vae, body, long_shot), whole)
    short = generate(model, vae, body, long_shot.cut(0, 13))
    assert torch.equal(short, whole[:, :, :13])


def test_later_windows_follow_their_own_part_of_the_shot(parts, long_shot):
    model, vae, body = parts
    frames = generate(model, vae, body, long_shot)
    pictures = long_shot.background.copy()
    pictures[17:] = 255 - pictures[17:]
    changed = generate(model, vae, body, replace(long_shot, background=pictures))
    same = (frames == changed).flatten(3).all(3).all(1)[0]
    assert same[:13].all()
    assert not same[17:].any()
