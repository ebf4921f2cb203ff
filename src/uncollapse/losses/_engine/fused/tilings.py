"""How the fused kernels are cut and built."""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Dimensions that a program of the gradient holds.
WIDEST = 128


@dataclass(frozen=True)
class Tiling:
    """How a kernel is cut and built."""

    shape: dict[str, int]  # BM rows, BN (or BJ) columns, BK or BD dimensions.
    num_warps: int
    num_stages: int


def tilings(
    count: int,
    dimension: int,
    dtype: torch.dtype,
    capability: tuple[int, int],
    *,
    symmetric: bool = True,
) -> dict[str, Tiling]:
    """By kernel, the largest that spill no register, by ptxas for capabilities 8.0 and 9.0.

    `symmetric`: rows and columns are the same, of one process.
    """
    hopper, single = capability == (9, 0), dtype == torch.float32
    held = max(16, 2 ** (min(dimension, WIDEST) - 1).bit_length())
    side, depth = (128, 32 if single else 64) if hopper or not single else (64, 16)
    wide = side if symmetric and not single else 64
    # A program for each multiprocessor, where there are rows enough.
    rows = 128 if hopper and count > 128 * 128 else 64
    tile = {"BM": rows, "BN": 64, "BK": held, "BD": held}
    if dtype != torch.bfloat16:
        tile = {"BM": 64, "BN": 32, "BK": 16, "BD": held}
    return {
        "lay_out": Tiling({"BM": 64, "BK": 64}, 4, 1),
        "row_sums": Tiling({"BM": side, "BN": side, "BK": min(depth, held)}, 8, 3),
        "denominators": Tiling({"BM": 64, "BN": 64, "BK": min(16, held)}, 4, 2),
        "pair_gradient": Tiling({"BM": 32, "BN": 32, "BD": held}, 8, 2),
        "gradient": Tiling(tile, 8, 2),
        "slopes": Tiling({"BM": side, "BN": wide, "BK": min(depth, held)}, 8, 3),
        "strips": Tiling(_strip(dtype, hopper), 8, 3),
        "project": Tiling({"BM": 32, "BK": 64}, 4, 1),
    }


def _strip(dtype: torch.dtype, hopper: bool) -> dict[str, int]:
    """Beside float16 slopes are float32, which takes more of what a program holds."""
    if dtype == torch.float32:
        depth = 32 if hopper else 16
        return {"BM": 128, "BN": 64, "BK": depth, "BD": 64, "BJ": depth}
    whole = dtype == torch.bfloat16
    if hopper:
        columns, depth = (128, 64) if whole else (64, 32)
        return {"BM": 128, "BN": columns, "BK": 64, "BD": 128, "BJ": depth}
    depth, dimensions = (64, 128) if whole else (32, 64)
    return {"BM": 64, "BN": 128, "BK": depth, "BD": dimensions, "BJ": 32}
