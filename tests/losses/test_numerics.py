"""Precision, dtypes, symmetries and autograd of the tiled loss."""

import functools
import math

import loss_definitions as definitions
import pytest
import torch

from uncollapse.errors import InputError
from uncollapse.losses import (
    SupCLLoss,
    l_spread_loss,
    nt_xent_loss,
    sincere_loss,
    supcl_loss,
    supcl_terms,
    supcon_loss,
)
from uncollapse.losses._engine.grouping import group
from uncollapse.losses._engine.tiled.partition import partition
from uncollapse.losses._engine.tiled.row_sums import log_of_one_more
from uncollapse.losses._engine.tiled.tiles import Diagonals, Layout

LOSSES = {
    "exclude": lambda z, y, **k: supcl_loss(z, y, alpha=0.4, **k),
    "include": lambda z, y, **k: supcl_loss(
        z, y, alpha=0.4, self_pairs="include", reduction="pairs", **k
    ),
    "supcon": supcon_loss,
    "sincere": sincere_loss,
    "l_spread": lambda z, y, **k: l_spread_loss(z, y, alpha=0.4, **k),
}


def batch(instances=60, views=2, dimension=32, noise=0.5, seed=0, dtype=torch.float32):
    """Views that agree more with each other than with anything else."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(instances, 1, dimension, generator=generator)
    own = torch.randn(instances, views, dimension, generator=generator)
    labels = torch.randint(-1, 6, (instances,), generator=generator)
    return (common + noise * own).to(dtype), labels


def value_and_gradient(loss_of, z, labels, **arguments):
    z = z.clone().requires_grad_()
    loss = loss_of(z, labels, **arguments)
    loss.backward()
    return loss.detach(), z.grad


def relative_error(value, expected):
    return float((value.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("noise", [0.05, 1.0, 100.0], ids=["views agree", "mixed", "random"])
def test_float32_is_exact_down_to_the_smallest_temperatures(name, noise):
    z, labels = batch(noise=noise)
    for temperature in (1.0, 0.1, 0.03, 0.025, 0.017, 0.01, 0.005, 0.001):
        arguments = {"temperature": temperature, "tile_size": 50}
        loss, gradient = value_and_gradient(LOSSES[name], z, labels, **arguments)
        exact, exact_gradient = value_and_gradient(LOSSES[name], z.double(), labels, **arguments)
        # A logit is up to 1 / tau, and float32 rounds it by 6e-8 of that.
        rounding = 1e-6 + 2e-7 / temperature
        assert abs(loss - exact) < rounding, temperature
        assert relative_error(gradient, exact_gradient) < 10 * rounding, temperature


def test_a_sample_far_from_all_others_keeps_its_own_denominator():
    """Two close pairs opposite each other and one class in between: exp(-400) is not 0 here."""
    angles = torch.tensor([0.0, 0.01, 3.14, 3.15, 1.6, 4.7])
    z = torch.stack([angles.cos(), angles.sin()], dim=1).double()
    labels = [0, 1, 0, 1, 2, 2]
    for temperature in (0.005, 0.0015):
        ours = supcl_loss(z.float(), torch.tensor(labels), alpha=0.0, temperature=temperature)
        expected = definitions.supcl(
            z, labels, range(6), 0.0, temperature, "exclude", "anchors", "drop"
        )
        assert ours.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    z, labels = batch(dtype=dtype)
    loss, gradient = value_and_gradient(LOSSES["exclude"], z, labels, temperature=0.1)
    exact, exact_gradient = value_and_gradient(
        LOSSES["exclude"], z.double(), labels, temperature=0.1
    )
    assert loss.dtype == torch.float32
    assert gradient.dtype == dtype
    assert abs(loss - exact) < 1e-5
    # Only the rounding of the result itself to half precision.
    torch.testing.assert_close(gradient, exact_gradient.to(dtype), rtol=2e-2, atol=1e-6)


def test_autocast_changes_nothing():
    z, labels = batch()
    plain = value_and_gradient(LOSSES["exclude"], z, labels, temperature=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = value_and_gradient(LOSSES["exclude"], z, labels, temperature=0.1)
    assert torch.equal(plain[0], under_autocast[0])
    assert torch.equal(plain[1], under_autocast[1])


@pytest.mark.parametrize("name", LOSSES)
def test_gradcheck(name):
    z, labels = batch(instances=7, dimension=3, dtype=torch.float64)
    for normalize in (True, False):
        assert torch.autograd.gradcheck(
            lambda x, n=normalize: LOSSES[name](x, labels, temperature=0.4, normalize=n),
            z.requires_grad_(),
        )


def test_a_loss_of_nearly_nothing_is_not_negative():
    """Views that agree, far from everything else: rounding alone would give -2e-6."""
    generator = torch.Generator().manual_seed(0)
    first, other = torch.randn(2, 300, 16, generator=generator)
    views = torch.stack([first, first + 0.01 * other], dim=1)
    for temperature in (0.005, 0.003):
        assert nt_xent_loss(views, temperature=temperature) >= 0


def test_without_normalisation_vectors_are_taken_as_they_are():
    z, labels = batch(instances=9, dimension=4, dtype=torch.float64)
    instances = torch.arange(9).repeat_interleave(2).tolist()
    flat = z.flatten(0, 1)
    expected = definitions.supcl(
        flat,
        labels.repeat_interleave(2).tolist(),
        instances,
        0.4,
        0.01,
        "exclude",
        "anchors",
        "drop",
    )
    loss = supcl_loss(z, labels, alpha=0.4, temperature=0.01, normalize=False)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_order_names_and_tiles_do_not_matter(name):
    z, labels = batch(dtype=torch.float64)
    loss, gradient = value_and_gradient(LOSSES[name], z, labels, temperature=0.1)
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(1))
    names = torch.tensor([40, 3, 17, 2, 0, 9, -1])
    permuted = value_and_gradient(LOSSES[name], z[order], names[labels][order], temperature=0.1)
    torch.testing.assert_close(permuted[0], loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(permuted[1], gradient[order], rtol=1e-10, atol=1e-12)
    for tile_size in (1, 7, 119, 120, 1000):
        tiled = value_and_gradient(LOSSES[name], z, labels, temperature=0.1, tile_size=tile_size)
        torch.testing.assert_close(tiled[0], loss, rtol=1e-12, atol=0)
        torch.testing.assert_close(tiled[1], gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_the_same_input_gives_the_same_bits(name):
    z, labels = batch(instances=700)
    first = value_and_gradient(LOSSES[name], z, labels, temperature=0.05)
    second = value_and_gradient(LOSSES[name], z, labels, temperature=0.05)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def count_diagonals(labels, tile_size, near, monkeypatch):
    """Tiles of a batch with two views whose own classes are taken from near the diagonal."""
    grouping = group(labels.repeat_interleave(2), torch.arange(len(labels)).repeat_interleave(2))
    rows = torch.zeros(2 * len(labels), 4)
    with monkeypatch.context() as patch:
        patch.setattr("uncollapse.losses._engine.tiled.tiles.NEAR_DIAGONAL", near)
        tiles = partition(Layout(rows, rows, grouping, None, tile_size, 1.0, 1), "other classes")
    return sum(isinstance(block, Diagonals) for tile in tiles for block in tile.blocks)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("kept", [0, 5 * 128 * 128 * 4], ids=["no tile", "some tiles"])
@pytest.mark.parametrize("classes", [None, 20], ids=["blocks", "near the diagonal"])
def test_tiles_computed_again_give_what_kept_ones_give(name, kept, classes, monkeypatch):
    z, labels = batch(instances=300)
    if classes is not None:
        labels = torch.arange(300) % classes
        assert count_diagonals(labels, 128, 80, monkeypatch) > 1
    for temperature in (0.1, 0.005):
        arguments = {"temperature": temperature, "tile_size": 128}
        expected = value_and_gradient(LOSSES[name], z, labels, **arguments)
        with monkeypatch.context() as patch:
            patch.setattr("uncollapse.losses._engine.tiled.partition._KEEP_BYTES", kept)
            again = value_and_gradient(LOSSES[name], z, labels, **arguments)
        if name == "sincere":  # The product of a block rounds differently from that of a tile.
            torch.testing.assert_close(again, expected, rtol=1e-4, atol=1e-7)
        else:
            assert torch.equal(again[0], expected[0])
            assert torch.equal(again[1], expected[1])


@pytest.mark.parametrize("name", ["sincere", "l_spread"])
@pytest.mark.parametrize(
    ("near", "band", "tile_size"),
    [(0, 1, 64), (0, 20, 64), (0, 1000, 64), (80, 1, 184), (80, 1, 320)],
    ids=["classes alone", "few", "all in one", "near two diagonals", "near one"],
)
def test_how_own_classes_are_taken_does_not_matter(name, near, band, tile_size, monkeypatch):
    z, labels = batch(instances=150, dtype=torch.float64)
    diagonals = 0 if not near else 2 if tile_size < 300 else 1
    assert count_diagonals(labels, tile_size, near, monkeypatch) == diagonals
    for temperature in (0.1, 0.004, 0.0005):
        with monkeypatch.context() as patch:
            patch.setattr("uncollapse.losses._engine.tiled.tiles.NEAR_DIAGONAL", 0)
            expected = value_and_gradient(LOSSES[name], z, labels, temperature=temperature)
            patch.setattr("uncollapse.losses._engine.tiled.tiles.NEAR_DIAGONAL", near)
            patch.setattr("uncollapse.losses._engine.tiled.partition._SMALL_CLASS", band)
            result = value_and_gradient(
                LOSSES[name], z, labels, temperature=temperature, tile_size=tile_size
            )
        torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-10)


def test_layouts_of_the_same_batch_agree():
    """(b, p, d); flat with instance numbers; non-contiguous; small integers and bools as labels."""
    z, labels = batch(instances=20, dtype=torch.float64)
    labels = labels.clamp(min=0) % 2
    expected = supcl_loss(z, labels, alpha=0.4, temperature=0.1)
    flat, flat_labels = z.flatten(0, 1), labels.repeat_interleave(2)
    instances = torch.arange(20).repeat_interleave(2)
    for embeddings, classes, numbers in (
        (flat, flat_labels, instances),
        (z, labels.int(), torch.arange(20) * 10**12),
        (z, labels.bool(), None),
        (z, labels.to(torch.uint8), None),
        (z.transpose(0, 2).contiguous().transpose(0, 2), labels, None),
        (torch.stack([z, z], dim=-1)[..., 0], labels, None),
    ):
        loss = supcl_loss(embeddings, classes, numbers, alpha=0.4, temperature=0.1)
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_long_sums_do_not_lose_digits():
    """One class of 20,000: a plain float32 sum over it is wrong in the fourth digit."""
    z, _ = batch(instances=10_000, dimension=4, noise=0.01)
    z = z.abs()
    labels = torch.zeros(10_000, dtype=torch.int64)
    labels[0] = 1
    arguments = {"alpha": 0.0, "temperature": 0.1}
    loss = supcl_loss(z, labels, **arguments)
    assert loss.item() == pytest.approx(
        supcl_loss(z.double(), labels, **arguments).item(), rel=2e-7
    )


def test_sincere_is_exact_for_margins_of_every_size():
    """log(1 + 2 e^21) and log(1 + 2 e^-21): a softplus that rounds to its argument is not it."""
    z = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, 1]], dtype=torch.float64)
    loss = sincere_loss(z, torch.tensor([0, 0, 1, 1]), temperature=1 / 21)
    expected = (math.log(1 + 2 * math.exp(21)) + math.log1p(2 * math.exp(-21))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-13)


def test_log_of_one_more_is_log1p_to_the_last_digits():
    values = torch.logspace(-12, 20, 4001, dtype=torch.float64)
    for dtype, rounding in ((torch.float64, 5e-16), (torch.float32, 2e-7)):
        given = values.to(dtype)
        exact = given.double().log1p()
        found = log_of_one_more(given).double()
        assert ((found - exact).abs() / exact).max() < rounding
        assert (found >= 0).all()


def test_without_a_gradient_there_is_only_a_value():
    z, labels = batch()
    assert not supcl_loss(z, labels, alpha=0.4, temperature=0.1).requires_grad
    z.requires_grad_()
    with torch.no_grad():
        value = supcl_loss(z, labels, alpha=0.4, temperature=0.1)
    assert not value.requires_grad
    assert value == supcl_loss(z, labels, alpha=0.4, temperature=0.1).detach()


def test_second_derivatives_are_a_clear_error():
    z, labels = batch()
    z.requires_grad_()
    loss = supcl_loss(z, labels, alpha=0.4, temperature=0.1)
    (gradient,) = torch.autograd.grad(loss, z, create_graph=True)
    with pytest.raises(InputError, match="first derivatives"):
        gradient.square().sum().backward()


def test_the_gradient_scales_with_what_comes_from_above():
    z, labels = batch()
    z.requires_grad_()
    loss = supcl_loss(z, labels, alpha=0.4, temperature=0.1)
    (once,) = torch.autograd.grad(loss, z, retain_graph=True)
    (thrice,) = torch.autograd.grad(3 * loss, z)
    torch.testing.assert_close(thrice, 3 * once)


def test_module_shows_the_conventions_that_define_its_loss():
    shown = repr(SupCLLoss(alpha=0.4, temperature=0.1, anchors_without_positives="zero"))
    assert "anchors_without_positives='zero'" in shown
    assert "normalize=True" in shown


def test_module_keeps_the_terms_of_its_last_call():
    z, labels = batch()
    criterion = SupCLLoss(alpha=0.4, temperature=0.1)
    assert criterion.last is None
    loss = criterion(z.requires_grad_(), labels)
    assert loss.requires_grad
    assert not criterion.last.loss.requires_grad
    torch.testing.assert_close(
        loss, 0.6 * criterion.last.supervised + 0.4 * criterion.last.self_supervised
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torch_compile_takes_the_module_whole(dtype):
    z, labels = batch()
    z = z.to(dtype)
    criterion = SupCLLoss(alpha=0.4, temperature=0.1)
    plain = value_and_gradient(lambda x, y: criterion(2 * x, y) + 1, z, labels)
    compiled = torch.compile(
        lambda x, y: criterion(2 * x, y) + 1, backend="aot_eager", fullgraph=True
    )
    through = value_and_gradient(compiled, z, labels)
    torch.testing.assert_close(through, plain)
    with torch.no_grad():
        torch.testing.assert_close(compiled(z, labels), plain[0])


@pytest.mark.slow
# Raised by the compiler itself at every graph break whose input is not a leaf.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_under_torch_compile_the_function_is_an_opaque_call():
    z, labels = batch()
    call = functools.partial(supcl_loss, alpha=0.4, temperature=0.1)
    plain = value_and_gradient(lambda x, y: call(2 * x, y) + 1, z, labels)
    compiled = torch.compile(lambda x, y: call(2 * x, y) + 1, backend="aot_eager")
    torch.testing.assert_close(value_and_gradient(compiled, z, labels), plain)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [supcl_loss, supcl_terms, sincere_loss])
def test_a_function_that_a_whole_graph_cannot_hold_says_what_can(loss):
    z, labels = batch()
    options = {} if loss is sincere_loss else {"alpha": 0.4}
    call = functools.partial(loss, temperature=0.1, **options)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="use SupCLLoss"):
        torch.compile(lambda x: call(x, labels), backend="eager", fullgraph=True)(z)

    class Whole(torch.nn.Module):
        def forward(self, x):
            return call(x, labels)

    with pytest.raises(InputError, match="export the encoder alone"):
        torch.export.export(Whole(), (z,))


# Raised by torch's own forward mode.
@pytest.mark.filterwarnings("ignore:`torch.jit.script`")
@pytest.mark.parametrize(
    "transformed",
    [
        lambda loss, z: torch.func.grad(loss)(z),
        lambda loss, z: torch.func.jacrev(loss)(z),
        lambda loss, z: torch.func.jvp(loss, (z,), (z,)),
        lambda loss, z: torch.func.vmap(loss)(z[None]),
    ],
)
def test_functional_transforms_are_refused(transformed):
    z, labels = batch()
    with pytest.raises(InputError, match=r"outside of torch\.func's transforms"):
        transformed(lambda rows: supcl_loss(rows, labels, alpha=0.4, temperature=0.1), z)


# Raised by torch's own forward mode.
@pytest.mark.filterwarnings("ignore:`torch.jit.script`")
def test_forward_mode_is_refused():
    z, labels = batch()
    z = z.detach().requires_grad_()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(z, z.detach())
        with pytest.raises(InputError, match="one in forward mode"):
            supcl_loss(dual, labels, alpha=0.4, temperature=0.1)
