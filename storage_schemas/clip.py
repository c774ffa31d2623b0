"""ClipRecord: what one clip is and where it comes from (`<id>.clip.json`)."""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import numpy as np
from jaxtyping import Int64

from storage_schemas.arrays import check_shape, freeze

SCHEMA_VERSION: Final = 1
CLIP_ID_PATTERN: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRecord:
    """One clip: its source, its span in it, its format, and the quality of its labels."""

    clip_id: str
    """32 lower-case hex digits; see `pipelines.ingest` for what is hashed."""
    source: Literal["real", "synthetic"]
    uri: str
    """Where the source was read; informative only, the hash identifies it."""
    source_sha256: str
    licence: str
    """SPDX name or a sentence; `unknown` where nobody stated one."""
    start_ns: int
    """First instant of the clip in its source."""
    end_ns: int
    """First instant after the clip in its source."""
    fps: float
    """Frame rate of the clip's own video."""
    num_frames: int
    width: int
    height: int
    timestamps_ns: Int64[np.ndarray, " frames"]
    """Real time of each frame in its source; unevenly spaced where the source was."""
    caption: str = ""
    split: Literal["train", "validation", "test"] = "train"
    quality: Mapping[str, float] = field(default_factory=dict[str, float])
    """Measured label quality; a missing name was not measured."""
    provenance: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]]
    )
    """Stage -> backend, weights digest, code version, parameters."""
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Validate every field."""
        if not CLIP_ID_PATTERN.fullmatch(self.clip_id):
            raise ValueError(f"clip_id must be 32 lower-case hex digits, got {self.clip_id!r}")
        if self.schema != SCHEMA_VERSION:
            raise ValueError(
                f"clip {self.clip_id} has schema {self.schema}, this reader knows "
                f"{SCHEMA_VERSION}; read it with a newer isa4d or re-pack it"
            )
        if not self.fps > 0:
            raise ValueError(f"fps must be positive, got {self.fps}")
        for name in ("num_frames", "width", "height"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.start_ns < self.end_ns:
            raise ValueError(f"span must be half-open, got [{self.start_ns}, {self.end_ns})")
        object.__setattr__(self, "timestamps_ns", freeze(self.timestamps_ns, np.int64))
        check_shape("timestamps_ns", self.timestamps_ns, (self.num_frames,))
        if np.any(np.diff(self.timestamps_ns) < 0):
            raise ValueError("timestamps_ns must not decrease")
        bad = [name for name, value in self.quality.items() if not np.isfinite(value)]
        if bad:
            raise ValueError(f"quality must be finite, got {bad}; leave out what was not measured")

    def to_json(self) -> bytes:
        """UTF-8 JSON with sorted names: the same record gives the same bytes."""
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        content["timestamps_ns"] = self.timestamps_ns.tolist()
        return json.dumps(content, sort_keys=True, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "ClipRecord":
        """Read a record, refusing unknown schemas and missing or unknown fields.

        Raises:
            ValueError: If the bytes are no clip record.
        """
        try:
            content: Any = json.loads(data)
        except ValueError as error:
            raise ValueError(f"clip.json is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise ValueError(f"clip.json must hold an object, got {type(content).__name__}")
        values = cast(dict[str, Any], content)
        values["timestamps_ns"] = np.asarray(values.get("timestamps_ns", []), np.int64)
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"clip.json has other fields than ClipRecord: {error}") from error
