"""Open places: streets, squares, parks, beaches. The ground is y = 0 wherever people may stand."""

import numpy as np

from pipelines.synthetic.surroundings.clearing import Clearing
from pipelines.synthetic.surroundings.nature import make_nature
from pipelines.synthetic.surroundings.plot import Outside, Plot
from pipelines.synthetic.surroundings.town import make_town

OUTDOORS = ("street", "square", "parking lot", "park", "garden", "beach", "desert", "snow field")


def make_outside(rng: np.random.Generator, kind: str, clearing: Clearing) -> Outside:
    """A place of one of OUTDOORS around everything that must be free.

    Raises:
        ValueError: for another kind.
    """
    if kind not in OUTDOORS:
        raise ValueError(f"open place must be one of {OUTDOORS}, got {kind!r}")
    plot = Plot(clearing=clearing, shapes=[], circles=[])
    yaw = float(rng.uniform(-180.0, 180.0))
    if kind in ("street", "square", "parking lot"):
        return make_town(rng, kind, plot, yaw)
    return make_nature(rng, kind, plot, yaw)
