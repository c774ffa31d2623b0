"""The pages say what the store holds: counts that add up, curves that were measured."""

import json

import numpy as np
import pytest

from pipelines.report import account_table, curve_picture, rendered_sheet, smooth, write_review
from pipelines.run import Item, Rejected, Stage, run_stage
from pipelines.synthetic.produce import render_clips
from pipelines.synthetic.scene import SceneSettings
from storage_schemas.store import Store

SCENES = SceneSettings(width=32, height=32, num_frames=2, framing="fill")


def keep_even(item, store):
    if int(item.key) % 2:
        raise Rejected("odd", f"{item.key} is odd")
    return {f"clips/{item.key}/x": b"x"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("root"))
    assert render_clips(store, [1, 2], SCENES).kept == 2
    return store


def test_accounts_name_reasons_and_add_up(tmp_path):
    store = Store(tmp_path)
    stage = Stage(name="ingest", version="1", work=keep_even)
    run_stage(stage, [Item(key=str(number)) for number in range(5)], store)
    (row,) = account_table(store).rows
    assert row == ("ingest", "5", "3", "2 (odd 2)", "0")


def test_review_shows_every_labelled_clip_up_to_the_limit(store, tmp_path):
    page = tmp_path / "pages" / "review.html"
    assert write_review(store, page, limit=1) == (1, 2)
    assert "2 labelled clips" in page.read_text()
    assert page.read_text().count("<h2>") == 2  # accounts and one clip


def test_review_of_nothing_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="run `isa4d annotate` or `render`"):
        write_review(Store(tmp_path), tmp_path / "review.html", limit=1)


def test_sheet_shows_rendered_seeds_only(store):
    one, two = rendered_sheet(store, [1], SCENES), rendered_sheet(store, [1, 2, 3], SCENES)
    assert two.shape[0] == 2 * one.shape[0]
    assert rendered_sheet(store, [3], SCENES) is None


def test_smoothing_keeps_a_constant_and_the_mean_of_what_came_before():
    assert smooth([2.0] * 40) == [2.0] * 40
    values = np.random.default_rng(0).normal(size=40).tolist()
    assert smooth(values)[9] == pytest.approx(np.mean(values[:10]))
    assert smooth(values)[39] == pytest.approx(np.mean(values[15:]))


def test_a_curve_that_was_never_measured_is_refused(tmp_path):
    records = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    assert curve_picture(tmp_path, "loss").std() > 5
    with pytest.raises(ValueError, match="wrote no psnr"):
        curve_picture(tmp_path, "psnr")
