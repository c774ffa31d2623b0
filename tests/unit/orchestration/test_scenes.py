"""What is asked for in words."""

from pathlib import Path

import pytest

from orchestration.scenes import wished_scenes


def test_a_number_is_a_square_and_at_most_so_many_people():
    settings = wished_scenes("96", "3")
    assert (settings.width, settings.height, settings.num_people) == (96, 96, (1, 3))


def test_two_numbers_are_width_by_height_and_a_range():
    settings = wished_scenes("128x72", "2-4")
    assert (settings.width, settings.height, settings.num_people) == (128, 72, (2, 4))


def test_motion_capture_moves_everybody_unless_more_motions_are_named():
    folder = Path("mocap")
    assert wished_scenes("96", "1", mocap=folder).motion_kinds == ("mocap",)
    mixed = wished_scenes("96", "1", mocap=folder, motions=["walk", "mocap"])
    assert mixed.motion_kinds == ("walk", "mocap")
    assert wished_scenes("96", "1", cameras=["pan"]).camera_kinds == ("pan",)


@pytest.mark.parametrize("size", ["", "x", "96x", "96x72x3", "-96", "9.5"])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="--size must be PX or WxH"):
        wished_scenes(size, "1")
