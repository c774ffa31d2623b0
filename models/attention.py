"""The one attention of the project: scaled dot products with validity, distance and a sink key.

Everything beyond plain attention is written into a few extra channels of queries and keys, so the
fused kernels of `scaled_dot_product_attention` serve every case and no queries x keys matrix is
ever stored.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

MASKED_LOGIT = -1e4
"""Added to the logit of an invalid key: its weight is exactly 0 beside any valid key. Finite, so
that a row without valid keys stays finite."""

CHANNEL_MULTIPLE = 8
"""Head widths are padded to a multiple of this; the fused kernels want it."""


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Adds -sharpness |query - key|^2 to the logits of each head."""

    query_xy: Float[Tensor, "b queries 2"]
    key_xy: Float[Tensor, "b keys 2"]
    sharpness: Float[Tensor, "heads"]
    """Positive; 1 / (2 sigma^2) in the units of the positions."""


def attend(
    q: Float[Tensor, "b heads queries d"],
    k: Float[Tensor, "b heads keys d"],
    v: Float[Tensor, "b heads keys d"],
    *,
    key_is_valid: Bool[Tensor, "b keys"] | None = None,
    distance: Distance | None = None,
    sink: Float[Tensor, "heads"] | None = None,
) -> Float[Tensor, "b heads queries d"]:
    """softmax(q k / sqrt(d) + bias) v.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        key_is_valid: Keys that take part. Without a valid key and without a sink the result is
            finite but means nothing.
        distance: Locality bias; it weakens every key but the sink.
        sink: Logit per head of one more key whose value is zero ("nothing here"): a query that
            finds no key near enough gets zero instead of an average of far keys. With a sink and
            no valid key the result is exactly zero.
    """
    if q.device.type == "cpu" or distance is not None:
        # bfloat16: the backward pass on CPU is 5x slower than float32, and distances reach 1e2.
        with torch.autocast(q.device.type, enabled=False):
            exact = torch.promote_types(q.dtype, torch.float32)
            out = _attend(q.to(exact), k.to(exact), v.to(exact), key_is_valid, distance, sink)
            return out.to(q.dtype)
    return _attend(q, k, v, key_is_valid, distance, sink)


def _attend(
    q: Float[Tensor, "b heads queries d"],
    k: Float[Tensor, "b heads keys d"],
    v: Float[Tensor, "b heads keys d"],
    key_is_valid: Bool[Tensor, "b keys"] | None,
    distance: Distance | None,
    sink: Float[Tensor, "heads"] | None,
) -> Float[Tensor, "b heads queries d"]:
    if distance is None and sink is None:
        mask = None
        if key_is_valid is not None:
            mask = _masked_logit(key_is_valid, q.dtype)[:, None, None, :]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    width = q.shape[-1]
    q, k, v = _fold(q, k, v, key_is_valid, distance, sink)
    return F.scaled_dot_product_attention(q, k, v, scale=width**-0.5)[..., :width]


def _masked_logit(is_valid: Bool[Tensor, "*batch"], dtype: torch.dtype) -> Float[Tensor, "*batch"]:
    return (~is_valid).to(dtype) * MASKED_LOGIT


def _fold(
    q: Float[Tensor, "b heads queries d"],
    k: Float[Tensor, "b heads keys d"],
    v: Float[Tensor, "b heads keys d"],
    key_is_valid: Bool[Tensor, "b keys"] | None,
    distance: Distance | None,
    sink: Float[Tensor, "heads"] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Write the bias as extra channels and the sink as a first key.

    -c |a - b|^2 = (2c a_x, 2c a_y, -c, -c |a|^2) . (b_x, b_y, |b|^2, 1): four channels. The last
    of them also carries the validity of the key, a fifth the sink.
    """
    heads, width = q.shape[1], q.shape[-1]
    q_extra, k_extra = [], []
    if distance is not None:
        a, b = distance.query_xy.to(q.dtype)[:, None], distance.key_xy.to(k.dtype)[:, None]
        c = distance.sharpness.to(q.dtype)[None, :, None, None]
        minus_c = (-c).expand(a.shape[0], heads, a.shape[2], 1)
        q_extra += [2 * c * a, minus_c, -c * a.square().sum(-1, keepdim=True)]
        squared = b.square().sum(-1, keepdim=True)
        k_extra.append(
            torch.cat([b, squared, torch.ones_like(squared)], -1).expand(-1, heads, -1, -1)
        )
    if key_is_valid is not None:
        q_extra.append(torch.ones_like(q[..., :1]))
        logit = _masked_logit(key_is_valid, k.dtype)[:, None, :, None]
        k_extra.append(logit.expand(-1, heads, -1, -1))
    if sink is not None:
        q_extra.append(sink.to(q.dtype)[None, :, None, None].expand(*q.shape[:-1], 1))
        k_extra.append(torch.zeros_like(k[..., :1]))
    num_extra = sum(extra.shape[-1] for extra in q_extra)
    padding = -(width + num_extra) % CHANNEL_MULTIPLE
    q = F.pad(torch.cat([q, width**0.5 * torch.cat(q_extra, -1)], -1), (0, padding))
    k = torch.cat([k, *k_extra], -1)
    if sink is not None:
        sink_key = F.one_hot(torch.tensor(k.shape[-1] - 1, device=k.device), k.shape[-1])
        k = torch.cat([sink_key.to(k.dtype).expand(*k.shape[:2], 1, -1), k], -2)
        v = F.pad(v, (0, 0, 1, 0))
    return q, F.pad(k, (0, padding)), F.pad(v, (0, num_extra + padding))
