import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage_schemas.dataset import (
    Manifest,
    ShardEntry,
    index_key,
    list_names,
    list_versions,
    local_shards,
    publish,
    read_manifest,
    read_packed,
    verify,
)
from storage_schemas.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "root")


def write_packed(store, name, *contents):
    """What `pack` leaves: shards and their index."""
    shards = []
    for number, data in enumerate(contents):
        key = f"shards/{name}/shard-{number:06d}.tar"
        store.write(key, data)
        shards.append(
            ShardEntry(
                key=key,
                sha256=hashlib.sha256(data).hexdigest(),
                size_bytes=len(data),
                clip_ids=(data.hex(),),
            )
        )
    index = Manifest(
        name=name,
        version=0,
        parent="",
        created="",
        splits={"train": len(shards)},
        shards=tuple(shards),
    )
    store.write(index_key(name), index.to_json())
    return index


def test_a_manifest_comes_back_as_it_went(store):
    index = write_packed(store, "people", b"a", b"b")
    assert Manifest.from_json(index.to_json()) == index == read_packed(store, "people")
    assert index.num_clips == 2


def test_versions_count_up_and_old_ones_stay_readable(store):
    write_packed(store, "people", b"a")
    first = publish(store, "people")
    write_packed(store, "people", b"a2", b"b")
    second = publish(store, "people")
    assert (first.version, second.version) == (1, 2)
    assert read_manifest(store, "people") == second
    assert read_manifest(store, "people@1") == first
    assert [path.read_bytes() for path in local_shards(store, first)] == [b"a"]
    assert [path.read_bytes() for path in local_shards(store, second)] == [b"a2", b"b"]
    assert [manifest.version for manifest in list_versions(store, "people")] == [2, 1]
    verify(store, first)


def test_publishing_the_same_again_changes_nothing(store):
    write_packed(store, "people", b"a")
    first = publish(store, "people")
    keys = store.list("versions/")
    assert publish(store, "people") == first
    assert store.list("versions/") == keys


def test_names_are_listed_and_may_differ_from_the_packed_name(store):
    write_packed(store, "tuesday", b"a")
    publish(store, "people", packed="tuesday")
    publish(store, "all-people", packed="tuesday")
    assert list_names(store) == ["all-people", "people"]


def test_publishers_at_the_same_time_lose_nothing(store):
    for number in range(6):
        write_packed(store, f"p{number}", b"%d" % number)
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda n: publish(store, "people", packed=f"p{n}"), range(6)))
    chain = list(list_versions(store, "people"))
    assert [manifest.version for manifest in chain] == [6, 5, 4, 3, 2, 1]
    assert sorted(chain, key=lambda m: m.version) == sorted(made, key=lambda m: m.version)


def test_bytes_that_do_not_fit_are_never_published(store):
    write_packed(store, "people", b"a")
    store.write("shards/people/shard-000000.tar", b"other")
    with pytest.raises(ValueError, match="pack again"):
        publish(store, "people")
    assert list_names(store) == []


def test_damage_to_a_version_is_found(store):
    write_packed(store, "people", b"a", b"b")
    manifest = publish(store, "people")
    store.write(manifest.shards[1].key, b"c")
    with pytest.raises(ValueError, match=r"must hold"):
        verify(store, manifest)
    store.delete(manifest.shards[1].key)
    with pytest.raises(ValueError, match="nothing"):
        verify(store, manifest)


@pytest.mark.parametrize(
    ("reference", "problem"),
    [("none", "no data set named"), ("people@9", "no version"), ("../x", "name must be")],
)
def test_wrong_references_say_what_to_do(store, reference, problem):
    write_packed(store, "people", b"a")
    publish(store, "people")
    with pytest.raises(ValueError, match=problem):
        read_manifest(store, reference)


def test_without_a_complete_packing_there_is_nothing_to_publish(store):
    with pytest.raises(ValueError, match="isa4d pack"):
        publish(store, "people")


@pytest.mark.parametrize("data", [b"[]", b"{}", b"nonsense", b'{"shards": [{}]}'])
def test_rubbish_is_no_manifest(data):
    with pytest.raises(ValueError):  # noqa: PT011 - JSON errors come with their own words
        Manifest.from_json(data)
