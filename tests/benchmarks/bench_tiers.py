"""CPU seconds per picture of the render tiers: the same worlds, one run.

Drawing only: worlds are built before, nothing is encoded. OpenGL draws all labels along; Cycles
gives pictures alone. A clip of one frame and one of 17 tell the start-up from the rest; the camera
rests, so that one plate serves both. Results with command, machine and date: RESULTS.md.
"""

import os
import resource
import sys
from functools import partial

from pipelines.synthetic.render import draw_opengl
from pipelines.synthetic.renderers.blender import draw_blender
from pipelines.synthetic.scene import SceneSettings, sample_scene
from pipelines.synthetic.world import build_world

SEED, FRAMES = 7, 17
TIERS = {
    "OpenGL, with all labels": draw_opengl,
    "Cycles, 4 samples": partial(draw_blender, samples=4),
    "Cycles, 8 samples": partial(draw_blender, samples=8),
}


def cpu_s():
    """Of this process and of the programs it has run to their end."""
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def world(size, frames):
    settings = SceneSettings(
        width=size, height=size, num_frames=frames, num_people=(2, 2), camera_kinds=("static",)
    )
    return build_world(sample_scene(SEED, settings))


def cost_s(draw, subject):
    start_s = cpu_s()
    draw(subject)
    return cpu_s() - start_s


def main():
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    still, clip = world(size, 1), world(size, FRAMES)
    draw_opengl(still)  # compiles the shaders
    print(f"{size} px, two people, load {os.getloadavg()[0]:.1f}")
    for name, draw in TIERS.items():
        one_s, all_s = cost_s(draw, still), cost_s(draw, clip)
        per_frame_s = (all_s - one_s) / (FRAMES - 1)
        start_s = one_s - per_frame_s
        print(f"| {name} | {per_frame_s:.3f} | {start_s:.2f} | {all_s / FRAMES:.3f} |", flush=True)


if __name__ == "__main__":
    main()
