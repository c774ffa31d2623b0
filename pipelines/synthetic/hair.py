"""Hair: a closed cap on the scalp, and locks (ribbons of strands) combed over it.

Locks grow from the scalp of the person's rest body, follow a parting, fall with gravity and stay
outside the skin. One texture serves both: its left half is the cap, its right half four locks.
"""

from dataclasses import replace

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Bool, Float, UInt8
from scipy.spatial import KDTree

from models.body.surface import farthest_points
from pipelines.synthetic.garment import grid_faces, join
from pipelines.synthetic.haircut import HairCut
from pipelines.synthetic.mannequin import Mannequin, Mesh, Vertices, vertex_normals
from pipelines.synthetic.skin import EYE_Y_M, hairline
from pipelines.synthetic.texture import Points, Values, blend, edge, strands, to_image, waves

HEAD, SPINE3 = 15, 9
CROWN = np.array([0.0, 0.505, 0.045])
TAIL = np.array([0.0, 0.44, -0.03])
"""Where strands start (short hair) and where bound hair is gathered; neutral body, metres."""
CAP_BORDER_M = 0.02
CAP_DEPTH_M = 0.16
"""The cap's v runs over distances from the hairline, from minus the border to depth - border."""
NUM_LOCK_PICTURES = 4
FACE_HALF_WIDTH_M = 0.066


def squashed_ears(
    mannequin: Mannequin, shaped: Vertices, betas: Float[np.ndarray, "10"]
) -> Vertices:
    """The body with its ears pressed to the head, as under hanging hair."""
    flat = shaped.copy()
    ears = mannequin.ears
    flat[ears] = 0.2 * shaped[ears] + 0.8 * mannequin.draped(betas)[ears]
    return flat


def scalp_depth(mannequin: Mannequin, recession_m: float) -> Float[np.ndarray, "verts"]:
    """Metres from the hairline of each body vertex, positive on the scalp."""
    template = mannequin.template
    outside = mannequin.ears | (template[:, 1] < 0.25)
    return np.where(outside, -1.0, hairline(template, recession_m))


def make_hair(
    mannequin: Mannequin,
    shaped: Vertices,
    cut: HairCut,
    under_hat: Bool[np.ndarray, "verts"] | None,
    rng: np.random.Generator,
) -> Mesh:
    """Cap, locks and tail of a style on the shaped rest body (body frame, metres)."""
    inside_m = scalp_depth(mannequin, cut.recession_m)
    normals = vertex_normals(shaped, mannequin.faces)
    if under_hat is not None:
        cut = replace(cut, cap_m=0.006, side_cap_m=0.006)
    parts = [_cap(mannequin, shaped, normals, inside_m, cut, rng)]
    roots = inside_m > 0.006
    if under_hat is not None:
        roots &= ~under_hat
    if cut.num_locks and roots.sum() > cut.num_locks:
        parts.append(_locks(mannequin, shaped, normals, np.flatnonzero(roots), cut, rng))
    if cut.tail:
        head = shaped[inside_m > 0].mean(0) - mannequin.template[inside_m > 0].mean(0)
        parts += _tail(cut, head, shaped, normals)
    return join(parts)


def _rise(template: Vertices, inside_m: Values, cut: HairCut) -> Values:
    """Height of the cap over the scalp: thin at the hairline."""
    top = edge(template[:, 1] - 0.42, 0.06)
    full = cut.side_cap_m + (cut.cap_m - cut.side_cap_m) * top
    return 0.0015 + full * edge(inside_m / (0.012 + 0.8 * full), 1.0)


def _combed(points: Vertices, cut: HairCut) -> Vertices:
    """Direction in which hair lies at points near the scalp of the neutral body (not unit)."""
    if cut.tail in ("bun", "ponytail"):
        return TAIL - points
    away = points - CROWN + (0, 0, 0.02)  # over the crown hair lies to the front
    if cut.parting_x_m is None:
        return away
    front = edge(points[:, 2] - 0.02, 0.05)[:, None]
    x = points[:, 0] - cut.parting_x_m
    aside = np.stack([np.sign(x) * 0.1, -0.02 + 0 * x, -0.03 + 0 * x], -1)
    return front * aside + (1 - front) * away


def _cap(
    mannequin: Mannequin, shaped: Vertices, normals: Vertices, inside_m: Values, cut: HairCut,
    rng: np.random.Generator,
) -> Mesh:  # fmt: skip
    """The closed part; strands run along v, which is the distance from the hairline."""
    template = mannequin.template
    keep = (inside_m > -CAP_BORDER_M * 0.7)[mannequin.faces].all(1)
    used, faces = np.unique(mannequin.faces[keep], return_inverse=True)
    points = template[used].astype(np.float32)
    rise = _rise(points, inside_m[used], cut)
    rise += (
        (0.12 + 0.3 * cut.curl) * np.minimum(rise, 0.012) * np.clip(waves(points, rng, 0.05), -1, 1)
    )
    vertices = shaped[used] + normals[used] * rise[:, None]
    faces = faces.reshape(-1, 3)
    pole = TAIL if cut.tail in ("bun", "ponytail") else CROWN
    across, along = points[:, 0], points - pole
    if cut.tail in ("bun", "ponytail"):
        angle = np.arctan2(np.abs(across), along[:, 1])
    else:
        part = cut.parting_x_m or 0.0
        angle = np.arctan2(np.abs(across - part), along[:, 2])
        if cut.parting_x_m is not None:
            front = np.pi / 2 - 10 * np.maximum(along[:, 2], 0)
            angle = np.where(along[:, 2] > 0, front, angle)
    uv = np.stack([np.clip(angle / np.pi, 0.02, 0.98) / 2, _cap_v(inside_m[used])], -1)
    return Mesh(
        vertices=vertices.astype(np.float32),
        weights=_head_weights(points[:, 1]).astype(np.float32),
        faces=faces.astype(np.int32),
        uv=uv.astype(np.float32),
        normals=vertex_normals(vertices, faces).astype(np.float32),
    )


def _cap_v(inside_m: Values) -> Values:
    return np.clip((inside_m + CAP_BORDER_M) / CAP_DEPTH_M, 0.01, 0.99)


def _head_weights(height_m: Float[np.ndarray, "verts"]) -> Float[np.ndarray, "verts 24"]:
    """All head above the chin, fading to the upper spine below the shoulders."""
    weights = np.zeros((len(height_m), 24))
    head = np.clip((height_m - 0.08) / 0.2, 0, 1)
    weights[:, HEAD], weights[:, SPINE3] = head, 1 - head
    return weights


def _unit(vectors: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _locks(
    mannequin: Mannequin, shaped: Vertices, normals: Vertices,
    scalp: np.ndarray, cut: HairCut, rng: np.random.Generator,
) -> Mesh:  # fmt: skip
    """Ribbons grown from evenly spread roots, pushed out of the body as they go."""
    template = mannequin.template
    roots = scalp[farthest_points(template[scalp], min(cut.num_locks, len(scalp)))]
    start, out = template[roots], normals[roots]
    is_fringe = (start[:, 2] > 0.105) & (np.abs(start[:, 0]) < 0.06) & cut.has_fringe
    comb = _combed(start, cut)
    comb[is_fringe] = (0.0, -0.3, 1.0)
    comb = _unit(comb - (comb * out).sum(1, keepdims=True) * out)
    top = edge(start[:, 1] - 0.43, 0.05)
    length = cut.side_m + (cut.top_m - cut.side_m) * top
    if cut.level_y_m is not None:
        length = (start[:, 1] - cut.level_y_m) * 1.06 + 0.05 * top
    length = np.where(is_fringe, 0.25 * (start[:, 1] - EYE_Y_M) + 0.045, length)
    length = length * rng.uniform(0.82, 1.12, len(roots))
    direction = _unit(
        comb * (1 - cut.lift) + out * cut.lift + rng.normal(0, 0.05 + 0.1 * cut.lift, comb.shape)
    )
    layer_m = _rise(start, scalp_depth(mannequin, cut.recession_m)[roots], cut)
    layer_m = layer_m * 0.75 + rng.uniform(0.0005, 0.006, len(roots))
    rows = 9 if cut.level_y_m is not None else 4
    reach = np.flatnonzero((template[:, 1] > -0.1) & (np.abs(template[:, 0]) < 0.3))
    tree = KDTree(shaped[reach])
    point = shaped[roots] + out * layer_m[:, None]
    path, upright = [point], [out]
    step = (length / (rows - 1))[:, None]
    for _ in range(rows - 1):
        direction = _unit(direction + cut.weight * step * np.array([0, -14.0, 0]))
        wave = rng.normal(0, 0.3 * cut.curl**1.5, direction.shape)
        following = point + _unit(direction + wave) * step
        following, surface = _outside(following, tree, shaped[reach], normals[reach], layer_m)
        if cut.level_y_m is not None:
            following = _beside_face(following, shaped, is_fringe)
        direction = _unit(0.5 * direction + 0.5 * _unit(following - point))
        point = following
        path.append(point)
        upright.append(surface)
    return _ribbons(np.stack(path, 1), np.stack(upright, 1), cut, rng)


def _outside(
    points: Points,
    tree: KDTree,
    surface: Vertices,
    normals: Vertices,
    margin_m: Values,
) -> tuple[Points, Points]:
    """Points pushed to at least `margin_m` outside the surface, and the surface's normals."""
    distance, nearest = tree.query(points, k=4)
    share = 1 / (np.asarray(distance) + 1e-3)
    share /= share.sum(1, keepdims=True)
    near = np.einsum("nk,nkx->nx", share, surface[nearest])
    normal = _unit(np.einsum("nk,nkx->nx", share, normals[nearest]))
    depth = ((points - near) * normal).sum(1)
    return points + normal * np.maximum(margin_m - depth, 0)[:, None], normal


def _beside_face(points: Points, shaped: Vertices, is_fringe: np.ndarray) -> Points:
    """Hanging locks leave the face free."""
    head_top = shaped[:, 1].max()
    before = (points[:, 2] > 0.09) & (points[:, 1] < head_top - 0.07) & ~is_fringe
    moved = points.copy()
    side = np.where(points[:, 0] < 0, -1.0, 1.0)
    moved[before, 0] = (side * np.maximum(np.abs(points[:, 0]), FACE_HALF_WIDTH_M))[before]
    return moved


def _ribbons(
    paths: Float[np.ndarray, "locks rows 3"], upright: Float[np.ndarray, "locks rows 3"],
    cut: HairCut, rng: np.random.Generator,
) -> Mesh:  # fmt: skip
    locks, rows = paths.shape[:2]
    tangent = np.gradient(paths, axis=1)
    side = _unit(np.cross(upright, tangent))
    width_m = 0.017 if cut.level_y_m is not None else 0.013
    width = width_m * rng.uniform(0.8, 1.25, locks)
    down = np.linspace(0, 1, rows)
    half = np.einsum("l,r->lr", width, 1 - 0.35 * down)[..., None]
    vertices = np.stack([paths - side * half, paths + side * half], 2)
    tilt = rng.normal(0, 0.25, (locks, 1, 3))
    normals = _unit(np.stack([upright - 0.4 * side + tilt, upright + 0.4 * side + tilt], 2))
    picture = rng.integers(NUM_LOCK_PICTURES, size=locks)
    u = 0.5 + (picture[:, None, None] + np.array([0.03, 0.97])) / (2 * NUM_LOCK_PICTURES)
    u = np.broadcast_to(u, (locks, rows, 2))
    v = np.broadcast_to(0.01 + 0.98 * down[None, :, None], (locks, rows, 2))
    quads = grid_faces(rows, 2)
    faces = quads[None] + (np.arange(locks) * rows * 2)[:, None, None]
    flat = rearrange(vertices, "l r two xyz -> (l r two) xyz")
    return Mesh(
        vertices=flat.astype(np.float32),
        weights=_head_weights(flat[:, 1]).astype(np.float32),
        faces=rearrange(faces, "l f corner -> (l f) corner").astype(np.int32),
        uv=rearrange(np.stack([u, v], -1), "l r two uv -> (l r two) uv").astype(np.float32),
        normals=rearrange(normals, "l r two xyz -> (l r two) xyz").astype(np.float32),
    )


def _tail(
    cut: HairCut, head: Float[np.ndarray, "3"], shaped: Vertices, normals: Vertices
) -> list[Mesh]:
    """Gathered hair: a knot, a tail that falls down the back, or a braid behind each ear."""
    t = np.linspace(0, 1, 16)
    if cut.tail == "bun":
        centre = TAIL + head + (0, 0.008, -0.022)
        path = centre + np.stack([0 * t, 0.034 * (1 - 2 * t), 0 * t], -1)
        return [_tube(path, 0.040 * np.sqrt(np.maximum(1 - (2 * t - 1) ** 2, 0.02)))]
    if cut.tail == "ponytail":
        drop = cut.tail_m * np.maximum(t - 0.08, 0) ** 1.15
        back = -0.035 * np.sin(np.minimum(t * 3, 1) * np.pi / 2) + 0.035 * t * t
        path = TAIL + head + np.stack([0 * t, 0.012 * np.sin(t * np.pi) - drop, back], -1)
        path[:, 2] = np.minimum(path[:, 2], -0.035 + head[2] - 0.05 * edge(0.33 - path[:, 1], 0.1))
        thick = 0.026 * edge(t + 0.05, 0.3) * (1 - 0.85 * t**2.2) + 0.002
        return [_tube(path, thick)]
    braids = []
    t = np.linspace(0, 1, 40)
    plait = (0.75 + 0.35 * np.abs(np.sin(t * np.pi * 8))) * (1 - 0.5 * t**3)
    plait[-3:] *= (0.8, 0.5, 0.05)
    for side in (-1.0, 1.0):
        start = np.array([side * 0.062, 0.345, 0.03]) + head
        forward = 0.11 * edge(t, 0.45)
        path = start + np.stack([side * 0.028 * t, -cut.tail_m * t, forward], -1)
        tree = KDTree(shaped)
        path, _ = _outside(path, tree, shaped, normals, np.full(len(t), 0.016))
        braids.append(_tube(path, 0.0155 * plait))
    return braids


def _tube(
    path: Float[np.ndarray, "rows 3"], radius: Float[np.ndarray, "rows"], columns: int = 11
) -> Mesh:
    """A closed sleeve around a path; strands run along it."""
    tangent = _unit(np.gradient(path, axis=0))
    side = _unit(np.cross(tangent, np.array([0.0, 0.05, 1.0])))
    front = np.cross(side, tangent)
    angle = np.linspace(0, 2 * np.pi, columns)
    ring = np.cos(angle)[:, None] * side[:, None] + np.sin(angle)[:, None] * front[:, None]
    vertices = rearrange(path[:, None] + ring * radius[:, None, None], "r c xyz -> (r c) xyz")
    u = 0.02 + 0.46 * np.abs(angle / np.pi - 1)
    v = np.linspace(0.35, 0.98, len(path))
    uv = np.stack([repeat(u, "c -> r c", r=len(path)), repeat(v, "r -> r c", c=columns)], -1)
    return Mesh(
        vertices=vertices.astype(np.float32),
        weights=_head_weights(vertices[:, 1]).astype(np.float32),
        faces=grid_faces(len(path), columns)[:, ::-1].astype(np.int32),
        uv=rearrange(uv, "r c uv -> (r c) uv").astype(np.float32),
        normals=rearrange(ring, "r c xyz -> (r c) xyz").astype(np.float32),
    )


def paint_hair(
    cut: HairCut, colour: Float[np.ndarray, "3"], rng: np.random.Generator, size: int = 256
) -> UInt8[np.ndarray, "size columns 4"]:
    """Cap on the left (v from the hairline inwards), four locks on the right (v root to tip)."""
    v, u = (np.indices((size, size)) + 0.5).reshape(2, -1).astype(np.float32) / size
    bend = 0.06 * cut.curl * (np.sin(v * 34 + 5 * u) + np.sin(v * 21 + 9 * u))
    shade = 0.6 * strands(u * np.pi + bend, rng, 130) + 0.5 * strands(u * np.pi + bend, rng, 40)
    plane = np.stack([u, v, 0 * u], -1)
    curls = waves(plane, rng, 0.035) + 0.7 * waves(plane, rng, 0.08)
    shade = shade * (1 - 0.8 * cut.curl) + curls * 0.8 * cut.curl
    inside_m = v * CAP_DEPTH_M - CAP_BORDER_M
    ragged = 0.0035 + 0.003 * strands(u * np.pi, rng, 120) + 0.0015 * strands(u * np.pi, rng, 60)
    cap = to_image(_strand_colours(colour, shade), size, (inside_m - ragged) / 0.002)
    locks = _paint_locks(cut, colour, u, v, rng, size)
    return np.concatenate([cap, locks], axis=1)


def _paint_locks(
    cut: HairCut, colour: np.ndarray, u: Values, v: Values, rng: np.random.Generator, size: int
) -> np.ndarray:
    number = np.floor(u * NUM_LOCK_PICTURES)
    across = u * NUM_LOCK_PICTURES - number
    sway = 0.10 * cut.curl * np.sin(v * 14 + number * 2)
    angle = (across + sway + number * 3.7) * np.pi
    shade = 0.8 * strands(angle, rng, 34) + 0.4 * strands(angle, rng, 60)
    shade = shade + 0.35 * np.cos((v - 0.35) * 4) - 0.5 * edge(0.2 - v, 0.2)
    gaps = strands(angle, rng, 26)
    middle = 1 - np.abs(2 * (across + sway) - 1)
    tip = 0.82 + 0.13 * gaps - 0.25 * (1 - middle) ** 2
    inside = np.minimum((tip - v) * 3, middle * 1.6 - 0.22 - 0.18 * gaps * (0.3 + v))
    return to_image(_strand_colours(colour, shade), size, inside * 8)


def _strand_colours(colour: Float[np.ndarray, "3"], shade: Values) -> Float[np.ndarray, "texels 3"]:
    """Hair between its shadows and its shine."""
    shine = colour * 1.1 + 0.085
    lit = blend(np.tile(colour, (len(shade), 1)), shine, edge(shade, 2.2))
    return lit * np.clip(0.88 + 0.10 * shade, 0.6, 1.2)[:, None]
