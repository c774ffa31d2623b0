"""Shards to typed batches: an index made once, samples drawn by number, exact resume.

The order of samples is a function of (seed, epoch) alone and everything random in a sample is a
function of (seed, epoch, position) alone. So the state of a loader is one integer, the same for
any number of ranks and threads, and every rank takes equally many steps.
"""

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from models.clip_index import ClipEntry, index_clips
from models.sample import PEOPLE_FIELDS, Sample, SampleReader
from models.window import ClipSettings
from storage_schemas.clip import ClipRecord
from storage_schemas.shards import CLIP, LATENT, VIDEO

LOG = logging.getLogger(__name__)
MAX_SUBSTITUTIONS = 16
"""A sample that needs more replacements than this says that the data set is broken."""
BATCHES_AHEAD = 2
Loaded = tuple[Sample, list[tuple[str, str]]]
"""A sample, and the clips (with reasons) that it replaces."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Clips of one size; people are padded to the largest number in the batch (at least one)."""

    clip_id: list[str]
    video: Float[Tensor, "b 3 t h w"] | None
    """In [0, 1]; None when the batch comes from latents."""
    background: Float[Tensor, "b 3 t h w"] | None
    """The scene without people in [0, 1], zeros where a clip has none; None when none has."""
    mask: UInt8[Tensor, "b t h w"] | None
    """0 background, p + 1 person p, 255 people not in the batch; None when no clip has masks."""
    K: Float[Tensor, "b t 3 3"]
    """Intrinsics in pixels of the cropped, resized clip."""
    T_camera_world: Float[Tensor, "b t 4 4"]
    has_camera: Bool[Tensor, " b"]
    """False where the camera is unknown: K and pose are then a stand-in."""
    betas: Float[Tensor, "b p 10"]
    global_orient: Float[Tensor, "b p t 3"]
    body_pose: Float[Tensor, "b p t 69"]
    transl: Float[Tensor, "b p t 3"]
    person_visible: Bool[Tensor, "b p t"]
    points_world: Float[Tensor, "b p t n 3"]
    """Surface points in farthest-point order, metres."""
    has_background: Bool[Tensor, " b"] | None = None
    latent_mean: Float[Tensor, "b c k hl wl"] | None = None
    latent_logvar: Float[Tensor, "b c k hl wl"] | None = None
    background_latent: Float[Tensor, "b c k hl wl"] | None = None
    reference_latent: Float[Tensor, "b c hl wl"] | None = None
    reference_frame: Int64[Tensor, " b"] | None = None
    """Frame of the window that shows the reference."""
    image_embedding: Float[Tensor, "b e"] | None = None

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        moved = {
            f.name: value.to(device, non_blocking=True)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)


class ClipDataset:
    """Clips by number: `dataset.load(index, key)` reads, crops and poses one sample."""

    def __init__(
        self,
        shards: Sequence[Path],
        settings: ClipSettings,
        split: str | None = "train",
        cache_mb: int = 512,
    ) -> None:
        """Index the shards.

        Args:
            shards: Tar files; those of latents may stand among them.
            settings: What a sample looks like.
            split: Keep only clips of this split; None keeps all.
            cache_mb: Memory for prepared samples, so that small sets are decoded once.

        Raises:
            ValueError: If no clip is left.
        """
        needed = (CLIP, LATENT) if settings.with_latents else (CLIP, VIDEO)
        entries = index_clips(shards)
        complete = [entry for entry in entries if all(name in entry.members for name in needed)]
        self.settings = settings
        self.entries = [entry for entry in complete if split in (None, _split_of(entry))]
        if not self.entries:
            raise ValueError(
                f"no clip of split {split!r} with {' and '.join(needed)} in {len(shards)} shards "
                f"({len(entries)} clips, {len(complete)} complete); pack or encode first"
            )
        self._reader = SampleReader(settings)
        self._cache = ByteCache(cache_mb * 1_000_000)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def fingerprint(self) -> str:
        """Digest of the clip ids: two loaders with the same one draw the same samples."""
        ids = "\n".join(entry.clip_id for entry in self.entries)
        return hashlib.sha256(ids.encode()).hexdigest()[:16]

    def load(self, index: int, key: Sequence[int]) -> Sample:
        """One sample; `key` decides everything random in it.

        Raises:
            ValueError: If the clip cannot be read.
        """
        rng = np.random.default_rng(list(key))
        entry = self.entries[index]
        labels = self._cache.get(entry.clip_id)
        if labels is None:
            labels = self._reader.read_labels(entry)
            self._cache.put(entry.clip_id, labels, labels.num_bytes)
        window = self._reader.window(labels, rng)
        name = f"{entry.clip_id} {window.to_json()}"
        sample = self._cache.get(name)
        if sample is None:
            sample = self._reader.read_sample(entry, labels, window)
            self._cache.put(name, sample, sample.num_bytes)
        return self._reader.draw_reference(sample, labels, rng)

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """The set once, in order, with fixed draws: for validation. Bad clips are left out."""
        kept: list[Sample] = []
        for index in range(len(self) if limit is None else min(limit, len(self))):
            try:
                kept.append(self.load(index, (0, 0, index)))
            except (ValueError, OSError) as error:
                LOG.warning("clip %s left out: %s", self.entries[index].clip_id, error)
            if len(kept) == batch_size:
                yield collate(kept)
                kept = []
        if kept:
            yield collate(kept)


def _split_of(entry: ClipEntry) -> str:
    return ClipRecord.from_json(entry.read([CLIP])[CLIP]).split


class ByteCache:
    """Values by name, the least recently used dropped when their bytes exceed the limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._used = 0
        self._values: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> Any:
        """The value, or None; the caller knows what it stored under the name."""
        with self._lock:
            if name not in self._values:
                return None
            self._values.move_to_end(name)
            return self._values[name][0]

    def put(self, name: str, value: object, num_bytes: int) -> None:
        """Store a value unless it alone exceeds the limit."""
        with self._lock:
            if name in self._values or num_bytes > self._limit:
                return
            self._values[name] = (value, num_bytes)
            self._used += num_bytes
            while self._used > self._limit:
                self._used -= self._values.popitem(last=False)[1][1]


def epoch_order(num_clips: int, seed: int, epoch: int) -> Int64[np.ndarray, " clips"]:
    """The permutation of one epoch, from raw random bits so that no library version moves it."""
    keys = np.random.PCG64([seed, epoch]).random_raw(num_clips)
    return np.argsort(keys, kind="stable")


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; people are padded with invisible ones, absent backgrounds with zeros."""
    people = max(len(sample.betas) for sample in samples)

    def stack(name: str) -> Tensor | None:
        values = [getattr(sample, name) for sample in samples]
        if name in PEOPLE_FIELDS:
            values = [_pad_people(value, people) for value in values]
        given = [value for value in values if value is not None]
        if not given:
            return None
        stacked = torch.stack([torch.zeros_like(given[0]) if v is None else v for v in values])
        is_image = name in ("video", "background")
        return stacked.to(torch.float32) / 255 if is_image else stacked

    tensors = {f.name: stack(f.name) for f in fields(Sample) if f.name != "clip_id"}
    return Batch(clip_id=[sample.clip_id for sample in samples], **tensors)  # pyright: ignore[reportArgumentType]


def _pad_people(value: Tensor, people: int) -> Tensor:
    return torch.cat([value, value.new_zeros(people - len(value), *value.shape[1:])])


class ClipLoader:
    """Endless batches of this rank's share of every global batch."""

    def __init__(
        self,
        dataset: ClipDataset,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
        num_threads: int = 0,
        timeout_s: float | int = 300,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            dataset: The clips.
            batch_size: Samples of the global batch, over all ranks.
            seed: Of order and of every draw.
            rank: Ours, from 0.
            num_ranks: A divisor of the batch size.
            num_threads: Threads that read ahead; 0 reads in the calling thread.
            timeout_s: A sample that takes longer raises instead of hanging.

        Raises:
            ValueError: If the batch cannot be divided.
        """
        if batch_size < 1 or batch_size % num_ranks or not 0 <= rank < num_ranks:
            raise ValueError(
                f"batch_size must be a positive multiple of the {num_ranks} ranks, "
                f"got {batch_size} for rank {rank}"
            )
        self.dataset, self.seed, self.batch_size = dataset, seed, batch_size
        share = batch_size // num_ranks
        self._share = range(rank * share, (rank + 1) * share)
        self._threads = num_threads
        self._timeout_s = timeout_s
        self._position = 0
        self._orders: dict[int, np.ndarray] = {}
        self.bad_samples: dict[str, str] = {}
        """Why clips were replaced, by clip id."""
        self.num_substituted = 0

    @property
    def epoch(self) -> int:
        """Epoch of the next global sample."""
        return self._position // len(self.dataset)

    def state_dict(self) -> dict[str, int | str]:
        """Where the next batch starts, and what the numbers mean."""
        return {
            "position": self._position,
            "seed": self.seed,
            "fingerprint": self.dataset.fingerprint,
            "num_substituted": self.num_substituted,
        }

    def load_state_dict(self, state: Mapping[str, int | str]) -> None:
        """Continue where `state_dict` stood, on any number of ranks and threads.

        Raises:
            ValueError: If the state belongs to another data set or seed.
        """
        for name, ours in (("seed", self.seed), ("fingerprint", self.dataset.fingerprint)):
            if state[name] != ours:
                raise ValueError(
                    f"loader state has {name} {state[name]}, this loader {ours}; resume with the "
                    "same data and seed, or start a new run"
                )
        self._position = int(state["position"])
        self.num_substituted = int(state["num_substituted"])

    def clip_at(self, position: int) -> int:
        """Index of the clip at a global position, without substitution."""
        epoch, place = divmod(position, len(self.dataset))
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e >= epoch - 1}
            self._orders[epoch] = epoch_order(len(self.dataset), self.seed, epoch)
        return int(self._orders[epoch][place])

    def _load(self, position: int, index: int) -> Loaded:
        epoch = position // len(self.dataset)
        replaced: list[tuple[str, str]] = []
        for attempt in range(MAX_SUBSTITUTIONS):
            key = (self.seed, epoch, position, attempt)
            try:
                return self.dataset.load(index, key), replaced
            except (ValueError, OSError) as error:
                replaced.append((self.dataset.entries[index].clip_id, str(error)))
            draw = np.random.PCG64([*key, 1]).random_raw()
            index = int(draw % len(self.dataset))
        raise RuntimeError(
            f"{MAX_SUBSTITUTIONS} clips in a row cannot be read, the last {replaced[-1][0]}: "
            f"{replaced[-1][1]}; run `isa4d dataset verify`"
        )

    def __iter__(self) -> Iterator[Batch]:
        """Batches from the current position on, without end."""
        if self._threads == 0:
            while True:
                places = [self._position + i for i in self._share]
                yield self._finish([self._load(p, self.clip_at(p)) for p in places])
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="clip-loader")
        ahead: list[list[Future[Loaded]]] = []
        try:
            while True:
                while len(ahead) < BATCHES_AHEAD:
                    first = self._position + len(ahead) * self.batch_size
                    places = [first + i for i in self._share]
                    ahead.append([pool.submit(self._load, p, self.clip_at(p)) for p in places])
                yield self._finish([self._wait(future) for future in ahead.pop(0)])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _wait(self, future: Future[Loaded]) -> Loaded:
        try:
            return future.result(self._timeout_s)
        except TimeoutError as error:
            raise TimeoutError(
                f"a clip near position {self._position} took more than {self._timeout_s} s to "
                "read; check the storage or raise timeout_s"
            ) from error

    def _finish(self, loaded: Sequence[Loaded]) -> Batch:
        for _, replaced in loaded:
            self.num_substituted += bool(replaced)
            for clip_id, reason in replaced:
                if clip_id not in self.bad_samples:
                    LOG.warning("clip %s replaced: %s", clip_id, reason)
                self.bad_samples[clip_id] = reason
        self._position += self.batch_size
        return collate([sample for sample, _ in loaded])
