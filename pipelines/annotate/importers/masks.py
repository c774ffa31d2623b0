"""Masks as SA-V json (what SAM2's data set and tools exchange): COCO run lengths by frame.

Runs go down the columns, background first; the text packs each run into 5-bit digits, from the
third run on as the difference to the one before last.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from storage_schemas.mask import MaskTrack


def decode_rle(rle: dict[str, Any]) -> Bool[np.ndarray, "height width"]:
    """A mask from `{"size": [height, width], "counts": text}`.

    Raises:
        ValueError: If the runs do not fill the size.
    """
    height, width = (int(v) for v in rle["size"])
    runs = _numbers(rle["counts"])
    for k in range(3, len(runs)):
        runs[k] += runs[k - 2]
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise ValueError(f"runs must fill {height}x{width} pixels, got {sum(runs)}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def encode_rle(mask: Bool[np.ndarray, "height width"]) -> dict[str, Any]:
    """The inverse of `decode_rle`, with the same text as COCO's tools."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    edges = np.concatenate([[0] if flat[0] else [], [0], edges, [flat.size]]).astype(int)
    runs = np.diff(np.sort(edges)).tolist()
    text = "".join(_text(run - runs[k - 2] if k > 2 else run) for k, run in enumerate(runs))
    return {"size": list(mask.shape), "counts": text}


def read_sav(path: Path) -> MaskTrack:
    """Masks of a SA-V annotation; masklet i has label i + 1, and the last one wins an overlap.

    SA-V annotates every fourth frame of a video; these are the frames that come back.

    Raises:
        ValueError: With file and finding, if it is no such annotation.
    """
    try:
        content = json.loads(path.read_text())
        frames: Sequence[Sequence[dict[str, Any]]] = content["masklet"]
        height, width = int(content["video_height"]), int(content["video_width"])
        instance = np.zeros((len(frames), height, width), np.uint8)
        for t, masklets in enumerate(frames):
            for label, rle in enumerate(masklets, 1):
                instance[t][decode_rle(rle)] = label
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{path} is no SA-V annotation: {error!r}") from error
    return MaskTrack(instance=instance)


def write_sav(path: Path, masks: MaskTrack) -> None:
    """Write masks as SA-V json; `read_sav` gives them back exactly."""
    people = int(masks.instance.max(initial=0))
    masklet = [
        [encode_rle(frame == label) for label in range(1, people + 1)] for frame in masks.instance
    ]
    height, width = masks.instance.shape[1:]
    size = {"video_height": height, "video_width": width}
    path.write_text(json.dumps({**size, "masklet": masklet, "masklet_id": list(range(people))}))


def _numbers(text: str) -> list[int]:
    numbers: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        value |= (digit & 0x1F) << shift
        shift += 5
        if not digit & 0x20:
            numbers.append(value - (1 << shift) if digit & 0x10 else value)
            value = shift = 0
    return numbers


def _text(number: int) -> str:
    digits: list[str] = []
    while True:
        digit, number = number & 0x1F, number >> 5
        is_last = number == (-1 if digit & 0x10 else 0)
        digits.append(chr(48 + (digit if is_last else digit | 0x20)))
        if is_last:
            return "".join(digits)
