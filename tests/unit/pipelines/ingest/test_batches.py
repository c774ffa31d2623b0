"""Batches hold every source once, and planning again changes nothing."""

import pytest

from pipelines.ingest.batches import list_batches, plan_batches, read_batch
from storage_schemas.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "root")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "footage"
    folder.mkdir()
    for name in ("Äpfel 1.mp4", "b.mp4", "c.mp4"):
        (folder / name).write_bytes(name.encode())
    return folder


def uris(store):
    return sorted(s.uri for name in list_batches(store) for s in read_batch(store, name))


def test_every_source_is_in_exactly_one_batch(store, folder):
    names = plan_batches([folder], store, size=2)
    assert [len(list(read_batch(store, name))) for name in names] == [2, 1]
    assert uris(store) == sorted(str(path) for path in folder.iterdir())


def test_planning_again_makes_only_what_is_new(store, folder):
    first = plan_batches([folder], store)
    assert plan_batches([folder], store) == []
    (folder / "d.mp4").write_bytes(b"d")
    (second,) = plan_batches([folder], store)
    assert [source.uri for source in read_batch(store, second)] == [str(folder / "d.mp4")]
    assert set(list_batches(store)) == {*first, second}


def test_changed_content_is_new_and_a_copy_is_known_across_batches(store, folder):
    plan_batches([folder], store)
    (folder / "b.mp4").write_bytes(b"other")
    (folder / "e.mp4").write_bytes(b"c.mp4")  # the bytes of c.mp4
    (name,) = plan_batches([folder], store)
    changed, copy = read_batch(store, name)
    assert (changed.uri, changed.duplicate_of) == (str(folder / "b.mp4"), "")
    assert copy.duplicate_of == str(folder / "c.mp4")


def test_the_same_files_give_the_same_names(tmp_path, folder):
    names = [plan_batches([folder], Store(tmp_path / root)) for root in ("one", "two")]
    assert names[0] == names[1]
    assert all(name.isascii() and "/" not in name for name in names[0])


def test_an_unknown_batch_says_so(store):
    with pytest.raises(ValueError, match="no batch named 'x'"):
        list(read_batch(store, "x"))
