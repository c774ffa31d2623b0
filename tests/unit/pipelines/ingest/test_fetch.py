"""Footage from a web server that is slow to answer, lies, breaks off and points elsewhere."""

import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from pipelines.ingest.fetch import fetch
from pipelines.ingest.settings import IngestSettings
from pipelines.ingest.sources import find_sources
from pipelines.ingest.stage import ingest
from pipelines.run import Rejected, read_results
from pipelines.video_io import encode_mp4
from storage_schemas.clip import ClipRecord
from storage_schemas.store import Store

LIMIT = 1_000_000
SETTINGS = IngestSettings(
    max_short_side_px=64, min_motion=0.0, max_blur=1.0, max_source_bytes=LIMIT
)


def movie(seed=0):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 255, (12, 8, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    return encode_mp4(frames, 10)


class Handler(BaseHTTPRequestHandler):
    """Behaves as the path says."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        name = self.path.strip("/")
        times = self.server.asked.count(self.path)
        if name in ("404.mp4", "403.mp4", "410.mp4", "503.mp4"):
            self.send_error(int(name[:3]))
        elif name == "busy_twice.mp4" and times <= 2:
            self.send_error(503)
        elif name == "away.mp4":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/a.mp4")
            self.end_headers()
        elif name == "moved.mp4":
            self.send_response(301)
            self.send_header("Location", "/a.mp4")
            self.end_headers()
        else:
            self.send_body(name, times)

    def send_body(self, name, times):
        body = {"huge.mp4": b"x" * (LIMIT + 1), "endless.mp4": b"x" * (2 * LIMIT)}.get(
            name, self.server.files.get(name, movie())
        )
        self.send_response(200)
        if name != "endless.mp4":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        is_cut = name == "cut_once.mp4" and times == 1
        with suppress(ConnectionError):  # the client may have had enough
            self.wfile.write(body[: len(body) // 2] if is_cut else body)


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ISA4D_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.files = [], {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_list_of_addresses_brings_licence_and_caption(server, tmp_path, kind):
    rows = [("a.mp4", "CC0-1.0", "a person walks"), ("moved.mp4", "", ""), ("404.mp4", "MIT", "")]
    server.files = {"a.mp4": movie(1)}
    listed = tmp_path / f"list.{kind}"
    if kind == "csv":
        lines = [f'{server.url}/{name},{licence},"{text}"' for name, licence, text in rows]
        listed.write_text("\n".join(["url,licence,caption", *lines]))
    else:
        import pyarrow
        from pyarrow import parquet

        names, licences, texts = zip(*rows, strict=True)
        urls = [f"{server.url}/{name}" for name in names]
        table = pyarrow.table({"url": urls, "licence": licences, "caption": texts})
        parquet.write_table(table, listed)
    store = Store(tmp_path / "root")
    account, *_ = ingest([listed], store, SETTINGS, allowed=[f"{server.url}/"])
    # moved.mp4 leads to a.mp4 on the same host: the same bytes.
    assert (account.kept, account.filtered) == (1, {"duplicate": 1, "not_found": 1})
    (key,) = [key for key in store.list("clips/") if key.endswith("clip.json")]
    record = ClipRecord.from_json(store.read(key))
    assert (record.licence, record.caption) == ("CC0-1.0", "a person walks")


def test_a_list_may_not_send_us_to_a_server_that_was_not_allowed(server, tmp_path):
    listed = tmp_path / "list.csv"
    listed.write_text(f"url\n{server.url}/a.mp4\n")
    account, *_ = ingest(
        [listed], Store(tmp_path / "root"), SETTINGS, allowed=["http://127.0.0.1:1"]
    )
    assert account.filtered == {"outside_list": 1}
    assert server.asked == []


def test_every_answer_has_its_reason_and_the_sums_add_up(server, tmp_path):
    names = ["403.mp4", "410.mp4", "away.mp4", "huge.mp4", "endless.mp4", "a.mp4"]
    places = [f"{server.url}/{name}" for name in names]
    account, *_ = ingest(places, Store(tmp_path / "root"), SETTINGS)
    reasons = {"forbidden": 1, "not_found": 1, "redirected": 1, "too_many_bytes": 2}
    assert (account.inputs, account.kept, account.filtered) == (6, 1, reasons)


def test_a_busy_server_and_a_cut_line_are_tried_again(server, tmp_path):
    places = [f"{server.url}/{name}" for name in ("busy_twice.mp4", "cut_once.mp4")]
    server.files = {"busy_twice.mp4": movie(1), "cut_once.mp4": movie(2)}
    account, *_ = ingest(places, Store(tmp_path / "root"), SETTINGS)
    assert (account.kept, account.failed) == (2, {})
    assert server.asked.count("/busy_twice.mp4") >= 3


def test_a_server_that_stays_down_fails_by_name(server, tmp_path):
    store = Store(tmp_path / "root")
    account, *_ = ingest([f"{server.url}/503.mp4", f"{server.url}/a.mp4"], store, SETTINGS)
    assert (account.kept, account.failed) == (1, {"ConnectionError": 1})
    assert any("503" in result.detail for result in read_results(store, "ingest"))


def test_what_is_here_is_not_fetched_again_and_what_changed_is(server):
    server.files = {"a.mp4": b"one"}
    first = fetch(f"{server.url}/a.mp4", LIMIT)
    written = first.stat().st_ctime_ns
    assert fetch(f"{server.url}/a.mp4", LIMIT) == first
    assert first.stat().st_size == 3
    server.files = {"a.mp4": b"other"}
    assert fetch(f"{server.url}/a.mp4", LIMIT).read_bytes() == b"other"
    assert written <= first.stat().st_ctime_ns


def test_nothing_half_fetched_is_left(server, tmp_path):
    with pytest.raises(Rejected, match="too_many_bytes"):
        fetch(f"{server.url}/endless.mp4", LIMIT)
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.stat().st_size] == []


def test_web_places_on_the_command_line_need_no_permission(server):
    (source,) = find_sources([f"{server.url}/a.mp4"])
    assert source.sha256
    assert not source.refused
