"""Dressed, textured people for the synthetic renderer, each a pure function of a seed."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int32, UInt8

from models.body.model import BodyModel
from pipelines.synthetic import garment, skin
from pipelines.synthetic.fabric import paint_cloth
from pipelines.synthetic.hair import make_hair, paint_hair, scalp_depth, squashed_ears
from pipelines.synthetic.mannequin import Mannequin, Mesh
from pipelines.synthetic.outfit import (
    CUTS,
    Cloth,
    Outfit,
    Skirt,
    draw_outfit,
    looseness,
    thickness_m,
)
from pipelines.synthetic.scanned import ScanSpec, read_picture, scan_betas, scanned_mesh
from pipelines.synthetic.texture import Points, blend, edge, make_atlas, to_image

CUT_MARGIN_M = 0.03
"""Cloth is painted this far beyond its edge, so that filtering meets no foreign colour."""
MAX_SPAN_M = 0.02
"""How far above the bottom of a hollow cloth may hang, beyond its thickness."""
CUT_RAMP_M = 0.012
"""Half width of the alpha ramp across a cut: two texels of 6 mm on the atlas at 512."""
SKIRT_TOP_Y_M = -0.17
SHOE_HIDES_M = 0.025
SKIRT_HIDES_TO_M = 0.04
"""Legs are left out down to this far above the hem."""
OPEN_COAT = 0.07
"""Half width of the opening of a coat below the waist, as a share of the way around."""


@dataclass(frozen=True, kw_only=True)
class MeshPart:
    """One skinned mesh of a character; all parts move with the same `T_world_joint`."""

    name: str
    """What it is: skin, eyes, hair, top, bottom, shoes, skirt, jacket, hat."""
    vertices_rest: Float[np.ndarray, "verts 3"]
    """Rest vertices of this character (betas already applied), body frame in T-pose, metres.

    The same frame as `BodyModel.shape(betas)`: pose them with `models.body.model.skin`.
    """
    weights: Float[np.ndarray, "verts 24"]
    """Skinning weights, rows sum to 1."""
    faces: Int32[np.ndarray, "faces 3"]
    """Triangles, counter-clockwise seen from outside."""
    uv: Float[np.ndarray, "verts 2"]
    """Texture position of each vertex in [0, 1]; (0, 0) is the upper left texel corner."""
    texture: UInt8[np.ndarray, "height width 4"]
    """RGBA, sRGB; alpha is a cut-out: discard fragments below 128 (it ramps there, so that linear
    filtering cuts a smooth line), draw all others opaque."""
    normals_rest: Float[np.ndarray, "verts 3"] | None = None
    """Normals to shade with where the triangles' own would show (hair); None: the triangles'."""
    is_two_sided: bool = False
    """True for open cloth and locks of hair: draw both sides, flip the normal of back faces."""
    posedirs: Float[np.ndarray, "verts 3 207"] | None = None
    """Pose corrections of a licensed body, as in `BodyModel`; the free body has none."""


@dataclass(frozen=True, kw_only=True)
class Character:
    """One synthetic person: a body shape and what is worn on it."""

    name: str
    betas: Float[np.ndarray, "10"]
    """Body shape, same meaning as in `BodyTracks`."""
    parts: tuple[MeshPart, ...]
    """Meshes to draw; together they are the person's silhouette."""


class Tailor:
    """Makes characters on one body; prepares the body once (about a second)."""

    def __init__(self, body: BodyModel, texture_px: int):
        self._mannequin = Mannequin(body)
        hollows = {f"hollow_{n}": value for n, value in self._mannequin.hollow_m.items()}
        self._atlas = make_atlas(body, texture_px, hollows)

    def make(self, seed: int) -> Character:
        """The person of a seed."""
        rng = np.random.default_rng((seed, 0x15A4D))
        outfit = draw_outfit(rng)
        shaped = self._mannequin.shaped(outfit.betas)
        parts, covers = self._cloths(outfit, rng)
        if outfit.skirt is not None:
            parts.append(self._skirt(outfit.skirt, shaped, rng))
            if not outfit.skirt.is_open:
                covers.append(self._under_skirt(outfit.skirt))
        ground = self._mannequin.template[:, 1].min()
        in_shoe = ground + outfit.shoe_top_m - self._mannequin.template[:, 1]
        covers.append(in_shoe + SHOE_HIDES_M)
        if outfit.hair.name != "bald":
            covers.append(scalp_depth(self._mannequin, outfit.hair.recession_m))
        if outfit.hair.covers_ears:
            shaped = squashed_ears(self._mannequin, shaped, outfit.betas)
        parts += self._hair(outfit, shaped, rng)
        shoe = garment.shoes(self._mannequin, shaped, outfit.shoe_top_m, 0.007)
        parts.append(_part("shoes", shoe, _paint_shoe(outfit, rng)))
        eye = garment.eyes(self._mannequin, shaped)
        parts.append(_part("eyes", eye, skin.paint_eye(outfit.face, rng)))
        bare = garment.skin_mesh(self._mannequin, shaped, covers)
        recession_m = None if outfit.hair.name == "bald" else outfit.hair.recession_m
        texture = skin.paint_skin(self._atlas, outfit.face, recession_m, rng)
        parts.append(_part("skin", bare, texture))
        return Character(
            name=f"{seed:06d}-{outfit.name}",
            betas=outfit.betas.astype(np.float32),
            parts=tuple(parts),
        )

    def _cloths(
        self, outfit: Outfit, rng: np.random.Generator
    ) -> tuple[list[MeshPart], list[np.ndarray]]:
        """Parts of the cloths, and how deep inside each every body vertex lies."""
        parts = []
        covers = [CUTS[cloth.name](self._mannequin.template, cloth) for cloth in outfit.cloths]
        for layer, (cloth, inside_m) in enumerate(zip(outfit.cloths, covers, strict=True)):
            over = np.max(covers[layer + 1 :], axis=0) if covers[layer + 1 :] else None
            thickness = thickness_m(self._mannequin.template, cloth)
            span_m = MAX_SPAN_M * looseness(self._mannequin.template, cloth)
            mesh = garment.layer(
                self._mannequin, outfit.betas, inside_m, thickness, span_m, cloth.hang_slope, over
            )
            parts.append(_part(cloth.name, mesh, self._paint(cloth, rng), is_two_sided=True))
        return parts, covers

    def _paint(self, cloth: Cloth, rng: np.random.Generator) -> np.ndarray:
        """Texture of a cloth on the body's atlas; its alpha is the cut."""
        points = self._atlas.position
        inside_m = CUTS[cloth.name](points, cloth)
        near = inside_m > -CUT_MARGIN_M
        colours = np.tile(cloth.colours[0].astype(np.float32), (len(points), 1))
        colours[near] = paint_cloth(
            points[near], inside_m[near], cloth.pattern, cloth.colours, cloth.detail, rng
        )
        shade = 0.3 * edge(self._atlas.masks["hollow_40"], 0.02)
        colours = colours * (1 - shade)[:, None]
        return to_image(colours, self._atlas.size, inside_m / CUT_RAMP_M)

    def _under_skirt(self, skirt: Skirt) -> np.ndarray:
        """How deep under the skirt each body vertex lies, metres."""
        x, y, _ = self._mannequin.template.T
        under = np.minimum(SKIRT_TOP_Y_M - y, y - skirt.hem_y_m - SKIRT_HIDES_TO_M)
        return np.where(np.abs(x) < 0.3, under, -1.0)

    def _skirt(self, skirt: Skirt, shaped: np.ndarray, rng: np.random.Generator) -> MeshPart:
        mesh = garment.skirt(
            self._mannequin, shaped, SKIRT_TOP_Y_M, skirt.hem_y_m, skirt.flare, skirt.folds_m,
            skirt.margin_m, 0.07 if skirt.is_open else 0.21,
        )  # fmt: skip
        texture = _paint_skirt(skirt, self._atlas.size // 2, rng)
        return _part("skirt", mesh, texture, is_two_sided=True)

    def _hair(self, outfit: Outfit, shaped: np.ndarray, rng: np.random.Generator) -> list[MeshPart]:
        if outfit.hair.name == "bald":
            return []
        hats = [cloth for cloth in outfit.cloths if cloth.name == "hat"]
        under = CUTS["hat"](self._mannequin.template, hats[0]) > -0.005 if hats else None
        mesh = make_hair(self._mannequin, shaped, outfit.hair, under, rng)
        return [_part("hair", mesh, paint_hair(outfit.hair, outfit.face.hair, rng), True)]


def _part(name: str, mesh: Mesh, texture: np.ndarray, is_two_sided: bool = False) -> MeshPart:
    return MeshPart(
        name=name,
        vertices_rest=mesh.vertices,
        weights=mesh.weights,
        faces=mesh.faces,
        uv=mesh.uv,
        texture=texture,
        normals_rest=mesh.normals,
        is_two_sided=is_two_sided,
    )


def _paint_skirt(skirt: Skirt, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cloth around the legs: u once around from the back, hem at v = 1."""
    v, u = (np.indices((size, size)) + 0.5).reshape(2, -1).astype(np.float32) / size
    around = (2 * u - 1) * np.pi
    y = SKIRT_TOP_Y_M + v * (skirt.hem_y_m - SKIRT_TOP_Y_M)
    # Points stay above the crotch, where the pattern runs around the torso, not around a leg.
    points: Points = np.stack([0.2 * np.sin(around), y, 0.03 + 0.2 * np.cos(around)], -1)
    points[:, 1] = np.maximum(y * 0.38, -0.4)
    hem_m = (1 - v) * (SKIRT_TOP_Y_M - skirt.hem_y_m)
    colours = paint_cloth(points, hem_m, skirt.pattern, skirt.colours, "plain", rng)
    fold = np.cos(around * 11) + 0.4 * np.cos(around * 7 + 1)
    depth = 0.05 + min(skirt.folds_m, 0.012) * 12
    colours = colours * (1 + depth * fold * edge(v, 0.7))[:, None]
    if skirt.is_open:
        hem_m = np.minimum(hem_m, np.abs(u - 0.5) - OPEN_COAT * (0.4 + 0.6 * v))
    return to_image(colours, size, hem_m / CUT_RAMP_M)


def _paint_shoe(outfit: Outfit, rng: np.random.Generator, size: int = 64) -> np.ndarray:
    """Side view of a shoe, heel to toe and top to sole: upper, toe cap, laces, stripe, sole."""
    v, u = (np.indices((size, size)) + 0.5).reshape(2, -1) / size
    main, second, third = outfit.shoe_colours
    colours = np.tile(main, (size * size, 1))
    is_light = main.mean() > 0.6
    if rng.random() < 0.4:
        slant = np.abs((u - 0.45 + 0.3 * (v - 0.5)) % 0.14 - 0.07)
        stripe = edge(0.02 - slant, 0.01) * (np.abs(u - 0.42) < 0.12)
        colours = blend(colours, third, stripe * (v > 0.3))
    if rng.random() < 0.5:
        colours = blend(colours, second, edge(u - 0.82, 0.02))
    seam = edge(0.016 - np.abs(u - 0.80 + 0.1 * v), 0.01) + edge(0.016 - np.abs(u - 0.2), 0.01)
    colours = colours * (1 - 0.2 * seam)[:, None]
    lace = edge(0.03 - np.abs(v % 0.12 - 0.06), 0.01) * (np.abs(u - 0.58) < 0.09) * (v < 0.5)
    colours = blend(colours, second if is_light else main * 0.6 + 0.3, 0.7 * lace)
    collar = edge(0.07 - v, 0.03) * (u < 0.5)
    colours = blend(colours, main * 0.45, collar)
    sole = np.full(3, rng.choice([0.84, 0.84, 0.10, 0.45]))
    line = edge(v - 0.72, 0.02)
    colours = blend(colours, sole, line)
    return to_image(colours * (1 - 0.35 * edge(0.03 - np.abs(v - 0.72), 0.02))[:, None], size)


def _scanned_character(seed: int, texture_px: int, scan: ScanSpec) -> Character:
    betas = scan_betas(seed)
    mesh, bends = scanned_mesh(scan, betas)
    part = _part("skin", mesh, read_picture(scan.skin.file, texture_px))
    name = f"{seed:06d}-{scan.skin.file.stem}"
    return Character(name=name, betas=betas, parts=(replace(part, posedirs=bends),))


_TAILORS: dict[tuple[str, int], Tailor] = {}


def make_character(
    seed: int, body: BodyModel, texture_px: int = 512, scan: ScanSpec | None = None
) -> Character:
    """A person; the same for the same seed, body, texture size and scan.

    Args:
        seed: Any non-negative number; each is another person.
        body: The shipped free body; not looked at with `scan`.
        texture_px: Side of the body's texture.
        scan: The user's own body and skin; the seed chooses a shape.

    Raises:
        ValueError: If the body brings no UVs and no scan is given, or the scan does not fit.
    """
    if scan is not None:
        return _scanned_character(seed, texture_px, scan)
    key = (body.digest, texture_px)
    if key not in _TAILORS:
        _TAILORS[key] = Tailor(body, texture_px)
    return _TAILORS[key].make(seed)
