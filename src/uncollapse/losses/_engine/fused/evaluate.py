"""The fused backend, from a batch to value and gradient.

`value_kernels` and `gradient_kernels` have the kernels, each with its equation. Of more dimensions
than a program holds, one makes all slopes and the library their products with the embeddings, or
where that is too many, one makes both by strips. Memory is linear in N, every bit the same again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from uncollapse.losses._engine.arguments import DegenerateBatchError, precise_dtype, smallest_norm
from uncollapse.losses._engine.batch import Checked
from uncollapse.losses._engine.checks import Facts
from uncollapse.losses._engine.choice import refuse_fused
from uncollapse.losses._engine.definition import Definition
from uncollapse.losses._engine.fused.tilings import WIDEST, Tiling, tilings
from uncollapse.losses._engine.plain import (
    Plain,
    conclude,
    examine,
    facts_of,
    lay_plain,
    needs_instances,
)
from uncollapse.losses._engine.processes import Exchange
from uncollapse.losses._engine.products import add_products, beside
from uncollapse.losses._engine.result import Computed, Lacking, lacking

# Groups that rows and columns are cut into for the value, whatever N: a row has a sum for each.
GROUPS = 32
# Slopes up to which all exist at once and the library multiplies them: N = 16,384.
AT_ONCE = 2**28
# Columns whose slopes a block of rows has in memory at a time, where there are more.
STRIP = 1024
_OF_ROWS = ("log_d", "weights", "shares")
# Logits up to this magnitude need no shift: no exponential overflows, no denominator underflows.
_UNSHIFTED = 57.0


def evaluate_fused(checked: Checked, definition: Definition, with_gradient: bool) -> Computed:
    """Value by the upper triangle of the matrix, gradient by making its tiles again."""
    refuse_fused(definition, checked.options, checked.samples.embeddings)
    laid = _lay_out(lay_plain(checked, scaled=False, with_columns=False), definition)
    try:
        seen = examine(laid.plain, laid.facts)
    except DegenerateBatchError as lacks:
        rows = checked.samples.embeddings
        nothing = torch.zeros_like(rows, dtype=torch.float32) if with_gradient else None
        return lacking(checked, definition, lacks, nothing)
    of_rows, values = _value(laid)
    having = laid.counts[2 : 2 + len(definition.terms)]
    of_labelled = tuple(term.labelled_anchors for term in definition.terms)
    lacks_positives = Lacking(having, laid.plain.labels, of_labelled)
    plain = laid.with_scales() if checked.options.track else laid.plain
    evaluated = conclude(plain, definition, values, lacks_positives, seen)
    if not with_gradient:
        return Computed(evaluated, None)
    return Computed(evaluated, *_gradient(laid, of_rows))


@dataclass(frozen=True)
class Laid:
    """A batch as the kernels have it."""

    plain: Plain
    definition: Definition
    cuts: dict[str, Tiling]
    given: dict[str, Any]  # Arguments of kernels by their names.
    sizes: Tensor  # (N,) scales of rows, or norms where they are taken as they are.
    # (8,) int64: pairs, then anchors with a pair, of class and of views (or of both together);
    # labelled rows, rows, rows; rows by instance whose next one has another label.
    counts: Tensor
    least: Tensor  # Label,
    largest: Tensor

    def start(self, kernel: Any, *grid: int, **arguments: Any) -> None:
        """Start a kernel; it takes what it names."""
        cut = self.cuts[kernel.__name__]
        known = self.given | cut.shape | arguments
        taken = {name: known[name] for name in kernel.arg_names}
        with torch.cuda.device_of(self.sizes):  # type: ignore[no-untyped-call]
            kernel[grid](**taken, num_warps=cut.num_warps, num_stages=cut.num_stages)

    def blocks(self, kernel: str, rows: int) -> int:
        """How many blocks of rows a kernel has."""
        return -(-rows // self.cuts[kernel].shape["BM"])

    def facts(self) -> Facts:
        """The numbers by which the batch may be refused."""
        checked, (_, _, _, ends) = self.plain.checked, self.given["ranges"]
        ranges = {"size": self.sizes.aminmax(), "label": (self.least, self.largest)}
        if needs_instances(checked):
            ranges["instance"] = ends[0], ends[-1]  # The first one's end is the last's, of one.
        named = {"labelled": self.counts[4]}
        if checked.samples.instances_given:
            named["conflicts"] = self.counts[7]
        having = self.counts[2 : 2 + len(self.definition.terms)]
        return facts_of(checked, self.definition, ranges, named, having, len(ends))

    def with_scales(self) -> Plain:
        """The batch in the caller's order, with scales."""
        place = self.given["place"]
        scales = self.given["scales"].index_select(0, place)
        if self.plain.is_symmetric:
            return replace(self.plain, scales=scales)
        columns = Exchange(self.given["x"].index_select(0, place))
        return replace(self.plain, exchange=columns, scales=scales)


def _lay_out(plain: Plain, definition: Definition) -> Laid:
    """Sort the batch by label and instance, which makes ranges of classes and instances."""
    from uncollapse.losses._engine.fused.value_kernels import (
        lay_out,  # Triton is loaded where it is used.
    )

    labels, order, by_instance = _order(plain)
    embeddings, options, processes = plain.columns, plain.checked.options, plain.checked.processes
    (count, dimension), device = (len(order), embeddings.shape[1]), embeddings.device
    if processes is None:
        x = torch.empty_like(embeddings)  # The first kernel puts them there.
    else:
        places = torch.empty_like(order)
        places[order] = torch.arange(count, device=device)
        x = processes.exchange_to(embeddings, places)
    scales, sizes = torch.empty(2, count, device=device).unbind()
    weights = {kind: term.weight for term in definition.terms for kind in term.positives}
    integers = torch.empty(5, count, dtype=torch.int32, device=device)
    given = _flags(plain, definition) | {
        "embeddings": embeddings,
        "x": x,
        "labels": plain.labels,
        "instances": plain.instances,
        "order": order,
        "by_instance": by_instance,
        "place": integers[0],
        "ranges": integers[1:],
        "scales": scales,
        "sizes": sizes,
        "own": order,
        "N": count,
        "R": plain.own.stop - plain.own.start,
        "d": dimension,
        "row": plain.own.start,
        "for_class": weights.get("class", 0.0),
        "for_views": weights.get("views", 0.0),
        "tau": options.temperature,
        "scale": options.temperature**-0.5,
        "bits": count.bit_length(),
        "smallest": smallest_norm(torch.float32),
    }
    capability = (9, 0) if device.type != "cuda" else torch.cuda.get_device_capability(device)
    cuts = tilings(count, dimension, x.dtype, capability, symmetric=plain.is_symmetric)
    parts = order.new_empty(-(-count // cuts["lay_out"].shape["BM"]), 8)
    laid = Laid(plain, definition, cuts, given, sizes, parts, labels[0], labels[-1])
    laid.start(lay_out, len(parts), counts=parts)
    counts = parts.sum(0)
    given["totals"] = counts[_totals_at(definition) :]
    if not plain.is_symmetric:
        given["own"], given["by_own"] = given["place"][plain.own].sort()
    return replace(laid, counts=counts)


def _order(plain: Plain) -> tuple[Tensor, Tensor, Tensor]:
    """Sorted labels, the rows sorted by label and then by instance, and by instance alone."""
    if not plain.checked.samples.instances_given:  # Those of one stand one after the other.
        labels, order = plain.labels.sort(stable=True)
        return labels, order, order
    by_instance = plain.instances.sort(stable=True).indices
    labels, then = plain.labels.index_select(0, by_instance).sort(stable=True)
    return labels, by_instance.index_select(0, then), by_instance


def _flags(plain: Plain, definition: Definition) -> dict[str, Any]:
    """What kernels are built for."""
    options = plain.checked.options
    return {
        "NORMALIZE": options.normalize,
        "WITH_ITSELF": definition.terms[0].scope == "all",
        "PAIRS": definition.conventions.reduction == "pairs",
        "TOGETHER": len(definition.terms) == 1,
        "CONFLICTS": plain.checked.samples.instances_given,
        "SYMMETRIC": plain.is_symmetric,
        "COLD": not options.normalize or 1 / options.temperature > _UNSHIFTED,
        "EXACT": options.precision == "exact",
        "WIDE": not plain.labels.is_cuda,
    }


def _totals_at(definition: Definition) -> int:
    """Where in `Laid.counts` is what weights of pairs are shared by, of class and of views.

    pairs:    w_i = 1 / sum_k |P(k)|
    anchors:  w_i = 1 / (A |P(i)|), A the number of anchors with a positive ("drop") or of all
              anchors ("zero")
    """
    if definition.conventions.reduction == "pairs":
        return 0
    if definition.conventions.anchors_without_positives != "zero":
        return 2
    return 4 if definition.terms[0].labelled_anchors else 5


def _value(laid: Laid) -> tuple[Tensor, Tensor]:
    """(3, R) log D_i, a_i and a_i / D_i in the order of the kernels, and the values of terms."""
    from uncollapse.losses._engine.fused.value_kernels import denominators, row_sums

    given = laid.given
    x, rows = given["x"], given["R"]
    each = -(-laid.blocks("row_sums", given["N"]) // GROUPS)
    groups = -(-laid.blocks("row_sums", given["N"]) // each)
    sums = x.new_empty(groups, rows, dtype=torch.float32)
    parts = {"sums": sums, "shifts": torch.empty_like(sums) if given["COLD"] else sums}
    across = groups if given["SYMMETRIC"] else laid.blocks("row_sums", rows)
    laid.start(row_sums, across, groups, **parts, blocks=each)
    of_rows = sums.new_empty(3, rows)
    parts |= dict(zip(_OF_ROWS, of_rows, strict=True))
    costs = sums.new_empty(laid.blocks("denominators", rows), 2)
    laid.start(denominators, len(costs), **parts, parts=groups, costs=costs)
    values = costs.sum(0, keepdim=given["TOGETHER"])
    if laid.plain.checked.processes is not None:
        (values,) = laid.plain.checked.processes.summed([values])
    return of_rows, values.sum(1) if given["TOGETHER"] else values


def _gradient(laid: Laid, of_rows: Tensor) -> tuple[Tensor, Tensor | None]:
    """The gradients in the embeddings of this process, and in log(1 / tau) where it is learned."""
    from uncollapse.losses._engine.fused import gradient_kernels

    given, processes = laid.given, laid.plain.checked.processes
    x, rows = given["x"], given["R"]
    if processes is not None:
        in_callers_order = torch.empty_like(of_rows.T).index_copy_(0, given["by_own"], of_rows.T)
        of_rows = processes.gather(in_callers_order).index_select(0, given["order"]).T.contiguous()
    log_d, weights, shares = of_rows
    sums, along = of_rows.new_empty(rows, x.shape[1]), of_rows.new_empty(rows)
    out = torch.empty_like(sums)
    given |= {"log_d": log_d, "weights": weights if given["COLD"] else shares, "sums": sums}
    parts = -(-x.shape[1] // laid.cuts["pair_gradient"].shape["BD"])
    laid.start(gradient_kernels.pair_gradient, laid.blocks("pair_gradient", rows), parts)
    if x.shape[1] <= WIDEST:
        laid.start(gradient_kernels.gradient, laid.blocks("gradient", rows))
    else:
        _add_wide(laid, sums)
    laid.start(gradient_kernels.project, laid.blocks("project", rows), out=out, along=along)
    slope = None
    if laid.plain.checked.options.learned:
        slope = along.sum(dtype=precise_dtype(x.device)).div_(2)
    if processes is not None:
        out.mul_(len(processes.sizes))
        if slope is not None:
            (slope,) = processes.summed([slope])
    return out, slope


def _add_wide(laid: Laid, sums: Tensor) -> None:
    """Add to (R, d) sums r_i g_i what is not of pairs, of more dimensions than a program holds."""
    from uncollapse.losses._engine.fused.gradient_kernels import slopes, strips

    x, (rows, columns) = laid.given["x"], (laid.given["R"], laid.given["N"])
    half, at_once = x.dtype == torch.bfloat16, rows * columns <= AT_ONCE
    split = half and laid.given["EXACT"]
    blocks = laid.blocks("slopes" if at_once else "strips", rows)
    shape = (rows, columns) if at_once else (blocks * laid.cuts["strips"].shape["BM"], STRIP)
    parts = x.new_empty(1 + split, *shape, dtype=x.dtype if half else torch.float32)
    operands = {"entries": parts[0], "rest": parts[-1], "SPLIT": split}
    if not at_once:
        laid.start(strips, blocks, strip=STRIP, **operands)
        return
    laid.start(slopes, blocks, -(-columns // laid.cuts["slopes"].shape["BN"]), **operands)
    for part in parts.unbind():
        add_products(sums, [part], beside(x, parts))
