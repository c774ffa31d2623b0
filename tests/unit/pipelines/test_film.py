"""A film is made again from its record; a wish that contradicts itself is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.body.model import BodyModel
from models.dit.model import ISADiT
from models.generate import SampleSettings, Shot
from models.recipes import find_recipe
from models.vae.model import VideoVAE, tiny_vae
from orchestration.steps import find_motion, find_reference
from pipelines.direct import Reference, make_camera, motion_from_name
from pipelines.film import CLIP_FPS, Studio, compose, shoot, write_film
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
    result = shoot(studio, shot)
    video, conditions, record = write_film(tmp_path / "a" / "f.mp4", shot, result, studio.body)
    assert decode_mp4(video.read_bytes()).shape == result.shape
    assert len(decode_mp4(conditions.read_bytes())) == len(result)
    again = Shot.from_json(record.read_text())
    np.testing.assert_array_equal(shoot(studio, again), result)
    with pytest.raises(ValueError, match="other weights"):
        shoot(replace(studio, weights={"dit": "c", "vae": "b"}), again)


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
