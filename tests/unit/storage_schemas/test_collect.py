import threading
import time

import pytest

import storage_schemas.lease
from storage_schemas.collect import collect, find_garbage
from storage_schemas.dataset import (
    list_names,
    list_tags,
    list_versions,
    publish,
    read_manifest,
    rollback,
    tag,
    verify,
)
from storage_schemas.lease import COLLECT, lease, live_leases
from storage_schemas.refs import find_manifest, give_up
from storage_schemas.store import Store


class Killed(BaseException):
    """No code of ours catches it, as none catches a kill."""


class MortalStore(Store):
    """Dies at the n-th change of the store, before it or just after it, and stays dead."""

    def __init__(self, root, steps=10**9, is_done=False):
        super().__init__(root)
        self.steps, self.is_done = steps, is_done

    def _step(self, change):
        self.steps -= 1
        if self.steps < 0 or (self.steps == 0 and not self.is_done):
            raise Killed
        made = change()
        if self.steps == 0:
            raise Killed
        return made

    def write(self, key, data):
        self._step(lambda: super(MortalStore, self).write(key, data))

    def link(self, key, new_key):
        self._step(lambda: super(MortalStore, self).link(key, new_key))

    def put_new(self, key, data):
        return self._step(lambda: super(MortalStore, self).put_new(key, data))

    def cas(self, key, data, etag):
        return self._step(lambda: super(MortalStore, self).cas(key, data, etag))

    def delete(self, key):
        self._step(lambda: super(MortalStore, self).delete(key))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "root")


@pytest.fixture
def later(monkeypatch):
    """Lets time pass for leases."""
    now = time.time
    passed = [0.0]
    monkeypatch.setattr(storage_schemas.lease.time, "time", lambda: now() + passed[0])

    def wait(seconds):
        passed[0] += seconds

    return wait


def shards_of(store, clips, write_packed, name="people"):
    write_packed(store, name, clips)
    return publish(store, name)


def objects(store):
    return set(store.list("versions/objects/"))


def orphan(store, data=b"left by a killed publisher"):
    key = f"versions/objects/{'0' * 64}.tar"
    store.write(key, data)
    return key


def test_what_any_version_or_tag_names_stays_and_the_rest_goes(store, write_packed):
    first = shards_of(store, {0: (b"a", ""), 1: (b"b", "")}, write_packed)
    second = shards_of(store, {0: (b"c", "")}, write_packed)
    rollback(store, "people@1")
    other = shards_of(store, {5: (b"d", "")}, write_packed, "others")
    before = objects(store)
    lost = orphan(store)
    found = find_garbage(store, grace_s=0.0)
    assert [entry.key for entry in found.garbage] == [lost]
    assert found.summary() == f"{len(before) + 1} objects = {len(before)} used + 0 younger than " \
        "the grace period + 1 garbage (0.0 MB)"  # fmt: skip
    assert store.exists(lost)  # looking removes nothing
    assert collect(store, grace_s=0.0) == found
    assert objects(store) == before
    for manifest in (first, second, other):
        verify(store, manifest)


def test_young_objects_stay(store, write_packed):
    shards_of(store, {0: (b"a", "")}, write_packed)
    lost = orphan(store)
    found = collect(store)
    assert (found.num_young, found.garbage) == (1, ())
    assert store.exists(lost)


@pytest.mark.parametrize("is_done", [False, True])
def test_a_publisher_killed_at_any_step_leaves_nothing_half_visible(
    tmp_path, write_packed, later, is_done
):
    """Before or after every single change of the store; then all goes on as if it had not been."""
    steps, died = 0, True
    while died:
        steps += 1
        root = tmp_path / f"{steps}"
        store = Store(root)
        first = shards_of(store, {0: (b"a", ""), 1: (b"b", "")}, write_packed)
        write_packed(store, "people", {0: (b"a", "walks"), 7: (b"c", "")}, 1)
        try:
            publish(MortalStore(root, steps, is_done), "people")
            died = False
        except Killed:
            died = True
        seen = list(list_versions(store, "people"))
        assert seen[-1] == first
        for manifest in seen:  # whatever can be seen is whole
            verify(store, manifest)
        assert list_names(store) == ["people"]
        again = publish(store, "people")
        assert (again.version, again.num_clips) == (2, 2)
        later(2 * storage_schemas.lease.LEASE_S)
        collect(store, grace_s=-1e9)
        for manifest in list_versions(store, "people"):
            verify(store, manifest)
        named = {shard.key for m in (first, again) for shard in m.shards}
        assert {key for key in objects(store) if key.endswith(".tar")} == named
        assert len(objects(store)) == len(named) + 4  # two manifests, two catalogues
    assert steps == 8  # seven changes of the store, and a life


@pytest.mark.parametrize("is_done", [False, True])
def test_a_collection_killed_at_any_step_takes_nothing_that_is_used(
    tmp_path, write_packed, later, is_done
):
    steps, died = 0, True
    while died:
        steps += 1
        store = Store(tmp_path / f"{steps}")
        manifest = shards_of(store, {0: (b"a", "")}, write_packed)
        used = objects(store)
        orphan(store)
        try:
            collect(MortalStore(store.root, steps, is_done), grace_s=0.0)
            died = False
        except Killed:
            died = True
        verify(store, manifest)
        later(2 * storage_schemas.lease.LEASE_S)
        collect(store, grace_s=0.0)
        assert objects(store) == used


def test_versions_given_up_are_collected_but_not_what_is_tagged_meant_or_newest(
    store, write_packed
):
    made = [shards_of(store, {n: (b"%d" % n, "")}, write_packed) for n in range(6)]
    tag(store, "people@2", "paper")
    rollback(store, "people@3")
    assert give_up(store, "people", keep=1) == [1, 4, 5]
    assert give_up(store, "people", keep=1) == []
    assert [manifest.version for manifest in list_versions(store, "people")] == [6, 3, 2]
    with pytest.raises(ValueError, match="was removed"):
        read_manifest(store, "people@4")
    found = collect(store, grace_s=0.0)
    assert sum(entry.key.endswith(".tar") for entry in found.garbage) == 3
    for number in (6, 3, 2):
        verify(store, made[number - 1])
    assert read_manifest(store, "people@paper") == made[1]
    write_packed(store, "people", {99: (b"new", "")})
    assert publish(store, "people").version == 7  # numbers are never used again
    with pytest.raises(ValueError, match="at least 1"):
        give_up(store, "people", keep=0)


def test_a_running_job_keeps_a_version_that_is_given_up(store, write_packed, later):
    first = shards_of(store, {0: (b"a", "")}, write_packed)
    digest = find_manifest(store, "people@1")
    shards_of(store, {1: (b"b", "")}, write_packed)
    held = lease(store, "train", [digest])
    with held:
        give_up(store, "people", keep=1)
        assert collect(store, grace_s=0.0).garbage == ()
        verify(store, first)
    assert len(collect(store, grace_s=0.0).garbage) == 2  # its shard and its catalogue


def test_the_lease_of_a_killed_job_runs_out(store, write_packed, later):
    shards_of(store, {0: (b"a", "")}, write_packed)
    digest = find_manifest(store, "people@1")
    shards_of(store, {1: (b"b", "")}, write_packed)
    with pytest.raises(Killed), lease(MortalStore(store.root, 2), "train", [digest]):
        pass  # what dies is the removal of the lease
    give_up(store, "people", keep=1)
    assert len(live_leases(store)) == 1
    assert collect(store, grace_s=0.0).garbage == ()
    later(storage_schemas.lease.LEASE_S + 1)
    assert live_leases(store) == []
    assert len(collect(store, grace_s=0.0).garbage) == 2


def test_a_lease_is_renewed_while_the_job_runs(store, monkeypatch):
    monkeypatch.setattr(storage_schemas.lease, "RENEW_S", 0.01)
    with lease(store, "train"):
        (first,) = live_leases(store)
        deadline = time.monotonic() + 10
        while live_leases(store)[0].until_s == first.until_s and time.monotonic() < deadline:
            time.sleep(0.01)
        assert live_leases(store)[0].until_s > first.until_s


def test_a_publisher_waits_for_a_collection_and_two_collections_exclude_each_other(
    store, write_packed
):
    write_packed(store, "people", {0: (b"a", "")})
    with lease(store, COLLECT):
        with pytest.raises(OSError, match="another collection"):
            collect(store)
        thread = threading.Thread(target=publish, args=(store, "people"))
        thread.start()
        time.sleep(0.2)
        assert list_names(store) == []
    thread.join(30)
    assert list_names(store) == ["people"]


def test_a_publisher_between_upload_and_name_loses_nothing_to_a_collection(
    tmp_path, store, write_packed
):
    """A collection that begins while a publisher works finds its lease, however old the bytes."""
    write_packed(store, "people", {0: (b"a", "")})
    collected = []

    class Watched(Store):
        def put_new(self, key, data):
            if key.startswith("versions/names/"):
                collected.extend(collect(store, grace_s=-1e9).garbage)
            return super().put_new(key, data)

    manifest = publish(Watched(store.root), "people")
    assert [entry.key for entry in collected if entry.key.endswith(".tar")] == []
    verify(store, manifest)
    assert list_tags(store, "people") == {}
