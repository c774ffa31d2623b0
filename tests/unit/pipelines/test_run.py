import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pipelines.worker
from pipelines.run import (
    Accounting,
    Item,
    Rejected,
    Stage,
    StageStopped,
    read_results,
    run_stage,
)
from storage_schemas.store import Store


def double(item, store):
    """The number twice; 3 is odd luck, 7 is a bug."""
    number = int(store.read(item.inputs[0]))
    if number == 3:
        raise Rejected("unlucky", f"{number} is not wanted")
    if number == 7:
        raise ZeroDivisionError("seven")
    return {f"out/{item.key}.txt": b"%d" % (2 * number)}


class Multiply:
    """Work with something to load."""

    built = 0

    def __init__(self, factor):
        type(self).built += 1
        self.factor = factor

    def __call__(self, item, store):
        yield f"out/{item.key}.txt", b"%d" % (self.factor * int(store.read(item.inputs[0])))


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "root")
    for number in range(10):
        store.write(f"in/{number}", b"%d" % number)
    return store


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    waited = []
    monkeypatch.setattr(pipelines.worker.time, "sleep", waited.append)
    return waited


def items(numbers=range(10)):
    return [Item(key=f"i{number}", inputs=(f"in/{number}",)) for number in numbers]


def stage(work=double, **changes):
    return Stage(**{"name": "double", "version": "1", "work": work, **changes})


def snapshot(store):
    return {key: store.read(key) for key in store.list()}


def test_a_file_among_the_outputs_is_moved_into_the_store(store, tmp_path):
    def work(item, store):
        path = tmp_path / item.key
        path.write_bytes(b"large")
        return {f"out/{item.key}": path}

    assert run_stage(stage(work), items([1, 2]), store).kept == 2
    assert store.read("out/i1") == b"large"
    assert not (tmp_path / "i1").exists()
    (first, _) = read_results(store, "double")
    assert first.outputs == {"out/i1": hashlib.sha256(b"large").hexdigest()}
    assert run_stage(stage(work), items([1, 2]), store).reused == 2


def test_every_input_is_accounted_for_with_its_reason(store):
    accounting = run_stage(stage(), items(), store)
    assert accounting == Accounting(
        stage="double",
        inputs=10,
        kept=8,
        filtered={"unlucky": 1},
        failed={"ZeroDivisionError": 1},
        reused=0,
    )
    assert accounting.summary() == (
        "double: 10 inputs = 8 kept + 1 filtered (unlucky 1) + "
        "1 failed (ZeroDivisionError 1); 0 reused"
    )
    results = {result.key: result for result in read_results(store, "double")}
    assert results["i3"].detail == "3 is not wanted"
    assert "raise ZeroDivisionError" in results["i7"].detail
    assert results["i4"].outputs == {"out/i4.txt": hashlib.sha256(b"8").hexdigest()}
    assert store.read("out/i4.txt") == b"8"


def test_what_did_not_change_is_reused_and_failures_are_tried_again(store):
    run_stage(stage(), items(), store)
    before = snapshot(store)
    again = run_stage(stage(), items(), store)
    assert (again.kept, again.reused) == (8, 9)
    assert snapshot(store) == before


@pytest.mark.parametrize(
    "change", [{"version": "2"}, {"parameters": {"a": 1}}, {"weights": "abc"}, {"name": "other"}]
)
def test_a_changed_stage_computes_everything_again(store, change):
    run_stage(stage(), items([1, 2]), store)
    assert run_stage(stage(**change), items([1, 2]), store).reused == 0


def test_a_changed_input_or_a_lost_output_is_computed_again(store):
    run_stage(stage(), items([1, 2, 4]), store)
    store.write("in/1", b"11")
    store.delete("out/i2.txt")
    assert run_stage(stage(), items([1, 2, 4]), store).reused == 1
    assert (store.read("out/i1.txt"), store.read("out/i2.txt")) == (b"22", b"4")


def test_outputs_of_an_older_result_do_not_stay(store):
    def write_old(item, store):
        return {"out/old": b"", "out/both": b"1"}

    def write_new(item, store):
        return {"out/both": b"2"}

    def reject_late(item, store):
        yield "out/half", b""
        raise Rejected("late")

    run_stage(stage(write_old), items([1]), store)
    run_stage(stage(write_new, version="2"), items([1]), store)
    assert store.list("out/") == ["out/both"]
    run_stage(stage(reject_late, version="3"), items([1]), store)
    assert store.list("out/") == []


def test_files_outside_the_store_count_as_content(store, tmp_path):
    source = tmp_path / "a.txt"
    item = Item(key="a", inputs=(source,))

    def copy(item, store):
        return {"out/a": item.inputs[0].read_bytes()}

    source.write_bytes(b"1")
    run_stage(stage(copy), [item], store)
    assert run_stage(stage(copy), [item], store).reused == 1
    source.write_bytes(b"2")
    assert run_stage(stage(copy), [item], store).reused == 0
    source.unlink()
    assert run_stage(stage(copy), [item], store).failed == {"FileNotFoundError": 1}


def test_a_class_is_built_once_and_only_when_needed(store):
    Multiply.built = 0
    triple = stage(Multiply, parameters={"factor": 3})
    run_stage(triple, items([1, 2, 3]), store)
    assert Multiply.built == 1
    assert store.read("out/i2.txt") == b"6"
    run_stage(triple, items([1, 2, 3]), store)
    assert Multiply.built == 1


def test_passing_input_trouble_is_tried_again_and_lasting_trouble_is_not(store, waits):
    calls = []

    def flaky(item, store):
        calls.append(item.key)
        if len(calls) < 3:
            raise ConnectionResetError("gone")
        return {}

    assert run_stage(stage(flaky), items([1]), store).kept == 1
    assert waits == [0.2, 1.0]

    def down(item, store):
        raise TimeoutError("still gone")

    assert run_stage(stage(down, version="2"), items([1]), store).failed == {"TimeoutError": 1}
    assert len(waits) == 5

    def missing(item, store):
        raise FileNotFoundError("never there")

    assert run_stage(stage(missing, version="3"), items([1]), store).failed
    assert len(waits) == 5


def test_failures_in_a_row_stop_the_run_and_are_named(store):
    def work(item, store):
        if item.key in {"i0", "i2", "i3", "i4"}:
            raise KeyError(item.key)
        return {}

    with pytest.raises(StageStopped, match="3 times in a row, on i2, i3, i4"):
        run_stage(stage(work), items(), store, max_failures_in_a_row=3)
    assert len(list(read_results(store, "double"))) == 5
    assert run_stage(stage(work), items(), store, max_failures_in_a_row=4).kept == 6


def test_equal_keys_and_lost_counts_are_errors(store):
    with pytest.raises(ValueError, match="keys must differ"):
        run_stage(stage(), items([1, 1]), store)
    with pytest.raises(ValueError, match="lost count"):
        Accounting(stage="s", inputs=3, kept=1, filtered={"a": 1}, failed={}, reused=0)


def test_results_are_plain_records_without_a_clock(store):
    run_stage(stage(), items([1]), store)
    first = store.read("results/double/i1.json")
    store.delete("results/double/i1.json")
    run_stage(stage(), items([1]), store)
    assert store.read("results/double/i1.json") == first
    assert json.loads(first)["status"] == "kept"


RAY = """
import sys
from test_run import RAY_STAGE, items
from pipelines.run import run_stage
from storage_schemas.store import Store

if __name__ == "__main__":
    print(run_stage(RAY_STAGE, items(range(2, 6)), Store(sys.argv[1]), workers=2).summary())
"""


class MultiplyPicky(Multiply):
    def __call__(self, item, store):
        if item.key == "i3":
            raise Rejected("unlucky")
        return super().__call__(item, store)


RAY_STAGE = Stage(name="triple", version="1", parameters={"factor": 3}, work=MultiplyPicky)


def test_ray_actors_give_the_same_results_as_this_process(store, tmp_path):
    here = Path(__file__)
    script = tmp_path / "on_ray.py"
    script.write_text(RAY)
    paths = os.pathsep.join([str(here.parents[3]), str(here.parent)])
    done = subprocess.run(
        [sys.executable, str(script), store.root],
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    on_ray = snapshot(store)
    for key in store.list("out/") + store.list("results/"):
        store.delete(key)
    summary = run_stage(RAY_STAGE, items(range(2, 6)), store).summary()
    assert done.stdout.splitlines() == [summary]
    assert snapshot(store) == on_ray
