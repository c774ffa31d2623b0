"""A rendered movie annotated from its pixels alone: the labels fit each other and the truth."""

import pytest

from models.body.model import BodyModel
from orchestration.steps import evaluate_pairs
from pipelines.annotate.clip import annotate_clips, ingested
from pipelines.clip_files import clip_reader
from pipelines.ingest.stage import ingest
from pipelines.label_trial import UNFILTERED
from pipelines.report import ClipView
from pipelines.synthetic.produce import render_clips
from pipelines.synthetic.scene import SceneSettings, sample_scene
from storage_schemas.store import Store

SCENE = SceneSettings(
    width=256, height=256, num_frames=20, framing="fill", camera_kinds=("static",),
    motion_kinds=("squat",),
)  # fmt: skip
SEED = 5


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    store = Store(root)
    render_clips(store, [SEED], SCENE)
    true = sample_scene(SEED, SCENE).clip_id
    movie = root / "movie.mp4"
    movie.write_bytes(store.read(f"clips/{true}/video.mp4"))
    ingest([movie], store, UNFILTERED)
    accounts = annotate_clips(store)
    assert [(account.kept, account.inputs) for account in accounts] == [(1, 1)] * 7
    (found,) = ingested(store)
    return store, found, true


def test_errors_against_the_truth_are_small(annotated):
    store, found, true = annotated
    metrics = evaluate_pairs(store, [(found, true)])["metrics"]
    # generous bounds: this guards the chain, the numbers themselves are in the demo's report
    assert metrics["mask_iou"]["mean"] > 0.9
    assert metrics["joints_px"]["mean"] < 6
    assert metrics["pa_mpjpe_mm"]["mean"] < 110
    assert metrics["camera_static_recall"]["mean"] == 1
    assert metrics["id_switches"]["mean"] == 0


def test_people_stand_on_the_floor_of_a_resting_camera(annotated):
    """The ladder once called its floorless world metric; bodies then sank 0.8 m into y = 0."""
    store, found, _ = annotated
    view = ClipView(clip_reader(store, found), BodyModel.load())
    assert view.camera.kind == "static"
    assert view.camera.is_metric
    assert view.quality["floor_penetration_m"] < 0.1
