"""What the fused kernels share: the logits of a tile, its classes, and the weights of its pairs.

A row is a place in the sorted batch, and classes and instances are ranges of places, so that pairs
stand in few tiles and are looked for in these alone; all others have no mask. Logits are
s_ij = r_i r_j x_i . x_j of embeddings x in that order and their own precision (bfloat16, float16 or
float32), and their scales r. Products are of operands as they are, accumulated in float32; with
EXACT what does not fit is a second operand: float32 in three products of tf32, weights in two of
bfloat16. WIDE is for the interpreter, which knows no bfloat16 in products: as float32.
"""

# mypy: ignore-errors
# (Triton compiles these, and reads annotations as they are.)
import triton
import triton.language as tl

LOWEST = tl.constexpr(-1e30)
LOG2E, LN2 = tl.constexpr(1.4426950408889634), tl.constexpr(0.6931471805599453)


@triton.jit
def ranges_of(ranges, i, there, N):
    """Ends of the ranges of places that hold each row's class, and its instance."""
    class_start = tl.load(ranges + i, there, N)
    class_end = tl.load(ranges + N + i, there, 0)
    views_start = tl.load(ranges + 2 * N + i, there, N)
    views_end = tl.load(ranges + 3 * N + i, there, 0)
    return class_start, class_end, views_start, views_end


@triton.jit
def numbers_of(class_start, class_end, views_start, views_end, WITH_ITSELF: tl.constexpr):
    """How many neighbours (of one class, of two instances) and views a row has."""
    views = views_end - views_start
    n_class = class_end - class_start - views
    return n_class, views if WITH_ITSELF else views - 1


@triton.jit
def weights_of(n_class, n_views, totals, PAIRS: tl.constexpr, TOGETHER: tl.constexpr):
    """What a pair of each kind weighs in its term's mean; TOGETHER, both are of one term."""
    if TOGETHER:
        n_class += n_views
        n_views = n_class
    of_class = tl.load(totals).to(tl.float32) * (1 if PAIRS else n_class)
    of_views = tl.load(totals + 1).to(tl.float32) * (1 if PAIRS else n_views)
    of_class = tl.where(n_class > 0, 1 / tl.maximum(of_class, 1), 0.0)
    of_views = tl.where(n_views > 0, 1 / tl.maximum(of_views, 1), 0.0)
    return of_class, of_views


@triton.jit
def product_of(left, right, total, EXACT: tl.constexpr, WIDE: tl.constexpr):
    """total + left @ right."""
    if WIDE:
        left, right = left.to(tl.float32), right.to(tl.float32)
    if left.dtype == tl.float32:
        precision: tl.constexpr = "tf32x3" if EXACT else "tf32"
        return tl.dot(left, right, total, input_precision=precision)
    return tl.dot(left, right, total)


@triton.jit
def logits_of(
    x, scales, i, r_i, j, there_i, there_j, d,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    EXACT: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """(BM, BN): s_ij / ln 2; 0 where there is none."""
    total = tl.zeros((BM, BN), tl.float32)
    rows, columns = i.to(tl.int64) * d, j.to(tl.int64) * d
    for start in range(0, d, BK):
        k = start + tl.arange(0, BK)
        inside = k < d
        left = tl.load(x + rows[:, None] + k[None, :], there_i[:, None] & inside[None, :], 0.0)
        right = tl.load(x + columns[None, :] + k[:, None], there_j[None, :] & inside[:, None], 0.0)
        total = product_of(left, right, total, EXACT, WIDE)
    r_j = tl.load(scales + j, there_j, 0.0)
    return total * (r_i * LOG2E)[:, None] * r_j[None, :]


@triton.jit
def is_within(j, start, end):
    """(BM, BN): whether column j is in the range of each row."""
    return (j[None, :] >= start[:, None]) & (j[None, :] < end[:, None])


@triton.jit
def in_scope(s, i, j, N, WITH_ITSELF: tl.constexpr):
    """The logits, and what an exponential makes 0 out of scope; most tiles are within it."""
    start, end = tl.min(j, 0), tl.max(j, 0) + 1
    if (end > N) | (tl.max(i, 0) >= N):
        s = tl.where((i < N)[:, None] & (j < N)[None, :], s, LOWEST)
    meets = (tl.min(i, 0) < end) & (tl.max(i, 0) >= start)
    if (not WITH_ITSELF) & meets:
        s = tl.where(i[:, None] == j[None, :], LOWEST, s)
    return s
