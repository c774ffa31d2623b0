"""What a stage, the items it works on and the records it leaves are.

What a stage did for an item is one small record, `results/<stage>/<item key>.json`, written after
the outputs it names. Its address hashes the input content, the stage's version, parameters and
weights: equal addresses are never computed twice, others always are.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from storage_schemas.store import Store

_HASH_BLOCK_BYTES = 1 << 20


class Rejected(Exception):
    """This item is unusable for a reason that lies in the data; the run goes on.

    Args:
        reason: Short code that is counted, such as too_short.
        detail: One sentence with the numbers.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One unit of work."""

    key: str
    """Names the result: a clip id, or a hash for a source."""
    inputs: tuple[str | Path, ...] = ()
    """What the result depends on: store keys (str) and files outside the store (Path)."""
    content: str = ""
    """Anything else that the result depends on, for instance a hash already known."""
    value: Any = None
    """What the work needs beyond the key; not hashed."""


Outputs = Mapping[str, bytes | Path] | Iterable[tuple[str, bytes | Path]]
"""Store key -> bytes, or a file that is moved there; an iterator is written as it comes, so memory
stays bounded."""
Work = Callable[[Item, Store], Outputs]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A named, versioned piece of work."""

    name: str
    version: str
    """Changes whenever the same input would give another result."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON values."""
    weights: str = ""
    """Digest of the model that the work loads."""
    work: Work | type
    """A function (item, store) -> outputs, or a class of such callables: it is built once per
    process as work(**parameters), when the first item needs it, and may load a model."""

    def address(self, content: Sequence[str]) -> str:
        """Hash of all that determines a result."""
        parts = [self.name, self.version, dict(self.parameters), self.weights, list(content)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def provenance(self) -> dict[str, Any]:
        """What a record says about the stage that made it."""
        return {
            "version": self.version,
            "parameters": dict(self.parameters),
            "weights": self.weights,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a stage did for one item."""

    key: str
    address: str
    status: Literal["kept", "filtered", "failed"]
    reason: str = ""
    detail: str = ""
    """The numbers of a rejection, or the traceback of a failure."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Store key -> sha256 of the bytes."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Version, parameters and weights of the stage."""
    is_reused: bool = False


def result_key(stage_name: str, item_key: str) -> str:
    """Where the record of an item lies."""
    return f"results/{stage_name}/{item_key}.json"


def parse_result(key: str, data: bytes) -> Result:
    """The record that lies under a key.

    Raises:
        ValueError: It is none.
    """
    try:
        return Result(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{key} is no result ({error}); delete it and run again") from error


def sha256_file(path: Path) -> str:
    """Hash of a file's content, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
