"""Short names of what a recorded scene holds, for counts and captions of pictures."""

from collections.abc import Mapping
from typing import Any


def camera_name(camera: Mapping[str, Any]) -> str:
    """The kinds of a recorded camera program, for example `dolly + orbit, hand-held`."""
    kinds = sorted({str(move["kind"]) for move in camera["moves"]})
    if camera["follow"] != "none":
        kinds.append("follow")
    name = " + ".join(kinds) or "static"
    return f"{name}, hand-held" if camera["shake_deg"] else name
