"""Options that several commands share: one name, one type, one text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from uncollapse.errors import InputError
from uncollapse.records import (
    AnchorsWithoutPositives,
    BalancedBatch,
    Batch,
    FullBatch,
    RandomBatch,
    Reduction,
    SelfPairs,
)
from uncollapse.tables import Columns

Json = Annotated[bool, typer.Option("--json", help="Print the answer as one JSON object.")]
Language = Annotated[
    Literal["en", "ja"], typer.Option("--lang", help="Language: English or Japanese.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="<key=value>", help="Change a key, as loss.alpha=0.2; may be repeated."
    ),
]
Confidence = Annotated[float, typer.Option(help="Confidence of every interval, between 0 and 1.")]


@dataclass(frozen=True)
class ClassOptions:
    """Instances of each class, of a setting."""

    classes: Annotated[int | None, typer.Option(help="Number of classes m, from 2.")] = None
    per_class: Annotated[int | None, typer.Option(help="Instances of each class n, from 1.")] = None
    class_counts: Annotated[
        str | None,
        typer.Option(
            metavar="<int,...>",
            help="Instances of each class, from 1, as 10,4,2 or @file (one number a line); instead"
            " of --classes and --per-class.",
        ),
    ] = None

    def counts(self) -> list[int] | None:
        """Class counts from `10,4,2` or `@file`."""
        text = self.class_counts
        if text is None:
            return None
        parts = _lines(Path(text[1:])) if text.startswith("@") else text.split(",")
        counts = []
        for number, part in enumerate(parts, 1):
            if not re.fullmatch(r"\s*[+-]?\d{1,40}\s*", part):
                raise InputError(
                    "class counts as whole numbers, at most 1e9",
                    f"{part[:40]!r} as number {number}",
                    "write 10,4,2, or @file with one number a line",
                )
            counts.append(int(part))
        return counts


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            "a text file with one class count a line", f"{str(path)!r}: {why}", "check the path"
        ) from error


@dataclass(frozen=True)
class ConventionOptions:
    """Views and conventions of a loss."""

    views: Annotated[int, typer.Option(help="Augmented views of an instance p, from 1.")] = 2
    self_pairs: Annotated[
        SelfPairs, typer.Option(help="The anchor itself in the denominator, or not.")
    ] = "exclude"
    reduction: Annotated[
        Reduction, typer.Option(help="Mean over positive pairs, or over anchors.")
    ] = "anchors"


@dataclass(frozen=True)
class LossOptions(ConventionOptions):
    """The same, with the anchors that a class's only instance makes."""

    anchors_without_positives: Annotated[
        AnchorsWithoutPositives,
        typer.Option(help="An anchor alone of its class in a batch: left out, zero, or refused."),
    ] = "drop"


@dataclass(frozen=True)
class BatchOptions:
    """How batches are composed."""

    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Random batches of B instances (not views), from 2.", show_default="full batch"
        ),
    ] = None
    batch_per_class: Annotated[
        int | None, typer.Option(help="Balanced batches: instances of each class n_b, from 1.")
    ] = None
    batch_classes: Annotated[
        int | None, typer.Option(help="Classes in a balanced batch, from 2.", show_default="all")
    ] = None

    def batch(self) -> Batch:
        """The record of it."""
        return batch_of(self.batch_size, self.batch_per_class, self.batch_classes)


def batch_of(size: int | None, per_class: int | None, classes: int | None) -> Batch:
    """Random batches of a size, balanced ones, or the full batch."""
    if size is not None and (per_class is not None or classes is not None):
        raise InputError(
            "one kind of batch",
            "--batch-size with --batch-per-class or --batch-classes",
            "a batch is either random of a size, or balanced",
        )
    if size is not None:
        return RandomBatch(size)
    if per_class is not None:
        return BalancedBatch(per_class, classes)
    if classes is not None:
        raise InputError(
            "--batch-per-class beside --batch-classes",
            "--batch-classes alone",
            "say how many instances of each class a batch holds",
        )
    return FullBatch()


@dataclass(frozen=True)
class ColumnOptions:
    """Columns of embeddings."""

    embedding: Annotated[
        str | None,
        typer.Option(help='Column of vectors, or a pattern of number columns such as "e*".'),
    ] = None
    label: Annotated[str | None, typer.Option(help="Column of class labels.")] = None
    instance: Annotated[
        str | None, typer.Option(help="Column of instance ids, when rows are views of instances.")
    ] = None
    group: Annotated[
        str | None,
        typer.Option(help="Column of what was drawn independently (patient, part)."),
    ] = None
    fine: Annotated[
        str | None, typer.Option(help="Column of finer labels, for the within-class probe.")
    ] = None
    slice_: Annotated[
        list[str] | None,
        typer.Option("--slice", help="Column over whose values to compare; may be repeated."),
    ] = None

    def columns(self) -> Columns:
        """The record of them."""
        slices = tuple(self.slice_ or ())
        return Columns(self.embedding, self.label, self.instance, self.group, self.fine, slices)
