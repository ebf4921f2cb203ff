"""`retention`: how much of a reference's structure inside the classes an embedding keeps.

    retention = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))

inside each class, K and L the cosine Gram matrices of the embedding and of the reference (linear
CKA, Kornblith et al. 2019), each HSIC unbiased (see `_hsic`); the mean over classes that have one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from uncollapse.errors import InputError
from uncollapse.metrics._hsic import PairSums
from uncollapse.metrics._hsic_groups import grouped_hsic, summed
from uncollapse.metrics._stores import mixed
from uncollapse.metrics.moments import EXTRA, Floats, Integers, features_by_class
from uncollapse.records import ReferenceClass, ReferenceComparison, Retention, sentence
from uncollapse.samples import ByRole, Sample, checked, sample_of
from uncollapse.statistics import t_quantile

# Instances of a class that are left out in turn; their spread stands for that of all.
_LEFT_OUT = 512
# Units of a class that are permuted; the null of more is narrower by a known factor.
_PERMUTED = 64
# Squared length of residuals, and HSIC over its square, that is rounding.
_POINT, _ROUNDING = 1e-22, 1e-12
_LEAST = 4


def retention(
    embeddings: ArrayLike | Any,
    reference: ArrayLike | Any,
    labels: ArrayLike | Any,
    *,
    instances: ArrayLike | Any | None = None,
    groups: ArrayLike | Any | None = None,
    confidence: float = 0.95,
    permutations: int = 100,
    drop_invalid: bool = False,
    seed: int = 0,
) -> ReferenceComparison:
    """How much of a reference's structure inside the classes an embedding of the same rows keeps.

    Inside each class, with K_ij the cosine of rows i and j and L_ij that of the reference,

        retention = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))

    with unbiased HSIC (Song et al. 2012, equation 5): 1 for the same up to rotation and scale, 0 on
    average for unrelated rows, whatever their number. Between instances of several views K_ij is
    the mean cosine over their views; pairs inside a group are left out.

    Args:
        embeddings: (N, d) array or tensor, or (N, p, d) for p views of each of N instances.
        reference: (N, e), or (N, p, e), of the same rows in the same order.
        labels: (N,) class of each row.
        instances: (N,) instance of each row, when rows are views of instances.
        groups: (N,) what was drawn independently, when it holds several instances.
        confidence: Of every interval, in (0, 1): a jackknife that leaves out units (instances, or
            groups), with Student's t.
        permutations: Of the reference's rows inside the class, for the null; 0 leaves it out.
        drop_invalid: Drop and count unusable rows instead of refusing them.
        seed: Of permutations, and of the rows that are left out where a class has many.

    Returns:
        Retention of every class and its mean over those that have one (four units or more, and
        pairs that differ in both), each from -1 to 1.

    Raises:
        InputError: As `measure` does; also a reference of another number of rows.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> labels, base = np.repeat([0, 1], 100), rng.standard_normal((200, 8))
        >>> round(retention(2 * base, base, labels).retention.estimate, 6)
        1.0
        >>> kept = retention(base[:, :2], base, labels).retention
        >>> kept.null < kept.low < kept.estimate < kept.high < 1
        True

    Reference: Kornblith, Norouzi, Lee & Hinton 2019 (arXiv 1905.00414), there over all rows and
    with a biased HSIC.
    """
    columns = ByRole[Any](labels=labels, instances=instances, groups=groups)
    sample = checked(sample_of(embeddings, columns, reference=reference), drop_invalid=drop_invalid)
    drawing = Drawing(confidence, permutations, seed)
    rows = enumerate(paired_rows(sample))
    parts = [part_of_class(*of_class, drawing.of(number)) for number, of_class in rows]
    names = [sample.labels.names[code] for code in np.unique(sample.labels.codes)]
    classes, whole = judged(names, parts, drawing)
    assert sample.reference is not None  # it was given above
    return ReferenceComparison(
        name="reference",
        rows=len(sample.matrix),
        joined_by="position",
        retention=whole,
        classes=classes,
        dimension=sample.reference.shape[1],
        confidence=confidence,
        permutations=permutations,
        seed=seed,
        dropped=sample.dropped,
    )


@dataclass(frozen=True)
class Drawing:
    """What intervals and nulls are drawn by."""

    confidence: float = 0.95
    permutations: int = 100
    seed: int = 0
    number: int = 0  # of the class

    def of(self, number: int) -> Drawing:
        """The same for one class, whose permutations are its own."""
        return replace(self, number=number)

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise InputError("confidence in (0, 1)", f"{self.confidence}", "0.95 is usual")
        if self.permutations < 0 or self.seed < 0:
            found = f"permutations {self.permutations}, seed {self.seed}"
            raise InputError("permutations and seed >= 0", found, "give whole numbers from 0")


@dataclass(frozen=True)
class PartOfClass:
    """What was found in one class."""

    units: int
    estimate: float | None
    reason: str = ""
    influences: Floats | None = None  # of units on the estimate; their squares add to its variance
    codes: Integers | None = None  # of those units, where groups may lie in several classes
    null: Floats | None = None  # the estimate of each permutation


def paired_rows(sample: Sample) -> Iterator[tuple[Floats, Floats, Integers | None]]:
    """Of each class: instances (n, d), those of the reference (n, e), groups of them or None."""
    assert sample.reference is not None  # the callers give one
    both = replace(sample, matrix=sample.reference)
    for mine, others in zip(features_by_class(sample), features_by_class(both), strict=True):
        yield mine[1][:, :-EXTRA], others[1][:, :-EXTRA], mine[2]


def part_of_class(x: Floats, y: Floats, groups: Integers | None, drawing: Drawing) -> PartOfClass:
    """Retention of one class whose instances are all here."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    if groups is None:
        kept = drawn(np.arange(len(x)), _LEFT_OUT, drawing.seed)
        sums = ClassSums(PairSums.of(x, y), PairSums.of(x, x), PairSums.of(y, y))
        return part_of_sums(sums, x[kept], y[kept], drawing)
    names, codes = np.unique(groups, return_inverse=True)
    values = [grouped_hsic(*pair, codes) for pair in ((x, y), (x, x), (y, y))]
    hsics = _Hsics(*(np.array([value[k] for value in values]) for k in (0, 1)))
    # The null as if groups were rows: exact where the instances of a group are alike, else wide.
    x_g, y_g = (summed(rows, codes) / np.bincount(codes)[:, None] for rows in (x, y))
    return _part(len(names), hsics, (_spread(x), _spread(y)), (x_g, y_g), drawing, names)


@dataclass(frozen=True)
class ClassSums:
    """Sums over a class that its three HSIC are made of."""

    both: PairSums
    own: PairSums
    reference: PairSums

    @property
    def pairs(self) -> tuple[PairSums, PairSums, PairSums]:
        """HSIC(K, L), HSIC(K, K) and HSIC(L, L)."""
        return self.both, self.own, self.reference


def part_of_sums(sums: ClassSums, x: Floats, y: Floats, drawing: Drawing) -> PartOfClass:
    """Retention of one class from its sums and some of its instances, drawn at random."""
    sides = ((x, y), (x, x), (y, y))
    whole = np.array([pair.value() for pair in sums.pairs])
    without = [pair.without_each(*rows) for pair, rows in zip(sums.pairs, sides, strict=True)]
    spreads = sums.own.squares[0] / sums.own.n, sums.reference.squares[0] / sums.own.n
    hsics = _Hsics(whole, np.array(without))
    return _part(int(sums.both.n), hsics, spreads, (x, y), drawing)


def _spread(rows: Floats) -> float:
    return float(np.mean(np.einsum("ij,ij->i", rows, rows)))


class _Hsics(NamedTuple):
    """HSIC(K, L), HSIC(K, K) and HSIC(L, L)."""

    whole: Floats  # (3,)
    without: Floats  # (3, units) without each of some of the units


def _cka(hsics: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(hsics[0] / np.sqrt(hsics[1] * hsics[2]))


def _part(
    units: int,
    hsics: _Hsics,
    spreads: tuple[float, float],
    drawn_rows: tuple[Floats, Floats],
    drawing: Drawing,
    codes: Integers | None = None,
) -> PartOfClass:
    """Estimate, influences and null of one class; `codes` name the units of the influences."""
    if units < _LEAST:
        return PartOfClass(units, None, sentence("reference.few", {"units": units}))
    for side, spread, own in zip(("embedding", "reference"), spreads, hsics.whole[1:], strict=True):
        if not (spread > _POINT and own > _ROUNDING * spread**2):
            return PartOfClass(units, None, sentence(f"reference.alike-{side}"))
    return PartOfClass(
        units,
        float(np.clip(_cka(hsics.whole), -1, 1)),
        influences=_influences(units, _cka(hsics.without)),
        codes=codes,
        null=_null(units, *drawn_rows, drawing),
    )


def _influences(units: int, without: Floats) -> Floats | None:
    """Jackknife influences of units, scaled so that their squares add up to the variance.

    (G - 1)/G sum_g (r_-g - r)^2, of G units of which some were left out in turn.
    """
    if units <= _LEAST or not np.isfinite(without).all():
        return None
    scale = np.sqrt((units - 1) / len(without))
    return np.asarray(scale * (without - without.mean()))


def _null(units: int, x: Floats, y: Floats, drawing: Drawing) -> Floats | None:
    """Retention with the reference's rows permuted.

    With Gram matrices centred so that rows sum to 0 off the diagonal (Szekely & Rizzo 2013), it is
    their cosine, whose mean over permutations is 0 and whose variance 2/(n (n - 3)), for all data;
    so the shape of it comes from some rows, and its size from the number of all.
    """
    if not drawing.permutations:
        return None
    x, y = x[:_PERMUTED], y[:_PERMUTED]
    n = len(x)
    K, L = _centred_gram(x), _centred_gram(y)
    length = np.sqrt(np.sum(K * K) * np.sum(L * L))
    if n < _LEAST or not length > 0:
        return None
    rng = np.random.default_rng([drawing.seed, drawing.number])
    order = rng.permuted(np.tile(np.arange(n), (drawing.permutations, 1)), axis=1)
    values = np.einsum("ij,pij->p", K, L[order[:, :, None], order[:, None, :]]) / length
    return np.asarray(values * np.sqrt(n * (n - 3) / (units * (units - 3))))


def _centred_gram(rows: Floats) -> Floats:
    n = len(rows)
    gram = rows @ rows.T
    np.fill_diagonal(gram, 0)
    sums = gram.sum(axis=0)
    gram += sums.sum() / ((n - 1) * (n - 2)) - (sums[:, None] + sums) / (n - 2)
    np.fill_diagonal(gram, 0)
    return np.asarray(gram)


def drawn(numbers: Integers, most: int, seed: int) -> Integers:
    """Positions of at most so many instances, drawn by the seed and by their number in the class.

    A stream draws the same ones, whatever its parts.
    """
    keys = mixed(numbers.astype(np.uint64) + np.uint64((seed + 1) << 32))
    return np.sort(np.argsort(keys, kind="stable")[:most])


def judged(
    names: Sequence[Any], parts: Sequence[PartOfClass], drawing: Drawing
) -> tuple[tuple[ReferenceClass, ...], Retention]:
    """Retention of every class, and its mean over the classes that have one."""
    known = [part for part in parts if part.estimate is not None]
    classes = tuple(
        ReferenceClass(name, _of([part], drawing), part.units, part.reason)
        for name, part in zip(names, parts, strict=True)
    )
    return classes, _of(known, drawing)


def _of(parts: Sequence[PartOfClass], drawing: Drawing) -> Retention:
    """Mean retention of some classes with its interval and the upper end of its null."""
    estimates = [part.estimate for part in parts if part.estimate is not None]
    if not estimates:
        return Retention()
    estimate = float(np.mean(estimates))
    nulls = [part.null for part in parts if part.null is not None]
    null = float(np.quantile(np.mean(nulls, axis=0), 0.95)) if nulls else None
    low, high = _ends(parts, estimate, drawing.confidence)
    return Retention(estimate, low, high, null)


def _ends(
    parts: Sequence[PartOfClass], estimate: float, confidence: float
) -> tuple[float | None, float | None]:
    """Student's interval; classes add up, a group that lies in several counts in all at once."""
    if all(part.influences is None for part in parts):
        return None, None
    # Where nothing can be left out, the variance of unrelated rows stands in.
    variances = np.array(
        [
            2 / (part.units * (part.units - 3))
            if part.influences is None
            else part.influences @ part.influences
            for part in parts
        ]
    )
    freedom = np.array([part.units - 1.0 for part in parts])
    total = float(variances.sum())
    degrees = total**2 / float(np.sum(variances**2 / freedom)) if total > 0 else 1.0
    together = [(p.codes, p.influences) for p in parts if p.codes is not None]
    if len(together) == len(parts) > 1:
        codes = np.concatenate([codes for codes, _ in together])
        influences = np.concatenate([each for _, each in together if each is not None])
        if len(codes) == len(influences):
            by_group = np.bincount(codes, weights=influences)
            total = float(by_group @ by_group)
            degrees = min(degrees, len(np.unique(codes)) - 1.0)
    half = t_quantile(degrees, confidence) * np.sqrt(total) / len(parts)
    return max(-1.0, estimate - float(half)), min(1.0, estimate + float(half))
