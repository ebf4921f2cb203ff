"""The second derivation agrees with itself: loops, dense, all batches, minimisation, thresholds."""

import itertools
import math

import numpy as np
import pytest
import torch
from free_embeddings import (
    Problem,
    batches,
    dense_loss,
    duality_gap,
    expected_loss,
    gram_loss,
    minimise,
    minimise_symmetric,
    naive_loss,
)
from free_settings import QUANTITIES, load_reference, random_settings
from free_thresholds import (
    bisected_thresholds,
    closed_form,
    thresholds,
    zero_by_hypergeometric,
)

from uncollapse.records import BalancedBatch, FullBatch, RandomBatch

CONVENTIONS = list(
    itertools.product(["include", "exclude"], ["pairs", "anchors"], ["drop", "zero"])
)


def unit_vectors(rows: int, width: int, seed: int) -> np.ndarray:
    Z = np.random.default_rng(seed).standard_normal((rows, width))
    return Z / np.linalg.norm(Z, axis=1, keepdims=True)


@pytest.mark.parametrize(("self_pairs", "reduction", "without"), CONVENTIONS)
def test_dense_loss_is_the_loop_over_pairs(self_pairs, reduction, without):
    for counts, views in [((3, 2), 2), ((2, 1, 1), 3), ((1, 1), 2), ((3, 1), 1)]:
        alpha = 0.0 if views == 1 else 0.37
        problem = Problem(counts, views, alpha, 0.3, self_pairs, reduction, without)
        classes, instances = problem.labels()
        Z = unit_vectors(len(classes), 4, seed=views)
        loops = naive_loss(Z, classes, instances, **problem.conventions)
        dense = dense_loss(torch.as_tensor(Z), classes, instances, **problem.conventions)
        assert float(dense) == pytest.approx(loops, rel=1e-12, abs=1e-12)


def test_loops_by_hand():
    # Two instances of class 0, one of class 1, two orthogonal directions, one view, tau = 1:
    # the two positive pairs are -log(e / (e + 1)) each, the third anchor has no positive.
    Z = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    given = (Z, [0, 0, 1], [0, 1, 2], 0.0, 1.0, "exclude", "anchors")
    pair = math.log(1 + math.exp(-1))
    assert naive_loss(*given, "drop") == pytest.approx(pair, rel=1e-14)
    assert naive_loss(*given, "zero") == pytest.approx(2 / 3 * pair, rel=1e-14)
    included = (*given[:5], "include", "pairs", "drop")
    assert naive_loss(*included) == pytest.approx(math.log(2 + math.exp(-1)), rel=1e-14)


@pytest.mark.parametrize("batch", [FullBatch(), BalancedBatch(1, 2), RandomBatch(3)])
def test_gram_loss_is_the_mean_over_batches_and_so_is_its_gradient(batch):
    problem = Problem((3, 2, 1), 2, 0.3, 0.4, "exclude", "anchors", "drop", batch)
    Z = torch.as_tensor(unit_vectors(12, 5, seed=1)).requires_grad_()
    loss = expected_loss(Z, problem)
    loss.backward()
    value, C = gram_loss((Z @ Z.T).detach().numpy(), problem)
    assert value == pytest.approx(loss.item(), rel=1e-13)
    np.testing.assert_allclose(2 * C @ Z.detach().numpy(), Z.grad.numpy(), atol=1e-13)


def test_batches_are_what_the_sampler_draws():
    # Classes of a batch are drawn first: each pair of classes is as likely, whatever its size.
    drawn = list(batches((4, 2, 2), BalancedBatch(2, 2)))
    assert len(drawn) == 6 + 6 + 1
    with_large = sum(probability for probability, subset in drawn if min(subset) < 4)
    assert with_large == pytest.approx(2 / 3)
    assert len(list(batches((4, 2, 1), RandomBatch(3)))) == math.comb(7, 3)
    merged = list(batches((4, 2, 1), RandomBatch(3), by_symmetry=True))
    weights = {tuple(np.bincount(np.digitize(s, [4, 6]), minlength=3)): w for w, s in merged}
    assert weights[2, 1, 0] == pytest.approx(6 * 2 / 35)
    for everything in (drawn, merged):
        assert sum(probability for probability, _ in everything) == pytest.approx(1)


@pytest.mark.parametrize("problem", random_settings(seed=7, count=25), ids=str)
def test_free_vectors_and_averaged_gram_matrices_reach_one_proven_optimum(problem):
    free, averaged = minimise(problem), minimise_symmetric(problem)
    assert averaged.loss == pytest.approx(free.loss, abs=1e-9)
    assert free.free_loss == pytest.approx(averaged.loss, abs=1e-7)
    assert min(free.gap, averaged.gap) < 1e-7
    np.testing.assert_allclose(np.diag(averaged.gram), 1, atol=1e-12)
    assert np.linalg.eigvalsh(averaged.gram)[0] > -1e-12


def test_the_gap_covers_the_distance_to_the_optimum_and_grows_with_it():
    problem = Problem((4, 2, 1), 2, 0.3, 0.4, "exclude", "anchors", "zero", RandomBatch(4))
    optimum = minimise_symmetric(problem)
    Z = unit_vectors(14, 14, seed=3)
    before = optimum.gap
    for step in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        G = (1 - step) * optimum.gram + step * Z @ Z.T
        gap = duality_gap(G, problem)
        assert gap > max(gram_loss(G, problem)[0] - optimum.loss, before)
        before = gap


BALANCED = [
    Problem((3, 3), 2, 0.5, 0.5, "include"),
    Problem((3, 3, 3), 2, 0.5, 0.3, "exclude"),
    Problem((4, 4), 2, 0.5, 1.5, "exclude", batch=BalancedBatch(2)),
    Problem((3, 3, 3), 3, 0.5, 0.3, "exclude", batch=BalancedBatch(2, 2)),
    Problem((2, 2, 2, 2), 1, 0.5, 0.4, "include", batch=BalancedBatch(2, 3)),
]
RANDOM = [
    Problem(counts, views, 0.5, 0.4, pairs, reduction, without, RandomBatch(4))
    for counts, views, pairs in [((3, 3), 1, "include"), ((2, 2, 2), 2, "exclude")]
    for reduction, without in [("anchors", "drop"), ("anchors", "zero"), ("pairs", "drop")]
]


@pytest.mark.parametrize("problem", BALANCED + RANDOM, ids=str)
def test_thresholds_are_where_the_collapsed_simplex_stops_being_optimal(problem):
    splitting, collapse = thresholds(problem)
    inside = (max(splitting, 0) + min(collapse, 1)) / 2
    by_eigenvalue = bisected_thresholds(problem, inside, minimise=False, width=1e-9)
    by_minimising = bisected_thresholds(problem, inside, minimise=True, width=1e-4)
    assert collapse == pytest.approx(by_eigenvalue[1], abs=1e-8)
    assert collapse == pytest.approx(by_minimising[1], abs=2e-4)
    if splitting > 0:
        assert splitting == pytest.approx(by_eigenvalue[0], abs=1e-8)
        assert splitting == pytest.approx(by_minimising[0], abs=2e-4)
    else:
        assert by_eigenvalue[0] == by_minimising[0] == -math.inf


def test_thresholds_in_closed_form():
    for problem in BALANCED:
        splitting, collapse = thresholds(problem)
        closed = closed_form(problem)
        assert collapse == pytest.approx(closed[1], rel=1e-12)
        assert splitting == pytest.approx(closed[0], rel=1e-12) or max(splitting, closed[0]) <= 0
    for problem in RANDOM:
        if problem.anchors_without_positives == "zero":
            assert thresholds(problem)[1] == pytest.approx(zero_by_hypergeometric(problem))


def test_one_instance_of_a_class_in_a_batch_always_collapses():
    problem = Problem((3, 3, 3), 2, 0.1, 0.3, "exclude", batch=BalancedBatch(1))
    assert thresholds(problem) == (-math.inf, math.inf)
    assert closed_form(problem)[0] > problem.alpha  # would say that views split
    assert max(minimise_symmetric(problem).within) < 1e-9


@pytest.mark.parametrize("self_pairs", ["include", "exclude"])
def test_the_threshold_holds_from_as_many_dimensions_as_classes(self_pairs):
    problem = Problem((3, 3, 3), 2, 0.5, 0.5, self_pairs)
    _, collapse = thresholds(problem)

    def spread(d: int, alpha: float) -> float:
        return max(minimise(problem.at(alpha=alpha), d=d, starts=4, polish=False).instance)

    assert spread(3, collapse - 0.03) < 1e-4 < 1e-3 < spread(3, collapse + 0.03)
    assert spread(2, collapse + 0.03) < 1e-4  # with one fewer the threshold lies higher


def test_the_reference_file_is_proven_and_reproduced():
    records = load_reference()
    assert max(record["gap"] for record in records) < 1e-9
    for record in records[::9]:
        again = minimise_symmetric(record["problem"], seed=99)
        assert again.loss == pytest.approx(record["loss"], abs=1e-9)
        for name in set(QUANTITIES) - set(record["undetermined"]):
            expected = np.array(record[name], dtype=float)
            np.testing.assert_allclose(
                np.array(getattr(again, name), dtype=float), expected, atol=1e-4, err_msg=name
            )


@pytest.mark.slow
def test_the_reference_file_is_where_free_vectors_end():
    for record in load_reference()[::3]:  # that all are optima, their certificates prove
        live = minimise(record["problem"], seed=5)
        assert live.free_loss == pytest.approx(record["loss"], abs=1e-7)
        assert live.loss > record["loss"] - 1e-9
