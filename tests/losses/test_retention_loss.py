"""`retention_loss`: its definition in loops, what `measure` reports, and its place in SupCLLoss."""

import re

import numpy as np
import pytest
import torch
from test_distributed import encoder as small_encoder
from test_distributed import gradients, spawn, whole_batch
from torch.nn.parallel import DistributedDataParallel

import uncollapse
from uncollapse.errors import InputError
from uncollapse.losses import (
    SupCLLoss,
    backward_in_chunks,
    reference_retention,
    retention_loss,
    retention_terms,
    supcl_loss,
)

REDUCTIONS = ("classes", "anchors", "pairs")


def batch(instances=40, views=2, d=5, e=7, kind=torch.float64, noise=1.0):
    """Classes around centres of their own, of uneven size; some rows without label."""
    generator = torch.Generator().manual_seed(instances + d)
    labels = torch.randint(-1, 3, (instances,), generator=generator)
    labels[:2] = 7  # Two instances only.
    base = torch.randn(instances, e, generator=generator)
    x = torch.randn(instances, views, d, generator=generator) * noise
    x[..., 0] += 1
    x[:, :, : min(d, e)] += noise * base[:, None, : min(d, e)]
    return x.to(kind), base.to(kind), labels


def value_and_gradient(loss_of, x, *rest, **arguments):
    x = x.clone().requires_grad_()
    loss = loss_of(x, *rest, **arguments)
    loss.backward()
    return loss.detach(), x.grad


def in_loops(x, y, labels, instances, reduction):
    """1 - retention from all pairs, triples and quadruples of instances, in float64."""
    values, weights = [], []
    for label in sorted(set(labels) - {-1}):
        own = sorted({i for i, each in zip(instances, labels, strict=True) if each == label})
        n = len(own)
        if n < 4:
            continue
        K, L = np.zeros((n, n)), np.zeros((n, n))
        for gram, side in ((K, x), (L, y)):
            unit = side / np.linalg.norm(side, axis=-1, keepdims=True)
            for a, b in ((a, b) for a in range(n) for b in range(n) if a != b):
                first, second = (unit[np.equal(instances, own[k])] for k in (a, b))
                gram[a, b] = np.mean(first @ second.T)

        def hsic(K, L, n=n):
            """E K_ij L_ij - 2 E K_ij L_ik + E K_ij L_kl over different i, j, k, l."""
            total, k, l = np.sum(K * L), K.sum(1), L.sum(1)  # noqa: E741
            triples = k @ l - total
            fours = k.sum() * l.sum() - 4 * triples - 2 * total
            return (
                total / (n * (n - 1))
                - 2 * triples / (n * (n - 1) * (n - 2))
                + fours / (n * (n - 1) * (n - 2) * (n - 3))
            )

        values.append(hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L)))
        weights.append({"classes": 1, "anchors": n, "pairs": n * (n - 1)}[reduction])
    return 1 - np.average(values, weights=weights)


# Fewer columns than instances of a class, and more: two ways to compute.
@pytest.mark.parametrize(("d", "e"), [(3, 4), (5, 40), (30, 50)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_value_and_gradient_are_those_of_the_definition(d, e, reduction):
    x, y, labels = batch(d=d, e=e)
    flat, instances = x.flatten(0, 1), torch.arange(40).repeat_interleave(2)
    several = y[:, None] + torch.randn(40, 3, e, generator=torch.Generator().manual_seed(1))
    rows = flat.numpy(), y.repeat_interleave(2, 0).numpy(), labels.repeat_interleave(2).tolist()
    for given in (
        (x, y, labels),
        (x, several.double(), labels),
        # Uneven numbers of views, in another order.
        (flat[5:], y.repeat_interleave(2, 0)[5:], labels.repeat_interleave(2)[5:], instances[5:]),
    ):
        ours = value_and_gradient(retention_loss, *given, reduction=reduction)
        expected = value_and_gradient(
            lambda *a: 1 - reference_retention(*a, reduction=reduction), *given
        )
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)
    loops = in_loops(*rows, instances.tolist(), reduction)
    loss = retention_loss(x, y, labels, reduction=reduction).item()
    assert loss == pytest.approx(loops, rel=1e-11)


@pytest.mark.parametrize(("d", "e"), [(3, 4), (30, 50)])
def test_it_is_the_number_that_measure_reports(d, e):
    x, y, labels = batch(d=d, e=e)
    x, y, labels = x[labels >= 0], y[labels >= 0], labels[labels >= 0]
    loss = retention_loss(x, y, labels).item()
    of_both = y[:, None].expand(-1, 2, -1)
    found = uncollapse.retention(x.numpy(), of_both.numpy(), labels.numpy(), permutations=0)
    assert found.retention.estimate == pytest.approx(1 - loss, rel=1e-10)
    measured = uncollapse.measure(x.numpy(), labels.numpy(), reference=of_both.numpy())
    assert measured.reference.retention.estimate == pytest.approx(1 - loss, rel=1e-10)


def test_gradcheck():
    x, y, labels = batch(instances=14, d=3, e=4)
    for reduction in REDUCTIONS:
        assert torch.autograd.gradcheck(
            lambda z, r=reduction: retention_loss(z, y, labels.clamp(max=1), reduction=r),
            x.requires_grad_(),
        )


def test_rotations_and_scales_of_either_side_leave_it():
    x, y, labels = batch(d=6, e=9)
    turn_x, turn_y = (torch.linalg.qr(torch.randn(k, k).double())[0] for k in (6, 9))
    loss = retention_loss(x, y, labels)
    lengths = torch.rand(40, 1).double() + 0.1
    torch.testing.assert_close(retention_loss(3 * x @ turn_x, y, labels), loss)
    torch.testing.assert_close(retention_loss(x * lengths[:, None], y @ turn_y, labels), loss)
    torch.testing.assert_close(retention_loss(x, lengths * y, labels), loss)
    torch.testing.assert_close(
        retention_loss(y @ turn_y, y, labels), torch.zeros(()).double(), atol=1e-12, rtol=0
    )


def test_shuffled_inside_its_classes_a_reference_is_not_kept_on_average():
    x, y, labels = batch(instances=60, d=6, e=9)
    generator = torch.Generator().manual_seed(0)
    kept = []
    for _ in range(200):
        by_class = torch.rand(60, generator=generator).double() + labels
        shuffled = torch.empty_like(y)
        shuffled[labels.argsort(stable=True)] = y[by_class.argsort()]
        kept.append(1 - retention_loss(x, shuffled, labels).item())
    error = np.std(kept) / np.sqrt(len(kept))
    assert abs(np.mean(kept)) < 4 * error < 0.03
    assert 1 - retention_loss(x, y, labels).item() > 0.1


# Relative error of value and gradient: what rounding costs where a class is nearly one point.
@pytest.mark.parametrize(("noise", "error"), [(1, 1e-5), (1e-2, 5e-5), (1e-4, 5e-3)])
@pytest.mark.parametrize(("d", "e"), [(6, 9), (128, 300)])
def test_in_float32_it_is_exact_to_rounding_of_the_rows(noise, error, d, e):
    x, y, labels = batch(instances=90, d=d, e=e, kind=torch.float32, noise=noise)
    ours = value_and_gradient(retention_loss, x, y, labels)
    exact = value_and_gradient(retention_loss, x.double(), y.double(), labels)
    assert ours[0].dtype == torch.float32
    assert abs(ours[0] - exact[0]) < error
    assert (ours[1] - exact[1]).norm() < error * exact[1].norm()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(kind):
    x, y, labels = batch(instances=90, d=16, e=40, kind=kind)
    loss, gradient = value_and_gradient(retention_loss, x, y, labels)
    exact = value_and_gradient(retention_loss, x.double(), y.double(), labels)
    assert loss.dtype == torch.float32
    assert gradient.dtype == kind
    assert abs(loss - exact[0]) < 1e-5
    torch.testing.assert_close(gradient, exact[1].to(kind), rtol=2e-2, atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(retention_loss(x, y, labels), loss)


def test_the_same_bits_for_the_same_batch_whatever_the_threads():
    x, y, labels = batch(instances=300, d=64, e=80, kind=torch.float32)
    first = value_and_gradient(retention_loss, x, y, labels)
    for _ in range(3):
        again = value_and_gradient(retention_loss, x, y, labels)
        assert torch.equal(first[0], again[0])
        assert torch.equal(first[1], again[1])


def test_classes_that_have_none_are_left_out_and_counted():
    x, y, labels = batch(instances=60, d=6, e=9)
    alike = labels == 1
    x[alike] = x[alike][0]
    loss, gradient = value_and_gradient(retention_loss, x, y, labels)
    terms = retention_terms(x, y, labels)
    assert (terms.classes, terms.few, terms.alike) == (2, 1, 1)
    others = labels.masked_fill(alike, -1)
    torch.testing.assert_close(loss, retention_loss(x, y, others), rtol=1e-12, atol=0)
    assert gradient[~alike & (labels >= 0) & (labels < 7)].abs().min() > 0
    for nothing in (alike, labels == 7, labels == -1):
        assert not gradient[nothing].any()


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_where_all_classes_are_alike_the_loss_is_1_without_gradient(kind):
    y, labels = torch.randn(8, 5).to(kind), torch.zeros(8, dtype=torch.long)
    simplex = torch.eye(8).to(kind)
    for x in (torch.ones(8, 3).to(kind), simplex):
        loss, gradient = value_and_gradient(retention_loss, x, y, labels)
        assert loss == 1
        assert not gradient.any()
        assert retention_terms(x, y, labels).alike == 1


def test_without_keep_the_loss_is_what_it_was_to_the_bit():
    x, y, labels = batch(kind=torch.float32)
    plain = value_and_gradient(supcl_loss, x, labels, alpha=0.3, temperature=0.1)
    for criterion in (
        SupCLLoss(alpha=0.3, temperature=0.1),
        SupCLLoss(alpha=0.3, temperature=0.1, keep=0),
    ):
        for given in ({}, {"reference": y}):
            ours = value_and_gradient(criterion, x, labels, **given)
            assert torch.equal(ours[0], plain[0])
            assert torch.equal(ours[1], plain[1])
        assert criterion.last.kept is None
        assert "keep" not in repr(criterion)


def test_keep_adds_its_share_and_tells_it():
    x, y, labels = batch()
    criterion = SupCLLoss(alpha=0.3, temperature=0.1, keep=2.5, reduction="pairs")
    loss, gradient = value_and_gradient(criterion, x, labels, reference=y)
    arguments = {"alpha": 0.3, "temperature": 0.1, "reduction": "pairs"}
    parts = (
        value_and_gradient(supcl_loss, x, labels, **arguments),
        value_and_gradient(retention_loss, x, y, labels, reduction="pairs"),
    )
    torch.testing.assert_close(loss, parts[0][0] + 2.5 * parts[1][0])
    torch.testing.assert_close(gradient, parts[0][1] + 2.5 * parts[1][1])
    assert criterion.last.kept.loss == parts[1][0]
    assert (criterion.last.kept.classes, criterion.last.kept.few) == (3, 1)
    assert "keep=2.5" in repr(criterion)


def test_following_its_gradient_brings_retention_to_1():
    x, y, labels = batch(d=9, e=9)
    for _ in range(300):
        loss, gradient = value_and_gradient(retention_loss, x, y, labels)
        x = x - 20 * gradient
    assert loss < 0.02


def test_in_chunks_the_gradient_is_that_of_the_whole_batch():
    inputs, labels, _ = whole_batch()
    reference = inputs.mean(dim=1)
    criterion = SupCLLoss(alpha=0.3, temperature=0.1, keep=1.0)
    whole, chunked = small_encoder(), small_encoder()
    expected = criterion(whole(inputs), labels, reference=reference)
    expected.backward()
    loss = backward_in_chunks(
        chunked, inputs.split(4), lambda z: criterion(z, labels, reference=reference)
    )
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradients(chunked), gradients(whole))


X, Y, LABELS = batch(kind=torch.float32)
CASES = {
    "an array": ({"reference": Y.numpy()}, "a reference of shape .*found ndarray"),
    "too few rows": ({"reference": Y[1:]}, r"found shape \(39, 7\)"),
    "one axis": ({"reference": Y[:, 0]}, r"found shape \(40,\)"),
    "integers": ({"reference": Y.long()}, r"convert it with \.float\(\)"),
    "nan": ({"reference": Y * torch.nan}, "finite rows of the reference; found nan in row 0"),
    "zero": (
        {"reference": Y * (torch.arange(40) != 3)[:, None]},
        "a zero vector in row 3",
    ),
    "embeddings nan": ({"embeddings": X * torch.nan}, "finite embeddings"),
    "no class": ({"labels": torch.arange(40) // 3}, "4 instances of one class.*at most 3"),
    "no labels": ({"labels": LABELS * 0 - 1}, "at most 0"),
    "reduction": ({"reduction": "mean"}, "'classes', 'anchors', 'pairs'"),
    "gather": ({"gather": "yes"}, "gather True or False"),
}


@pytest.mark.parametrize("name", CASES)
def test_unusable_input_is_an_error_with_cause_and_remedy(name):
    changes, message = CASES[name]
    arguments = {"embeddings": X, "reference": Y, "labels": LABELS}
    retention_loss(**arguments)  # Usable without the change.
    with pytest.raises(InputError, match=message):
        retention_loss(**{**arguments, **changes})


def test_keep_needs_a_reference_and_labels():
    criterion = SupCLLoss(alpha=1, temperature=0.1, keep=1)
    for labels, given, found in (
        (LABELS, {}, "no reference"),
        (None, {"reference": Y}, "no labels"),
    ):
        with pytest.raises(InputError, match=re.escape(f"found {found}")):
            criterion(X, labels, **given)
    for keep in (-1, float("nan"), "1"):
        with pytest.raises(InputError, match="keep a number"):
            SupCLLoss(alpha=1, temperature=0.1, keep=keep)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_torch_compile_takes_the_module_whole(kind):
    x, y, labels = batch(kind=kind)
    criterion = SupCLLoss(alpha=0.4, temperature=0.1, keep=0.7)
    plain = value_and_gradient(lambda z: criterion(2 * z, labels, reference=y) + 1, x)
    compiled = torch.compile(
        lambda z: criterion(2 * z, labels, reference=y) + 1, backend="aot_eager", fullgraph=True
    )
    through = value_and_gradient(compiled, x)
    torch.testing.assert_close(through[0], plain[0])
    # Two gradients in half precision are added, of which each is rounded by up to half an ulp.
    ulp = torch.finfo(kind).eps * plain[1].abs().max().item()
    torch.testing.assert_close(through[1], plain[1], rtol=0, atol=ulp)


def step_of(rank, bounds):
    """The loss with keep on this rank's part of the batch: its value and gradients."""
    inputs, labels, instances = whole_batch()
    reference = inputs.mean(dim=1)[:, :4]
    mine, results = slice(bounds[rank], bounds[rank + 1]), {}
    for reduction in ("anchors", "pairs"):
        for given in (True, False):
            model = DistributedDataParallel(small_encoder())
            criterion = SupCLLoss(
                alpha=0.4, temperature=0.1, keep=2.0, reduction=reduction, gather=True
            )
            loss = criterion(
                model(inputs[mine]),
                labels[mine],
                instances[mine] if given else None,
                reference=reference[mine],
            )
            loss.backward()
            results[reduction] = loss.item(), gradients(model), criterion.last.kept.classes
    messages = []
    for beside, numbers in (
        (reference[mine], instances[mine] * 0 + 5),  # One instance on several processes.
        (reference[mine] * (torch.nan if rank == 1 else 1), None),
        (reference[mine][:, : 3 + (rank == 1)], None),
        (torch.ones(len(labels[mine]), 5000), None),
    ):
        try:
            retention_loss(inputs[mine], beside, labels[mine] * 0, numbers, gather=True)
        except InputError as error:
            messages.append(str(error))
    return results, messages


@pytest.mark.slow
def test_over_processes_it_is_that_of_one_with_all_rows():
    bounds = (0, 3, 17, 17)  # The last of three has none.
    inputs, labels, _ = whole_batch()
    for results, messages in spawn(step_of, len(bounds) - 1, bounds):
        for reduction, (value, gradient, classes) in results.items():
            model = small_encoder()
            criterion = SupCLLoss(alpha=0.4, temperature=0.1, keep=2.0, reduction=reduction)
            expected = criterion(model(inputs), labels, reference=inputs.mean(dim=1)[:, :4])
            expected.backward()
            assert value == pytest.approx(expected.item(), rel=1e-10)
            torch.testing.assert_close(gradient, gradients(model), rtol=1e-9, atol=1e-10)
            assert classes == criterion.last.kept.classes == 3
        divided, unusable, width, wide = messages
        assert "all views of an instance on one process" in divided
        assert "on rank 1" in unusable or "finite rows of the reference" in unusable
        assert "the same loss with the same arguments" in width
        assert "at most 4096 dimensions" in wide
