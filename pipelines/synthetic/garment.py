"""Meshes worn on the body: cloth layers, shoes, skirts, hair.

Everything is placed on the person's shaped rest body (T-pose, body frame, metres) but cut by
functions of the neutral body, so that a sleeve ends at the same place on everybody.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import ConvexHull

from pipelines.synthetic.mannequin import Mannequin, Mesh, Vertices, vertex_normals
from pipelines.synthetic.texture import edge

CUT_MARGIN_M = 0.012
"""Triangles this far beyond a garment's edge stay in the mesh; the texture's alpha cuts them."""
HIDDEN_DEPTH_M = 0.035
"""Skin this far inside a garment's edge is left out: it could only poke through."""
HIDDEN_CLOTH_M = 0.018
"""The same for cloth this far inside the edge of another; the cut's alpha ramps over 12 mm."""
PELVIS, LEFT_HIP, RIGHT_HIP, LEFT_KNEE, RIGHT_KNEE = 0, 1, 2, 4, 5
ARMS_ABOVE_Y_M = 0.03
AXIS_Z_M = 0.03
"""Axis of the neutral torso."""
NUM_ANGLES = 49


def _compact(mesh: Mesh, keep: Bool[np.ndarray, "faces"]) -> Mesh:
    """Drop faces and the vertices only they used."""
    used, faces = np.unique(mesh.faces[keep], return_inverse=True)
    return Mesh(
        vertices=mesh.vertices[used].astype(np.float32),
        weights=mesh.weights[used].astype(np.float32),
        faces=faces.reshape(-1, 3).astype(np.int32),
        uv=mesh.uv[used].astype(np.float32),
        normals=None if mesh.normals is None else mesh.normals[used].astype(np.float32),
    )


def _on_atlas(mannequin: Mannequin, vertices: Vertices, keep: Bool[np.ndarray, "faces"]) -> Mesh:
    split = Mesh(
        vertices=vertices[mannequin.uv_vertex],
        weights=mannequin.weights[mannequin.uv_vertex],
        faces=mannequin.uv_faces,
        uv=mannequin.uv,
    )
    return _compact(split, keep)


def skin_mesh(
    mannequin: Mannequin, shaped: Vertices, covers: list[Float[np.ndarray, "verts"]]
) -> Mesh:
    """The body without eyes, mouth and what the covers (edge distance per vertex) hide."""
    names = [f"{side}_eye_{part}" for side in ("left", "right") for part in ("front", "back")]
    hidden = mannequin.in_region(*names, "mouth_cavity")
    for cover in covers:
        hidden = hidden | (cover > HIDDEN_DEPTH_M)
    return _on_atlas(mannequin, shaped, ~hidden[mannequin.faces].all(1))


def layer(
    mannequin: Mannequin,
    betas: Float[np.ndarray, "10"],
    inside_m: Float[np.ndarray, "verts"],
    thickness_m: Float[np.ndarray, "verts"],
    span_m: Float[np.ndarray, "verts"],
    hang_slope: float | None = None,
    covered_m: Float[np.ndarray, "verts"] | None = None,
) -> Mesh:
    """A shell over part of the body, on its texture atlas.

    Args:
        mannequin: The neutral body.
        betas: The person's shape.
        inside_m: Distance of each body vertex from the edge, positive inside.
        thickness_m: Least distance of each body vertex' shell from the skin along its normal.
        span_m: How far above the bottom of a hollow the shell may hang beyond its thickness,
            metres, per body vertex.
        hang_slope: How cloth of the torso narrows below the chest, metres per metre of fall
            (0: straight down); None follows the body.
        covered_m: How deep each body vertex lies inside what is worn over it; deep inside nothing
            is made, it could only poke through.
    """
    shaped = mannequin.shaped(betas)
    normal = vertex_normals(shaped, mannequin.faces)
    hollow = np.clip(((mannequin.draped(betas) - shaped) * normal).sum(1), 0, span_m)
    cloth = shaped + normal * (thickness_m + hollow)[:, None]
    if hang_slope is not None:
        cloth = hang_torso(mannequin, shaped, cloth, hang_slope, float(thickness_m.max()))
    keep = (inside_m > -CUT_MARGIN_M)[mannequin.faces].any(1)
    if covered_m is not None:
        keep &= ~(covered_m > HIDDEN_CLOTH_M)[mannequin.faces].all(1)
    return _on_atlas(mannequin, cloth, keep)


def eyes(mannequin: Mannequin, shaped: Vertices) -> Mesh:
    """Both eyeballs, each mapped flat onto the same square as seen from the front."""
    uv = np.zeros((len(shaped), 2))
    eyes_of = np.zeros(len(shaped), bool)
    for side in ("left", "right"):
        eye = mannequin.in_region(f"{side}_eye_front", f"{side}_eye_back")
        centre = (mannequin.template[eye].max(0) + mannequin.template[eye].min(0)) / 2
        uv[eye] = (mannequin.template[eye] - centre)[:, :2] * (1, -1) / 0.032 + 0.5
        eyes_of |= eye
    mesh = Mesh(vertices=shaped, weights=mannequin.weights, faces=mannequin.faces, uv=uv)
    return _compact(mesh, eyes_of[mannequin.faces].all(1))


def shoes(mannequin: Mannequin, shaped: Vertices, top_m: float, thickness_m: float) -> Mesh:
    """Closed shoes: the convex hull of each foot below `top_m` above the ground, thickened.

    The texture is a side view: u from heel to toe, v from top to sole.
    """
    normal = vertex_normals(shaped, mannequin.faces)
    ground = mannequin.template[:, 1].min()
    foot = mannequin.template[:, 1] < ground + top_m
    parts = []
    for sign in (1, -1):
        ids = np.flatnonzero(foot & (sign * mannequin.template[:, 0] > 0))
        points = shaped[ids] + normal[ids] * thickness_m
        hull = ConvexHull(points)
        faces = hull.simplices.copy()
        a, b, c = (points[faces[:, k]] for k in range(3))
        inward = (np.cross(b - a, c - a) * hull.equations[:, :3]).sum(1) < 0
        faces[inward] = faces[inward][:, ::-1]
        low, high = points.min(0), points.max(0)
        relative = (points - low) / (high - low)
        mesh = Mesh(
            vertices=points,
            weights=mannequin.weights[ids],
            faces=faces,
            uv=np.stack([relative[:, 2], 1 - relative[:, 1]], -1),
        )
        parts.append(_compact(mesh, np.ones(len(faces), bool)))
    return join(parts)


def join(parts: list[Mesh]) -> Mesh:
    """One mesh of several that share a texture."""
    normals = [part.normals for part in parts if part.normals is not None]
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return Mesh(
        vertices=np.concatenate([part.vertices for part in parts]),
        weights=np.concatenate([part.weights for part in parts]),
        faces=np.concatenate(
            [part.faces + start for part, start in zip(parts, starts, strict=True)]
        ).astype(np.int32),
        uv=np.concatenate([part.uv for part in parts]),
        normals=None if len(normals) < len(parts) else np.concatenate(normals),
    )


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Outline of torso and legs seen from above, at heights of the neutral body."""

    height_m: Float[np.ndarray, "rows"]
    """Neutral heights, falling."""
    centre: Float[np.ndarray, "rows 3"]
    """On the person."""
    radius_m: Float[np.ndarray, "rows angles"]
    """Distance of the skin from the centre; angles from the back over the left to the back."""

    def hung(
        self, slope: Float[np.ndarray, "rows"], margin_m: Float[np.ndarray, "rows"]
    ) -> "Profile":
        """Outline of cloth that hangs from above.

        Args:
            slope: Metres of radius that cloth loses (negative) or gains per metre of fall.
            margin_m: Least distance from the skin.
        """
        radius = self.radius_m + margin_m[:, None]
        fall = -np.diff(self.height_m)
        for row in range(1, len(radius)):
            radius[row] = np.maximum(radius[row], radius[row - 1] + slope[row] * fall[row - 1])
        return replace(self, radius_m=radius)

    def at(
        self, height_m: Float[np.ndarray, "points"], angle: Float[np.ndarray, "points"]
    ) -> Float[np.ndarray, "points"]:
        """Radius at neutral heights and angles (from the front, left positive), bilinear."""
        rows, angles = self.radius_m.shape
        row = np.interp(-height_m, -self.height_m, np.arange(rows))
        column = (angle / (2 * np.pi) + 0.5) * (angles - 1)
        low_row = np.minimum(row.astype(int), rows - 2)
        low_column = np.clip(column.astype(int), 0, angles - 2)
        v, u = row - low_row, column - low_column
        r = self.radius_m
        upper = r[low_row, low_column] * (1 - u) + r[low_row, low_column + 1] * u
        lower = r[low_row + 1, low_column] * (1 - u) + r[low_row + 1, low_column + 1] * u
        return upper * (1 - v) + lower * v


def profile(
    mannequin: Mannequin, shaped: Vertices, top_y_m: float, bottom_y_m: float, rows: int
) -> Profile:
    """Measure torso and legs of a person; arms are left out."""
    height = np.linspace(top_y_m, bottom_y_m, rows)
    template = mannequin.template
    reach = 0.75 * (top_y_m - bottom_y_m) / (rows - 1) + 0.006
    arm = (np.abs(template[:, 0]) > 0.19) & (template[:, 1] > ARMS_ABOVE_Y_M)
    body = np.flatnonzero(~arm & (np.abs(template[:, 0]) < 0.3))
    angle = angle_around(template[body])
    column = np.clip(((angle / (2 * np.pi) + 0.5) * (NUM_ANGLES - 1)).round().astype(int), 0, None)
    centre, radius = np.zeros((rows, 3)), np.zeros((rows, NUM_ANGLES))
    for row, y in enumerate(height):
        near = np.abs(template[body, 1] - y) < reach
        person = shaped[body[near]]
        moved = person - template[body[near]]
        centre[row] = (0, y + moved[:, 1].mean(), AXIS_Z_M + moved[:, 2].mean())
        distance = np.hypot(person[:, 0], person[:, 2] - centre[row, 2])
        np.maximum.at(radius[row], column[near], distance)
        radius[row, 0] = radius[row, -1] = max(radius[row, 0], radius[row, -1])
        seen = np.flatnonzero(radius[row] > 0)
        radius[row] = np.interp(np.arange(NUM_ANGLES), seen, radius[row, seen])
    around = np.concatenate([radius[:, -3:-1], radius, radius[:, 1:3]], 1)
    smooth = sum(around[:, k : k + NUM_ANGLES] * w for k, w in enumerate((1, 2, 2, 2, 1))) / 8
    return Profile(height_m=height, centre=centre, radius_m=np.maximum(smooth, 0.98 * radius))


def angle_around(points: Vertices) -> Float[np.ndarray, "points"]:
    """Angle about the vertical axis of the neutral torso: 0 in front, left positive."""
    return np.arctan2(points[:, 0], points[:, 2] - AXIS_Z_M)


def hang_torso(
    mannequin: Mannequin, shaped: Vertices, cloth: Vertices, slope: float, thickness_m: float
) -> Vertices:
    """Cloth vertices of the torso moved out to where cloth hangs from chest and shoulders."""
    outline = profile(mannequin, shaped, 0.10, -0.46, 28)
    ones = np.ones(28)
    hung = outline.hung(slope * ones, thickness_m * ones)
    x, y, _ = mannequin.template.T
    free = edge(0.11 - y, 0.1) * (y > -0.5)
    sleeve = edge(np.abs(x) - 0.13, 0.05) * edge(y - 0.0, 0.05)
    centre_z = np.interp(-y, -hung.height_m, hung.centre[:, 2])
    offset = cloth - np.stack([0 * y, cloth[:, 1], centre_z], -1)
    now = np.maximum(np.linalg.norm(offset, axis=1), 1e-6)
    goal = hung.at(y, angle_around(mannequin.template))
    out = np.clip(goal - now, 0, 0.07) * free * (1 - sleeve)
    return cloth + offset * (out / now)[:, None]


def _skirt_weights(points: Vertices, lap_m: float) -> Float[np.ndarray, "verts 24"]:
    """Pelvis at the waist, both thighs further down, blended over the half width of the lap."""
    x, y, _ = points.T
    weights = np.zeros((len(points), 24))
    left = edge(x + lap_m, 2 * lap_m)
    leg = 0.95 * edge(-0.24 - y, 0.08 + 1.2 * lap_m)
    shin = 0.75 * edge(-0.68 - y, 0.35)
    weights[:, PELVIS] = 1 - leg
    weights[:, LEFT_HIP], weights[:, RIGHT_HIP] = leg * left, leg * (1 - left)
    for hip, knee in ((LEFT_HIP, LEFT_KNEE), (RIGHT_HIP, RIGHT_KNEE)):
        weights[:, knee] = weights[:, hip] * shin
        weights[:, hip] *= 1 - shin
    return weights


def skirt(
    mannequin: Mannequin,
    shaped: Vertices,
    top_y_m: float,
    hem_y_m: float,
    flare: float,
    folds_m: float,
    margin_m: float,
    lap_m: float,
) -> Mesh:
    """Cloth that hangs around both legs from the waist.

    Args:
        mannequin: The neutral body.
        shaped: The person's rest body.
        top_y_m: Neutral height of the waist.
        hem_y_m: Neutral height of the hem.
        flare: Metres of radius gained per metre of fall.
        folds_m: Depth of the folds at the hem.
        margin_m: Least distance from the skin.
        lap_m: Half width over which the cloth passes from one thigh to the other: wide for a
            closed skirt, narrow for a coat that is open in front.

    Returns:
        A sleeve; u once around (0 and 1 at the back), v from waist (0) to hem (1).
    """
    rows = max(8, round((top_y_m - hem_y_m) / 0.045))
    outline = profile(mannequin, shaped, top_y_m, hem_y_m, rows)
    down = np.linspace(0, 1, rows)
    slope = np.where(outline.height_m > -0.24, 0.0, flare)
    hung = outline.hung(slope, np.full(rows, margin_m))
    angle = np.linspace(-np.pi, np.pi, NUM_ANGLES)
    wave = np.cos(angle * 11) + 0.4 * np.cos(angle * 7 + 1)
    radius = hung.radius_m + folds_m * np.clip(down - 0.15, 0, None)[:, None] * (1 + wave)
    around = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], -1)
    vertices = (hung.centre[:, None] + radius[..., None] * around).reshape(-1, 3)
    neutral = np.repeat(hung.height_m, NUM_ANGLES)
    u, v = np.meshgrid(np.linspace(0, 1, NUM_ANGLES), down)
    placed = np.stack([vertices[:, 0], neutral, vertices[:, 2]], -1)
    mesh = Mesh(
        vertices=vertices,
        weights=_skirt_weights(placed, lap_m),
        faces=grid_faces(rows, NUM_ANGLES),
        uv=np.stack([u.ravel(), v.ravel()], -1),
    )
    return _compact(mesh, np.ones(len(mesh.faces), bool))


def grid_faces(rows: int, columns: int) -> Int[np.ndarray, "faces 3"]:
    """Triangles of a grid of vertices in row-major order."""
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    a, b, c, d = corner, corner + columns, corner + columns + 1, corner + 1
    return np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
