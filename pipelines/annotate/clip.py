"""The chain of labels: each step is a stage of its own over `clips/<id>/`, in this order.

people -> mask -> camera -> background, points -> body -> quality. A step reads the members that
the steps before it wrote, so a changed parameter recomputes that step and what depends on it. A
clip that a step rejects goes no further.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.body.model import BodyModel
from models.lifter import WEIGHTS as LIFTER
from pipelines.annotate import mask, people
from pipelines.annotate.backends.torch_file import file_digest
from pipelines.annotate.background import build_background
from pipelines.annotate.body import fit_bodies
from pipelines.annotate.camera import estimate_camera
from pipelines.annotate.caption import write_caption
from pipelines.annotate.importers.place import place_bodies
from pipelines.annotate.importers.readers import read_found
from pipelines.annotate.importers.results import digest_of, find_results, result_for
from pipelines.annotate.people import detect_people_with_report, people_from_npz, people_to_npz
from pipelines.annotate.points import track_points
from pipelines.annotate.quality import ClipEvidence, measure_quality
from pipelines.ingest.duplicates import STAGE as DUPLICATE
from pipelines.run import Accounting, Item, Rejected, Stage, Work, read_results, run_stage
from pipelines.video_io import decode_mp4, encode_mp4
from storage_schemas import shards
from storage_schemas.background import BackgroundValid
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.clip import ClipRecord
from storage_schemas.mask import MaskTrack
from storage_schemas.store import Store

PEOPLE = "people.npz"
LADDER = "camera_ladder.npz"
"""The camera before the bodies settled gravity, floor and scale."""
LADDER_FACTS = "camera_ladder.json"
QUALITY = "quality.json"
CAPTION = "caption.json"


@dataclass(frozen=True, kw_only=True)
class ClipFolder:
    """Members of one clip in the work area."""

    store: Store
    clip_id: str

    def read(self, member: str) -> bytes:
        """Bytes of a member."""
        return self.store.read(f"clips/{self.clip_id}/{member}")

    @property
    def clip(self) -> ClipRecord:
        """The clip's record."""
        return ClipRecord.from_json(self.read(shards.CLIP))

    @property
    def frames(self) -> np.ndarray:
        """The clip's video, uint8 RGB."""
        return decode_mp4(self.read(shards.VIDEO))

    @property
    def mask(self) -> MaskTrack:
        """The clip's masks."""
        return MaskTrack.from_npz(self.read(shards.MASK))


def find_people(item: Item, store: Store, backend: str, weights: str = "") -> Mapping[str, bytes]:
    """Who is in the clip.

    Raises:
        Rejected: `no_person`, if nobody is.
    """
    folder = ClipFolder(store=store, clip_id=item.key)
    file = Path(weights) if weights else None
    tracks, counts = detect_people_with_report(folder.frames, folder.clip.fps, backend, file)
    if not tracks:
        raise Rejected("no_person", ", ".join(f"{name} {n}" for name, n in counts.items()))
    return {PEOPLE: people_to_npz(tracks)}


def make_masks(item: Item, store: Store, backend: str, weights: str = "") -> Mapping[str, bytes]:
    """Who covers which pixel."""
    folder = ClipFolder(store=store, clip_id=item.key)
    tracks = people_from_npz(folder.read(PEOPLE))
    build = mask.BACKENDS[backend](Path(weights) if weights else None)
    return {shards.MASK: build(tracks, folder.frames).to_npz()}


def find_camera(item: Item, store: Store) -> Mapping[str, bytes]:
    """Static, turning, moving or unknown."""
    folder = ClipFolder(store=store, clip_id=item.key)
    track, facts = estimate_camera(folder.frames, folder.mask.instance > 0)
    return {LADDER: track.to_npz(), LADDER_FACTS: json.dumps(facts, sort_keys=True).encode()}


def make_background(item: Item, store: Store) -> Mapping[str, bytes]:
    """The scene without people."""
    folder = ClipFolder(store=store, clip_id=item.key)
    camera = CameraTrack.from_npz(folder.read(LADDER))
    plate, valid = build_background(folder.frames, folder.mask, camera)
    return {
        shards.BACKGROUND: encode_mp4(plate, folder.clip.fps),
        shards.BACKGROUND_VALID: valid.to_npz(),
    }


def find_points(item: Item, store: Store) -> Mapping[str, bytes]:
    """Sparse background tracks."""
    folder = ClipFolder(store=store, clip_id=item.key)
    return {shards.POINTS: track_points(folder.frames, folder.mask.instance > 0).to_npz()}


class FitBodies:
    """Bodies in the world, and the camera that they settle; holds the body model.

    Where a tracker's result names the footage, its bodies are taken instead of the fit.
    """

    def __init__(self, bodies: str = "") -> None:
        self.body = BodyModel.load()
        self.place = Path(bodies)
        self.results = find_results(self.place) if bodies else []

    def __call__(self, item: Item, store: Store) -> Mapping[str, bytes]:
        """Fit one clip."""
        folder = ClipFolder(store=store, clip_id=item.key)
        clip = folder.clip
        tracks = people_from_npz(folder.read(PEOPLE))
        camera = CameraTrack.from_npz(folder.read(LADDER))
        result = result_for(self.results, self.place, clip.uri)
        if result is not None:
            fit = place_bodies(read_found(result), tracks, camera, clip, self.body)
        else:
            fit = fit_bodies(tracks, camera, (clip.height, clip.width), clip.fps, self.body)
        return {shards.BODY: fit.bodies.to_npz(), shards.CAMERA: fit.camera.to_npz()}


class MeasureQuality:
    """Do the labels agree with each other; holds the body model, and the captioner if any."""

    def __init__(self, weights: str = "") -> None:
        self.body = BodyModel.load()
        self.describe: Callable[[np.ndarray], str] | None = None
        if weights:
            from pipelines.annotate.backends.coca_caption import CocaCaptioner  # loads slowly

            self.describe = CocaCaptioner(Path(weights))

    def __call__(self, item: Item, store: Store) -> Mapping[str, bytes]:
        """Measure one clip, and say in a sentence what it shows."""
        folder = ClipFolder(store=store, clip_id=item.key)
        bodies = BodyTracks.from_npz(folder.read(shards.BODY))
        camera = CameraTrack.from_npz(folder.read(shards.CAMERA))
        evidence = ClipEvidence(
            tracks=people_from_npz(folder.read(PEOPLE)),
            masks=folder.mask,
            background_valid=BackgroundValid.from_npz(folder.read(shards.BACKGROUND_VALID)),
        )
        quality = measure_quality(bodies, camera, evidence, self.body, folder.clip.fps)
        caption = write_caption(camera, bodies, folder.clip.fps)
        if self.describe is not None:
            frames = folder.frames
            caption = f"{self.describe(frames[len(frames) // 2])}; {caption}"
        return {
            QUALITY: json.dumps(quality, sort_keys=True).encode(),
            CAPTION: json.dumps({"caption": caption}).encode(),
        }


@dataclass(frozen=True, kw_only=True)
class Step:
    """One label: what it reads, how it is made, and what its result depends on."""

    name: str
    version: str
    reads: Sequence[str]
    work: Callable[..., Any]
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    weights: str = ""


BACKENDS: Mapping[str, Mapping[str, Any]] = {"people": people.BACKENDS, "mask": mask.BACKENDS}
"""Step -> its backends."""

STEPS = (
    Step(
        name="people", version="1", reads=(shards.CLIP, shards.VIDEO), work=find_people,
        parameters={"backend": "mediapipe"}, weights="mediapipe 0.10.21",
    ),
    Step(
        name="mask", version="1", reads=(shards.VIDEO, PEOPLE), work=make_masks,
        parameters={"backend": "pose"},
    ),
    Step(name="camera", version="3", reads=(shards.VIDEO, shards.MASK), work=find_camera),
    Step(
        name="background", version="1", reads=(shards.VIDEO, shards.MASK, LADDER),
        work=make_background,
    ),
    Step(name="points", version="1", reads=(shards.VIDEO, shards.MASK), work=find_points),
    Step(
        name="body", version="2", reads=(shards.CLIP, PEOPLE, LADDER), work=FitBodies,
        weights=f"lifter sha256 {file_digest(LIFTER / 'model.safetensors')}",
    ),
    Step(
        name="quality", version="1",
        reads=(PEOPLE, shards.BODY, shards.CAMERA, shards.MASK, shards.BACKGROUND_VALID),
        work=MeasureQuality,
    ),
)  # fmt: skip


class InFolder:
    """The work of a named step, its outputs put into the clip's folder; built once per worker."""

    def __init__(self, step: str, **parameters: str) -> None:
        work = next(known.work for known in STEPS if known.name == step)
        self.work: Work = (
            work(**parameters) if isinstance(work, type) else partial(work, **parameters)
        )

    def __call__(self, item: Item, store: Store) -> Mapping[str, bytes]:
        """Make the members of one clip."""
        members: Any = self.work(item, store)
        return {f"clips/{item.key}/{name}": data for name, data in members.items()}


def annotate_clips(
    store: Store,
    clip_ids: Sequence[str] | None = None,
    backends: Mapping[str, str] | None = None,
    weights: Mapping[str, Path] | None = None,
    bodies: Path | None = None,
    workers: int = 0,
) -> list[Accounting]:
    """Label clips; what is labelled already and unchanged is not done again.

    Args:
        store: Holds `clips/`.
        clip_ids: Which; None takes everything that ingest kept.
        backends: Step name -> backend, where a step has several.
        weights: Step name -> file that its backend loads; of `quality`, its captioner.
        bodies: Result of a tracker, or a folder of such, for the footage that they name.
        workers: Ray actors; 0 works in this process.

    Returns:
        One account per step, in order.

    Raises:
        ValueError: If there is nothing to label, or a step or backend is unknown.
    """
    steps = _chosen(backends or {}, weights or {})
    ids = sorted(clip_ids if clip_ids is not None else ingested(store))
    if not ids:
        raise ValueError(f"no ingested clip in {store.root}; run `isa4d ingest` first")
    if bodies is not None:
        steps = [_imported(step, bodies, store, ids) for step in steps]
    accounts: list[Accounting] = []
    for step in steps:
        stage = Stage(
            name=step.name,
            version=step.version,
            parameters={"step": step.name, **step.parameters},
            weights=step.weights,
            work=InFolder,
        )
        items = [
            Item(key=clip_id, inputs=tuple(f"clips/{clip_id}/{name}" for name in step.reads))
            for clip_id in ids
        ]
        accounts.append(run_stage(stage, items, store, workers))
        kept = {result.key for result in read_results(store, step.name) if result.status == "kept"}
        ids = [clip_id for clip_id in ids if clip_id in kept]
    return accounts


def ingested(store: Store) -> list[str]:
    """Ids of the clips that ingest made, without those that show what another one shows."""
    keys = [key for result in read_results(store, "ingest") for key in result.outputs]
    twice = {result.key for result in read_results(store, DUPLICATE) if result.status == "filtered"}
    ids = [key.split("/")[1] for key in keys if key.endswith(f"/{shards.CLIP}")]
    return [clip_id for clip_id in ids if clip_id not in twice]


def _chosen(backends: Mapping[str, str], weights: Mapping[str, Path]) -> list[Step]:
    """The steps with the backends and weights that were asked for."""
    unknown = sorted((set(backends) | set(weights) - {"quality"}) - set(BACKENDS))
    if unknown:
        there = ", ".join(f"{step}={sorted(names)}" for step, names in BACKENDS.items())
        raise ValueError(f"no step with backends is called {unknown}; there is {there}")
    return [_with_backend(step, backends.get(step.name), weights.get(step.name)) for step in STEPS]


def _with_backend(step: Step, backend: str | None, weights: Path | None) -> Step:
    if backend is not None:
        if backend not in BACKENDS[step.name]:
            raise ValueError(
                f"backend of {step.name} must be one of {sorted(BACKENDS[step.name])}, "
                f"got {backend!r}"
            )
        if backend != step.parameters["backend"]:  # what is said of the default holds no more
            step = replace(step, parameters={"backend": backend}, weights="")
    if weights is None:
        return step
    if not weights.is_file():
        raise ValueError(f"there is no weights file {weights} for {step.name}")
    parameters = {**step.parameters, "weights": str(weights)}
    reads = (*step.reads, *({shards.VIDEO} - set(step.reads)))
    loaded = f"{weights.name} sha256 {file_digest(weights)}"
    return replace(step, parameters=parameters, reads=reads, weights=loaded)


def _imported(step: Step, place: Path, store: Store, clip_ids: Sequence[str]) -> Step:
    """The body step with a tracker's results, if they are about any of the clips."""
    if step.name != "body":
        return step
    if not place.exists():
        raise ValueError(f"there is no result {place}")
    results = find_results(place)
    footage = {ClipFolder(store=store, clip_id=clip_id).clip.uri for clip_id in clip_ids}
    if not any(result_for(results, place, uri) for uri in footage):
        stems = ", ".join(sorted(Path(uri).stem for uri in footage)[:5])
        raise ValueError(
            f"no result in {place} is named after footage of {store.root} ({stems}); name the "
            "file or its folder after the video"
        )
    parameters = {**step.parameters, "bodies": str(place)}
    weights = f"{step.weights}; bodies sha256 {digest_of(results)}"
    return replace(step, parameters=parameters, weights=weights)
