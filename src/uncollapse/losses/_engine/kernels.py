"""The fused backend's Triton kernels: sums over each row's logits, and the gradient.

Logits are s_ij = r_i r_j x_i . x_j of rows x as they came (bfloat16, float16 or float32) and their
scales r. A program has a block of rows and walks over all columns; products are made of operands as
they are and accumulated in float32, and nothing larger than a tile exists. With EXACT, what does
not fit an operand is a second one: float32 in three products of tf32, weights in two of bfloat16.
WIDE is for the interpreter, which knows no bfloat16 in products: the same numbers as float32.
"""

# mypy: ignore-errors
# (Triton compiles these, and reads annotations as they are.)
import triton
import triton.language as tl

_LOWEST = tl.constexpr(-1e30)


@triton.jit
def _product(left, right, total, EXACT: tl.constexpr, WIDE: tl.constexpr):
    """total + left @ right."""
    if WIDE:
        left, right = left.to(tl.float32), right.to(tl.float32)
    if left.dtype == tl.float32:
        precision: tl.constexpr = "tf32x3" if EXACT else "tf32"
        return tl.dot(left, right, total, input_precision=precision)
    return tl.dot(left, right, total)


@triton.jit
def _logits(
    x,
    i,
    j,
    r_i,
    r_j,
    N,
    d,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    EXACT: tl.constexpr,
    WIDE: tl.constexpr,
):
    """(BM, BN): s_ij."""
    total = tl.zeros((BM, BN), tl.float32)
    for start in range(0, d, BK):
        k = start + tl.arange(0, BK)
        rows = tl.load(x + i[:, None] * d + k[None, :], (i[:, None] < N) & (k[None, :] < d), 0.0)
        columns = tl.load(x + j[None, :] * d + k[:, None], (j[None, :] < N) & (k[:, None] < d), 0.0)
        total = _product(rows, columns, total, EXACT, WIDE)
    return total * r_i[:, None] * r_j[None, :]


@triton.jit
def _kinds(i, j, label_i, label_j, instance_i, instance_j, N, WITH_ITSELF: tl.constexpr):
    """(BM, BN): in the scope, views of one instance, of one class and two instances."""
    scope = (j < N)[None, :] & (i < N)[:, None]
    if not WITH_ITSELF:
        scope = scope & (i[:, None] != j[None, :])
    of_instance = instance_i[:, None] == instance_j[None, :]
    of_class = (label_i[:, None] == label_j[None, :]) & (label_i != -1)[:, None]
    return scope, scope & of_instance, scope & of_class & (of_instance == 0)


@triton.jit
def row_sums(
    x, r, labels, instances, log_d, class_sums, view_sums, class_counts, view_counts, conflicts,
    first, R, N, d,
    WITH_ITSELF: tl.constexpr, EXACT: tl.constexpr, WIDE: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Of each row: log D_i, sums of logits over its pairs, and how many there are.

    By a running shift m and sum t: m' = max(m, max s), t' = t exp(m - m') + sum exp(s - m').
    """
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    i = tl.where(row < R, first + row, N)
    mine = row < R
    r_i = tl.load(r + i, mine, 0.0)
    label_i, instance_i = tl.load(labels + i, mine, -1), tl.load(instances + i, mine, -1)
    shift, total = tl.full((BM,), _LOWEST, tl.float32), tl.zeros((BM,), tl.float32)
    of_class, of_views = tl.zeros((BM,), tl.float32), tl.zeros((BM,), tl.float32)
    n_class, n_views = tl.zeros((BM,), tl.int32), tl.zeros((BM,), tl.int32)
    n_conflicts = tl.zeros((BM,), tl.int32)
    for start in range(0, N, BN):
        j = start + tl.arange(0, BN)
        r_j = tl.load(r + j, j < N, 0.0)
        label_j, instance_j = tl.load(labels + j, j < N, -1), tl.load(instances + j, j < N, -1)
        s = _logits(x, i, j, r_i, r_j, N, d, BM, BN, BK, EXACT, WIDE)
        scope, views, neighbours = _kinds(
            i, j, label_i, label_j, instance_i, instance_j, N, WITH_ITSELF
        )
        within = tl.where(scope, s, _LOWEST)
        largest = tl.maximum(shift, tl.max(within, 1))
        total = total * tl.exp(shift - largest) + tl.sum(tl.exp(within - largest[:, None]), 1)
        shift = largest
        of_class += tl.sum(tl.where(neighbours, s, 0.0), 1)
        of_views += tl.sum(tl.where(views, s, 0.0), 1)
        n_class += tl.sum(neighbours.to(tl.int32), 1)
        n_views += tl.sum(views.to(tl.int32), 1)
        differ = views & (label_i[:, None] != label_j[None, :])
        n_conflicts += tl.sum(differ.to(tl.int32), 1)
    tl.store(log_d + row, shift + tl.log(total), mine)
    tl.store(class_sums + row, of_class, mine)
    tl.store(view_sums + row, of_views, mine)
    tl.store(class_counts + row, n_class, mine)
    tl.store(view_counts + row, n_views, mine)
    tl.store(conflicts + row, n_conflicts, mine)


@triton.jit
def gradient(
    x, r, labels, instances, log_d, anchors, of_class, of_views, out, along,
    first, R, N, d, tau,
    NORMALIZE: tl.constexpr, WITH_ITSELF: tl.constexpr, EXACT: tl.constexpr, WIDE: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """Of each row x_i and a part of its dimensions: dL/dx_i, and y_i . dL/dy_i.

    W_ij = a_i exp(s_ij - log D_i) + a_j exp(s_ij - log D_j) - (w_i + w_j where i, j are a pair)
    g_i = sum_j W_ij r_j x_j,  y_i . g_i = sum_j W_ij s_ij
    dL/dx_i = r_i (g_i - tau (y_i . g_i) y_i)
    """
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    i = tl.where(row < R, first + row, N)
    mine = row < R
    k = tl.program_id(1) * BD + tl.arange(0, BD)
    r_i = tl.load(r + i, mine, 0.0)
    label_i, instance_i = tl.load(labels + i, mine, -1), tl.load(instances + i, mine, -1)
    log_i, a_i = tl.load(log_d + i, mine, 0.0), tl.load(anchors + i, mine, 0.0)
    c_i, v_i = tl.load(of_class + i, mine, 0.0), tl.load(of_views + i, mine, 0.0)
    total, dots = tl.zeros((BM, BD), tl.float32), tl.zeros((BM,), tl.float32)
    for start in range(0, N, BN):
        j = start + tl.arange(0, BN)
        there = j < N
        r_j = tl.load(r + j, there, 0.0)
        label_j, instance_j = tl.load(labels + j, there, -1), tl.load(instances + j, there, -1)
        log_j, a_j = tl.load(log_d + j, there, 0.0), tl.load(anchors + j, there, 0.0)
        c_j, v_j = tl.load(of_class + j, there, 0.0), tl.load(of_views + j, there, 0.0)
        s = _logits(x, i, j, r_i, r_j, N, d, BM, BN, BK, EXACT, WIDE)
        scope, views, neighbours = _kinds(
            i, j, label_i, label_j, instance_i, instance_j, N, WITH_ITSELF
        )
        w = a_i[:, None] * tl.exp(s - log_i[:, None]) + a_j[None, :] * tl.exp(s - log_j[None, :])
        w = tl.where(scope, w, 0.0)
        w -= tl.where(neighbours, c_i[:, None] + c_j[None, :], 0.0)
        w -= tl.where(views, v_i[:, None] + v_j[None, :], 0.0)
        dots += tl.sum(w * s, 1)
        w = w * r_j[None, :]
        columns = tl.load(x + j[:, None] * d + k[None, :], there[:, None] & (k[None, :] < d), 0.0)
        if x.dtype.element_ty == tl.bfloat16:
            rounded = w.to(tl.bfloat16)
            total = _product(rounded, columns, total, EXACT, WIDE)
            if EXACT:
                rest = (w - rounded.to(tl.float32)).to(tl.bfloat16)
                total = _product(rest, columns, total, EXACT, WIDE)
        else:  # Weights have not the range of float16; its numbers are numbers of tf32.
            total = _product(w, columns.to(tl.float32), total, EXACT, WIDE)
    inside = mine[:, None] & (k[None, :] < d)
    if NORMALIZE:
        own = tl.load(x + i[:, None] * d + k[None, :], inside, 0.0).to(tl.float32)
        total -= (tau * dots * r_i)[:, None] * own
    tl.store(out + row[:, None] * d + k[None, :], total * r_i[:, None], inside)
    if tl.program_id(1) == 0:
        tl.store(along + row, dots, mine)
