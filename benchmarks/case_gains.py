"""What changes gain in the worked cases, over the start and over what is free, with intervals.

Points of balanced accuracy from ten examples, test rows. Intervals of 95%, one by one, over seeds:
of differences inside a run where both sides are of that run (Student), else of two means (Welch).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from case_scores import alpha_of, by_row, row_names

from uncollapse.statistics import mean_difference

Runs = Sequence[Mapping[str, Any]]
FREE = ("whitened", "base beside it, same size")
# What stands in the lines of a case's table, free changes first.
LINES = (*FREE, "layer before the head", "base alone")
SCORES = {"finer": "shots_10", "label": "label_shots_10"}


def _trained(row: str) -> str:
    """The training that a row's runs share: rows of one training are compared run by run."""
    return re.split(", (?!keep)", row)[0]


def gain(rows: Mapping[str, Runs], before: str, after: str, score: str) -> str:
    """Points that one row has over another, with the interval."""
    sides = [[100 * run["scores"][score] for run in rows[name]] for name in (before, after)]
    count = max(map(len, sides))
    # What nothing was trained for has one value, without a spread over seeds.
    alone = any(len(side) < count for side in sides)
    first, second = (side * count if len(side) < count else side for side in sides)
    same = alone or _trained(before) == _trained(after)
    found = mean_difference([first], [second], same_runs=same)
    return f"{found.estimate:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"


def gains(runs: Runs) -> str:
    """A line for each change of a case: over the start, and over what is free at the same size."""
    rows = by_row(runs)
    names = row_names(rows)
    start, whitened, beside = (names[key] for key in ("SupCon", *FREE))
    head = (
        "ten examples, points",
        "finer label: over the start",
        "over the start whitened",
        "over the start beside the base",
        "training label: over the start",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    plain = [names[key] for key in LINES if key in names]
    layer = "projector" if start.endswith("projector") else ""
    kept = [row for row in rows if re.fullmatch(r"SupCon, keep [\d.]+(, projector)?", row)]
    raised = [row for row in rows if alpha_of(row) and row.endswith(layer) and "beside" not in row]
    trained = [*sorted((row for row in raised if "backbone" not in row), key=alpha_of), *kept]
    for row in [*plain, *trained, "cross-entropy"]:
        over = [
            "" if row == free or row in (whitened, beside) else gain(rows, free, row, "shots_10")
            for free in (whitened, beside)
        ]
        finer, label = (gain(rows, start, row, score) for score in SCORES.values())
        lines.append(f"| {row} | {finer} | {' | '.join(over)} | {label} |")
    return "\n".join(lines)


def gained(cases: Mapping[str, Runs]) -> str:
    """A line for each case: what is free over the start, raised alpha over the start and both."""
    head = (
        "data",
        "whitened, over the start",
        "base beside it, over the start",
        "layer before the head, over the start",
        "alpha raised, over the start",
        "alpha raised, over whitened",
        "alpha raised, over the base beside it",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for case, runs in cases.items():
        rows = by_row(runs)
        names = row_names(rows)
        start, alpha = names["SupCon"], names["alpha raised"]
        pairs = [
            *((start, names.get(key)) for key in (*FREE, "layer before the head")),
            *((before, alpha) for before in (start, *(names[key] for key in FREE))),
        ]
        cells = [gain(rows, a, b, SCORES["finer"]) if b else "" for a, b in pairs]
        lines.append(f"| {case} ({alpha.partition(',')[0]}) | {' | '.join(cells)} |")
    return "\n".join(lines)
