"""The Dagster code location: assets, what starts them, and the workspace they work in."""

import os

import dagster as dg

from orchestration.assets import data, footage, models
from orchestration.ray_jobs import RayJobs, orphaned_ray_jobs
from orchestration.resources import Workspace
from orchestration.sensors import footage_job, new_footage, nightly_dataset

ROOT = os.environ.get("ISA4D_ROOT", "data")

defs = dg.Definitions(
    assets=dg.load_assets_from_modules([footage, data, models]),
    jobs=[footage_job],
    sensors=[new_footage, orphaned_ray_jobs],
    schedules=[nightly_dataset],
    # Assets share pools or wait for one another, and a process per step costs the imports again.
    executor=dg.in_process_executor,
    resources={
        "workspace": Workspace(
            root=ROOT,
            runs=os.environ.get("ISA4D_RUNS", ROOT),
            footage=os.environ.get("ISA4D_FOOTAGE", ""),
            workers=int(os.environ.get("ISA4D_WORKERS", "0")),
        ),
        "ray_jobs": RayJobs(
            address=os.environ.get("ISA4D_RAY_JOBS", ""),
            python=os.environ.get("ISA4D_RAY_PYTHON", "python"),
            workers=int(os.environ.get("ISA4D_TRAIN_WORKERS", "1")),
        ),
    },
)
