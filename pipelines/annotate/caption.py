"""A short sentence about a clip from its labels: how many people, and what the camera does."""

from pipelines.camera_caption import describe_camera
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack

NUMBERS = ("nobody", "one person", "two people", "three people", "four people", "five people")


def write_caption(camera: CameraTrack, bodies: BodyTracks, fps: float) -> str:
    """For example `two people, the camera pans right`."""
    number = len(bodies.person_id)
    people = NUMBERS[number] if number < len(NUMBERS) else f"{number} people"
    return f"{people}, {describe_camera(camera, fps, bodies.transl.astype(float))}"
