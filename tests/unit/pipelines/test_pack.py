import hashlib
import io
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pipelines.pack import PackSettings, pack
from pipelines.run import Item, Rejected, Stage, run_stage
from storage_schemas.clip import ClipRecord
from storage_schemas.dataset import read_packed
from storage_schemas.shards import MEMBERS, read_shard
from storage_schemas.store import Store

SETTINGS = PackSettings(samples_per_shard=3)


@pytest.fixture
def store(tmp_path, write_toy_shard):
    """A work area with eight annotated clips of eight sources."""
    store = Store(tmp_path / "root")
    for number, (clip_id, parts) in enumerate(
        read_shard(write_toy_shard(tmp_path / "toy.tar", count=8))
    ):
        record = ClipRecord.from_json(parts["clip.json"])
        source = hashlib.sha256(b"%d" % number).hexdigest()
        parts["clip.json"] = replace(record, source_sha256=source).to_json()
        for name, data in parts.items():
            store.write(f"clips/{clip_id}/{name}", data)
    return store


def ids(store):
    return sorted({key.split("/")[1] for key in store.list("clips/")})


def packed(store, name="set"):
    """Clip id -> members over all shards of the index."""
    clips = {}
    for shard in read_packed(store, name).shards:
        content = dict(read_shard(store.local_path(shard.key)))
        assert tuple(content) == shard.clip_ids
        clips |= content
    return clips


def snapshot(store, prefix):
    return {key: store.read(key) for key in store.list(prefix)}


def test_every_clip_lies_in_one_shard_with_all_its_members(store):
    report = pack(store, "set", settings=SETTINGS)
    clips = packed(store)
    assert sorted(clips) == ids(store)
    for clip_id, parts in clips.items():
        assert [name for name in MEMBERS if name in parts] == list(parts)
        for name in set(parts) - {"clip.json"}:
            assert parts[name] == store.read(f"clips/{clip_id}/{name}")
    assert [len(shard.clip_ids) for shard in report.index.shards] == [3, 3, 2]
    assert report.summary().startswith(
        "pack: 8 inputs = 8 kept + 0 filtered + 0 failed; 0 reused; 3 shards"
    )


def test_the_index_states_the_bytes(store):
    for shard in pack(store, "set", settings=SETTINGS).index.shards:
        data = store.read(shard.key)
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (shard.sha256, shard.size_bytes)


def test_same_clips_same_bytes_and_nothing_is_done_twice(store):
    pack(store, "set", settings=SETTINGS)
    first = snapshot(store, "shards/")
    again = pack(store, "set", settings=SETTINGS)
    assert again.accounting.reused == 8
    assert snapshot(store, "shards/") == first
    for key in (*store.list("results/"), *store.list("shards/")):
        store.delete(key)
    pack(store, "set", list(reversed(ids(store))), SETTINGS)
    assert snapshot(store, "shards/") == first


def test_what_the_stages_found_goes_into_the_record(store):
    clip_id = ids(store)[0]

    def caption(item, store):
        return {
            f"clips/{item.key}/caption.json": json.dumps({"caption": "a box walks"}).encode(),
            f"clips/{item.key}/quality.json": json.dumps({"mask_iou": 0.9}).encode(),
        }

    stage = Stage(name="caption", version="7", weights="abc", parameters={"k": 1}, work=caption)
    run_stage(stage, [Item(key=clip_id)], store)
    pack(store, "set", settings=SETTINGS)
    record = ClipRecord.from_json(packed(store)[clip_id]["clip.json"])
    assert record.caption == "a box walks"
    assert record.quality == {"mask_iou": 0.9}
    assert record.provenance["caption"] == {
        "version": "7",
        "weights": "abc",
        "parameters": {"k": 1},
    }


def test_a_changed_label_changes_its_shard_and_no_other(store):
    before = pack(store, "set", settings=SETTINGS).index
    store.write(f"clips/{ids(store)[4]}/quality.json", b'{"mask_iou": 0.5}')
    after = pack(store, "set", settings=SETTINGS).index
    changed = [a.sha256 != b.sha256 for a, b in zip(before.shards, after.shards, strict=True)]
    assert changed == [False, True, False]


def test_new_labels_leave_shards_of_videos_that_lie_apart_as_they_are(store):
    settings = replace(SETTINGS, labels_apart=True)
    whole = pack(store, "whole", settings=SETTINGS).index
    before = pack(store, "set", settings=settings)
    assert before.accounting.kept == before.index.num_clips == whole.num_clips == 8
    clips = {}
    for shard in before.index.shards:
        for clip_id, parts in read_shard(store.local_path(shard.key)):
            assert (list(parts) == ["video.mp4"]) is not bool(shard.media)
            clips[clip_id] = clips.get(clip_id, {}) | parts
    assert clips == packed(store, "whole")
    store.write(f"clips/{ids(store)[4]}/quality.json", b'{"mask_iou": 0.5}')
    after = pack(store, "set", settings=settings).index
    changed = [a != b for a, b in zip(before.index.shards, after.shards, strict=True)]
    assert changed == [False, False, False, True, False, False]  # media, labels, media, ...
    pack(store, "set", settings=SETTINGS)
    assert len(store.list("shards/set/")) == 4


def test_clips_that_a_stage_refused_stay_out_and_are_counted(store):
    nobody, broken, short, bare, *_ = ids(store)

    def people(item, store):
        if item.key == nobody:
            raise Rejected("nobody")
        if item.key == broken:
            raise RuntimeError("bug")
        return {}

    run_stage(
        Stage(name="people", version="1", work=people), [Item(key=k) for k in ids(store)], store
    )
    camera = dict(np.load(io.BytesIO(store.read(f"clips/{short}/camera.npz"))))
    camera["K"] = camera["K"][:-1]
    buffer = io.BytesIO()
    np.savez(buffer, **camera)
    store.write(f"clips/{short}/camera.npz", buffer.getvalue())
    store.delete(f"clips/{bare}/mask.npz")
    report = pack(store, "set", settings=replace(SETTINGS, required=("mask.npz",)))
    assert report.accounting.filtered == {
        "people: nobody": 1,
        "check: inconsistent": 1,
        "without mask.npz": 1,
    }
    assert report.accounting.failed == {"people: RuntimeError": 1}
    assert sorted(packed(store)) == ids(store)[4:]


def test_packing_fewer_clips_under_a_name_leaves_no_old_shard(store):
    pack(store, "set", settings=SETTINGS)
    pack(store, "set", ids(store)[:2], SETTINGS)
    assert store.list("shards/set/") == ["shards/set/index.json", "shards/set/shard-000000.tar"]
    assert sorted(packed(store)) == ids(store)[:2]
    assert pack(store, "set", settings=SETTINGS).accounting.kept == 8


def test_splits_follow_the_source_and_the_stated_shares():
    settings = PackSettings(validation_share=0.1, test_share=0.2)
    sources = [hashlib.sha256(b"%d" % i).hexdigest() for i in range(3000)]
    counts = Counter(settings.split(source) for source in sources)
    assert counts["test"] / 3000 == pytest.approx(0.2, abs=0.03)
    assert counts["validation"] / 3000 == pytest.approx(0.1, abs=0.03)
    # Widening one share moves no source out of it.
    wider = PackSettings(validation_share=0.1, test_share=0.3)
    assert all(wider.split(s) == "test" for s in sources if settings.split(s) == "test")


def test_nothing_to_pack_and_impossible_settings_are_refused(store, tmp_path):
    with pytest.raises(ValueError, match="nothing to pack"):
        pack(Store(tmp_path / "empty"), "set")
    with pytest.raises(ValueError, match="name must be"):
        pack(store, "../set")
    for change in ({"samples_per_shard": 0}, {"test_share": 1.5}, {"required": ("x",)}):
        with pytest.raises(ValueError, match="must be"):
            replace(SETTINGS, **change)


def rendered_again(store, width):
    """A second clip of the seed of every second one, of another width."""
    for number, clip_id in enumerate(ids(store)):
        key = f"clips/{clip_id}/clip.json"
        record = replace(ClipRecord.from_json(store.read(key)), uri=f"synthetic:seed={number}")
        store.write(key, record.to_json())
        if number % 2:
            other = hashlib.sha256(clip_id.encode()).hexdigest()
            again = replace(record, clip_id=other[:32], source_sha256=other, width=width)
            for part in ("video.mp4", "clip.json"):
                data = again.to_json() if part == "clip.json" else b"video"
                store.write(f"clips/{other[:32]}/{part}", data)


def test_seeds_rendered_again_at_another_size_are_refused_until_one_is_chosen(store):
    rendered_again(store, 32)
    with pytest.raises(ValueError, match=r"seed=1 was rendered in two ways.*rendered_px"):
        pack(store, "set", settings=SETTINGS)
    assert not store.list("shards/")
    report = pack(store, "set", settings=replace(SETTINGS, rendered_px=64))
    assert report.accounting.kept == 8
    assert report.accounting.filtered == {"another size": 4}
    widths = {ClipRecord.from_json(parts["clip.json"]).width for parts in packed(store).values()}
    assert widths == {64}
    with pytest.raises(ValueError, match=r"nothing to pack.*another size"):
        pack(store, "set", settings=replace(SETTINGS, rendered_px=96))
