"""Secondary measures, useful beside the variances and misleading in their place; the nearest SSEM.

Every one works on instances (the mean of an instance's views), so that view noise does not enter
twice, and each comes with its caveat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from uncollapse import records
from uncollapse.metrics._direction import first_direction
from uncollapse.metrics.classes import Classes
from uncollapse.metrics.cosines import levels_of_class
from uncollapse.metrics.features import COUNT, COUNT_SQUARE, Floats, Integers
from uncollapse.metrics.moments import ClassMoments
from uncollapse.metrics.variance import Decomposition
from uncollapse.records import CAVEATS, NC1Null, SingleMeasure, Variances, number, sentence

# Measures over pairs of classes look at this many classes, evenly spaced in label order.
_MOST_CLASSES = 1000
# Rows whose products are summed at once: many small classes would be many small products.
_HELD_ROWS = 1 << 15
# Those that need a covariance matrix per class, at this many.
_MOST_COVARIANCES = 100
# Multiplications that the matrix of second moments of all instances may cost.
_MOST_MULTIPLICATIONS = 4e10
# A residual above this, in units of squared length on the unit sphere, and SSEM does not describe.
_SSEM_TOLERANCE = 0.1


def secondary_measures(
    measured: Classes, variances: Variances, uniformity: float | None, null: NC1Null | None
) -> records.SecondaryMeasures:
    """Every secondary measure; None where one does not apply or needs instances one by one."""
    units, classes = measured.units, measured.instances
    chosen = _evenly(len(classes), _MOST_CLASSES)
    spectra = [classes[c] for c in _evenly(len(classes), _MOST_COVARIANCES)]
    whole = all(m.has_spread and not m.blocks and m.units == m.instances for m in classes)
    means = np.stack([moments.mean for moments in classes])
    a = np.array([levels_of_class(moments).a for moments in units])
    within, view = variances.within_class_variance.estimate, variances.view_variance.estimate
    between = variances.between_class_variance.estimate
    quotient = within / between if within is not None and between and between > 0 else None
    return records.SecondaryMeasures(
        trace_quotient=SingleMeasure(number(quotient), CAVEATS["trace_quotient"]),
        cdnv=cdnv(means[chosen], a[chosen]),
        directional_cdnv=directional_cdnv(spectra) if whole else None,
        nc1=records.NeuralCollapse(nc1_of_classes(classes), null) if whole else None,
        nc2=nc2(means[chosen]),
        rankme=records.RankMe(rankme(classes), means.shape[1]) if whole else None,
        class_spectrum=class_spectrum(spectra) if whole else None,
        first_direction=first_direction(classes) if whole else None,
        alignment=records.Alignment(
            views=None if view is None else 2 * view,
            classes=None if within is None else 2 * within,
        ),
        uniformity=None if uniformity is None else SingleMeasure(uniformity, CAVEATS["uniformity"]),
    )


def _evenly(total: int, most: int) -> Integers:
    return np.linspace(0, total - 1, min(total, most)).round().astype(np.int64)


def cdnv(means: Floats, cosines: Floats) -> records.ClassDistance:
    """Class-distance normalised variance over pairs of classes, debiased.

        V_ij = (W_i + W_j)/2 / (||m_i - m_j||^2 - b_i - b_j),   b_i = ||m_i||^2 - a_i

    W_i = 1 - a_i is unbiased, and b_i (= W_i/n_i for rows) is what sampling adds to a squared
    distance of means. A pair whose distance is within that noise has no finite value and counts as
    infinitely large. Galanti, Gyorgy & Hutter 2022, definition 1, there plug-in.
    """
    squares = np.einsum("ij,ij->i", means, means)
    i, j = np.triu_indices(len(means), 1)
    gram = means @ means.T
    distance = cosines[i] + cosines[j] - 2 * gram[i, j]
    spread = 1 - (cosines[i] + cosines[j]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(distance > 0, spread / distance, np.inf)
        plain = (1 - (squares[i] + squares[j]) / 2) / (squares[i] + squares[j] - 2 * gram[i, j])
    return records.ClassDistance(
        median=number(np.median(values)),
        mean=number(values.mean()),
        plug_in_median=number(np.median(plain)),
        pairs_within_noise=int(np.count_nonzero(distance <= 0)),
    )


def directional_cdnv(classes: Sequence[ClassMoments]) -> records.DirectionalDistance:
    """Variance along the line between two class means, over its squared length, mean over pairs.

    V_ij = u' Sigma_i u / ||u||^4,   u = m_i - m_j        (Luthra et al. 2025, definition 2)
    """
    means = np.stack([moments.mean for moments in classes])
    values = []
    for c, moments in enumerate(classes):
        u = np.delete(means, c, axis=0) - means[c]
        with np.errstate(divide="ignore", invalid="ignore"):
            values.append(moments.along(u) / np.einsum("ij,ij->i", u, u) ** 2)
    together = np.concatenate(values)
    return records.DirectionalDistance(number(np.median(together)), number(together.mean()))


def nc1(within_along: Callable[[Floats], Floats], centred_means: Floats, weights: Floats) -> float:
    """tr(S_w S_b^+)/C with S_b = sum_c w_c (m_c - m)(m_c - m)' (Papyan, Han & Donoho 2020).

    The pseudo-inverse is taken over the C - 1 directions that class means span; `within_along` goes
    from (k, d) directions u to the k numbers u' S_w u.
    """
    root = centred_means * np.sqrt(weights)[:, None]
    _, singular, axes = np.linalg.svd(root, full_matrices=False)
    rank = min(int(np.count_nonzero(singular > 1e-9 * singular[0])), len(weights) - 1)
    along = within_along(axes[:rank])
    return float(np.sum(along / singular[:rank] ** 2) / len(weights))


def nc1_of_classes(classes: Sequence[ClassMoments]) -> float | None:
    """NC1 with every instance weighing the same."""
    counts = np.array([float(moments.instances) for moments in classes])
    weights = counts / counts.sum()
    means = np.stack([moments.mean for moments in classes])
    centred = means - weights @ means
    if not np.any(np.abs(centred) > 0):
        return None

    def within_along(directions: Floats) -> Floats:
        parts = [m.along(directions) * ((m.units - 1) / counts.sum()) for m in classes]
        return np.asarray(np.sum(parts, axis=0))

    return number(nc1(within_along, centred, weights))


def nc1_null(
    points: Floats,
    counts: Sequence[int],
    permutations: int,
    rng: np.random.Generator,
    owners: Integers | None = None,
) -> NC1Null:
    """NC1 with the labels permuted, of (N, d) instances in class order, so many of each class.

    S_w + S_b is the total covariance under every permutation, so each needs only class sums. Units
    of several instances (`owners`: groups, copies of a row) get one label; those that lie in
    several classes are no units of which labels could be permuted, and their instances are.
    """
    labels = np.repeat(np.arange(len(counts)), counts)
    first, places = _units_in_one_class(labels, owners)
    centred = points - points.mean(axis=0)
    total = centred.T @ centred / len(points)

    def value(given: Integers) -> float:
        permuted = given[places]
        sizes = np.bincount(permuted, minlength=len(counts)).astype(np.float64)
        weights = sizes / sizes.sum()
        picks = sparse.csr_matrix((np.ones(len(permuted)), (permuted, np.arange(len(permuted)))))
        means = np.asarray(picks @ centred) / sizes[:, None]

        def within_along(u: Floats) -> Floats:
            between = weights @ (means @ u.T) ** 2
            return np.asarray(np.einsum("ij,ij->i", u @ total, u) - between)

        return nc1(within_along, means, weights)

    of_units = labels[first]
    observed = value(of_units)
    null = np.array([value(rng.permutation(of_units)) for _ in range(permutations)])
    return NC1Null(
        mean=float(null.mean()),
        low=float(null.min()),
        high=float(null.max()),
        permutations=permutations,
        p_value=float((1 + np.count_nonzero(null <= observed)) / (1 + permutations)),
    )


def _units_in_one_class(labels: Integers, owners: Integers | None) -> tuple[Integers, Integers]:
    """An instance of each unit, and the unit of each instance."""
    each = np.arange(len(labels))
    if owners is None:
        return each, each
    _, first, places = np.unique(owners, return_index=True, return_inverse=True)
    return (first, places) if np.array_equal(labels[first][places], labels) else (each, each)


def nc2(means: Floats) -> records.SimplexDeviation:
    """How far the centred class means are from a simplex: cosines -1/(C-1), equal norms."""
    centred = means - means.mean(axis=0)
    norms = np.linalg.norm(centred, axis=1)
    if not norms.min() > 0:
        return records.SimplexDeviation(None, None)
    cosines = (centred @ centred.T) / np.outer(norms, norms)
    off = cosines[np.triu_indices(len(means), 1)] + 1 / (len(means) - 1)
    return records.SimplexDeviation(
        cosine_deviation=number(np.sqrt(np.mean(off**2))),
        norm_variation=number(norms.std() / norms.mean()),
    )


def effective_rank(weights: Floats) -> float:
    """exp(entropy) of weights scaled to sum to 1 (Roy & Vetterli 2007)."""
    positive = weights[weights > 0]
    p = positive / positive.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def rankme(classes: Sequence[ClassMoments]) -> float | None:
    """exp(entropy) of the singular values of all instances, uncentred (Garrido et al. 2023).

    Where the instances of a class are kept one by one and their second moments would cost more than
    4e10 multiplications, every k-th of them stands for all.
    """
    d = classes[0].dimension
    kept = sum(len(m.rows) for m in classes if m.rows is not None)
    step = max(1, int(np.ceil(kept * d**2 / _MOST_MULTIPLICATIONS)))
    # Views of the rows, with the factor by which those that are left stand for the others.
    thinned = [
        (m.rows[::step, :d], np.sqrt(m.units / len(m.rows[::step])))
        for m in classes
        if m.rows is not None
    ]
    if len(thinned) == len(classes) and sum(len(rows) for rows, _ in thinned) < d:
        together = np.concatenate([rows * factor for rows, factor in thinned])
        second = together @ together.T  # of the same eigenvalues but zeros, and smaller
    else:
        second, held = np.zeros((d, d)), list[Floats]()
        for rows, factor in thinned:
            held.append(rows * factor)
            if sum(map(len, held)) >= _HELD_ROWS:
                second, held = _with_products(second, held), []
        second = _with_products(second, held)
        for m in classes:
            if m.rows is None:
                second += m.covariance() * (m.units - 1) + m.units * np.outer(m.mean, m.mean)
    return number(effective_rank(np.sqrt(np.clip(np.linalg.eigvalsh(second), 0, None))))


def _with_products(second: Floats, held: Sequence[Floats]) -> Floats:
    """Second moments with those of further rows."""
    if not held:
        return second
    together = np.concatenate(held)
    return np.asarray(second + together.T @ together)


def class_spectrum(classes: Sequence[ClassMoments]) -> records.ClassSpectrum:
    """Shape of the spread inside a class, mean over classes.

    `participation` is (tr Sigma)^2 / tr Sigma^2 with both debiased; `effective_rank` is
    exp(entropy) of the sample covariance's eigenvalues, at most the class's instances - 1;
    `largest_share` is the share of the first 1, 2, 5 and 10 of them.
    """
    participation, ranks, shares = [], [], []
    for moments in classes:
        eigenvalues = moments.eigenvalues()
        total = float(eigenvalues.sum())
        if not total > 1e-15:
            continue
        squared = moments.squared_spread()
        if squared > 0:
            participation.append(total**2 / squared)
        ranks.append(effective_rank(eigenvalues))
        shares.append([float(eigenvalues[:k].sum()) / total for k in (1, 2, 5, 10)])
    if not ranks:
        return records.ClassSpectrum(None, None, None)
    firsts = np.mean(shares, axis=0).tolist()
    return records.ClassSpectrum(
        participation=number(np.mean(participation)) if participation else None,
        effective_rank=number(np.mean(ranks)),
        largest_share=dict(zip(("1", "2", "5", "10"), firsts, strict=True)),
    )


def uniformity_of(rows: Floats, t: float = 2.0) -> float:
    """Log of the mean over pairs of exp(-t ||x - y||^2) (Wang & Isola 2020, equation 6)."""
    n = len(rows)
    potential = np.exp(-2 * t * (1 - rows @ rows.T))
    return float(np.log((potential.sum() - np.trace(potential)) / (n * (n - 1))))


def ssem_fit(classes: Sequence[ClassMoments], decomposition: Decomposition) -> records.Ssem:
    """Delta and omega of the nearest SSEM, and the residuals that say whether it describes.

    In an exact SSEM of m classes of n instances, with V = delta^2,

        cosine within a class  a = 1 - V n/(n-1)       means' products  b = -(1 - V)/(m - 1)
        within-class variance  V                       total variance   1

    delta comes from the mean within-class cosine, not from the between-class variance, which lies
    in a flat direction of the loss. omega = V / (m (n-1)/(m n - 1)) is V over its largest value
    (every instance its own corner of one simplex); n is the harmonic mean over classes. The
    residuals are the deficit of total variance, the standard deviation of within-class variances
    over classes (less their sampling error), the root mean square of m_c.m_c' - b, and the view
    variance (in an SSEM views coincide).
    """
    within = [level.within for level in decomposition.per_class]
    cosines = 1 - np.array([each.estimate for each in within], dtype=np.float64)  # NaN for None
    factors = np.array([m.totals[COUNT_SQUARE] / m.totals[COUNT] ** 2 for m in classes])
    V = float(np.mean((1 - cosines) * (1 - factors)))
    m, n = len(classes), 1 / float(np.mean(factors))
    b = -(1 - V) / (m - 1)
    means = np.stack([classes[c].mean for c in _evenly(m, _MOST_CLASSES)])
    products = (means @ means.T)[np.triu_indices(len(means), 1)]
    noise = np.mean([((each.half_width or 0.0) / 2) ** 2 for each in within])
    spread = np.sqrt(max(0.0, float(np.var(cosines, ddof=1) - noise)))
    total = decomposition.variances.total_variance.plug_in
    residuals = {
        "total_variance_deficit": None if total is None else 1 - total,
        "class_spread": number(spread),
        "mean_product_deviation": number(np.sqrt(np.mean((products - b) ** 2))),
        "view_variance": decomposition.variances.view_variance.estimate,
    }
    large = (name for name, value in residuals.items() if value and value > _SSEM_TOLERANCE)
    poor = tuple(sentence(f"ssem.{name}") for name in large)
    reason = sentence("ssem.poor", {"residuals": poor}) if poor else sentence("ssem.fits")
    return records.Ssem(
        delta=float(np.sqrt(max(V, 0.0))),
        omega=V * (m * n - 1) / (m * (n - 1)),
        fit=records.SsemFit(not poor, reason, _SSEM_TOLERANCE, **residuals),
    )
