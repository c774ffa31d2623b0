"""Which result file belongs to which footage, by the names trackers give their folders."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from pipelines.annotate.backends.torch_file import file_digest

TRAM_CAMERA = "camera.npy"
GVHMR_FILE = "hmr4d_results.pt"


def find_results(place: Path) -> list[Path]:
    """Result files and TRAM folders at or below a place.

    Raises:
        ValueError: If there is none.
    """
    if place.is_file():
        return [place]
    found = {p for pattern in ("*.pkl", "*.npz", GVHMR_FILE) for p in place.rglob(pattern)}
    found |= {p.parent for p in place.rglob(TRAM_CAMERA) if (p.parent / "hps").is_dir()}
    if not found:
        raise ValueError(f"{place} holds no result of PHALP, WHAM, GVHMR, TRAM or ROMP")
    return sorted(found)


def names_of(result: Path, place: Path) -> set[str]:
    """Stems of the footage that a result may be about.

    `demo_walk.pkl` and `walk_results.npz` are about walk; so is everything in a folder `walk`.
    """
    stem = result.name if result.is_dir() else result.stem
    bare = re.sub(r"^demo_|(_results|_output|_bodies)$", "", stem)
    folders = [p.name for p in result.parents if p == place or place in p.parents]
    return {stem, bare, *folders, *([place.name] if place.is_dir() else [])}


def result_for(results: Sequence[Path], place: Path, uri: str) -> Path | None:
    """The result about a piece of footage; None where nobody tracked it.

    Raises:
        ValueError: If several claim it.
    """
    stem = Path(uri).stem
    mine = [result for result in results if stem in names_of(result, place)]
    if len(mine) > 1:
        raise ValueError(
            f"{', '.join(str(p) for p in mine)} are all about {stem}; leave one of them there"
        )
    return mine[0] if mine else None


def digest_of(results: Sequence[Path]) -> str:
    """SHA-256 over all files of the results, for provenance."""
    whole = hashlib.sha256()
    for result in results:
        files = sorted(result.rglob("*.npy")) if result.is_dir() else [result]
        for file in files:
            whole.update(f"{file.name}:{file_digest(file)}".encode())
    return whole.hexdigest()
