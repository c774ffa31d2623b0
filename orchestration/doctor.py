"""What is here, what is missing, and how to get it."""

import importlib
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

# numpy and cv2 come before pycolmap: the other order mixes up two copies of zlib
PACKAGES = (
    "numpy", "cv2", "torch", "torchvision", "ray.data", "ray.train", "pyarrow", "webdataset",
    "decord", "av", "sam2", "ultralytics", "open_clip", "smplx", "dagster", "boto3", "mediapipe",
    "moderngl", "pycolmap", "torchmetrics", "scenedetect", "viser", "rerun", "lpips", "diffusers",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report."""

    what: str
    is_fine: bool
    detail: str
    """What was found, or what to do about it."""
    is_needed: bool = True
    """False for parts that the default path does without."""


def _import(name: str) -> Finding:
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, AttributeError) as error:
        return Finding(what=name, is_fine=False, detail=f"{error}; run `make setup`")
    return Finding(what=name, is_fine=True, detail=str(getattr(module, "__version__", "present")))


def _python() -> Finding:
    version = platform.python_version()
    is_fine = sys.version_info[:2] == (3, 11)
    return Finding(
        what="python", is_fine=is_fine, detail=version if is_fine else f"{version}; 3.11 is needed"
    )


def _renderer() -> Finding:
    from pipelines.synthetic.renderers.opengl import opengl_context

    detail = str(opengl_context().info["GL_RENDERER"])
    return Finding(what="renderer", is_fine=True, detail=detail)


def _body() -> Finding:
    from models.body.model import BodyModel

    body = BodyModel.load()
    detail = f"{body.name}, {len(body.v_template)} vertices"
    return Finding(what="body model", is_fine=True, detail=detail)


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
        return Finding(what="gpu", is_fine=True, detail=name, is_needed=False)
    detail = "none; trainings run on the CPU, small ones only"
    return Finding(what="gpu", is_fine=False, detail=detail, is_needed=False)


def _disk() -> Finding:
    free_gb = shutil.disk_usage(".").free / 1e9
    return Finding(
        what="disk", is_fine=free_gb > 5, detail=f"{free_gb:.0f} GB free here, 5 GB are needed"
    )


def _mediapipe_models() -> Finding:
    """MediaPipe carries its models only in 0.10.21; a newer one breaks annotation silently."""
    version = metadata.version("mediapipe")
    is_fine = version == "0.10.21"
    detail = version if is_fine else f"{version}; 0.10.21 is needed, run `make setup`"
    return Finding(what="mediapipe models", is_fine=is_fine, detail=detail)


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python, _mediapipe_models, _renderer, _body, _gpu, _disk,
)  # fmt: skip


def examine() -> list[Finding]:
    """Every finding; nothing is installed or changed, and what is missing stops nothing."""
    return [_import(name) for name in PACKAGES] + [_try(check) for check in CHECKS]


def _try(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        what = check.__name__.strip("_").replace("_", " ")
        return Finding(what=what, is_fine=False, detail=f"{error}; run `make setup`")
