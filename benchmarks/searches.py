"""What searching a grid costs: at random, or whole grids of a part of its values.

`groups` are settings (alpha, temperature, per class) with their runs, a seed each, measured on
validation and on test rows; benchmarks/theory_in_practice.py trains them.
"""

from __future__ import annotations

from itertools import combinations, product
from math import prod
from statistics import mean
from typing import Any

import numpy as np

ORDERS = 2000
GRIDS = ("alpha", "alpha x tau", "alpha x tau x per class")


def of(rows: list[dict[str, Any]], part: str, layer: str, key: str) -> float:
    """Mean over the runs of a setting."""
    return mean(row[part][layer][key] for row in rows)


def searched(groups: list[Any], layer: str, of_pilot: float | None) -> dict[str, Any]:
    """Regret on test rows by the number of runs of a random search without replacement.

    It takes the setting with the best validation objective of those it has run, one seed each.
    """
    first = np.array([own[0]["validation"][layer]["objective"] for _, own in groups])
    worth = np.array([of(own, "test", layer, "objective") for _, own in groups])
    rng, count = np.random.default_rng(0), len(groups)
    orders = np.argsort(rng.random((ORDERS, count)), axis=1)
    seen = np.maximum.accumulate(first[orders], axis=1)
    # The setting that leads after r runs.
    leader = np.zeros_like(orders)
    for place in range(count):
        is_new = first[orders[:, place]] >= seen[:, place]
        leader[:, place] = np.where(is_new, orders[:, place], leader[:, max(0, place - 1)])
    regret = worth.max() - worth[leader]
    within = regret.mean(axis=0) <= 0.01
    runs = int(np.argmax(within)) + 1 if within.any() else None
    equal = None if of_pilot is None else worth[leader].mean(axis=0) >= of_pilot
    surely = np.quantile(regret, 0.9, axis=0) <= 0.01
    return {
        "best": float(worth.max()),
        "grid_runs": count,
        "grid_regret": float(regret[0, -1]),
        "settings_as_good_as_pilot": None if of_pilot is None else int(np.sum(worth >= of_pilot)),
        "random_runs_mean_as_good_as_pilot": (
            int(np.argmax(equal)) + 1 if equal is not None and equal.any() else None
        ),
        "random_runs_mean_within_1": runs,
        "random_runs_90_percent_within_1": int(np.argmax(surely)) + 1 if surely.any() else None,
    }


def equal_grids(
    groups: list[Any], layer: str, of_pilot: float | None, start: tuple[float, float]
) -> dict[str, dict[str, float] | None]:
    """The smallest grids that are as good as the pilot, by what they vary, two values at least.

    Every grid takes the setting with the best mean validation objective over its seeds. A shape is
    as good as the pilot if the mean over all grids of that shape, with values taken from those of
    the study, is; what is not varied stays as in the present setting.

    Returns:
        By what is varied: "runs" of the smallest such shape, "settings" times seeds, and its mean
        "objective" on test rows; None if no shape is as good.
    """
    seeds = len(groups[0][1])
    seen = {key: of(own, "validation", layer, "objective") for key, own in groups}
    worth = {key: of(own, "test", layer, "objective") for key, own in groups}
    levels = [sorted({key[axis] for key in seen}) for axis in range(3)]
    found: dict[str, dict[str, float] | None] = dict.fromkeys(GRIDS)
    if of_pilot is None or len(seen) < prod(map(len, levels)):
        return found
    for varied, name in enumerate(GRIDS, 1):
        fixed = start[varied - 1 :]
        axes = [*levels[:varied], *([value] for value in fixed)]
        if any(value not in of_axis for value, of_axis in zip(fixed, levels[varied:], strict=True)):
            continue
        sizes = [range(2 if axis < varied else 1, len(v) + 1) for axis, v in enumerate(axes)]
        for shape in sorted(product(*sizes), key=prod):
            parts = (combinations(v, n) for v, n in zip(axes, shape, strict=True))
            chosen = [max(product(*part), key=seen.__getitem__) for part in product(*parts)]
            objective = mean(worth[key] for key in chosen)
            if objective >= of_pilot:
                runs = prod(shape) * seeds
                found[name] = {"runs": runs, "settings": prod(shape), "objective": objective}
                break
    return found
