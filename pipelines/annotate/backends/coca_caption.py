"""What a picture shows, in words, by an open_clip CoCa network with weights at a path.

The package's own decoding needs a library that is not installed; the likeliest word at each step
is enough for a label.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from jaxtyping import Float, UInt8
from open_clip.coca_model import CoCa
from open_clip.tokenizer import SimpleTokenizer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.embedding import CLIP_MEAN, CLIP_STD
from pipelines.annotate.backends.torch_file import read_torch_file

PUBLISHED = {(768, 32): "coca_ViT-B-32", (1024, 14): "coca_ViT-L-14"}
"""(width, patch size) of the image towers."""
MOST_WORDS = 30


class CocaCaptioner:
    """A sentence for a picture; the network is built once."""

    def __init__(self, weights: Path) -> None:
        """Load a network.

        Args:
            weights: safetensors, or tensors in torch's format; a `.json` of the same name beside
                it says the architecture as open_clip does, otherwise it must be a published one.

        Raises:
            ValueError: If the file holds no CoCa, or one that its plan does not fit.
        """
        state = _read(weights)
        try:
            plan = _plan(weights, state)
            model = CoCa(**{k: v for k, v in plan.items() if k != "custom_text"})
            model.load_state_dict(state)
        except (RuntimeError, TypeError, KeyError) as error:
            raise ValueError(f"{weights} does not fit its architecture: {error}") from error
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.eval().requires_grad_(False).to(self.device)
        self.size_px = int(plan["vision_cfg"]["image_size"])
        self.context = int(plan["text_cfg"]["context_length"])
        self.tokenizer = SimpleTokenizer()

    @torch.inference_mode()
    def __call__(self, picture: UInt8[np.ndarray, "height width 3"]) -> str:
        """One lower-case sentence without a full stop."""
        image = self._prepare(picture)
        latent, tokens = self.model._encode_image(image)  # pyright: ignore[reportPrivateUsage]
        words = [self.tokenizer.sot_token_id]
        for _ in range(min(MOST_WORDS, self.context - 1)):
            text = torch.tensor([words], device=self.device)
            answer: Any = self.model(
                image, text, image_latent=latent, image_embs=tokens, output_labels=False
            )
            scores = answer["logits"][0, -1]
            scores[[0, self.tokenizer.sot_token_id]] = -torch.inf  # padding and start say nothing
            words.append(int(scores.argmax()))
            if words[-1] == self.tokenizer.eot_token_id:
                break
        ends = (self.tokenizer.sot_token_id, self.tokenizer.eot_token_id)
        text = self.tokenizer.decode([word for word in words if word not in ends])
        return " ".join(text.split()).rstrip(" .")

    def _prepare(self, picture: UInt8[np.ndarray, "height width 3"]) -> Float[Tensor, "1 3 h w"]:
        side = min(picture.shape[:2])
        top, left = ((length - side) // 2 for length in picture.shape[:2])
        square = torch.from_numpy(picture[top : top + side, left : left + side].copy())
        image = square.permute(2, 0, 1)[None].float() / 255
        image = torch.nn.functional.interpolate(
            image, (self.size_px, self.size_px), mode="bicubic", antialias=True
        ).clamp(0, 1)
        mean, std = (torch.tensor(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
        return ((image - mean) / std).to(self.device)


def _read(weights: Path) -> dict[str, Tensor]:
    if weights.suffix == ".safetensors":
        try:
            return load_file(weights)
        except (SafetensorError, FileNotFoundError) as error:
            raise ValueError(f"{weights} is no readable file of weights: {error}") from error
    content = read_torch_file(weights)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise ValueError(f"{weights} holds no tensors by name")
    return state


def _plan(weights: Path, state: dict[str, Tensor]) -> dict[str, Any]:
    beside = weights.with_suffix(".json")
    if beside.is_file():
        return json.loads(beside.read_text())
    stem = state.get("visual.conv1.weight")
    name = None if stem is None else PUBLISHED.get((len(stem), stem.shape[-1]))
    plan = None if name is None else open_clip.get_model_config(name)
    if plan is None:
        raise ValueError(
            f"{weights} is none of the published CoCa networks; put its open_clip configuration "
            f"beside it as {beside.name}"
        )
    return plan
