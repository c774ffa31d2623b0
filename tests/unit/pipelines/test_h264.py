"""Which encoder is meant, and that what it writes is read again."""

import numpy as np
import pytest

from pipelines import h264
from pipelines.h264 import AUTO, NVENC, X264, choose_encoder
from pipelines.synthetic.produce import RenderSettings
from pipelines.video_io import decode_mp4, encode_mp4


def test_every_name_means_an_encoder_that_works_here_or_is_refused():
    """On a machine with a card the card's pictures are checked, elsewhere the sentence."""
    ramp = np.linspace(20, 230, 256)[:, None] * np.ones((256, 3))
    frames = np.stack([np.roll(np.broadcast_to(ramp[:, None], (256, 256, 3)), k) for k in range(3)])
    here = {choose_encoder(X264), choose_encoder(AUTO)}
    if here == {X264}:
        with pytest.raises(ValueError, match=r"nvenc does not open here .* take x264, or auto"):
            choose_encoder(NVENC)
    for encoder in here:
        shown = decode_mp4(encode_mp4(frames.astype(np.uint8), 24, encoder=encoder))
        assert np.abs(shown.astype(float) - frames).mean() < 3


def test_auto_takes_the_card_only_where_it_works(monkeypatch):
    for trouble, meant in (("no card", X264), ("", NVENC)):
        monkeypatch.setattr(h264, "_nvenc_trouble", lambda trouble=trouble: trouble)
        assert choose_encoder(AUTO) == meant
        assert choose_encoder(X264) == X264
        settings = RenderSettings(encoder=AUTO)
        assert settings.encoder == settings.parameters["encoder"] == meant


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="encoder must be one of"):
        choose_encoder("x265")
