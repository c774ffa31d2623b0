"""Matrices from the world to what OpenGL draws."""

import numpy as np
from jaxtyping import Float

NEAR_M, FAR_M = 0.1, 200.0


def projection_matrix(
    K: Float[np.ndarray, "3 3"], width: int, height: int
) -> Float[np.ndarray, "4 4"]:
    """Clip matrix of an OpenCV camera: pixel (x, y) to ndc (2x/W-1, 2y/H-1), depth in [-1, 1]."""
    ndc = np.array([[2.0 / width, 0.0, -1.0], [0.0, 2.0 / height, -1.0], [0.0, 0.0, 1.0]]) @ K
    depth = (FAR_M + NEAR_M) / (FAR_M - NEAR_M)
    matrix = np.zeros((4, 4))
    matrix[:2, :3] = ndc[:2]
    matrix[2] = (0.0, 0.0, depth, -2.0 * FAR_M * NEAR_M / (FAR_M - NEAR_M))
    matrix[3, 2] = 1.0
    return matrix


def sun_matrix(
    sun_direction: Float[np.ndarray, "3"], centre: Float[np.ndarray, "3"], radius_m: float
) -> Float[np.ndarray, "4 4"]:
    """Clip matrix of parallel light that sees a ball: x, y over the ball, depth along the rays."""
    forward = -sun_direction
    side = np.cross(forward, (0.0, 0.0, 1.0) if abs(forward[1]) > 0.9 else (0.0, 1.0, 0.0))
    side /= np.linalg.norm(side)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([side, np.cross(forward, side), forward]) / radius_m
    matrix[:3, 3] = -matrix[:3, :3] @ centre
    matrix[2] /= np.array([3.0, 3.0, 3.0, 3.0])  # objects up to three radii before the ball count
    return matrix
