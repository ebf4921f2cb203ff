"""Retention against its definition, and where the answer is known."""

import numpy as np
import pytest

from uncollapse.errors import InputError
from uncollapse.metrics import Reference, measure, retention
from uncollapse.records import Interval


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def hsic(K, L):
    """Song et al. 2012, equation 5, as it stands there."""
    n, one = len(K), np.ones(len(K))
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    whole = np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return (whole - 2 / (n - 2) * (one @ K @ L @ one)) / (n * (n - 3))


def cka(x, y):
    K, L = x @ x.T, y @ y.T
    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


def pair(rng, n=40, classes=3, d=6, e=9):
    """Embeddings, a reference that holds them and more, and labels."""
    base = rng.standard_normal((n * classes, e)) + 2
    rows = base[:, :d] + 0.5 * rng.standard_normal((n * classes, d))
    return rows, base, np.arange(n * classes) % classes


# Of few dimensions it is found by sums over instances, of many by cosines of pairs.
@pytest.mark.parametrize("dimensions", [(6, 9), (30, 50), (9, 300)])
def test_it_is_the_unbiased_cka_of_cosines_inside_classes(rng, dimensions):
    rows, base, labels = pair(rng, 40, 3, *dimensions)
    found = retention(rows, base, labels)
    naive = [cka(unit(rows)[labels == c], unit(base)[labels == c]) for c in range(3)]
    for one, expected in zip(found.classes, naive, strict=True):
        assert one.retention.estimate == pytest.approx(expected, rel=1e-10)
    assert found.retention.estimate == pytest.approx(np.mean(naive), rel=1e-10)


@pytest.mark.parametrize("dimensions", [(6, 9), (30, 50)])
def test_the_interval_is_the_jackknife(rng, dimensions):
    rows, base, labels = pair(rng, 30, 2, *dimensions)
    found = retention(rows, base, labels)
    variances = []
    for c in range(2):
        x, y = unit(rows)[labels == c], unit(base)[labels == c]
        left = [cka(np.delete(x, i, 0), np.delete(y, i, 0)) for i in range(30)]
        variances.append(29 * np.var(left))
    deviation = found.retention.half_width / np.sqrt(sum(variances) / 4)
    assert 2.0 < deviation < 2.05  # Student's quantile of 29 to 58 degrees of freedom


@pytest.mark.parametrize("dimensions", [(2, 3), (6, 9), (6, 40)])
def test_groups_leave_pairs_inside_them_out(rng, dimensions):
    rows, base, labels = pair(rng, 12, 2, *dimensions)
    groups = labels * 10 + np.arange(24) // 2 % 5
    found = retention(rows, base, labels, groups=groups)
    for c, one in enumerate(found.classes):
        x, y, g = unit(rows)[labels == c], unit(base)[labels == c], groups[labels == c]
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)

        def mean_over_groups(K, L, g=g):
            n = range(len(g))
            two = [K[i, j] * L[i, j] for i in n for j in n if g[i] != g[j]]
            three = [
                K[i, j] * L[i, k] for i in n for j in n for k in n if len({g[i], g[j], g[k]}) == 3
            ]
            four = [
                K[i, j] * L[k, m]
                for i in n
                for j in n
                for k in n
                for m in n
                if len({g[i], g[j], g[k], g[m]}) == 4
            ]
            return np.mean(two) - 2 * np.mean(three) + np.mean(four)

        K, L = x @ x.T, y @ y.T
        both, own, theirs = (mean_over_groups(*pair) for pair in ((K, L), (K, K), (L, L)))
        assert one.retention.estimate == pytest.approx(both / np.sqrt(own * theirs), rel=1e-9)
        assert one.units == len(set(g))


def test_rotation_and_scale_keep_all(rng):
    _, base, labels = pair(rng)
    turned = 3 * base @ np.linalg.qr(rng.standard_normal((9, 9)))[0]
    found = retention(turned, base, labels).retention
    assert (found.estimate, found.low, found.high) == pytest.approx((1, 1, 1), abs=1e-9)


@pytest.mark.parametrize("n", [8, 32])
def test_unrelated_rows_keep_nothing_on_average(rng, n):
    values = [
        retention(*rng.standard_normal((2, 2 * n, 20)), np.arange(2 * n) % 2, permutations=0)
        for _ in range(200)
    ]
    estimates = np.array([value.retention.estimate for value in values])
    # Its deviation is that of all permutations, whatever the data.
    deviation = np.sqrt(2 / (n * (n - 3)) / 2)
    assert abs(estimates.mean()) < 3 * deviation / np.sqrt(200)
    assert estimates.std() == pytest.approx(deviation, rel=0.2)


def test_classes_without_an_answer_say_why(rng):
    labels = np.repeat([0, 1, 2, 3], [3, 10, 10, 10])
    rows, base = rng.standard_normal((33, 5)), rng.standard_normal((33, 7))
    rows[labels == 1] = 1
    base[labels == 2] = np.eye(10, 7)[:1]
    found = retention(rows, base, labels)
    assert [one.retention.estimate is None for one in found.classes] == [True, True, True, False]
    assert "four" in found.classes[0].reason
    assert found.classes[1].reason.endswith("in the embedding")
    assert found.classes[2].reason.endswith("in the reference")
    assert found.retention.estimate == found.classes[3].retention.estimate


def test_views_count_by_the_mean_of_their_cosines(rng):
    rows, base, labels = pair(rng, n=10, classes=2)
    views = unit(rows)[:, None] + 0.1 * rng.standard_normal((20, 3, 6))
    found = retention(views, base, labels)
    x = np.stack([unit(view) for view in views]).mean(axis=1)
    naive = [cka(x[labels == c], unit(base)[labels == c]) for c in range(2)]
    assert found.retention.estimate == pytest.approx(np.mean(naive), rel=1e-10)


def test_a_reference_of_other_length_is_refused(rng):
    rows, base, labels = pair(rng)
    with pytest.raises(InputError, match="one row in the reference for each of the 120 rows"):
        retention(rows, base[:-1], labels)


def test_measure_holds_a_reference_beside_the_embedding(rng):
    rows, base, labels = pair(rng)
    base[0] = 0
    plain = measure(rows, labels, permutations=0)
    found = measure(
        rows, labels, reference=Reference(base, "base"), permutations=0, drop_invalid=True
    )
    assert found.share == plain.share  # what the reference lacks changes nothing else
    assert found.conditions == plain.conditions
    kept = found.reference
    assert (kept.name, kept.rows, kept.joined_by) == ("base", 119, "position")
    assert kept.dropped == {"reference_zero": 1}
    expected = retention(rows[1:], base[1:], labels[1:], permutations=0)
    assert kept.retention == expected.retention
    assert "Against the reference base: 119 rows" in str(found)
    with pytest.raises(InputError, match="vectors with a direction in reference"):
        measure(rows, labels, reference=base)


def test_finer_labels_by_both_embeddings(rng):
    labels, kinds = np.arange(600) % 2, np.arange(600) // 2 % 4
    base = np.eye(8)[kinds + 4 * labels] + 0.25 * rng.standard_normal((600, 8))
    rows = np.eye(2)[labels] @ rng.standard_normal((2, 6)) + rng.standard_normal((600, 6))
    found = measure(rows, labels, fine_labels=kinds, reference=base, permutations=0).reference.probe
    assert (found.shots, found.classes) == (10, 2)
    assert found.embedding == pytest.approx(0.25, abs=0.05)  # chance of four
    assert found.reference > 0.95
    assert found.difference.low < found.embedding - found.reference < found.difference.high < -0.5
    printed = str(measure(rows, labels, fine_labels=kinds, reference=base, permutations=0))
    assert f"10-shot accuracy {found.embedding:.1%}" in printed
    assert f"{-100 * found.difference.estimate:.1f} points lost [" in printed
    same = measure(base, labels, fine_labels=kinds, reference=3 * base, permutations=0)
    assert same.reference.probe.difference == Interval(0, 0, 0)
