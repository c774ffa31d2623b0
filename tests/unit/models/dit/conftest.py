"""A small model with every parameter moved off its start, and random conditions."""

from dataclasses import replace

import pytest
import torch

from models.dit.conditions import Bodies, Conditions, ReferenceBodies, View
from models.dit.config import ISADiTConfig
from models.dit.model import ISADiT
from models.geometry import look_at

BATCH, PEOPLE, FRAMES, POINTS, SIZE = 2, 2, 5, 6, 32
EMBEDDING = 10


@pytest.fixture
def config():
    return ISADiTConfig(
        width=24, depth=2, heads=2, num_points=POINTS, ffn_ratio=2.0, ffn_ratio_3d=2.0,
        embedding_width=EMBEDDING, local_bias=True, qk_norm=True,
    )  # fmt: skip


@pytest.fixture
def make_model():
    """Builds a model; zero-initialised parameters get values, so every path is open."""

    def make(config, *, at_start=False):
        torch.manual_seed(0)
        model = ISADiT(config)
        if not at_start:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += 0.2 * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5
        return model

    return make


@pytest.fixture
def conditions():
    generator = torch.Generator().manual_seed(1)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    K = torch.tensor([[30.0, 0, 16], [0, 30, 16], [0, 0, 1]]).expand(BATCH, FRAMES, 3, 3)
    eye = torch.tensor([0.0, 1.2, 3.0]) + 0.2 * randn(BATCH, FRAMES, 3)
    T_camera_world = look_at(eye, torch.tensor([0.0, 1.0, 0.0]).expand_as(eye))
    centre = torch.tensor([0.0, 1.0, 0.0])
    return Conditions(
        view=View(K=K, T_camera_world=T_camera_world, size_px=(SIZE, SIZE)),
        has_camera=torch.tensor([True, True]),
        bodies=Bodies(
            points_world=centre + 0.4 * randn(BATCH, PEOPLE, FRAMES, POINTS, 3),
            is_visible=torch.rand(BATCH, PEOPLE, FRAMES, generator=generator) > 0.2,
        ),
        reference_latent=randn(BATCH, 16, 8, 8),
        reference_bodies=ReferenceBodies(
            points_world=centre + 0.4 * randn(BATCH, PEOPLE, POINTS, 3),
            is_visible=torch.ones(BATCH, PEOPLE, dtype=torch.bool),
            K=K[:, 0],
            T_camera_world=T_camera_world[:, 0],
        ),
        image_embedding=randn(BATCH, EMBEDDING),
        background_latent=randn(BATCH, 16, 2, 8, 8),
    )


@pytest.fixture
def noisy():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(BATCH, 16, 2, 8, 8, generator=generator), torch.tensor([0.3, 0.8])


@pytest.fixture
def change_bodies():
    """Applies one function to every per-person array (axis 1) of the conditions."""

    def change(conditions, function):
        bodies, reference = conditions.bodies, conditions.reference_bodies
        return replace(
            conditions,
            bodies=replace(
                bodies,
                points_world=function(bodies.points_world),
                is_visible=function(bodies.is_visible),
            ),
            reference_bodies=replace(
                reference,
                points_world=function(reference.points_world),
                is_visible=function(reference.is_visible),
            ),
        )

    return change
