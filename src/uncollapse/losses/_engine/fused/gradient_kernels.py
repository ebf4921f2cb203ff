"""The fused backend's Triton kernels of the gradient, which make logits again.

    W_ij = a_i exp(s_ij - log D_i) + a_j exp(s_ij - log D_j) - (w_i + w_j where i, j are a pair)
    g_i = sum_j W_ij r_j x_j,  dL/dx_i = r_i (g_i - tau (y_i . g_i) y_i),  y_i = r_i x_i

pair_gradient   what pairs have in r_i g_i, a block of rows and its classes' columns at a time
gradient        all else, of at most as many dimensions as one program holds
slopes          of more dimensions: all else of r_i W_ij r_j, for products by the library
project         dL/dx_i from r_i g_i
"""

# mypy: ignore-errors
# (Triton compiles these, and reads annotations as they are.)
import triton
import triton.language as tl

from uncollapse.losses._engine.fused.value_kernels import (
    _LN2,
    _LOG2E,
    _in_scope,
    _logits,
    _numbers,
    _product,
    _ranges,
    _weights,
    _within,
)


@triton.jit
def _slopes(s, i, j, a_i, a_j, log_i, log_j, N, COLD: tl.constexpr, WITH_ITSELF: tl.constexpr):
    """(BM, BN): a_i exp(s_ij - log D_i) + a_j exp(s_ij - log D_j), from s / ln 2.

    Without COLD from a / D in place of a.
    """
    s = _in_scope(s, i, j, N, WITH_ITSELF)
    if COLD:
        w = a_i[:, None] * tl.exp2(s - log_i[:, None] * (1 / _LN2))
        return w + a_j[None, :] * tl.exp2(s - log_j[None, :] * (1 / _LN2))
    return tl.exp2(s) * (a_i[:, None] + a_j[None, :])


@triton.jit
def _pair_slopes(
    i, j, ranges, totals, for_class, for_views, mine, there, N,
    WITH_ITSELF: tl.constexpr, PAIRS: tl.constexpr, TOGETHER: tl.constexpr,
):  # fmt: skip
    """(BM, BN): w_i + w_j where i, j are a pair."""
    class_i, end_i, views_i, views_end_i = _ranges(ranges, i, mine, N)
    n_class, n_views = _numbers(class_i, end_i, views_i, views_end_i, WITH_ITSELF)
    c_i, v_i = _weights(n_class, n_views, totals, PAIRS, TOGETHER)
    n_class, n_views = _numbers(*_ranges(ranges, j, there, N), WITH_ITSELF)
    c_j, v_j = _weights(n_class, n_views, totals, PAIRS, TOGETHER)
    of_class = for_class * (c_i[:, None] + c_j[None, :])
    of_views = for_views * (v_i[:, None] + v_j[None, :])
    in_class = _within(j, class_i, end_i)
    w = tl.where(in_class, tl.where(_within(j, views_i, views_end_i), of_views, of_class), 0.0)
    return w if WITH_ITSELF else tl.where(i[:, None] == j[None, :], 0.0, w)


@triton.jit
def _weighted(w, x_j, total, EXACT: tl.constexpr, WIDE: tl.constexpr):
    """total + w @ x_j, w in operands of the kind of x_j where these have its range."""
    if x_j.dtype == tl.bfloat16:
        rounded = w.to(tl.bfloat16)
        total = _product(rounded, x_j, total, EXACT, WIDE)
        if EXACT:
            rest = (w - rounded.to(tl.float32)).to(tl.bfloat16)
            total = _product(rest, x_j, total, EXACT, WIDE)
        return total
    return _product(w, x_j.to(tl.float32), total, EXACT, WIDE)


@triton.jit
def pair_gradient(
    x, own, scales, ranges, totals, sums,
    R, N, d, for_class, for_views,
    SYMMETRIC: tl.constexpr, WITH_ITSELF: tl.constexpr,
    PAIRS: tl.constexpr, TOGETHER: tl.constexpr, EXACT: tl.constexpr, WIDE: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """Of rows and a part of the dimensions: - r_i sum of (w_i + w_j) r_j x_j over pairs."""
    at = tl.program_id(0) * BM + tl.arange(0, BM)
    mine = at < R
    i = at if SYMMETRIC else tl.load(own + at, mine, N)
    k = tl.program_id(1) * BD + tl.arange(0, BD)
    total = tl.zeros((BM, BD), tl.float32)
    class_i, end_i, _, _ = _ranges(ranges, i, mine, N)
    for start in range(tl.min(class_i, 0) // BN * BN, tl.max(end_i, 0), BN):
        j = start + tl.arange(0, BN)
        there = j < N
        r_j = tl.load(scales + j, there, 0.0)
        within = there[:, None] & (k[None, :] < d)
        x_j = tl.load(x + j.to(tl.int64)[:, None] * d + k[None, :], within, 0.0)
        w = _pair_slopes(
            i, j, ranges, totals, for_class, for_views, mine, there, N,
            WITH_ITSELF, PAIRS, TOGETHER,
        )  # fmt: skip
        total = _weighted(-w * r_j[None, :], x_j, total, EXACT, WIDE)
    total *= tl.load(scales + i, mine, 0.0)[:, None]
    inside = mine[:, None] & (k[None, :] < d)
    tl.store(sums + at.to(tl.int64)[:, None] * d + k[None, :], total, inside)


@triton.jit
def gradient(
    x, own, scales, weights, log_d, sums,
    R, N, d,
    SYMMETRIC: tl.constexpr, COLD: tl.constexpr, WITH_ITSELF: tl.constexpr,
    EXACT: tl.constexpr, WIDE: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """Add to each row of at most BD dimensions what is not of pairs."""
    at = tl.program_id(0) * BM + tl.arange(0, BM)
    mine = at < R
    i = at if SYMMETRIC else tl.load(own + at, mine, N)
    r_i = tl.load(scales + i, mine, 0.0)
    a_i, log_i = tl.load(weights + i, mine, 0.0), tl.load(log_d + i, mine, 0.0)
    k = tl.arange(0, BD)
    inside = mine[:, None] & (k[None, :] < d)
    total = tl.zeros((BM, BD), tl.float32)
    if BK >= BD:
        x_i = tl.load(x + i.to(tl.int64)[:, None] * d + k[None, :], inside, 0.0)
    for start in range(0, N, BN):
        j = start + tl.arange(0, BN)
        there = j < N
        r_j = tl.load(scales + j, there, 0.0)
        a_j, log_j = tl.load(weights + j, there, 0.0), tl.load(log_d + j, there, 0.0)
        within = there[:, None] & (k[None, :] < d)
        x_j = tl.load(x + j.to(tl.int64)[:, None] * d + k[None, :], within, 0.0)
        if BK < BD:  # What float32 takes for both operands at once is more than registers hold.
            s = _logits(x, scales, i, r_i, j, mine, there, d, BM, BN, BK, EXACT, WIDE)
        else:
            s = _product(x_i, tl.trans(x_j), tl.zeros((BM, BN), tl.float32), EXACT, WIDE)
            s = s * (r_i * _LOG2E)[:, None] * r_j[None, :]
        w = _slopes(s, i, j, a_i, a_j, log_i, log_j, N, COLD, WITH_ITSELF)
        total = _weighted(w * r_j[None, :], x_j, total, EXACT, WIDE)
    to = sums + at.to(tl.int64)[:, None] * d + k[None, :]
    tl.store(to, tl.load(to, inside, 0.0) + total * r_i[:, None], inside)


@triton.jit
def slopes(
    x, own, scales, weights, log_d, entries, rest,
    first, left, height, width, N, d,
    SYMMETRIC: tl.constexpr, COLD: tl.constexpr, WITH_ITSELF: tl.constexpr,
    SPLIT: tl.constexpr, EXACT: tl.constexpr, WIDE: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """r_i W_ij r_j without pairs, as operands: of a chunk's rows and the columns from `left`.

    With SPLIT, what rounding added is a second operand, `rest`, to be subtracted.
    """
    down = tl.program_id(0) * BM + tl.arange(0, BM)
    across = tl.program_id(1) * BN + tl.arange(0, BN)
    mine, there = down < height, across < width
    i = first + down if SYMMETRIC else tl.load(own + first + down, mine, N)
    j = left + across
    r_i, r_j = tl.load(scales + i, mine, 0.0), tl.load(scales + j, there, 0.0)
    a_i, log_i = tl.load(weights + i, mine, 0.0), tl.load(log_d + i, mine, 0.0)
    a_j, log_j = tl.load(weights + j, there, 0.0), tl.load(log_d + j, there, 0.0)
    s = _logits(x, scales, i, r_i, j, mine, there, d, BM, BN, BK, EXACT, WIDE)
    w = _slopes(s, i, j, a_i, a_j, log_i, log_j, N, COLD, WITH_ITSELF)
    w = w * r_i[:, None] * r_j[None, :]
    begin = tl.program_id(0).to(tl.int64) * BM * width  # Beyond it 32 bits are enough.
    at = tl.arange(0, BM)[:, None] * width + across[None, :]
    inside = mine[:, None] & there[None, :]
    rounded = w.to(entries.dtype.element_ty)
    tl.store(entries + begin + at, rounded, inside)
    if SPLIT:
        added = (rounded.to(tl.float32) - w).to(entries.dtype.element_ty)
        tl.store(rest + begin + at, added, inside)


@triton.jit
def project(
    x, order, own, scales, sums, out, along, R, N, d, row, tau,
    SYMMETRIC: tl.constexpr, NORMALIZE: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """dL/dx_i from r_i g_i, each where the caller has its row, and y_i . dL/dy_i."""
    at = tl.program_id(0) * BM + tl.arange(0, BM)
    mine = at < R
    i = at if SYMMETRIC else tl.load(own + at, mine, N)
    to = tl.load(order + i, mine, 0) - row
    r_i, dots = tl.load(scales + i, mine, 0.0), tl.zeros((BM,), tl.float32)
    mine, i, g = mine[:, None], i.to(tl.int64)[:, None] * d, at.to(tl.int64)[:, None] * d
    for start in range(0, d, BK):
        k = (start + tl.arange(0, BK))[None, :]
        x_i = tl.load(x + i + k, mine & (k < d), 0.0).to(tl.float32)
        dots += tl.sum(tl.load(sums + g + k, mine & (k < d), 0.0) * x_i, 1)
    tl.store(along + at, dots, at < R)
    for start in range(0, d, BK):
        k = (start + tl.arange(0, BK))[None, :]
        total = tl.load(sums + g + k, mine & (k < d), 0.0)
        if NORMALIZE:
            x_i = tl.load(x + i + k, mine & (k < d), 0.0).to(tl.float32)
            total -= (tau * dots * r_i * r_i)[:, None] * x_i
        tl.store(out + to[:, None] * d + k, total, mine & (k < d))
