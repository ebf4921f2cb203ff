"""Products of operands as they are, accumulated in float32: half precision by the tensor cores.

Where a device has no such product they are made of the same numbers in float32, which is the same
sum. Products of float32 are as torch is told to make them (`torch.set_float32_matmul_precision`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from uncollapse.losses._engine.arguments import Precision

# Since torch 2.8.
_ACCUMULATES = hasattr(torch.ops.aten.mm, "dtype")


def has_half_products(rows: Tensor) -> bool:
    """Whether products of these rows are made of half precision, and accumulated in float32."""
    return rows.is_cuda and rows.dtype in (torch.bfloat16, torch.float16) and _ACCUMULATES


def product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """left @ right of one dtype, in at least float32."""
    if left.is_cuda and has_half_products(left):  # A test has them made elsewhere.
        if out is not None:
            return torch.mm(left, right, out_dtype=torch.float32, out=out)
        return torch.mm(left, right, out_dtype=torch.float32)
    wide = torch.promote_types(left.dtype, torch.float32)
    return torch.mm(left.to(wide), right.to(wide), out=out)


def operands(
    entries: Tensor, scales: Tensor, dtype: torch.dtype, precision: Precision
) -> tuple[Tensor, ...]:
    """entries * scales as operands beside rows of a dtype; "exact", what rounding added is another.

    They have not the range of float16, so that they stay as they are beside it.
    """
    if dtype != torch.bfloat16:
        return (entries * scales,)
    rounded = torch.mul(entries, scales, out=torch.empty_like(entries, dtype=dtype))
    if precision == "fast":
        return (rounded,)
    added = torch.empty_like(rounded)
    return rounded, torch.addcmul(rounded, entries, scales, value=-1, out=added)


def beside(rows: Tensor, weights: Sequence[Tensor] | Tensor) -> Tensor:
    """Rows in the dtype of the weights that they are to be multiplied by."""
    return rows.to(weights[0].dtype)


def add_products(total: Tensor, weights: Sequence[Tensor], rows: Tensor) -> None:
    """total += w @ rows, w in one operand, or in two of which the second is to be subtracted."""
    for part, sign in zip(weights, (1, -1), strict=False):
        if part.dtype == total.dtype:
            total.addmm_(part, rows, alpha=sign)
        else:
            total.add_(product(part, rows), alpha=sign)
