"""The life of published versions on the command line."""

import json

import pytest

from orchestration.cli import main
from storage_schemas.store import Store


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """Run a command line on the root `data` with two versions of `people`; gives what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(line, code=0):
        with pytest.raises(SystemExit) as ending:
            main(line.split())
        printed = capsys.readouterr()
        assert ending.value.code == code, printed.err
        return printed.err if code else printed.out

    return run


@pytest.fixture
def store(ask, tmp_path, write_packed):
    store = Store(tmp_path / "data")
    for clips in ({0: (b"a", ""), 1: (b"b", "")}, {0: (b"a", "walks"), 5: (b"c", "")}):
        write_packed(store, "people", clips)
        ask("publish people")
    return store


def test_versions_are_shown_with_what_they_hold_and_where_it_comes_from(ask, store):
    shown = json.loads(ask("dataset show people@1 --json"))
    assert (shown["clips"], shown["version"], shown["source_files"]) == (2, 1, 1)
    assert shown["licences"] == {"CC-BY-4.0": 1, "CC0-1.0": 1}
    assert sum(shown["splits"].values()) == 2
    assert shown["made_by"] == {"ingest 1; people 2 abc": 2}
    text = ask("dataset show people")
    assert "licences: CC0-1.0, 1 clips" in text
    assert text.splitlines()[-1].startswith("people@2: 2 clips = 1 train + 1 validation; 1 shards")


def test_two_versions_are_compared(ask, store):
    found = json.loads(ask("dataset diff people@1 people --json"))
    counts = {kind: found[kind]["count"] for kind in ("added", "removed", "relabelled", "remade")}
    assert counts == {"added": 1, "removed": 1, "relabelled": 1, "remade": 0}
    text = ask("dataset diff people@1 people --limit 0")
    assert text.splitlines()[-1] == "0 same + 1 relabelled + 0 remade + 1 added; 1 removed"
    assert "added 1 more" in text


def test_tags_and_rollback_move_what_is_meant(ask, store):
    assert ask("dataset tag people@1 prod").strip() == "people@prod is people@1"
    assert ask("dataset rollback people@prod").startswith("people is people@1: 2 clips")
    listed = json.loads(ask("dataset list --json"))
    assert listed["versions"] == [
        {"name": "people", "version": 2},
        {"name": "people", "version": 1},
    ]
    assert listed["tags"] == {"people": {"prod": 1, "latest": 1}}
    assert "(latest, prod)" in ask("dataset list")
    ask("dataset verify people@prod")
    ask("dataset tag people prod --delete")
    assert "no version 'prod'" in ask("dataset verify people@prod", code=1)
    assert "needs NAME@VERSION" in ask("dataset rollback people", code=1)


def test_collection_tells_first_and_removes_when_told(ask, store):
    line = "dataset gc --keep 1 --grace-hours 0 --json"
    told = json.loads(ask(line))
    assert (told["given_up"], told["is_removed"]) == ({"people": [1]}, False)
    assert len(told["garbage"]) == 2  # a shard and a catalogue
    assert all(store.exists(key) for key in told["garbage"])
    ask("dataset verify people@1")
    done = json.loads(ask(line + " --delete"))
    assert (done["garbage"], done["given_up"]) == (told["garbage"], told["given_up"])
    assert not any(store.exists(key) for key in told["garbage"])
    assert "was removed" in ask("dataset verify people@1", code=1)
    assert "every byte is as published" in ask("dataset verify people")
    assert json.loads(ask(line))["garbage"] == []
