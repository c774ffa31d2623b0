"""Reads the pickles that SMPL and its results come in, without running anything they contain.

A pickle is a program that may call any function it names. Here it can name only: numpy arrays,
types and scalars, scipy CSC and CSR matrices, and chumpy objects; the last two become inert
stand-ins that hold their state and never import scipy's or chumpy's classes. Results of trackers
may also name joblib's arrays and torch's tensors, which are rebuilt here as numpy arrays.
"""

import io
import pickle
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
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
    RecursionError,
    zlib.error,
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


def read_result_pickle(path: Path) -> Any:
    """A tracker's result as dictionaries, lists, plain values and arrays.

    Reads plain pickles, joblib files (bare or zlib), and numpy files that hold one object.

    Raises:
        ValueError: If the file is damaged, or names anything but numpy arrays and torch tensors.
    """
    data = path.read_bytes()
    try:
        data = zlib.decompress(data) if data[:1] == b"\x78" else data
        return _unwrapped(_ResultReader(io.BytesIO(_object_of_npy(data)), path).load())
    except BROKEN as error:
        raise ValueError(f"{path} is not a readable result pickle: {error}") from error


def read_result_npz(path: Path, name: str) -> Any:
    """One object that was saved into a .npz as a pickle; see `read_result_pickle`.

    Raises:
        ValueError: Also if there is no array of that name.
    """
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            data = archive.read(f"{name}.npy")
        return _unwrapped(_ResultReader(io.BytesIO(_object_of_npy(data)), path).load())
    except (*BROKEN, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no readable {name!r}: {error}") from error


def _object_of_npy(data: bytes) -> bytes:
    """The pickle inside a numpy file of dtype object; other data as it is."""
    if not data.startswith(np.lib.format.MAGIC_PREFIX):
        return data
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version[0] != 1:
        read = np.lib.format.read_array_header_2_0
    _, _, dtype = read(file)
    if not dtype.hasobject:
        raise pickle.UnpicklingError("it holds plain numbers, no result")
    return file.read()


class _JoblibArray:
    """An array that joblib wrote behind its description, in the middle of the pickle."""

    def __init__(self, *_arguments: Any):
        self.values = np.zeros(0)

    def read(self, file: io.BytesIO, state: dict[str, Any]) -> None:
        dtype, shape = state["dtype"], state["shape"]
        if not isinstance(dtype, np.dtype) or dtype.hasobject:
            raise pickle.UnpicklingError("refused an array of objects")
        if state.get("numpy_array_alignment_bytes") is not None:
            file.read(file.read(1)[0])
        count = int(np.prod(shape, dtype=np.int64))
        data = file.read(count * dtype.itemsize)
        self.values = np.frombuffer(data, dtype).reshape(shape, order=state["order"])


class _ResultReader(pickle._Unpickler):  # pyright: ignore
    """Python's own reader: it alone stops exactly where joblib put the bytes of an array."""

    def __init__(self, file: io.BytesIO, path: Path):
        super().__init__(file, encoding="latin1")
        self._path = path
        self._admitted = _admitted() | _tensors()

        class Wrapper(_JoblibArray):
            def __setstate__(self, state: Any) -> None:
                self.read(file, state)

        self._admitted[("joblib.numpy_pickle", "NumpyArrayWrapper")] = Wrapper

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        try:
            return self._admitted[module, name]
        except KeyError:
            raise ValueError(
                f"{self._path} names {module}.{name}, which no result needs and which "
                "could run code; refused. Run the tracker again, and save numpy arrays only"
            ) from None


def _tensors() -> dict[tuple[str, str], Any]:
    """What a pickled torch tensor names; made into numpy arrays."""

    def storage(data: bytes) -> torch.TypedStorage:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)

    def tensor(stored: Any, offset: int, size: Any, stride: Any, *_: Any) -> np.ndarray:
        if not isinstance(stored, torch.TypedStorage):
            raise pickle.UnpicklingError("refused a tensor without storage")
        plain = stored._untyped_storage  # pyright: ignore[reportPrivateUsage]
        values = torch.empty(0, dtype=stored.dtype)
        return values.set_(plain, offset, size, stride).numpy().copy()

    return {
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch.storage", "_load_from_bytes"): storage,
        ("collections", "OrderedDict"): OrderedDict,
    }


def _unwrapped(value: Any) -> Any:
    """The same value with joblib's arrays taken out of their wrappers."""
    if isinstance(value, _JoblibArray):
        return value.values
    if isinstance(value, dict):
        return {key: _unwrapped(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_unwrapped(inner) for inner in value]
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return _unwrapped(value.tolist())
    return value
