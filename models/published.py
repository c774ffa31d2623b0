"""A published version as training data: pinned by number, fetched by every worker for itself."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from storage_schemas.dataset import local_shards, read_manifest
from storage_schemas.lease import lease
from storage_schemas.refs import find_manifest
from storage_schemas.store import Store

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PublishedData:
    """One immutable version, with the latents that were encoded for its set."""

    root: str
    """Folder, or s3://bucket/prefix."""
    reference: str
    """NAME@VERSION."""

    @classmethod
    def pin(cls, root: str | Path, reference: str) -> "PublishedData":
        """Take the version that NAME or NAME@VERSION means now.

        Raises:
            ValueError: There is none.
        """
        manifest = read_manifest(Store(root), reference)
        place = str(root) if str(root).startswith("s3://") else str(Path(root).absolute())
        return cls(root=place, reference=f"{manifest.name}@{manifest.version}")

    def shards(self) -> list[Path]:
        """Its shards and those of its latents as files here."""
        store = Store(self.root)
        manifest = read_manifest(store, self.reference)
        latents = [store.local_path(key) for key in latent_shards(store, manifest.name)]
        return [*local_shards(store, manifest), *latents]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the version from being collected while the block runs.

        Where the root cannot be written there is nobody to tell, and a warning.
        """
        store = Store(self.root)
        with ExitStack() as stack:
            try:
                stack.enter_context(lease(store, "train", [find_manifest(store, self.reference)]))
            except PermissionError as error:
                LOG.warning("%s is not protected from collection: %s", self.reference, error)
            yield


TrainingData = Sequence[Path] | PublishedData
"""Shards lying on storage that every worker sees, or a version."""


def held_data(data: TrainingData) -> AbstractContextManager[None]:
    """Keep a version from being collected; files are nobody's to collect."""
    return data.held() if isinstance(data, PublishedData) else nullcontext()


def local_data(data: TrainingData) -> list[Path]:
    """The shards as files here."""
    return data.shards() if isinstance(data, PublishedData) else list(data)


def latent_shards(store: Store, name: str) -> list[str]:
    """Store keys of the latents of a set, to stand beside its shards in training."""
    return [key for key in store.list(f"latents/{name}/") if key.endswith(".tar")]
