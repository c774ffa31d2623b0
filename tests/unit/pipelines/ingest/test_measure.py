"""The measures rise with what they measure, and do not care about resolution."""

import cv2
import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from pipelines.ingest.crop import Crop
from pipelines.ingest.measure import blur, find_text, fingerprint, measure_clip
from pipelines.ingest.settings import IngestSettings
from pipelines.video_io import encode_mp4, iterate_frames, probe

FONT = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans-Bold.ttf"


@pytest.fixture(scope="module")
def street(shared_data):
    info = probe(shared_data / "real_videos/nobody_cars_overhead.mp4")
    (frame,) = iterate_frames(info, [40])
    return cv2.resize(frame, (640, 360), interpolation=cv2.INTER_AREA)


def measure(tmp_path, frames, fps=20.0):
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.mp4"
    path.write_bytes(encode_mp4(frames, fps))
    info = probe(path)
    return measure_clip(info, np.arange(info.num_frames), fps, Crop(0, 0, info.height, info.width))


def pan(picture, px_per_frame, num=24, size=(288, 512)):
    starts = np.round(np.arange(num) * px_per_frame).astype(int)
    return np.stack([picture[: size[0], s : s + size[1]] for s in starts])


def test_motion_and_sweep_are_speeds_in_short_sides(street, tmp_path):
    still, slow, fast = (measure(tmp_path, pan(street, step)) for step in (0, 1.44, 4.32))
    assert still.motion < IngestSettings().min_motion
    # 1.44 px of 288 per frame at 20 fps is 0.1 short sides a second.
    assert slow.sweep == pytest.approx(0.1, rel=0.3)
    assert fast.sweep == pytest.approx(0.3, rel=0.3)


def test_blur_grows_with_blurring_and_not_with_contrast(street):
    grey = cv2.cvtColor(street, cv2.COLOR_RGB2GRAY)
    found = [blur(cv2.GaussianBlur(grey, (0, 0), s) if s else grey) for s in (0, 1, 2, 4, 8)]
    assert found == sorted(found)
    assert found[0] < 0.5
    assert found[3] > IngestSettings().max_blur
    assert blur((grey // 2).astype(np.uint8)) == pytest.approx(found[0], abs=0.1)


@pytest.mark.parametrize(("ink", "height_px"), [("white", 18), ("yellow", 22), ("black", 16)])
def test_a_line_of_text_is_found_where_it_stands(street, ink, height_px):
    picture = Image.fromarray(street)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.truetype(FONT, height_px)
    box = draw.textbbox((320, 250), "Then he went home again", font=font, anchor="mm")
    draw.rectangle(box, fill="black" if ink != "black" else "white")
    draw.text((320, 250), "Then he went home again", font=font, fill=ink, anchor="mm")
    found = find_text(cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2GRAY))
    left, top, right, bottom = (round(value) for value in box)
    assert found[top:bottom, left:right].mean() > 0.6
    found[top - 8 : bottom + 8, left - 8 : right + 8] = False
    assert found.mean() < 0.005


def test_the_fingerprint_survives_size_and_quality_but_not_another_picture(street):
    grey = cv2.cvtColor(street, cv2.COLOR_RGB2GRAY)
    _, jpeg = cv2.imencode(".jpg", cv2.resize(grey, (200, 112)), [cv2.IMWRITE_JPEG_QUALITY, 20])
    copy = cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)

    def bits_between(a, b):
        return (int(fingerprint(a)[:16], 16) ^ int(fingerprint(b)[:16], 16)).bit_count()

    assert bits_between(grey, copy) <= 4
    assert bits_between(grey, np.ascontiguousarray(grey[:, ::-1])) > 16
    assert fingerprint(np.full((90, 160), 80, np.uint8)) == ""


def test_real_footage_passes_every_filter(shared_data):
    settings = IngestSettings()
    for name in ("webcam_vfr.mov", "foreman_hevc.mp4", "fullbody_dance_white_bg.mp4"):
        info = probe(shared_data / "real_videos" / name)
        crop = Crop(0, 0, info.height, info.width)
        found = measure_clip(info, np.arange(min(100, info.num_frames)), info.fps, crop)
        assert settings.find_fault(found) == ("", ""), (name, found)
