"""A film is made again from its record; a wish that contradicts itself is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.body.model import BodyModel
from models.dit.model import ISADiT
from models.recipes import find_recipe
from models.shot import SampleSettings, Shot
from models.vae.model import VideoVAE, tiny_vae
from orchestration.steps import find_motion, find_reference, remake_film
from pipelines.direct import Reference, make_camera, motion_from_name
from pipelines.film import CLIP_FPS, Studio, compose, shoot, show_conditions, write_film
from pipelines.video_io import decode_mp4
from storage_schemas.store import Store

SAMPLING = SampleSettings(num_steps=1, guidance={"all": 1.0})


@pytest.fixture(scope="module")
def studio():
    torch.manual_seed(0)
    recipe = find_recipe("dit_debug")
    recipe = replace(recipe, model=replace(recipe.model, embedding_width=None))
    return Studio(
        dit=ISADiT(recipe.model).eval(), vae=VideoVAE(tiny_vae()).eval(), body=BodyModel.load(),
        recipe=recipe, weights={"dit": "a", "vae": "b"}, embed=None,
    )  # fmt: skip


def wish(studio, frames=5):
    motion = motion_from_name("walk", np.zeros(10, np.float32), studio.body, frames, CLIP_FPS)
    still = motion_from_name("wave", np.ones(10, np.float32), studio.body, 1, CLIP_FPS).bodies
    camera = make_camera("static", still, studio.body, studio.recipe.clips, CLIP_FPS)
    size = studio.recipe.clips.size_px
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    return Reference(image=image, bodies=still, camera=camera), motion


def test_the_record_of_a_film_makes_it_again(studio, tmp_path):
    shot = compose(studio, *wish(studio), "static", False, SAMPLING)
    result = np.stack([*shoot(studio, shot)])
    video, conditions, record = write_film(tmp_path / "a" / "f.mp4", studio, shot)
    assert decode_mp4(video.read_bytes()).shape == result.shape
    assert len(decode_mp4(conditions.read_bytes())) == len(result)
    again = Shot.from_json(record.read_text())
    np.testing.assert_array_equal(np.stack([*shoot(studio, again)]), result)
    remade, *_ = remake_film(studio, record, tmp_path / "b.mp4")
    assert remade.read_bytes() == video.read_bytes()
    with pytest.raises(ValueError, match="other weights"):
        remake_film(replace(studio, weights={"dit": "c", "vae": "b"}), record, tmp_path / "c.mp4")
    (tmp_path / "d.json").write_text("{}")
    with pytest.raises(ValueError, match=r"d\.json is not the json of a film"):
        remake_film(studio, tmp_path / "d.json", tmp_path / "c.mp4")


def test_a_film_longer_than_the_clips_of_the_model(studio, tmp_path):
    shot = compose(studio, *wish(studio, 29), "static", False, SAMPLING)
    assert studio.dit.config.max_frames < 29
    result = np.stack([*shoot(studio, shot)])
    assert len(result) == 29
    video, conditions, _ = write_film(tmp_path / "f.mp4", studio, shot)
    assert len(decode_mp4(video.read_bytes())) == 29
    shown = decode_mp4(conditions.read_bytes())
    whole = show_conditions(shot, decode_mp4(video.read_bytes()), 0, studio.body)
    assert shown.shape == whole.shape
    apart = np.abs(shown[:, None].astype(int) - whole[[0, 15, 16, 28]]).mean((2, 3, 4))
    assert apart.argmin(0).tolist() == [0, 15, 16, 28]  # encoded twice, but frame by frame the same


# camera, background, what is said
@pytest.mark.parametrize(
    ("camera", "background", "message"),
    [("clip", False, "choose one of"), ("static", True, "background belongs"),
     ("drone", False, "must be one of")],
)  # fmt: skip
def test_a_wish_that_contradicts_itself_is_refused(studio, camera, background, message):
    with pytest.raises(ValueError, match=message):
        compose(studio, *wish(studio), camera, background, SAMPLING)


def test_words_that_name_nothing_are_refused(studio, tmp_path):
    with pytest.raises(ValueError, match="neither a clip id nor a picture"):
        find_reference(studio, Store(tmp_path), "nobody.png")
    with pytest.raises(ValueError, match="must be a clip id"):
        find_motion(studio, Store(tmp_path), "fly", np.zeros(10, np.float32))
