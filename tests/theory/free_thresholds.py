"""Where the optimum leaves collapse, derived a second time, for balanced class counts.

The claim to derive: with n instances in each of m classes, the collapsed simplex (s = a = 1,
b = -1/(m-1)) is optimal  <=>  alpha_s <= alpha <= alpha_c.

1. Only two directions matter. The expected loss F is convex in the Gram matrix and invariant under
   permuting views, instances of a class and (equal counts) classes; so the collapsed point is
   optimal iff F does not fall to first order towards any invariant feasible point. These are
   (i, v) = (instance part, view part) with
       s = 1 - p v/(p-1),   a = 1 - v - i n/(n-1),   b >= -(1 - i - v)/(m-1),
   F rises with b, so b takes its bound, and the first-order change is i F_i + v F_v:
   optimal iff F_i >= 0 and F_v >= 0.

2. One anchor whose class has K instances in a batch of B. At collapse, with
   x = exp(-m/((m-1) tau)) and e = 1 if self pairs are excluded else 0, its denominator is
   proportional to D = p K - e + p (B - K) x. With kappa = n/(n-1), the derivative of its
   log-denominator and of its positive cosines along i, both times tau/kappa:
       log-denominator   -h,   h = p [(K - 1) - (B - K) x / (kappa (m-1))] / D
       cosine            -1 to another instance of the class,   0 to an own view
   and along v, times tau:
       log-denominator   -g,   g = p [K - (B - K) x/(m-1)] / D
       cosine            -1 to another instance;  to own views -p/(p-1) ("exclude"), and
                         -1 on average ("include", one own pair in p being the anchor itself)

3. Let w_sup and w_self be the weights that a batch gives an anchor in the two terms. E sums over
   the anchors of a batch and averages over batches.
       F_i >= 0  <=>  (1-alpha) S >= alpha T,      S = E w_sup (1 - h),   T = E w_self h
       F_v >= 0  <=>  alpha T_v >= (1-alpha) S_v,  S_v = E w_sup (g - 1), T_v = E w_self (r - g)
   with r = p/(p-1) ("exclude") or 1 ("include"). Hence
       alpha_c = S/(S + T) where T > 0; where T <= 0 no alpha spreads instances;
       alpha_s = S_v/(S_v + T_v) where S_v > 0; where S_v <= 0 no alpha splits views (T_v >= 0).
   Under "include" g <= 1, so views never split.

4. Weights. Every instance has equally many self pairs, so w_self = 1/(p B) in both reductions.
       "anchors", "zero"   w_sup = [K >= 2]/(p B)
       "anchors", "drop"   w_sup = [K >= 2]/(p sum_c k_c [k_c >= 2])
       "pairs"             w_sup = (K - 1)/(p sum_c k_c (k_c - 1))
   (nothing in a batch where every k_c <= 1).
   The size-biased K of "zero", and of T, is 1 + Hypergeometric(mn - 1, n - 1, B - 1) in random
   batches. "drop" and "pairs" need the whole composition, as their denominators join the classes.

5. Every K = n_b >= 2, k classes in a batch, B = k n_b: S = 1 - h, T = h, S_v = g - 1, T_v = r - g:
       alpha_c = 1 - p [(n_b-1) - n_b x (k-1)/(kappa (m-1))] / (p n_b - e + p n_b (k-1) x)
       alpha_s = (p-1) { p n_b [1 - x (k-1)/(m-1)] / (p n_b - 1 + p n_b (k-1) x) - 1 }
   For n_b = 1 there is no supervised pair: S = S_v = 0 and T < 0 < T_v, always collapsed. The
   closed forms do not say so: alpha_c > 1 happens to, but alpha_s may come out positive.

6. alpha_s <= alpha_c for every sampler: as x -> 0, r - g = h/(p-1) and g - 1 = (1-h)/(p-1) for
   every K, so both are equal then; and for x > 0 h and g are smaller, which lowers T, S_v and
   raises S, T_v. So views and instances never both leave the collapsed point.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from free_embeddings import Problem, batches, gram_loss, minimise_symmetric
from scipy.stats import hypergeom

from uncollapse.records import BalancedBatch, RandomBatch


def thresholds(problem: Problem) -> tuple[float, float]:
    """(alpha_s, alpha_c) of balanced counts from the expectations of the note; inf for never."""
    m, n = len(problem.counts), problem.counts[0]
    if set(problem.counts) != {n}:
        raise ValueError("equal counts only")
    S = T = S_v = T_v = 0.0
    for probability, subset in batches(problem.counts, problem.batch, by_symmetry=True):
        k = np.bincount(np.array(subset) // n, minlength=m)
        K = k[k > 0].astype(float)
        h, g, r = _slopes(K, float(k.sum()), m, n, problem)
        paired = K >= 2
        if problem.reduction == "pairs":
            sup = K * (K - 1) / max((K * (K - 1)).sum(), 1.0)
        elif problem.anchors_without_positives == "drop":
            sup = K * paired / max((K * paired).sum(), 1.0)
        else:
            sup = K * paired / K.sum()
        own = K / K.sum()
        S += probability * sup @ (1 - h)
        T += probability * own @ h
        S_v += probability * sup @ (g - 1)
        T_v += probability * own @ (r - g)
    collapse = S / (S + T) if T > 0 else math.inf
    # Under "include" S_v < 0; where S_v <= 0 the quotient may be positive and means nothing.
    splitting = S_v / (S_v + T_v) if S_v > 0 else -math.inf
    return splitting, collapse


def _slopes(
    K: np.ndarray, B: float, m: int, n: int, problem: Problem
) -> tuple[np.ndarray, np.ndarray, float]:
    """h, g and r of point 2 for anchors whose class has K instances in the batch of B."""
    p = problem.views
    excluded = problem.self_pairs == "exclude"
    x = math.exp(-m / ((m - 1) * problem.tau))
    D = p * K - excluded + p * (B - K) * x
    h = p * ((K - 1) - (B - K) * x * (n - 1) / (n * (m - 1))) / D
    g = p * (K - (B - K) * x / (m - 1)) / D
    return h, g, p / (p - 1) if excluded and p > 1 else 1.0


def closed_form(problem: Problem) -> tuple[float, float]:
    """(alpha_s, alpha_c) of point 5: full batch, or n_b >= 2 of each of k classes."""
    m, n, p = len(problem.counts), problem.counts[0], problem.views
    n_b, k = n, m
    if isinstance(problem.batch, BalancedBatch):
        n_b, k = problem.batch.per_class, problem.batch.classes or m
    e = problem.self_pairs == "exclude"
    x = math.exp(-m / ((m - 1) * problem.tau))
    share = (k - 1) / (m - 1)
    D = p * n_b - e + p * n_b * (k - 1) * x
    collapse = 1 - p * ((n_b - 1) - n_b * x * share * (n - 1) / n) / D
    splitting = (p - 1) * (p * n_b * (1 - x * share) / D - 1) if e else -math.inf
    return splitting, collapse


def zero_by_hypergeometric(problem: Problem) -> float:
    """alpha_c of random batches under "anchors", "zero" from the distribution of K alone."""
    if not isinstance(problem.batch, RandomBatch):
        raise TypeError("random batches only")
    m, n, B = len(problem.counts), problem.counts[0], problem.batch.size
    others = np.arange(min(n, B))
    weight = hypergeom(m * n - 1, n - 1, B - 1).pmf(others)
    h, _, _ = _slopes(others + 1.0, float(B), m, n, problem)
    S, T = weight[1:] @ (1 - h[1:]), weight @ h
    return float(S / (S + T))


def collapsed_eigenvalue(problem: Problem) -> float:
    """lambda_min(C - diag y) at the collapsed simplex: below 0 where it is not the optimum.

    With y_i = (C G)_ii, forced by stationarity, the simplex G is the optimum iff C - diag y is psd
    (free_embeddings.duality_gap), so its sign decides without any minimisation.
    """
    classes, _ = problem.labels()
    m = len(problem.counts)
    G = np.where(classes[:, None] == classes[None, :], 1.0, -1 / (m - 1))
    C = gram_loss(G, problem)[1]
    return float(np.linalg.eigvalsh(C - np.diag((C * G).sum(1)))[0])


def bisect(
    is_above: Callable[[float], bool], low: float, high: float, width: float = 1e-6
) -> float:
    """The alpha at which `is_above` turns true."""
    while high - low > width:
        middle = (low + high) / 2
        low, high = (low, middle) if is_above(middle) else (middle, high)
    return (low + high) / 2


def bisected_thresholds(
    problem: Problem, inside: float, *, minimise: bool, width: float = 1e-6
) -> tuple[float, float]:
    """(alpha_s, alpha_c) by bisection from an alpha inside the collapse phase.

    `minimise`: by the instance and view parts of the minimised loss; else by the eigenvalue.
    """

    def leaves(alpha: float) -> bool:
        at = problem.at(alpha=alpha)
        if not minimise:
            return collapsed_eigenvalue(at) < -1e-12
        found = minimise_symmetric(at, starts=1)
        return max(max(found.instance), max(found.view)) > 1e-6

    collapse = bisect(leaves, inside, 1.0, width) if leaves(1.0) else math.inf
    if problem.views == 1 or not leaves(0.0):
        return -math.inf, collapse
    return bisect(lambda alpha: not leaves(alpha), 0.0, inside, width), collapse
