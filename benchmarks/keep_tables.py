"""The tables of docs/keep.md, from docs/study/keep.json.

    python benchmarks/keep_tables.py [runs/keep]

Given the folder that benchmarks/keep_study.py wrote, its lines are first taken into
docs/study/keep.json; the tables are written into the page, between `<!-- keep NAME -->` and
`<!-- end -->`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from uncollapse.records import Interval
from uncollapse.statistics import mean_interval

DOCS = Path(__file__).parent.parent / "docs"
STORED = DOCS / "study" / "keep.json"
PAGE = DOCS / "keep.md"
PLACE = re.compile(r"(<!-- keep ([\w -]+) -->\n).*?(<!-- end -->)", re.DOTALL)
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
)
CHOOSING = ("shots_10", "label_knn", "label_shots_10", "retention")
ORDER = ("cells", "text", "digits", "satellite", "segments", "endgames", "garments")
BASES = ("SupCon", "alpha 0.2", "alpha 0.5")
ALPHAS = ("SupCon", "alpha 0.05", "alpha 0.2", "alpha 0.5")
BETAS = (0.3, 1.0, 3.0)
MARGIN = 0.01  # Of the training label.
READ = ("shots_10", "label_knn")
GAIN = 0.05  # Of the finer label, ten shots, that the claim asks for.


@dataclass(frozen=True)
class Runs:
    """What was read of one data set: values by row, seed and column."""

    values: Mapping[str, Mapping[int, Mapping[str, float]]]
    told: Mapping[int, Mapping[str, Mapping[str, float]]]

    def has(self, row: str) -> bool:
        """Whether every seed of the start has it too."""
        return self.seeds("SupCon") <= self.seeds(row) or row.startswith("reference")

    def seeds(self, row: str) -> set[int]:
        """Seeds of a row."""
        return set(self.values.get(row, {}))

    def of(self, row: str, column: str) -> list[float]:
        """A value a seed; columns of validation rows begin with "validation "."""
        return [found[column] for _, found in sorted(self.values[row].items())]

    def mean(self, row: str, column: str) -> float:
        """Mean over seeds."""
        return fmean(self.of(row, column))

    def less(self, row: str, other: str, column: str) -> Interval:
        """The first less the second, seed by seed; what needs no seed is the same for each."""
        seeds = self.seeds(row) & self.seeds(other)
        if not seeds or len(self.seeds(row)) == 1 or len(self.seeds(other)) == 1:
            seeds = max(self.seeds(row), self.seeds(other), key=len)

        def at(name: str, seed: int) -> float:
            found = self.values[name]
            return found.get(seed, next(iter(found.values())))[column]

        return mean_interval([at(row, seed) - at(other, seed) for seed in sorted(seeds)])


def read() -> dict[str, Runs]:
    """All that is stored."""
    stored = json.loads(STORED.read_text("utf-8"))
    columns = [*TEST, *(f"validation {name}" for name in CHOOSING)]
    found = {}
    for name, block in stored.items():
        values: dict[str, dict[int, dict[str, float]]] = {}
        for row, seed, *numbers in block["rows"]:
            values.setdefault(row, {})[seed] = dict(zip(columns, numbers, strict=True))
        told = {int(seed): each for seed, each in block["told"].items()}
        found[name] = Runs(values, told)
    return found


def take(folder: Path) -> None:
    """Take the lines of benchmarks/keep_study.py."""
    blocks = []
    for name in ORDER:
        path = folder / f"keep-{name}.jsonl"
        if not path.exists():
            continue
        rows, told = [], {}
        for line in map(json.loads, path.read_text("utf-8").splitlines()):
            if "told" in line:
                told[str(line["seed"])] = line["told"]
            for found in line.get("rows", ()):
                numbers = [found["test"][key] for key in TEST]
                numbers += [found["validation"][key] for key in CHOOSING]
                rows.append([found["row"], line["seed"], *numbers])
        lines = ",\n".join(json.dumps(row) for row in rows)
        blocks.append(f'"{name}": {{"told": {json.dumps(told)}, "rows": [\n{lines}\n]}}')
    STORED.write_text("{\n" + ",\n".join(blocks) + "\n}\n", "utf-8")


def keeping(base: str, beta: float) -> str:
    """The name of a setting with keep."""
    return f"{base}, keep {beta:g}" if beta else base


def best_alpha(runs: Runs) -> str:
    """The alpha without keep that is best on validation rows by their finer labels."""
    known = [row for row in ALPHAS if runs.has(row)]
    return max(known, key=lambda row: runs.mean(row, "validation shots_10"))


def largest_beta(runs: Runs, base: str) -> float:
    """The largest beta that costs no more than `MARGIN` of the training label.

    By neighbours on validation rows, mean over seeds, against the same alpha without keep; finer
    labels take no part.
    """
    column = "validation label_knn"
    floor = runs.mean(base, column) - MARGIN
    fits = [b for b in BETAS if runs.mean(keeping(base, b), column) >= floor]
    return max(fits, default=0.0)


def fitting(runs: Runs, labels: tuple[str, ...]) -> list[str]:
    """Settings whose training label on validation rows is within `MARGIN` of SupCon's."""
    every = [keeping(base, beta) for base in BASES for beta in (0.0, *BETAS)]
    columns = [f"validation {label}" for label in labels]
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
    """The setting with keep whose finer label on validation rows is best over all data sets."""
    settings = [keeping(base, beta) for base in BASES for beta in BETAS]
    return max(
        settings,
        key=lambda row: fmean(runs.mean(row, "validation shots_10") for runs in every.values()),
    )


def percent(values: list[float]) -> str:
    """Mean over seeds and standard deviation, in per cent."""
    text = f"{100 * fmean(values):.1f}"
    return f"{text} ± {100 * stdev(values):.1f}" if len(values) > 1 else text


HEADS = {
    "shots_1": "1 shot",
    "shots_10": "10 shots",
    "shots_50": "50 shots",
    "retrieval": "retrieval",
    "label_knn": "label: kNN",
    "label_shots_10": "10 shots",
    "label_linear": "linear",
    "within_class_variance": "W",
    "retention": "retention",
}


def every_row(runs: Runs) -> Iterator[str]:
    """All rows of a data set."""
    yield f"| embedding | {' | '.join(HEADS.values())} |"
    yield "|---" * (1 + len(HEADS)) + "|"
    for row in runs.values:
        if "reference " in row or "noise" in row:
            continue
        cells = []
        for column in HEADS:
            values = runs.of(row, column)
            plain = column in ("within_class_variance", "retention")
            cells.append(f"{fmean(values):.2f}" if plain else percent(values))
        yield f"| {row} | {' | '.join(cells)} |"


ROWS = (
    "reference",
    "reference, equal size",
    *ALPHAS,
    "sincere",
    "l-spread",
    "l-spread, autoencoder 1",
    "cross-entropy",
    "SupCon, backbone",
    "SupCon, whitened",
    *(f"{base}, beside the reference, equal size" for base in BASES),
    "SupCon, beside the reference",
    "SupCon, distances 30",
    "SupCon, similarities 3000",
    "SupCon, all rows 1",
    "SupCon, all rows 3",
    *(f"{base}, keep {beta:g}" for base in BASES for beta in BETAS),
)


def overview(every: Mapping[str, Runs]) -> Iterator[str]:
    """Finer label / training label of every method on every data set, means over seeds."""
    heads = [f"{name} ({len(runs.seeds('SupCon'))})" for name, runs in every.items()]
    yield f"| embedding | {' | '.join(heads)} |"
    yield "|---" * (1 + len(heads)) + "|"
    for row in ROWS:
        cells = []
        for runs in every.values():
            few = runs.seeds(row) < runs.seeds("SupCon") and not row.startswith("reference")
            pair = [100 * runs.mean(row, key) for key in READ] if runs.seeds(row) else []
            cells.append(" / ".join(f"{value:.1f}" for value in pair) + "*" * bool(pair and few))
        yield f"| {row} | {' | '.join(cells)} |"


def judged(every: Mapping[str, Runs], row_of: Callable[[Runs], str]) -> Iterator[str]:
    """The claim, data set by data set: points on test rows, intervals over seeds."""
    yield (
        "| data | keep | best alpha without | finer label: gain | label, kNN: against SupCon"
        " | label, ten shots | label, linear | finer label: against side by side, equal size"
        " | holds |"
    )
    yield "|---" * 9 + "|"
    for name, runs in every.items():
        row, without = row_of(runs), best_alpha(runs)
        gain = runs.less(row, without, "shots_10")
        labels = [runs.less(row, "SupCon", key) for key in HEADS if key.startswith("label")]
        beside = runs.less(row, beside_of(runs), "shots_10")
        cells = [each.in_points() for each in (gain, *labels, beside)]
        holds = ", ".join(fails(gain, labels[0], beside)) or "yes"
        yield f"| {name} | {row} | {without} | {' | '.join(cells)} | {holds} |"


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


def betas(every: Mapping[str, Runs]) -> Iterator[str]:
    """The rule for beta and the default against the best beta, whose label is within the margin."""
    yield "| data | alpha | by the rule | finer label | default, 1 | finer label | label | best |"
    yield "|---" * 8 + "|"
    for name, runs in every.items():
        for base in BASES:
            rule = largest_beta(runs, base)
            floor = runs.mean(base, "label_knn") - MARGIN
            row = {beta: keeping(base, beta) for beta in (0.0, *BETAS)}
            fits = [beta for beta in row if runs.mean(row[beta], "label_knn") >= floor]
            worth = {beta: 100 * runs.mean(row[beta], "shots_10") for beta in row}
            best = max(fits, key=lambda beta: worth[beta])
            lost = 100 * (runs.mean(row[1.0], "label_knn") - runs.mean(base, "label_knn"))
            cells = [
                f"{rule:g}",
                f"{worth[rule]:.1f} ({worth[rule] - worth[best]:+.1f})",
                f"{worth[1.0]:.1f} ({worth[1.0] - worth[best]:+.1f})",
                f"{lost:+.1f}",
                f"{best:g}: {worth[best]:.1f}",
            ]
            yield f"| {name} | {base} | {' | '.join(cells[:2])} | 1 | {' | '.join(cells[2:])} |"


def bad(every: Mapping[str, Runs]) -> Iterator[str]:
    """Bad references and wrong labels."""
    yield "| data | setting | 10 shots | label: kNN | linear | retention | keep adds |"
    yield "|---" * 7 + "|"
    for name, runs in every.items():
        for row in runs.values:
            if ("reference " not in row and "noise" not in row) or row.startswith("reference"):
                continue
            if "beside" in row:
                continue
            cells = [percent(runs.of(row, key)) for key in ("shots_10", "label_knn")]
            cells += [percent(runs.of(row, "label_linear")), f"{runs.mean(row, 'retention'):.2f}"]
            plain = re.sub(r", (keep [\d.]+|reference \w+)", "", row)
            gain = runs.less(row, plain, "shots_10").in_points() if plain != row else ""
            yield f"| {name} | {row} | {' | '.join(cells)} | {gain} |"


def tables() -> dict[str, Iterator[str]]:
    """Every table by name."""
    every = read()
    whole = {name: runs for name, runs in every.items() if runs.has(keeping(BASES[-1], BETAS[-1]))}
    made = {"overview": overview(every)}
    made |= {name: every_row(runs) for name, runs in every.items()}
    made["claim one"] = judged(whole, lambda runs: one_for_all(whole))
    made["claim chosen"] = judged(whole, chosen)
    made["claim strictly"] = judged(whole, strictly)
    made["betas"] = betas(whole)
    made["bad"] = bad(every)
    return made


def with_tables(text: str) -> str:
    """A page with the tables that it names."""
    made = tables()

    def table(found: re.Match[str]) -> str:
        lines = "\n".join(made.get(found[2], ()))
        return f"{found[1]}\n{lines}\n\n{found[3]}"

    return PLACE.sub(table, text)


def main() -> None:
    for given in sys.argv[1:]:
        take(Path(given))
    if PAGE.exists():
        PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
    else:
        for name, lines in tables().items():
            print(f"\n{name}\n", *lines, sep="\n")


if __name__ == "__main__":
    main()
