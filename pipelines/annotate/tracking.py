"""Unbroken runs of people seen in single frames: follow, and find anew."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from pipelines.annotate.backends.observation import MASK_SIZE, Observation, PeopleBackend, Roi

MAIN_JOINTS = np.array([0, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28])
SHOULDERS, HIPS = [11, 12], [23, 24]
COARSE_SCALES = (0.0, 1.0)
MISSING_SCALES = (0.66,)
ALL_SCALES = (0.0, 1.0, 0.66, 0.45)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackingSettings:
    """Thresholds, chosen on the real test videos; lengths are parts of the body's window."""

    key_interval_s: float = 1.0
    """Search in all tiles this often; this costs 0.4 s of CPU at 540p."""
    coarse_interval_s: float = 0.3
    """Search in the whole frame and the big tiles this often."""
    min_score: float = 0.35
    """Weakest observation that continues a person."""
    min_new_score: float = 0.45
    """Weakest observation that starts a person."""
    max_jump: float = 0.35
    """Farthest hip motion against the prediction between two frames."""
    duplicate_distance: float = 0.09
    """Mean distance of keypoints under which two observations are one person."""
    duplicate_overlap: float = 0.6
    """Share of the smaller mask inside the other one above which both are one person."""
    min_steady_similarity: float = 0.35
    """Colour similarity to one's last half second; less is another person or an occluder."""
    brief_gap_s: float = 0.4
    """Gap that motion alone may bridge."""
    short_gap_s: float = 1.0
    """Gap that motion and a rough colour match may bridge."""
    max_crossing_s: float = 1.5
    """Longest time that a person hidden by another is looked for beside that one."""
    swap_margin: float = 0.1
    """By how much a swap in a crossing must explain place, pose and colour better."""
    smooth_swap_margin: float = 0.4
    """The same where the follower never jumped."""
    max_smooth_step: float = 0.06
    """Hip motion between two frames, against the speed before, that is no jump."""
    max_gap_s: float = 6.0
    """Whoever was away longer is somebody new: two men in black, 30 s apart, were 0.95 alike."""
    min_similarity: float = 0.55
    """Colour similarity to bridge a short gap."""
    min_similarity_long: float = 0.8
    """Colour similarity to recognise a person who comes back; strangers reached 0.78."""
    min_visible_s: float = 0.4
    """People seen for less are dropped."""
    min_hit_share: float = 0.4
    """People whom the detector does not find again by itself this often are dropped."""
    min_mean_score: float = 0.5
    """People with a lower mean score are dropped."""


@dataclass(slots=True)
class Tracklet:
    """One person in an unbroken run of frames."""

    start: int
    observations: list[Observation] = field(default_factory=list)
    appearances: list[Float[np.ndarray, "3 bins"]] = field(default_factory=list)
    searches: int = 0
    """How often the detector was asked while this person was followed."""
    hits: int = 0
    """How often it saw the person by itself."""

    @property
    def end(self) -> int:
        """First frame after the run."""
        return self.start + len(self.observations)

    def at(self, frame_index: int) -> Observation | None:
        """The observation in a frame of the clip."""
        inside = self.start <= frame_index < self.end
        return self.observations[frame_index - self.start] if inside else None

    def appearance(self) -> Float[np.ndarray, "3 bins"]:
        """Mean colour histograms of the run, see the function `appearance`."""
        return np.mean(self.appearances, axis=0)

    def velocity_px(self, *, at_end: bool) -> Float[np.ndarray, "2"]:
        """Mean hip motion per frame over the last (or first) five frames."""
        run = self.observations[-5:] if at_end else self.observations[:5]
        if len(run) < 2:
            return np.zeros(2)
        return (hips(run[-1]) - hips(run[0])) / (len(run) - 1)

    def predicted_roi(self, *, backward: bool = False) -> Roi:
        """Window for the next frame (or the one before): the network's wish moved by velocity."""
        last = self.observations[0 if backward else -1]
        step = self.velocity_px(at_end=not backward) * (-1 if backward else 1)
        roi = last.next_roi
        return Roi(
            x_px=roi.x_px + float(step[0]),
            y_px=roi.y_px + float(step[1]),
            size_px=roi.size_px,
            rotation_rad=roi.rotation_rad,
        )


def score(observation: Observation) -> float:
    """Trust in an observation, [0, 1]: keypoint confidence, and agreement with its own mask."""
    confidence = observation.keypoint_confidence[MAIN_JOINTS]
    uv = _roi_coordinates(observation)
    cells = np.clip(uv[MAIN_JOINTS].astype(int), 0, MASK_SIZE - 1)
    inside = observation.mask[cells[:, 1], cells[:, 0]] > 76
    support = float((inside * confidence).sum() / max(confidence.sum(), 1e-6))
    mass = observation.mask.astype(np.float32)
    low, high = uv.min(axis=0), uv.max(axis=0)
    margin = 0.12 * MASK_SIZE
    x0, y0 = np.clip(low - margin, 0, MASK_SIZE).astype(int)
    x1, y1 = np.clip(high + margin, 0, MASK_SIZE).astype(int)
    contained = float(mass[y0:y1, x0:x1].sum() / max(mass.sum(), 1.0))
    return float(confidence.mean()) * support * contained


def are_duplicates(a: Observation, b: Observation, settings: TrackingSettings) -> bool:
    """Whether two observations of one frame show the same body."""
    size = max(a.size_px, b.size_px)
    gap = np.linalg.norm(a.keypoints_px - b.keypoints_px, axis=1)[MAIN_JOINTS]
    weight = np.minimum(a.keypoint_confidence, b.keypoint_confidence)[MAIN_JOINTS] + 1e-6
    if float((gap * weight).sum() / weight.sum()) < settings.duplicate_distance * size:
        return True
    if np.hypot(*(hips(a) - hips(b))) > 1.2 * size:
        return False
    small, large = sorted((a, b), key=lambda o: o.roi.size_px * np.sqrt(o.mask.mean()))
    return mask_overlap(small, large) > settings.duplicate_overlap


def mask_overlap(small: Observation, large: Observation, cells: int = 64) -> float:
    """Share of one mask that lies inside another."""
    mask = cv2.resize(small.mask, (cells, cells), interpolation=cv2.INTER_AREA) > 127
    if not mask.any():
        return 1.0
    image_from_small = _square(small.roi.affine_image_from_roi(cells))
    image_from_large = _square(large.roi.affine_image_from_roi())
    large_from_small = (np.linalg.inv(image_from_large) @ image_from_small)[:2]
    other = cv2.warpAffine(
        large.mask, large_from_small, (cells, cells), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return float((mask & (other > 127)).sum() / mask.sum())


def appearance(
    frame: UInt8[np.ndarray, "height width 3"], observation: Observation
) -> Float[np.ndarray, "3 bins"]:
    """Colour histograms (Lab 4x6x6) of head, trunk and legs; zero rows for parts not seen."""
    cells = 64
    affine = observation.roi.affine_image_from_roi(cells)
    window = cv2.warpAffine(
        frame, affine, (cells, cells), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    lab = cv2.cvtColor(window, cv2.COLOR_RGB2LAB).astype(int)
    mask = cv2.resize(observation.mask, (cells, cells), interpolation=cv2.INTER_AREA) > 178
    rows = np.arange(cells)[:, None] / cells
    uv = _roi_coordinates(observation) / MASK_SIZE
    shoulder, hip = uv[SHOULDERS, 1].mean(), uv[HIPS, 1].mean()
    parts = (rows < shoulder, (rows >= shoulder) & (rows < hip), rows >= hip)
    # the cast of a and b of people lies within 40 of neutral, hence the narrow bins
    index = np.clip(lab[..., 0] // 64, 0, 3) * 36
    index += np.clip((lab[..., 1] - 98) // 10, 0, 5) * 6 + np.clip((lab[..., 2] - 98) // 10, 0, 5)
    result = np.zeros((3, 144))
    for row, part in zip(result, parts, strict=True):
        chosen = index[mask & part]
        if chosen.size >= 20:
            row += np.bincount(chosen, minlength=144) / chosen.size
    return result


def similarity(a: Float[np.ndarray, "3 bins"], b: Float[np.ndarray, "3 bins"]) -> float:
    """Bhattacharyya coefficient, mean over the parts both people show; 0.5 when none."""
    seen = (a.sum(axis=1) > 0.5) & (b.sum(axis=1) > 0.5)
    if not seen.any():
        return 0.5
    return float(np.sqrt(a[seen] * b[seen]).sum(axis=1).mean())


class Tracker:
    """Builds tracklets over one clip."""

    def __init__(
        self,
        frames: UInt8[np.ndarray, "frames height width 3"],
        fps: float,
        backend: PeopleBackend,
        settings: TrackingSettings,
    ) -> None:
        self._frames = frames
        self._backend = backend
        self._settings = settings
        self._key_interval = max(12, round(settings.key_interval_s * fps))
        self._coarse_interval = max(4, round(settings.coarse_interval_s * fps))
        self.tracklets: list[Tracklet] = []

    def run(self) -> list[Tracklet]:
        """Follow everybody through the clip, and look for newcomers at intervals."""
        next_search = 0
        for t in range(len(self._frames)):
            has_lost = self._follow_all(t)
            is_key = t % self._key_interval == 0 or t == len(self._frames) - 1
            if is_key or t >= next_search:
                scales = MISSING_SCALES if self._is_somebody_missing(t) else COARSE_SCALES
                self._search(t, ALL_SCALES if is_key else scales)
                next_search = t + self._coarse_interval
            elif has_lost or self._recently_lost(t):
                self._search(t, ())
        return self.tracklets

    def _is_somebody_missing(self, t: int) -> bool:
        """Whether fewer people are followed than at some time in the last five key intervals."""
        since = max(0, t - 5 * self._key_interval)
        before = [len(self._active(u)) for u in range(since, t, self._coarse_interval)]
        return len(self._active(t)) < max(before, default=0)

    def _recently_lost(self, t: int) -> list[Roi]:
        """Windows of people lost within the last second, looked at every third frame."""
        return [
            tracklet.predicted_roi()
            for tracklet in self.tracklets
            if 0 < t - tracklet.end + 1 <= self._key_interval and (t - tracklet.end) % 3 == 0
        ]

    def _active(self, t: int) -> list[Tracklet]:
        return [tracklet for tracklet in self.tracklets if tracklet.start <= t < tracklet.end]

    def _follow_all(self, t: int) -> bool:
        before = self._active(t - 1)
        for tracklet in before:
            last = tracklet.observations[-1]
            found = self._continue(tracklet, t, tracklet.predicted_roi(), last)
            if found is None:  # the velocity misled
                found = self._continue(tracklet, t, last.next_roi, last)
            if found is not None:
                look = appearance(self._frames[t], found)
                recent = np.mean(tracklet.appearances[-15:], axis=0)
                if similarity(look, recent) < self._settings.min_steady_similarity:
                    continue
                tracklet.observations.append(found)
                tracklet.appearances.append(look)
        self._end_duplicates(t)
        return len(self._active(t)) < len(before)

    def _continue(
        self, tracklet: Tracklet, t: int, roi: Roi, last: Observation
    ) -> Observation | None:
        found = self._backend.follow(self._frames[t], roi)
        if found is None or score(found) < self._settings.min_score:
            return None
        jump = np.hypot(*(hips(found) - np.array([roi.x_px, roi.y_px])))
        growth = found.size_px / last.size_px
        if jump > self._settings.max_jump * last.size_px or not 0.6 < growth < 1.67:
            return None
        height, width = self._frames.shape[1:3]
        middle = hips(found)
        margin = 0.15 * found.size_px
        is_outside = (middle < -margin).any() or (middle > np.array([width, height]) + margin).any()
        return None if is_outside else found

    def _end_duplicates(self, t: int) -> None:
        """Where two people became one, the one who changed more has been hidden: end it there."""
        active = self._active(t)
        for i, a in enumerate(active):
            for b in active[i + 1 :]:
                if a.end <= t or b.end <= t:
                    continue
                if are_duplicates(a.observations[-1], b.observations[-1], self._settings):
                    loser = min((a, b), key=_continuity)
                    loser.observations.pop()
                    loser.appearances.pop()
        self.tracklets = [tracklet for tracklet in self.tracklets if tracklet.observations]

    def _search(self, t: int, scales: Sequence[float]) -> None:
        frame = self._frames[t]
        active = self._active(t)
        known = [tracklet.observations[t - tracklet.start] for tracklet in active]
        near = [o.next_roi for o in known] if scales else []
        proposals = self._backend.propose(frame, scales, [*near, *self._recently_lost(t)])
        unknown: list[Roi] = []
        is_hit = np.zeros(len(known), bool)
        for roi in proposals:
            matches = np.array([_is_same_window(roi, o.next_roi) for o in known], bool)
            is_hit |= matches
            if not matches.any():
                unknown.append(roi)
        for tracklet, hit in zip(active, is_hit, strict=True):
            tracklet.searches += bool(scales)
            tracklet.hits += bool(scales) and bool(hit)
        found = (self._settle(frame, roi) for roi in unknown)
        for candidate in sorted((o for o in found if o is not None), key=score, reverse=True):
            if score(candidate) < self._settings.min_new_score:
                continue
            if any(are_duplicates(candidate, other, self._settings) for other in known):
                continue
            known.append(candidate)
            tracklet = Tracklet(t, [candidate], [appearance(frame, candidate)])
            self._extend_backward(tracklet, t)
            self.tracklets.append(tracklet)

    def _settle(self, frame: UInt8[np.ndarray, "h w 3"], roi: Roi) -> Observation | None:
        """Follow the window to where the network wants it; cut-off bodies settle on the whole."""
        found: Observation | None = None
        for _ in range(3):
            found = self._backend.follow(frame, roi)
            if found is None or 0.85 < found.size_px / roi.size_px < 1.18:
                break
            roi = found.next_roi
        return found

    def _extend_backward(self, tracklet: Tracklet, t: int) -> None:
        for earlier in range(t - 1, max(t - self._key_interval, 0) - 1, -1):
            roi = tracklet.predicted_roi(backward=True)
            found = self._continue(tracklet, earlier, roi, tracklet.observations[0])
            if found is None:
                return
            others = (other.at(earlier) for other in self.tracklets)
            if any(o is not None and are_duplicates(found, o, self._settings) for o in others):
                return
            tracklet.observations.insert(0, found)
            tracklet.appearances.insert(0, appearance(self._frames[earlier], found))
            tracklet.start = earlier


def hips(observation: Observation) -> Float[np.ndarray, "2"]:
    """Middle of the hips in image pixels."""
    return observation.keypoints_px[HIPS].mean(axis=0)


def _is_same_window(a: Roi, b: Roi) -> bool:
    size = max(a.size_px, b.size_px)
    is_near = np.hypot(a.x_px - b.x_px, a.y_px - b.y_px) < 0.2 * size
    return bool(is_near) and 0.6 < a.size_px / b.size_px < 1.67


def _continuity(tracklet: Tracklet) -> float:
    """How well the last observation continues the ones before: colour less jump."""
    if len(tracklet.observations) < 2:
        return -1.0
    before = Tracklet(0, tracklet.observations[:-1][-10:], tracklet.appearances[:-1][-10:])
    alike = similarity(before.appearance(), tracklet.appearances[-1])
    roi = before.predicted_roi()
    jump = np.hypot(*(hips(tracklet.observations[-1]) - np.array([roi.x_px, roi.y_px])))
    return alike - 2.0 * float(jump) / roi.size_px


def _roi_coordinates(observation: Observation) -> Float[np.ndarray, "33 2"]:
    affine = np.linalg.inv(_square(observation.roi.affine_image_from_roi()))
    return observation.keypoints_px @ affine[:2, :2].T + affine[:2, 2]


def _square(affine: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "3 3"]:
    return np.vstack([affine, [0, 0, 1]])
