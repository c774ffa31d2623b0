"""LPIPS and FVD by weights that the user brings in one folder, under their published names.

Nothing is downloaded; what is not there is named absent. Both I3D networks are offered because
their distances differ and both are in use (VideoGPT's port, StyleGAN-V's TorchScript).
"""

import warnings
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from models.i3d import I3D, NUM_CLASSES

LPIPS_FILES: dict[Literal["alex", "vgg"], str] = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
}
"""torchvision's ImageNet weights; the heads of LPIPS 0.1 come with the `lpips` package."""
I3D_FILES = {"videogpt": "i3d_pretrained_400.pt", "styleganv": "i3d_torchscript.pt"}
I3D_SIZE_PX = 224
FEWEST_FRAMES = 9


def load_lpips(file: Path) -> nn.Module:
    """LPIPS 0.1 on the backbone in `file`: two batches of images in [-1, 1] to [n, 1, 1, 1].

    Args:
        file: torchvision's AlexNet or VGG-16 weights under their published name.

    Raises:
        ValueError: If the name or the content is of neither network.
    """
    from lpips import LPIPS

    nets = [net for net, name in LPIPS_FILES.items() if name == file.name]
    if not nets:
        raise ValueError(
            f"LPIPS weights must be one of {', '.join(LPIPS_FILES.values())}, got {file.name}; "
            "keep the published name, it says which network they are of"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks torchvision for a network in an old way
        metric = LPIPS(net=nets[0], pnet_rand=True, verbose=False)
    weights = read_weights(file)
    wanted = {name: f"features.{name.split('.', 1)[1]}" for name in metric.net.state_dict()}
    missing = sorted(set(wanted.values()) - set(weights))
    if missing:
        raise ValueError(f"{file} lacks {missing[0]}; it must be torchvision's {file.name}")
    metric.net.load_state_dict({name: weights[source] for name, source in wanted.items()})
    return metric.eval().requires_grad_(False)


class PerceptualLoss(nn.Module):
    """LPIPS as a loss term: a scalar of two batches of images in [-1, 1]."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.metric = load_lpips(file)

    def forward(
        self, made: Float[Tensor, "n 3 h w"], truth: Float[Tensor, "n 3 h w"]
    ) -> Float[Tensor, ""]:
        """Mean distance."""
        return self.metric(made, truth).mean()


def load_i3d(file: Path) -> nn.Module:
    """I3D of the published file: clips [b, 3, t, 224, 224] in [-1, 1] to [b, 400] features.

    Raises:
        ValueError: If the file holds something else.
    """
    if file.name == I3D_FILES["styleganv"]:
        return _ScriptedI3D(file)
    network = I3D()
    try:
        network.load_state_dict(read_weights(file))
    except RuntimeError as error:
        raise ValueError(f"{file} does not hold the weights of {file.name}: {error}") from error
    return network.eval().requires_grad_(False)


class _ScriptedI3D(nn.Module):
    def __init__(self, file: Path) -> None:
        super().__init__()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TorchScript is old, and so is the file
                self.network = torch.jit.load(str(file), map_location="cpu").eval()
        except RuntimeError as error:
            raise ValueError(f"{file} is no TorchScript network: {error}") from error

    def forward(self, video: Tensor) -> Tensor:
        return self.network(video, rescale=False, resize=False, return_features=True)


class FrechetVideoDistance:
    """FVD between two sets of clips, on the features of one I3D."""

    def __init__(self, network: nn.Module) -> None:
        from torchmetrics.image.fid import FrechetInceptionDistance

        self._network = network
        features = nn.Identity()
        features.num_features = NUM_CLASSES  # pyright: ignore[reportArgumentType]
        self._distance = FrechetInceptionDistance(feature=features)

    @torch.no_grad()
    def add(self, made: Float[Tensor, "b 3 t h w"], truth: Float[Tensor, "b 3 t h w"]) -> None:
        """Take clips in [0, 1] into the two sets."""
        for video, is_real in ((made, False), (truth, True)):
            self._distance.update(self._network(prepare_for_i3d(video)).cpu(), real=is_real)

    def value(self) -> float:
        """The distance; it needs two clips, and is biased upwards below some 400."""
        return float(self._distance.compute())


def prepare_for_i3d(video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b 3 t 224 224"]:
    """Shorter side to 224 (bilinear, antialiased), centre crop, [0, 1] to [-1, 1]."""
    height, width = video.shape[3:]
    scale = I3D_SIZE_PX / min(height, width)
    size = (max(round(height * scale), I3D_SIZE_PX), max(round(width * scale), I3D_SIZE_PX))
    frames = rearrange(video, "b c t h w -> (b t) c h w")
    frames = F.interpolate(frames, size, mode="bilinear", antialias=True, align_corners=False)
    top, left = ((side - I3D_SIZE_PX) // 2 for side in size)
    frames = frames[..., top : top + I3D_SIZE_PX, left : left + I3D_SIZE_PX]
    return rearrange(frames, "(b t) c h w -> b c t h w", b=len(video)) * 2 - 1


class LearnedMetrics:
    """LPIPS and FVD of a set of clips, as far as the weights in a folder go.

    Args:
        folder: Holds any of the files of `LPIPS_FILES` and `I3D_FILES`; None: nothing is measured.
        device: Where to measure.
    """

    def __init__(self, folder: Path | None, device: torch.device | str = "cpu") -> None:
        if folder is not None and not folder.is_dir():
            raise ValueError(f"metric weights must be a folder, got {folder}")
        self.absent: dict[str, str] = {}
        self._lpips: dict[str, nn.Module] = {}
        self._fvd: dict[str, FrechetVideoDistance] = {}
        for net, name in LPIPS_FILES.items():
            if file := self._find(folder, name, f"lpips_{net}"):
                self._lpips[f"lpips_{net}"] = load_lpips(file).to(device)
        for port, name in I3D_FILES.items():
            if file := self._find(folder, name, f"fvd_{port}"):
                self._fvd[f"fvd_{port}"] = FrechetVideoDistance(load_i3d(file).to(device))
        self._num_clips = 0

    def _find(self, folder: Path | None, name: str, metric: str) -> Path | None:
        if folder is not None and (folder / name).is_file():
            return folder / name
        self.absent[metric] = f"needs {name} in --metric-weights"
        return None

    @torch.no_grad()
    def add(
        self, made: Float[Tensor, "b 3 t h w"], truth: Float[Tensor, "b 3 t h w"]
    ) -> dict[str, Float[Tensor, " b"]]:
        """Take clips in [0, 1]; gives what each clip has a value of: LPIPS, mean over frames."""
        self._num_clips += len(made)
        if made.shape[2] < FEWEST_FRAMES:
            reason = f"needs clips of {FEWEST_FRAMES} frames, got {made.shape[2]}"
            self.absent |= dict.fromkeys(self._fvd, reason)
            self._fvd = {}
        for distance in self._fvd.values():
            distance.add(made, truth)
        frames = [rearrange(video * 2 - 1, "b c t h w -> (b t) c h w") for video in (made, truth)]
        return {
            name: rearrange(metric(*frames), "(b t) 1 1 1 -> b t", b=len(made)).mean(1)
            for name, metric in self._lpips.items()
        }

    def distances(self) -> dict[str, float]:
        """What the whole set has one value of: FVD."""
        if self._num_clips < 2:
            self.absent |= dict.fromkeys(self._fvd, "needs two clips")
            return {}
        return {name: distance.value() for name, distance in self._fvd.items()}


def read_weights(file: Path) -> dict[str, Tensor]:
    """Tensors of a published .pth file; nothing but tensors is read from it.

    Raises:
        ValueError: If it is no such file.
    """
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for one thing: not its file
        raise ValueError(f"{file} holds no weights that are safe to read: {error}") from error
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise ValueError(f"{file} must hold a dictionary of tensors, got {type(weights).__name__}")
    return weights
