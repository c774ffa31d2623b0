"""The trial of the labels: its tables are true to the clips, and one clip goes all the way."""

import json

import numpy as np
import pytest

from pipelines.label_trial import TrialClip, main, page, report, score_table, spearman


def clip(number, score, error):
    quality = {
        "visible_fraction": score,
        "mean_confidence": score,
        "camera_registered_fraction": score,
        "plate_valid_fraction": 2 * score - 1,
    }
    return TrialClip(
        true_id=f"{number:032x}",
        found_id=f"{number + 100:032x}",
        facts={"seed": number, "people": 1 + number % 2, "motion": "walk", "camera": "static"},
        errors={"pa_mpjpe_mm": error, "person_recall": 1.0},
        quality=quality,
    )


@pytest.fixture
def clips():
    return [clip(i, score, 100 * (1 - score)) for i, score in enumerate((0.55, 0.65, 0.8, 0.95))]


def test_a_higher_floor_keeps_fewer_and_here_better_clips(clips):
    rows = score_table(clips)
    assert [row["kept"] for row in rows] == sorted((row["kept"] for row in rows), reverse=True)
    errors = [row["pa_mpjpe_mm"] for row in rows]
    assert errors == sorted(errors, reverse=True)
    assert rows[0]["kept"] == 1.0
    assert rows[0]["worst_pa_mpjpe_mm"] == pytest.approx(45.0)


def test_the_report_counts_every_clip_and_those_left_out(clips):
    lost = TrialClip(
        true_id="f" * 32, found_id=None, facts=dict(clips[0].facts),
        errors={"person_recall": 0.0}, quality={},
    )  # fmt: skip
    result = report([*clips, lost], {"seed": 7})
    assert result["settings"]["left_out"] == 1
    assert result["metrics"]["person_recall"]["n"] == 5
    assert result["metrics"]["person_recall"]["mean"] == pytest.approx(0.8)
    assert len(result["clips"]) == 5
    assert sum(m["person_recall"]["n"] for m in result["by_people"].values()) == 5
    text = page(json.loads(json.dumps(result)))
    assert "pa_mpjpe_mm" in text
    assert "left out" in text


def test_rank_correlation_sees_any_rising_curve():
    x = np.linspace(0.1, 2, 9)
    assert spearman(x, np.exp(x)) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)
    assert spearman(x, np.ones(9)) == 0


@pytest.mark.slow
def test_one_clip_from_seed_to_page(tmp_path):
    arguments = [str(tmp_path), "--count", "1", "--seed", "3", "--frames", "17", "--people", "1"]
    assert main(arguments) == 0
    result = json.loads((tmp_path / "labels.json").read_text())
    (row,) = result["clips"]
    assert row["person_recall"] > 0.5
    assert row["pa_mpjpe_mm"] < 120
    assert 0 < row["within_1_sigma"] <= row["within_2_sigma"] <= 1
    assert "PA-MPJPE" not in result["settings"]
    assert (tmp_path / "labels.html").stat().st_size > 10_000
