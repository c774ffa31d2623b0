"""The Dagster UI as a person uses it: a real server, a real browser, clicks.

Slow: `make test-slow`. Set ISA4D_SCREENSHOTS to a folder to look at what the browser saw.
"""

import os
import shutil
from pathlib import Path

import pytest
from real_services import OVER, Dagster, wait_for

from orchestration.partitions import seed_ranges

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400), pytest.mark.filterwarnings("ignore")]
PARTITION, CHOSEN, OTHER, LATER = "1000000", ("1000032", "1000064"), "1000096", "1000128"
PATIENCE_S = 900
"""A run starts a process of its own; on a busy small machine that alone takes minutes."""
RENDER = {"synthetic_clips": {"config": {"size_px": 64}}}
DATASET = {"dataset": {"config": {"validation_share": 0.0, "test_share": 0.0}}}
VAE = {"vae": {"config": {"recipe": "vae_debug", "steps": 4}}}


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on the PATH: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def dagster(tmp_path_factory, root, browser):
    found = Dagster(tmp_path_factory.mktemp("home"), {"ISA4D_ROOT": str(root)})
    found.start()
    yield found
    found.kill()


@pytest.fixture(scope="module")
def published(dagster):
    """Clips, and a version of them."""
    for assets, config, partition in (
        (["synthetic_clips"], RENDER, OTHER),
        (["dataset"], DATASET, None),
    ):
        run_id = dagster.launch(assets, config, partition)
        assert dagster.wait_for_end(run_id, PATIENCE_S) == "SUCCESS"


@pytest.fixture
def page(browser, dagster):
    found = browser.new_page(base_url=dagster.address, viewport={"width": 1400, "height": 800})
    found.set_default_timeout(120_000)
    yield found
    found.close()


def look(page, name):
    if "ISA4D_SCREENSHOTS" in os.environ:
        page.wait_for_timeout(2000)
        page.screenshot(path=Path(os.environ["ISA4D_SCREENSHOTS"]) / f"{name}.png")


def open_lineage(page, selection=""):
    page.goto(f"/asset-groups?asset-selection={selection}", wait_until="domcontentloaded")
    page.get_by_role("button", name="Materialize").first.wait_for()
    page.get_by_text("models", exact=True).last.wait_for()
    page.keyboard.press("Alt+KeyE")  # expand all groups


def test_the_lineage_shows_every_asset(page):
    open_lineage(page)
    for name in ("synthetic_clips", "footage_clips", "labels", "dataset", "vae", "dit", "film"):
        page.get_by_text(name, exact=True).first.wait_for()
    look(page, "lineage")


def test_a_partition_is_rebuilt_by_clicking_and_shows_its_clips(page):
    page.goto("/assets/synthetic_clips?view=partitions", wait_until="domcontentloaded")
    page.get_by_text(PARTITION, exact=True).first.click()
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    look(page, "launch")
    dialog.get_by_role("button", name="Launch 1 run").click()
    page.wait_for_timeout(3000)
    shown = f"/assets/synthetic_clips?view=partitions&partition={PARTITION}"

    def is_materialized():  # the page does not look again by itself
        page.goto(shown, wait_until="domcontentloaded")
        page.wait_for_timeout(10_000)
        return page.get_by_text("Materialized", exact=True).count()

    wait_for(is_materialized, PATIENCE_S)
    row = page.get_by_role("row").filter(has_text="sheet")
    row.get_by_text("Show Markdown").first.click()
    page.locator("img[src^='data:image/jpeg']").first.wait_for()
    look(page, "partition")


def test_what_starts_by_itself_is_listed(page):
    page.goto("/automation", wait_until="domcontentloaded")
    for name in ("default_automation_condition_sensor", "new_footage", "nightly_dataset"):
        page.get_by_text(name, exact=True).first.wait_for()
    look(page, "automation")


def test_the_launchpad_says_what_each_setting_means(page):
    page.goto("/assets/vae", wait_until="domcontentloaded")
    page.get_by_role("button", name="Materialize").first.click(modifiers=["Shift"])
    editor, confirm = page.locator(".CodeMirror"), page.get_by_role("button", name="Confirm")
    editor.or_(confirm).first.wait_for()
    if confirm.count():  # nothing is published yet
        confirm.click()
    editor.get_by_text("vae_tiny").first.click()  # the default
    dialog = page.get_by_role("dialog")
    for text in (
        "NAME for the newest version, or NAME@VERSION.", "Instead of the recipe's number of steps.",
        "steps?: Int", "recipe?: String",
    ):  # fmt: skip
        dialog.get_by_text(text).first.wait_for()
    look(page, "launchpad")


def test_partitions_chosen_by_clicking_are_rebuilt_and_others_wait_for_their_turn(page, dagster):
    page.goto("/assets/synthetic_clips?view=partitions", wait_until="domcontentloaded")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_text("Select a partition or create one").click()
    for key in CHOSEN:
        page.get_by_role("menuitem").filter(has_text=key).first.click()
    page.keyboard.press("Escape")
    look(page, "backfill")
    page.get_by_role("button", name="Launch backfill").click()
    wait_for(lambda: [run for run in dagster.runs() if in_backfill(run)], PATIENCE_S, 2)
    other = dagster.launch(["synthetic_clips"], RENDER, OTHER)
    assert dagster.wait_for_end(other, PATIENCE_S) == "SUCCESS"
    wait_for(lambda: all(r["endTime"] for r in dagster.runs() if in_backfill(r)), PATIENCE_S, 2)
    (run,) = [run for run in dagster.runs() if in_backfill(run)]
    assert run["status"] == "SUCCESS"
    (single,) = [run for run in dagster.runs() if run["runId"] == other]
    first, second = sorted([run, single], key=lambda run: run["startTime"])
    assert first["endTime"] <= second["startTime"]  # the pool `data` has one place
    page.goto("/assets/synthetic_clips?view=partitions", wait_until="domcontentloaded")
    page.get_by_text(CHOSEN[0], exact=True).first.wait_for()
    look(page, "backfilled")


def in_backfill(run):
    return "dagster/backfill" in {tag["key"] for tag in run["tags"]}


def test_hundreds_of_partitions_become_runs_of_eight_and_can_be_called_off(dagster):
    before = {run["runId"] for run in dagster.runs()}
    partitions = seed_ranges.get_partition_keys()
    assert len(partitions) == 320
    backfill = dagster.backfill("synthetic_clips", partitions, {"ops": RENDER})

    def runs():
        return [run for run in dagster.runs() if run["runId"] not in before]

    wait_for(lambda: len(runs()) == 320 / 8, PATIENCE_S, 2)
    assert sum(run["status"] in ("STARTING", "STARTED") for run in runs()) <= 1
    dagster.ask(
        "mutation($b: String!) {cancelPartitionBackfill(backfillId: $b) {__typename}}", b=backfill
    )
    wait_for(lambda: all(run["status"] in OVER for run in runs()), PATIENCE_S, 2)
    assert sum(run["status"] == "CANCELED" for run in runs()) >= 39


def test_a_failed_check_keeps_the_model_from_being_trained_and_says_why(
    page, dagster, root, published
):
    (shard, *_) = sorted((root / "versions" / "objects").rglob("*.tar"))
    whole = shard.read_bytes()
    shard.unlink()  # published files are read-only
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    run_id = dagster.launch(["dataset", "vae"], DATASET | VAE)
    assert dagster.wait_for_end(run_id, PATIENCE_S) == "FAILURE"
    page.goto("/assets/dataset?view=checks", wait_until="domcontentloaded")
    for text in ("Failed", "This is a blocking asset check.", "are not as published"):
        page.get_by_text(text).first.wait_for()
    look(page, "check")
    page.goto(f"/runs/{run_id}", wait_until="domcontentloaded")
    page.get_by_text("Dependencies for step vae failed: ['dataset']. Not executing.").wait_for()
    look(page, "blocked")
    assert not list(root.glob("vae_debug*"))
    shard.unlink()
    shard.write_bytes(whole)


def test_a_model_on_older_data_is_marked_and_says_why(page, dagster, published):
    def run(assets, config, partition=None):
        run_id = dagster.launch(assets, config, partition)
        assert dagster.wait_for_end(run_id, PATIENCE_S) == "SUCCESS"

    run(["dataset", "vae"], DATASET | VAE)
    page.goto("/assets/vae", wait_until="domcontentloaded")
    page.get_by_text("Latest materialization").wait_for()
    page.get_by_text("weights", exact=True).wait_for()
    assert not page.get_by_text("Unsynced").count()
    run(["synthetic_clips"], RENDER, LATER)
    run(["dataset"], DATASET)
    page.goto("/assets/vae", wait_until="domcontentloaded")
    page.get_by_text("Unsynced (1)").hover()
    page.get_by_text("has a new data version").first.wait_for()
    look(page, "unsynced")
