"""The fused backend: two Triton kernels walk over the matrix, of which a tile exists at a time.

The first (`kernels.row_sums`) leaves log D_i, and sums and numbers of pairs, of each row; weights
are vectors in between; the second (`kernels.gradient`) makes the tiles again, in linear memory.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import reduce

import torch
from torch import Tensor

from uncollapse.losses._engine.arguments import UNLABELLED, DegenerateBatchError, precise_dtype
from uncollapse.losses._engine.batch import Checked
from uncollapse.losses._engine.choice import refuse_fused
from uncollapse.losses._engine.definition import Definition
from uncollapse.losses._engine.plain import Plain, Weighed, conclude, examine, lay_plain, weigh
from uncollapse.losses._engine.result import Computed, lacking


@dataclass(frozen=True)
class Tiling:
    """How a kernel is cut and built."""

    BM: int  # Rows of a tile, and of a program.
    BN: int  # Columns of a tile.
    BK: int  # Dimensions of a step of a product.
    num_warps: int
    num_stages: int


def tilings(dimension: int, dtype: torch.dtype) -> tuple[Tiling, Tiling, int]:
    """Of the two kernels, and the dimensions of the gradient that one program has.

    The largest that need no memory beyond the registers, by ptxas for capabilities 8.0 and 9.0.
    """
    depth = 64 if dtype != torch.float32 and dimension > 32 else 32
    sums = Tiling(64, 32 if dtype == torch.float32 else 64, depth, 8, 2)
    # Products of weights with float16 are made of tf32, as those with float32.
    most, gradient = (128, sums) if dtype == torch.bfloat16 else (64, Tiling(32, 32, 16, 8, 2))
    width = max(16, min(most, 2 ** (dimension - 1).bit_length()))
    return sums, gradient, width


def evaluate_fused(checked: Checked, definition: Definition, with_gradient: bool) -> Computed:
    """Value and gradient by two walks over the matrix."""
    refuse_fused(definition, checked.options, checked.samples.embeddings)
    plain = lay_plain(checked, scaled=False)
    with_itself = definition.terms[0].scope == "all"
    sums = _row_sums(plain, with_itself)
    positives = _of_terms(sums.counts, definition)
    labelled = plain.labels != UNLABELLED
    weighed = weigh(definition, plain.to_columns(positives), labelled, torch.float32)
    extra = {}
    if checked.samples.instances_given:
        extra["conflicts"] = sums.conflicts.sum()
    try:
        seen = examine(plain, definition, weighed, extra)
    except DegenerateBatchError as lacks:
        nothing = torch.zeros_like(plain.rows) if with_gradient else None
        return lacking(checked, definition, lacks, nothing)
    logits = _of_terms(sums.logits, definition)
    precise = sums.log_d.to(precise_dtype(logits.device))
    evaluated = conclude(plain, definition, weighed, positives * precise - logits, seen)
    if not with_gradient:
        return Computed(evaluated, None)
    return Computed(evaluated, *_gradient(plain, definition, weighed, sums, with_itself))


def _of_terms(of_kinds: dict[str, Tensor], definition: Definition) -> Tensor:
    """(T, R): of the pairs of each term."""
    return torch.stack(
        [reduce(torch.add, [of_kinds[kind] for kind in t.positives]) for t in definition.terms]
    )


@dataclass(frozen=True)
class _RowSums:
    """Of each row (R,), by kind of pairs."""

    log_d: Tensor
    logits: dict[str, Tensor]
    counts: dict[str, Tensor]
    conflicts: Tensor


def _row_sums(plain: Plain, with_itself: bool) -> _RowSums:
    from uncollapse.losses._engine.kernels import row_sums  # Triton is loaded where it is used.

    x, rows = plain.columns, plain.own.stop - plain.own.start
    count, dimension = x.shape
    cut, _, _ = tilings(dimension, x.dtype)
    sums = x.new_empty(3, rows, dtype=torch.float32)
    counts = x.new_empty(3, rows, dtype=torch.int32)
    row_sums[-(-rows // cut.BM),](
        *(x, plain.scales, plain.labels, plain.instances, *sums, *counts),
        *(plain.own.start, rows, count, dimension),
        WITH_ITSELF=with_itself,
        EXACT=plain.checked.options.precision == "exact",
        WIDE=x.device.type == "cpu",
        **asdict(cut),
    )
    log_d, of_class, of_views = sums
    n_class, n_views, conflicts = counts
    return _RowSums(
        log_d,
        {"class": of_class, "views": of_views},
        {"class": n_class, "views": n_views},
        conflicts,
    )


def _gradient(
    plain: Plain, definition: Definition, weighed: Weighed, sums: _RowSums, with_itself: bool
) -> tuple[Tensor, Tensor | None]:
    """The gradients in the embeddings of this process, and in log(1 / tau) where it is learned."""
    from uncollapse.losses._engine.kernels import gradient

    checked, options = plain.checked, plain.checked.options
    x, rows = plain.columns, plain.own.stop - plain.own.start
    count, dimension = x.shape
    _, cut, width = tilings(dimension, x.dtype)
    out, along = x.new_empty(rows, dimension, dtype=torch.float32), torch.empty_like(sums.log_d)
    vectors = (
        plain.to_columns(sums.log_d[None])[0].contiguous(),
        weighed.anchors(definition, definition.terms[0].scope),
        weighed.pairs(definition, "class"),
        weighed.pairs(definition, "views"),
    )
    gradient[-(-rows // cut.BM), -(-dimension // width)](
        *(x, plain.scales, plain.labels, plain.instances, *vectors, out, along),
        *(plain.own.start, rows, count, dimension, options.temperature),
        NORMALIZE=options.normalize,
        WITH_ITSELF=with_itself,
        EXACT=options.precision == "exact",
        WIDE=x.device.type == "cpu",
        BD=width,
        **asdict(cut),
    )
    slope = along.sum(dtype=precise_dtype(x.device)).div_(2) if options.learned else None
    if checked.processes is not None:
        out.mul_(len(checked.processes.sizes))
        if slope is not None:
            (slope,) = checked.processes.summed([slope])
    return out, slope
