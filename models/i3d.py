"""The I3D network that video distances (FVD) are measured with, as its published weights name it.

Layout of "Quo Vadis" (arXiv 1705.07750) with TensorFlow's padding, as in `i3d_pretrained_400.pt`;
without weights it is of no use.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

NUM_CLASSES = 400
Triple = tuple[int, int, int]
POOLS: dict[str, tuple[Triple, Triple]] = {
    "MaxPool3d_2a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_3a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
}
MIXED = {
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}
"""Channels in, then of the branches: 1; 1 to 3; 1 to 3; pool to 1."""
ORDER = (
    "Conv3d_1a_7x7", "MaxPool3d_2a_3x3", "Conv3d_2b_1x1", "Conv3d_2c_3x3", "MaxPool3d_3a_3x3",
    "Mixed_3b", "Mixed_3c", "MaxPool3d_4a_3x3", "Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e",
    "Mixed_4f", "MaxPool3d_5a_2x2", "Mixed_5b", "Mixed_5c",
)  # fmt: skip


def pad_same(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """TensorFlow's SAME padding: the odd pixel goes behind."""
    pads: list[int] = []
    for size, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        total = max(k - (size % s or s), 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


class Unit(nn.Module):
    """Convolution, and unless it is the last one, batch norm and ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, is_last: bool = False):
        super().__init__()
        self.kernel: Triple = (kernel, kernel, kernel)
        self.stride: Triple = (stride, stride, stride)
        self.conv3d = nn.Conv3d(c_in, c_out, kernel, stride, bias=is_last)
        self.bn = nn.Identity() if is_last else nn.BatchNorm3d(c_out, eps=1e-3)
        self.is_last = is_last

    def forward(self, x: Tensor) -> Tensor:
        """Clip to clip, sides over the stride rounded up."""
        x = self.bn(self.conv3d(pad_same(x, self.kernel, self.stride)))
        return x if self.is_last else F.relu(x)


class Pool(nn.Module):
    """Largest value of each block."""

    def __init__(self, kernel: Triple, stride: Triple):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Clip to clip, sides over the stride rounded up."""
        return F.max_pool3d(pad_same(x, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """Four branches side by side."""

    def __init__(self, c_in: int, one: int, mid1: int, three1: int, mid2: int, three2: int, p: int):
        super().__init__()
        self.b0 = Unit(c_in, one, 1)
        self.b1a, self.b1b = Unit(c_in, mid1, 1), Unit(mid1, three1, 3)
        self.b2a, self.b2b = Unit(c_in, mid2, 1), Unit(mid2, three2, 3)
        self.b3a, self.b3b = Pool((3, 3, 3), (1, 1, 1)), Unit(c_in, p, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Clip to clip of the same sides."""
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x)))
        return torch.cat(branches, dim=1)


class I3D(nn.Module):
    """Kinetics-400 logits of clips, which serve as their features."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = {
            "Conv3d_1a_7x7": Unit(3, 64, 7, 2),
            "Conv3d_2b_1x1": Unit(64, 64, 1),
            "Conv3d_2c_3x3": Unit(64, 192, 3),
        }
        pools = {name: Pool(*sizes) for name, sizes in POOLS.items()}
        mixed = {name: Mixed(*widths) for name, widths in MIXED.items()}
        for name, part in (convolutions | pools | mixed).items():
            self.add_module(name, part)
        self.logits = Unit(1024, NUM_CLASSES, 1, is_last=True)

    def forward(self, video: Float[Tensor, "b 3 t 224 224"]) -> Float[Tensor, "b 400"]:
        """Features of clips in [-1, 1] of nine frames or more."""
        x = video
        for name in ORDER:
            x = self.get_submodule(name)(x)
        x = F.avg_pool3d(x, (min(2, x.shape[2]), 7, 7), stride=1)
        return self.logits(x).mean(dim=(2, 3, 4))
