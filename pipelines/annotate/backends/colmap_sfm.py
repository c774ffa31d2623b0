"""Structure from motion in a process of its own: `python -m ...colmap_sfm <folder>`.

pycolmap leaks zlib symbols when it is loaded before numpy and cv2, and has hung once; a process
with a time limit contains both. The folder holds `images/*.png`, `masks/*.png.png` (0 = ignore)
and `request.json`; the answer is `result.npz` beside them.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

WORK_SIDE = 512
"""Short side of the images: smaller ones fail, larger ones only cost."""
MAX_FEATURES = 1500
OVERLAP = 8
CLOCK = 5


def reconstruct(
    frames: UInt8[np.ndarray, "frames height width 3"],
    people: Bool[np.ndarray, "frames height width"],
    focal_px: float,
    timeout_s: float = 60.0,
    focal_range_px: tuple[float, float] | None = None,
) -> dict[str, np.ndarray] | None:
    """Camera poses of key frames up to scale, or None when the reconstruction failed.

    Args:
        frames: Key frames, RGB.
        people: Pixels to ignore.
        focal_px: Focal length, known or guessed.
        timeout_s: The process is ended after this processor time, or `CLOCK` times it by the clock:
            a busy machine is no reason to fail.
        focal_range_px: Where given, the focal length is found as well, and the guess is kept only
            if what was found lies outside: a dolly along the axis tells nothing of it, and made
            756 px of 222 px on a rendered clip.

    Returns:
        `index[r]` of the registered frames, `T_camera_world[r,4,4]`, `focal_px`, `is_refined`,
        `error_px` (mean reprojection), `num_points`; pixels of `frames`.
    """
    height, width = frames.shape[1:3]
    scale = WORK_SIDE / min(height, width)
    with tempfile.TemporaryDirectory(prefix="isa4d_sfm_") as name:
        folder = Path(name)
        _write_request(folder, frames, people, scale)
        request = {
            "width": round(width * scale),
            "height": round(height * scale),
            "focal_px": focal_px * scale,
            "focal_range_px": [px * scale for px in focal_range_px or ()],
            "cpu_limit_s": int(np.ceil(timeout_s)) + 1,
        }
        (folder / "request.json").write_text(json.dumps(request))
        command = [sys.executable, "-m", "pipelines.annotate.backends.colmap_sfm", name]
        root = Path(__file__).parents[3]
        try:
            subprocess.run(
                command, timeout=CLOCK * timeout_s, capture_output=True, check=True, cwd=root
            )
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
            return None
        with np.load(folder / "result.npz", allow_pickle=False) as archive:
            result = {key: archive[key] for key in archive.files}
    if len(result["index"]) == 0:
        return None
    result["focal_px"] = result["focal_px"] / scale
    result["error_px"] = result["error_px"] / scale
    return result


def _write_request(
    folder: Path,
    frames: UInt8[np.ndarray, "frames height width 3"],
    people: Bool[np.ndarray, "frames height width"],
    scale: float,
) -> None:
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    grow = np.ones((9, 9), np.uint8)
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    for i, (frame, hidden) in enumerate(zip(frames, people, strict=True)):
        size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
        image = cv2.resize(frame, size, interpolation=how)
        mask = cv2.resize(hidden.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        keep = 255 * (1 - cv2.dilate(mask, grow))
        cv2.imwrite(str(folder / f"images/{i:04d}.png"), image[..., ::-1])
        cv2.imwrite(str(folder / f"masks/{i:04d}.png.png"), keep)


def _run(folder: Path) -> None:
    import pycolmap  # after numpy and cv2, see above

    request: dict[str, Any] = json.loads((folder / "request.json").read_text())
    limit = request["cpu_limit_s"]
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))  # ends also when the parent is gone
    focal, width, height = (request[name] for name in ("focal_px", "width", "height"))
    database, images = folder / "database.db", folder / "images"
    reader = pycolmap.ImageReaderOptions()
    reader.mask_path = str(folder / "masks")
    reader.camera_model = "SIMPLE_PINHOLE"
    reader.camera_params = f"{focal},{width / 2},{height / 2}"
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.use_gpu = False
    extraction.num_threads = 1
    extraction.sift.max_num_features = MAX_FEATURES
    pycolmap.extract_features(
        database,
        images,
        camera_mode=pycolmap.CameraMode.SINGLE,
        reader_options=reader,
        extraction_options=extraction,
    )
    matching = pycolmap.FeatureMatchingOptions()
    matching.use_gpu = False
    matching.num_threads = 1
    pairing = pycolmap.SequentialPairingOptions()
    pairing.overlap = OVERLAP
    pycolmap.match_sequential(database, matching_options=matching, pairing_options=pairing)
    options = pycolmap.GlobalPipelineOptions()
    options.random_seed = 0
    options.num_threads = 1
    adjustment = options.mapper.bundle_adjustment
    adjustment.refine_extra_params = False
    least, most = request["focal_range_px"] or (0.0, 0.0)
    best, is_refined = None, False
    for refines in (True, False) if most else (False,):
        adjustment.refine_focal_length = refines
        model = folder / f"model_{refines}"
        found = pycolmap.global_mapping(database, images, model, options=options)
        best = max(found.values(), key=lambda r: r.num_reg_images(), default=None)
        is_refined = refines and best is not None and least < _focal_px(best) < most
        if is_refined:
            break
    _write_result(folder, best, is_refined)


def _focal_px(reconstruction: Any) -> float:
    return float(next(iter(reconstruction.cameras.values())).focal_length)


def _write_result(folder: Path, reconstruction: Any | None, is_refined: bool) -> None:
    index: list[int] = []
    poses: list[Float[np.ndarray, "4 4"]] = []
    focal = error = 0.0
    num_points = 0
    if reconstruction is not None:
        for image in reconstruction.images.values():
            if image.has_pose:
                index.append(int(Path(image.name).stem))
                poses.append(np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]]))
        focal = _focal_px(reconstruction)
        error = float(reconstruction.compute_mean_reprojection_error())
        num_points = int(reconstruction.num_points3D())
    order: Int[np.ndarray, "registered"] = np.argsort(index).astype(np.int64)
    np.savez(
        folder / "result.npz",
        index=np.array(index, np.int64)[order],
        T_camera_world=np.array(poses, np.float64).reshape(-1, 4, 4)[order],
        focal_px=np.float64(focal),
        is_refined=np.bool_(is_refined),
        error_px=np.float64(error),
        num_points=np.int64(num_points),
    )


if __name__ == "__main__":
    _run(Path(sys.argv[1]))
