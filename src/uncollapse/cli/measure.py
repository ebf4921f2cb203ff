"""`uncollapse measure`: parse, measure, print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from uncollapse.cli import _parameters as parameters
from uncollapse.errors import InputError
from uncollapse.metrics import (
    Margins,
    ProbeOptions,
    accumulate_files,
    check_place,
    measure_files,
    save_state,
)
from uncollapse.records import Measurement, Prediction, show
from uncollapse.tables import Columns

__all__ = ["measure_command"]

FailOn = Literal["collapsed", "at-risk"]
SelfPairs = Literal["exclude", "include"]
Reduction = Literal["anchors", "pairs"]


@contextmanager
def progress_bar(wanted: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr while it is a terminal, nothing otherwise."""
    columns = (
        TextColumn("reading"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not wanted) as bar:
        task = bar.add_task("reading", total=None)

        def update(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield update


def plain_console() -> Console:
    """Stdout, as wide as the terminal, as COLUMNS says, or 110."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else 110)


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object from a file."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{what} in {path}", f"{error}", "write it with --json") from error
    if not isinstance(record, dict):
        raise InputError(f"{what} in {path}", "JSON of another kind", "write it with --json")
    return record


def setting_prediction(
    alpha: float | None,
    temperature: float | None,
    views: int,
    self_pairs: SelfPairs,
    reduction: Reduction,
    batch_size: int | None,
    batch_per_class: int | None,
    batch_classes: int | None,
) -> Callable[[dict[Any, int]], Prediction] | None:
    """A function from class counts to the prediction; None when no setting was given."""
    if alpha is None and temperature is None:
        if batch_size or batch_per_class or batch_classes:
            raise InputError(
                "--alpha and --temperature with the batch", "a batch alone", "give all three"
            )
        return None
    if alpha is None or temperature is None:
        raise InputError(
            "both --alpha and --temperature", "one of them", "give the run's whole setting"
        )
    if batch_size is not None and batch_per_class is not None:
        raise InputError(
            "--batch-size (random) or --batch-per-class (balanced)", "both", "give the run's own"
        )

    if batch_classes is not None and batch_per_class is None:
        raise InputError(
            "--batch-per-class with --batch-classes",
            "--batch-classes alone",
            "say how many instances of each of these classes a batch holds",
        )

    def predicted(counts: dict[Any, int]) -> Prediction:
        from uncollapse.records import BalancedBatch, FullBatch, RandomBatch
        from uncollapse.theory import Setting, predict

        batch: Any = FullBatch()
        if batch_size is not None:
            batch = RandomBatch(batch_size)
        elif batch_per_class is not None:
            batch = BalancedBatch(batch_per_class, batch_classes)
        return predict(
            Setting(
                class_counts=tuple(counts.values()),
                views=views,
                alpha=alpha,
                temperature=temperature,
                self_pairs=self_pairs,
                reduction=reduction,
                batch=batch,
            )
        )

    return predicted


def fail(found: Measurement, fail_on: FailOn | None) -> bool:
    """Whether the verdict is what --fail-on names, or worse.

    A class or a slice that is collapsed counts as the whole does: a guard must not let a model pass
    of which it prints that a part is collapsed. Unless what is left can still be read (UC207).
    """
    codes = {reason.code for reason in found.reasons}
    part = not codes.isdisjoint({"UC204", "UC208"}) and "UC207" not in codes
    if fail_on == "at-risk":
        return found.verdict in ("collapsed", "at-risk")
    return fail_on == "collapsed" and (found.verdict == "collapsed" or part)


def measure_command(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="npy, npz, parquet, safetensors, CSV or arrow files, folders of them, Hugging Face"
            " dataset folders, or states saved by --save-state. Several are shards of one set."
        ),
    ],
    embedding: parameters.Embedding = None,
    label: parameters.Label = None,
    instance: parameters.Instance = None,
    group: parameters.Group = None,
    fine: parameters.Fine = None,
    slice_: parameters.Slices = None,
    labels_from: Annotated[
        list[Path] | None,
        typer.Option(help="File with labels and the other columns, row by row; may be repeated."),
    ] = None,
    drop_invalid: Annotated[
        bool, typer.Option("--drop-invalid", help="Drop and count unusable rows.")
    ] = False,
    prediction: Annotated[
        Path | None, typer.Option(help="JSON of `uncollapse predict` to stand beside.")
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Weight of the self-supervised term in the run that made the embeddings, 0 to 1;"
            " it is predicted from this and the next options."
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Temperature tau of that run, 0.001 to 1000.")
    ] = None,
    views: parameters.Views = 2,
    self_pairs: parameters.SelfPairsChoice = "exclude",
    reduction: parameters.ReductionChoice = "anchors",
    batch_size: parameters.BatchSize = None,
    batch_per_class: parameters.BatchPerClass = None,
    batch_classes: parameters.BatchClasses = None,
    collapsed_margin: Annotated[
        float, typer.Option(help="Share of total variance below which it is collapsed, above 0.")
    ] = Margins.collapsed,
    healthy_margin: Annotated[
        float,
        typer.Option(
            help="Share of total variance above which it is healthy, from the other margin to"
            " below 1."
        ),
    ] = Margins.healthy,
    permutations: Annotated[
        int, typer.Option(min=0, help="Permutations of the nulls; 0 leaves them out.")
    ] = 20,
    confidence: parameters.Confidence = 0.95,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of permutations, splits and subsamples.")
    ] = 0,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--in-memory",
            help="Read in one pass, without nulls, or hold all rows.",
            show_default="stream above 256 MiB",
        ),
    ] = None,
    interval: Annotated[
        Literal["auto", "exact", "blocks"],
        typer.Option(help="Of a stream: exact (leave one out), or blocks (fast; auto)."),
    ] = "auto",
    save: Annotated[
        Path | None,
        typer.Option("--save-state", help="File for a stream's state, to merge with others'."),
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Layer's name, for the record.")] = None,
    split: Annotated[str | None, typer.Option(help="Split's name, for the record.")] = None,
    as_json: parameters.Json = False,
    fail_on: Annotated[
        FailOn | None, typer.Option(help="Exit with code 1 on this verdict or a worse one.")
    ] = None,
) -> None:
    """Say whether embeddings are collapsed.

    Verdict, variances within and between classes with their intervals, finer labels and slices;
    with the run's setting, measured beside predicted.

    Example: `uncollapse measure embeddings.parquet --embedding projector --label label`
    """
    columns = Columns(embedding, label, instance, group, fine, tuple(slice_ or ()))
    setting = setting_prediction(
        alpha,
        temperature,
        views,
        self_pairs,
        reduction,
        batch_size,
        batch_per_class,
        batch_classes,
    )
    if prediction is not None and setting is not None:
        raise InputError("--prediction or the run's setting", "both", "give one of them")
    predicted = setting if prediction is None else read_json(prediction, "a prediction")
    margins = Margins(collapsed=collapsed_margin, healthy=healthy_margin)
    with progress_bar(sys.stderr.isatty()) as progress:
        if save is not None:
            check_place(save)
            state = accumulate_files(
                files,
                columns=columns,
                labels_from=labels_from or (),
                interval="blocks" if interval == "blocks" else "exact",
                drop_invalid=drop_invalid,
                progress=progress,
            )
            save_state(state, save)
            files, columns, labels_from = [save], Columns(), None
            try:
                state.classes()
            except InputError as error:
                # A shard may well hold one class only: its state is of use all the same.
                if as_json:
                    answer = {"saved": str(save), "verdict": None, "reason": str(error)}
                    typer.echo(json.dumps(answer, ensure_ascii=False))
                typer.echo(f"saved {save}; not judged by itself: {error}", err=True)
                raise typer.Exit from error
        found = measure_files(
            files,
            columns=columns,
            labels_from=labels_from or (),
            stream=stream,
            interval=interval,
            drop_invalid=drop_invalid,
            progress=progress,
            prediction=predicted,
            margins=margins,
            probe=ProbeOptions(permutations=permutations),
            permutations=permutations,
            confidence=confidence,
            seed=seed,
            layer=layer,
            split=split,
        )
    if as_json:
        typer.echo(found.to_json())
    else:
        show(found, plain_console())
    if fail(found, fail_on):
        raise typer.Exit(1)
