"""Assets, one file per group."""

import warnings

import dagster as dg

# Backfill policies and partition mappings carry Dagster's beta mark since years; a warning per
# asset in every process hides those that matter.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
