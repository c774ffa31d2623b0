"""Published data on a real S3 server behind a line that loses, delays and spoils its answers.

The server is moto; ISA4D_S3_ENDPOINT=http://127.0.0.1:PORT names another one for all these tests,
such as `pip install ministack`, then `BIND_HOST=127.0.0.1 GATEWAY_PORT=PORT ministack`.
"""

import http.client
import http.server
import itertools
import logging
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from moto.server import ThreadedMotoServer

import storage_schemas.s3
from models.data import ClipDataset
from models.published import PublishedData, held_data
from models.window import ClipSettings
from pipelines.pack import PackSettings, pack
from pipelines.run import Item, Stage, run_stage
from storage_schemas.collect import collect
from storage_schemas.dataset import (
    diff,
    list_versions,
    local_shards,
    publish,
    read_manifest,
    rollback,
    tag,
    verify,
)
from storage_schemas.shards import read_shard
from storage_schemas.store import Store

REPOSITORY = Path(__file__).parents[2]
SECRET = "do-not-print-this-secret"
CLIPS = {number: (b"video %d" % number * 500, "") for number in range(12)}
Fault = Callable[[http.server.BaseHTTPRequestHandler, int, list[tuple[str, str]], bytes], None]


def answer(request, status, headers, body):
    request.send_response(status)
    for name, value in headers:
        if name.lower() not in ("transfer-encoding", "content-length", "connection"):
            request.send_header(name, value)
    is_head = request.command == "HEAD"
    length = dict(headers).get("Content-Length", "0") if is_head else str(len(body))
    request.send_header("Content-Length", length)
    request.end_headers()
    request.wfile.write(body)


def refuse(code, status):
    """The server is not asked, or its answer is lost, and the client is told an error."""
    text = f"<Error><Code>{code}</Code><Message>told so</Message></Error>".encode()

    def fault(request, _status, _headers, _body):
        is_head = request.command == "HEAD"
        answer(request, status, [("Content-Type", "application/xml")], b"" if is_head else text)

    return fault


def cut(request, status, headers, body):
    """Half of the answer, then silence."""
    request.send_response(status)
    for name, value in headers:
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body[: len(body) // 2])
    request.wfile.flush()
    request.close_connection = True
    request.connection.close()


def slow(request, status, headers, body):
    """Longer than anybody waits."""
    time.sleep(1.5)
    cut(request, status, headers, body)


def spoil(request, status, headers, body):
    """One bit of a tar or a table is not what it was, and no checksum of the server tells."""
    if request.command == "GET" and body and "versions/objects" in request.path:
        body = body[:-1] + bytes([body[-1] ^ 1])
    headers = [(n, v) for n, v in headers if not n.lower().startswith("x-amz-checksum")]
    answer(request, status, headers, body)


FAULTS: dict[str, Fault] = {
    "500": refuse("InternalError", 500),  # after the server did what was asked: a lost answer
    "503": refuse("SlowDown", 503),
    "cut": cut,
    "slow": slow,
    "spoiled": spoil,
}


class Line(http.server.ThreadingHTTPServer):
    """Carries requests to a server; every `every`-th answer suffers the next fault."""

    daemon_threads = True

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), Carrier)
        self.target, self.lock, self.count = target, threading.Lock(), itertools.count(1)
        self.suffered, self.every, self.faults = 0, 0, itertools.cycle([answer])

    def handle_error(self, request, client_address):
        """Connections that are cut are what this is for."""

    def suffer(self, *faults, every):
        self.faults, self.every, self.suffered = itertools.cycle(faults), every, 0

    def next_fault(self):
        with self.lock:
            if self.every and next(self.count) % self.every == 0:
                self.suffered += 1
                return next(self.faults)
            return answer


class Carrier(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def carry(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        connection = http.client.HTTPConnection(*self.server.target)
        connection.request(self.command, self.path, body, dict(self.headers))
        reply = connection.getresponse()
        status, headers, data = reply.status, reply.getheaders(), reply.read()
        connection.close()
        self.server.next_fault()(self, status, headers, data)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = carry

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    if endpoint := os.environ.get("ISA4D_S3_ENDPOINT"):
        place = urlsplit(endpoint)
        yield place.hostname, place.port
        return
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    yield moto.get_host_and_port()
    moto.stop()


@pytest.fixture
def line(server, tmp_path, monkeypatch):
    """The environment of a user whose way to the bucket `isa4d` leads over the line."""
    line = Line(server)
    threading.Thread(target=line.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("ISA4D_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("random.random", lambda: 0.0)  # botocore's backoff is random * 2**attempt
    monkeypatch.setattr(storage_schemas.s3, "BODY_WAITS_S", (0.0,) * 4)
    monkeypatch.setattr(storage_schemas.s3, "READ_TIMEOUT_S", 1)
    boto3.client("s3").create_bucket(Bucket="isa4d")
    yield line
    line.shutdown()
    line.server_close()


@pytest.fixture
def store(line):
    return Store(f"s3://isa4d/{uuid.uuid4().hex}")


def test_publish_pin_read_roll_back(store, write_packed, tmp_path):
    write_packed(store, "people", CLIPS, 4)
    first = publish(store, "people")
    write_packed(store, "people", {**CLIPS, 0: (CLIPS[0][0], "walks"), 50: (b"new", "")}, 4)
    publish(store, "people")
    tag(store, "people@1", "prod")
    assert read_manifest(store, "people@prod") == first
    paths = local_shards(store, first)
    assert all(path.is_relative_to(tmp_path / "cache") for path in paths)
    assert [path.stat().st_size for path in paths] == [s.size_bytes for s in first.shards]
    found = diff(store, "people@1", "people@2")
    assert (len(found.added), len(found.relabelled), found.num_same) == (1, 1, 11)
    assert rollback(store, "people@1") == first
    for manifest in list_versions(store, "people"):
        verify(store, manifest)
    store.write(f"versions/objects/{'0' * 64}.tar", b"lost")
    garbage = collect(store, grace_s=-1e9).garbage
    assert [entry.key for entry in garbage] == [f"versions/objects/{'0' * 64}.tar"]


def test_training_reads_a_pinned_version_over_a_bad_line(line, store, write_toy_shard, tmp_path):
    for clip_id, parts in read_shard(write_toy_shard(tmp_path / "toy.tar", count=3)):
        for name, content in parts.items():
            store.write(f"clips/{clip_id}/{name}", content)
    settings = PackSettings(labels_apart=True, validation_share=0.0, test_share=0.0)
    pack(store, "toy", settings=settings)
    publish(store, "toy")
    line.suffer(*FAULTS.values(), every=5)
    pinned = PublishedData.pin(store.root, "toy")
    with held_data(pinned):
        dataset = ClipDataset(pinned.shards(), ClipSettings(num_frames=5, size_px=32), "train")
        assert [batch.video.shape for batch in dataset.batches(3)] == [(3, 3, 5, 32, 32)]


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_line_costs_time_and_nothing_else(line, store, write_packed, name):
    line.suffer(FAULTS[name], every=9 if name == "slow" else 4)
    write_packed(store, "people", CLIPS, 4)
    first = publish(store, "people")
    write_packed(store, "people", {**CLIPS, 50: (b"new", "")}, 4)
    second = publish(store, "people")
    read = [path.read_bytes() for path in local_shards(store, second)]
    assert rollback(store, "people@1") == first
    tag(store, "people@2", "prod")
    suffered = line.suffered
    line.suffer(answer, every=0)
    assert suffered > 2
    assert read_manifest(store, "people") == first
    assert read_manifest(store, "people@prod") == second
    assert [manifest.version for manifest in list_versions(store, "people")] == [2, 1]
    for manifest in (first, second):
        verify(store, manifest)
    assert read == [store.read(shard.key) for shard in second.shards]


def test_bytes_that_stay_wrong_are_never_used(line, store, write_packed, tmp_path, monkeypatch):
    write_packed(store, "people", CLIPS, 4)
    manifest = publish(store, "people")
    monkeypatch.setenv("ISA4D_CACHE_DIR", str(tmp_path / "empty"))
    line.suffer(spoil, every=1)
    with pytest.raises(OSError, match="must hold"):
        local_shards(store, manifest)
    with pytest.raises(OSError, match="must hold"):
        store.read(manifest.shards[0].key)
    with pytest.raises(ValueError, match="not as"):
        verify(store, manifest)


def test_ten_publishers_at_once_over_a_bad_line_lose_nothing(line, store, write_packed):
    for number in range(10):
        write_packed(store, f"p{number}", {number: (b"video %d" % number, "")})
    line.suffer(FAULTS["500"], FAULTS["503"], cut, every=7)
    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(lambda n: publish(store, "people", packed=f"p{n}"), range(10)))
    assert line.suffered > 10
    line.suffer(answer, every=0)
    chain = list(list_versions(store, "people"))
    published = {manifest.shards[0].sha256 for manifest in made}
    assert len(published) == 10
    assert {manifest.shards[0].sha256 for manifest in chain} == published
    assert [manifest.version for manifest in chain] == list(range(len(chain), 0, -1))
    for manifest in chain:
        verify(store, manifest)


PUBLISHER = """
import sys
from storage_schemas.dataset import publish
from storage_schemas.store import Store
print(publish(Store(sys.argv[1]), "people", packed=sys.argv[2]).version)
"""


@pytest.mark.slow
def test_publishers_in_processes_of_which_some_are_killed(line, store, write_packed):
    for number in range(10):
        write_packed(store, f"p{number}", {number: (b"video %d" % number, "")})
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, store.root, f"p{number}"],
            cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
        )
        for number in range(10)
    ]  # fmt: skip
    for number, publisher in enumerate(started):
        if number % 3 == 0:
            time.sleep(0.7)
            publisher.kill()
    told = [publisher.communicate(timeout=120)[0].strip() for publisher in started]
    acknowledged = {int(text) for text in told if text}
    chain = list(list_versions(store, "people"))
    assert acknowledged <= {manifest.version for manifest in chain}
    assert len(acknowledged) >= 6
    for manifest in chain:
        verify(store, manifest)


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("ExpiredToken", 400, "credentials have expired"),
        ("AccessDenied", 403, "check the AWS credentials"),
        ("InvalidAccessKeyId", 403, "check the AWS credentials"),
    ],
)
def test_refused_credentials_are_told_and_never_shown(line, store, caplog, code, status, said):
    caplog.set_level(logging.INFO)
    line.suffer(refuse(code, status), every=1)
    with pytest.raises(PermissionError, match=said) as error:
        store.read("k")
    assert SECRET not in f"{error.value!r} {store!r} {caplog.text}"


@pytest.mark.parametrize("good", [1, 4, 7, 10])
def test_credentials_that_expire_while_publishing_leave_nothing_half(
    line, store, write_packed, good
):
    write_packed(store, "people", CLIPS, 4)
    first = publish(store, "people")
    write_packed(store, "people", {**CLIPS, 50: (b"new", "")}, 4)
    line.suffer(every=1)
    line.faults = itertools.chain([answer] * good, itertools.repeat(refuse("ExpiredToken", 400)))
    with pytest.raises(PermissionError, match="credentials have expired"):
        publish(store, "people")
    line.suffer(answer, every=0)
    for manifest in list_versions(store, "people"):
        verify(store, manifest)
    assert first in list_versions(store, "people")
    second = publish(store, "people")
    assert second.version == 2
    verify(store, second)


def test_without_credentials_it_is_said_where_they_come_from(line, store, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(PermissionError, match="AWS_PROFILE"):
        store.read("k")


def test_a_missing_bucket_is_no_missing_object(line):
    store = Store("s3://no-such-bucket/root")
    for attempt in (lambda: store.read("k"), lambda: store.write("k", b""), lambda: store.list()):
        with pytest.raises(NotADirectoryError, match="no bucket 'no-such-bucket' at http"):
            attempt()


def test_large_files_go_in_parts_and_come_back_whole(store, tmp_path, monkeypatch):
    monkeypatch.setattr(storage_schemas.s3, "MULTIPART_BYTES", 5 * 2**20)
    source = tmp_path / "large"
    source.write_bytes(bytes(range(256)) * 80_000)  # 20 MB
    store.write_file("large", source)
    tags = store.read_tagged("large")[1]
    assert "-" in tags  # the mark of an object that was sent in parts
    assert store.local_path("large").read_bytes() == source.read_bytes()
    store.link("large", "other")
    assert store.sha256("other") == store.sha256("large")


def test_a_version_larger_than_the_cache_is_refused_with_the_way_out(
    store, write_packed, tmp_path, monkeypatch
):
    write_packed(store, "people", CLIPS, 4)
    manifest = publish(store, "people")
    monkeypatch.setenv("ISA4D_CACHE_DIR", str(tmp_path / "small"))
    monkeypatch.setenv("ISA4D_CACHE_GB", str(1.5 * manifest.shards[0].size_bytes / 1e9))
    with pytest.raises(OSError, match="raise ISA4D_CACHE_GB"):
        local_shards(store, manifest)


def test_a_server_that_ignores_conditions_is_refused(line, store, write_packed):
    def obey(request, status, headers, body):
        answer(request, 200 if status == 412 else status, headers, b"" if status == 412 else body)

    write_packed(store, "people", CLIPS, 4)
    line.suffer(obey, every=1)
    with pytest.raises(OSError, match="ignores conditional writes"):
        publish(store, "people")


def test_a_rebuild_over_a_bad_line_does_again_what_changed_and_nothing_else(line, store):
    done = []

    def copy(item, store):
        done.append(item.key)
        return {f"out/{item.key}": store.read(item.inputs[0])}

    stage = Stage(name="copy", version="1", work=copy)
    items = [Item(key=f"i{number}", inputs=(f"in/{number}",)) for number in range(30)]
    for item in items:
        store.write(str(item.inputs[0]), item.key.encode())
    assert run_stage(stage, items, store).kept == 30
    done.clear()
    line.suffer(FAULTS["500"], FAULTS["503"], cut, every=9)
    assert run_stage(stage, items, store).reused == 30
    assert done == []
    store.write("in/3", b"changed")
    store.delete("out/i5")
    assert run_stage(stage, items, store).reused == 28
    assert done == ["i3", "i5"]
