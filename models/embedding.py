"""Image embeddings of reference frames: CLIP's vision tower in the architecture of open_clip.

Without a weights file the tower has random weights from a fixed seed, and every record made with it
says so: it then tells images apart, it does not know what they show.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

TINY = "tiny"
TINY_TOWER = {
    "image_size": 64, "patch_size": 8, "width": 128, "layers": 4, "heads": 4, "mlp_ratio": 2.0,
    "output_dim": 64,
}  # fmt: skip
"""0.6 M parameters: the default, for tests and the demo."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class ImageEmbedder:
    """Images in [0, 1] to unit vectors; `source` says with which weights."""

    def __init__(
        self,
        architecture: str = TINY,
        weights: Path | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Build the tower.

        Args:
            architecture: `tiny`, or a name of open_clip such as `ViT-L-14`.
            weights: File of the whole open_clip model (safetensors, or tensors only in torch's
                format); None means random weights.
            seed: Of random weights.
            device: Where it runs.

        Raises:
            ValueError: If the architecture is unknown or the weights do not fit it.
        """
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            tower = _build_tower(architecture, weights)
        self.tower = tower.eval().requires_grad_(False).to(device)
        self.size_px = int(tower.image_size[0])
        self.source = f"open_clip {architecture}, random weights (seed {seed})"
        if weights is not None:
            with weights.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self.source = f"open_clip {architecture}, weights sha256 {digest}"

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n e"]:
        """Unit vectors of RGB images in [0, 1] of any size."""
        size = (self.size_px, self.size_px)
        resized = F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False)
        mean, std = (images.new_tensor(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
        embedded = self.tower((resized.clamp(0, 1) - mean) / std)
        return F.normalize(embedded, dim=-1)


def _build_tower(architecture: str, weights: Path | None) -> Any:
    import open_clip
    from open_clip.transformer import VisionTransformer

    if architecture == TINY:
        if weights is not None:
            raise ValueError("the tiny tower has no published weights; name an architecture")
        return VisionTransformer(**TINY_TOWER)
    if architecture not in open_clip.list_models():
        raise ValueError(f"architecture must be {TINY} or one of open_clip, got {architecture!r}")
    if weights is not None and not weights.is_file():
        raise ValueError(f"no weights at {weights}; download them or leave them out")
    path = None if weights is None else str(weights)
    model = open_clip.create_model(architecture, pretrained=path, weights_only=True)
    tower = model.visual
    if not isinstance(tower, nn.Module) or not hasattr(tower, "image_size"):
        raise ValueError(f"{architecture} has no plain vision tower; choose a ViT of open_clip")
    return tower
