"""Make the pairs that are not there yet and train the lifter on them, in one command.

`python -m pipelines.train_lifter models/weights/lifter --pairs DIR` makes the shipped weights anew:
recipe.json, metrics.jsonl, model.safetensors (float16) and ORIGIN.txt.
Half of every batch are pictures, half are poses without one: those take the difference between
detection and truth from the picture of a similar pose.
"""

import argparse
import copy
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.geometry import so3_exp
from models.lifter import (
    LEFT_HIP,
    POINT_MIRROR,
    RIGHT_HIP,
    Lifter,
    Sight,
    lifter_loss,
    look,
)
from models.recipes import recipe_to_json
from models.recipes.lifter import LifterRecipe, lifter
from models.training.checkpoint import WEIGHTS, save_weights
from pipelines.evaluate_labels import JOINTS, aligned_distance
from pipelines.lifter_data import Pairs, make_world_files, posed_points

HIPS = [24 + LEFT_HIP, 24 + RIGHT_HIP]
VALIDATION_EVERY = 10
"""One world in so many is not trained on."""
EMA_DECAY = 0.998
SIMILAR = 4
"""Pictures of which one lends its errors to a pose."""
POINT_WEIGHT = (
    *(2.0 if joint in JOINTS else 1.0 for joint in range(24)),
    *(0.5 if landmark <= 10 or 17 <= landmark <= 22 else 1.0 for landmark in range(33)),
)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What the lifter reads and should say; all in the units of `models.lifter`."""

    plane: Float[Tensor, "samples 33 2"]
    """Image plane at unit depth, the seen hips at the origin."""
    world_m: Float[Tensor, "samples 33 3"]
    confidence: Float[Tensor, "samples 33"]
    true_plane: Float[Tensor, "samples 57 2"]
    true_m: Float[Tensor, "samples 57 3"]
    """From the middle of the hip landmarks."""
    depth_m: Float[Tensor, "samples"]
    """Of the hips."""

    def __getitem__(self, index: Tensor) -> "Samples":
        return Samples(**{name: value[index] for name, value in vars(self).items()})

    @staticmethod
    def cat(parts: Sequence["Samples"]) -> "Samples":
        """One after the other."""
        return Samples(**{k: torch.cat([vars(part)[k] for part in parts]) for k in vars(parts[0])})


def samples_of(pairs: Pairs) -> Samples:
    """Pairs, each in the crop frame of its own detection."""
    keypoints, world, confidence, K, points = (
        torch.tensor(a)
        for a in (pairs.keypoints_px, pairs.world_m, pairs.confidence, pairs.K, pairs.points_m)
    )
    sight = look(keypoints, world, confidence, K)
    points = points @ sight.R_camera_crop
    hips = points[:, HIPS].mean(1, keepdim=True)
    return Samples(
        plane=sight.points[..., :2] * sight.scale[:, None, None],
        world_m=sight.points[..., 2:5],
        confidence=confidence,
        true_plane=points[..., :2] / points[..., 2:],
        true_m=points - hips,
        depth_m=hips[:, 0, 2],
    )


def borrow_errors(
    rng: torch.Generator, points_m: Float[Tensor, "batch 57 3"], pictures: Samples
) -> Samples:
    """Poses in the crop frame as if detected: the errors are those of pictures like them."""
    points_m = points_m - points_m[:, HIPS].mean(1, keepdim=True)
    joints = list(JOINTS)
    apart = torch.cdist(points_m[:, joints].flatten(1), pictures.true_m[:, joints].flatten(1))
    near = apart.topk(min(SIMILAR, apart.shape[1]), largest=False).indices
    pick = torch.randint(near.shape[1], (len(near), 1), generator=rng)
    lender = pictures[near.gather(1, pick)[:, 0]]
    closer = torch.empty(len(near)).uniform_(-0.25, 0.25, generator=rng).exp()
    depth_m = (lender.depth_m * closer).clamp_min(0.8)
    in_camera = points_m + torch.stack([0 * depth_m, 0 * depth_m, depth_m], -1)[:, None]
    true_plane = in_camera[..., :2] / in_camera[..., 2:].clamp_min(0.2)
    error_m = (lender.plane - lender.true_plane[:, 24:]) * lender.depth_m[:, None, None]
    plane = true_plane[:, 24:] + error_m / depth_m[:, None, None]
    shift = plane[:, [LEFT_HIP, RIGHT_HIP]].mean(1, keepdim=True)
    return Samples(
        plane=plane - shift,
        world_m=points_m[:, 24:] + lender.world_m - lender.true_m[:, 24:],
        confidence=lender.confidence,
        true_plane=true_plane - shift,
        true_m=points_m,
        depth_m=depth_m,
    )


def vary(rng: torch.Generator, batch: Samples, recipe: LifterRecipe) -> Samples:
    """Mirror, turn about the optical axis, mistake the focal length."""
    count = len(batch.depth_m)
    flips = torch.rand(count, generator=rng) < 0.5
    batch = _where(flips, _mirrored(batch), batch)
    roll = torch.randn(count, generator=rng) * np.radians(recipe.roll_deg)
    anyhow = torch.rand(count, generator=rng) < 0.1
    roll = torch.where(anyhow, (torch.rand(count, generator=rng) * 2 - 1) * np.pi, roll)
    R = so3_exp(torch.stack([0 * roll, 0 * roll, roll], -1)).mT
    focal = (torch.randn(count, generator=rng) * recipe.focal_noise).exp()[:, None, None]
    return Samples(
        plane=batch.plane @ R[:, :2, :2] * focal,
        world_m=batch.world_m @ R,
        confidence=batch.confidence,
        true_plane=batch.true_plane @ R[:, :2, :2] * focal,
        true_m=batch.true_m @ R,
        depth_m=batch.depth_m / focal[:, 0, 0],
    )


def sight_of(batch: Samples) -> Sight:
    """What the lifter would be given."""
    eye = torch.eye(3).expand(len(batch.plane), 3, 3)
    return look(batch.plane, batch.world_m, batch.confidence, eye)


def loss_of(model: Lifter, batch: Samples) -> Tensor:
    """Loss of a batch."""
    sight = sight_of(batch)
    image = (batch.true_plane / sight.scale[:, None, None]).clamp(-4, 4)
    return lifter_loss(model(sight), batch.true_m, image, torch.tensor(POINT_WEIGHT))


@torch.no_grad()
def validate(model: Lifter, held: Samples) -> dict[str, float]:
    """Errors over the 14 evaluation joints, and how well their scale was foretold."""
    model.eval()
    sight = sight_of(held)
    found = model.lift(sight)
    model.train()
    joints = list(JOINTS)
    error = (found.points_m - held.true_m).norm(dim=-1)[:, joints]
    pair = (points[:, joints].double().numpy() for points in (found.points_m, held.true_m))
    aligned = [aligned_distance(a, b).mean() for a, b in zip(*pair, strict=True)]
    raw = (held.world_m - held.true_m[:, 24:]).norm(dim=-1)[:, 11:17].mean()
    image = (found.image * sight.scale[:, None, None] - held.true_plane).norm(dim=-1)
    seen = (held.plane - held.true_plane[:, 24:]).norm(dim=-1)
    depth = held.depth_m[:, None]
    return {
        "val_pa_mpjpe_mm": 1000 * float(np.mean(aligned)),
        "val_mpjpe_mm": 1000 * float(error.mean()),
        "val_detector_arms_mm": 1000 * float(raw),
        "val_image_mm": 1000 * float((image * depth)[:, 24:].mean()),
        "val_detector_image_mm": 1000 * float((seen * depth).mean()),
        "val_error_over_scale": float((error / found.log_scale_m.exp()[:, joints]).mean() / 3),
    }


def train(recipe: LifterRecipe, pairs: Path, out: Path) -> dict[str, float]:
    """Train on the worlds in a folder; returns the last validation."""
    files = sorted(pairs.glob("*.npz"))
    held = samples_of(Pairs.join(files[::VALIDATION_EVERY]))
    pictures = samples_of(
        Pairs.join([file for i, file in enumerate(files) if i % VALIDATION_EVERY])
    )
    posed = torch.tensor(posed_points(recipe.seed, recipe.num_poses))
    rng = torch.Generator().manual_seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    model = Lifter(recipe.model).train()
    adam = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        adam, recipe.learning_rate, recipe.num_steps, pct_start=0.05
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text(recipe_to_json(recipe))
    log = out / "metrics.jsonl"
    log.unlink(missing_ok=True)
    average = copy.deepcopy(model)
    numbers: dict[str, float] = {}
    num_posed = round(recipe.batch_size * recipe.posed_share)
    for step in range(1, recipe.num_steps + 1):
        rows = torch.randint(len(pictures.depth_m), (recipe.batch_size - num_posed,), generator=rng)
        parts = [pictures[rows]]
        if num_posed:
            rows = torch.randint(len(posed), (num_posed,), generator=rng)
            parts.append(borrow_errors(rng, posed[rows].float(), pictures))
        loss = loss_of(model, vary(rng, Samples.cat(parts), recipe))
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        schedule.step()
        _follow(average, model, min(EMA_DECAY, step / (step + 10)))
        if step % max(1, recipe.num_steps // 10) == 0:
            numbers = validate(average, held)
            _write(log, {"step": step, "loss": float(loss.detach()), **numbers})
    halved = {name: value.half() for name, value in average.state_dict().items()}
    digest = save_weights(out / WEIGHTS, halved)
    lines = [
        f"{len(pictures.depth_m)} pairs of {len(files)} rendered worlds, every "
        f"{VALIDATION_EVERY}th world held out; no motion capture, no outside weights",
        f"recipe {recipe.name}, seed {recipe.seed}, {recipe.num_steps} steps on the CPU",
        ", ".join(f"{name} {value:.4g}" for name, value in numbers.items()),
        digest,
    ]
    (out / "ORIGIN.txt").write_text("\n".join(lines) + "\n")
    return numbers


@torch.no_grad()
def _follow(average: Lifter, model: Lifter, decay: float) -> None:
    for mean, value in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)


def _write(log: Path, row: Mapping[str, float | int]) -> None:
    with log.open("a") as file:
        file.write(json.dumps(row) + "\n")
    sys.stdout.write(", ".join(f"{name} {value:.4g}" for name, value in row.items()) + "\n")
    sys.stdout.flush()


def _mirrored(batch: Samples) -> Samples:
    landmarks = [i - 24 for i in POINT_MIRROR[24:]]
    flip2, flip3 = torch.tensor([-1.0, 1.0]), torch.tensor([-1.0, 1.0, 1.0])
    points = list(POINT_MIRROR)
    return Samples(
        plane=batch.plane[:, landmarks] * flip2,
        world_m=batch.world_m[:, landmarks] * flip3,
        confidence=batch.confidence[:, landmarks],
        true_plane=batch.true_plane[:, points] * flip2,
        true_m=batch.true_m[:, points] * flip3,
        depth_m=batch.depth_m,
    )


def _where(mask: Tensor, a: Samples, b: Samples) -> Samples:
    def pick(x: Tensor, y: Tensor) -> Tensor:
        return torch.where(mask.view(-1, *[1] * (x.ndim - 1)), x, y)

    return Samples(**{name: pick(value, vars(b)[name]) for name, value in vars(a).items()})


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.train_lifter", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the run")
    parser.add_argument(
        "--pairs", type=Path, required=True, help="folder of pairs, kept and reused"
    )
    parser.add_argument("--worlds", type=int, help="rendered worlds; default as in the recipe")
    parser.add_argument("--steps", type=int, help="default as in the recipe")
    parser.add_argument(
        "--no-render", action="store_true", help="train on the pairs that are there"
    )
    options = parser.parse_args(arguments)
    recipe = lifter()
    if options.worlds:
        recipe = replace(recipe, worlds=options.worlds)
    if options.steps:
        recipe = replace(recipe, num_steps=options.steps)
    if not options.no_render:
        make_world_files(options.pairs, range(recipe.worlds), recipe.shots)
    train(recipe, options.pairs, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
