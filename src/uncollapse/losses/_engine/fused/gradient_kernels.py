"""The fused backend's Triton kernels of the gradient, which make logits again.

    W_ij = a_i exp(s_ij - log D_i) + a_j exp(s_ij - log D_j) - (w_i + w_j where i, j are a pair)
    g_i = sum_j W_ij r_j x_j,  dL/dx_i = r_i (g_i - tau (y_i . g_i) y_i),  y_i = r_i x_i

pair_gradient   what pairs have in r_i g_i, a block of rows and its classes' columns at a time
gradient        all else, of at most as many dimensions as one program holds
slopes          of more dimensions: all else of r_i W_ij r_j, for products by the library
strips          of more dimensions and rows: the same and their products, a strip at a time
project         dL/dx_i from r_i g_i
"""

# mypy: ignore-errors
# (Triton compiles these, and reads annotations as they are.)
import triton
import triton.language as tl

from uncollapse.losses._engine.fused.tile import (
    LN2,
    LOG2E,
    in_scope,
    is_within,
    logits_of,
    numbers_of,
    product_of,
    ranges_of,
    weights_of,
)


@triton.jit
def _slopes(s, i, j, a_i, a_j, log_i, log_j, N, COLD: tl.constexpr, WITH_ITSELF: tl.constexpr):
    """(BM, BN): a_i exp(s_ij - log D_i) + a_j exp(s_ij - log D_j), from s / ln 2.

    Without COLD from a / D in place of a.
    """
    s = in_scope(s, i, j, N, WITH_ITSELF)
    if COLD:
        w = a_i[:, None] * tl.exp2(s - log_i[:, None] * (1 / LN2))
        return w + a_j[None, :] * tl.exp2(s - log_j[None, :] * (1 / LN2))
    return tl.exp2(s) * (a_i[:, None] + a_j[None, :])


@triton.jit
def _pair_slopes(
    i, j, ranges, totals, for_class, for_views, mine, there, N,
    WITH_ITSELF: tl.constexpr, PAIRS: tl.constexpr, TOGETHER: tl.constexpr,
):  # fmt: skip
    """(BM, BN): w_i + w_j where i, j are a pair."""
    class_i, end_i, views_i, views_end_i = ranges_of(ranges, i, mine, N)
    n_class, n_views = numbers_of(class_i, end_i, views_i, views_end_i, WITH_ITSELF)
    c_i, v_i = weights_of(n_class, n_views, totals, PAIRS, TOGETHER)
    n_class, n_views = numbers_of(*ranges_of(ranges, j, there, N), WITH_ITSELF)
    c_j, v_j = weights_of(n_class, n_views, totals, PAIRS, TOGETHER)
    of_class = for_class * (c_i[:, None] + c_j[None, :])
    of_views = for_views * (v_i[:, None] + v_j[None, :])
    in_class = is_within(j, class_i, end_i)
    w = tl.where(in_class, tl.where(is_within(j, views_i, views_end_i), of_views, of_class), 0.0)
    return w if WITH_ITSELF else tl.where(i[:, None] == j[None, :], 0.0, w)


@triton.jit
def _weighted(w, x_j, total, EXACT: tl.constexpr, WIDE: tl.constexpr):
    """total + w @ x_j, w in operands of the kind of x_j where these have its range."""
    if x_j.dtype == tl.bfloat16:
        rounded = w.to(tl.bfloat16)
        total = product_of(rounded, x_j, total, EXACT, WIDE)
        if EXACT:
            rest = (w - rounded.to(tl.float32)).to(tl.bfloat16)
            total = product_of(rest, x_j, total, EXACT, WIDE)
        return total
    return product_of(w, x_j.to(tl.float32), total, EXACT, WIDE)


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
    class_i, end_i, _, _ = ranges_of(ranges, i, mine, N)
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
            s = logits_of(x, scales, i, r_i, j, mine, there, d, BM, BN, BK, EXACT, WIDE)
        else:
            s = product_of(x_i, tl.trans(x_j), tl.zeros((BM, BN), tl.float32), EXACT, WIDE)
            s = s * (r_i * LOG2E)[:, None] * r_j[None, :]
        w = _slopes(s, i, j, a_i, a_j, log_i, log_j, N, COLD, WITH_ITSELF)
        total = _weighted(w * r_j[None, :], x_j, total, EXACT, WIDE)
    to = sums + at.to(tl.int64)[:, None] * d + k[None, :]
    tl.store(to, tl.load(to, inside, 0.0) + total * r_i[:, None], inside)


@triton.jit
def _tile_of_slopes(
    x, scales, weights, log_d, i, j, mine, N, d,
    COLD: tl.constexpr, WITH_ITSELF: tl.constexpr, EXACT: tl.constexpr, WIDE: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """(BM, BN): r_i W_ij r_j without pairs; 0 where there is none."""
    there = j < N
    r_i, r_j = tl.load(scales + i, mine, 0.0), tl.load(scales + j, there, 0.0)
    a_i, log_i = tl.load(weights + i, mine, 0.0), tl.load(log_d + i, mine, 0.0)
    a_j, log_j = tl.load(weights + j, there, 0.0), tl.load(log_d + j, there, 0.0)
    s = logits_of(x, scales, i, r_i, j, mine, there, d, BM, BN, BK, EXACT, WIDE)
    w = _slopes(s, i, j, a_i, a_j, log_i, log_j, N, COLD, WITH_ITSELF)
    return w * r_i[:, None] * r_j[None, :]


@triton.jit
def _store_operands(entries, rest, w, inside, SPLIT: tl.constexpr):
    """Weights as operands; with SPLIT what rounding took from them is a second one."""
    rounded = w.to(entries.dtype.element_ty)
    tl.store(entries, rounded, inside)
    if SPLIT:
        tl.store(rest, (w - rounded.to(tl.float32)).to(rest.dtype.element_ty), inside)


@triton.jit
def slopes(
    x, own, scales, weights, log_d, entries, rest,
    R, N, d,
    SYMMETRIC: tl.constexpr, COLD: tl.constexpr, WITH_ITSELF: tl.constexpr,
    SPLIT: tl.constexpr, EXACT: tl.constexpr, WIDE: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """(R, N) r_i W_ij r_j without pairs, as operands."""
    at = tl.program_id(0) * BM + tl.arange(0, BM)
    j = tl.program_id(1) * BN + tl.arange(0, BN)
    mine = at < R
    i = at if SYMMETRIC else tl.load(own + at, mine, N)
    w = _tile_of_slopes(
        x, scales, weights, log_d, i, j, mine, N, d, COLD, WITH_ITSELF, EXACT, WIDE, BM, BN, BK
    )
    before = tl.program_id(0).to(tl.int64) * BM * N
    entries += before  # From here 32 bits are enough.
    rest += before
    to = tl.arange(0, BM)[:, None] * N + j[None, :]
    inside = mine[:, None] & (j < N)[None, :]
    _store_operands(entries + to, rest + to, w, inside, SPLIT)


@triton.jit
def _fill_strip(
    x, own, scales, weights, log_d, entries, rest, rows, block, first, strip, R, N, d,
    SYMMETRIC: tl.constexpr, COLD: tl.constexpr, WITH_ITSELF: tl.constexpr,
    SPLIT: tl.constexpr, EXACT: tl.constexpr, WIDE: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """The slopes of a block of rows and of the columns from `first`, as operands."""
    at = block * BM + rows
    mine = at < R
    i = at if SYMMETRIC else tl.load(own + at, mine, N)
    for start in range(first, tl.minimum(first + strip, N), BN):
        j = start + tl.arange(0, BN)
        w = _tile_of_slopes(
            x, scales, weights, log_d, i, j, mine, N, d, COLD, WITH_ITSELF, EXACT, WIDE, BM, BN, BK
        )
        to = rows[:, None] * strip + (j - first)[None, :]
        _store_operands(entries + to, rest + to, w, None, SPLIT)


@triton.jit
def _add_strip(
    x, entries, rest, sums, rows, block, first, strip, R, N, d,
    SPLIT: tl.constexpr, EXACT: tl.constexpr, WIDE: tl.constexpr,
    BM: tl.constexpr, BD: tl.constexpr, BJ: tl.constexpr,
):  # fmt: skip
    """Their products with the rows of these columns, BD dimensions at a time."""
    down = rows[:, None]
    mine = block * BM + down < R
    for begin in range(0, d, BD):
        k = begin + tl.arange(0, BD)[None, :]
        total = tl.load(sums + down * d + k, mine & (k < d), 0.0)
        for start in range(first, tl.minimum(first + strip, N), BJ):
            j = start + tl.arange(0, BJ)
            x_j = x + j.to(tl.int64)[:, None] * d + k
            x_j = tl.load(x_j, (j < N)[:, None] & (k < d), 0.0).to(entries.dtype.element_ty)
            at = down * strip + (j - first)[None, :]
            total = product_of(tl.load(entries + at), x_j, total, EXACT, WIDE)
            if SPLIT:
                total = product_of(tl.load(rest + at), x_j, total, EXACT, WIDE)
        tl.store(sums + down * d + k, total, mine & (k < d))


@triton.jit
def strips(
    x, own, scales, weights, log_d, entries, rest, sums,
    strip, R, N, d,
    SYMMETRIC: tl.constexpr, COLD: tl.constexpr, WITH_ITSELF: tl.constexpr,
    SPLIT: tl.constexpr, EXACT: tl.constexpr, WIDE: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BD: tl.constexpr, BJ: tl.constexpr,
):  # fmt: skip
    """Add to each row of any number of dimensions what is not of pairs.

    A program has a block of rows, and for each row memory for `strip` slopes, a multiple of BN,
    which no other program knows. It fills it and multiplies it for strip after strip of columns.
    """
    block = tl.program_id(0)
    before = block.to(tl.int64) * BM
    entries += before * strip  # From here 32 bits are enough.
    rest += before * strip
    sums += before * d
    for first in range(0, N, strip):
        # What depends on no loop is made before it, and has registers in both steps; so add a 0
        # that compilers do not know.
        rows = tl.arange(0, BM) + first % strip
        tl.debug_barrier()  # Every thread has read the strip before.
        _fill_strip(
            x, own, scales, weights, log_d, entries, rest, rows, block, first, strip, R, N, d,
            SYMMETRIC, COLD, WITH_ITSELF, SPLIT, EXACT, WIDE, BM, BN, BK,
        )  # fmt: skip
        tl.debug_barrier()  # Every thread has put its part there.
        _add_strip(
            x, entries, rest, sums, rows, block, first, strip, R, N, d,
            SPLIT, EXACT, WIDE, BM, BD, BJ,
        )  # fmt: skip


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
