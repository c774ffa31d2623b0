"""Encode and decode of the video VAE beside diffusers' Wan VAE, alternating in one run.

Random weights: this measures speed, not quality. Prints microseconds per input pixel (median, min
and max over the repeats) on one thread. Results with command, machine and date: RESULTS.md.
"""

import statistics
import time

import torch
from diffusers import AutoencoderKLWan

from models.recipes.vae import vae_tiny
from models.vae.model import VideoVAE, base_vae

REPEATS = 5
FRAMES, SIZE = 9, 64


def wan(base_dim):
    return AutoencoderKLWan(base_dim=base_dim, z_dim=16, num_res_blocks=2).eval()


def ours(vae):
    def run(video):
        vae.decode(vae.encode(video).mean)

    return run


def theirs(vae):
    def run(video):
        vae.decode(vae.encode(video).latent_dist.mean)

    return run


def parameters(model):
    return sum(p.numel() for p in model.parameters()) / 1e6


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    video = torch.rand(1, 3, FRAMES, SIZE, SIZE) * 2 - 1
    models = {
        "ours, tiny (x4 in space)": VideoVAE(vae_tiny().model).eval(),
        "Wan, base_dim 12 (x8)": wan(12),
        "ours, base (x8)": VideoVAE(base_vae()).eval(),
        "Wan, as published (x8)": wan(96),
    }
    runs = {n: (ours if isinstance(m, VideoVAE) else theirs)(m) for n, m in models.items()}
    seconds = {name: [] for name in runs}
    for repeat in range(REPEATS + 1):
        for name, run in runs.items():
            start = time.process_time()
            run(video)
            if repeat:  # the first round warms up
                seconds[name].append(time.process_time() - start)
    pixels = FRAMES * SIZE * SIZE
    print(f"{FRAMES} frames of {SIZE}x{SIZE}, one thread, CPU microseconds per pixel")
    for name, values in seconds.items():
        us = [1e6 * value / pixels for value in values]
        spread = f"{statistics.median(us):8.2f} ({min(us):.2f} to {max(us):.2f})"
        print(f"{name:28} {parameters(models[name]):7.1f} M parameters {spread}")


if __name__ == "__main__":
    main()
