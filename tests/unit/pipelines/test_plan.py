"""What a listing says of a stage is what a look at every item says."""

import json
import uuid

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

import pipelines.plan
from pipelines.run import Item, Rejected, Stage, read_results, run_stage
from pipelines.worker import Worker
from storage_schemas.store import Store


@pytest.fixture(scope="module")
def bucket():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="isa4d")
        yield "s3://isa4d"
    server.stop()


@pytest.fixture
def store(bucket):
    return Store(f"{bucket}/{uuid.uuid4().hex}/deep")


@pytest.fixture
def small(monkeypatch):
    """Groups and listings of a few items, so that a few items have many of both."""
    monkeypatch.setattr(pipelines.plan, "_GROUP_ITEMS", 4)
    monkeypatch.setattr(pipelines.plan, "_RANGE_KEYS", 7)


class Copy:
    """Two outputs for each pair of inputs; names the items it was asked to do."""

    def __init__(self):
        self.done: set[str] = set()

    def __call__(self, item, store):
        self.done.add(item.key)
        content = b"".join(store.read(name) for name in item.inputs)
        if b"bad" in content:
            raise Rejected("bad", "as told")
        return {f"out/{item.key}/copy": content, f"out/{item.key}/size": b"%d" % len(content)}


def stage(version="1"):
    return Stage(name="copy", version=version, work=Copy())


def items(numbers):
    return [Item(key=f"i{n:03d}", inputs=(f"in/{n:03d}", f"more/{n:03d}")) for n in numbers]


def fill(store, numbers):
    for number in numbers:
        store.write(f"in/{number:03d}", b"bad" if number % 7 == 3 else b"%d" % number)
        store.write(f"more/{number:03d}", b"more")


def requests_of(store, call):
    """How many requests the call made."""
    sent = []
    store._backend.client.meta.events.register("before-send.s3", lambda **_: sent.append(1))
    return call(), len(sent)


CHANGES = {
    "another input": lambda store, n: store.write(f"in/{n}", b"other %d" % len(store.list())),
    "the same input again": lambda store, n: store.write(f"in/{n}", store.read(f"in/{n}")),
    "an input that makes it bad": lambda store, n: store.write(f"more/{n}", b"bad"),
    "an output gone": lambda store, n: store.delete(f"out/i{n}/size"),
    "an output changed, which nobody checks": lambda store, n: store.write(f"out/i{n}/copy", b"x"),
    "a record gone": lambda store, n: store.delete(f"results/copy/i{n}.json"),
    "a record replaced": lambda store, n: store.write(
        f"results/copy/i{n}.json", json.dumps({"key": f"i{n}", "address": "", "status": "failed"})
        .encode(),
    ),
    "a plan gone": lambda store, n: [store.delete(k) for k in store.list("plans/")[:2]],
    "a plan torn": lambda store, n: [store.write(k, b"[{") for k in store.list("plans/")[:1]],
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_planning_by_listing_equals_looking_at_every_item(store, small, seed):
    rng = np.random.default_rng(seed)
    fill(store, range(20))
    version = "1"
    for _ in range(4):
        wanted = items(sorted(rng.choice(20, rng.integers(4, 20), replace=False)))
        for name in rng.choice(list(CHANGES), 4):
            for number in rng.choice(20, rng.integers(1, 4), replace=False):
                CHANGES[name](store, f"{number:03d}")
        version = str(rng.integers(1, 3)) if rng.random() < 0.2 else version
        ours = stage(version)
        alone = {item.key: Worker(ours, store).reused(item) for item in wanted}
        run = run_stage(ours, wanted, store)
        assert ours.work.done == {key for key, seen in alone.items() if seen is None}
        assert run.reused == len(wanted) - len(ours.work.done)
        told = {result.key: result for result in read_results(store, "copy")}
        for key, seen in alone.items():
            if seen is not None:
                assert told[key].outputs == seen.result.outputs
        for key, result in told.items():
            lies_there = json.loads(store.read(f"results/copy/{key}.json"))
            assert result.address == lies_there["address"]
            assert not result.is_reused


def test_nothing_to_do_costs_a_few_listings_and_a_new_item_a_few_more(store):
    numbers = range(60)
    fill(store, numbers)
    run_stage(stage(), items(numbers), store)
    ours = stage()
    again, sent = requests_of(store, lambda: run_stage(ours, items(numbers), store))
    assert (again.reused, ours.work.done) == (60, set())
    assert sent < 15
    _, sent = requests_of(store, lambda: list(read_results(store, "copy")))
    assert sent < 10
    fill(store, [60])
    more, sent = requests_of(store, lambda: run_stage(ours, items(range(61)), store))
    assert (more.reused, ours.work.done) == (60, {"i060"})


def test_a_new_item_changes_one_group():
    def names(count):
        return set(pipelines.plan._group(f"{n:05d}" for n in range(count)))

    before, after = names(9000), names(9001)
    assert len(before) > 5
    assert len(before - after) <= 1
    assert len(after - before) <= 2


def test_few_items_among_many_objects_are_looked_at_one_by_one(store, small, monkeypatch):
    monkeypatch.setattr(pipelines.plan, "_MOST_LISTED", 0)
    fill(store, range(4))
    for number in range(1100):
        store.write(f"in/001/{number:04d}", b"")
    run_stage(stage(), items(range(4)), store)
    ours = stage()
    assert run_stage(ours, items(range(4)), store).reused == 4
    assert not ours.work.done


def test_old_plans_that_nobody_asked_for_are_forgotten(store, small, monkeypatch):
    fill(store, range(20))
    run_stage(stage(), items(range(10)), store)
    before = set(store.list("plans/"))
    monkeypatch.setattr(pipelines.plan, "FORGET_AFTER_S", -60.0)
    run_stage(stage(), items(range(10, 20)), store)
    assert not before & set(store.list("plans/"))


def test_a_folder_keeps_no_plans(tmp_path):
    store = Store(tmp_path)
    fill(store, range(3))
    run_stage(stage(), items(range(3)), store)
    assert run_stage(stage(), items(range(3)), store).reused == 3
    assert not store.list("plans/")
