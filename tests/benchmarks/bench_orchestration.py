"""What Dagster, Ray and our stages cost over a plain loop, on the same rendered clips.

`python tests/benchmarks/bench_orchestration.py [CLIPS] [REPEATS]`: each way in a process of its
own, alternating, for CLIPS (200) and for a few clips; the few tell the fixed cost of starting.
CPU seconds are of the process and of all that it started, sampled twice a second.
Results with command, machine and date: RESULTS.md.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SIZE_PX, FRAMES, FEW = 64, 17, 4
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "disabled",
    "DAGSTER_DISABLE_TELEMETRY": "1",
}


def loop(root, seeds, settings):
    from pipelines.synthetic.render import render_members
    from pipelines.synthetic.scene import sample_scene

    for seed in seeds:
        spec = sample_scene(seed, settings)
        folder = Path(root) / "clips" / spec.clip_id
        folder.mkdir(parents=True)
        for name, data in render_members(spec)[1].items():
            (folder / name).write_bytes(data)


def stage(root, seeds, settings, workers=0):
    from pipelines.synthetic.produce import render_clips
    from storage_schemas.store import Store

    render_clips(Store(root), seeds, settings, workers)


def ray(root, seeds, settings):
    stage(root, seeds, settings, workers=1)


def dagster(root, seeds, settings):
    """The real asset; what it makes to be looked at is timed apart."""
    import dagster as dg

    import orchestration.assets.data as data
    import orchestration.partitions as partitions
    from orchestration.resources import Workspace

    partitions.SEEDS_PER_RANGE = len(seeds)
    shown = []
    for name in ("rendered_sheet", "_show_corpus"):
        setattr(data, name, timed(getattr(data, name), shown))
    with tempfile.TemporaryDirectory() as home, dg.instance_for_test(temp_dir=home) as instance:
        done = dg.materialize(
            [data.synthetic_clips],
            partition_key=partitions.seed_ranges.get_partition_keys()[0],
            resources={"workspace": Workspace(root=root, runs=f"{home}/runs", workers=1)},
            run_config=dg.RunConfig(
                {"synthetic_clips": data.RenderConfig(size_px=SIZE_PX, num_frames=FRAMES)}
            ),
            instance=instance,
        )
    assert done.success
    return sum(shown)


WAYS = {"plain loop": loop, "stage": stage, "stage on Ray": ray, "Dagster and Ray": dagster}


def timed(call, seconds):
    def run(*arguments):
        start = time.perf_counter()
        try:
            return call(*arguments)
        finally:
            seconds.append(time.perf_counter() - start)

    return run


class Cpu(threading.Thread):
    """Sums what this process and everything below it use."""

    def __init__(self):
        super().__init__(daemon=True)
        self.used, self.ended = {}, threading.Event()

    def run(self):
        import psutil

        while not self.ended.wait(0.5):
            for process in psutil.Process().children(recursive=True):
                try:
                    times = process.cpu_times()
                    self.used[process.pid] = times.user + times.system
                except psutil.Error:
                    continue

    def total_s(self):
        return sum(self.used.values()) + time.process_time()


def child(way, count):
    """Print wall and CPU seconds of one way, from its first import on."""
    cpu = Cpu()
    cpu.start()
    start = time.perf_counter()
    from orchestration.steps import training_scenes

    with tempfile.TemporaryDirectory() as root:
        shown_s = WAYS[way](root, range(count), training_scenes(SIZE_PX, FRAMES, 1))
        cpu.ended.set()
        clips = len(list((Path(root) / "clips").iterdir()))
    assert clips > 0.9 * count, clips
    told = {"wall": time.perf_counter() - start, "cpu": cpu.total_s(), "shown": shown_s or 0.0}
    print(json.dumps(told | {"clips": clips}), flush=True)


def main(count=200, repeats=2):
    """Print a row per run, and what they say together."""
    runs = []
    for repeat in range(repeats):
        for way in WAYS:
            for clips in (FEW, count):
                command = [sys.executable, __file__, "--child", way, str(clips)]
                done = subprocess.run(
                    command,
                    env=os.environ | ENVIRONMENT,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode:
                    raise RuntimeError(done.stderr[-3000:])
                told = json.loads(done.stdout.splitlines()[-1])
                runs.append({"way": way, "asked": clips, **told})
                print(repeat, runs[-1], flush=True)
    for way in WAYS:
        print(summary(way, runs, count))


def span(values):
    return f"{min(values):.2f} to {max(values):.2f}"


def summary(way, runs, count):
    """Fixed seconds and seconds per clip, wall and CPU, least and most of the repeats."""
    few = [run for run in runs if run["way"] == way and run["asked"] == FEW]
    many = [run for run in runs if run["way"] == way and run["asked"] == count]
    parts = []
    for name in ("wall", "cpu"):
        slopes = [(m[name] - m["shown"] - f[name] + f["shown"]) / (m["clips"] - f["clips"])
                  for f, m in zip(few, many, strict=True)]  # fmt: skip
        fixed = [f[name] - f["shown"] - f["clips"] * s for f, s in zip(few, slopes, strict=True)]
        totals = [m[name] - m["shown"] for m in many]
        parts.append(f"{name} {span(totals)} s = {span(fixed)} s fixed + {span(slopes)} s a clip")
    shown = [m["shown"] for m in many]
    return f"{way}: {'; '.join(parts)}; pictures for the UI {min(shown):.1f} to {max(shown):.1f} s"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]))
    else:
        main(*map(int, sys.argv[1:]))
