"""What the 3D view sends to the browser agrees with the labels."""

import shutil
import socket

import numpy as np
import pytest

from pipelines.clip_files import find_clip, open_clips
from pipelines.synthetic.produce import render_clips
from pipelines.synthetic.scene import SceneSettings
from pipelines.view import ClipScene, describe, open_view
from storage_schemas.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SCENES = SceneSettings(width=96, height=72, num_frames=3)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("root"))
    assert render_clips(store, [3], SCENES).kept == 1
    return open_clips(store)


@pytest.fixture(scope="module")
def shown(clips):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with open_view(next(iter(clips.values())), port) as view:
        yield view


def test_bodies_stand_on_the_floor_and_project_into_the_frustum(shown):
    scene = shown.scene
    vertices = scene.vertices(0, 2)
    assert vertices[:, 1].min() == pytest.approx(0, abs=0.15)
    seen = scene.camera.T_camera_world[2] @ np.append(vertices.mean(0), 1)
    u, v, depth = scene.camera.K[2] @ seen[:3]
    assert depth > 0
    assert 0 < u / depth < scene.clip.width
    assert 0 < v / depth < scene.clip.height


def test_every_shape_moves_to_the_chosen_frame(shown):
    for frame in (0, 2):
        shown.show(frame)
        np.testing.assert_allclose(shown.frustum.position, shown.T_world_camera[frame, :3, 3])
        np.testing.assert_allclose(
            shown.people[0].vertices, shown.scene.vertices(0, frame), atol=1e-6
        )


def test_a_clip_is_found_by_how_its_id_begins(clips):
    (clip_id,) = clips
    assert find_clip(clips, clip_id[:5]) is clips[clip_id]
    with pytest.raises(ValueError, match="0 clips begin with 'x'; give one of"):
        find_clip(clips, "x")
    assert "1 people" in describe(ClipScene.read(clips[clip_id]))


@pytest.mark.slow
def test_a_browser_draws_the_person_on_the_floor(shown):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on the PATH: apt-get install chromium")
    shown.is_playing.value = False
    software = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
                "--enable-unsafe-swiftshader"]  # fmt: skip
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=software)
        page = browser.new_page(viewport={"width": 800, "height": 600})
        page.goto(f"http://127.0.0.1:{shown.server.get_port()}")
        page.wait_for_selector("canvas", timeout=300_000)
        page.get_by_text("what the camera saw").wait_for(timeout=300_000)
        page.wait_for_timeout(20_000)
        from io import BytesIO

        from PIL import Image

        seen = np.asarray(Image.open(BytesIO(page.screenshot(timeout=300_000))).convert("RGB"))
        browser.close()
    red, green, blue = seen[:, :500].astype(int).transpose(2, 0, 1)  # left of the panel
    assert ((blue - red > 40) & (blue > green)).sum() > 300  # the first person is blue
    assert ((red - blue > 100) & (red - green > 50)).sum() > 100  # the frustum is orange
