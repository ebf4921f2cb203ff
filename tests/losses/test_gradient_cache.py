"""The gradient of a batch in chunks is that of the whole batch."""

import random

import numpy as np
import pytest
import torch

from uncollapse.errors import InputError
from uncollapse.losses import backward_in_chunks, supcl_loss

INPUTS = torch.randn(24, 2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(24) % 3


def loss_of(embeddings):
    return supcl_loss(embeddings, LABELS, alpha=0.3, temperature=0.2)


def encoder(*extra):
    generator = torch.Generator().manual_seed(1)
    layers = [torch.nn.Linear(6, 8), *extra, torch.nn.Tanh(), torch.nn.Linear(8, 4)]
    module = torch.nn.Sequential(*layers).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator).double())
    return module


def gradients(module):
    return [parameter.grad for parameter in module.parameters()]


@pytest.mark.parametrize("chunk_size", [1, 5, 24])
def test_equals_the_full_batch(chunk_size):
    whole, chunked = encoder(torch.nn.LayerNorm(8)), encoder(torch.nn.LayerNorm(8))
    expected = loss_of(whole(INPUTS))
    expected.backward()
    loss = backward_in_chunks(chunked, INPUTS.split(chunk_size), loss_of)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients(chunked), gradients(whole), rtol=1e-10, atol=1e-12)
    # Gradients add up, as after any backward; a scale reaches them and not the value.
    again = backward_in_chunks(chunked, INPUTS.split(7), loss_of, scale=lambda value: 4 * value)
    torch.testing.assert_close(again, loss, rtol=1e-12, atol=0)
    fivefold = [5 * gradient for gradient in gradients(whole)]
    torch.testing.assert_close(gradients(chunked), fivefold, rtol=1e-10, atol=1e-12)


class SeenMasks(torch.nn.Module):
    """Dropout that remembers what it dropped."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, rows):
        mask = torch.rand(rows.shape, dtype=rows.dtype) > 0.5
        self.seen.append(mask)
        return rows * mask


def test_dropout_draws_the_same_in_both_passes_and_randomness_goes_on():
    module = encoder(SeenMasks())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backward_in_chunks(module, INPUTS.split(8), loss_of)
        masks = module[1].seen
        after = torch.rand(3)
        torch.manual_seed(0)
        first_pass = [torch.rand(8, 2, 8, dtype=torch.float64) > 0.5 for _ in range(3)]
        expected_after = torch.rand(3)
    assert len(masks) == 6
    for drawn, replayed, mask in zip(masks[:3], masks[3:], first_pass, strict=True):
        assert torch.equal(drawn, replayed)
        assert torch.equal(drawn, mask)
    # Drawn once, as far as the caller can tell.
    assert torch.equal(after, expected_after)


class OnViews(torch.nn.BatchNorm1d):
    def forward(self, rows):
        return super().forward(rows.flatten(0, 1)).view_as(rows)


def test_batch_norm_counts_every_chunk_once():
    chunked, plain = encoder(OnViews(8)), encoder(OnViews(8))
    backward_in_chunks(chunked, INPUTS.split(8), loss_of)
    embeddings = torch.cat([plain(chunk) for chunk in INPUTS.split(8)])
    loss_of(embeddings).backward()
    torch.testing.assert_close(dict(chunked.named_buffers()), dict(plain.named_buffers()))
    # The gradient is that of an encoder which normalises by chunks.
    torch.testing.assert_close(gradients(chunked), gradients(plain), rtol=1e-10, atol=1e-12)


class CountingCalls(torch.nn.Module):
    """A counter that is assigned anew in every call, not changed in place."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, rows):
        self.calls = self.calls + 1
        return rows


def test_buffers_that_are_assigned_anew_are_restored_too():
    module = encoder(CountingCalls())
    backward_in_chunks(module, INPUTS.split(8), loss_of)
    assert module[1].calls == 3


def test_under_autocast_the_gradient_reaches_the_weights():
    module = encoder().float()
    chunks = INPUTS.float().split(8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        backward_in_chunks(module, chunks, loss_of)
    assert all(gradient is not None for gradient in gradients(module))


class Drawing(torch.nn.Module):
    """Noise from a generator that is not torch's global one."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def forward(self, rows):
        return rows * (0.5 + self.draw())


@pytest.mark.parametrize("draw", [np.random.rand, random.random], ids=["numpy", "python"])
def test_other_global_generators_draw_the_same_in_both_passes(draw):
    module = encoder(Drawing(draw))
    backward_in_chunks(module, iter(INPUTS.split(8)), loss_of)
    assert all(gradient is not None for gradient in gradients(module))


def test_a_second_pass_that_differs_is_refused():
    own, calls = np.random.default_rng(0), iter(range(100))
    for draw in (own.random, lambda: next(calls), lambda: 1e-6 * next(calls)):
        with pytest.raises(InputError, match="others in the second pass over chunk 0"):
            backward_in_chunks(encoder(Drawing(draw)), INPUTS.split(8), loss_of)


def test_unusable_calls():
    module = encoder()
    with pytest.raises(InputError, match="at least one chunk"):
        backward_in_chunks(module, [], loss_of)
    with pytest.raises(InputError, match="loss_of"):
        backward_in_chunks(module, INPUTS.split(8), lambda z: loss_of(z.detach()))
    with pytest.raises(InputError, match="found float"):
        backward_in_chunks(module, INPUTS.split(8), lambda z: loss_of(z).item())
    with torch.no_grad(), pytest.raises(InputError, match=r"under torch\.no_grad"):
        backward_in_chunks(module, INPUTS.split(8), loss_of)
    with pytest.raises(InputError, match="one tensor"):
        backward_in_chunks(module, INPUTS, loss_of)
    with pytest.raises(InputError, match="parameters that take gradients"):
        backward_in_chunks(module.requires_grad_(False), INPUTS.split(8), loss_of)
