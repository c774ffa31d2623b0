"""Models out of the folder of a finished run: its recipe, its weights, nothing else."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from models.dit.model import ISADiT
from models.recipes import recipe_from_json
from models.recipes.dit import DiTRecipe
from models.recipes.vae import VAERecipe
from models.training.checkpoint import WEIGHTS, load_weights
from models.vae.model import VideoVAE

RECIPE = "recipe.json"


def read_recipe(run: Path) -> Any:
    """The recipe that a run resolved.

    Raises:
        ValueError: If the folder holds no run.
    """
    file = run / RECIPE
    if not file.is_file():
        raise ValueError(f"no run in {run}: {RECIPE} is absent; train with --out {run} first")
    return recipe_from_json(file.read_text())


def load_vae(run: Path, device: torch.device | str = "cpu") -> tuple[VideoVAE, VAERecipe, str]:
    """A trained autoencoder in evaluation mode, its recipe and the digest of its weights."""
    recipe = _expect(run, VAERecipe, "a video autoencoder")
    vae = VideoVAE(recipe.model)
    vae.load_state_dict(load_weights(run))
    return vae.to(device).eval().requires_grad_(False), recipe, weights_digest(run)


def load_dit(run: Path, device: torch.device | str = "cpu") -> tuple[ISADiT, DiTRecipe, str]:
    """A trained generator in evaluation mode, its recipe and the digest of its weights."""
    recipe = _expect(run, DiTRecipe, "an ISA-DiT")
    dit = ISADiT(recipe.model)
    dit.load_state_dict(load_weights(run))
    return dit.to(device).eval().requires_grad_(False), recipe, weights_digest(run)


def weights_digest(run: Path) -> str:
    """SHA-256 of the weights of a run, or of a file of weights."""
    with (run if run.is_file() else run / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _expect(run: Path, kind: type, what: str) -> Any:
    recipe = read_recipe(run)
    if not isinstance(recipe, kind):
        raise ValueError(f"{run} must hold {what}, got a run of {recipe.name}")
    return recipe
