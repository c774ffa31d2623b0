"""Reads the pickles that SMPL is distributed in, without running anything they contain.

A pickle is a program that may call any function it names. Here it can name only: numpy arrays,
types and scalars, scipy CSC and CSR matrices, and chumpy objects; the last two become inert
stand-ins that hold their state and never import scipy's or chumpy's classes.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.core import multiarray

BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
    UnicodeError,
    MemoryError,
    OverflowError,
    ImportError,
)
"""What a damaged pickle makes the unpickler raise."""
NUMPY_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
NUMPY_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


class _Inert:
    """An object of the pickle, reduced to its class name and state."""

    def __init__(self, *_arguments: Any):
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


def _stand_in(name: str) -> type[_Inert]:
    return type(name, (_Inert,), {})


def _reconstructor(kind: Any, _base: Any, _state: Any) -> _Inert:
    if not (isinstance(kind, type) and issubclass(kind, _Inert)):
        raise pickle.UnpicklingError(f"refused to construct {kind}")
    return kind()


def _latin1(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"refused to encode as {encoding}")
    return text.encode("latin1")


def _admitted() -> dict[tuple[str, str], Any]:
    """Everything a pickle may name, made anew for each file so that none can change it."""
    admitted: dict[tuple[str, str], Any] = {("_codecs", "encode"): lambda t, e: _latin1(t, e)}
    for module in NUMPY_MODULES:
        admitted |= {(module, "ndarray"): np.ndarray, (module, "dtype"): np.dtype}
        admitted |= {
            (module, "_reconstruct"): multiarray._reconstruct,  # pyright: ignore
            (module, "scalar"): multiarray.scalar,  # pyright: ignore
        }
    for module in NUMPY_NUMERIC:
        admitted[(module, "_frombuffer")] = lambda data, dtype, shape, order: np.frombuffer(
            data, dtype=dtype
        ).reshape(shape, order=order)
    for module in ("copy_reg", "copyreg"):
        admitted[(module, "_reconstructor")] = lambda kind, base, state: _reconstructor(
            kind, base, state
        )
    for kind in ("csc", "csr"):
        for module in (f"scipy.sparse.{kind}", f"scipy.sparse._{kind}"):
            admitted[(module, f"{kind}_matrix")] = _stand_in(f"{kind}_matrix")
    for module in ("__builtin__", "builtins"):
        admitted[(module, "object")] = object
    return admitted


class _Reader(pickle.Unpickler):
    def __init__(self, file: Any, path: Path):
        super().__init__(file, encoding="latin1")
        self._path = path
        self._admitted = _admitted()

    def find_class(self, module_name: str, global_name: str, /) -> Callable[..., Any]:
        if module_name.split(".")[0] == "chumpy":
            return _stand_in(f"chumpy.{global_name}")
        try:
            return self._admitted[module_name, global_name]
        except KeyError:
            raise ValueError(
                f"{self._path} names {module_name}.{global_name}, which no body file needs and "
                "which could run code; refused. Get the file from its publisher again, or convert "
                "it to .npz with v_template, shapedirs, posedirs, J_regressor, weights, "
                "kintree_table and f on a machine where you trust it"
            ) from None


def _plain(value: Any, name: str, path: Path) -> Any:
    if not isinstance(value, _Inert):
        return value
    kind, state = type(value).__name__, value.state
    if kind in ("csc_matrix", "csr_matrix"):
        build = getattr(scipy.sparse, kind)
        shape = state.get("_shape", state.get("shape"))
        return build((state["data"], state["indices"], state["indptr"]), shape=shape)
    data = state.get("x")
    if not isinstance(data, np.ndarray):
        raise ValueError(
            f"{name} in {path} is {kind}, a computed chumpy value; only stored arrays can be "
            "read without chumpy: save it as a numpy array"
        )
    return data


def read_body_pickle(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """The named entries of a body pickle as arrays, sparse matrices or plain values.

    Raises:
        ValueError: If the file is damaged, names anything but the admitted types, or holds
            something else than a dictionary of names.
    """
    with path.open("rb") as file:
        try:
            content = _Reader(file, path).load()
        except BROKEN as error:
            raise ValueError(f"{path} is not a readable body pickle: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a dictionary, got {type(content).__name__}")
    return {name: _plain(content[name], name, path) for name in names if name in content}
