"""`uncollapse measure`: parse, measure, print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from uncollapse.cli._console import bar, plain_console, print_json, say
from uncollapse.cli._setting import BatchOptions, ColumnOptions, Confidence, ConventionOptions, Json
from uncollapse.errors import InputError
from uncollapse.metrics import (
    Accumulator,
    Margins,
    ProbeOptions,
    accumulate_files,
    check_place,
    measure_files,
    save_state,
)
from uncollapse.records import Prediction, Setting
from uncollapse.tables import Columns

FailOn = Literal["collapsed", "at-risk"]


@dataclass(frozen=True)
class RunOptions:
    """Rows, and the run that made the embeddings."""

    labels_from: Annotated[
        list[Path] | None,
        typer.Option(help="File with labels and the other columns, row by row; may be repeated."),
    ] = None
    drop_invalid: Annotated[
        bool, typer.Option("--drop-invalid", help="Drop and count unusable rows.")
    ] = False
    prediction: Annotated[
        Path | None, typer.Option(help="JSON of `uncollapse predict` to stand beside.")
    ] = None
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Weight of the self-supervised term in the run that made the embeddings, 0 to 1;"
            " it is predicted from this and the next options."
        ),
    ] = None
    temperature: Annotated[
        float | None, typer.Option(help="Temperature tau of that run, 0.001 to 1000.")
    ] = None


@dataclass(frozen=True)
class JudgingOptions:
    """Margins, nulls and intervals."""

    collapsed_margin: Annotated[
        float, typer.Option(help="Share of total variance below which it is collapsed, above 0.")
    ] = Margins.collapsed
    healthy_margin: Annotated[
        float,
        typer.Option(
            help="Share of total variance above which it is healthy, from the other margin to"
            " below 1."
        ),
    ] = Margins.healthy
    permutations: Annotated[
        int, typer.Option(min=0, help="Permutations of the nulls; 0 leaves them out.")
    ] = 20
    confidence: Confidence = 0.95
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of permutations, splits and subsamples.")
    ] = 0


@dataclass(frozen=True)
class StreamOptions:
    """How rows are read."""

    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--in-memory",
            help="Read in one pass, without nulls, or hold all rows.",
            show_default="stream above 256 MiB",
        ),
    ] = None
    interval: Annotated[
        Literal["auto", "exact", "blocks"],
        typer.Option(help="Of a stream: exact (leave one out), or blocks (fast; auto)."),
    ] = "auto"
    save: Annotated[
        Path | None,
        typer.Option("--save-state", help="File for a stream's state, to merge with others'."),
    ] = None


@dataclass(frozen=True)
class AnswerOptions:
    """What the answer says and how."""

    layer: Annotated[str | None, typer.Option(help="Layer's name, for the record.")] = None
    split: Annotated[str | None, typer.Option(help="Split's name, for the record.")] = None
    as_json: Json = False
    fail_on: Annotated[
        FailOn | None, typer.Option(help="Exit with code 1 on this verdict or a worse one.")
    ] = None


def measure_command(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="npy, npz, parquet, safetensors, CSV or arrow files, folders of them, Hugging Face"
            " dataset folders, or states saved by --save-state. Several are shards of one set."
        ),
    ],
    columns: ColumnOptions,
    run: RunOptions,
    conventions: ConventionOptions,
    batch: BatchOptions,
    judging: JudgingOptions,
    reading: StreamOptions,
    answer: AnswerOptions,
) -> None:
    """Say whether embeddings are collapsed.

    Verdict, variances within and between classes with their intervals, finer labels and slices;
    with the run's setting, measured beside predicted.

    Example: `uncollapse measure embeddings.parquet --embedding projector --label label`
    """
    prediction = _prediction(run, conventions, batch)
    margins = Margins(collapsed=judging.collapsed_margin, healthy=judging.healthy_margin)
    if reading.save is not None:
        state = _saved(files, columns.columns(), run, reading, answer.as_json)
        if callable(prediction):
            prediction = prediction(state.classes().counts)
        measured = state.measurement(
            prediction=prediction,
            margins=margins,
            confidence=judging.confidence,
            layer=answer.layer,
            split=answer.split,
        )
    else:
        with bar("reading", "rows") as progress:
            measured = measure_files(
                files,
                columns=columns.columns(),
                labels_from=run.labels_from or (),
                stream=reading.stream,
                interval=reading.interval,
                drop_invalid=run.drop_invalid,
                progress=progress,
                prediction=prediction,
                margins=margins,
                probe=ProbeOptions(permutations=judging.permutations),
                permutations=judging.permutations,
                confidence=judging.confidence,
                seed=judging.seed,
                layer=answer.layer,
                split=answer.split,
            )
    if answer.as_json:
        typer.echo(measured.to_json())
    else:
        plain_console().print(measured)
    if answer.fail_on is not None and measured.fails(answer.fail_on):
        raise typer.Exit(1)


def _prediction(
    run: RunOptions, conventions: ConventionOptions, batch: BatchOptions
) -> Prediction | Callable[[Mapping[Any, int]], Prediction] | None:
    """What is predicted of the run: a record, or a function from the class counts to it."""
    if run.alpha is None and run.temperature is None:
        if any(option is not None for option in vars(batch).values()):
            raise InputError(
                "--alpha and --temperature with the batch", "a batch alone", "give all three"
            )
        if run.prediction is None:
            return None
        return Prediction.read(run.prediction)
    if run.alpha is None or run.temperature is None:
        raise InputError(
            "both --alpha and --temperature", "one of them", "give the run's whole setting"
        )
    if run.prediction is not None:
        raise InputError("--prediction or the run's setting", "both", "give one of them")
    alpha, temperature, composed = run.alpha, run.temperature, batch.batch()

    def predicted(counts: Mapping[Any, int]) -> Prediction:
        from uncollapse.theory import predict

        return predict(
            Setting(
                class_counts=tuple(counts.values()),
                views=conventions.views,
                alpha=alpha,
                temperature=temperature,
                self_pairs=conventions.self_pairs,
                reduction=conventions.reduction,
                batch=composed,
            )
        )

    return predicted


def _saved(
    files: list[Path], columns: Columns, run: RunOptions, reading: StreamOptions, as_json: bool
) -> Accumulator:
    """The saved state of a stream of the files; ends here where it cannot be judged by itself."""
    assert reading.save is not None
    check_place(reading.save)
    with bar("reading", "rows") as progress:
        state = accumulate_files(
            files,
            columns=columns,
            labels_from=run.labels_from or (),
            interval="blocks" if reading.interval == "blocks" else "exact",
            drop_invalid=run.drop_invalid,
            progress=progress,
        )
    save_state(state, reading.save)
    try:
        state.classes()
    except InputError as error:
        # A shard may well hold one class only: its state is of use all the same.
        if as_json:
            print_json("saved", {"saved": str(reading.save), "verdict": None, "reason": str(error)})
        say(f"saved {reading.save}; not judged by itself: {error}")
        raise typer.Exit from error
    return state
