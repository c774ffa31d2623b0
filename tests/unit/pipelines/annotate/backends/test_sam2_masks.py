"""SAM2 in bounded memory, in chunks, both ways in time, and people who keep their numbers."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from pipelines.annotate.backends import sam2_masks
from pipelines.annotate.backends.sam2_masks import (
    Sam2Propagator,
    Seed,
    build_masks_sam2,
    build_predictor,
    chunk_starts,
    seeds_from_tracks,
)


class ImaginedPropagator:
    """Knows where everybody is by colour, and shows who was seeded, in all frames of the chunk."""

    def __init__(self):
        self.seeded = []

    def __call__(self, frames, seeds):
        people = sorted({seed.person for seed in seeds})
        self.seeded.append(people)
        result = np.zeros(frames.shape[:3], np.uint8)
        for person in people:
            result[frames[..., 0] == 100 + person] = person + 1
        return result


def film(num_frames):
    frames = np.zeros((num_frames, 100, 200, 3), np.uint8)
    frames[:, 25:75, 38:62, 0] = 100
    frames[:, 25:75, 138:162, 0] = 101
    return frames


@pytest.mark.parametrize(
    ("frames", "chunk", "overlap"), list(itertools.product((1, 7, 50), (8, 20), (0, 3)))
)
def test_chunks_cover_every_frame_and_overlap(frames, chunk, overlap):
    starts = chunk_starts(frames, chunk, overlap)
    assert starts[0] == 0
    assert starts[-1] + chunk >= frames
    assert all(b - a == chunk - overlap for a, b in itertools.pairwise(starts))
    assert len(starts) == 1 or starts[-1] + overlap < frames  # the last one adds something


@pytest.mark.parametrize("chunk", [8, 13, 60])
def test_any_chunking_gives_the_same_masks(chunk, standing):
    frames = film(40)
    tracks = [standing(0, 50, [True] * 40), standing(1, 150, [True] * 40)]
    masks = build_masks_sam2(tracks, frames, ImaginedPropagator(), chunk, 4).instance
    np.testing.assert_array_equal(masks == 1, frames[..., 0] == 100)
    np.testing.assert_array_equal(masks == 2, frames[..., 0] == 101)


def test_a_person_unseen_by_the_tracks_is_carried_into_the_next_chunk(standing):
    visible = np.zeros(40, bool)
    visible[:10] = True
    tracks = [standing(0, 50, visible), standing(1, 150, np.ones(40, bool))]
    network = ImaginedPropagator()
    masks = build_masks_sam2(tracks, film(40), network, 12, 4).instance
    assert network.seeded == [[0, 1]] * len(network.seeded)
    assert (masks[-1] == 1).any()


def test_a_person_before_the_first_sighting_is_not_seeded(standing):
    tracks = [standing(0, 50, np.arange(40) >= 30)]
    network = ImaginedPropagator()
    build_masks_sam2(tracks, film(40), network, 12, 4)
    assert network.seeded == [[0], [0]]  # [24, 36) and [32, 40)


def test_seeds_avoid_frames_where_people_meet(standing):
    tracks = [standing(0, 50, [True] * 30), standing(1, 150, [True] * 30)]
    box = tracks[1].box_px.copy()
    box[:20, [0, 2]] -= 90  # over the first person for two thirds of the time
    tracks[1] = dataclasses.replace(tracks[1], box_px=box)
    chosen = [seed.frame for seed in seeds_from_tracks(tracks, 0, 30) if seed.person == 0]
    assert max(chosen) >= 20
    apart = seeds_from_tracks([tracks[0]], 0, 30)
    assert [seed.frame // 10 for seed in apart] == [0, 1, 2]


@pytest.fixture(scope="module")
def network(sam2_file):
    return Sam2Propagator(sam2_file, "cpu")


def seed(person, frame):
    box = np.array([30.0, 20, 70, 80])
    return Seed(person=person, frame=frame, box_px=box, clicks_px=np.array([[50.0, 50.0]]))


def noise(num_frames):
    return np.random.default_rng(0).integers(0, 255, (num_frames, 48, 80, 3), dtype=np.uint8)


def test_memory_does_not_grow_with_the_clip(network, monkeypatch):
    """What is remembered per person and frame is let go; only the seeds stay."""
    held = []
    states = []
    begin = network.predictor.init_state

    def remember_state(frames):
        states.append(begin(frames))
        return states[-1]

    def widen(output, inner=network._widen):
        inner(output)
        memories = states[-1]["output_dict_per_obj"].values()
        held.append(max(len(memory["non_cond_frame_outputs"]) for memory in memories))

    monkeypatch.setattr(network.predictor, "init_state", remember_state)
    monkeypatch.setattr(network, "_widen", widen)
    network(noise(60), [seed(0, 0), seed(1, 30)])
    assert len(held) > 100  # forward and backward
    assert max(held) <= network.memory + 1 < 30


def test_forgetting_changes_nothing(network, monkeypatch):
    """What is let go was not attended to: endless memory gives the same masks."""
    frames, seeds = noise(40), [seed(0, 2), seed(1, 25)]
    short = network(frames, seeds)
    assert len({short[t].tobytes() for t in range(40)}) > 20  # they differ over time
    monkeypatch.setattr(network, "memory", 1000)
    np.testing.assert_array_equal(network(frames, seeds), short)


def test_people_are_followed_both_ways_from_their_seed(network):
    seen = network(noise(12), [seed(0, 6)])
    both = {t for t in range(12) if seen[t].any()}
    assert min(both) < 6 < max(both)


def test_a_frame_is_made_when_asked_for():
    frames = noise(3)
    lazy = sam2_masks.LazyFrames(frames, 32)
    assert len(lazy) == 3
    assert lazy[2].shape == (3, 32, 32)
    white = sam2_masks.LazyFrames(np.full((1, 8, 8, 3), 255, np.uint8), 32)[0]
    expected = (1 - sam2_masks.IMAGE_MEAN) / sam2_masks.IMAGE_STD
    torch.testing.assert_close(white, expected.expand(3, 32, 32))


def test_official_plans_are_known_by_their_tensors(tmp_path):
    path = tmp_path / "sam2.1_hiera_tiny.pt"
    stem = {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(96, 3, 7, 7)}
    blocks = {f"image_encoder.trunk.blocks.{i}.norm1.weight": torch.zeros(1) for i in range(12)}
    state = stem | blocks | {"no_obj_embed_spatial": torch.zeros(1)}
    assert sam2_masks._published_plan(path, state).name == "sam2.1_hiera_t.yaml"
    del state["no_obj_embed_spatial"]
    assert sam2_masks._published_plan(path, state).name == "sam2_hiera_t.yaml"
    with pytest.raises(ValueError, match="none of the published"):
        sam2_masks._published_plan(path, {})


def test_files_that_run_code_or_do_not_fit_are_refused(tmp_path, sam2_file):
    class Danger:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w').close()",)

    bad = tmp_path / "bad.pt"
    torch.save({"model": Danger()}, bad)
    with pytest.raises(ValueError, match=r"exec.*refused"):
        Sam2Propagator(bad, "cpu")
    torch.save({"weights": {}}, bad)
    with pytest.raises(ValueError, match="SAM2"):
        Sam2Propagator(bad, "cpu")
    plan = sam2_file.with_suffix(".yaml").read_text()
    bad.with_suffix(".yaml").write_text(plan)
    torch.save({"model": {"a": torch.zeros(1)}}, bad)
    with pytest.raises(ValueError, match="does not fit"):
        Sam2Propagator(bad, "cpu")
    bad.with_suffix(".yaml").write_text(
        plan.replace("sam2.modeling.memory_encoder.Fuser", "os.system")
    )
    with pytest.raises(ValueError, match=r"os\.system.*refused"):
        build_predictor(bad, {})
    assert not (tmp_path / "ran").exists()
