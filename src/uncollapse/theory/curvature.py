"""The second derivative of the loss at a point, as a linear map, for one term per block.

With P the softmax of an anchor of block g over its own views, the other instances of its class and
the other blocks,

    tau d log D_g = P_s ds_g + P_a da_g + sum_h P_gh db_gh  and  dP = P (d cosine / tau - d log D).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from uncollapse.theory.program import Gradient, Point, Program, gradient_of, log_denominators

__all__ = ["curvature"]

Array = np.ndarray[Any, np.dtype[np.float64]]


def curvature(program: Program, point: Point) -> Callable[[Point], Gradient]:
    """How the gradient changes along a direction, given as the changes of a point's numbers."""
    terms, tau = program.terms, program.temperature
    log_d, views, mates, _ = log_denominators(program, point)
    _, _, b = point.cosines(program)
    with np.errstate(divide="ignore"):
        others = np.exp(np.log(program.views * terms.others) + b / tau - log_d[:, None])
    of_views, of_mates = np.exp(views - log_d), np.exp(mates - log_d)
    weight = terms.weight / tau

    def along(change: Point) -> Gradient:
        ds, da, db = change.changes(program)
        d_log = (of_views * ds + of_mates * da + (others * db).sum(1)) / tau
        return gradient_of(
            program,
            weight * of_views * (ds / tau - d_log),
            weight * of_mates * (da / tau - d_log),
            weight[:, None] * others * (db / tau - d_log[:, None]),
        )

    return along
