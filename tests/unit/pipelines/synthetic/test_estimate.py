"""An estimate is arithmetic over what was measured, and keeps nothing."""

import pytest

import pipelines.synthetic.estimate as module
from pipelines.run import Rejected
from pipelines.synthetic.estimate import Estimate, Spread, estimate, tell_estimate
from pipelines.synthetic.produce import RenderSettings
from pipelines.synthetic.scene import SceneSettings

SETTINGS = SceneSettings(width=32, height=32, num_frames=2, camera_kinds=("static",), characters=1)


def test_totals_follow_from_the_means():
    found = Estimate(
        num_clips=7200, num_frames=10.0, num_sampled=4, rejected={},
        cpu_s=Spread.of([1.0, 3.0]), wall_s=Spread.of([2.0]), size_bytes=Spread.of([500_000]),
        start_s=18.0, drawn={"camera": {"static": 1.0}},
    )  # fmt: skip
    totals = found.totals(workers=2, price=0.5)
    assert totals["cpu_hours"] == pytest.approx(4.01)  # 7200 clips of 2 s, 2 starts of 18 s
    assert totals["wall_hours"] == pytest.approx(4.01 / 2)
    assert totals["cost"] == pytest.approx(4.01 / 2)
    assert totals["bytes"] == 3.6e9
    assert totals["frames_per_cpu_s"] == 5
    told = tell_estimate(found, 2, 0.5)
    assert "7200 clips: 4.0 h of one core" in told
    assert "3.6 GB" in told


def test_the_interval_of_the_mean_shrinks_with_the_number():
    few, many = Spread.of([1.0, 3.0] * 4), Spread.of([1.0, 3.0] * 64)
    assert few.mean == many.mean == 2
    assert 3.5 < few.error / many.error < 4.5
    assert Spread.of([2.0]).error == 0


def test_measuring_renders_the_samples_and_tells_what_would_be_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = estimate(range(1000), SETTINGS, num_samples=2)
    assert (found.num_clips, found.num_sampled, found.rejected) == (1000, 2, {})
    assert found.cpu_s.mean > 0
    assert found.size_bytes.mean > 1000
    for shares in found.drawn.values():
        assert sum(shares.values()) == pytest.approx(1)
    assert found.drawn["camera"] == {"static": 1.0}
    assert estimate(range(9), SETTINGS, RenderSettings(views=3), num_samples=1).num_clips == 27
    assert list(tmp_path.iterdir()) == []


def test_rejected_samples_are_told_and_do_not_count_as_measured(monkeypatch):
    render = module.render

    def reject_one(spec, how):
        if spec.seed == 0:
            raise Rejected("bad_file", "torn")
        return render(spec, how)

    monkeypatch.setattr(module, "render", reject_one)
    found = estimate(range(10), SETTINGS, num_samples=2)
    assert (found.num_sampled, found.rejected) == (2, {"bad_file": 1})
    assert "left out: bad_file 1" in tell_estimate(found, 0, 0.04)
    with pytest.raises(ValueError, match="none of 1 sampled"):
        estimate([0], SETTINGS, num_samples=1)
