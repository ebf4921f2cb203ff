"""`uncollapse probe`: parse, probe, print."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from uncollapse.cli._console import bar, plain_console, print_record
from uncollapse.cli._options import Fields, Keywords
from uncollapse.cli._setting import FromZero, Json, OptionalOutput, WholeNumbers, rows_of
from uncollapse.errors import InputError
from uncollapse.probes import ProbeColumns, ProbeOptions, embedded_files, probe
from uncollapse.records import show_probe
from uncollapse.storage import check_output, write_text
from uncollapse.tables import Query

COLUMNS = Fields(ProbeColumns, ("layers", "targets", "label", "group", "split", "text"))
SHOTS = Annotated[
    WholeNumbers,
    "Rows of each value in the few-shot probes, from 1: one number or several."
    " [default: those of 1,5,10 that every class has]",
]
SETTINGS = Fields(ProbeOptions, ("shots", "draws", "confidence"), {"shots": SHOTS})


def probe_command(
    files: Annotated[
        list[Path] | None,
        "The folder of a run (its embeddings.parquet), or what `uncollapse measure` reads; several"
        " are shards of one set.",
    ] = None,
    *,
    query: Query,
    reading: Annotated[Keywords, COLUMNS],
    downstream: Annotated[
        tuple[Path, ...],
        "File of another data set's embeddings, with its own label and split; may be repeated.",
    ] = (),
    settings: Annotated[Keywords, SETTINGS],
    seed: Annotated[FromZero, "Seed of splits cut here, shots and subsamples."] = 0,
    as_json: Json = False,
    output: Annotated[
        OptionalOutput, "JSON file to write the answer to; replaced if there."
    ] = None,
) -> None:
    """Say what frozen embeddings can predict.

    Linear, nearest neighbours and few shots: labels, finer labels inside the classes, and those
    of other data. Everything is chosen on validation rows and measured once on test rows.

    Example: `uncollapse probe runs/digits --layer projector --shots 1,5,10`
    """
    options = ProbeOptions(**settings | {"shots": _shots(settings["shots"])})
    columns = ProbeColumns(**reading)
    if output is not None:
        check_output(output, [*(files or []), *downstream])
    embedded = embedded_files(rows_of(files, query), columns)
    elsewhere = replace(
        columns, layers=tuple(embedded.layers), targets=(), label=None, group=None, text=()
    )
    others = [embedded_files([path], elsewhere, name=path.stem) for path in downstream]
    with bar("probing") as progress:
        result = probe(
            embedded,
            downstream=others,
            targets=columns.targets or None,
            settings=options,
            seed=seed,
            progress=progress,
        )
    if output is not None:
        write_text(output, result.to_json() + "\n")
    if as_json:
        print_record(result.to_json())
    elif output is None or sys.stdout.isatty():
        show_probe(result, plain_console())


def _shots(text: str | None) -> tuple[int, ...] | None:
    try:
        return None if text is None else tuple(map(int, text.split(",")))
    except ValueError as error:
        raise InputError("--shots of whole numbers", f"{text}", "for example 1,5,10") from error
