"""Weights in torch's own format (.pt), which is a pickle: read without running what it names.

torch's weights-only reader admits tensors and plain values. Files that hold a whole module (as
ultralytics saves them) also name the classes of its layers: those become inert stand-ins, which
carry state and never import the class they are called after. Anything else is refused.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.body.pickle_reader import BROKEN

HINT = "get the file from its publisher again"


class InertObject:
    """An object of the file, reduced to its state."""

    def __init__(self, *_arguments: Any, **_named: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {})


def read_torch_file(path: Path, inert_modules: Sequence[str] = ()) -> Any:
    """Content of a file of tensors and plain values.

    Args:
        path: File that `torch.save` wrote.
        inert_modules: Python packages whose classes the file may name; they stay stand-ins.

    Raises:
        ValueError: If the file is damaged, or names anything else.
        FileNotFoundError: If there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no weights file {path}")
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (*BROKEN, RuntimeError, ValueError, OSError) as error:
        raise ValueError(f"{path} is no readable file of weights ({error}); {HINT}") from error
    known = tuple(f"{module}." for module in inert_modules)
    foreign = sorted(name for name in named if not name.startswith(known))
    if foreign:
        raise ValueError(
            f"{path} names {', '.join(foreign)}, which weights do not need and which could run "
            f"code; refused; {HINT}"
        )
    inert: list[Any] = [(type(name, (InertObject,), {}), name) for name in named]
    try:
        with torch.serialization.safe_globals(inert):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (*BROKEN, RuntimeError, ValueError, OSError) as error:
        raise ValueError(f"{path} is no readable file of weights ({error}); {HINT}") from error


def tensors_of(module: Any, prefix: str = "") -> dict[str, Tensor]:
    """The state_dict of a module that was read as an `InertObject`.

    Raises:
        ValueError: If the object is no module.
    """
    state = vars(module) if isinstance(module, InertObject) else {}
    if "_modules" not in state:
        raise ValueError(f"expected a saved module, got {type(module).__name__}")
    fleeting = state.get("_non_persistent_buffers_set", ())
    own = {**state["_parameters"], **state["_buffers"]}
    result = {
        f"{prefix}{name}": value
        for name, value in own.items()
        if isinstance(value, Tensor) and name not in fleeting
    }
    for name, child in state["_modules"].items():
        if child is not None:
            result |= tensors_of(child, f"{prefix}{name}.")
    return result


def file_digest(path: Path) -> str:
    """SHA-256 of a file, for provenance."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
