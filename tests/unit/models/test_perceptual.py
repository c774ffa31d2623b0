"""Learned metrics on small random weights saved as the published files are; none are trained."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.i3d import I3D, pad_same
from models.perceptual import (
    FrechetVideoDistance,
    LearnedMetrics,
    PerceptualLoss,
    load_i3d,
    load_lpips,
    prepare_for_i3d,
)


class Scripted(nn.Module):
    """Called as StyleGAN-V's file is called."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(6, 400)

    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        assert not rescale
        assert not resize
        assert return_features
        moments = torch.cat([x.mean(dim=[2, 3, 4]), x.square().mean(dim=[2, 3, 4])], dim=1)
        return self.mix(moments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    import torchvision

    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("weights")
    features = torchvision.models.alexnet(weights=None).features.state_dict()
    torch.save(
        {f"features.{k}": v for k, v in features.items()}, place / "alexnet-owt-7be5be79.pth"
    )
    network = I3D()
    for part in network.modules():
        if isinstance(part, nn.Conv3d):  # lest the signal shrinks to nothing
            nn.init.kaiming_normal_(part.weight)
    torch.save(network.state_dict(), place / "i3d_pretrained_400.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Scripted()).save(str(place / "i3d_torchscript.pt"))
    return place


def test_lpips_is_that_of_the_package_with_the_same_backbone(folder: Path):
    import torchvision
    from lpips import LPIPS

    ours = load_lpips(folder / "alexnet-owt-7be5be79.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    backbone = torchvision.models.alexnet(weights=None)
    state = torch.load(folder / "alexnet-owt-7be5be79.pth", weights_only=True)
    backbone.features.load_state_dict({k.removeprefix("features."): v for k, v in state.items()})
    for layers, start, stop in (
        (theirs.net.slice1, 0, 2), (theirs.net.slice2, 2, 5), (theirs.net.slice3, 5, 8),
        (theirs.net.slice4, 8, 10), (theirs.net.slice5, 10, 12),
    ):  # fmt: skip
        for index in range(start, stop):
            layers._modules[str(index)] = backbone.features[index]
    first, second = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(ours(first, second), theirs(first, second))
    assert (ours(first, first) == 0).all()
    assert (ours(first, second) > 0).all()


def test_lpips_trains_pictures_and_not_itself(folder: Path):
    loss = PerceptualLoss(folder / "alexnet-owt-7be5be79.pth")
    made = torch.rand(2, 3, 64, 64, requires_grad=True)
    loss(made, torch.rand(2, 3, 64, 64)).backward()
    assert made.grad is not None
    assert made.grad.abs().max() > 0
    assert not any(p.requires_grad for p in loss.parameters())


def test_i3d_has_the_published_size_and_pads_as_tensorflow():
    assert sum(p.numel() for p in I3D().parameters()) == 12_697_264
    for size in range(3, 12):
        for kernel, stride in ((7, 2), (3, 2), (3, 1), (2, 2), (1, 1)):
            padded = pad_same(torch.zeros(1, 1, size, size, size), (kernel,) * 3, (stride,) * 3)
            assert (padded.shape[2] - kernel) // stride + 1 == -(-size // stride)
    wide = pad_same(torch.ones(1, 1, 1, 1, 4), (1, 1, 7), (1, 1, 2))
    assert wide[0, 0, 0, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("name", ["i3d_pretrained_400.pt", "i3d_torchscript.pt"])
def test_distance_is_zero_for_itself_and_grows_with_noise(folder: Path, name: str):
    torch.manual_seed(1)
    network = load_i3d(folder / name)
    truth = torch.rand(2, 3, 9, 32, 48)

    def distance(made: Tensor) -> float:
        fvd = FrechetVideoDistance(network)
        fvd.add(made, truth)
        return fvd.value()

    assert distance(truth) < 1e-3 < distance(truth * 0.5)


def test_clips_are_cut_in_the_middle_and_not_squashed():
    video = torch.zeros(1, 3, 2, 10, 30)
    video[..., 10:20] = 1
    prepared = prepare_for_i3d(video)
    assert prepared.shape == (1, 3, 2, 224, 224)
    assert prepared[..., 20:-20].min() == 1


def test_what_is_not_there_is_named(folder: Path, tmp_path: Path):
    everything = {"lpips_alex", "lpips_vgg", "fvd_videogpt", "fvd_styleganv"}
    assert set(LearnedMetrics(None).absent) == everything
    metrics = LearnedMetrics(folder)
    assert set(metrics.absent) == {"lpips_vgg"}
    truth = torch.rand(2, 3, 9, 64, 64)
    assert metrics.add(truth, truth)["lpips_alex"].tolist() == [0, 0]
    assert set(metrics.distances()) == {"fvd_videogpt", "fvd_styleganv"}
    short = LearnedMetrics(folder)
    short.add(truth[:, :, :5], truth[:, :, :5])
    assert "9 frames, got 5" in short.absent["fvd_videogpt"]
    assert short.distances() == {}
    with pytest.raises(ValueError, match="must be a folder"):
        LearnedMetrics(tmp_path / "nowhere")


def test_other_files_are_refused(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return (print, ("ran",))

    for name, content, message in (
        ("weights.pth", {}, "keep the published name"),
        ("alexnet-owt-7be5be79.pth", {"a": torch.zeros(1)}, "lacks features.0.bias"),
        ("alexnet-owt-7be5be79.pth", Trap(), "safe to read"),
        ("alexnet-owt-7be5be79.pth", [1], "dictionary of tensors"),
    ):
        torch.save(content, tmp_path / name)
        with pytest.raises(ValueError, match=message):
            load_lpips(tmp_path / name)
    torch.save({"a": torch.zeros(1)}, tmp_path / "i3d_pretrained_400.pt")
    with pytest.raises(ValueError, match="does not hold the weights"):
        load_i3d(tmp_path / "i3d_pretrained_400.pt")
    (tmp_path / "i3d_torchscript.pt").write_bytes(b"no network")
    with pytest.raises(ValueError, match="no TorchScript"):
        load_i3d(tmp_path / "i3d_torchscript.pt")
