"""Licensed body files are read without running them; anything unfit is refused by name."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from models.body.files import read_body_file
from models.body.pickle_reader import read_body_pickle
from storage_schemas.conventions import SMPL_PARENTS


def small_body(num_joints: int = 24) -> dict:
    rng = np.random.default_rng(0)
    weights = rng.random((30, num_joints))
    parents = np.array([[-1, *range(num_joints - 1)], range(num_joints)])
    parents[0, :24] = SMPL_PARENTS
    return {
        "v_template": rng.random((30, 3)),
        "shapedirs": rng.random((30, 3, 12)),
        "posedirs": rng.random((30, 3, 207)),
        "weights": weights / weights.sum(1, keepdims=True),
        "J_regressor": np.eye(num_joints, 30),
        "kintree_table": parents,
        "f": np.array([[0, 1, 2]], dtype=np.uint32),
    }


def write(path: Path, content: object, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


class Payload:
    """Unpickling this normally would create the file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Named:
    """Pickles a call of any global by its name."""

    def __init__(self, function: object, *arguments: object):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("sparse", [np.asarray, scipy.sparse.csc_matrix, scipy.sparse.csr_matrix])
def test_a_pickle_gives_the_arrays_that_went_in(tmp_path: Path, protocol: int, sparse: type):
    content = small_body()
    stored = content | {"J_regressor": sparse(content["J_regressor"])}
    file = read_body_file(write(tmp_path / "body.pkl", stored, protocol))
    assert np.array_equal(file.J_regressor, content["J_regressor"])
    assert np.array_equal(file.weights, content["weights"])
    assert np.array_equal(file.shapedirs, content["shapedirs"][..., :10])
    assert np.array_equal(file.faces, content["f"])


def test_npz_and_pickle_of_one_body_agree(tmp_path: Path):
    content = small_body()
    np.savez(tmp_path / "body.npz", **content)
    a = read_body_file(tmp_path / "body.npz")
    b = read_body_file(write(tmp_path / "body.pkl", content))
    assert np.array_equal(a.v_template, b.v_template)
    assert np.array_equal(a.surface_points, b.surface_points)


def test_chumpy_arrays_are_read_without_chumpy(tmp_path: Path):
    array = small_body()["shapedirs"]
    # What chumpy.ch.Ch pickles to: the class by name, then its attributes.
    attributes = pickle.dumps({"x": array, "dr_cache": {}}, protocol=2)[2:-1]
    chumpy = b"cchumpy.ch\nCh\n)\x81" + attributes + b"b"
    (tmp_path / "alone.pkl").write_bytes(b"\x80\x02}U\tshapedirs" + chumpy + b"s.")
    read = read_body_pickle(tmp_path / "alone.pkl", ("shapedirs",))
    assert np.array_equal(read["shapedirs"], array)


def test_a_malicious_pickle_is_refused_before_it_acts(tmp_path: Path):
    touched = tmp_path / "touched"
    path = write(tmp_path / "SMPL_NEUTRAL.pkl", {"v_template": Payload(touched)})
    with pytest.raises(ValueError, match=r"SMPL_NEUTRAL\.pkl names posix\.system.*\.npz"):
        read_body_file(path)
    assert not touched.exists()


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (eval, ("1",)),  # run text
        (getattr, ("a", "upper")),  # reach anything from anything
        (__import__, ("os",)),
        (np.load, ("x.npy",)),  # a reader inside an admitted package
        (np.core.multiarray.fromfile, ("x",)),  # inside an admitted module
        (Path, ("x",)),
    ],
)
def test_no_other_global_can_be_named(tmp_path: Path, function: object, arguments: tuple):
    path = write(tmp_path / "body.pkl", {"f": Named(function, *arguments)})
    with pytest.raises(ValueError, match="refused"):
        read_body_pickle(path, ("f",))


@pytest.mark.parametrize("length", [0, 1, 40, 2000])
def test_a_cut_pickle_is_named(tmp_path: Path, length: int):
    path = write(tmp_path / "body.pkl", small_body())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"body\.pkl"):
        read_body_file(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v_template": np.zeros((29, 3))}, r"\(29, 3, 10\)"),
        ({"weights": np.ones((30, 24))}, "sum to 1"),
        ({"v_template": np.full((30, 3), np.nan)}, "finite"),
        ({"kintree_table": np.zeros((2, 24), int)}, "SMPL's tree"),
        ({"J_regressor": None}, r"missing \['J_regressor'\]"),
    ],
)
def test_an_unfit_body_is_refused(tmp_path: Path, change: dict, message: str):
    content = {key: value for key, value in (small_body() | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        read_body_file(write(tmp_path / "body.pkl", content))


def test_a_body_with_hands_is_refused_with_the_way_out(tmp_path: Path):
    content = small_body(num_joints=30)
    with pytest.raises(ValueError, match=r"30 joints.*give the SMPL file"):
        read_body_file(write(tmp_path / "SMPLH_MALE.pkl", content))


def test_an_npz_with_objects_is_refused(tmp_path: Path):
    path = tmp_path / "body.npz"
    np.savez(path, v_template=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"body\.npz"):
        read_body_file(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no body file at .*nothing\.pkl"):
        read_body_file(tmp_path / "nothing.pkl")


def test_a_computed_chumpy_value_is_refused_with_the_way_out(tmp_path: Path):
    path = tmp_path / "body.pkl"
    path.write_bytes(b"\x80\x02}U\x01fcchumpy.reordering\nSelect\n)\x81}bs.")
    with pytest.raises(ValueError, match=r"chumpy\.Select.*numpy array"):
        read_body_pickle(path, ("f",))
