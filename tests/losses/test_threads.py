"""Several threads share the tiles: the same numbers, and the caller's settings as they were."""

import pytest
import torch
from test_numerics import LOSSES, batch, value_and_gradient

from uncollapse.errors import InputError


@pytest.fixture
def three_threads(monkeypatch):
    """Three threads, and shares as small as this test's batches."""
    monkeypatch.setattr("uncollapse.losses._engine.tiled.partition._SMALLEST_SHARE", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("temperature", [0.1, 0.0005], ids=["unshifted", "own shifts"])
@pytest.mark.parametrize("classes", [None, 20], ids=["blocks", "near the diagonal"])
def test_threads_change_nothing_but_time(name, temperature, classes, three_threads):
    z, labels = batch(instances=150, dtype=torch.float64)
    labels = labels if classes is None else torch.arange(150) % classes
    arguments = {"temperature": temperature, "tile_size": 64}
    shared = value_and_gradient(LOSSES[name], z, labels, **arguments)
    again = value_and_gradient(LOSSES[name], z, labels, **arguments)
    assert torch.equal(shared[0], again[0])
    assert torch.equal(shared[1], again[1])
    assert torch.get_num_threads() == 3
    torch.set_num_threads(1)
    alone = value_and_gradient(LOSSES[name], z, labels, **arguments)
    torch.testing.assert_close(shared[0], alone[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(shared[1], alone[1], rtol=1e-10, atol=1e-11)


def test_the_callers_threads_and_modes_are_respected(three_threads):
    z, labels = batch(instances=150)
    with torch.inference_mode():
        value = LOSSES["exclude"](z, labels, temperature=0.1, tile_size=64)
    assert not value.requires_grad
    with pytest.raises(InputError):
        LOSSES["exclude"](z, labels * 0 - 1, temperature=0.1, tile_size=64)
    assert torch.get_num_threads() == 3
