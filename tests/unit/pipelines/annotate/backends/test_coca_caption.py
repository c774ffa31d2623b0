"""Sentences by a CoCa network of a file; here a tiny one with random weights."""

import json

import numpy as np
import pytest
import torch
from open_clip.coca_model import CoCa

from pipelines.annotate.backends.coca_caption import MOST_WORDS, CocaCaptioner

TEXT = {"context_length": 40, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
PLAN = {
    "embed_dim": 16, "custom_text": True,
    "vision_cfg": {
        "image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16,
        "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True,
    },
    "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {**TEXT, "attn_pooler_heads": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def coca_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("coca") / "tiny.pt"
    path.with_suffix(".json").write_text(json.dumps(PLAN))
    torch.manual_seed(0)
    model = CoCa(**{k: v for k, v in PLAN.items() if k != "custom_text"})
    state = model.state_dict()
    # The package leaves this one as the memory was.
    name = "text_decoder.text_projection"
    state[name] = torch.randn(state[name].shape)
    torch.save({"state_dict": state}, path)
    return path


def picture(seed):
    return np.random.default_rng(seed).integers(0, 255, (50, 70, 3), dtype=np.uint8)


def test_a_sentence_is_words_and_the_same_each_time(coca_file):
    captioner = CocaCaptioner(coca_file)
    text = captioner(picture(0))
    assert 0 < len(text.split()) <= 4 * MOST_WORDS
    assert "start_of_text" not in text
    assert captioner(picture(0)) == text
    assert CocaCaptioner(coca_file)(picture(0)) == text


def test_it_ends_where_the_network_ends(coca_file, tmp_path):
    content = torch.load(coca_file, weights_only=True)
    ends = {name: value.clone() for name, value in content["state_dict"].items()}
    captioner = CocaCaptioner(coca_file)
    eot = captioner.tokenizer.eot_token_id
    ends["text_decoder.text_projection"] = torch.zeros_like(ends["text_decoder.text_projection"])
    ends["text_decoder.text_projection"][:, eot] = 1.0
    ends["text_decoder.ln_final.bias"] = torch.ones_like(ends["text_decoder.ln_final.bias"])
    path = tmp_path / "ends.pt"
    path.with_suffix(".json").write_text(json.dumps(PLAN))
    torch.save({"state_dict": ends}, path)
    assert CocaCaptioner(path)(picture(0)) == ""


def test_files_that_do_not_fit_or_run_code_are_refused(coca_file, tmp_path):
    class Danger:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w').close()",)

    path = tmp_path / "bad.pt"
    torch.save({"state_dict": Danger()}, path)
    with pytest.raises(ValueError, match=r"exec.*refused"):
        CocaCaptioner(path)
    torch.save({"state_dict": {"a": torch.zeros(1)}}, path)
    with pytest.raises(ValueError, match="none of the published"):
        CocaCaptioner(path)
    path.with_suffix(".json").write_text(json.dumps(PLAN))
    with pytest.raises(ValueError, match="does not fit"):
        CocaCaptioner(path)
    (tmp_path / "x.safetensors").write_bytes(b"1")
    with pytest.raises(ValueError, match="no readable"):
        CocaCaptioner(tmp_path / "x.safetensors")
    assert not (tmp_path / "ran").exists()
