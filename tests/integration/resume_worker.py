"""A small training run in a process of its own: `resume_worker.py SHARD OUT STEPS PARALLEL`.

Started under torchrun's environment variables it is one rank of many.
"""

import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from models.data import ClipDataset, ClipLoader
from models.training.loop import TrainSettings, mean_metrics, train
from models.training.parallelize import current_ranks
from models.window import ClipSettings


class Reconstruct:
    """Two blocks that learn to pass frames through noise and dropout; Adam, with an average."""

    def __init__(self):
        torch.manual_seed(0)
        self.module, self.average = make(), make().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-2)

    def train_step(self, batch, generator, step):
        frames = batch.video[:, :, 0, ::4, ::4].flatten(1)
        noise = torch.randn(frames.shape, generator=generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss = (
            (self.module(frames + float(os.environ.get("NOISE", "0.1")) * noise) - frames)
            .square()
            .mean()
        )
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.module.parameters(), strict=True)
            for average, parameter in pairs:
                average.lerp_(parameter, 0.1)
        time.sleep(float(os.environ.get("STEP_SLEEP_S", "0")))
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        return {"loss": loss.item(), "norm": norm.item()}

    def evaluate(self, batch):
        frames = batch.video[:, :, 0, ::4, ::4].flatten(1)
        return {"loss": (self.average(frames) - frames).square().mean().item()}

    def state_dict(self):
        return {
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state):
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(192, 192), nn.Linear(192, 192)])
        self.dropout = nn.Dropout(float(os.environ.get("DROPOUT", "0.1")))

    def forward(self, x):
        return self.blocks[1](self.dropout(self.blocks[0](x)))


def make():
    torch.manual_seed(0)
    return Blocks()


def main(shard, out, steps, parallel):
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    ranks = current_ranks()
    clips = ClipSettings(num_frames=5, size_px=32)
    dataset = ClipDataset([Path(shard)], clips)
    loader = ClipLoader(dataset, 4, 1, ranks.rank, ranks.num_ranks, num_threads=1)
    settings = TrainSettings(
        steps=int(steps), batch_size=4, log_every=1, checkpoint_every=5, parallel=parallel
    )
    validation = ClipDataset([Path(shard)], clips, "validation")
    task = Reconstruct()
    result = train(
        task, loader, settings, Path(out), resume=True,
        validation=lambda: mean_metrics(task.evaluate, validation.batches(4), torch.device("cpu")),
    )  # fmt: skip
    if ranks.num_ranks > 1:
        dist.destroy_process_group()
    return 0 if result.status == "finished" else 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
