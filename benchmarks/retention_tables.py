"""The tables of docs/retention.md and docs/registry.md, from docs/study/retention-*.json.

    python benchmarks/retention_tables.py [docs/study]

Prints, in Markdown: rank correlations of every measure with the finer labels, settings with their
means over seeds, verdicts of good and bad networks, test rows beside training rows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from scipy.stats import rankdata, spearmanr

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
        for layers in record.pop("networks").values():
            keys = ("layer", "network", "alpha", "temperature", "seed")
            entries += [Entry(data, *(found[key] for key in keys), found) for found in layers]
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


def within_data(entries: list[Entry], measure: Measure) -> float:
    """Spearman's correlation pooled over data sets after ranking inside each, equal weights."""
    ranks: list[np.ndarray] = []
    for data in DATA:
        own = [entry for entry in entries if entry.data == data]
        if len(own) > 2:
            pairs = np.array([(measure(e), e.ten_shot) for e in own], dtype=float)
            ranks.append(np.stack([rankdata(column) / len(own) for column in pairs.T]))
    return float(np.corrcoef(np.concatenate(ranks, axis=1))[0, 1])


def correlation_tables(entries: list[Entry]) -> Iterator[str]:
    """Rows by measure, columns by data set, and pooled."""
    ceilings = best(entries)
    trained = [entry for entry in entries if entry.trained]
    for layer, reference in (
        ("projector", "backbone"),
        ("projector", "base"),
        ("backbone", "base"),
    ):
        chosen = [entry for entry in trained if entry.layer == layer]
        present = [data for data in DATA if any(entry.data == data for entry in chosen)]
        counts = {data: sum(entry.data == data for entry in chosen) for data in present}
        yield f"\n{layer}, reference: {reference}"
        heads = [f"{data} ({counts[data]})" for data in present]
        yield f"| measure | {' | '.join(heads)} | across |"
        yield "|---" * (len(heads) + 2) + "|"
        for name, measure in measures(reference).items():
            values = [
                rank([e for e in chosen if e.data == data], measure, lambda e: e.ten_shot)
                for data in present
            ]
            across = rank(chosen, measure, lambda e: -loss(e, ceilings))
            yield f"| {name} | {' | '.join(f'{v:.2f}' for v in values)} | {across:.2f} |"


def setting_tables(entries: list[Entry]) -> Iterator[str]:
    """Means over seeds."""
    yield "\n| data, layer | network | ten shots | share | W | retention: backbone | base | label |"
    yield "|---" * 8 + "|"

    def text(values: list[float | None]) -> str:
        return "" if None in values else f"{mean(v for v in values if v is not None):.3f}"

    for (data, layer, network, tau, alpha), own in sorted(
        grouped(entries).items(), key=lambda item: (*item[0][:3], item[0][3] or 0, item[0][4] or 0)
    ):
        name = network if alpha is None else f"alpha {alpha:g}, tau {tau:g}"
        cells = [
            text([e.ten_shot for e in own]),
            text([e.found["test"]["share"]["estimate"] for e in own]),
            text([e.found["test"]["within"]["estimate"] for e in own]),
            text([e.retention("backbone") for e in own]),
            text([e.retention("base") for e in own]),
            text([e.found["label"] for e in own]),
        ]
        yield f"| {data}, {layer} | {name} ({len(own)}) | {' | '.join(cells)} |"


def side_by_side(entries: list[Entry]) -> Iterator[str]:
    """Share and retention on training rows beside test rows, by setting of tau .1."""
    yield "\n| data, projector | share: training | test | retention: training | test |"
    yield "|---" * 5 + "|"
    for (data, layer, network, tau, alpha), own in grouped(entries).items():
        if layer != "projector" or network != "supcl" or tau != 0.1:
            continue
        cells = [
            mean(e.found[part]["share"]["estimate"] for e in own) for part in ("train", "test")
        ] + [mean(e.retention("backbone", part) or 0.0 for e in own) for part in ("train", "test")]
        yield f"| {data}, alpha {alpha:g} | {' | '.join(f'{v:.3f}' for v in cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/study"))
    entries, _ = read(parser.parse_args().folder)
    for lines in (correlation_tables, setting_tables, side_by_side):
        print("\n".join(lines(entries)))


if __name__ == "__main__":
    main()
