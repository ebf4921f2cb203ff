"""The tables of docs/keep.md, from docs/study/keep.json.

    python benchmarks/keep_tables.py [runs/keep ...]

Given the folders that benchmarks/keep_study.py wrote, their lines are first added to
docs/study/keep.json, in place of those of the same row and seed; the tables are written into the
page, between `<!-- keep NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import fmean, stdev

import keep_told
from keep_methods import BETAS, COLUMNS, OTHERS, REFERENCES
from keep_runs import (
    ALPHAS,
    BASES,
    MARGIN,
    Runs,
    beside_of,
    best_alpha,
    chosen,
    fails,
    keeping,
    largest_beta,
    one_for_all,
    read,
    strictly,
    take,
)

PAGE = Path(__file__).parent.parent / "docs" / "keep.md"
PLACE = re.compile(r"(<!-- keep ([\w -]+) -->\n).*?(<!-- end -->)", re.DOTALL)
LEAST = 3  # Seeds; fewer have a star.
READ = ("shots_10", "label_knn")
WORST = ("worst_class", "worst_slice")
HARD = ("reference ", "noise", "imbalance", "columns")
MOVED = ("shots_10", "linear", "label_knn", "label_linear", "retention")


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
        if any(word in row for word in HARD):
            continue
        cells = []
        for column in HEADS:
            values = runs.of(row, column)
            plain = column in ("within_class_variance", "retention")
            cells.append(f"{fmean(values):.2f}" if plain else percent(values))
        yield f"| {row} | {' | '.join(cells)} |"


ASKED = {
    "shots_1": "1 shot",
    "shots_5": "5",
    "shots_10": "10",
    "shots_50": "50",
    "linear": "linear",
    "retrieval": "recall at 1",
    "precision": "mAP",
    "worst_class": "worst class",
    "label_knn": "label: kNN",
    "label_shots_10": "10 shots",
    "label_linear": "linear",
    "worst_slice": "worst slice",
    "within_class_variance": "W",
}
EQUAL = "beside the reference, equal size"
ROWS = (
    "reference",
    "reference, equal size",
    *ALPHAS,
    "sincere",
    "sincere, keep 1",
    "l-spread",
    "l-spread, keep 1",
    "l-spread, autoencoder 1",
    "cross-entropy",
    "cross-entropy, keep 1",
    "SupCon, backbone",
    "alpha 0.5, backbone",
    "alpha 0.5, keep 1, backbone",
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
            few = len(runs.seeds(row)) < LEAST and not row.startswith("reference")
            pair = [100 * runs.mean(row, key) for key in READ] if runs.seeds(row) else []
            cells.append(" / ".join(f"{value:.1f}" for value in pair) + "*" * bool(pair and few))
        yield f"| {row} | {' | '.join(cells)} |"


def judged(every: Mapping[str, Runs], row_of: Callable[[Runs], str]) -> Iterator[str]:
    """The claim, data set by data set: points on test rows, intervals over seeds."""
    yield (
        "| data (seeds) | keep | best alpha without | finer label: gain | label by neighbours"
        " | by ten examples | linear | side by side: finer label | label by ten examples | holds |"
    )
    yield "|---" * 10 + "|"
    for name, runs in every.items():
        row, without = row_of(runs), best_alpha(runs)
        gain = runs.less(row, without, "shots_10")
        labels = [runs.less(row, "SupCon", key) for key in HEADS if key.startswith("label")]
        sides = [runs.less(row, beside_of(runs), key) for key in ("shots_10", "label_shots_10")]
        cells = [each.in_points() for each in (gain, *labels, *sides)]
        holds = ", ".join(fails(gain, labels[0], sides[0])) or "yes"
        count = len(runs.seeds(row) & runs.seeds(without))
        yield f"| {name} ({count}) | {row} | {without} | {' | '.join(cells)} | {holds} |"


def betas(every: Mapping[str, Runs]) -> Iterator[str]:
    """The rule for beta and the default against the best beta, whose label is within the margin."""
    yield "| data | alpha | by the rule | finer label | default, 1 | finer label | label | best |"
    yield "|---" * 8 + "|"
    for name, whole in every.items():
        for base in BASES:
            row = {beta: keeping(base, beta) for beta in (0.0, *BETAS)}
            if not all(whole.has(each) for each in row.values()):
                continue
            rule, runs = largest_beta(whole, base), whole.among(row.values())
            floor = runs.mean(base, "label_knn") - MARGIN
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
    """Bad references, wrong labels and rare classes."""
    yield (
        "| data | setting (seeds) | 10 shots | label: kNN | linear | retention | worst class"
        " | worst slice | keep adds | to the worst class | to the worst slice |"
    )
    yield "|---" * 11 + "|"
    for name, runs in every.items():
        for row in runs.values:
            if not any(word in row for word in HARD) or row.startswith("reference"):
                continue
            if any(word in row for word in ("beside", "columns", "backbone")) or name == "garments":
                continue
            if len(runs.seeds(row)) < LEAST or any(f"reference {o}" in row for o in OTHERS):
                continue
            cells = [percent(runs.of(row, key)) for key in (*READ, "label_linear")]
            cells.append(f"{runs.mean(row, 'retention'):.2f}")
            cells += [percent(runs.of(row, key)) for key in WORST]
            plain = re.sub(r", (keep [\d.]+|reference (without kinds|[\w-]+))", "", row)
            for key in ("shots_10", *WORST):
                cells.append(runs.less(row, plain, key).in_points() if plain != row else "")
            yield f"| {name} | {row} ({len(runs.seeds(row))}) | {' | '.join(cells)} |"


def references(every: Mapping[str, Runs]) -> Iterator[str]:
    """Data sets with several good references: each of them, and keep of weight 1 with it."""
    yield (
        "| data | reference (seeds) | its finer label / label | alpha | without keep | keep 1"
        " | over the same alpha | over the best alpha | label by neighbours | linear"
        " | side by side: finer label |"
    )
    yield "|---" * 11 + "|"
    for name, runs in every.items():
        if not any(runs.seeds(f"reference {other}") for other in OTHERS):
            continue
        for title in ("pixels", *OTHERS):
            own = "reference" if title == "pixels" else f"reference {title}"
            told = " / ".join(f"{100 * runs.mean(own, key):.1f}" for key in READ)
            for base in BASES:
                row = keeping(base, 1.0) + f", {own}" * (title != "pixels")
                if len(runs.seeds(row)) < LEAST:
                    continue
                beside = "the reference" if title == "pixels" else own
                side = f"{base}, beside {beside}, equal size"
                pairs = [(base, "shots_10"), (best_alpha(runs), "shots_10")]
                pairs += [("SupCon", "label_knn"), ("SupCon", "label_linear"), (side, "shots_10")]
                cells = [f"{100 * runs.mean(each, 'shots_10'):.1f}" for each in (base, row)]
                cells += [
                    runs.less(row, other, key).in_points() if runs.seeds(other) else ""
                    for other, key in pairs
                ]
                line = f"| {name} | {title} ({len(runs.seeds(row))}) | {told} | {base} | "
                yield f"{line}{' | '.join(cells)} |"


def measures(every: Mapping[str, Runs]) -> Iterator[str]:
    """All that was asked of what decides the claim, at both layers."""
    yield f"| data | embedding (seeds) | {' | '.join(ASKED.values())} |"
    yield "|---" * (2 + len(ASKED)) + "|"
    for name, runs in every.items():
        for base in (*BASES, keeping(BASES[-1], 1.0), f"{BASES[-1]}, {EQUAL}"):
            for row in (base, f"{base}, backbone"):
                seeds = len(runs.of(row, "linear")) if runs.seeds(row) else 0
                if not seeds:
                    continue
                cells = []
                for key in ASKED:
                    value = fmean(runs.of(row, key))
                    plain = key == "within_class_variance"
                    cells.append(f"{value:.3f}" if plain else f"{100 * value:.1f}")
                yield f"| {name} | {row} ({seeds}) | {' | '.join(cells)} |"


def columns(every: Mapping[str, Runs]) -> Iterator[str]:
    """Keep of weight 1 with the whole reference and with few of its columns."""
    yield "| data | columns (seeds) | finer label | linear | label: kNN | linear | retention |"
    yield "|---" * 7 + "|"
    whole = keeping("alpha 0.5", 1.0)
    for name, runs in every.items():
        rows = {f"{count}": f"{whole}, columns {count}" for count in COLUMNS}
        rows = {count: row for count, row in rows.items() if len(runs.seeds(row)) >= LEAST}
        both = runs.among([whole, *rows.values()])
        for title, row in (rows | {"all": whole} if rows else {}).items():
            values = [both.of(row, key) for key in MOVED]
            cells = [percent(each) if each else "" for each in values]
            yield f"| {name} | {title} ({len(both.seeds(row))}) | {' | '.join(cells)} |"


def told(every: Mapping[str, Runs]) -> Iterator[str]:
    """What was known of a reference beforehand, and what keep then added to the best alpha."""
    yield (
        "| data | reference | retention against the input | against the output at alpha .5"
        " | keep adds to the best alpha |"
    )
    yield "|---" * 5 + "|"
    for name, runs in every.items():
        for reference in REFERENCES if runs.told else ():
            row = "alpha 0.5, keep 1" + f", reference {reference}" * (reference != "own")
            if not runs.seeds(row):
                continue
            known = [found[reference] for found in runs.told.values()]
            sides = [fmean(found[side] for found in known) for side in ("inputs", "alpha 0.5")]
            gain = runs.less(row, best_alpha(runs), "shots_10").in_points()
            cells = " | ".join(f"{value:.2f}" for value in sides)
            yield f"| {name} | {reference} | {cells} | {gain} |"


def tables() -> dict[str, Iterator[str]]:
    """Every table by name."""
    every = read()
    whole = {name: runs for name, runs in every.items() if runs.has(keeping(BASES[0], BETAS[-1]))}
    made = {"overview": overview(every)}
    made |= {name: every_row(runs) for name, runs in every.items()}
    made["claim one"] = judged(every, lambda runs: one_for_all(whole))
    made["claim chosen"] = judged(whole, chosen)
    made["claim strictly"] = judged(whole, strictly)
    made["betas"] = betas(every)
    made["measures"] = measures(every)
    made["bad"] = bad(every)
    made["references"] = references(every)
    made["told"] = told(every)
    made["columns"] = columns(every)
    return made | {"beforehand": keep_told.beforehand(), "rules": keep_told.rules()}


def with_tables(text: str) -> str:
    """A page with the tables that it names."""
    made = tables()

    def table(found: re.Match[str]) -> str:
        lines = "\n".join(made.get(found[2], ()))
        return f"{found[1]}\n{lines}\n\n{found[3]}"

    return PLACE.sub(table, text)


def main() -> None:
    if folders := [Path(given) for given in sys.argv[1:]]:
        take(folders)
    if PAGE.exists():
        PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
    else:
        for name, lines in tables().items():
            print(f"\n{name}\n", *lines, sep="\n")


if __name__ == "__main__":
    main()
