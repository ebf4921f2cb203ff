"""What the backends of the engine cost: kernels, waits of the host, memory; and when they check."""

import itertools
import math

import pytest
import torch
from fused_table import gradient_of, plain_half
from kernels import Counted, started_on_a_gpu
from test_loss_bad_input import CASES, LABELS, VIEWS
from test_numerics import LOSSES, batch, relative_error, value_and_gradient

from uncollapse.errors import InputError
from uncollapse.losses import (
    SupCLLoss,
    class_conditional_info_nce_loss,
    finish_checks,
    l_spread_loss,
    nt_xent_loss,
    reference_supcl,
    sincere_loss,
    ssem_cifar_loss,
    ssem_imagenet_loss,
    supcl_loss,
    supcl_terms,
    supcon_loss,
)
from uncollapse.losses._engine import dense as dense_module
from uncollapse.losses._engine.tiled import layout as layout_module

DENSE = {"backend": "dense", "checks": "deferred"}


def step(size, dimension=32, dtype=torch.float32, **how):
    """Forward and backward of a batch of two views and ten classes, as a function."""
    z = torch.randn(size // 2, 2, dimension, dtype=dtype, requires_grad=True)
    labels = torch.arange(size // 2) % 10
    criterion = SupCLLoss(alpha=0.3, temperature=0.1, **how)
    return lambda: criterion(z, labels).backward()


@pytest.mark.parametrize("size", [64, 1024, 4096])
def test_dense_starts_60_kernels_at_most_and_never_waits(size):
    one_step = step(size, **DENSE)
    with Counted() as counted:
        one_step()
    assert sum(counted.kernels.values()) <= 60, counted.kernels
    assert not counted.waits
    finish_checks()


ANCHORS = {"anchors_without_positives": ("drop", "zero", "error")}
ONE_CLASS = {"one_class": ("error", "allow")}
OF_SUPCL = {"self_pairs": ("exclude", "include"), "reduction": ("anchors", "pairs")}
# Every loss, and all conventions that it knows.
CONVENTIONS = {
    supcl_loss: ANCHORS | ONE_CLASS | OF_SUPCL | {"alpha": (0.0, 0.3, 1.0)},
    l_spread_loss: ANCHORS | ONE_CLASS | {"alpha": (0.0, 0.3, 1.0)},
    **dict.fromkeys((supcon_loss, sincere_loss, class_conditional_info_nce_loss), ANCHORS),
    nt_xent_loss: ANCHORS,
    ssem_cifar_loss: {"alpha": (0.3,)},
    ssem_imagenet_loss: {"alpha": (0.3,)},
}


@pytest.mark.parametrize("loss_of", CONVENTIONS, ids=lambda loss_of: loss_of.__name__)
@pytest.mark.parametrize("ragged", [False, True], ids=["views", "instance numbers"])
def test_so_does_every_loss_under_every_convention(loss_of, ragged):
    views, labels = torch.randn(20, 2, 8), torch.arange(20) % 4
    given = [views] if loss_of is nt_xent_loss else [views, labels]
    if ragged:
        given = [views.flatten(0, 1), *(each.repeat_interleave(2) for each in given[1:])]
        given.append(torch.arange(20).repeat_interleave(2))
    conventions = CONVENTIONS[loss_of] | {"normalize": (True, False), "checks": ("deferred", "off")}
    for values in itertools.product(*conventions.values()):
        how = dict(zip(conventions, values, strict=True)) | {"temperature": 0.1, "backend": "dense"}
        z = torch.nn.functional.normalize(given[0], dim=-1).requires_grad_()
        with Counted() as counted:
            loss_of(z, *given[1:], **how).backward()
        assert sum(counted.kernels.values()) <= 60, (how, counted.kernels)
        assert not counted.waits, how
        finish_checks()


@pytest.mark.parametrize("loss_of", CONVENTIONS, ids=lambda loss_of: loss_of.__name__)
def test_half_precision_as_it_is_starts_as_few_on_a_gpu(loss_of):
    """With what takes most; of L_spread, which has two denominators, six more."""
    how = {"alpha": 0.3} if "alpha" in CONVENTIONS[loss_of] else {}
    if "anchors_without_positives" in CONVENTIONS[loss_of]:
        how["anchors_without_positives"] = "zero"

    def half(empty):
        labels, numbers = (empty(4096, dtype=torch.int64) for _ in range(2))
        given = [numbers] if loss_of is nt_xent_loss else [labels, numbers]
        z = empty(4096, 128, dtype=torch.bfloat16)
        loss_of(z, *given, temperature=0.1, backend="dense", **how)

    counted = started_on_a_gpu(half)
    assert sum(counted.kernels.values()) <= 60, counted.kernels
    assert not counted.waits


def test_what_waits_and_what_computes_is_counted():
    one_step = step(256, backend="tiled")
    with Counted() as counted:
        one_step()
    assert counted.waits["_local_scalar_dense"] > 3
    assert counted.waits["nonzero"] > 1
    with Counted() as counted:
        numbers = torch.arange(4)
        _ = numbers[1:].view(3, 1), numbers[numbers > 1], numbers + 1
    assert counted.kernels == {"arange": 1, "gt": 1, "index": 1, "add": 1}
    assert counted.waits == {"index": 1}


@pytest.mark.parametrize("backend", ["dense", "tiled"])
def test_what_is_saved_for_the_backward_pass_is_linear(backend):
    """Embeddings and their gradient: tensors that share memory count once."""
    saved = []
    for size in (256, 512):
        z = torch.randn(size // 2, 2, 32, requires_grad=True)
        held = {}

        def hold(tensor, held=held):
            storage = tensor.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            supcl_loss(z, torch.arange(size // 2) % 10, alpha=0.3, temperature=0.1, backend=backend)
        saved.append(sum(held.values()))
    assert saved == [2 * 256 * 32 * 4, 2 * 512 * 32 * 4]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("noise", [0.05, 100.0], ids=["views agree", "random"])
def test_dense_is_exact_down_to_the_smallest_temperatures(name, noise):
    z, labels = batch(noise=noise)
    for temperature in (1.0, 0.1, 0.025, 0.005, 0.001):
        arguments = {"temperature": temperature}
        dense = value_and_gradient(LOSSES[name], z, labels, **arguments, **DENSE)
        exact = value_and_gradient(LOSSES[name], z.double(), labels, **arguments)
        rounding = 1e-6 + 2e-7 / temperature
        assert abs(dense[0] - exact[0]) < rounding * max(1, exact[0]), temperature
        assert relative_error(dense[1], exact[1]) < 10 * rounding, temperature
        again = value_and_gradient(LOSSES[name], z, labels, **arguments, **DENSE)
        assert torch.equal(dense[0], again[0])
        assert torch.equal(dense[1], again[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["dense", "tiled"])
def test_half_precision_is_multiplied_as_it_is_where_a_device_does(backend, dtype, monkeypatch):
    """On a CPU products are made of the same numbers in float32, so that is pretended here."""
    for module in (dense_module, layout_module):
        monkeypatch.setattr(module, "has_half_products", lambda rows: rows.dtype == dtype)
    z, labels = batch(dtype=dtype)
    numbers = torch.arange(len(z))
    rows = z.flatten(0, 1), *(each.repeat_interleave(2) for each in (labels % 6, numbers))
    for tau in (0.05, 0.07, 0.1, 0.5):
        arguments = {"alpha": 0.3, "temperature": tau}
        plain = gradient_of(lambda x, a=arguments: plain_half(x, *rows[1:], **a), rows[0])
        exact = gradient_of(
            lambda x, a=arguments: reference_supcl(x, *rows[1:], **a), rows[0].double()
        )
        for precision in ("exact", "fast"):
            how = arguments | {"backend": backend, "precision": precision, "tile_size": 50}
            found = gradient_of(lambda x, h=how: supcl_loss(x, *rows[1:], **h), rows[0])
            for ours, theirs, right in zip(found, plain, exact, strict=True):
                error = relative_error(ours, right)
                assert error <= relative_error(theirs, right) + 5e-4, (tau, precision)
                assert error < (0.006 if ours.ndim else 1e-5), (tau, precision)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_the_same_of_half_precision_as_it_is(name, monkeypatch):
    z, labels = batch(dtype=torch.bfloat16)
    expected = value_and_gradient(LOSSES[name], z, labels, temperature=0.1)
    for module in (dense_module, layout_module):
        monkeypatch.setattr(module, "has_half_products", lambda rows: True)
    for backend in ("dense", "tiled"):
        how = {"temperature": 0.1, "backend": backend, "tile_size": 50}
        value, gradient = value_and_gradient(LOSSES[name], z, labels, **how)
        assert abs(value - expected[0]) < 1e-5
        assert relative_error(gradient, expected[1]) < 0.003


def test_which_backend_it_was_can_be_read():
    arguments = {"alpha": 0.5, "temperature": 0.1}
    criterion = SupCLLoss(**arguments, backend="dense", track=True)
    criterion(VIEWS, LABELS)
    tiled = supcl_terms(VIEWS, LABELS, **arguments, track=True)
    assert (criterion.last.backend, tiled.backend) == ("dense", "tiled")  # a CPU has tiles
    spread = [terms.spread.within_class_variance for terms in (criterion.last, tiled)]
    torch.testing.assert_close(*spread)
    torch.testing.assert_close(criterion.last.supervised, tiled.supervised)


def as_a_step_later(message):
    """What a deferred check says of the same fault: it does not know the row or the instance."""
    for words in ("in row", "vector", "instance 6"):
        if words in message:
            return "in an earlier batch"
    return message


OF_VALUES = [
    *("nan", "infinity", "overflow", "zero vector", "nearly zero vector", "logits that overflow"),
    *("label -2", "an instance of two labels", "all different", "one view", "one class"),
    *("one instance", "anchors that lack positives"),
]


@pytest.mark.parametrize("name", OF_VALUES)
def test_a_deferred_check_raises_in_the_next_call(name):
    changes, message = CASES[name]
    usable = {"embeddings": VIEWS, "labels": LABELS, "alpha": 0.5, "temperature": 0.1, **DENSE}
    loss = supcl_loss(**usable | changes)
    if name in ("nan", "infinity"):
        assert math.isnan(loss.item())
    with pytest.raises(InputError, match=as_a_step_later(message)):
        supcl_loss(**usable)
    supcl_loss(**usable)  # Said once.
    supcl_loss(**usable | changes)
    with pytest.raises(InputError, match=as_a_step_later(message)):
        finish_checks()
    supcl_loss(**usable | changes | {"checks": "off"})
    finish_checks()


def test_a_row_of_zeros_harms_nothing_until_it_is_refused():
    views = VIEWS.clone()
    views[2] = 0
    views.requires_grad_()
    supcl_loss(views, LABELS, alpha=0.5, temperature=0.1, **DENSE).backward()
    assert views.grad[[0, 1, 3]].isfinite().all()
    with pytest.raises(InputError, match="zero vector in an earlier batch"):
        finish_checks()


@pytest.mark.slow
def test_torch_compile_sees_through_the_dense_backend():
    z, labels = batch()
    criterion = SupCLLoss(alpha=0.4, temperature=0.1, **DENSE)
    plain = value_and_gradient(lambda x, y: criterion(2 * x, y) + 1, z, labels)
    finish_checks()
    graphs = []

    def record(graph, examples):
        graphs.append({str(node.target) for node in graph.graph.nodes})
        return graph

    compiled = torch.compile(lambda x, y: criterion(2 * x, y) + 1, backend=record, fullgraph=True)
    torch.testing.assert_close(value_and_gradient(compiled, z, labels), plain)
    assert len(graphs) == 1
    assert not any("uncollapse" in target for target in graphs[0])  # no operator of ours in it
    criterion.alpha = 0.2  # Changed since it was made: whole, but not seen through.
    torch.testing.assert_close(
        compiled(z, labels), supcl_loss(2 * z, labels, alpha=0.2, temperature=0.1) + 1
    )
