"""Published versions of a million clips: publish, diff, list, sample, and a rebuild with no work.

`python tests/benchmarks/bench_dataset.py [CLIPS] [ITEMS]`: CLIPS rows of a catalogue (1,000,000)
and ITEMS finished items of a stage (10,000), in a folder and on an S3 server of this process.
"""

import hashlib
import os
import resource
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import boto3
import numpy as np
import pyarrow as pa
from moto.server import ThreadedMotoServer

from models.data import epoch_order
from pipelines.run import Item, Stage, run_stage
from storage_schemas.catalogue import LABEL_SCHEMA, SCHEMA
from storage_schemas.collect import find_garbage
from storage_schemas.dataset import (
    ShardEntry,
    commit,
    diff,
    list_versions,
    read_catalogue,
    rollback,
)
from storage_schemas.store import Store

CLIPS_PER_SHARD = 64


def main():
    """Print a table row per measurement."""
    clips, items = (int(text) for text in (*sys.argv[1:], "1000000", "10000")[:2])
    with tempfile.TemporaryDirectory() as folder, s3_server() as bucket:
        for place, root in (("local", folder), ("S3", f"{bucket}/bench")):
            measure_catalogue(place, Store(root), clips)
            measure_rebuild(place, Store(f"{root}/work"), items)


def measure_catalogue(place, store, clips):
    before, after = synthetic_rows(clips), relabelled(synthetic_rows(clips + clips // 100))
    with measured(place, f"publish {clips:,} rows"):
        commit(store, "set", entries(clips, 0), before)
    with measured(place, "publish 1 % more, 1 % relabelled"):
        newest = commit(store, "set", entries(len(after), 1), after)
    with measured(place, "diff"):
        found = diff(store, "set@1", "set@2")
    assert len(found.added) == clips // 100
    with measured(place, "list versions"):
        assert [manifest.version for manifest in list_versions(store, "set")] == [2, 1]
    with measured(place, "read catalogue, order of an epoch, 64 clips"):
        table = read_catalogue(store, newest)
        chosen = table.take(epoch_order(len(table), 0, 0)[:64]).to_pylist()
    assert len(chosen) == 64
    with measured(place, "rollback"):
        rollback(store, "set@1")
    with measured(place, "garbage, told only"):
        find_garbage(store)
    size_mb = len(store.read(f"versions/objects/{newest.catalogue}.parquet")) / 1e6
    print(f"| {place} | size of the catalogue | {size_mb:.0f} MB | |")


def measure_rebuild(place, store, items):
    stage = Stage(name="copy", version="1", work=copy)
    work = [Item(key=f"{number:032x}", inputs=(f"in/{number:06d}",)) for number in range(items)]
    for number in range(items):
        store.write(f"in/{number:06d}", b"%d" % number)
    with measured(place, f"{items:,} items, all to do"):
        run_stage(stage, work, store)
    with measured(place, f"{items:,} items, none to do"):
        account = run_stage(stage, work, store)
    assert account.reused == items


def copy(item, store):
    """Work that takes no time of its own."""
    return {f"out/{item.key}": store.read(item.inputs[0])}


def synthetic_rows(clips):
    """A catalogue of clips that nobody made: the ids are hashes, the rest repeats as in life."""
    rng = np.random.default_rng(0)

    def digests():
        buffers = [None, pa.py_buffer(rng.bytes(16 * clips))]
        return pa.Array.from_buffers(pa.binary(16), clips, buffers)

    numbers = np.arange(clips)
    licences = np.array(["CC0-1.0", "CC-BY-4.0", "unknown"])[numbers % 3]
    columns = {
        "clip_id": digests(), "labels": digests(), "media": digests(), "source_sha256": digests(),
        "shard": numbers // CLIPS_PER_SHARD, "media_shard": numbers // CLIPS_PER_SHARD,
        "split": np.array(["train"] * 18 + ["validation", "test"])[numbers % 20],
        "source": np.array(["real", "synthetic"])[numbers % 2], "licence": licences,
        "uri": np.char.add("s3://footage/film", (numbers // 10).astype(str)),
        "num_frames": np.full(clips, 97), "width": np.full(clips, 512),
        "height": np.full(clips, 512), "fps": np.full(clips, 24.0, np.float32),
        "made_by": np.full(clips, "ingest 3; people 2 mediapipe; bodies 4 0a1b2c3d4e5f"),
    }  # fmt: skip
    arrays = [pa.array(columns[name]).cast(SCHEMA.field(name).type) for name in SCHEMA.names]
    return pa.Table.from_arrays(arrays, schema=SCHEMA).sort_by("clip_id")


def relabelled(table):
    """Every hundredth clip with other labels."""
    labels = table["labels"].to_numpy().copy()
    labels[::100] = bytes(16)
    where = LABEL_SCHEMA.get_field_index("labels")
    return table.set_column(where, "labels", pa.array(labels, pa.binary(16)))


def entries(clips, seed):
    """Shards that are nowhere: the catalogue is what is measured."""
    return [
        ShardEntry(
            key=f"versions/objects/{digest}.tar", sha256=digest, size_bytes=10**8
        )
        for digest in (
            hashlib.sha256(b"%d %d" % (seed, number)).hexdigest()
            for number in range(-(-clips // CLIPS_PER_SHARD))
        )
    ]  # fmt: skip


@contextmanager
def measured(place, what):
    start, cpu = time.perf_counter(), time.process_time()
    yield
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"| {place} | {what} | {wall_s:.2f} s ({cpu_s:.2f} s CPU) | {peak_mb:.0f} MB |", flush=True
    )


@contextmanager
def s3_server():
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip
    boto3.client("s3").create_bucket(Bucket="isa4d")
    yield "s3://isa4d"
    server.stop()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
