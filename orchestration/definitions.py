"""The Dagster code location: assets, what starts them, and the workspace they work in."""

import os

import dagster as dg

from orchestration.assets import data, footage, models
from orchestration.resources import Workspace
from orchestration.sensors import footage_job, new_footage, nightly_dataset

ROOT = os.environ.get("ISA4D_ROOT", "data")

defs = dg.Definitions(
    assets=dg.load_assets_from_modules([footage, data, models]),
    jobs=[footage_job],
    sensors=[new_footage],
    schedules=[nightly_dataset],
    resources={
        "workspace": Workspace(
            root=ROOT,
            runs=os.environ.get("ISA4D_RUNS", ROOT),
            footage=os.environ.get("ISA4D_FOOTAGE", ""),
            workers=int(os.environ.get("ISA4D_WORKERS", "0")),
        )
    },
)
