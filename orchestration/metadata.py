"""Pictures and counts in the form that the Dagster UI shows."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pipelines.review import data_uri, encode_picture
from pipelines.run import Accounting

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
    }


def show_metrics(result: Mapping[str, Any]) -> dict[str, Any]:
    """The means of an evaluation, each plotted over time by the UI."""
    return {name: float(value["mean"]) for name, value in result["metrics"].items()}


def check_accounts(accounts: Sequence[Accounting]) -> dg.AssetCheckResult:
    """Inputs = kept + filtered + failed in every stage, and nothing failed."""
    failed = {account.stage: dict(account.failed) for account in accounts if account.failed}
    return dg.AssetCheckResult(
        passed=not failed, check_name="nothing_failed", metadata={"failed": str(failed or "none")}
    )
