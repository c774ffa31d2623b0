"""Footage under an S3 prefix, clips to another one, on a real loopback server."""

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from pipelines.ingest.settings import IngestSettings
from pipelines.ingest.sources import find_sources
from pipelines.ingest.stage import ingest
from pipelines.video_io import encode_mp4
from storage_schemas.clip import ClipRecord
from storage_schemas.store import Store

SETTINGS = IngestSettings(
    max_short_side_px=64, min_motion=0.0, max_blur=1.0, max_source_bytes=500_000
)


@pytest.fixture
def client(tmp_path, monkeypatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("ISA4D_CACHE_DIR", str(tmp_path / "cache"))
    client = boto3.session.Session().client("s3")
    client.create_bucket(Bucket="footage")
    client.create_bucket(Bucket="work")
    yield client
    server.stop()


def test_a_prefix_is_ingested_once_and_into_s3(client):
    for number, key in enumerate(["day1/a.mp4", "day1/deep/b.mp4", "day2/c.mp4"]):
        rng = np.random.default_rng(number)
        frames = rng.integers(0, 255, (12, 8, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
        client.put_object(Bucket="footage", Key=key, Body=encode_mp4(frames, 10))
    client.put_object(Bucket="footage", Key="day1/.hidden.mp4", Body=b"no")
    client.put_object(Bucket="footage", Key="day1/notes.txt", Body=b"no video\n" * 9)
    client.put_object(Bucket="footage", Key="day1/huge.mp4", Body=b"x" * 500_001)
    store = Store("s3://work/root")
    account, pieces, apart = ingest(["s3://footage/day1/"], store, SETTINGS)
    assert account.inputs == 4
    assert (account.kept, account.filtered) == (2, {"not_a_video": 1, "too_many_bytes": 1})
    assert (pieces.kept, apart.kept) == (2, 2)
    keys = [key for key in store.list("clips/") if key.endswith("clip.json")]
    uris = {ClipRecord.from_json(store.read(key)).uri for key in keys}
    assert uris == {"s3://footage/day1/a.mp4", "s3://footage/day1/deep/b.mp4"}
    again, *_ = ingest(["s3://footage/day1/"], store, SETTINGS)
    assert again.reused == again.inputs


def test_a_list_names_s3_only_where_it_may(client, tmp_path):
    client.put_object(Bucket="footage", Key="a.mp4", Body=b"x")
    listed = tmp_path / "list.csv"
    listed.write_text("path\ns3://footage/a.mp4\ns3://work/secret\n")
    allowed, refused = find_sources([listed], allowed=["s3://footage/"])
    assert (allowed.refused, refused.refused) == ("", "outside_list")
