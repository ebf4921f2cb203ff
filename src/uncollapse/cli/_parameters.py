"""Arguments that several commands share: one name, one type, one text."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from uncollapse.records import AnchorsWithoutPositives, Reduction, SelfPairs

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

# The setting: predict, simulate, and measure for the run that made the embeddings.
Classes = Annotated[int | None, typer.Option(help="Number of classes m, from 2.")]
PerClass = Annotated[int | None, typer.Option(help="Instances of each class n, from 1.")]
ClassCounts = Annotated[
    str | None,
    typer.Option(
        metavar="<int,...>",
        help="Instances of each class, from 1, as 10,4,2 or @file (one number a line); instead of"
        " --classes and --per-class.",
    ),
]
Views = Annotated[int, typer.Option(help="Augmented views of an instance p, from 1.")]
SelfPairsChoice = Annotated[
    SelfPairs, typer.Option("--self-pairs", help="The anchor itself in the denominator, or not.")
]
ReductionChoice = Annotated[
    Reduction, typer.Option("--reduction", help="Mean over positive pairs, or over anchors.")
]
AnchorsChoice = Annotated[
    AnchorsWithoutPositives,
    typer.Option(
        "--anchors-without-positives",
        help="An anchor alone of its class in a batch: left out, zero, or refused.",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        help="Random batches of B instances (not views), from 2.", show_default="full batch"
    ),
]
BatchPerClass = Annotated[
    int | None, typer.Option(help="Balanced batches: instances of each class n_b, from 1.")
]
BatchClasses = Annotated[
    int | None, typer.Option(help="Classes in a balanced batch, from 2.", show_default="all")
]

# Columns of embeddings: measure and report.
Embedding = Annotated[
    str | None,
    typer.Option(help='Column of vectors, or a pattern of number columns such as "e*".'),
]
Label = Annotated[str | None, typer.Option(help="Column of class labels.")]
Instance = Annotated[
    str | None, typer.Option(help="Column of instance ids, when rows are views of instances.")
]
Group = Annotated[
    str | None,
    typer.Option(help="Column of what was drawn independently (patient, part)."),
]
Fine = Annotated[
    str | None, typer.Option(help="Column of finer labels, for the within-class probe.")
]
Slices = Annotated[
    list[str] | None,
    typer.Option("--slice", help="Column over whose values to compare; may be repeated."),
]
