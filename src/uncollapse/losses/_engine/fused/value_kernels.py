"""The fused backend's Triton kernels of the value, in the order in which they run.

`order` sorts the batch by label and then by instance; a row, from here on, is a place in it
(`tile`). With COLD sums of exponentials have a shift.

    lay_out        rows, ranges and scales in order, and how many pairs there are
    row_sums       parts of each row's denominator, by tiles of the upper triangle
    denominators   log D_i from its parts, what the pairs cost, and what they weigh
"""

# mypy: ignore-errors
# (Triton compiles these, and reads annotations as they are.)
import triton
import triton.language as tl

from uncollapse.losses._engine.fused.tile import (
    LN2,
    LOWEST,
    in_scope,
    is_within,
    logits_of,
    numbers_of,
    ranges_of,
    weights_of,
)


@triton.jit
def _bound(ids, order, key, low, high, bits, UPPER: tl.constexpr):
    """The first place in [low, high) whose id is not below (UPPER: is above) the key, or high."""
    for _ in range(bits):
        middle = (low + high) // 2
        is_open = low < high
        value = tl.load(ids + tl.load(order + middle, is_open, 0), is_open, 0)
        below = value <= key if UPPER else value < key
        low = tl.where(is_open & below, middle + 1, low)
        high = tl.where(is_open & (below == 0), middle, high)
    return low


@triton.jit
def lay_out(
    embeddings, x, labels, instances, order, by_instance, place, ranges, scales, sizes, counts,
    N, d, bits, scale, smallest,
    SYMMETRIC: tl.constexpr, NORMALIZE: tl.constexpr, WITH_ITSELF: tl.constexpr,
    TOGETHER: tl.constexpr, CONFLICTS: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Rows, places, ranges, scales r_i and sizes, and numbers of a block (`Laid.counts`)."""
    i = tl.program_id(0) * BM + tl.arange(0, BM)
    there = i < N
    row = tl.load(order + i, there, 0)
    tl.store(place + row, i, there)
    squares = tl.zeros((BM,), tl.float32)
    for start in range(0, d, BK):
        k = start + tl.arange(0, BK)
        inside = there[:, None] & (k[None, :] < d)
        at = x + i.to(tl.int64)[:, None] * d + k[None, :]
        if SYMMETRIC:  # Processes have put theirs in order already.
            part = tl.load(embeddings + row[:, None] * d + k[None, :], inside, 0.0)
            tl.store(at, part, inside)
        else:
            part = tl.load(at, inside, 0.0)
        part = part.to(tl.float32)
        squares += tl.sum(part * part, 1)
    norms = tl.sqrt_rn(squares)
    r = tl.div_rn(scale + 0 * norms, tl.where(norms < smallest, smallest, norms))
    if not NORMALIZE:
        r = scale + 0 * norms
    tl.store(scales + i, r, there)
    tl.store(sizes + i, r if NORMALIZE else norms * scale, there)

    label, instance = tl.load(labels + row, there, -1), tl.load(instances + row, there, -1)
    first = tl.zeros((BM,), tl.int32)
    class_start = _bound(labels, order, label, first, first + N, bits, False)
    class_end = _bound(labels, order, label, class_start, first + N, bits, True)
    views_start = _bound(instances, order, instance, class_start, class_end, bits, False)
    views_end = _bound(instances, order, instance, views_start, class_end, bits, True)
    labelled = there & (label != -1)
    class_start = tl.where(labelled, class_start, views_start)  # Of no class are its views alone.
    class_end = tl.where(labelled, class_end, views_end)
    tl.store(ranges + i, class_start, there)
    tl.store(ranges + N + i, class_end, there)
    tl.store(ranges + 2 * N + i, views_start, there)
    tl.store(ranges + 3 * N + i, views_end, there)

    n_class, n_views = numbers_of(class_start, class_end, views_start, views_end, WITH_ITSELF)
    if TOGETHER:
        n_class += n_views
        n_views = n_class
    counts += tl.program_id(0) * 8
    tl.store(counts, tl.sum(tl.where(there, n_class, 0).to(tl.int64)))
    tl.store(counts + 1, tl.sum(tl.where(there, n_views, 0).to(tl.int64)))
    tl.store(counts + 2, tl.sum((there & (n_class > 0)).to(tl.int64)))
    tl.store(counts + 3, tl.sum((there & (n_views > 0)).to(tl.int64)))
    tl.store(counts + 4, tl.sum(labelled.to(tl.int64)))
    tl.store(counts + 5 + tl.arange(0, 2), tl.sum(there.to(tl.int64)))
    differ = i < 0
    if CONFLICTS:
        one, other = tl.load(by_instance + i, there, 0), tl.load(by_instance + i + 1, i + 1 < N, 0)
        differ = (i + 1 < N) & (tl.load(instances + one) == tl.load(instances + other))
        differ = differ & (tl.load(labels + one) != tl.load(labels + other))
    tl.store(counts + 7, tl.sum(differ.to(tl.int64)))


@triton.jit
def _add(shift, total, s, axis: tl.constexpr, COLD: tl.constexpr):
    """A running sum of exp2(s) along an axis: exp2(shift) total. Without COLD no shift is needed.

    m' = max(m, max s), t' = t exp2(m - m') + sum exp2(s - m')
    """
    if COLD:
        largest = tl.maximum(shift, tl.max(s, axis))
        entries = tl.exp2(s - tl.expand_dims(largest, axis))
        total = total * tl.exp2(shift - largest) + tl.sum(entries, axis)
        shift = largest
    else:
        total += tl.sum(tl.exp2(s), axis)
    return shift, total


@triton.jit
def row_sums(
    x, own, scales, shifts, sums,
    R, N, d, blocks,
    SYMMETRIC: tl.constexpr, COLD: tl.constexpr, WITH_ITSELF: tl.constexpr,
    EXACT: tl.constexpr, WIDE: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Parts of D_i = sum of exp(s_ij), of a group of rows and one of columns.

    A group is a number of blocks; there are as many groups whatever N. Part g of row i (at g R + i)
    is the sum over group g. Of a SYMMETRIC matrix programs below the diagonal have nothing to do: a
    tile adds to the parts of its rows, in registers, and to those of its columns, in memory that
    no other program writes to. Otherwise rows are a block of `own`, and only theirs are made.
    """
    group, others = tl.program_id(0), tl.program_id(1)
    tl.static_assert(BM == BN)
    if SYMMETRIC and group > others:
        return
    for block in range(blocks if SYMMETRIC else 1):
        at = (group * blocks + block if SYMMETRIC else group) * BM + tl.arange(0, BM)
        mine = at < R
        i = at if SYMMETRIC else tl.load(own + at, mine, N)
        r_i = tl.load(scales + i, mine, 0.0)
        shift, total = tl.full((BM,), LOWEST, tl.float32), tl.zeros((BM,), tl.float32)
        first = block if SYMMETRIC and group == others else 0
        for step in range(first, blocks):
            j = (others * blocks + step) * BN + tl.arange(0, BN)
            there = j < N
            s = logits_of(x, scales, i, r_i, j, mine, there, d, BM, BN, BK, EXACT, WIDE)
            s = in_scope(s, i, j, N, WITH_ITSELF)
            shift, total = _add(shift, total, s, 1, COLD)
            if SYMMETRIC and ((group < others) | (step > block)):
                part = group * R + j
                known = there & (block > 0)
                shift_j = tl.load(shifts + part, known, LOWEST) if COLD else 0.0
                total_j = tl.load(sums + part, known, 0.0)
                shift_j, total_j = _add(shift_j, total_j, s, 0, COLD)
                if COLD:
                    tl.store(shifts + part, shift_j, there)
                tl.store(sums + part, total_j, there)
        tl.debug_barrier()
        part = others * R + at
        if SYMMETRIC and (group == others) & (block > 0):
            # Earlier blocks have added to these rows as to columns.
            before = tl.load(sums + part, mine, 0.0)
            if COLD:
                shift_before = tl.load(shifts + part, mine, LOWEST)
                largest = tl.maximum(shift, shift_before)
                total = total * tl.exp2(shift - largest)
                before, shift = before * tl.exp2(shift_before - largest), largest
            total += before
        if COLD:
            tl.store(shifts + part, shift, mine)
        tl.store(sums + part, total, mine)


@triton.jit
def denominators(
    x, own, scales, ranges, totals, shifts, sums, log_d, weights, shares, costs,
    R, N, d, parts, for_class, for_views,
    SYMMETRIC: tl.constexpr, COLD: tl.constexpr, WITH_ITSELF: tl.constexpr,
    PAIRS: tl.constexpr, TOGETHER: tl.constexpr, EXACT: tl.constexpr, WIDE: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """log D_i from its parts, and what a block's pairs of each kind cost: w_ij (log D_i - s_ij).

    For the gradient a_i, what all pairs of a row weigh in the loss, and a_i / D_i.
    """
    at = tl.program_id(0) * BM + tl.arange(0, BM)
    mine = at < R
    i = at if SYMMETRIC else tl.load(own + at, mine, N)
    shift, total = tl.zeros((BM,), tl.float32), tl.zeros((BM,), tl.float32)
    if COLD:
        shift += LOWEST
        for part in range(parts):
            shift = tl.maximum(shift, tl.load(shifts + part * R + at, mine, LOWEST))
    for part in range(parts):
        of_part = tl.load(sums + part * R + at, mine, 0.0)
        if COLD:
            of_part *= tl.exp2(tl.load(shifts + part * R + at, mine, LOWEST) - shift)
        total += of_part
    logs = (shift + tl.log2(tl.where(mine, total, 1.0))) * LN2
    tl.store(log_d + at, logs, mine)

    r_i = tl.load(scales + i, mine, 0.0)
    class_i, end_i, views_i, views_end_i = ranges_of(ranges, i, mine, N)
    of_class, of_views = tl.zeros((BM,), tl.float32), tl.zeros((BM,), tl.float32)
    for start in range(tl.min(class_i, 0) // BN * BN, tl.max(end_i, 0), BN):
        j = start + tl.arange(0, BN)
        s = logits_of(x, scales, i, r_i, j, mine, j < N, d, BM, BN, BK, EXACT, WIDE) * LN2
        in_views = is_within(j, views_i, views_end_i)
        in_class = is_within(j, class_i, end_i) & (in_views == 0)
        if not WITH_ITSELF:
            in_views = in_views & (i[:, None] != j[None, :])
        of_class += tl.sum(tl.where(in_class, s, 0.0), 1)
        of_views += tl.sum(tl.where(in_views, s, 0.0), 1)
    n_class, n_views = numbers_of(class_i, end_i, views_i, views_end_i, WITH_ITSELF)
    c_i, v_i = weights_of(n_class, n_views, totals, PAIRS, TOGETHER)
    a = for_class * c_i * n_class + for_views * v_i * n_views
    tl.store(weights + at, a, mine)
    tl.store(shares + at, a * tl.exp(-tl.where(a > 0, logs, 0.0)), mine)
    # The denominator of an anchor without pairs may be an empty sum.
    of_class = tl.where(n_class > 0, n_class * logs - of_class, 0.0)
    of_views = tl.where(n_views > 0, n_views * logs - of_views, 0.0)
    costs += tl.program_id(0) * 2
    tl.store(costs, tl.sum(tl.where(mine, c_i * of_class, 0.0)))
    tl.store(costs + 1, tl.sum(tl.where(mine, v_i * of_views, 0.0)))
