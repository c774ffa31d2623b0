"""How footage is cut, normalised and filtered."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from pipelines.ingest.measure import Measures
from pipelines.ingest.sources import MAX_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestSettings:
    """The thresholds of the filters were set by looking at 34 pieces of real videos.

    What was measured there (least, middle, largest): motion 0.010, 0.13, 1.1; sweep 0.000, 0.017,
    0.20; blur 0.22, 0.40, 0.63; text share 0, 0, 0.0099. All of them are footage one would keep,
    so each threshold lies beyond them: a still picture (coding noise alone gives 0.0065), a whip
    pan over half of the clip, a Gaussian blur of 4 pixels at 360 (0.95), a line of subtitles.
    """

    fps: float = 24.0
    """Rate of the clips; slower sources keep their own."""
    max_short_side_px: int = 720
    min_short_side_px: int = 64
    min_clip_s: float = 0.6
    max_clip_s: float = 10.0
    """Longer shots are split evenly."""
    cut_threshold: float = 3.0
    crf: int = 16
    max_source_bytes: int = MAX_BYTES
    """Larger files are refused, remote ones before they come where their size is told."""
    min_motion: float = 0.008
    """A clip below is `still`; see `Measures`. A person who stands at a table has 0.010."""
    max_sweep: float = 1.5
    """A clip above is `too_fast`: nothing can be seen in a picture that races by."""
    max_blur: float = 0.9
    """A clip above is `blurry`."""
    max_text_share: float = 0.012
    """A clip above has `text_overlay`: of 54 overlays put on real videos this finds 40, and none
    in the videos as they are."""
    licence: str = "unknown"
    """For sources whose list states none."""

    def __post_init__(self) -> None:
        """Validate every field."""
        if not self.fps > 0:
            raise ValueError(f"fps must be positive, got {self.fps}")
        if not 0 < self.min_clip_s < self.max_clip_s:
            raise ValueError(
                f"0 < min_clip_s < max_clip_s must hold, got {self.min_clip_s}, {self.max_clip_s}"
            )
        if not 2 <= self.min_short_side_px <= self.max_short_side_px:
            raise ValueError(
                f"2 <= min_short_side_px <= max_short_side_px must hold, got "
                f"{self.min_short_side_px}, {self.max_short_side_px}"
            )
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf must lie in [0, 51], got {self.crf}")

    def normalisation(self) -> dict[str, Any]:
        """What, besides span and crop, decides the pixels of a clip."""
        return {"fps": self.fps, "max_short_side_px": self.max_short_side_px, "crf": self.crf}

    def find_fault(self, found: Measures) -> tuple[str, str]:
        """Reason code and numbers of the first filter that drops a clip; empty if none does."""
        if found.motion < self.min_motion:
            return "still", f"motion {found.motion} is below {self.min_motion}"
        if found.sweep > self.max_sweep:
            return "too_fast", f"sweep {found.sweep} is above {self.max_sweep}"
        if found.blur > self.max_blur:
            return "blurry", f"blur {found.blur} is above {self.max_blur}"
        if found.text_share > self.max_text_share:
            return "text_overlay", f"text share {found.text_share} is above {self.max_text_share}"
        return "", ""


def change_settings(settings: IngestSettings, changes: Sequence[str]) -> IngestSettings:
    """The settings with NAME=VALUE texts applied.

    Raises:
        ValueError: No such name, or no such value.
    """
    types: dict[str, Any] = {field.name: field.type for field in fields(settings)}
    for change in changes:
        name, mark, text = change.partition("=")
        if not mark or name not in types:
            raise ValueError(f"settings are NAME=VALUE with a name of {sorted(types)}: {change!r}")
        try:
            settings = replace(settings, **{name: types[name](text)})
        except ValueError as error:
            raise ValueError(f"{change}: {error}") from error
    return settings
