"""What the generator can be told: bodies, camera, reference, image embedding and background.

Each part is optional, for the whole batch (None) or clip by clip (`keep`). A dropped part enters
the network as zero tokens or masked tokens and passes only through layers without bias, so a clip
with a dropped part gets the output of the model without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

CONDITION_NAMES = ("body", "camera", "reference", "image", "background")


@dataclass(frozen=True, kw_only=True)
class View:
    """The camera of every frame to generate."""

    K: Float[Tensor, "b t 3 3"]
    """Pixels."""
    T_camera_world: Float[Tensor, "b t 4 4"]
    size_px: tuple[int, int]
    """Height and width."""


@dataclass(frozen=True, kw_only=True)
class Bodies:
    """Surface points of the people to generate, the same template points for everybody."""

    points_world: Float[Tensor, "b p t n 3"]
    """World frame, metres. Padded people may hold anything finite."""
    is_visible: Bool[Tensor, "b p t"]
    """False for padded people and for frames in which a person must not act on the picture."""


@dataclass(frozen=True, kw_only=True)
class ReferenceBodies:
    """The same people, in the same order, as they stand in the reference picture."""

    points_world: Float[Tensor, "b p n 3"]
    """In the world of `T_camera_world` below, metres; any world will do."""
    is_visible: Bool[Tensor, "b p"]
    K: Float[Tensor, "b 3 3"]
    T_camera_world: Float[Tensor, "b 4 4"]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Everything one call of the network is conditioned on.

    Latents are scaled as the network's own (`ISADiT.latent_std`).
    """

    view: View | None = None
    """Where the camera is. Bodies need it; whether the 2D stream is *told* is `has_camera`."""
    has_camera: Bool[Tensor, "b"] | None = None
    """Clips whose camera enters as Plücker rays."""
    bodies: Bodies | None = None
    reference_latent: Float[Tensor, "b c h w"] | None = None
    reference_bodies: ReferenceBodies | None = None
    image_embedding: Float[Tensor, "b e"] | None = None
    """Global embedding of the reference picture, such as CLIP's."""
    background_latent: Float[Tensor, "b c k h w"] | None = None

    def __post_init__(self) -> None:
        needs_view = self.bodies is not None or self.has_camera is not None
        if needs_view and self.view is None:
            raise ValueError("conditions with bodies or camera need a view, got view=None")

    def without(self, *names: str) -> "Conditions":
        """The same conditions with whole parts dropped for every clip."""
        _check_names(names)
        fields = {
            "body": "bodies",
            "camera": "has_camera",
            "reference": "reference_latent",
            "image": "image_embedding",
            "background": "background_latent",
        }
        changes: dict[str, None] = {fields[name]: None for name in names}
        if "reference" in names:
            changes["reference_bodies"] = None
        return replace(self, **changes)

    def keep(self, kept: Mapping[str, Bool[Tensor, "b"]]) -> "Conditions":
        """Drop parts clip by clip: False drops. Parts that are not named stay."""
        _check_names(kept)
        changes: dict[str, Bodies | Tensor] = {}
        if "body" in kept and self.bodies is not None:
            is_visible = self.bodies.is_visible & kept["body"][:, None, None]
            changes["bodies"] = replace(self.bodies, is_visible=is_visible)
        if "camera" in kept and self.has_camera is not None:
            changes["has_camera"] = self.has_camera & kept["camera"]
        for name, field in (
            ("reference", "reference_latent"),
            ("image", "image_embedding"),
            ("background", "background_latent"),
        ):
            value: Tensor | None = getattr(self, field)
            if name in kept and value is not None:
                is_kept = kept[name].reshape(-1, *[1] * (value.ndim - 1))
                changes[field] = torch.where(is_kept, value, torch.zeros_like(value))
        return replace(self, **changes)


def _check_names(names: Mapping[str, Tensor] | tuple[str, ...]) -> None:
    unknown = sorted(set(names) - set(CONDITION_NAMES))
    if unknown:
        raise ValueError(f"conditions must be among {CONDITION_NAMES}, got {unknown}")
