"""The Dagster UI as a person uses it: a real server, a real browser, clicks.

Slow: `make test-slow`. Set ISA4D_SCREENSHOTS to a folder to look at what the browser saw.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400), pytest.mark.filterwarnings("ignore")]
ROOT = Path(__file__).parents[2]
PARTITION = "1000000"
PATIENCE_S = 900
"""A run starts a process of its own; on a busy small machine that alone takes minutes."""


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
def server(tmp_path_factory, root, browser):
    """Address of a webserver with its daemon, on a free port; ended with all it started."""
    home = tmp_path_factory.mktemp("home")
    shutil.copy(ROOT / "orchestration" / "dagster.yaml", home)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    log = (home / "log").open("w")
    process = subprocess.Popen(
        [Path(sys.executable).with_name("dagster"), "dev", "-h", "127.0.0.1", "-p", str(port),
         "-m", "orchestration.definitions"],
        cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
        env=os.environ | {"DAGSTER_HOME": str(home), "ISA4D_ROOT": str(root)},
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/server_info", process)
        yield address
    finally:
        family = [*psutil.Process(process.pid).children(recursive=True), process]
        for member in family:
            member.kill()
        process.wait()
        log.close()


def wait_for(address, process, seconds=600):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(address, timeout=10).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(2)
    raise TimeoutError(address)


@pytest.fixture
def page(browser, server):
    found = browser.new_page(base_url=server, viewport={"width": 1400, "height": 800})
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
    end = time.monotonic() + PATIENCE_S
    materialized = page.get_by_text("Materialized", exact=True)
    while not materialized.count():  # the page does not look again by itself
        assert time.monotonic() < end, "the run did not finish"
        page.goto(shown, wait_until="domcontentloaded")
        page.wait_for_timeout(10_000)
    row = page.get_by_role("row").filter(has_text="sheet")
    row.get_by_text("Show Markdown").first.click()
    page.locator("img[src^='data:image/jpeg']").first.wait_for()
    look(page, "partition")


def test_what_starts_by_itself_is_listed(page):
    page.goto("/automation", wait_until="domcontentloaded")
    for name in ("default_automation_condition_sensor", "new_footage", "nightly_dataset"):
        page.get_by_text(name, exact=True).first.wait_for()
    look(page, "automation")
