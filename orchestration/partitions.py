"""How work is cut: a partition is a batch, never one clip (an event costs up to 0.1 s)."""

import dagster as dg

SEEDS_PER_RANGE = 32
NUM_RANGES = 320
FIRST_SEED = 1_000_000
"""Far from the seeds that the shipped weights were trained on."""

seed_ranges = dg.StaticPartitionsDefinition(
    [f"{FIRST_SEED + i * SEEDS_PER_RANGE:07d}" for i in range(NUM_RANGES)]
)
"""Ranges of synthetic seeds, named by the first of each."""

footage_batches = dg.DynamicPartitionsDefinition(name="footage")
"""Batches of sources, named as `pipelines.ingest.batches` names them."""


def seeds_of(partition: str) -> range:
    """The seeds of a range."""
    return range(int(partition), int(partition) + SEEDS_PER_RANGE)
