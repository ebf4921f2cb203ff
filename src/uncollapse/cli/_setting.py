"""Options that several commands share: one name, one type, one text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from uncollapse.errors import InputError
from uncollapse.records import BalancedBatch, Batch, FullBatch, RandomBatch, read_text
from uncollapse.tables import Query, Source

Json = Annotated[bool, typer.Option("--json"), "Print the answer as one JSON object."]
Language = Annotated[Literal["en", "ja"], typer.Option("--lang"), "Language: English or Japanese."]
Changes = Annotated[
    tuple[str, ...],
    typer.Option("--set", metavar="<key=value>"),
    "Change a key, as loss.alpha=0.2; may be repeated.",
]
Output = Annotated[Path, typer.Option("-o", "--output")]
OptionalOutput = Annotated[Path | None, typer.Option("-o", "--output")]
FromZero = Annotated[int, typer.Option(min=0)]
Workers = Annotated[int | None, typer.Option(min=1)]
# Several values in one option, as text.
Numbers = Annotated[str | None, typer.Option(metavar="<float,...>")]
WholeNumbers = Annotated[str | None, typer.Option(metavar="<int,...>")]

# Options of a setting, in their order.
CONVENTIONS = ("views", "self_pairs", "reduction")
SETTING = (
    "alpha", "temperature", "classes", "per_class", "class_counts", *CONVENTIONS,
    "anchors_without_positives",
)  # fmt: skip
CountsText = Annotated[
    WholeNumbers,
    "Instances of each class, from 1, as 10,4,2 or @file (one number a line); instead of --classes"
    " and --per-class.",
]


def rows_of(files: Sequence[Path] | None, query: Query) -> list[Source]:
    """The files of a command, or the rows of its query.

    Raises:
        InputError: Neither or both, or a database without a query.
    """
    if query.sql is None and query.db is not None:
        raise InputError(
            "a query (--sql) beside --db", "none", 'for example --sql "select * from t"'
        )
    if bool(files) == (query.sql is not None):
        found = "both" if files else "neither"
        raise InputError("files, or a query (--sql)", found, "give one of them")
    return list(files) if files else [query]


def read_counts(text: str | None) -> list[int] | None:
    """Class counts from `10,4,2` or `@file`."""
    if text is None:
        return None
    counts = []
    for number, part in enumerate(
        _lines(Path(text[1:])) if text[:1] == "@" else text.split(","), 1
    ):
        if not re.fullmatch(r"\s*[+-]?\d{1,40}\s*", part):
            raise InputError(
                "class counts as whole numbers, at most 1e9",
                f"{part[:40]!r} as number {number}",
                "write 10,4,2, or @file with one number a line",
            )
        counts.append(int(part))
    return counts


def read_numbers(text: str | None) -> list[float] | None:
    """Numbers from `0.1,1,0.5` or `@file`."""
    if text is None:
        return None
    parts = _lines(Path(text[1:])) if text[:1] == "@" else text.split(",")
    return [_number(part, number) for number, part in enumerate(parts, 1)]


def read_matrix(path: Path) -> list[list[float]]:
    """A matrix: numbers apart by commas or blanks, one row a line."""
    text = read_text(path, "a text file with one row of numbers a line", "check the path")
    rows = [line.replace(",", " ").split() for line in text.splitlines() if line.strip()]
    return [[_number(part, number) for number, part in enumerate(row, 1)] for row in rows]


def _number(text: str, place: int) -> float:
    try:
        return float(text[:40])
    except ValueError as error:
        raise InputError(
            "numbers", f"{text[:40]!r} as number {place}", "write them as 0.1,1,0.5"
        ) from error


def _lines(path: Path) -> list[str]:
    return read_text(path, "a text file with one class count a line", "check the path").split()


@dataclass(frozen=True)
class BatchOptions:
    """How batches are composed.

    Attributes:
        batch_size: Random batches of B instances (not views), from 2. [default: full batch]
        batch_per_class: Balanced batches: instances of each class n_b, from 1.
        batch_classes: Classes in a balanced batch, from 2. [default: all]
    """

    batch_size: int | None = None
    batch_per_class: int | None = None
    batch_classes: int | None = None

    def batch(self) -> Batch:
        """Random batches of a size, balanced ones, or the full batch."""
        per_class, classes = self.batch_per_class, self.batch_classes
        if self.batch_size is not None:
            if per_class is not None or classes is not None:
                raise InputError(
                    "one kind of batch",
                    "--batch-size with --batch-per-class or --batch-classes",
                    "a batch is either random of a size, or balanced",
                )
            return RandomBatch(self.batch_size)
        if per_class is not None:
            return BalancedBatch(per_class, classes)
        if classes is not None:
            raise InputError(
                "--batch-per-class beside --batch-classes",
                "--batch-classes alone",
                "say how many instances of each class a batch holds",
            )
        return FullBatch()
