"""`uncollapse measure` and `uncollapse compare`: parse, measure or compare, print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from uncollapse.cli._console import bar, plain_console, print_json, print_record, say
from uncollapse.cli._options import Fields, Keywords, given_words
from uncollapse.cli._setting import CONVENTIONS, BatchOptions, FromZero, Json, rows_of
from uncollapse.cli._summary import Asked, show_summary
from uncollapse.errors import InputError, shown
from uncollapse.metrics import (
    PERMUTATIONS,
    Accumulator,
    Margins,
    ProbeOptions,
    accumulate_files,
    check_place,
    compare,
    measure_files,
    save_state,
)
from uncollapse.records import (
    Calibration,
    Comparison,
    Hanging,
    Measurement,
    Prediction,
    Setting,
    decimal,
)
from uncollapse.tables import (
    Columns,
    Query,
    ReferenceFiles,
    Source,
    is_rows,
)


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """How rows are read, the run that made them, how they are judged, what is answered.

    Attributes:
        labels_from: File with labels and the other columns, row by row; may be repeated.
        drop_invalid: Drop and count unusable rows.
        prediction: JSON of `uncollapse predict` to stand beside.
        alpha: Weight of the self-supervised term in the run that made the embeddings, 0 to 1; it is
            predicted from this and the next options.
        temperature: Temperature tau of that run, 0.001 to 1000.
        calibration: Calibration of runs like it (`uncollapse calibrate`), beside --alpha and
            --temperature: what a network like those shows stands beside what was measured. A
            --prediction that was made with one holds it already.
        collapsed_margin: Share of total variance below which it is collapsed, above 0.
        healthy_margin: Share of total variance below which it is at risk, from the other margin to
            below 1.
        permutations: Permutations of the nulls; 0 leaves them out.
        confidence: Confidence of every interval, between 0 and 1.
        seed: Seed of permutations, splits and subsamples.
        stream: Read in one pass, without nulls, or hold all rows. [default: stream above 256 MiB]
        interval: Of a stream: exact (leave one out), or blocks (fast; auto).
        rows: Parquet file for what is worth a look row by row: the nearest row of the class,
            copies, doubtful labels, neighbours that the reference has and the embedding has lost.
        save: File for a stream's state, its reference in it, to merge with others'.
        layer: Layer's name, for the record.
        split: Part of the rows to measure, by a column named split: train, validation, test or all;
            without that column a name for the record. [default: test, else validation]
        fail_on: Exit with code 1 on this verdict or a worse one.
        details: Print every number, code and caveat.
    """

    query: Query
    columns: Columns
    beside: ReferenceFiles
    labels_from: tuple[Path, ...] = ()
    drop_invalid: bool = False
    prediction: Path | None = None
    alpha: float | None = None
    temperature: float | None = None
    calibration: Path | None = None
    conventions: Annotated[Keywords, Fields(Setting, CONVENTIONS)]
    batch: BatchOptions
    collapsed_margin: float = Margins.collapsed
    healthy_margin: float = Margins.healthy
    permutations: FromZero = 20
    confidence: float = 0.95
    seed: FromZero = 0
    stream: Annotated[bool | None, typer.Option("--stream/--in-memory")] = None
    interval: Literal["auto", "exact", "blocks"] = "auto"
    rows: Path | None = None
    save: Annotated[Path | None, typer.Option("--save-state")] = None
    layer: str | None = None
    split: str | None = None
    as_json: Json = False
    fail_on: Literal["collapsed", "at-risk"] | None = None
    details: bool = False


def measure_command(
    files: Annotated[
        list[Path] | None,
        "npy, npz, parquet, safetensors, arrow, feather, CSV, TSV or JSON lines files (text also"
        " .gz or .zst), folders of them, Hugging Face dataset folders, s3://, gs://, hf:// and"
        " https:// addresses, - for the standard input, or states saved by --save-state. Several"
        " are shards of one set.",
    ] = None,
    *,
    options: MeasureOptions,
) -> None:
    """Say whether embeddings are collapsed.

    Verdict, the numbers it rests on, the worst classes and what to do next; with the run's setting,
    measured beside predicted; with a reference, what of its structure inside the classes is kept.
    Columns named embedding and label are found by themselves.

    Example: `uncollapse measure embeddings.parquet --embedding projector --label label`
    """
    prediction, sources = _prediction(options), rows_of(files, options.query)
    judged: Keywords = {
        "margins": Margins(collapsed=options.collapsed_margin, healthy=options.healthy_margin),
        "confidence": options.confidence,
        "layer": options.layer,
        "split": options.split,
    }
    beside = None if options.beside == ReferenceFiles() else options.beside
    if options.save is not None:
        if options.rows is not None:
            raise InputError("--rows or --save-state", "both", "a state holds no rows")
        state = _saved(sources, options, options.save, beside)
        if callable(prediction):
            prediction = prediction(state.classes().counts)
        drawn = PERMUTATIONS if options.permutations else 0
        measured = state.measurement(
            prediction=prediction, permutations=drawn, seed=options.seed, **judged
        )
    else:
        with bar(
            "reading" if options.rows is None else "rows read, compared", "rows", transient=True
        ) as progress:
            measured = measure_files(
                sources,
                columns=options.columns,
                labels_from=options.labels_from,
                reference=beside,
                stream=options.stream,
                interval=options.interval,
                drop_invalid=options.drop_invalid,
                progress=progress,
                prediction=prediction,
                probe=ProbeOptions(permutations=options.permutations),
                permutations=options.permutations,
                seed=options.seed,
                rows_to=options.rows,
                **judged,
            )
    if options.as_json:
        print_record(measured.to_json())
    elif options.details:
        plain_console().print(measured)
    else:
        show_summary(measured, _asked(files or [], options), plain_console())
    if options.fail_on is not None and measured.fails(options.fail_on):
        raise typer.Exit(1)


def _asked(files: list[Path], options: MeasureOptions) -> Asked:
    """What the summary repeats of the command line."""
    query = options.query.words()
    source = query or [shown(file) for file in files[:3]] + ["..."] * (len(files) > 3)
    reference = given_words(options.beside)
    beside = [*reference]
    for file in options.labels_from:
        beside += ["--labels-from", shown(file)]
    words = given_words(options.columns)
    alpha, temperature = options.alpha, options.temperature
    rows = [] if options.rows is None else [shown(options.rows)]
    return Asked(source, words, beside, reference, rows, alpha, temperature)


def _prediction(
    options: MeasureOptions,
) -> Prediction | Callable[[Mapping[Any, int]], Prediction] | None:
    """What is predicted of the run: a record, or a function from the class counts to it."""
    alpha, temperature = options.alpha, options.temperature
    if alpha is None and temperature is None:
        if options.calibration is not None:
            raise InputError(
                "--alpha and --temperature with --calibration",
                "no setting",
                "give the run's setting, or a --prediction made with the calibration",
            )
        if options.batch != BatchOptions():
            raise InputError(
                "--alpha and --temperature with the batch", "a batch alone", "give all three"
            )
        return Prediction.read(options.prediction) if options.prediction else None
    if alpha is None or temperature is None:
        raise InputError(
            "both --alpha and --temperature", "one of them", "give the run's whole setting"
        )
    if options.prediction is not None:
        raise InputError("--prediction or the run's setting", "both", "give one of them")
    loss: Keywords = {"alpha": alpha, "temperature": temperature, "batch": options.batch.batch()}
    calibration = None
    if options.calibration is not None:
        calibration = Calibration.read(options.calibration, "write it with uncollapse calibrate")

    def predicted(counts: Mapping[Any, int]) -> Prediction:
        from uncollapse.theory import predict

        setting = Setting(class_counts=tuple(counts.values()), **loss, **options.conventions)
        return predict(setting, calibration=calibration)

    return predicted


def _saved(
    files: list[Source], options: MeasureOptions, file: Path, reference: ReferenceFiles | None
) -> Accumulator:
    """The saved state of a stream of the files; ends here where it cannot be judged by itself."""
    check_place(file)
    with bar("reading", "rows", transient=True) as progress:
        state = accumulate_files(
            files,
            columns=options.columns,
            labels_from=options.labels_from,
            reference=reference,
            interval="blocks" if options.interval == "blocks" else "exact",
            drop_invalid=options.drop_invalid,
            split=options.split,
            progress=progress,
        )
    save_state(state, file)
    try:
        state.classes()
    except InputError as error:
        # A shard may well hold one class only: its state is of use all the same.
        if options.as_json:
            print_json("saved", {"saved": str(file), "verdict": None, "reason": str(error)})
        say(f"saved {file}; not judged by itself: {error}")
        raise typer.Exit from error
    return state


def compare_command(
    before: Annotated[Path, "JSON of `uncollapse measure`, or embeddings: the reference."],
    after: Annotated[Path, "JSON of `uncollapse measure`, or embeddings, to compare."],
    columns: Columns,
    *,
    tolerance: Annotated[
        float, "Fraction by which the share or a probe may fall, 0 to below 1."
    ] = 0.0,
    as_json: Json = False,
    fail_on: Annotated[Literal["regression"] | None, "Exit with code 1 on a regression."] = None,
) -> None:
    """Say what changed between two measurements.

    Every difference has its interval, shorter where both are of the same rows (by --instance, else
    row by row); a regression is a fall of the verdict, of a class, of the share or of a probe. The
    JSON of more than 20,000 units does not hold its rows: then give both files of embeddings.

    Example: `uncollapse compare before.json after.json --fail-on regression`
    """
    first, second = (_measured(path, columns) for path in (before, after))
    comparison = compare(first, second, tolerance=tolerance)
    if as_json:
        print_record(comparison.to_json())
    else:
        _show_comparison(comparison, plain_console())
    if fail_on == "regression" and comparison.regression:
        raise typer.Exit(1)


def _measured(path: Path, columns: Columns) -> Measurement:
    """The record in a JSON file, or the measurement of embeddings, in memory and without nulls."""
    record = str(path) == "-"  # what comes by the standard input is one, too
    if record or (not path.is_dir() and not is_rows(path)):
        return Measurement.read(path)
    with bar("reading", "rows", transient=True) as progress:
        return measure_files(
            [path],
            columns=columns,
            stream=False,
            progress=progress,
            permutations=0,
            probe=ProbeOptions(permutations=0),
        )


def _show_comparison(comparison: Comparison, console: Console) -> None:
    for reason in comparison.reasons:
        console.print(f"regression: {reason}")
    if not comparison.regression:
        console.print("no regression seen")
    before, after = comparison.verdict_before, comparison.verdict_after
    console.print(Hanging(("verdict", f"{before} -> {after}")))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "before", "after", "difference", "interval", ""):
        table.add_column(name, justify="right" if name else "left")
    for change in comparison.changes:
        known = change.low is not None and change.high is not None
        table.add_row(
            shown(change.name.replace("_", " ")),
            decimal(change.before),
            decimal(change.after),
            f"{change.estimate:+.4f}",
            f"[{change.low:+.4f}, {change.high:+.4f}]" if known else "-",
            Text(change.direction),
        )
    console.print(table)
    warnings = (("warning", f"not the same conditions: {one}") for one in comparison.warnings)
    console.print(Hanging(("rows", comparison.pairing), *warnings))
