"""Sizes and variants of the ISA-DiT."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ISADiTConfig:
    """Shape of one ISA-DiT.

    The paper leaves depth, width, points, frequencies and patch open; section 1.3 of
    its supplement is not public. The sizes are in `models/recipes/dit.py`.
    """

    width: int
    depth: int
    heads: int
    num_points: int
    """Surface points per person; the first ones of the body's farthest-point order."""
    max_frames: int = 17
    """Length of the clips it is trained on, 1 + 4k; generation refuses longer ones."""
    latent_channels: int = 16
    patch: int = 2
    """Latent cells per side of a 2D token."""
    frames_per_latent: int = 4
    ffn_ratio: float = 4.0
    ffn_ratio_3d: float = 4.0
    """0 leaves the feed-forward layers of the 3D stream out."""
    embedding_width: int | None = None
    """Width of the reference's image embedding; None builds no reference cross-attention."""
    num_image_tokens: int = 4
    """Tokens the image embedding is unfolded into."""
    use_ispe: bool = True
    ispe_gain: float = 1.0
    """Factor on the position encoding; without the local bias 3 learns sooner than 1."""
    ispe_max_cycles: float = 16.0
    """Highest frequency of the position encoding, cycles per NDC unit."""
    local_bias: bool = False
    reverse_flow: bool = True
    """Whether 3D tokens read 2D tokens; False: bodies only tell, they are not told."""
    joint_attention: bool = False
    """2D tokens see all frames at once instead of their frame, then their place over time."""
    isa_points: int | None = None
    """2D tokens see only so many points, those nearest to their tile; None: all of them. The cost
    of that direction then no longer grows with the number of people."""
    isa_tile: int = 4
    """Side of these tiles, 2D tokens."""
    qk_norm: bool = False
    near_m: float = 1.0
    far_m: float = 20.0
    reference_depth_m: float = 3.0
    """Depth with NDC z = 0, where the 2D tokens lie."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.patch < 1 or self.num_points < 1:
            raise ValueError(
                f"patch and num_points must be positive, got {self.patch}, {self.num_points}"
            )
        if self.isa_tile < 1 or (self.isa_points is not None and self.isa_points < 1):
            raise ValueError(
                f"isa_tile and isa_points must be positive, got {self.isa_tile}, {self.isa_points}"
            )
