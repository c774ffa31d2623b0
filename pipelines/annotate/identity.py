"""Identities of people: join runs of frames over gaps, and drop the doubtful."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from pipelines.annotate.tracking import TrackingSettings, Tracklet, hips, score, similarity


def link(
    tracklets: Sequence[Tracklet], fps: float, settings: TrackingSettings
) -> list[list[Tracklet]]:
    """Join tracklets of one person over gaps: nearest in motion and colour first."""
    chains = [[tracklet] for tracklet in sorted(tracklets, key=lambda x: (x.start, x.end))]
    while True:
        best: tuple[float, int, int] | None = None
        for i, a in enumerate(chains):
            for j, b in enumerate(chains):
                cost = link_cost(a, b, fps, settings) if i != j else None
                if cost is not None and (best is None or cost < best[0]):
                    best = (cost, i, j)
        if best is None:
            return chains
        _, i, j = best
        chains[i] = sorted(chains[i] + chains[j], key=lambda x: x.start)
        del chains[j]


def link_cost(
    a: list[Tracklet], b: list[Tracklet], fps: float, settings: TrackingSettings
) -> float | None:
    """Cost of b being the same person as a, who was seen last before b; None when impossible."""
    last, first = a[-1], b[0]
    if first.start < last.end:
        return None
    gap = first.start - last.end + 1
    gap_s = gap / fps
    alike = similarity(
        np.mean([x.appearance() for x in a], axis=0), np.mean([x.appearance() for x in b], axis=0)
    )
    if gap_s > settings.max_gap_s:
        return None
    if gap_s > settings.short_gap_s:
        return 1 - alike + 1.0 if alike >= settings.min_similarity_long else None
    size = max(last.observations[-1].size_px, first.observations[0].size_px)
    coast = min(gap, 0.3 * fps)
    expected = hips(last.observations[-1]) + last.velocity_px(at_end=True) * coast
    distance = float(np.hypot(*(hips(first.observations[0]) - expected))) / size
    reach = 0.3 + gap_s
    is_brief = gap_s < settings.brief_gap_s and distance < 0.3
    if distance > reach or (alike < settings.min_similarity and not is_brief):
        return None
    return 1 - alike + 0.5 * distance / reach


def drop_doubtful(
    chains: Sequence[list[Tracklet]], num_frames: int, fps: float, settings: TrackingSettings
) -> tuple[list[list[Tracklet]], Counter[str]]:
    """Keep people who were seen long and well enough; count the others by reason."""
    least = min(max(5, settings.min_visible_s * fps), max(1, num_frames // 2))
    kept: list[list[Tracklet]] = []
    counts: Counter[str] = Counter()
    for chain in chains:
        scores = [score(o) for tracklet in chain for o in tracklet.observations]
        hits = sum(tracklet.hits for tracklet in chain)
        searches = sum(tracklet.searches for tracklet in chain)
        if len(scores) < least:
            counts["short"] += 1
        elif hits < settings.min_hit_share * searches:
            counts["unconfirmed"] += 1
        elif np.mean(scores) < settings.min_mean_score:
            counts["weak"] += 1
        else:
            counts["kept"] += 1
            kept.append(chain)
    return kept, counts
