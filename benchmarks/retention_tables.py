"""The tables of docs/retention.md, from docs/study/retention-*.json.

    python benchmarks/retention_tables.py [--page docs/retention.md]

Prints, in Markdown, or writes into the page: rank correlations of every measure with the finer
labels, settings with their means over seeds, test rows beside training rows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu, spearmanr

DATA = ("digits", "cells", "garments", "text")
LAYERS = ("projector", "backbone")
BAD = 0.10  # Of ten-shot accuracy, below the best setting of that data and layer.


@dataclass(frozen=True)
class Entry:
    """A layer of a network, with what was measured of it."""

    data: str
    layer: str
    network: str
    alpha: float | None
    temperature: float | None
    seed: int
    found: dict[str, Any]
    prediction: dict[str, Any] | None = None  # of theory, for its setting

    @property
    def setting(self) -> tuple[Any, ...]:
        """All but the seed."""
        return self.data, self.layer, self.network, self.temperature, self.alpha

    @property
    def trained(self) -> bool:
        """Whether a loss was lowered at all."""
        return self.network != "untrained"

    @property
    def ten_shot(self) -> float:
        """Balanced accuracy of the finer label inside classes, ten training rows of each."""
        return float(self.found["few_shot"]["10"])

    def retention(self, reference: str, part: str = "test") -> float | None:
        """Against "base" or "backbone"; None where the layer is its own reference."""
        kept = self.found[part]["retention"].get(reference)
        return None if kept is None else float(kept["estimate"])


def read(folder: Path) -> tuple[list[Entry], dict[str, dict[str, Any]]]:
    """Every entry, and of each data set what is not of one network."""
    entries, rest = [], {}
    for data in DATA:
        path = folder / f"retention-{data}.json"
        if not path.exists():
            continue
        record = json.loads(path.read_text(encoding="utf-8"))
        for name, layers in record.pop("networks").items():
            prediction = record.get("predictions", {}).get(name.rpartition("-")[0])
            keys = ("layer", "network", "alpha", "temperature", "seed")
            entries += [
                Entry(data, *(found[key] for key in keys), found, prediction) for found in layers
            ]
        rest[data] = record
    return entries, rest


def grouped(entries: Iterable[Entry]) -> dict[tuple[Any, ...], list[Entry]]:
    """Entries by setting."""
    found: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.setting, []).append(entry)
    return found


def best(entries: list[Entry]) -> dict[tuple[str, str], float]:
    """Ten-shot accuracy of the best trained setting, mean over seeds, by data and layer."""
    found: dict[tuple[str, str], float] = {}
    for (data, layer, *_), own in grouped(e for e in entries if e.trained).items():
        value = mean(entry.ten_shot for entry in own)
        found[data, layer] = max(value, found.get((data, layer), 0.0))
    return found


def loss(entry: Entry, ceilings: dict[tuple[str, str], float]) -> float:
    """Ten-shot accuracy below the best setting of that data and layer."""
    return ceilings[entry.data, entry.layer] - entry.ten_shot


Measure = Callable[[Entry], float | None]


def alternative(reference: str, name: str) -> Measure:
    """One of benchmarks/similarities.py."""
    return lambda entry: entry.found["alternatives"].get(reference, {}).get(name)


def measures(reference: str) -> dict[str, Measure]:
    """What is held against the finer labels, by name."""
    names = ("biased CKA", "procrustes", "cknna", "overlap")
    names += ("reference from embedding", "embedding from reference")
    return {
        "retention": lambda entry: entry.retention(reference),
        **{name: alternative(reference, name) for name in names},
        "share": lambda entry: entry.found["test"]["share"]["estimate"],
        "W": lambda entry: entry.found["test"]["within"]["estimate"],
    }


def rank(entries: list[Entry], measure: Measure, worth: Measure) -> float:
    """Spearman's correlation over entries."""
    pairs = [(measure(entry), worth(entry)) for entry in entries]
    return float(spearmanr(*np.array(pairs, dtype=float).T).statistic)


def lost_against(entry: Entry, reference: str) -> float:
    """Ten-shot accuracy below that of the reference, by the same draws on test rows."""
    return -float(entry.found["test"]["retention"][reference]["probe"]["difference"]["estimate"])


def separation(entries: list[Entry], measure: Measure, reference: str) -> float:
    """Chance that a network that lost more than `BAD` measures less than one that did not."""
    lost = [lost_against(entry, reference) > BAD for entry in entries]
    if all(lost) or not any(lost):
        return float("nan")
    values = np.array([measure(entry) for entry in entries], dtype=float)
    kept = ~np.array(lost)
    statistic = mannwhitneyu(values[kept], values[~kept]).statistic
    return float(statistic / (kept.sum() * (~kept).sum()))


def number(value: float) -> str:
    """Two digits; nothing where there is none."""
    return "" if np.isnan(value) else f"{value:.2f}".replace("0.", ".", 1)


def correlation_table(entries: list[Entry], layer: str, reference: str) -> Iterator[str]:
    """Rows by measure, columns by data set, and over all of them."""
    chosen = [entry for entry in entries if entry.trained and entry.layer == layer]
    own = {data: [entry for entry in chosen if entry.data == data] for data in DATA}
    own = {data: found for data, found in own.items() if found}
    heads = [f"{d} ({len(e)} of {len({x.seed for x in e})} seeds)" for d, e in own.items()]
    yield f"| measure | {' | '.join(heads)} | mean | all: rank | all: separation |"
    yield "|---" * (len(heads) + 4) + "|"
    for name, measure in measures(reference).items():
        ranks = [rank(found, measure, lambda e: e.ten_shot) for found in own.values()]
        across = rank(chosen, measure, lambda e: -lost_against(e, reference))
        cells = [*ranks, mean(ranks), across, separation(chosen, measure, reference)]
        yield f"| {name} | {' | '.join(map(number, cells))} |"


def setting_table(entries: list[Entry], data: str) -> Iterator[str]:
    """Means over seeds of one data set, in percent where they are accuracies."""
    yield (
        "| network (seeds) | layer | ten shots | label | share | W | retention: own backbone"
        " | base |"
    )
    yield "|---" * 8 + "|"

    def cell(values: list[float | None], percent: bool = False) -> str:
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return ""
        return f"{100 * mean(known):.1f}" if percent else number(mean(known))

    order = {"untrained": 0, "cross-entropy": 1, "supcl": 2}
    groups = grouped(entry for entry in entries if entry.data == data)
    for (_, layer, network, tau, alpha), own in sorted(
        groups.items(), key=lambda item: (order[item[0][2]], item[0][3] or 0, item[0][4] or 0)
    ):
        name = network if alpha is None else f"alpha {alpha:g}, tau {tau:g}"
        cells = [
            cell([e.ten_shot for e in own], percent=True),
            cell([e.found["label"] for e in own], percent=True),
            cell([e.found["test"]["share"]["estimate"] for e in own]),
            cell([e.found["test"]["within"]["estimate"] for e in own]),
            cell([e.retention("backbone") for e in own]),
            cell([e.retention("base") for e in own]),
        ]
        yield f"| {name} ({len(own)}) | {layer} | {' | '.join(cells)} |"


def side_by_side(entries: list[Entry]) -> Iterator[str]:
    """Share and retention on training rows beside test rows, heads at tau .1."""
    yield (
        "| head, tau .1 | share: training rows | test rows"
        " | retention, own backbone: training rows | test rows |"
    )
    yield "|---" * 5 + "|"
    for (data, layer, network, tau, alpha), own in grouped(entries).items():
        if layer != "projector" or network != "supcl" or tau != 0.1:
            continue
        shares = [mean(e.found[p]["share"]["estimate"] for e in own) for p in ("train", "test")]
        kept = [mean(e.retention("backbone", p) or 0.0 for e in own) for p in ("train", "test")]
        yield f"| {data}, alpha {alpha:g} | {' | '.join(map(number, shares + kept))} |"


def tables(folder: Path) -> dict[str, Iterator[str]]:
    """Every table of the page by name."""
    entries, _ = read(folder)
    pairs = (("projector", "backbone"), ("projector", "base"), ("backbone", "base"))
    return {
        **{f"{a} against {b}": correlation_table(entries, a, b) for a, b in pairs},
        **{data: setting_table(entries, data) for data in DATA},
        "side by side": side_by_side(entries),
    }


def written(page: str, found: Mapping[str, Iterable[str]]) -> str:
    """The page with its tables between `<!-- name -->` and `<!-- end -->`."""
    for name, lines in found.items():
        begin, end = f"<!-- {name} -->", "<!-- end -->"
        before, _, rest = page.partition(begin)
        if rest:
            table = "\n".join(lines)
            page = f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
    return page


def show(made: Mapping[str, Iterable[str]], page: Path | None) -> None:
    """Print tables, or write them into a page."""
    if page is None:
        for name, lines in made.items():
            print(f"\n{name}\n", *lines, sep="\n")
    else:
        page.write_text(written(page.read_text(encoding="utf-8"), made), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/study"))
    parser.add_argument("--page", type=Path, help="Page whose tables are written anew.")
    options = parser.parse_args()
    show(tables(options.folder), options.page)


if __name__ == "__main__":
    main()
