"""Retention inside the classes of a batch: its value and gradient, from sums over each class.

With instances x_i of one embedding and y_i of another, both centred in their class of n, and
p_i = |x_i|^2, q_i = |y_i|^2, unbiased HSIC (Song et al. 2012, equation 5) is

    n (n-3) H(x, y) = |X'Y|^2 - n/(n-2) sum p_i q_i + sum p_i sum q_i / ((n-1)(n-2))
    retention r = H(x, y) / sqrt(H(x, x) H(y, y))

and with a = 1 / sqrt(H(x, x) H(y, y)), b = -r / H(x, x), W = a YY' + b XX', w its diagonal,

    n (n-3)/2 dr/dx_i = (WX)_i + sum_j w_j x_j / (n-2) + (sum_j w_j/(n-1) - n w_i) x_i / (n-2).

Nothing here is larger than the rows of a class and its X'X, X'Y, Y'Y. A class of fewer instances
than these have columns takes XX' and YY' instead, which are then smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.linalg import vecdot

from uncollapse.losses._engine.arguments import precise_dtype
from uncollapse.losses._engine.processes import Processes

# Squared length of centred rows, and H over its square, that are rounding.
_POINT = {torch.float64: 1e-22, torch.float32: 1e-12}
_ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-6}
_LONG_HALF = 100  # Rows from which two halves are cheaper than the whole.
# Multiplications of padding that take no longer than some classes by themselves would.
_PADDED = 1 << 25
# Numbers of such classes at most, unless one has more.
_TOGETHER = {"cpu": 1 << 20, "other": 1 << 24}


@dataclass(frozen=True)
class OwnClass:
    """A class of the batch: how many instances it has, and where this process has some."""

    size: int  # On all processes.
    own: slice  # Of this process's instances, which are sorted by class.

    @property
    def here(self) -> int:
        """Instances on this process."""
        return int(self.own.stop - self.own.start)


@dataclass(frozen=True)
class Retained:
    """Retention of some classes; 0 with weight 0 where instances are alike on one side."""

    values: Tensor  # (C,) float64
    weights: Tensor  # (C,) float64
    index: Tensor  # (n,) int64, this process's instances in these classes.
    gradient: Tensor | None  # (n, d), of sum_c weight_c r_c in them.


@dataclass(frozen=True)
class Instances:
    """One embedding of this process's instances: row index_i of `rows` times scale_i."""

    rows: Tensor  # (b, d) in any dtype and order.
    index: Tensor  # (K,) int64, sorted by class.
    scales: Tensor  # (b,) in the dtype of the computation.

    def put(self, places: Tensor, here: Tensor, into: Tensor) -> None:
        """Into (C, k, d): instances at (C, k) places, times (C, k) of 1 and 0."""
        index = self.index.index_select(0, places.flatten())
        factors = self.scales.index_select(0, index).view(places.shape).mul_(here)
        rows = self.rows.index_select(0, index).view(into.shape)
        torch.mul(rows, factors[..., None], out=into)


def retained(
    x: Instances,
    y: Instances,
    classes: Sequence[OwnClass],
    power: int,
    processes: Processes | None,
    *,
    with_gradient: bool,
) -> Iterator[Retained]:
    """Retention of classes, some at a time, each of weight 1, n or n (n-1) (power 0, 1 or 2).

    Args:
        x: Of d dimensions; means of unit views.
        y: Of e dimensions, the same of the reference.
        classes: Of `LEAST` instances or more on all processes; the same on each.
        power: See above.
        processes: Those whose batch it is; sums over a class are taken over all of them.
        with_gradient: Whether the gradient in x is asked for.
    """
    device, dtype, d, e = x.scales.device, x.scales.dtype, x.rows.shape[1], y.rows.shape[1]
    together = _TOGETHER.get(device.type, _TOGETHER["other"])
    for bucket in _buckets(classes, d, e, together, alone=processes is None):
        place = _Place.of(bucket, device)
        n, both = place.n, place.centred(x, y, processes)
        by_instances = processes is None and _is_short(bucket, d, e)
        products: _Products = (
            _OfInstances(both, d) if by_instances else _OfDimensions(both, d, processes)
        )
        norms = _Norms(*products.norms())
        hsics, spreads = norms.hsics(products.squares(), n, processes)
        xy, own = hsics[0], hsics[1:]
        differ = (spreads > _POINT[dtype]) & (own > _ROUNDING[dtype] * spreads.square())
        alike = ~differ.all(dim=0)
        own.masked_fill_(alike, 1)
        lengths = own.prod(dim=0).sqrt_()
        values = (xy / lengths).clamp_(-1, 1).masked_fill_(alike, 0)
        weights = place.weights(power).masked_fill_(alike, 0)
        gradient = None
        if with_gradient:
            scale = weights / (n * (n - 3)).mul_(0.5)
            a, b = scale / lengths, (scale * values).div_(own[0]).neg_()
            gradient = _gradient(both[..., :d], norms, products, (a, b), n, processes)
            gradient = gradient.flatten(0, 1).index_select(0, place.filled)
        yield Retained(values, weights, place.index.flatten()[place.filled], gradient)


def _gradient(
    x: Tensor,
    norms: _Norms,
    products: _Products,
    factors: tuple[Tensor, Tensor],
    n: Tensor,
    processes: Processes | None,
) -> Tensor:
    """(C, k, d): see above; the factors are a and b times the weight, 0 where there is none."""
    a, b = (factor.to(x.dtype)[:, None] for factor in factors)
    n = n.to(x.dtype)[:, None]
    w = a * norms.q + b * norms.p
    common = torch.linalg.vecdot(w[..., None], x, dim=1)
    both = _total(processes, torch.cat([common, w.sum(1, keepdim=True)], dim=1))
    own = (both[:, -1:] / (n - 1) - n * w) / (n - 2)
    gradient = products.applied(a, b)
    gradient.addcmul_(own[..., None], x)
    return gradient.add_((both[:, :-1] / (n - 2))[:, None])


def _total(processes: Processes | None, *parts: Tensor) -> Any:
    """Each part summed over the processes; one part alone as it is."""
    if processes is not None:
        parts = processes.summed(parts)
    return parts[0] if len(parts) == 1 else parts


def _buckets(
    classes: Sequence[OwnClass], d: int, e: int, together: int, *, alone: bool
) -> Iterator[list[OwnClass]]:
    """Classes of nearly one size together, as many as do not take too much memory."""
    bucket: list[OwnClass] = []
    work = 0  # Multiplications of the bucket's classes without padding.
    for each in sorted(classes, key=lambda each: each.size):
        is_short = alone and _is_short([each], d, e)
        numbers = 2 * each.size**2 if is_short else d * d + d * e + e * e
        numbers += each.size * (d + e)
        own = each.size * min(each.size * (2 * d + e), 2 * (d * d + d * e) + e * e)
        padded = own * len(bucket) - work
        if bucket and (padded > _PADDED or numbers * (len(bucket) + 1) > together):
            yield bucket
            bucket, work = [], 0
        bucket.append(each)
        work += own
    if bucket:
        yield bucket


def _is_short(bucket: Sequence[OwnClass], d: int, e: int) -> bool:
    """Whether products of instances take fewer operations than those of dimensions."""
    n = bucket[-1].size
    return n * (2 * d + e) < 2 * (d * d + d * e) + e * e


@dataclass(frozen=True)
class _Place:
    """Where instances of some classes stand, each class padded to the largest."""

    index: Tensor  # (C, k) int64, of this process's instances; 0 at padding.
    here: Tensor  # (C, k) bool, whether there is an instance.
    filled: Tensor  # (n,) int64, places of instances in (C k).
    n: Tensor  # (C,) float64, instances on all processes.

    @classmethod
    def of(cls, bucket: Sequence[OwnClass], device: torch.device) -> _Place:
        """Of some classes, the last of which is the largest."""
        numbers = [(each.own.start, each.here, each.size) for each in bucket]
        starts, here, sizes = torch.tensor(numbers, device=device).T
        places = torch.arange(max(each.here for each in bucket), device=device)
        mask = places < here[:, None]
        index = (starts[:, None] + places).masked_fill_(~mask, 0)
        filled = mask.flatten().nonzero().squeeze(1)
        return cls(index, mask, filled, sizes.to(precise_dtype(device)))

    def weights(self, power: int) -> Tensor:
        """(C,): 1, n or n (n-1)."""
        return (torch.ones_like(self.n), self.n.clone(), self.n * (self.n - 1))[power]

    def centred(self, x: Instances, y: Instances, processes: Processes | None) -> Tensor:
        """(C, k, d + e): instances side by side, less the mean of their class; 0 at padding."""
        d, e = x.rows.shape[1], y.rows.shape[1]
        both = x.scales.new_empty(*self.index.shape, d + e)
        here = self.here.to(both.dtype)
        x.put(self.index, here, both[..., :d])
        y.put(self.index, here, both[..., d:])
        means = _total(processes, both.sum(dim=1)) / self.n.to(both.dtype)[:, None]
        return both.addcmul_(here[..., None], means[:, None], value=-1)


@dataclass(frozen=True)
class _Norms:
    """Squared lengths of centred instances."""

    p: Tensor  # (C, k)
    q: Tensor  # (C, k)

    def hsics(
        self, squares: Tensor, n: Tensor, processes: Processes | None
    ) -> tuple[Tensor, Tensor]:
        """H(x, y), H(x, x), H(y, y), (3, C), and the means of p and q, (2, C)."""
        p, q = self.p.to(n.dtype), self.q.to(n.dtype)
        sums = torch.stack([p.sum(1), q.sum(1), vecdot(p, q), vecdot(p, p), vecdot(q, q)])
        sums = _total(processes, sums)
        totals, of_pairs = sums[:2], sums[2:]
        totals_of_pairs = totals[[0, 0, 1]] * totals[[1, 0, 1]]
        squares = squares.addcmul(of_pairs, n / (2 - n))
        squares.addcdiv_(totals_of_pairs, (n - 1) * (n - 2))
        return squares.div_(n * (n - 3)), totals / n


class _Products(Protocol):
    """Products of centred instances x (C, k, d) and y (C, k, e) of some classes."""

    def norms(self) -> tuple[Tensor, Tensor]:
        """|x_i|^2 and |y_i|^2, each (C, k)."""

    def squares(self) -> Tensor:
        """|X'Y|^2, |X'X|^2 and |Y'Y|^2, (3, C), in float64."""

    def applied(self, a: Tensor, b: Tensor) -> Tensor:
        """(C, k, d): (a YY' + b XX') X; a and b (C, 1)."""


class _OfInstances:
    """XX' and YY', (C, k, k); |X'Y|^2 is the sum of their products."""

    def __init__(self, both: Tensor, d: int) -> None:
        self.x = both[..., :d]
        self.xx, self.yy = _own_products(self.x), _own_products(both[..., d:])

    def norms(self) -> tuple[Tensor, Tensor]:
        return self.xx.diagonal(dim1=1, dim2=2).clone(), self.yy.diagonal(dim1=1, dim2=2).clone()

    def squares(self) -> Tensor:
        return _dots((self.xx, self.yy), (self.xx, self.xx), (self.yy, self.yy))

    def applied(self, a: Tensor, b: Tensor) -> Tensor:
        weighed = self.yy.mul_(a[..., None]).addcmul_(self.xx, b[..., None])
        return weighed @ self.x


class _OfDimensions:
    """X'[X Y] (C, d, d + e) and Y'Y (C, e, e), which add up over processes."""

    def __init__(self, both: Tensor, d: int, processes: Processes | None) -> None:
        self.both, self.d = both, d
        x, y = both[..., :d], both[..., d:]
        products = x.mT @ both, y.mT @ y
        self.of_x, self.yy = products if processes is None else processes.summed(products)

    def norms(self) -> tuple[Tensor, Tensor]:
        x, y = self.both[..., : self.d], self.both[..., self.d :]
        return vecdot(x, x), vecdot(y, y)

    def squares(self) -> Tensor:
        xx, xy = self.of_x[..., : self.d], self.of_x[..., self.d :]
        return _dots((xy, xy), (xx, xx), (self.yy, self.yy))

    def applied(self, a: Tensor, b: Tensor) -> Tensor:
        e = self.both.shape[2] - self.d
        factors = torch.cat([b.expand(-1, self.d), a.expand(-1, e)], dim=1)
        return self.both @ (self.of_x.mT * factors[..., None])


def _own_products(rows: Tensor) -> Tensor:
    """(C, k, k): products of rows; of many, one half is the mirror image of the other."""
    half = rows.shape[1] // 2
    if half < _LONG_HALF:
        return rows @ rows.mT
    first, second = rows[:, :half], rows[:, half:]
    products = rows.new_empty(len(rows), rows.shape[1], rows.shape[1])
    products[:, :half, :half] = _own_products(first)
    products[:, half:, half:] = _own_products(second)
    across = first @ second.mT
    products[:, :half, half:] = across
    products[:, half:, :half] = across.mT
    return products


def _dots(*pairs: tuple[Tensor, Tensor]) -> Tensor:
    """(3, C): sums of products of (C, i, j), rows in their own precision, their sum in float64."""
    rows = (vecdot(left, right) for left, right in pairs)
    return torch.stack([each.to(precise_dtype(each.device)).sum(dim=1) for each in rows])
