"""The runs of benchmarks/keep_study.py as they are stored, and what is chosen of them.

Choices look at validation rows alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from keep_methods import BETAS

from uncollapse.records import Interval
from uncollapse.statistics import mean_interval

STORED = Path(__file__).parent.parent / "docs" / "study" / "keep.json"
# Columns of the stored rows: of test rows, then of validation rows.
TEST = (
    "shots_1",
    "shots_10",
    "shots_50",
    "retrieval",
    "label_knn",
    "label_shots_10",
    "label_linear",
    "within_class_variance",
    "retention",
    "worst_class",  # Null where an older run did not ask, as of those below.
    "shots_5",
    "linear",
    "precision",
    "worst_slice",
)
CHOOSING = ("shots_10", "label_knn", "label_shots_10", "retention")
ORDER = ("cells", "text", "digits", "satellite", "segments", "endgames", "garments")
BASES = ("SupCon", "alpha 0.2", "alpha 0.5")
ALPHAS = ("SupCon", "alpha 0.05", "alpha 0.2", "alpha 0.5")
MARGIN = 0.01  # Of the training label.
GAIN = 0.05  # Of the finer label, ten shots, that the claim asks for.


@dataclass(frozen=True)
class Runs:
    """What was read of one data set: values by row, seed and column."""

    values: Mapping[str, Mapping[int, Mapping[str, float | None]]]
    told: Mapping[int, Mapping[str, Mapping[str, float]]]

    def has(self, row: str) -> bool:
        """Whether more than one seed has it."""
        return len(self.seeds(row)) > 1

    def seeds(self, row: str) -> set[int]:
        """Seeds of a row."""
        return set(self.values.get(row, {}))

    def among(self, rows: Iterable[str]) -> Runs:
        """The seeds that all of these rows have."""
        kept = set.intersection(*(self.seeds(row) for row in rows))
        return Runs(
            {r: {k: v for k, v in own.items() if k in kept} for r, own in self.values.items()},
            self.told,
        )

    def of(self, row: str, column: str) -> list[float]:
        """A value a seed; columns of validation rows begin with "validation "."""
        found = (found[column] for _, found in sorted(self.values[row].items()))
        return [value for value in found if value is not None]

    def mean(self, row: str, column: str) -> float:
        """Mean over seeds."""
        return fmean(self.of(row, column))

    def less(self, row: str, other: str, column: str) -> Interval:
        """The first less the second, on the seeds that both have."""
        one, two = (
            {s: v for s, found in self.values[name].items() if (v := found[column]) is not None}
            for name in (row, other)
        )
        return mean_interval([one[seed] - two[seed] for seed in sorted(one.keys() & two.keys())])


def read() -> dict[str, Runs]:
    """All that is stored."""
    stored = json.loads(STORED.read_text("utf-8"))
    columns = [*TEST, *(f"validation {name}" for name in CHOOSING)]
    found = {}
    for name, block in stored.items():
        values: dict[str, dict[int, dict[str, float | None]]] = {}
        for row, seed, *numbers in block["rows"]:
            values.setdefault(row, {})[seed] = dict(zip(columns, numbers, strict=True))
        told = {int(seed): each for seed, each in block["told"].items()}
        found[name] = Runs(values, told)
    return found


def take(folders: Sequence[Path]) -> None:
    """Add the lines of benchmarks/keep_study.py; of a row and seed those of the last folder."""
    blocks, stored = [], json.loads(STORED.read_text("utf-8")) if STORED.exists() else {}
    for name in ORDER:
        known = stored.get(name, {"rows": [], "told": {}})
        rows: dict[tuple[str, int], list[Any]] = {
            (row, seed): numbers for row, seed, *numbers in known["rows"]
        }
        told: dict[str, Any] = known["told"]
        for path in (folder / f"keep-{name}.jsonl" for folder in folders):
            lines = path.read_text("utf-8").splitlines() if path.exists() else []
            for line in map(json.loads, lines):
                if "told" in line:
                    told[str(line["seed"])] = line["told"]
                for found in line.get("rows", ()):
                    numbers = [found["test"].get(key) for key in TEST]
                    numbers += [found["validation"][key] for key in CHOOSING]
                    rows[found["row"], line["seed"]] = numbers
        if rows:
            text = ",\n".join(json.dumps([*key, *numbers]) for key, numbers in rows.items())
            blocks.append(f'"{name}": {{"told": {json.dumps(told)}, "rows": [\n{text}\n]}}')
    STORED.write_text("{\n" + ",\n".join(blocks) + "\n}\n", "utf-8")


def keeping(base: str, beta: float) -> str:
    """The name of a setting with keep."""
    return f"{base}, keep {beta:g}" if beta else base


def best_alpha(runs: Runs) -> str:
    """The alpha without keep that is best on validation rows by their finer labels."""
    known = [r for r in ALPHAS if runs.has(r)] or [r for r in ALPHAS if runs.seeds(r)]
    return max(known, key=lambda row: runs.mean(row, "validation shots_10"))


def largest_beta(runs: Runs, base: str) -> float:
    """The largest beta that costs no more than `MARGIN` of the training label.

    By neighbours on validation rows, mean over seeds, against the same alpha without keep; finer
    labels take no part.
    """
    column = "validation label_knn"
    runs = runs.among(keeping(base, beta) for beta in (0.0, *BETAS))
    floor = runs.mean(base, column) - MARGIN
    fits = [b for b in BETAS if runs.mean(keeping(base, b), column) >= floor]
    return max(fits, default=0.0)


def fitting(runs: Runs, labels: tuple[str, ...]) -> list[str]:
    """Settings whose training label on validation rows is within `MARGIN` of SupCon's."""
    every = [keeping(base, beta) for base in BASES for beta in (0.0, *BETAS)]
    columns = [f"validation {label}" for label in labels]
    runs = runs.among(every)
    return [
        row
        for row in every
        if all(runs.mean(row, key) >= runs.mean("SupCon", key) - MARGIN for key in columns)
    ]


def chosen(runs: Runs, labels: tuple[str, ...] = ("label_knn",)) -> str:
    """Of those, the one of the largest retention on validation rows; without finer labels."""
    return max(fitting(runs, labels), key=lambda row: runs.mean(row, "validation retention"))


def strictly(runs: Runs) -> str:
    """The same, where the training label from ten examples must be as good too."""
    return chosen(runs, ("label_knn", "label_shots_10"))


def one_for_all(every: Mapping[str, Runs]) -> str:
    """The alpha, at beta = 1, whose finer label on validation rows is best over all data sets."""
    return max(
        (keeping(base, 1.0) for base in BASES),
        key=lambda row: fmean(runs.mean(row, "validation shots_10") for runs in every.values()),
    )


def beside_of(runs: Runs) -> str:
    """The side-by-side embedding of equal size that is best on validation rows."""
    known = [f"{base}, beside the reference, equal size" for base in BASES]
    return max(known, key=lambda row: runs.mean(row, "validation shots_10"))


def fails(gain: Interval, label: Interval, beside: Interval) -> Iterator[str]:
    """Which of the three parts of the claim do not hold."""
    if gain.estimate < GAIN or (gain.low or 0) <= 0:
        yield "no gain" if gain.estimate < GAIN else "gain not seen"
    if label.estimate < -MARGIN:
        yield "costs label"
    elif (label.low or 0) < -MARGIN:
        yield "label not seen"
    if (beside.high or 0) < 0:
        yield "below side by side"
