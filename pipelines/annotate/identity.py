"""Identities of people: join runs of frames over gaps, and drop the doubtful."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipelines.annotate.backends.observation import Observation
from pipelines.annotate.tracking import (
    MAIN_JOINTS,
    TrackingSettings,
    Tracklet,
    hips,
    score,
    similarity,
)

NO_LINK = 1.5
"""Cost of an end without continuation; links cost up to 1.2, so one good link beats two poor."""
COAST_S = 0.12
"""How long people are believed to keep their speed behind somebody."""
STEADY = 5
"""Frames that make a run worth a decision about a crossing."""


def link(
    tracklets: Sequence[Tracklet], fps: float, settings: TrackingSettings
) -> list[list[Tracklet]]:
    """Join tracklets of one person over gaps: the assignment of all ends to all starts.

    The cheapest link of the best assignment is made first, then all costs are taken anew.
    """
    chains = settle_crossings(tracklets, fps, settings)
    while True:
        cost = np.full((len(chains), len(chains)), NO_LINK)
        for i, a in enumerate(chains):
            for j, b in enumerate(chains):
                found = link_cost(a, b, fps, settings) if i != j else None
                cost[i, j] = NO_LINK if found is None else found
        pairs = list(zip(*linear_sum_assignment(cost), strict=True))
        i, j = min(pairs, key=lambda pair: cost[pair], default=(0, 0))
        if not pairs or cost[i, j] >= NO_LINK:
            return chains
        chains[i] = sorted(chains[i] + chains[j], key=lambda x: x.start)
        del chains[j]


def settle_crossings(
    tracklets: Sequence[Tracklet], fps: float, settings: TrackingSettings
) -> list[list[Tracklet]]:
    """Undo swaps behind an occlusion: b is lost beside a, later c comes out from behind a.

    Either a stayed a and c is b, or the follower slid from one person to the other. Position,
    pose and colour of both people decide together; a swapped a is cut at its largest jump.
    """
    runs = [replace(x) for x in sorted(tracklets, key=lambda x: x.end)]
    follower: dict[int, Tracklet] = {}
    for b in runs:  # grows by the parts that are cut off
        crossing = _crossing(b, runs, fps, settings) if id(b) not in follower else None
        if crossing is None:
            continue
        a, c = crossing
        if any(x is c for x in follower.values()):
            continue
        before = (_part(a, a.start, b.end), b)
        after = (_part(a, c.start, a.end), c)
        cost = np.array([[_change(x, y, fps) for y in after] for x in before])
        chosen = a.observations[b.end - 1 - a.start : c.start + 1 - a.start]
        steps = np.diff(np.array([hips(o) for o in chosen]), axis=0)
        jumps = np.linalg.norm(steps - before[0].velocity_px(at_end=True), axis=1)
        cut = b.end + int(jumps.argmax())
        is_smooth = jumps.max() < settings.max_smooth_step * b.observations[-1].size_px
        margin = settings.smooth_swap_margin if is_smooth else settings.swap_margin
        if cost[0, 1] + cost[1, 0] + margin >= np.trace(cost):
            continue
        rest = _part(a, cut, a.end)
        first = _part(a, a.start, cut)
        a.observations, a.appearances = first.observations, first.appearances
        a.hits, a.searches = first.hits, first.searches
        if id(a) in follower:
            follower[id(rest)] = follower.pop(id(a))
        follower |= {id(a): c, id(b): rest}
        runs.append(rest)
    later = {id(x) for x in follower.values()}
    chains = [[x] for x in sorted(runs, key=lambda x: (x.start, x.end)) if id(x) not in later]
    for chain in chains:
        while id(chain[-1]) in follower:
            chain.append(follower[id(chain[-1])])
    return chains


def _crossing(
    b: Tracklet, runs: Sequence[Tracklet], fps: float, settings: TrackingSettings
) -> tuple[Tracklet, Tracklet] | None:
    """Who stood before b when it was lost, and who was next to come out from behind that one."""
    for c in sorted(runs, key=lambda x: x.start):
        if not b.end <= c.start <= b.end + settings.max_crossing_s * fps:
            continue
        for a in runs:
            is_steady = a.start <= b.end - STEADY and c.start + STEADY <= a.end
            is_steady &= min(len(b.observations), len(c.observations)) >= STEADY
            if is_steady and _are_near(a, b, b.end - 1) and _are_near(a, c, c.start):
                return a, c
    return None


def _are_near(a: Tracklet, b: Tracklet, frame: int) -> bool:
    one, other = a.at(frame), b.at(frame)
    if one is None or other is None:
        return False
    return bool(np.hypot(*(hips(one) - hips(other))) < 0.5 * max(one.size_px, other.size_px))


def _part(run: Tracklet, start: int, end: int) -> Tracklet:
    """Frames [start, end) of a run, with their share of the searches."""
    chosen = slice(start - run.start, end - run.start)
    share = (end - start) / len(run.observations)
    return Tracklet(
        start=start,
        observations=run.observations[chosen],
        appearances=run.appearances[chosen],
        searches=round(run.searches * share),
        hits=round(run.hits * share),
    )


def _change(before: Tracklet, after: Tracklet, fps: float) -> float:
    """How much a person would have changed over a gap: place, pose and colour."""
    last, first = before.observations[-1], after.observations[0]
    size = max(last.size_px, first.size_px)
    coast = COAST_S * fps * (1 - np.exp(-(after.start - before.end + 1) / (COAST_S * fps)))
    place = hips(first) - hips(last) - before.velocity_px(at_end=True) * coast
    seen = [np.mean(x, axis=0) for x in (before.appearances[-15:], after.appearances[:15])]
    colour = 1 - similarity(seen[0], seen[1])
    return float(np.hypot(*place)) / size + 0.5 * _pose_change(last, first) / size + colour


def _pose_change(a: Observation, b: Observation) -> float:
    """Mean distance of keypoints about the hips in pixels."""
    apart = (a.keypoints_px - hips(a)) - (b.keypoints_px - hips(b))
    return float(np.linalg.norm(apart[MAIN_JOINTS], axis=1).mean())


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
