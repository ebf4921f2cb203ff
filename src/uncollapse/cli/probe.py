"""`uncollapse probe`: parse, probe, print."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from uncollapse.cli._console import bar, plain_console
from uncollapse.cli._setting import Confidence, Json
from uncollapse.errors import InputError
from uncollapse.probes import ProbeColumns, ProbeOptions, embedded_files, probe
from uncollapse.records import show_probe
from uncollapse.storage import write_text


@dataclass(frozen=True)
class ReadingOptions:
    """What is read of which columns."""

    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of vectors (backbone, projector, ...); may be repeated.",
            show_default="all layers that `uncollapse embed` wrote, else the usual column",
        ),
    ] = None
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="Column to read; may be repeated.", show_default="label, finer labels, slices"
        ),
    ] = None
    label: Annotated[
        str | None, typer.Option(help="Column of the class label that the encoder was trained on.")
    ] = None
    group: Annotated[
        str | None, typer.Option(help="Column of what must stay in one split (patient, part).")
    ] = None
    split: Annotated[
        str | None,
        typer.Option(
            help="Column of splits: train, validation, test.",
            show_default="split; without it, cut here",
        ),
    ] = None
    downstream: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of another data set's embeddings, with its own label and split; may be"
            " repeated."
        ),
    ] = None

    def columns(self) -> ProbeColumns:
        """The record of them."""
        layers, targets = tuple(self.layer or ()), tuple(self.target or ())
        return ProbeColumns(layers, targets, self.label, self.group, None, self.split)


@dataclass(frozen=True)
class ShotOptions:
    """Few shots and intervals."""

    shots: Annotated[
        str | None,
        typer.Option(
            metavar="<int,...>",
            help="Rows of each value in the few-shot probes, from 1: one number or several.",
            show_default="those of 1,5,10 that every class has",
        ),
    ] = None
    draws: Annotated[int, typer.Option(help="Draws of the shots, from 2.")] = ProbeOptions.draws
    confidence: Confidence = ProbeOptions.confidence

    def options(self) -> ProbeOptions:
        """The record of them."""
        try:
            shots = None if self.shots is None else tuple(int(n) for n in self.shots.split(","))
        except ValueError as error:
            raise InputError(
                "--shots of whole numbers", str(self.shots), "for example 1,5,10"
            ) from error
        return ProbeOptions(shots=shots, draws=self.draws, confidence=self.confidence)


def probe_command(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="The folder of a run (its embeddings.parquet), or npz, parquet, safetensors, CSV"
            " or arrow files; several are shards of one set."
        ),
    ],
    reading: ReadingOptions,
    few_shot: ShotOptions,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of splits cut here, shots and subsamples.")
    ] = 0,
    as_json: Json = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="JSON file to write the answer to; replaced if there."),
    ] = None,
) -> None:
    """Say what can be read from frozen embeddings.

    Linear, nearest neighbours and few shots: labels, finer labels inside the classes, and those
    of other data. Everything is chosen on validation rows and read once on test rows.

    Example: `uncollapse probe runs/digits --layer projector --shots 1,5,10`
    """
    options, columns = few_shot.options(), reading.columns()
    embedded = embedded_files(files, columns)
    elsewhere = replace(columns, layers=tuple(embedded.layers), targets=(), label=None, group=None)
    others = [
        embedded_files([path], elsewhere, name=path.stem) for path in reading.downstream or ()
    ]
    with bar("probing") as progress:
        result = probe(
            embedded,
            downstream=others,
            targets=reading.target or None,
            settings=options,
            seed=seed,
            progress=progress,
        )
    if output is not None:
        write_text(output, result.to_json() + "\n")
    if as_json:
        typer.echo(result.to_json())
    elif output is None or sys.stdout.isatty():
        show_probe(result, plain_console())
