"""`decode_loss`: what a value at which the loss stands still means.

In a batch of m classes with n_b instances each, p views of an instance, an anchor has itself, p - 1
own views (cosine s), p (n_b - 1) mates (cosine a) and p n_b (m - 1) others (cosine b). Every
published loss is a weighted sum of terms

    mean over positives j of  log D_j - cos_j / tau,    D_j = sum of e^(cos/tau) in its denominator

and differs from the next in which of the four are positives, which stand in the denominator, and
what the code multiplies it by. A state is a triple (s, a, b), so its loss is one evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any, NamedTuple, get_args

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln, logsumexp

from uncollapse.errors import InputError
from uncollapse.records import (
    DecodedLoss,
    LossFactor,
    LossName,
    LossOfState,
    LossState,
    OtherReading,
)
from uncollapse.theory._program import Array

# Of SupContrast and its descendants: base_temperature.
BASE_TEMPERATURE = 0.07
SELF, OWN, MATES, OTHERS = range(4)
_REST = (OWN, MATES, OTHERS)


class _Term(NamedTuple):
    """Positives, and what stands in the denominator beside the positive itself."""

    weight: float
    positives: tuple[int, ...]
    denominator: tuple[int, ...]
    alone: bool = False  # no other positive in the denominator: that of SINCERE


def _terms(convention: LossName, alpha: float) -> tuple[_Term, ...]:
    supcon = _Term(1.0, (OWN, MATES), _REST)
    if convention in ("supcon", "supcontrast"):
        return (supcon,)
    if convention == "nt-xent":
        return (_Term(1.0, (OWN,), _REST),)
    if convention == "sincere":
        return (_Term(1.0, (OWN, MATES), (OTHERS,), alone=True),)
    if convention == "l-spread":
        inside = _Term(alpha, (OWN,), (OWN, MATES))
        return (supcon._replace(weight=1 - alpha), inside)
    if convention == "ssem-cifar":
        every = (SELF, *_REST)
        return (_Term(1 - alpha, (MATES,), every), _Term(alpha, (SELF, OWN), every))
    return (_Term(1 - alpha, (MATES,), _REST), _Term(alpha, (OWN,), _REST))


@dataclass(frozen=True)
class _Batch:
    """m equal classes of n_b instances, n_b not necessarily whole, p views."""

    classes: float
    per_class: float
    views: int

    @property
    def counts(self) -> Array:
        """How many of each the anchor sees: itself, own views, mates, others."""
        m, n, p = self.classes, self.per_class, self.views
        return np.array([1.0, p - 1, p * (n - 1), p * n * (m - 1)])

    def cosines(self, fractions: Array) -> Array:
        """1, s, a, b from the fractions of the norm between views, instances, classes.

        The rest of the norm is the mean of all embeddings.
        """
        view, instance, between = fractions
        common = 1 - view - instance - between
        s = 1 - view * self.views / (self.views - 1) if self.views > 1 else 1.0
        spread = instance * self.per_class / (self.per_class - 1) if self.per_class > 1 else 0.0
        apart = between / (self.classes - 1) if self.classes > 1 else 0.0
        return np.array([1.0, s, 1 - view - spread, common - apart])


def _loss(terms: tuple[_Term, ...], counts: Array, logits: Array, log_mean: Array) -> float:
    """The terms at given mean logits and logarithms of the mean of their exponentials."""
    with np.errstate(divide="ignore"):
        log_sum = np.log(counts) + log_mean
    total = 0.0
    for term in terms:
        positives = np.array(term.positives)
        weight = term.weight * counts[positives]
        if not weight.sum() or not term.weight:
            continue
        below = logsumexp(log_sum[list(term.denominator)])
        each = np.logaddexp(log_mean[positives], below) if term.alone else below
        total += float(np.sum(weight * (each - logits[positives])) / counts[positives].sum())
    return total


def _optimum(terms: tuple[_Term, ...], batch: _Batch, temperature: float) -> float:
    """The least value over all embeddings: convex in the fractions, which lie in a simplex."""

    def value(fractions: Array) -> float:
        logits = batch.cosines(fractions) / temperature
        return _loss(terms, batch.counts, logits, logits)

    inside: Any = {"type": "ineq", "fun": lambda fractions: 1 - np.sum(fractions)}
    starts = (np.full(3, 0.25), np.array([0.02, 0.02, 0.95]), np.array([0.02, 0.9, 0.07]))
    options: Any = {"maxiter": 500, "ftol": 1e-14}
    least = value(np.array([0.0, 0.0, 1.0]))
    for start in starts:
        found: Any = minimize(
            value, start, bounds=[(0, 1)] * 3, constraints=inside, method="SLSQP", options=options
        )
        least = min(least, float(found.fun))
    return least


def _log_mean_exp(temperature: float, dimension: int) -> float:
    """log E e^(cos/tau) of two random directions: 0F1(; d/2; 1/(4 tau^2)), by its series."""
    b, z = dimension / 2, 1 / (4 * temperature**2)
    k = np.arange(int(60 + 6 * np.sqrt(z)))
    return float(logsumexp(k * np.log(z) - gammaln(k + b) + gammaln(b) - gammaln(k + 1)))


def decode_loss(
    value: float,
    *,
    batch: int,
    temperature: float,
    convention: LossName = "supcl",
    views: int = 2,
    alpha: float | None = None,
    classes: int | None = None,
    dimension: int = 128,
    factor: float | None = None,
    tolerance: float | None = None,
) -> DecodedLoss:
    """What a value at which the loss stands still means.

    The loss of identical embeddings is the logarithm of what the denominator counts, whatever the
    temperature: log(N - 1) where self pairs are excluded, N = views x batch. SupContrast and its
    descendants multiply it by temperature / 0.07.

    Args:
        value: The value, in nats, as the code printed it.
        batch: Instances in the batch, at least 2; not multiplied by `views`.
        temperature: tau, 0.001 to 1000.
        convention: The loss. "supcl" is ours, `ssem_imagenet_loss` the same in a batch of equal
            classes; docs/conventions.md compares them.
        views: Views of an instance, at least 1.
        alpha: Weight of the self-supervised term of "supcl" and the two of SSEM (default 0), or of
            the class-conditional one of "l-spread" (default .5).
        classes: Classes in the batch, at least 2, taken as of equal size. Without them nothing is
            said of collapse, nor of the optimum but for "nt-xent", which knows no classes.
        dimension: Dimension of the random embeddings, at least 2.
        factor: What the code multiplies the loss by. Default: temperature / 0.07 for
            "supcontrast", else 1.
        tolerance: What counts as equal. Default: half a unit of the value's last digit, of the
            second behind the point where it has fewer.

    Raises:
        InputError: A value is out of range, or one view has no pair of a term that has weight.

    Examples:
        >>> found = decode_loss(6.920, batch=64, temperature=0.1, convention="supcontrast")
        >>> [(state.state, round(state.loss, 3)) for state in found.states if state.matches]
        [('identical', 6.92)]

    Source: the definitions of docs/conventions.md; the optimum by the Gram matrix's convexity
    (docs/theory.md).
    """
    _check(value, batch, temperature, convention, views, alpha, classes, dimension, factor)
    weight = (0.5 if convention == "l-spread" else 0.0) if alpha is None else alpha
    terms = _terms(convention, weight)
    _check_pairs(terms, _batch(batch, views, classes), convention)
    scale = _factor(convention, temperature) if factor is None else factor
    near = _half_digit(value) if tolerance is None else tolerance
    losses = _losses(terms, batch, views, temperature, classes, dimension)
    states = tuple(
        LossOfState(name, scale * loss, abs(scale * loss - value) <= near)
        for name, loss in losses.items()
    )
    seen = any(state.matches for state in states)
    return DecodedLoss(
        value=value,
        tolerance=near,
        batch=batch,
        views=views,
        embeddings=batch * views,
        temperature=temperature,
        alpha=weight if convention in _WITH_ALPHA else None,
        convention=convention,
        factor=scale,
        classes=classes,
        dimension=dimension,
        states=states,
        others=() if seen else _elsewhere(value, near, batch, views, temperature),
    )


# Another convention is named only by a value whose last digit is at most this part of it.
_COARSEST = 0.05
_WITH_ALPHA = ("supcl", "l-spread", "ssem-cifar", "ssem-imagenet")


def _factor(convention: LossName, temperature: float) -> float:
    return temperature / BASE_TEMPERATURE if convention == "supcontrast" else 1.0


def _half_digit(value: float) -> float:
    """Half a unit of the last digit of its shortest text, of the second where it has fewer."""
    digits = len(np.format_float_positional(value, trim="-").partition(".")[2])
    return 0.5000001 * 10.0 ** -max(digits, 2)


def _batch(batch: int, views: int, classes: int | None) -> _Batch:
    """Without classes, one of all: who is a mate makes no difference to what is said then."""
    return _Batch(classes, batch / classes, views) if classes else _Batch(1, batch, views)


def _losses(
    terms: tuple[_Term, ...],
    batch: int,
    views: int,
    temperature: float,
    classes: int | None,
    dimension: int,
) -> dict[LossState, float]:
    """By state, the factor not applied."""
    # Where classes are not known, every instance is as good as one of its own.
    known = _Batch(classes or batch, batch / (classes or batch), views)
    needs_classes = any(MATES in t.positives or MATES not in t.denominator for t in terms)
    whole = _batch(batch, views, classes)
    same = np.full(4, 1 / temperature)
    spread = _log_mean_exp(temperature, dimension)
    drawn = np.array([1 / temperature, spread, spread, spread])
    logits = np.array([1 / temperature, 0, 0, 0])
    found: dict[LossState, float] = {}
    if classes or not any(t.alone or OTHERS not in t.denominator for t in terms):
        found["identical"] = _loss(terms, whole.counts, same, same)
        found["random"] = _loss(terms, whole.counts, logits, drawn)
    if classes:
        at = known.cosines(np.array([0.0, 0.0, 1.0])) / temperature
        found["collapsed"] = _loss(terms, known.counts, at, at)
    if classes or not needs_classes:
        found["optimum"] = _optimum(terms, known, temperature)
    return found


def _elsewhere(
    value: float, near: float, batch: int, views: int, temperature: float
) -> tuple[OtherReading, ...]:
    """Conventions, factors and a size under which identical embeddings have this loss.

    The size is that of a batch whose views were counted already. A value of few digits has many
    such readings, and gets none.
    """
    if near > _COARSEST * abs(value):
        return ()
    found = []
    for N in dict.fromkeys((batch * views, max(batch, 3))):
        factors: dict[LossFactor, float] = {
            "1": 1.0,
            "temperature / 0.07": temperature / BASE_TEMPERATURE,
            "1 / embeddings": 1 / N,
        }
        bases: dict[LossName, float] = {"supcon": log(N - 1), "ssem-cifar": log(N)}
        found += [
            OtherReading(name, scale, label, loss * scale, N)
            for name, loss in bases.items()
            for label, scale in factors.items()
            if abs(loss * scale - value) <= near
        ]
    return tuple(found)


def _check_pairs(terms: tuple[_Term, ...], batch: _Batch, convention: str) -> None:
    """Refuse a batch in which a term that has weight has no positive pair."""
    for term in terms:
        if term.weight and not batch.counts[list(term.positives)].sum():
            more = OWN in term.positives
            raise InputError(
                f"a positive pair in the batch for each term of {convention}",
                "one view of an instance" if more else "one instance of a class",
                "give views=2 or more" if more else "give fewer classes or a larger batch",
            )


def _check(
    value: float,
    batch: int,
    temperature: float,
    convention: str,
    views: int,
    alpha: float | None,
    classes: int | None,
    dimension: int,
    factor: float | None,
) -> None:
    known = get_args(LossName)
    rules = (
        (np.isfinite(value), "a finite loss", f"{value!r}", "give the value as it was printed"),
        (batch >= 2, "a batch of at least 2 instances", f"{batch}", "do not multiply by the views"),
        (
            1e-3 <= temperature <= 1e3,
            "a temperature from 0.001 to 1000",
            f"temperature = {temperature!r}",
            "common values lie between 0.05 and 1",
        ),
        (convention in known, f"convention as one of {', '.join(known)}", convention, "name one"),
        (views >= 1, "at least one view", f"views = {views}", "give the views of an instance"),
        (
            views * batch > 2,
            "at least three embeddings",
            f"{views * batch}",
            "with one other embedding the loss is 0 everywhere",
        ),
        (
            alpha is None or 0 <= alpha <= 1,
            "alpha in [0, 1]",
            f"alpha = {alpha!r}",
            "give a weight between 0 and 1",
        ),
        (
            classes is None or 2 <= classes <= batch,
            f"from 2 to {batch} classes in the batch",
            f"classes = {classes}",
            "count the classes that a batch holds",
        ),
        (dimension >= 2, "a dimension of at least 2", f"{dimension}", "give the embedding's width"),
        (
            factor is None or (np.isfinite(factor) and factor > 0),
            "a factor above 0",
            f"factor = {factor!r}",
            "give what the code multiplies the loss by",
        ),
    )
    for holds, expected, found, remedy in rules:
        if not holds:
            raise InputError(expected, str(found), remedy)
