"""Laws of attention: the folded bias is the written-out bias, and masks leak nothing."""

import pytest
import torch

from models.attention import Distance, attend

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 7, 11, 12


def make_inputs(requires_grad=False):
    generator = torch.Generator().manual_seed(0)
    shapes = [(BATCH, HEADS, n, WIDTH) for n in (QUERIES, KEYS, KEYS)]
    q, k, v = (torch.randn(s, generator=generator).requires_grad_(requires_grad) for s in shapes)
    query_xy = torch.rand(BATCH, QUERIES, 2, generator=generator) * 2 - 1
    key_xy = torch.rand(BATCH, KEYS, 2, generator=generator) * 2 - 1
    sharpness = torch.tensor([78.0, 12.0, 3.0]).requires_grad_(requires_grad)
    sink = torch.tensor([0.0, -2.0, 1.5]).requires_grad_(requires_grad)
    is_valid = torch.rand(BATCH, KEYS, generator=generator) > 0.4
    return q, k, v, query_xy, key_xy, sharpness, sink, is_valid


def attend_explicitly(q, k, v, query_xy, key_xy, sharpness, sink, is_valid):
    """The definition, with the whole matrix of logits and the sink as one more column."""
    distance2 = (query_xy[:, :, None] - key_xy[:, None]).square().sum(-1)
    logits = q @ k.mT / WIDTH**0.5 - sharpness[:, None, None] * distance2[:, None]
    logits = logits.masked_fill(~is_valid[:, None, None], float("-inf"))
    column = sink[None, :, None, None].expand(BATCH, -1, QUERIES, 1)
    weights = torch.cat([logits, column], -1).softmax(-1)
    return weights[..., :-1] @ v


def test_folded_bias_equals_explicit_bias_forward_and_backward():
    first, second = make_inputs(True), make_inputs(True)
    q, k, v, query_xy, key_xy, sharpness, sink, is_valid = first
    distance = Distance(query_xy=query_xy, key_xy=key_xy, sharpness=sharpness)
    folded = attend(q, k, v, key_is_valid=is_valid, distance=distance, sink=sink)
    explicit = attend_explicitly(*second)
    torch.testing.assert_close(folded, explicit, atol=1e-5, rtol=1e-5)
    folded.square().sum().backward()
    explicit.square().sum().backward()
    for a, b in zip(first, second, strict=True):
        if a.requires_grad:
            torch.testing.assert_close(a.grad, b.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("has_sink", [True, False])
def test_an_invalid_key_changes_nothing(has_sink):
    q, k, v, *_, sink, is_valid = make_inputs()
    kwargs = {"key_is_valid": is_valid, "sink": sink if has_sink else None}
    before = attend(q, k, v, **kwargs)
    hidden = ~is_valid[:, None, :, None]
    after = attend(q, torch.where(hidden, 50.0, k), torch.where(hidden, -1e3, v), **kwargs)
    assert torch.equal(before, after)


def test_without_valid_key_the_sink_gives_exactly_zero():
    q, k, v, *_, sink, is_valid = make_inputs()
    out = attend(q, k, v, key_is_valid=torch.zeros_like(is_valid), sink=sink)
    assert torch.equal(out, torch.zeros_like(out))


def test_without_valid_key_and_sink_the_result_is_finite():
    q, k, v, *_, is_valid = make_inputs()
    assert attend(q, k, v, key_is_valid=torch.zeros_like(is_valid)).isfinite().all()


def test_order_of_keys_does_not_matter():
    q, k, v, query_xy, key_xy, sharpness, sink, is_valid = make_inputs()
    order = torch.randperm(KEYS, generator=torch.Generator().manual_seed(1))
    a = Distance(query_xy=query_xy, key_xy=key_xy, sharpness=sharpness)
    b = Distance(query_xy=query_xy, key_xy=key_xy[:, order], sharpness=sharpness)
    first = attend(q, k, v, key_is_valid=is_valid, distance=a, sink=sink)
    second = attend(
        q, k[:, :, order], v[:, :, order], key_is_valid=is_valid[:, order], distance=b, sink=sink
    )
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
