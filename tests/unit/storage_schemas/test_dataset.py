import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pytest

from storage_schemas.catalogue import clip_ids
from storage_schemas.dataset import (
    Manifest,
    commit,
    diff,
    list_names,
    list_tags,
    list_versions,
    local_shards,
    publish,
    read_catalogue,
    read_manifest,
    read_packed,
    rollback,
    tag,
    untag,
    verify,
)
from storage_schemas.lease import lease, live_leases
from storage_schemas.store import Store

FILMS = {0: (b"video 0", ""), 1: (b"video 1", ""), 2: (b"video 2", "")}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "root")


@pytest.fixture
def versions(store, write_packed):
    """Three versions of `people`: three clips, then two, then three again of which one is new."""
    sets = [FILMS, {n: FILMS[n] for n in (0, 1)}, {**FILMS, 1: (b"video 1", "walks"), 7: (b"", "")}]
    made = []
    for clips in sets:
        write_packed(store, "people", clips)
        made.append(publish(store, "people"))
    return made


def toy_id(number):
    return hashlib.sha256(b"toy %d" % number).hexdigest()[:32]


def test_a_manifest_comes_back_as_it_went(store, write_packed):
    index = write_packed(store, "people", FILMS)
    assert Manifest.from_json(index.to_json()) == index == read_packed(store, "people")
    published = publish(store, "people")
    assert Manifest.from_json(published.to_json()) == published
    assert index.num_clips == published.num_clips == 3


def test_versions_count_up_and_old_ones_stay_readable(store, versions):
    assert [manifest.version for manifest in versions] == [1, 2, 3]
    assert read_manifest(store, "people") == versions[2]
    assert [manifest.version for manifest in list_versions(store, "people")] == [3, 2, 1]
    for manifest in versions:
        assert read_manifest(store, manifest.reference) == manifest
        found = [hashlib.sha256(p.read_bytes()).hexdigest() for p in local_shards(store, manifest)]
        assert found == [shard.sha256 for shard in manifest.shards]
        verify(store, manifest)


def test_publishing_the_same_again_changes_nothing(store, write_packed):
    write_packed(store, "people", FILMS)
    first = publish(store, "people")
    keys = store.list("versions/")
    assert publish(store, "people") == first
    assert store.list("versions/") == keys


def test_names_are_listed_and_may_differ_from_the_packed_name(store, write_packed):
    write_packed(store, "tuesday", FILMS)
    publish(store, "people", packed="tuesday")
    publish(store, "all-people", packed="tuesday")
    assert list_names(store) == ["all-people", "people"]


def test_publishers_at_the_same_time_lose_nothing(store, write_packed):
    for number in range(10):
        write_packed(store, f"p{number}", {number: (b"video", "")})
    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(lambda n: publish(store, "people", packed=f"p{n}"), range(10)))
    chain = list(list_versions(store, "people"))
    assert [manifest.version for manifest in chain] == list(range(10, 0, -1))
    assert sorted(chain, key=lambda m: m.version) == sorted(made, key=lambda m: m.version)
    assert live_leases(store) == []


def test_bytes_that_do_not_fit_are_never_published(store, write_packed):
    index = write_packed(store, "people", FILMS)
    store.write(index.shards[0].key, b"other")
    with pytest.raises(ValueError, match="pack again"):
        publish(store, "people")
    assert list_names(store) == []


def test_damage_to_a_version_is_found(store, write_packed):
    write_packed(store, "people", FILMS)
    manifest = publish(store, "people")
    told = []
    verify(store, manifest, told.append)
    assert sum(told) == manifest.size_bytes
    data = bytearray(store.read(manifest.shards[1].key))
    data[600] ^= 1
    store.write(manifest.shards[1].key, bytes(data))
    with pytest.raises(ValueError, match=r"1 of 2 shards .* must hold"):
        verify(store, manifest)
    store.delete(manifest.shards[1].key)
    with pytest.raises(ValueError, match="nothing"):
        verify(store, manifest)


def test_a_damaged_catalogue_is_found(store, versions):
    key = f"versions/objects/{versions[0].catalogue}.parquet"
    store.write(key, store.read(key)[:-1])
    with pytest.raises(ValueError, match="other bytes"):
        verify(store, versions[0])
    store.delete(key)
    with pytest.raises(ValueError, match="lacks"):
        verify(store, versions[0])


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("none", "no data set named"),
        ("people@9", "no version"),
        ("people@prod", "no version"),
        ("people@", "no version"),
        ("people@../x", "no version"),
        ("../x", "name must be"),
    ],
)
def test_wrong_references_say_what_to_do(store, versions, reference, problem):
    with pytest.raises(ValueError, match=problem):
        read_manifest(store, reference)


def test_without_a_complete_packing_there_is_nothing_to_publish(store):
    with pytest.raises(ValueError, match="isa4d pack"):
        publish(store, "people")


@pytest.mark.parametrize("data", [b"[]", b"{}", b"nonsense", b'{"shards": [{}]}'])
def test_rubbish_is_no_manifest(data):
    with pytest.raises(ValueError):  # noqa: PT011 - JSON errors come with their own words
        Manifest.from_json(data)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "AB" * 32])
def test_a_manifest_cannot_name_a_file_outside(versions, digest):
    content = json.loads(versions[0].to_json())
    content["shards"][0]["sha256"] = digest
    with pytest.raises(ValueError, match="SHA-256"):
        Manifest.from_json(json.dumps(content).encode())


def test_the_catalogue_tells_of_every_clip(store, versions):
    table = read_catalogue(store, versions[0])
    assert clip_ids(table) == sorted(map(toy_id, FILMS))
    rows = {row["clip_id"].hex(): row for row in table.to_pylist()}
    row = rows[toy_id(2)]
    assert (row["split"], row["uri"], row["licence"]) == ("validation", "film0.mp4", "CC-BY-4.0")
    assert row["source_sha256"] == hashlib.sha256(b"0").digest()[:16]
    assert row["shard"] == row["media_shard"] == 1
    assert versions[0].licences == {"CC-BY-4.0": 2, "CC0-1.0": 1}
    assert versions[0].splits == {"train": 2, "validation": 1}
    assert versions[0].made_by == {"ingest 1; people 2 abc": 3}
    assert versions[0].code


def test_a_diff_names_what_was_added_removed_and_relabelled(store, versions):
    found = diff(store, "people@1", "people@3")
    assert (found.added, found.removed, found.remade) == ((toy_id(7),), (), ())
    assert found.relabelled == (toy_id(1),)
    assert found.num_same == 2
    back = diff(store, "people@3", "people@1")
    assert (back.removed, back.added, back.relabelled) == (found.added, (), found.relabelled)
    assert diff(store, "people@1", "people@2").removed == (toy_id(2),)
    same = diff(store, "people@2", "people@2")
    assert same.summary() == "2 same + 0 relabelled + 0 remade + 0 added; 0 removed"


def test_another_video_under_the_same_id_is_told_apart_from_new_labels(store, write_packed):
    write_packed(store, "people", FILMS)
    publish(store, "people")
    write_packed(store, "people", {**FILMS, 0: (b"cut anew", "and described")})
    publish(store, "people")
    found = diff(store, "people@1", "people")
    assert (found.remade, found.relabelled, found.num_same) == ((toy_id(0),), (), 2)


def test_a_diff_reads_no_shard(store, versions):
    for key in store.list("versions/objects/"):
        if key.endswith(".tar"):
            store.delete(key)
    assert diff(store, "people@1", "people@3").added == (toy_id(7),)


def test_rows_taken_over_equal_rows_read_anew(store, tmp_path, versions, write_packed):
    fresh = Store(tmp_path / "fresh")
    write_packed(fresh, "people", {**FILMS, 1: (b"video 1", "walks"), 7: (b"", "")})
    assert publish(fresh, "people").catalogue == versions[2].catalogue


class CountingStore(Store):
    """Counts bytes that are copied into it, and shards that are read."""

    def __init__(self, root):
        super().__init__(root)
        self.linked, self.opened = [], []

    def link(self, key, new_key):
        self.linked.append(self.local_path(key).stat().st_size)
        super().link(key, new_key)

    def local_path(self, key, sha256="", keep=False):
        self.opened.append(key)
        return super().local_path(key, sha256, keep)


@pytest.mark.parametrize("labels_apart", [False, True])
def test_new_labels_do_not_carry_video_that_lies_apart(tmp_path, write_packed, labels_apart):
    store = CountingStore(tmp_path / "root")
    film = bytes(200_000)
    write_packed(store, "people", {0: (film, ""), 1: (film, "")}, 2, labels_apart)
    first = publish(store, "people")
    store.linked.clear()
    write_packed(store, "people", {0: (film, "walks"), 1: (film, "")}, 2, labels_apart)
    second = publish(store, "people")
    assert (sum(store.linked) < len(film)) is labels_apart
    assert diff(store, "people@1", "people@2").relabelled == (toy_id(0),)
    assert [len(group) for group in second.clip_shards] == [2 if labels_apart else 1]
    assert (first.clip_shards[0][-1] == second.clip_shards[0][-1]) is labels_apart
    verify(store, second)


def test_known_shards_are_neither_copied_nor_read_again(tmp_path, write_packed):
    store = CountingStore(tmp_path / "root")
    clips = dict.fromkeys(range(8), (b"video", ""))
    write_packed(store, "people", clips)
    publish(store, "people")
    store.linked.clear()
    store.opened.clear()
    write_packed(store, "people", {**clips, 99: (b"new", "")})
    publish(store, "people")
    assert len(store.linked) == 1
    assert len({key for key in store.opened if key.startswith("versions/")}) == 1


def test_clips_that_come_twice_are_refused(store, write_packed):
    first = write_packed(store, "a", {0: (b"video", "")})
    second = write_packed(store, "b", {0: (b"video", "other"), 1: (b"x", "")})
    index = Manifest(
        name="both", version=0, parent="", created="", splits={"train": 3},
        shards=first.shards + second.shards,
    )  # fmt: skip
    store.write("shards/both/index.json", index.to_json())
    with pytest.raises(ValueError, match=f"more than one record: {toy_id(0)}"):
        publish(store, "both")


def test_a_tag_means_a_version_until_it_is_moved_or_forgotten(store, versions):
    tag(store, "people@1", "prod")
    assert read_manifest(store, "people@prod") == versions[0]
    assert tag(store, "people", "prod") == versions[2]
    tag(store, "people@prod", "best")
    assert list_tags(store, "people") == {"best": 3, "prod": 3}
    untag(store, "people", "prod")
    with pytest.raises(ValueError, match="no version 'prod'"):
        read_manifest(store, "people@prod")
    with pytest.raises(ValueError, match="no version"):
        untag(store, "people", "prod")


@pytest.mark.parametrize("name", ["3", "", "../x", "Prod", "latest", "a" * 65])
def test_tags_that_are_no_names_are_refused(store, versions, name):
    with pytest.raises(ValueError, match="a tag must"):
        tag(store, "people@1", name)


def test_rolled_back_is_what_the_name_means_and_nothing_is_forgotten(store, versions):
    assert rollback(store, "people@1") == versions[0]
    assert read_manifest(store, "people") == versions[0]
    assert [manifest.version for manifest in list_versions(store, "people")] == [3, 2, 1]
    assert rollback(store, "people@3") == versions[2]
    assert read_manifest(store, "people") == versions[2]


def test_after_a_rollback_the_next_version_has_a_new_number(store, versions, write_packed):
    rollback(store, "people@1")
    write_packed(store, "people", {n: FILMS[n] for n in (0, 1)})  # what version 2 held
    fourth = publish(store, "people")
    assert fourth.version == 4
    assert read_manifest(store, "people") == fourth
    assert [manifest.version for manifest in list_versions(store, "people")] == [4, 3, 2, 1]


def test_rollbacks_and_publishers_at_the_same_time_lose_no_version(store, versions, write_packed):
    for number in range(4):
        write_packed(store, f"p{number}", {number: (b"late", "")})

    def work(number):
        if number % 2:
            return rollback(store, "people@1").version
        return publish(store, "people", packed=f"p{number // 2}").version

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(work, range(8)))
    assert [manifest.version for manifest in list_versions(store, "people")] == list(
        range(7, 0, -1)
    )
    assert made == {1, 4, 5, 6, 7}


def test_a_version_of_schema_1_is_read_compared_and_built_upon(store, write_packed):
    """As the first release wrote it: clip ids in the manifest, no catalogue, a name and no more."""
    index = write_packed(store, "people", FILMS)
    shards = []
    for shard in index.shards:
        key = f"versions/objects/{shard.sha256}.tar"
        store.link(shard.key, key)
        shards.append(
            {"key": key, "sha256": shard.sha256, "size_bytes": shard.size_bytes,
             "clip_ids": list(shard.clip_ids)}
        )  # fmt: skip
    content = {
        "name": "people", "version": 1, "parent": "", "created": "2026-11-20T10:00:00+00:00",
        "splits": {"train": 2, "validation": 1}, "shards": shards, "schema": 1,
    }  # fmt: skip
    data = json.dumps(content, sort_keys=True, indent=1).encode()
    digest = hashlib.sha256(data).hexdigest()
    store.write(f"versions/objects/{digest}.json", data)
    store.write("versions/names/people.json", json.dumps({"manifest": digest}).encode())
    first = read_manifest(store, "people@1")
    assert (first.schema, first.num_clips) == (1, 3)
    verify(store, first)
    assert publish(store, "people") == first  # the same shards are the same version
    write_packed(store, "people", {**FILMS, 9: (b"new", "")})
    second = publish(store, "people")
    assert (second.version, second.parent, second.schema) == (2, digest, 2)
    assert diff(store, "people@1", "people@2").added == (toy_id(9),)


def test_an_unknown_schema_is_refused(versions):
    content = json.loads(versions[0].to_json()) | {"schema": 3}
    with pytest.raises(ValueError, match="newer isa4d"):
        Manifest.from_json(json.dumps(content).encode())


def test_a_lease_lives_as_long_as_its_block(store):
    with lease(store, "train", ["0" * 64]) as held:
        (found,) = live_leases(store)
        assert (found.key, found.purpose, found.uses) == (held.key, "train", ("0" * 64,))
    assert live_leases(store) == []


def test_catalogues_of_many_clips_survive_commit_and_reading(store, versions):
    table = read_catalogue(store, versions[2])
    again = commit(store, "copy", versions[2].shards, table)
    assert read_catalogue(store, again).equals(table)
    assert (again.licences, again.splits) == (versions[2].licences, versions[2].splits)


def test_a_diff_of_fifty_thousand_rows_counts_what_was_done_to_them(store, versions):
    row = read_catalogue(store, versions[0]).slice(0, 1)
    count = 50_000
    ids = [hashlib.sha256(b"%d" % number).digest()[:16] for number in range(count + 700)]
    many = row.take([0] * (count + 700)).set_column(0, "clip_id", pa.array(ids, pa.binary(16)))
    labels = [bytes(16) if number < 300 else b"1" * 16 for number in range(count)]
    place = many.column_names.index("labels")
    before = many.slice(200)  # the first 200 come, the last 700 go
    after = many.slice(0, count).set_column(place, "labels", pa.array(labels, pa.binary(16)))
    before = before.set_column(place, "labels", pa.array([b"1" * 16] * len(before), pa.binary(16)))
    for table in (before, after):
        commit(store, "many", [replace(versions[0].shards[0], sha256=f"{len(table):064x}")], table)
    found = diff(store, "many@1", "many@2")
    assert (len(found.added), len(found.removed), len(found.relabelled)) == (200, 700, 100)
    assert found.num_same + 300 == count
