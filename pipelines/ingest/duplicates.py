"""The same footage twice: found by perceptual hashes over time, across all that a root holds.

Two clips are the same if, shifted against each other in time, at least half of the shorter one
looks the same. Of a group the first stays: what stood after an earlier run, then the larger
picture, then the order of addresses. The others are filtered as `duplicate` with the name of the
first, so annotate and pack leave them out.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.ingest.measure import THUMBNAIL_PX
from pipelines.run import Accounting, Item, Rejected, Stage, read_results, run_stage
from storage_schemas.store import Store

VERSION = "1"
STAGE = "duplicate"
MAX_DISTANCE_BITS = 8
"""Of 64, on average over the overlap. Copies at 0.4 to 0.6 of the size, badly coded or darker, are
0 to 3 bits apart on the real videos of our tests, and their changes correlate above 0.95; parts of
one video by a resting camera are 2 to 12 apart, and theirs correlate up to 0.7."""
MIN_CORRELATION = 0.75
"""Of the changes from one instant to the next."""
MIN_OVERLAP = 0.5
MIN_HASHES = 3
"""Shorter matches happen by chance."""
_HASH_BYTES = 8
_BAND_HEX = 2
"""Hashes that share an 8-bit piece at its place are compared; 8 pieces find all within 7 bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """What the comparison needs of a clip."""

    clip_id: str
    uri: str
    start: int
    num_pixels: int
    fingerprint: tuple[str, ...]


def drop_duplicates(store: Store, workers: int = 0) -> Accounting:
    """Compare all clips that ingest kept; one outcome per clip."""
    first = find_duplicates(list(_order(list(_read_clips(store)), store)))
    items = [Item(key=key, content=other, value=other) for key, other in sorted(first.items())]
    return run_stage(Stage(name=STAGE, version=VERSION, work=_drop), items, store, workers)


def _drop(item: Item, store: Store) -> Mapping[str, bytes]:
    if item.value:
        raise Rejected("duplicate", f"clip {item.key} shows what clip {item.value} shows")
    return {}


def _read_clips(store: Store) -> Iterator[Clip]:
    for result in read_results(store, "ingest"):
        for key in result.outputs if result.status == "kept" else ():
            if key.startswith("sources/"):
                source = json.loads(store.read(key))
                for piece in source["pieces"]:
                    if piece["clip_id"]:
                        yield Clip(
                            clip_id=piece["clip_id"],
                            uri=source["uri"],
                            start=piece["start"],
                            num_pixels=piece["crop"][2] * piece["crop"][3],
                            fingerprint=tuple(piece["measures"]["fingerprint"]),
                        )


def _order(clips: Sequence[Clip], store: Store) -> Sequence[Clip]:
    stood = {result.key for result in read_results(store, STAGE) if result.status == "kept"}
    return sorted(clips, key=lambda c: (c.clip_id not in stood, -c.num_pixels, c.uri, c.start))


def find_duplicates(clips: Sequence[Clip]) -> dict[str, str]:
    """Clip id -> id of the first clip that shows the same; empty for clips that stay."""
    bands: dict[tuple[int, str], list[str]] = defaultdict(list)
    kept: dict[str, Clip] = {}
    first: dict[str, str] = {}
    for clip in clips:
        keys = {band for text in clip.fingerprint for band in _bands(text)}
        candidates = dict.fromkeys(other for key in sorted(keys) for other in bands[key])
        same = (
            other
            for other in candidates
            # Pieces of one source never overlap: there a likeness is the resting camera's.
            if kept[other].uri != clip.uri and is_same(kept[other].fingerprint, clip.fingerprint)
        )
        first[clip.clip_id] = next(same, "")
        if not first[clip.clip_id]:
            kept[clip.clip_id] = clip
            for key in keys:
                bands[key].append(clip.clip_id)
    return first


def _bands(text: str) -> list[tuple[int, str]]:
    digits = text[: 2 * _HASH_BYTES]
    return [(at, digits[at : at + _BAND_HEX]) for at in range(0, len(digits), _BAND_HEX)]


def is_same(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether two fingerprints agree at some shift in time: what is seen, and how it changes.

    A resting camera sees the same room with other people in it: there the changes differ.
    """
    if min(len(a), len(b)) < MIN_HASHES:
        return False
    (bits_a, levels_a), (bits_b, levels_b) = _parse(a), _parse(b)
    least = max(MIN_HASHES, math.ceil(MIN_OVERLAP * min(len(a), len(b))))
    for shift in range(least - len(b), len(a) - least + 1):
        ours, theirs = slice(max(0, shift), shift + len(b)), slice(max(0, -shift), len(a) - shift)
        pairs = list(zip(a[ours], b[theirs], strict=True))
        if sum(bool(x and y) for x, y in pairs) < least:
            continue
        known = np.array([bool(x and y) for x, y in pairs])
        distance = (bits_a[ours] != bits_b[theirs]).sum(1)[known].mean()
        if distance <= MAX_DISTANCE_BITS and (
            _correlation(np.diff(levels_a[ours], axis=0), np.diff(levels_b[theirs], axis=0))
            >= MIN_CORRELATION
        ):
            return True
    return False


def _parse(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Bits of the hashes, and the thumbnails."""
    data = [bytes.fromhex(text) if text else bytes(_HASH_BYTES + THUMBNAIL_PX**2) for text in texts]
    values = np.frombuffer(b"".join(data), np.uint8).reshape(len(texts), -1)
    return np.unpackbits(values[:, :_HASH_BYTES], axis=1), values[:, _HASH_BYTES:].astype(float)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    # Where nothing at all changes, the pictures alone decide.
    return float((a * b).sum()) / length if length else float(not a.any() and not b.any())
