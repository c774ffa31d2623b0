"""Scenes as somebody asks for them in words: on the command line, in a run configuration."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.synthetic.scanned import check_scans
from pipelines.synthetic.scene import SceneSettings


def wished_scenes(
    size: str,
    people: str,
    *,
    cameras: Sequence[str] | None = None,
    motions: Sequence[str] | None = None,
    mocap: Path | None = None,
    panoramas: Path | None = None,
    body: Path | None = None,
    skins: Path | None = None,
) -> SceneSettings:
    """Scenes as a command line asks for them; what is None is left to the defaults.

    Args:
        size: Side of a square picture in pixels, or WxH.
        people: Most people in a clip, or FEWEST-MOST.
        cameras: Camera kinds.
        motions: Motion kinds; with a folder of motion capture, that alone where None.
        mocap: Folder of motion capture.
        panoramas: Folder of skies.
        body: SMPL file in place of the free body, looked at here; together with `skins`.
        skins: Folder of the UV layout and pictures of people.

    Raises:
        ValueError: If a text is no such thing, or body and skins do not fit each other.
    """
    if body is not None and skins is not None:
        check_scans(body, skins)
    elif body is not None or skins is not None:
        raise ValueError(
            "--body FILE and --skins FOLDER belong together: made-up clothes fit the free body only"
        )
    width, height = _whole_numbers("size", "PX or WxH", size, "x")
    fewest, most = _whole_numbers("people", "MOST or FEWEST-MOST", people, "-")
    settings = SceneSettings(
        width=width,
        height=height,
        num_people=(1 if people.isdigit() else fewest, most),
        mocap_folder=mocap,
        panorama_folder=panoramas,
        body_file=body,
        skin_folder=skins,
    )
    if cameras:
        settings = replace(settings, camera_kinds=tuple(cameras))
    if motions is None and mocap is not None:
        motions = ("mocap",)
    return replace(settings, motion_kinds=tuple(motions)) if motions else settings


def _whole_numbers(name: str, form: str, text: str, mark: str) -> tuple[int, int]:
    parts = text.split(mark)
    if len(parts) > 2 or not all(part.isdigit() for part in parts):
        raise ValueError(f"--{name} must be {form}, got {text!r}")
    return int(parts[0]), int(parts[-1])
