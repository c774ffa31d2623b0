"""Farthest-point order."""

import numpy as np
import pytest

from models.body.surface import farthest_points


def test_each_point_is_the_farthest_from_those_before():
    points = np.random.default_rng(0).random((50, 3))
    order = farthest_points(points, 20)
    for i in range(1, 20):
        distance = np.linalg.norm(points[:, None] - points[order[:i]], axis=-1).min(1)
        assert distance[order[i]] == pytest.approx(distance.max())


def test_a_shorter_order_is_a_prefix():
    points = np.random.default_rng(1).random((50, 3))
    assert np.array_equal(farthest_points(points, 20)[:7], farthest_points(points, 7))


def test_more_points_than_exist_are_refused():
    with pytest.raises(ValueError, match=r"1\.\.4"):
        farthest_points(np.zeros((4, 3)), 5)
