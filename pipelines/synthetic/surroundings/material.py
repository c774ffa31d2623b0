"""Materials of the surroundings: repeating textures drawn once per process.

Textures are sRGB uint8. Most are pale and neutral: the colour of a thing is its tint, so that one
texture serves every world. Patterns repeat at their borders.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import UInt8

from pipelines.synthetic.surroundings import imagery, matter
from pipelines.synthetic.surroundings.noise import Picture

Painter = Callable[[np.random.Generator, int], Picture]


@dataclass(frozen=True, kw_only=True)
class Material:
    """How a kind of surface looks."""

    name: str
    paint: Painter
    span_m: float
    """World length that one repetition of the texture covers, metres."""
    gloss: float = 0.0
    variation: float = 0.0
    emission: float = 0.0

    def texture(self, size_px: int) -> UInt8[np.ndarray, "rows columns channels"]:
        """The picture, made at the first call."""
        return _texture(self.name, size_px)


@cache
def _texture(name: str, size_px: int) -> np.ndarray:
    rng = np.random.default_rng([ord(letter) for letter in name])
    return np.clip(MATERIALS[name].paint(rng, size_px) * 255.0 + 0.5, 0, 255).astype(np.uint8)


_ALL = (
    Material(name="plaster", paint=matter.plain, span_m=2.0),
    Material(name="lacquer", paint=matter.plain, span_m=2.0, gloss=0.25),
    Material(name="lamp", paint=matter.plain, span_m=1.0, emission=3.0),
    Material(name="mottled", paint=matter.mottled, span_m=3.0, variation=0.08),
    Material(name="screed", paint=matter.screed, span_m=5.0, variation=0.08, gloss=0.06),
    Material(name="carpet", paint=matter.carpet, span_m=2.0),
    Material(name="ribs", paint=matter.ribs, span_m=1.2),
    Material(name="asphalt", paint=matter.asphalt, span_m=2.2, variation=0.3),
    Material(name="bricks", paint=matter.bricks, span_m=0.95),
    Material(name="planks", paint=matter.planks, span_m=1.5, gloss=0.12),
    Material(name="court", paint=matter.court, span_m=1.6, gloss=0.3),
    Material(name="grain", paint=matter.grain, span_m=1.0, gloss=0.08),
    Material(name="bark", paint=matter.bark, span_m=0.8),
    Material(name="tiles", paint=matter.tiles, span_m=1.8, gloss=0.2),
    Material(name="pavers", paint=matter.pavers, span_m=2.0, variation=0.15),
    Material(name="cloth", paint=matter.cloth, span_m=0.7),
    Material(name="stripes", paint=imagery.stripes, span_m=0.8),
    Material(name="motifs", paint=imagery.motifs, span_m=0.9),
    Material(name="grass", paint=matter.grass, span_m=1.6, variation=0.35),
    Material(name="sand", paint=matter.sand, span_m=2.5, variation=0.3),
    Material(name="snow", paint=matter.snow, span_m=5.0, variation=0.2),
    Material(name="gravel", paint=matter.gravel, span_m=1.2, variation=0.3),
    Material(name="leaves", paint=imagery.leaves, span_m=1.0),
    Material(name="needles", paint=imagery.needles, span_m=1.0),
    Material(name="blades", paint=imagery.blades, span_m=1.0),
    Material(name="facade", paint=imagery.facade, span_m=6.2),
    Material(name="office", paint=imagery.office, span_m=12.0, gloss=0.1),
    Material(name="shops", paint=imagery.shops, span_m=7.0),
    Material(name="door", paint=imagery.door, span_m=1.0),
    Material(name="books", paint=imagery.books, span_m=1.0),
    Material(name="painting", paint=imagery.painting, span_m=1.0),
    Material(name="rug", paint=imagery.rug, span_m=1.0),
    Material(name="treeline", paint=imagery.treeline, span_m=30.0),
    Material(name="skyline", paint=imagery.skyline, span_m=60.0),
)


MATERIALS = {material.name: material for material in _ALL}
