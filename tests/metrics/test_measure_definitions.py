"""Every estimate against slow loops written from its definition."""

from itertools import combinations, permutations

import numpy as np
import pytest
from embeddings import cloud, unit

from uncollapse.metrics import measure
from uncollapse.metrics.cosines import (
    jackknife_functionals,
    jackknife_products,
    levels_of_class,
)
from uncollapse.metrics.features import group_features, instance_features
from uncollapse.metrics.moments import ClassMoments
from uncollapse.metrics.variance import decompose


def by_loops(rows, labels, instances, groups):
    """Within, instance, view and between variance, unbiased, macro; pair by pair."""
    a, s, classes = [], [], []
    for c in np.unique(labels):
        found = {}
        for z, u, g in zip(
            rows[labels == c], instances[labels == c], groups[labels == c], strict=True
        ):
            found.setdefault((u, g), []).append(z)
        units = [(g, np.mean(views, axis=0)) for (_, g), views in found.items()]
        across = [x @ y for (g, x), (h, y) in combinations(units, 2) if g != h]
        between_views = [
            np.mean([x @ y for x, y in combinations(views, 2)])
            for views in found.values()
            if len(views) > 1
        ]
        a.append(np.mean(across))
        s.append(np.mean(between_views))
        classes.append(units)
    C = len(a)
    # A group may hold instances of two classes (here group 4 does): not a pair of new groups.
    products = [
        np.mean([x @ y for g, x in classes[i] for h, y in classes[j] if g != h])
        for i, j in permutations(range(C), 2)
    ]
    total_square = sum(products) + sum(a)
    between = np.mean(a) - total_square / C**2
    return 1 - np.mean(a), np.mean(s) - np.mean(a), 1 - np.mean(s), between


@pytest.mark.parametrize("grouped", [False, True])
def test_decomposition_equals_loops_over_pairs(rng, grouped):
    rows, labels, instances = cloud(rng, (9, 6, 12), views=3)
    kept = rng.permutation(len(rows))[:-7]  # so that instances have different numbers of views
    rows, labels, instances = rows[kept], labels[kept], instances[kept]
    groups = instances // 2 if grouped else instances
    found = measure(
        rows, labels, instances=instances, groups=groups if grouped else None, permutations=0
    )
    expected = by_loops(rows, labels, instances, groups)
    measured = (
        found.within_class_variance,
        found.instance_variance,
        found.view_variance,
        found.between_class_variance,
    )
    np.testing.assert_allclose([e.estimate for e in measured], expected, rtol=1e-12)
    assert found.total_variance.estimate == pytest.approx(expected[0] + expected[3], rel=1e-12)


def test_plug_in_is_the_papers_number(rng):
    rows, labels, instances = cloud(rng, (5, 20, 11), views=2)
    found = measure(rows, labels, instances=instances, permutations=0)
    means = [rows[labels == c].mean(axis=0) for c in range(3)]
    within = np.mean([1 - m @ m for m in means])
    views = np.mean(
        [
            np.mean(
                [
                    1 - np.sum(rows[instances == u].mean(axis=0) ** 2)
                    for u in np.unique(instances[labels == c])
                ]
            )
            for c in range(3)
        ]
    )
    total = 1 - np.sum(np.mean(means, axis=0) ** 2)
    assert found.within_class_variance.plug_in == pytest.approx(within, rel=1e-12)
    assert found.view_variance.plug_in == pytest.approx(views, rel=1e-12)
    assert found.instance_variance.plug_in == pytest.approx(within - views, rel=1e-12)
    assert found.total_variance.plug_in == pytest.approx(total, rel=1e-12)


def test_micro_weighs_instances_and_never_mixes(rng):
    rows, labels, _ = cloud(rng, (40, 10, 5))
    found = measure(rows, labels, permutations=0)
    w = np.array([40, 10, 5]) / 55
    within = [c.within_class_variance.estimate for c in found.classes]
    assert found.micro["within_class_variance"].estimate == pytest.approx(w @ within, rel=1e-12)
    mean = rows.mean(axis=0)
    means = np.stack([rows[labels == c].mean(axis=0) for c in range(3)])
    plain = w @ np.sum(means**2, axis=1) - mean @ mean
    assert found.micro["between_class_variance"].plug_in == pytest.approx(plain, rel=1e-12)
    assert found.micro["total_variance"].plug_in == pytest.approx(1 - mean @ mean, rel=1e-12)


@pytest.mark.parametrize("kept_as", ["rows", "scatter"])
def test_jackknife_leaves_each_unit_out_once(rng, kept_as):
    rows = cloud(rng, (12, 12), views=2)[0][:24]
    features = instance_features(rows, np.repeat(np.arange(12), 2))
    moments = ClassMoments.of_units(features, 24)
    if kept_as == "scatter":
        centred = features - features.mean(axis=0)
        moments = ClassMoments(12, features.sum(axis=0), 24, scatter=centred.T @ centred)
    v = rng.standard_normal(16)

    def statistics(kept):
        of = ClassMoments.of_units(features[kept], 2 * len(kept))
        level = levels_of_class(of)
        return level.a, level.s, of.mean @ v

    left_out = np.array([statistics([k for k in range(12) if k != g]) for g in range(12)])
    deviations = left_out - left_out.mean(axis=0)
    expected = 11 / 12 * deviations.T @ deviations
    level = levels_of_class(moments)
    products = moments.products(jackknife_functionals(moments, level, v))
    np.testing.assert_allclose(products, expected, rtol=1e-9)


def test_squared_spread_is_the_u_statistic_of_trace_sigma_squared(rng):
    x = rng.standard_normal((7, 3)) * (1, 2, 0.5) + 4
    n = len(x)
    gram = x @ x.T

    def mean_over(k, value):
        tuples = list(permutations(range(n), k))
        return np.mean([value(t) for t in tuples])

    expected = (
        mean_over(2, lambda t: gram[t[0], t[1]] ** 2)
        - 2 * mean_over(3, lambda t: gram[t[0], t[1]] * gram[t[1], t[2]])
        + mean_over(4, lambda t: gram[t[0], t[1]] * gram[t[2], t[3]])
    )
    features = instance_features(x, None)
    as_rows = ClassMoments.of_units(features, n)
    centred = features - features.mean(axis=0)
    as_scatter = ClassMoments(n, features.sum(axis=0), n, scatter=centred.T @ centred)
    assert as_rows.squared_spread() == pytest.approx(expected, rel=1e-9)
    assert as_scatter.squared_spread() == pytest.approx(expected, rel=1e-9)


def test_jackknife_of_a_degenerate_statistic_is_corrected(rng):
    # Residuals orthogonal to the mean: the jackknife alone doubles the variance of a. The
    # correction stops at half of each sample's jackknife, so on average a little is left.
    # 4000 samples know their variance to 3 %.
    cosines, corrected, plain = [], [], []
    for _ in range(4000):
        z = np.zeros((15, 9))
        z[:, 0] = np.sqrt(0.5)
        z[:, 1:] = np.sqrt(0.5) * unit(rng.standard_normal((15, 8)))
        moments = ClassMoments.of_units(instance_features(z, None), 15)
        level = levels_of_class(moments)
        products, excess = jackknife_products(
            moments, jackknife_functionals(moments, level, np.ones(9))
        )
        cosines.append(level.a)
        corrected.append(products[0, 0])
        plain.append(products[0, 0] + excess)
    true = np.var(cosines)
    assert np.mean(plain) / true > 1.8
    assert 0.95 < np.mean(corrected) / true < 1.35


def test_groups_that_cross_classes_are_left_out_of_both(rng):
    # One group shifts two classes the same way; as if the classes were independent, the interval
    # of the mean over classes would be too short.
    groups = np.repeat(np.arange(30), 2)
    shift = rng.standard_normal((30, 8))[groups]
    classes, apart = [], []
    for c in range(2):
        rows = unit(np.eye(2, 8)[c] * 3 + shift + 0.1 * rng.standard_normal((60, 8)))
        features, codes = group_features(instance_features(rows, None), groups)
        classes.append(ClassMoments.of_units(features, 60, codes))
        apart.append(ClassMoments.of_units(features, 60, codes + 100 * c))
    both = (decompose(parts).variances.within_class_variance for parts in (classes, apart))
    together, separate = both
    assert together.estimate == separate.estimate
    assert together.half_width > 1.2 * separate.half_width


def test_views_treated_as_instances_would_shorten_the_interval(rng):
    rows, labels, instances = cloud(rng, (60, 60), views=6, view_noise=0.05)
    right = measure(rows, labels, instances=instances, permutations=0).within_class_variance
    wrong = measure(rows, labels, permutations=0).within_class_variance
    assert right.half_width > 2 * wrong.half_width
