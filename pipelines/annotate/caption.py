"""A short sentence about a clip from its labels: how many people, and what the camera does."""

import numpy as np
from scipy.spatial.transform import Rotation

from storage_schemas.camera import CameraTrack

NUMBERS = ("nobody", "one person", "two people", "three people", "four people", "five people")
LEAST_TURN_DEG = 3.0


def write_caption(camera: CameraTrack, num_people: int) -> str:
    """For example `two people, the camera pans right`."""
    people = NUMBERS[num_people] if num_people < len(NUMBERS) else f"{num_people} people"
    return f"{people}, {describe_camera(camera)}"


def describe_camera(camera: CameraTrack) -> str:
    """What the camera does from the first to the last frame, in words."""
    if camera.kind == "static":
        return "static camera"
    if camera.kind == "unknown":
        return "unknown camera motion"
    turn = describe_turn(camera)
    if camera.kind == "rotation":
        return f"the camera {turn}" if turn else "the camera turns slightly"
    move = f"the camera moves {describe_move(camera)}"
    return f"{move} and {turn}" if turn else move


def describe_turn(camera: CameraTrack) -> str:
    """The largest of pan, tilt and roll between the ends; empty when all are small."""
    R = camera.T_camera_world[-1, :3, :3] @ camera.T_camera_world[0, :3, :3].T
    # the picture turns against the camera: points that go right (+y turn) mean a pan to the left
    x, y, z = np.degrees(Rotation.from_matrix(R).as_rotvec())
    amounts = {
        "pans left": y, "pans right": -y, "tilts down": x, "tilts up": -x,
        "rolls": abs(z),
    }  # fmt: skip
    name = max(amounts, key=lambda key: amounts[key])
    return name if amounts[name] >= LEAST_TURN_DEG else ""


def describe_move(camera: CameraTrack) -> str:
    """Main direction of the camera's way, seen from the first frame."""
    poses = camera.T_camera_world
    centres = -np.einsum("tji,tj->ti", poses[:, :3, :3], poses[:, :3, 3])
    way = poses[0, :3, :3] @ (centres[-1] - centres[0])
    axis = int(np.abs(way).argmax())
    names = (("left", "right"), ("up", "down"), ("backwards", "forwards"))
    return names[axis][int(way[axis] > 0)]
