"""Clips to latents: side-car shards with the same keys, so that the generator never decodes video.

    latents/<name>/shard-000000.tar    <clip id>.latent.npz of every clip
    latents/<name>/shard-000000.json   which clips were left out, and why

A clip's window is drawn once, from its id, and stored with its latents; training then uses it.
"""

import dataclasses
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from models.clip_index import ClipEntry, index_clips
from models.embedding import TINY, ImageEmbedder
from models.sample import Sample, SampleReader
from models.trained import load_vae, read_recipe, weights_digest
from models.vae.model import VideoVAE
from models.window import ClipSettings, Window
from pipelines.run import Accounting, Item, Stage, StageStopped, run_stage, tell_failures
from storage_schemas.latent import LatentRecord
from storage_schemas.shards import LATENT, VIDEO, write_shard
from storage_schemas.store import Store

VERSION = "1"
NUM_REFERENCES = 4
"""Frames of the window that are encoded as single images, evenly spread."""


def encode_latents(
    store: Store,
    name: str,
    shards: Sequence[str | Sequence[str]],
    vae: Path,
    settings: ClipSettings | None = None,
    embedding: tuple[str, Path | None] = (TINY, None),
    workers: int = 0,
) -> Accounting:
    """Write the latents of every clip of some shards; unchanged shards are not encoded again.

    Args:
        store: Holds the shards; receives `latents/<name>/`.
        name: Of the packed set or version.
        shards: Store keys; those of labels and of their videos together where they lie apart.
        vae: Folder of a finished VAE run.
        settings: Crop, size and length; None takes those the VAE was trained on, cropped to the
            people. A generator's `recipe.clips` may be given.
        embedding: Architecture and weights file of the image embedding.
        workers: 0 for this process, n for Ray actors.

    Returns:
        Where every clip went.

    Raises:
        ValueError: If the folder holds no VAE, or no shard was named.
        StageStopped: If a shard could not be encoded.
    """
    if not shards:
        raise ValueError(f"no shards to encode for {name!r}; run `isa4d pack {name}` first")
    if settings is None:
        trained: ClipSettings = read_recipe(vae).clips
        settings = dataclasses.replace(trained, crop="people")
    window = dataclasses.replace(settings, with_latents=False, with_background=True, num_points=0)
    architecture, weights = embedding
    stage = Stage(
        name="encode",
        version=VERSION,
        parameters={
            "vae": str(vae.absolute()),
            "settings": dataclasses.asdict(window),
            "architecture": architecture,
            "embedding_weights": None if weights is None else str(weights.absolute()),
        },
        weights=weights_digest(vae),
        work=EncodeShard,
    )
    items = [
        Item(
            key=f"{name}-{number:06d}",
            inputs=(key,) if isinstance(key, str) else tuple(key),
            value=f"latents/{name}/shard-{number:06d}",
            content=f"latents/{name}/shard-{number:06d}",
        )
        for number, key in enumerate(shards)
    ]
    run = run_stage(stage, items, store, workers)
    if run.kept != len(items):
        raise StageStopped(f"{run.summary()}; {next(tell_failures(store, 'encode'), '')}")
    _remove_older(store, name, [item.value for item in items])
    return _account(store, [item.value for item in items], run)


class EncodeShard:
    """Encodes the clips of one shard; the item's value is the key of the outputs."""

    def __init__(
        self,
        vae: str,
        settings: Mapping[str, Any],
        architecture: str,
        embedding_weights: str | None,
    ):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.vae, _, self.digest = load_vae(Path(vae), device)
        weights = None if embedding_weights is None else Path(embedding_weights)
        self.embedder = ImageEmbedder(architecture, weights, device=device)
        self.reader = SampleReader(ClipSettings(**settings))
        self.device = device

    def __call__(self, item: Item, store: Store) -> Mapping[str, bytes]:
        """The side-car shard, and what was left out."""
        target: str = item.value
        left_out: dict[str, str] = {}
        buffer = io.BytesIO()
        entries = index_clips([store.local_path(str(key)) for key in item.inputs])
        kept = write_shard(self._samples(entries, left_out), buffer)
        report = {"kept": kept, "left_out": left_out}
        return {
            f"{target}.tar": buffer.getvalue(),
            f"{target}.json": json.dumps(report, indent=1).encode(),
        }

    def _samples(
        self, entries: Sequence[ClipEntry], left_out: dict[str, str]
    ) -> Iterator[tuple[str, dict[str, bytes]]]:
        for entry in entries:
            if VIDEO not in entry.members:
                left_out[entry.clip_id] = "no_video"
                continue
            try:
                labels = self.reader.read_labels(entry)
            except ValueError:
                left_out[entry.clip_id] = "unreadable"
                continue
            if labels.clip.num_frames < self.reader.settings.num_frames:
                left_out[entry.clip_id] = "too_short"
                continue
            window = self.reader.window(labels, draw_of(entry.clip_id))
            try:
                sample = self.reader.read_sample(entry, labels, window)
            except ValueError:
                left_out[entry.clip_id] = "unreadable"
                continue
            record = encode_sample(self.vae, self.embedder, sample, window, self.digest)
            yield entry.clip_id, {LATENT: record.to_npz()}


def draw_of(clip_id: str) -> np.random.Generator:
    """The random numbers of a clip's window: from its id alone."""
    return np.random.default_rng([0, int(clip_id[:16], 16)])


@torch.no_grad()
def encode_sample(
    vae: VideoVAE, embedder: ImageEmbedder, sample: Sample, window: Window, digest: str
) -> LatentRecord:
    """Posterior of clip and plate, single frames as images, and their embeddings."""
    if sample.video is None:
        raise ValueError(f"clip {sample.clip_id} was read without video")
    device = next(vae.parameters()).device
    video = sample.video[None].to(device).float() / 255
    posterior = vae.encode(video * 2 - 1)
    background = torch.zeros_like(posterior.mean)
    if sample.background is not None:
        plate = sample.background[None].to(device).float() / 255
        background = vae.encode(plate * 2 - 1).mean
    last = video.shape[2] - 1
    frames = np.unique(np.linspace(0, last, NUM_REFERENCES).round().astype(np.int64))
    images = rearrange(video[0, :, torch.from_numpy(frames)], "c r h w -> r c h w")
    references = vae.encode((images * 2 - 1)[:, :, None]).mean
    return LatentRecord(
        mean=_array(posterior.mean[0]),
        logvar=_array(posterior.logvar[0]),
        background=_array(background[0]),
        reference_frames=frames,
        reference=_array(rearrange(references, "r c 1 h w -> r c h w")),
        image_embedding=_array(embedder(images)),
        vae_digest=digest,
        embedding_source=embedder.source,
        window=window.to_json(),
    )


def _array(tensor: Float[Tensor, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return tensor.float().cpu().numpy()


def _account(store: Store, targets: Sequence[str], run: Accounting) -> Accounting:
    kept, reasons = 0, Counter[str]()
    for target in targets:
        report = json.loads(store.read(f"{target}.json"))
        kept += len(report["kept"])
        reasons.update(report["left_out"].values())
    return Accounting(
        stage="encode",
        inputs=kept + sum(reasons.values()),
        kept=kept,
        filtered=dict(reasons),
        failed={},
        reused=kept if run.reused == run.inputs else 0,
    )


def _remove_older(store: Store, name: str, targets: Sequence[str]) -> None:
    """Shards of an earlier, larger encoding under the same name."""
    current = {f"{target}{suffix}" for target in targets for suffix in (".tar", ".json")}
    for key in store.list(f"latents/{name}/"):
        if key not in current:
            store.delete(key)
