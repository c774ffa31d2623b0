"""Where the CPU time of rendering goes, and whether memory stays flat.

python tests/benchmarks/bench_render.py [--frames 33] [--clips 4] [--sizes 64 128] [--memory CLIPS]
Times are CPU time of the whole process, the software driver's threads included.
"""

import argparse
import os
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("LP_NUM_THREADS", "1")

import torch

from pipelines.synthetic import render, truth
from pipelines.synthetic.actor import Actor
from pipelines.synthetic.renderers.opengl import OpenGLRenderer, opengl_context
from pipelines.synthetic.scene import SceneSettings, sample_scene

STEPS: tuple[tuple[Any, str, str], ...] = (
    (render, "build_world", "make the world (once a clip)"),
    (OpenGLRenderer, "__init__", "upload (once a clip)"),
    (Actor, "posed", "skinning"),
    (OpenGLRenderer, "pose", "upload of posed parts"),
    (OpenGLRenderer, "_draw_shadows", "raster: shadow maps"),
    (OpenGLRenderer, "_draw_still", "raster: still world"),
    (OpenGLRenderer, "_draw_people", "raster: people"),
    (OpenGLRenderer, "_light", "raster: light, picture and plate"),
    (OpenGLRenderer, "_draw_truth", "raster: truth"),
    (OpenGLRenderer, "_read", "read-back"),
    (truth, "hidden_there", "occlusion"),
    (render, "point_tracks", "point tracks"),
    (render, "encode_mp4", "H.264, picture and plate"),
    (render.FlowTrack, "to_npz", "npz: flow"),
    (render.DepthTrack, "to_npz", "npz: depth"),
    (render.NormalTrack, "to_npz", "npz: normals"),
    (render.MaskTrack, "to_npz", "npz: masks"),
)
spent_s: defaultdict[str, float] = defaultdict(float)


def measure(owner: Any, name: str, label: str) -> None:
    """Wrap a step so that its CPU time is added up; drawing is waited for."""
    step: Callable[..., Any] = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        start_s = time.process_time()
        result = step(*args, **kwargs)
        if label.startswith("raster"):
            opengl_context().finish()
        spent_s[label] += time.process_time() - start_s
        return result

    setattr(owner, name, timed)


def bench(size_px: int, frames: int, clips: int) -> None:
    """Print the table of one size."""
    settings = SceneSettings(width=size_px, height=size_px, num_frames=frames)
    render.render_members(sample_scene(0, settings))  # compiles the shaders
    spent_s.clear()
    start_s, size_bytes = time.process_time(), defaultdict(int)
    for seed in range(1, clips + 1):
        for member, data in render.render_members(sample_scene(seed, settings))[1].items():
            size_bytes[member] += len(data)
    total_s, count = time.process_time() - start_s, frames * clips
    once_s = sum(v for label, v in spent_s.items() if "once" in label)
    print(
        f"\n{size_px} px, {clips} clips of {frames} frames: {count / total_s:.1f} frames per CPU-s,"
    )
    print(f"{count / (total_s - once_s):.1f} without what is done once a clip; CPU ms a frame:")
    for label, value in sorted(spent_s.items(), key=lambda item: -item[1]):
        print(f"  {label:42s}{1e3 * value / count:8.2f}")
    print(f"  {'all':42s}{1e3 * total_s / count:8.2f}")
    print("  bytes a frame:", {name: size // count for name, size in size_bytes.items()})


def memory(clips: int) -> None:
    """Print the resident memory while many small clips are drawn."""
    settings = SceneSettings(width=64, height=64, num_frames=3)
    for seed in range(clips):
        render.render_members(sample_scene(seed, settings))
        if seed % max(clips // 10, 1) == 0 or seed == clips - 1:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            print(f"clip {seed}: {pages * resource.getpagesize() / 1e6:.0f} MB", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=33, help="as `isa4d render` has it")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--sizes", type=int, nargs="+", default=(64, 128, 256), metavar="PX")
    parser.add_argument("--memory", type=int, default=0, help="measure memory over so many clips")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.memory:
        memory(chosen.memory)
    else:
        for step in STEPS:
            measure(*step)
        for size_px in chosen.sizes:
            bench(size_px, chosen.frames, chosen.clips)
