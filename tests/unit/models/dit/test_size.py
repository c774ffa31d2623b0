"""The sizes of the recipes, built without memory."""

import pytest
import torch

from models.dit.conditions import Bodies, Conditions, View
from models.dit.model import ISADiT
from models.dit.task import DiTTask
from models.recipes.dit import dit_base, dit_debug, dit_full, dit_tiny


@pytest.mark.parametrize(
    ("recipe", "low_m", "high_m"),
    [(dit_debug, 0.05, 0.5), (dit_tiny, 1, 4), (dit_base, 200, 500), (dit_full, 3500, 4500)],
)
def test_parameters_lie_in_the_stated_range(recipe, low_m, high_m):
    task = DiTTask(recipe(), "meta")
    parameters = list(task.module.parameters())
    assert all(parameter.is_meta for parameter in [*parameters, *task.average.parameters()])
    millions = sum(parameter.numel() for parameter in parameters) / 1e6
    assert low_m < millions < high_m


def test_full_size_maps_a_97_frame_clip_on_the_meta_device():
    recipe = dit_full()
    cells = recipe.clips.size_px // recipe.spatial_factor
    with torch.device("meta"):
        model = ISADiT(recipe.model).bfloat16()
        noisy = torch.zeros(1, 16, 25, cells, cells, dtype=torch.bfloat16)
        conditions = Conditions(
            view=View(
                K=torch.zeros(1, 97, 3, 3),
                T_camera_world=torch.zeros(1, 97, 4, 4),
                size_px=(recipe.clips.size_px, recipe.clips.size_px),
            ),
            bodies=Bodies(
                points_world=torch.zeros(1, 2, 97, recipe.model.num_points, 3),
                is_visible=torch.ones(1, 2, 97, dtype=torch.bool),
            ),
        )
        velocity = model(noisy, torch.zeros(1), conditions)
    assert velocity.shape == noisy.shape
