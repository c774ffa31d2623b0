"""Pictures and counts in the form that the Dagster UI shows."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pipelines.review import data_uri, encode_picture
from pipelines.run import Accounting, read_results
from storage_schemas.store import Store

NOTHING_FAILED = "nothing_failed"
NOTHING_FAILED_MEANS = "Every input was kept or filtered for a reason; none ended in an error."
AGAIN = dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL)
"""For what may pass: a lost connection, a full disk. `clear_failure` spares the rest."""
MAX_WIDTH_PX = 900
"""Metadata lives in the event log's database: a picture stays under about 100 KB."""


def show_picture(caption: str, pixels: UInt8[np.ndarray, "height width 3"]) -> dg.MetadataValue:
    """A picture inside the materialization."""
    height, width = pixels.shape[:2]
    if width > MAX_WIDTH_PX:
        size = (MAX_WIDTH_PX, round(height * MAX_WIDTH_PX / width))
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    uri = data_uri(encode_picture(pixels, quality=70), "image/jpeg")
    return dg.MetadataValue.md(f"![{caption}]({uri})")


def show_accounts(accounts: Sequence[Accounting]) -> dict[str, Any]:
    """A table with a row per stage, and the totals that the UI plots over time."""
    records = [
        dg.TableRecord(
            {
                "stage": account.stage,
                "inputs": account.inputs,
                "kept": account.kept,
                "filtered": ", ".join(f"{r} {n}" for r, n in account.filtered.items()) or "0",
                "failed": ", ".join(f"{r} {n}" for r, n in account.failed.items()) or "0",
                "reused": account.reused,
            }
        )
        for account in accounts
    ]
    return {
        "accounts": dg.MetadataValue.table(records),
        "inputs": accounts[0].inputs,
        "kept": accounts[-1].kept,
        "reused": sum(account.reused for account in accounts),
    }


def show_metrics(result: Mapping[str, Any]) -> dict[str, Any]:
    """The means of an evaluation, each plotted over time by the UI."""
    return {name: float(value["mean"]) for name, value in result["metrics"].items()}


def check_accounts(accounts: Sequence[Accounting]) -> dg.AssetCheckResult:
    """Inputs = kept + filtered + failed in every stage, and nothing failed."""
    failed = {account.stage: dict(account.failed) for account in accounts if account.failed}
    return dg.AssetCheckResult(
        passed=not failed, check_name=NOTHING_FAILED, metadata={"failed": str(failed or "none")}
    )


def results_version(store: Store, stage: str, keys: Sequence[str]) -> dg.DataVersion:
    """Changes just when a result of these items changes: what depends on it is then out of date."""
    wanted, digest = set(keys), hashlib.sha256()
    for result in read_results(store, stage):
        if result.key in wanted:
            digest.update(f"{result.key} {result.address} {result.status}\n".encode())
    return dg.DataVersion(digest.hexdigest()[:16])


@contextmanager
def clear_failure() -> Iterator[None]:
    """Wrong input ends the run at once with its own sentence; trying again would not help."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
