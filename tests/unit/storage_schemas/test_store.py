import copy
import multiprocessing
import os
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from moto.server import ThreadedMotoServer

from storage_schemas.store import Store

RACERS = 8


@pytest.fixture(scope="module")
def bucket():
    """A bucket of a local S3 server; the environment points every client at it."""
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


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path):
    if request.param == "local":
        return Store(tmp_path / "root")
    return Store(f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}/deep")


def test_what_is_written_is_read_and_the_last_write_stays(store):
    store.write("clips/a/clip.json", b"1")
    store.write("clips/a/clip.json", b"22")
    assert store.read("clips/a/clip.json") == b"22"
    assert store.exists("clips/a/clip.json")
    assert not store.exists("clips/a")


def test_an_adopted_file_becomes_the_object_and_unfinished_work_is_never_listed(store):
    path = store.scratch_path("shards/half.tar")
    path.write_bytes(b"half")
    assert store.list() == []
    assert store.scratch_path("shards/half.tar").read_bytes() == b"half"
    store.write("shards/whole.tar", b"older")
    store.adopt("shards/whole.tar", path)
    assert store.read("shards/whole.tar") == b"half"
    assert not path.exists()


def test_missing_objects_are_told_apart(store):
    for look in (store.read, store.local_path):
        with pytest.raises(FileNotFoundError):
            look("no/such")
    assert not store.exists("no/such")
    store.delete("no/such")
    assert store.list() == []


def test_listing_is_sorted_and_by_prefix(store):
    keys = ["b/2", "b/1", "a", "b10/x", "b/sub/3"]
    for key in keys:
        store.write(key, b"x")
    assert store.list() == sorted(keys)
    assert store.list("b/") == ["b/1", "b/2", "b/sub/3"]
    assert store.list("b") == ["b/1", "b/2", "b/sub/3", "b10/x"]
    store.delete("b/1")
    assert store.list("b/") == ["b/2", "b/sub/3"]


def test_put_new_never_replaces_and_forgives_its_own_echo(store):
    assert store.put_new("k", b"mine")
    assert store.put_new("k", b"mine")
    assert not store.put_new("k", b"other")
    assert store.read("k") == b"mine"


def test_cas_replaces_only_what_was_read(store):
    store.write("ref", b"1")
    _, tag = store.read_tagged("ref")
    assert store.cas("ref", b"2", tag)
    assert not store.cas("ref", b"3", tag)
    assert store.read("ref") == b"2"
    assert not store.cas("none", b"1", tag)
    assert not store.exists("none")


def test_one_winner_of_a_creation_race(store):
    def race(key):
        with ThreadPoolExecutor(RACERS) as pool:
            return list(pool.map(lambda i: store.put_new(key, b"%d" % i), range(RACERS)))

    for number in range(5):
        won = race(f"race/{number}")
        assert sum(won) == 1
        assert store.read(f"race/{number}") == b"%d" % won.index(True)


def test_no_increment_is_lost_under_cas(store):
    store.write("counter", b"0")

    def increment(times):
        for _ in range(times):
            done = False
            while not done:
                data, tag = store.read_tagged("counter")
                # The payload must differ per writer, or two increments would look like an echo.
                done = store.cas("counter", b"%d %s" % (int(data.split()[0]) + 1, _name()), tag)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(increment, [5] * 4))
    assert int(store.read("counter").split()[0]) == 20


def _name():
    return uuid.uuid4().hex.encode()


def test_files_go_in_and_out_whole(store, tmp_path):
    source = tmp_path / "shard.tar"
    source.write_bytes(os.urandom(300_000))
    store.write_file("shards/x/shard-000000.tar", source)
    path = store.local_path("shards/x/shard-000000.tar")
    assert path.name == "shard-000000.tar"
    assert path.read_bytes() == source.read_bytes()
    source.write_bytes(b"second")
    store.write_file("shards/x/shard-000000.tar", source)
    assert store.local_path("shards/x/shard-000000.tar").read_bytes() == b"second"


def test_a_link_survives_the_end_of_its_source(store):
    store.write("a", b"first")
    store.link("a", "deep/b")
    store.link("a", "deep/b")
    store.write("a", b"second")
    assert store.read("deep/b") == b"first"
    store.delete("a")
    assert store.list() == ["deep/b"]
    with pytest.raises(FileNotFoundError):
        store.link("none", "c")


def test_a_store_travels_to_other_processes(store):
    store.write("k", b"v")
    assert copy.deepcopy(store).read("k") == b"v"


@pytest.mark.parametrize("key", ["", "/etc/x", "a//b", "../x", "a/../b", ".hidden", "a/.tmp", "a/"])
def test_keys_that_leave_the_store_are_refused(store, key):
    with pytest.raises(ValueError, match="key must be"):
        store.write(key, b"")
    with pytest.raises(ValueError, match="inside the store"):
        store.list("../")


def test_an_unreachable_server_is_an_os_error(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr("random.random", lambda: 0.0)  # botocore's backoff is random * 2**attempt
    with pytest.raises(OSError, match="9"):
        Store("s3://isa4d").read("k")


def test_a_missing_bucket_name_is_refused():
    with pytest.raises(ValueError, match="s3://bucket"):
        Store("s3://")


def _write_forever(root):
    store = Store(root)
    while True:
        for letter in (b"a", b"b"):
            store.write("big", letter * 400_000)


def test_kill_in_the_middle_of_a_write_leaves_no_half_object(tmp_path):
    for delay_s in (0.05, 0.1, 0.15):
        writer = multiprocessing.get_context("spawn").Process(
            target=_write_forever, args=(str(tmp_path),)
        )
        writer.start()
        deadline = time.monotonic() + 30
        while not (tmp_path / "big").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(delay_s)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        data = Store(tmp_path).read("big")
        assert data in (b"a" * 400_000, b"b" * 400_000)
        assert Store(tmp_path).list() == ["big"]


def test_leftovers_of_killed_writes_go_after_a_day(tmp_path):
    Store(tmp_path).write("a", b"1")
    old, new = tmp_path / ".tmp/old", tmp_path / ".tmp/new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    Store(tmp_path).write("b", b"2")
    assert (old.exists(), new.exists()) == (False, True)
    assert Store(tmp_path).list() == ["a", "b"]
