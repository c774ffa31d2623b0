"""What a person decides is kept, read back, and respected by packing."""

import json
import shutil

import pytest

from orchestration.cli import app
from pipelines.decide import Decision, decide, read_decisions
from pipelines.pack import pack
from pipelines.report import write_review
from pipelines.run import read_results
from pipelines.synthetic.produce import render_clips
from pipelines.synthetic.scene import SceneSettings
from storage_schemas.store import Store

SCENES = SceneSettings(width=32, height=32, num_frames=2, framing="fill")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("root"))
    assert render_clips(store, [1, 2], SCENES).kept == 2
    return store


@pytest.fixture
def store(rendered, tmp_path):
    shutil.copytree(rendered.root, tmp_path / "root")
    return Store(tmp_path / "root")


def clip_ids(store):
    return sorted({key.split("/")[1] for key in store.list("clips/")})


def test_packing_leaves_out_what_was_rejected_until_it_is_accepted(store):
    first, second = clip_ids(store)
    decide(store, [Decision(clip_id=first, decision="reject", why="a leg is cut")])
    counts = pack(store, "some").accounting
    assert (counts.kept, counts.filtered) == (1, {"review: rejected_by_person": 1})
    (result,) = read_results(store, "review")
    assert result.detail == "a leg is cut"
    assert set(result.provenance) == {"by", "at", "decision"}
    decide(store, [Decision(clip_id=first, decision="accept")])
    assert pack(store, "some").accounting.kept == 2
    assert [r.status for r in read_results(store, "review")] == ["kept"]
    assert second in clip_ids(store)


def test_an_unknown_clip_stores_nothing(store):
    known, *_ = clip_ids(store)
    wanted = [Decision(clip_id=c, decision="reject") for c in (known, "0" * 32)]
    with pytest.raises(ValueError, match="nothing is decided"):
        decide(store, wanted)
    assert not [*store.list("results/review/")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "holds no decision"),
        ("[1]", "line 1 is no decision: a decision must be an object"),
        ("no json", "line 1 is no decision"),
        ('{"clip_id": "../x", "decision": "reject"}', "clip_id must be the id"),
        ('{"clip_id": 7, "decision": "reject"}', "line 1 is no decision"),
        (json.dumps({"clip_id": "a" * 32, "decision": "maybe"}), "line 1 is no decision"),
        (json.dumps({"clip_id": "a" * 32}), "line 1 is no decision"),
    ],
)
def test_lines_that_decide_nothing_are_named(line, message):
    with pytest.raises(ValueError, match=message):
        read_decisions(line + "\n", "decisions.jsonl")


def test_commands_store_decisions(store, capsys, tmp_path):
    first, second = clip_ids(store)
    root = ["--root", str(store.root)]
    app(["reject", first, second, "--why", "dark", *root], standalone_mode=False)
    assert "2 decisions = 0 accepted + 2 rejected" in capsys.readouterr().out
    file = tmp_path / "decisions.jsonl"
    file.write_text(json.dumps({"clip_id": first, "decision": "accept", "why": ""}) + "\n")
    app(["review", "--decide", str(file), *root], standalone_mode=False)
    assert {r.key: r.status for r in read_results(store, "review")} == {
        first: "kept", second: "filtered",
    }  # fmt: skip


def test_keys_on_the_page_give_the_decisions_that_are_read(store, tmp_path):
    chromium = shutil.which("chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    if chromium is None:
        pytest.skip("no chromium on the PATH: apt-get install chromium")
    page_file = tmp_path / "review.html"
    write_review(store, page_file, limit=5)
    with playwright.sync_playwright() as found:
        browser = found.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(page_file.as_uri())
        assert page.locator("#download").is_disabled()
        for key in ("j", "r", "j", "a"):
            page.keyboard.press(key)
        page.locator("section[data-clip] input").first.fill("blurry j r")
        with page.expect_download() as download:
            page.locator("#download").click()
        text = download.value.path().read_text()
        browser.close()
    first, second = clip_ids(store)
    assert read_decisions(text, "page") == [
        Decision(clip_id=first, decision="reject", why="blurry j r"),
        Decision(clip_id=second, decision="accept"),
    ]
