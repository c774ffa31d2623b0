"""Whatever is asked for wrongly ends with one clear line, a code, and nothing lost."""

import json
import re
from dataclasses import dataclass

import pytest

from orchestration.cli import main
from orchestration.doctor import Finding
from storage_schemas.shards import read_shard
from storage_schemas.store import Store

NOBODY = "0" * 32


@dataclass(frozen=True)
class Ending:
    """How a command ended."""

    code: object
    out: str
    error: str


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """Run a command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> Ending:
        with pytest.raises(SystemExit) as ending:
            main(line.split())
        printed = capsys.readouterr()
        return Ending(code=ending.value.code, out=printed.out, error=printed.err)

    return run


@pytest.fixture
def filled(tmp_path, write_toy_shard):
    """A root `data` with two labelled clips."""
    store = Store(tmp_path / "data")
    for clip_id, members in read_shard(write_toy_shard(tmp_path / "toy.tar", count=2)):
        for name, content in members.items():
            store.write(f"clips/{clip_id}/{name}", content)
    return store


# command line, what its one line must say
WRONG = [
    ("render --size 63", "width must be even"),
    ("render --size 64y64", "--size must be PX or WxH"),
    ("render --size 64x63", "height must be even"),
    ("render --people 2-", "--people must be MOST or FEWEST-MOST"),
    ("render --people 3-2", "num_people"),
    ("render --frames 0", "num_frames"),
    ("render --tier crayon", "tier must be one of"),
    ("render --camera sideways", "camera kind must be one of"),
    ("render --motion flight", "motion must be one of"),
    ("render --motion mocap", "needs mocap_folder"),
    ("render --panorama nowhere --count 1", r"nowhere holds no \.hdr"),
    ("render --shards a/b", "name must be lower-case"),
    ("render --people 99 --count 1", "num_people"),
    ("render --mocap nowhere --count 1", r"nowhere holds no \.bvh"),
    ("render --count 1 --size 64 --frames 5 --root file", "[Nn]ot a directory|File exists"),
    ("render --count 1 --root gs://a/b", "root must be a folder or s3://"),
    ("render --count 1 --root s3://", "root must be s3://bucket"),
    ("ingest empty", "names no files"),
    ("ingest empty/*.mp4", "names no files"),
    ("ingest list.csv", "column named path, got"),
    ("annotate", "run `isa4d ingest` first"),
    ("annotate --backend people", "STAGE=NAME"),
    ("annotate --backend nothing=mediapipe", "no step with backends"),
    ("pack", "ingest or render first"),
    ("pack a/b", "name must be lower-case"),
    ("pack ../x", "name must be lower-case"),
    ("publish clips", "run `isa4d pack` first"),
    ("publish a/b", "name must be lower-case"),
    ("dataset verify x@9", "no data set named 'x'"),
    ("dataset verify @", "name must be lower-case"),
    ("train nothing --data x --out run", "no recipe"),
    ("train vae_tiny --data x --out run", "no data set named 'x'"),
    ("encode --vae nowhere --data x", "no data set named 'x'"),
    ("generate --model no --vae no --reference a.png --motion walk", "no run in no"),
    ("generate --model a --vae b --reference c --motion walk --out x.json", r"end in \.mp4"),
    ("evaluate labels abc", "FOUND=TRUE"),
    (f"evaluate labels {NOBODY}={NOBODY}", NOBODY),
    ("evaluate vae --vae nowhere --data x", "no data set named 'x'"),
    ("review", "no labelled clip"),
    ("review --reel film.gif", r"--reel must end in \.mp4"),
    ("review --shards nothing", "no packed shards named 'nothing'"),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_what_the_user_can_mend_is_one_line(ask, tmp_path, line, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("kept")
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    ending = ask(line)
    assert ending.code == 1
    assert ending.out == ""
    assert ending.error.startswith("error: ")
    assert len(ending.error.splitlines()) == 1
    assert re.search(message, ending.error), ending.error
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    "line",
    ["render --count 0", "render --count -1", "render --seed -1", "render --workers -1",
     "render --shards x --seeds-per-shard 0", "render --dry-run --price -1", "render --fps 0",
     "train vae_tiny --data x --out r --steps 0", "review --limit 0", "frobnicate", "ingest"],
)  # fmt: skip
def test_what_cannot_be_asked_is_a_usage_error(ask, line):
    ending = ask(line)
    assert ending.code == 2
    assert "Usage: " in ending.error
    assert "Traceback" not in ending.error


def test_a_missing_file_is_named_and_fails_the_command(ask):
    ending = ask("ingest nowhere.mp4")
    assert ending.code == 1
    assert "1 inputs = 0 kept + 0 filtered + 1 failed" in ending.out
    assert "nowhere.mp4" in ending.error
    assert "results/ingest/" in ending.error
    assert "Traceback" not in ending.error


def test_a_published_version_that_lost_bytes_is_found(ask, filled):
    assert ask("pack toy").code == 0
    assert ask("publish toy").code == 0
    assert ask("dataset verify toy@1").code == 0
    assert "no version '9'" in ask("dataset verify toy@9").error
    listed = json.loads(ask("dataset list --json").out)
    assert listed["versions"] == [{"name": "toy", "version": 1}]
    (key,) = [k for k in filled.list("versions/objects/") if k.endswith(".tar")]
    path = filled.local_path(key)
    path.write_bytes(path.read_bytes()[:-2000])
    ending = ask("dataset verify toy")
    assert ending.code == 1
    assert "pack again and republish" in ending.error
    assert len(ending.error.splitlines()) == 1


def test_doctor_counts_add_up_and_only_what_is_needed_fails_it(ask, monkeypatch):
    there = Finding(what="a", is_fine=True, detail="1.0")
    wanted = Finding(what="b", is_fine=False, detail="none", is_needed=False)
    gone = Finding(what="c", is_fine=False, detail="absent; run `make setup`")
    monkeypatch.setattr("orchestration.doctor.examine", lambda: [there, wanted])
    ending = ask("doctor")
    assert (ending.code, ending.out.splitlines()[-1]) == (
        0, "2 checks = 1 fine + 0 missing + 1 optional",
    )  # fmt: skip
    monkeypatch.setattr("orchestration.doctor.examine", lambda: [there, wanted, gone])
    ending = ask("doctor")
    assert ending.code == 1
    assert "MISS c" in ending.out


def test_rendered_shards_are_published_reviewed_filmed_and_counted(ask, tmp_path):
    line = "render --count 2 --frames 5 --size 64x48 --camera static --shards set --json"
    (stage,) = json.loads(ask(line).out)["stages"]
    assert (stage["inputs"], stage["kept"]) == (2, 2)
    assert ask("publish set").code == 0
    shown = "review --shards set --out a.html --reel a.mp4 --statistics b.html"
    ending = ask(shown)
    assert ending.code == 0, ending.error
    assert "2 clips = 2 filmed + 0 not" in ending.out
    assert "render to set" in (tmp_path / "a.html").read_text()
    assert "digital humans" in (tmp_path / "b.html").read_text()
    numbers = json.loads(ask(line + " --dry-run --samples 1").out)
    assert numbers["num_clips"] == 2
    assert numbers["totals"]["bytes"] > 0


# key of the store that is torn, command line, what its one line must say
@pytest.mark.parametrize(
    ("key", "line", "message"),
    [
        ("versions/names/x.json", "dataset list", r"versions/names/x\.json names no manifest"),
        ("results/ingest/a.json", "annotate", r"results/ingest/a\.json is no result"),
        ("clips/ab/body.npz", "review", "clip ab"),
    ],
)
def test_torn_files_of_the_store_are_named(ask, filled, key, line, message):
    for other in filled.list("clips/"):
        filled.delete(other)
    filled.write("clips/ab/clip.json", b"{}")
    filled.write(key, b"{}")
    ending = ask(line)
    assert ending.code == 1
    assert re.search(message, ending.error), ending.error
    assert len(ending.error.splitlines()) == 1
