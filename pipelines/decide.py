"""What a person decided about clips: kept beside what the stages decided, and respected by packing.

A decision is a result of the stage `review`; the last one stands. Nothing of a clip is removed.
"""

import getpass
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from pipelines.stage import Result, result_key
from storage_schemas.clip import CLIP_ID_PATTERN
from storage_schemas.store import Store

REVIEW = "review"
REJECTED = "rejected_by_person"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One clip accepted or rejected, and why."""

    clip_id: str
    decision: Literal["accept", "reject"]
    why: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.clip_id, str) or not CLIP_ID_PATTERN.fullmatch(self.clip_id):
            raise ValueError(f"clip_id must be the id of a clip, got {self.clip_id!r}")
        if self.decision not in ("accept", "reject"):
            raise ValueError(f"decision must be accept or reject, got {self.decision!r}")
        if not isinstance(self.why, str):
            raise ValueError(f"why must be text, got {self.why!r}")


def decide(store: Store, decisions: Sequence[Decision]) -> None:
    """Store decisions with the time and the name of the user.

    Raises:
        ValueError: A clip is not in the store; nothing is stored then.
    """
    for item in decisions:
        if not store.exists(f"clips/{item.clip_id}/clip.json"):
            raise ValueError(f"there is no clip {item.clip_id} in {store.root}; nothing is decided")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for item in decisions:
        text = json.dumps(asdict(item), sort_keys=True)
        is_kept = item.decision == "accept"
        result = Result(
            key=item.clip_id,
            address=hashlib.sha256(text.encode()).hexdigest(),
            status="kept" if is_kept else "filtered",
            reason="" if is_kept else REJECTED,
            detail=item.why,
            provenance={"by": getpass.getuser(), "at": now, "decision": item.decision},
        )
        data = json.dumps(asdict(result), sort_keys=True).encode()
        store.write(result_key(REVIEW, item.clip_id), data)


def read_decisions(text: str, name: str) -> list[Decision]:
    """The lines of JSON that a review page gives.

    Raises:
        ValueError: A line is no decision; the message names it.
    """
    found: list[Decision] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            if not isinstance(values, Mapping):
                raise ValueError(f"a decision must be an object, got {line[:40]}")
            found.append(Decision(**values))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name} line {number} is no decision: {error}") from error
    if not found:
        raise ValueError(f"{name} holds no decision; decide on the page, then download")
    return found
