"""The registry of measured encoders: docs/study/registry.json and its page, docs/registry.md.

    python benchmarks/registry.py study docs/study/retention-*.json
    uncollapse measure FILE --reference BASE --fine COLUMN --json > mine.json
    python benchmarks/registry.py add mine.json --network "ResNet-50, SupCon" --data birds \
        --layer projector --seed 0
    python benchmarks/registry.py page

`study` takes in everything that benchmarks/retention_measures.py wrote, in place of what it gave
before; `add` takes in one measurement (shares are of its rows, ten shots those of its reference
block); `page` writes the page anew from the JSON, as both others do at their end.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

from uncollapse.records import Measurement

DOCS = Path(__file__).resolve().parent.parent / "docs"
REGISTRY, PAGE = DOCS / "study" / "registry.json", DOCS / "registry.md"
BASES = {
    "digits": "pixels (8 x 8)",
    "cells": "EfficientNet-Lite0, ImageNet, frozen",
    "garments": "pixels (28 x 28)",
    "text": "all-MiniLM-L6-v2",
}
NETWORKS = {
    "untrained": "untrained network",
    "cross-entropy": "network trained by cross-entropy",
    "supcl": "network trained by SupCL, alpha {alpha:g}, tau {temperature:g}",
}
# Kinds in the order of the page: what was not trained first.
ORDER = ("base", "untrained", "cross-entropy", "supcl", "added")

HEAD = """# Registry of measured encoders

What encoders measure, so that a number of yours has something to stand beside. Every row is the
mean over seeds of one network at one layer, measured on rows that it was not trained on; in
brackets the smallest and the largest seed. It is not a ranking: shares compare within one data set
only, and none of them says by itself whether anything was lost ([retention](retention.md) does).

Share is variance inside classes over total variance on the unit sphere; retention is against what
the network starts from (the first row of the data set); ten shots is the balanced accuracy of the
finer label inside the classes, nearest mean of ten training rows of each, in percent. Measured
with {versions}. The networks are those of the [study of retention](retention.md#the-study), where
their training is described.

A script writes this page from [registry.json](study/registry.json), which has every seed. To add
an encoder, measure it against what it started from, with a finer label, and give it the file:

    uncollapse measure mine.parquet --reference base.parquet --key id --fine kind --json > mine.json
    python benchmarks/registry.py add mine.json --network "ResNet-50, SupCon" --data birds \
        --layer projector --seed 0
"""


@dataclass(frozen=True)
class Encoder:
    """One layer of one network on one data set with one seed (None: it has none)."""

    kind: str
    network: str
    data: str
    layer: str
    seed: int | None
    rows: int
    classes: int
    dimension: int
    share: tuple[float, float | None, float | None]
    retention: tuple[float, float | None, float | None] | None
    ten_shot: float | None
    versions: dict[str, str]


def _interval(found: dict[str, Any]) -> tuple[float, float | None, float | None]:
    return found["estimate"], found.get("low"), found.get("high")


def of_study(path: Path) -> Iterator[Encoder]:
    """What the study measured on one data set."""
    record = json.loads(path.read_text(encoding="utf-8"))
    data, rows, base = record["data"], record["rows"]["test"], record["base"]
    common = (rows, len(record["classes"]))
    own = _interval(base["test"]["share"])
    yield Encoder(
        "base", BASES[data], data, "input", None, *common, base["dimension"], own, None,
        base["few_shot"]["10"], record["versions"],
    )  # fmt: skip
    for layers in record["networks"].values():
        for found in layers:
            name = NETWORKS[found["network"]].format(**found)
            yield Encoder(
                found["network"], name, data, found["layer"], found["seed"], *common,
                found["dimension"], _interval(found["test"]["share"]),
                _interval(found["test"]["retention"]["base"]),
                found["few_shot"]["10"], record["versions"],
            )  # fmt: skip


def of_measurement(path: Path, options: argparse.Namespace) -> Encoder:
    """A measurement, named by the caller."""
    found = Measurement.read(path)
    reference = found.reference
    probe = None if reference is None else reference.probe
    kept = None if reference is None else reference.retention
    return Encoder(
        "added",
        options.network,
        options.data,
        options.layer,
        options.seed,
        found.conditions.samples,
        found.conditions.classes,
        found.conditions.dimension,
        (found.share.estimate or 0.0, found.share.low, found.share.high),
        None if kept is None or kept.estimate is None else (kept.estimate, kept.low, kept.high),
        probe.embedding if probe is not None and probe.shots == 10 else None,
        {"uncollapse": version("uncollapse")},
    )


def _cell(values: list[float], form: str = "{:.2f}") -> str:
    """Mean, and the range over seeds."""
    if len(values) < 2:
        return "".join(map(form.format, values))
    middle, low, high = map(form.format, (mean(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"


def page(encoders: Iterable[Encoder]) -> str:
    """The page in Markdown."""
    encoders = list(encoders)
    versions = {name: v for e in encoders for name, v in e.versions.items()}
    lines = [HEAD.format(versions=", ".join(f"{n} {v}" for n, v in sorted(versions.items())))]
    for data in dict.fromkeys(e.data for e in encoders):
        own = [e for e in encoders if e.data == data]
        rows = ", ".join(str(n) for n in sorted({e.rows for e in own}))
        lines.append(f"\n## {data.capitalize()} ({rows} rows, {own[0].classes} classes)\n")
        lines.append("| encoder | layer | dimension | seeds | share | retention | ten shots |")
        lines.append("|---" * 7 + "|")
        groups: dict[tuple[Any, ...], list[Encoder]] = {}
        for e in own:
            groups.setdefault((ORDER.index(e.kind), e.network, e.layer, e.dimension), []).append(e)
        for (_, network, layer, dimension), found in sorted(groups.items()):
            cells = [
                _cell([e.share[0] for e in found]),
                _cell([e.retention[0] for e in found if e.retention is not None]),
                _cell([100 * e.ten_shot for e in found if e.ten_shot is not None], "{:.1f}"),
            ]
            count = "" if found[0].seed is None else str(len(found))
            lines.append(f"| {network} | {layer} | {dimension} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def read() -> list[Encoder]:
    """The registry as it is."""
    if not REGISTRY.exists():
        return []
    return [Encoder(**each) for each in json.loads(REGISTRY.read_text(encoding="utf-8"))]


def write(encoders: list[Encoder]) -> None:
    """The registry and its page."""
    lines = ",\n".join(json.dumps(asdict(each)) for each in encoders)
    REGISTRY.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    PAGE.write_text(page(encoders), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    study = commands.add_parser("study", help="Take in the study's files.")
    study.add_argument("files", type=Path, nargs="+")
    add = commands.add_parser("add", help="Take in a measurement.")
    add.add_argument("file", type=Path)
    for name in ("network", "data", "layer"):
        add.add_argument(f"--{name}", required=True)
    add.add_argument("--seed", type=int)
    commands.add_parser("page", help="Write the page from the JSON.")
    options = parser.parse_args()
    encoders = read()
    if options.command == "study":
        others = [each for each in encoders if each.kind == "added"]
        encoders = [each for path in options.files for each in of_study(path)] + others
    elif options.command == "add":
        encoders.append(of_measurement(options.file, options))
    write(encoders)


if __name__ == "__main__":
    main()
