"""LatentRecord: a clip as its VAE sees it (`<id>.latent.npz`, in side-car shards)."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float32, Int64

from storage_schemas.arrays import check_finite, check_shape, freeze, read_npz, write_npz

TEXT = ("vae_digest", "embedding_source", "window")
WHOLE = ("reference_frames",)


@dataclass(frozen=True, kw_only=True, slots=True)
class LatentRecord:
    """Posterior of the clip, latents of its background and of reference frames, embeddings."""

    mean: Float32[np.ndarray, "channels latents height width"]
    logvar: Float32[np.ndarray, "channels latents height width"]
    background: Float32[np.ndarray, "channels latents height width"]
    """Posterior mean of the plate."""
    reference_frames: Int64[np.ndarray, " references"]
    """Frames of the window that were encoded as single images."""
    reference: Float32[np.ndarray, "references channels height width"]
    image_embedding: Float32[np.ndarray, "references embedding"]
    vae_digest: str
    """SHA-256 of the weights that made the latents."""
    embedding_source: str
    """Architecture and weights of the embedding; random weights are called random."""
    window: str
    """JSON of the crop, resize and frame choice that came before encoding."""

    def __post_init__(self) -> None:
        """Validate."""
        for field in fields(self):
            if field.name in TEXT:
                continue
            dtype = np.int64 if field.name in WHOLE else np.float32
            array = freeze(getattr(self, field.name), dtype)
            object.__setattr__(self, field.name, array)
            check_finite(field.name, array)
        check_shape("mean", self.mean, (None, None, None, None))
        check_shape("logvar", self.logvar, self.mean.shape)
        check_shape("background", self.background, self.mean.shape)
        references = len(self.reference_frames)
        channels, _, height, width = self.mean.shape
        check_shape("reference", self.reference, (references, channels, height, width))
        check_shape("image_embedding", self.image_embedding, (references, None))

    def to_npz(self) -> bytes:
        """Bytes for the shard."""
        return write_npz({f.name: np.asarray(getattr(self, f.name)) for f in fields(self)})

    @classmethod
    def from_npz(cls, data: bytes) -> "LatentRecord":
        """Read what `to_npz` wrote."""
        arrays = read_npz(data)
        texts = {name: str(arrays.pop(name)) for name in TEXT}
        return cls(**texts, **arrays)  # pyright: ignore[reportArgumentType]
