"""The Dagster code location: assets and the workspace they work in."""

import os

import dagster as dg

from orchestration.assets import data, models
from orchestration.resources import Workspace

ROOT = os.environ.get("ISA4D_ROOT", "data")

defs = dg.Definitions(
    assets=dg.load_assets_from_modules([data, models]),
    resources={
        "workspace": Workspace(
            root=ROOT,
            runs=os.environ.get("ISA4D_RUNS", ROOT),
            workers=int(os.environ.get("ISA4D_WORKERS", "0")),
        )
    },
)
