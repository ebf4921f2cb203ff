"""Measurements and probes as a person reads them in a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from uncollapse.errors import shown
from uncollapse.records import measurement_parts as parts
from uncollapse.records._hanging import COLOURS, Hanging, verdict_word
from uncollapse.records.codec import Part
from uncollapse.records.prediction import Prediction
from uncollapse.records.probe import ProbeConditions, ProbeReading, ProbeResult, TargetProbe
from uncollapse.records.scalars import Estimate, Interval, WithEnds, decimal
from uncollapse.records.verdict import Reason

FINER = "Finer labels inside a class (0 chance, 1 perfect)"
_MOST_CLASSES = 12
_LONGEST_NAME = 60


def plain(record: Any, width: int = 100) -> str:
    """What rich shows of a record, as plain text."""
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, color_system=None, force_terminal=False)
    console.print(record)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def spaced(*parts: RenderableType) -> Iterator[RenderableType]:
    """The parts with a blank line after each."""
    for part in parts:
        yield part
        yield ""


def _word(verdict: str) -> Text:
    return Text(verdict, style=COLOURS.get(verdict, ""))


def _number(value: float | Estimate | Interval | None) -> str:
    if isinstance(value, Estimate | Interval):
        value = value.estimate
    return "-" if value is None else decimal(value)


def ends_of(estimate: WithEnds | None, form: str = "") -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return "-"
    low, high = (f"{x:{form}}" if form else decimal(x) for x in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def number_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Table:
    """A table whose first column is on the left; numbers by `decimal`, texts as they are."""
    # As Text, which is no markup: a slice may be called "length [cm]".
    head = Text(shown(title), style="table.title")
    table = Table(title=head, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(Text(column), justify="right" if table.columns else "left")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(_cell(cell)) for cell in row))
    return table


def _cell(value: Any) -> str:
    return str(value) if isinstance(value, str | int) else _number(value)


def name_text(name: Any) -> Text:
    """A class, a slice, a layer: text that comes from a file."""
    return Text(shown(name, _LONGEST_NAME))


def verdict_parts(verdict: str, reasons: Iterable[Reason]) -> Iterator[RenderableType]:
    """The verdict with its reasons, what each was judged by and what to try."""
    yield verdict_word(verdict)
    for reason in reasons:
        rows = [(reason.code, Text(reason.text)), ("judged by", Text(reason.anchor, style="dim"))]
        yield Hanging(*rows, *([("try", reason.advice)] if reason.advice else []))


def variance_table(
    macro: parts.Variances, micro: parts.Variances, prediction: Prediction | None, confidence: float
) -> Table:
    """The five variances, with the predicted ones beside them."""
    columns = ["", "estimate", f"{100 * confidence:.3g}% interval", "plug-in", "micro"]
    heads = ("within classes", "  between instances", "  between views", "between classes", "total")
    rows: list[list[Any]] = [
        [head, value, ends_of(value), value.plug_in, micro[name]]
        for head, (name, value) in zip(heads, macro.items(), strict=True)
    ]
    if prediction is not None:
        columns.append("predicted")
        total = prediction.within_class_variance + prediction.between_class_variance
        for row, name in zip(rows, macro, strict=True):
            row.append(prediction.get(name, total))
        if prediction.network is not None:
            columns.append("network like yours")
            for row, name in zip(rows, macro, strict=True):
                row.append(str(prediction.network.get(name, "")))
    return number_table("Variance on the unit sphere", columns, rows)


def class_table(classes: Sequence[parts.ClassMeasurement], *, views: bool) -> Table:
    """The classes with the smallest share."""
    ordered = sorted(
        classes, key=lambda c: float("inf") if c.share.estimate is None else c.share.estimate
    )
    listed = ordered[:_MOST_CLASSES]
    title = f"Classes ({len(classes)})"
    if len(listed) < len(ordered):
        title += f", the {len(listed)} with the smallest share"
    what = "instance_variance" if views else "within_class_variance"
    head = "between instances" if views else "within class"
    return number_table(
        title,
        ("class", "rows", head, "interval", "share of total", "verdict"),
        (
            [
                name_text(c.label),
                str(c.count),
                c[what],
                ends_of(c[what]),
                c.share,
                _word(c.verdict),
            ]
            for c in listed
        ),
    )


def ssem_text(ssem: parts.Ssem) -> Text:
    """Delta and omega, or why they mean nothing."""
    if not ssem.fit.describes:
        return Text(ssem.fit.reason)
    return Text(
        f"SSEM fits: delta {_number(ssem.delta)}, omega {_number(ssem.omega)} "
        "(0 collapsed, 1 all instances apart)"
    )


def secondary_table(secondary: Part) -> Table:
    """Each measure with its caveat."""
    rows: list[list[Any]] = []
    for name, measure in secondary.items():
        cells: list[Any] = ["-", "not applicable here"]
        if measure is not None:
            text = "\n".join(_values(measure)) or "-"
            cells = [text, Text(measure.caveat, style="dim")]
        rows.append([name.replace("_", " "), *cells])
    table = number_table("Secondary measures", ("", "value", "caveat"), rows)
    table.columns[2].justify = "left"
    return table


def _values(measure: Part) -> Iterator[str]:
    for key, value in vars(measure).items():
        if isinstance(value, Part):
            yield f"null range {decimal(value['low'])} to {decimal(value['high'])}"
        elif isinstance(value, int | float):
            text = _cell(value) if key in ("value", "median") else f"{key} {_cell(value)}"
            yield text.replace("_", " ")


def probe_table(title: str, probe: parts.WithinClassProbe) -> Table:
    """What both probes read, with the null."""
    read = (("neighbours", probe.knn), ("logistic", probe.logistic))
    rows: list[list[Any]] = [[name, value, ends_of(value)] for name, value in read]
    if probe.null is not None:
        rows.append(["null", probe.null.mean, f"p {probe.null.p_value:.2g}"])
    counts = f"{len(probe.classes)} classes, {probe.skipped_classes} without enough labels"
    rows.append(["verdict", _word(probe.verdict), counts])
    return number_table(title, ("", "estimate", "interval"), rows)


def slice_parts(slices: Mapping[str, parts.SliceColumn]) -> Iterator[RenderableType]:
    """Of every slice column: its slices, the largest gaps, the leakage."""
    for name, column in slices.items():
        yield _slice_table(name, column)
        yield _gaps(column.gap)
        if column.leakage is not None:
            title = f"Leakage: {name} predicted inside a class (0 chance, 1 perfect)"
            yield probe_table(title, column.leakage)


def _slice_table(name: str, column: parts.SliceColumn) -> Table:
    head = ["value", "rows", "within classes", "interval", "share", "verdict"]
    rows: list[list[Any]] = []
    for value, entry in column.values.items():
        within = entry.within_class_variance
        numbers = (str(entry.count), within, ends_of(within), entry.share)
        rows.append([name_text(value), *numbers, _word(entry.verdict)])
    if any(entry.probe is not None for entry in column.values.values()):
        head.insert(-1, "logistic")
        for row, entry in zip(rows, column.values.values(), strict=True):
            row.insert(-1, "-" if entry.probe is None else str(entry.probe.logistic))
    return number_table(f"Slices by {name}", head, rows)


def _gaps(gaps: parts.SliceGaps) -> Text:
    lines = [
        f"largest gap in {name.replace('_', ' ')}: {gap} "
        f"({shown(gap.smallest)} to {shown(gap.largest)})"
        for name, gap in vars(gaps).items()
        if gap is not None
    ]
    return Text("\n".join(lines) or "no gap can be given: fewer than two slices with an interval")


def conditions_text(given: parts.Conditions) -> Text:
    """Under which all this was measured, in one line."""
    facts = [
        f"{given.samples} rows, {given.classes} classes, {given.dimension} dimensions",
        f"type {given.dtype}",
        "unit vectors as they came" if given.normalised else "normalised to unit vectors",
        f"intervals: {given.interval or 'none'}" + (", clustered by group" if given.groups else ""),
    ]
    if given.columns:
        facts.append(", ".join(f"{role} {shown(name)}" for role, name in given.columns.items()))
    facts += [f"layer {shown(given.layer)}"] if given.layer else []
    split = f"split {shown(given.split)}" if given.split else "all rows judged: no split was named"
    facts.append(split)
    if given.joined_by:
        facts.append("labels joined to embeddings by position, row by row")
    if given.dropped:
        counts = [f"{name.replace('_', ' ')} {count}" for name, count in given.dropped.items()]
        facts.append(f"dropped rows: {', '.join(counts)}")
    return Text("; ".join(facts), style="dim")


def show_probe(result: ProbeResult, console: Console) -> None:
    """Print the record, a blank line after each of its parts."""
    percent = 100 * result.conditions.settings.confidence
    tables = (_target_table(target, percent) for target in result.targets)
    for part in spaced(*tables, _probe_conditions(result.conditions)):
        console.print(part)


def _target_table(target: TargetProbe, percent: float) -> Table:
    sizes = target.sizes
    missing = f", {sizes.missing} without it" if sizes.missing else ""
    title = (
        f"{target.data + ': ' if target.data else ''}{target.target} ({target.role}) at "
        f"{target.layer}: {target.classes} values; rows {sizes.train} train, "
        f"{sizes.validation} validation, {sizes.test} test{missing}"
    )
    head = ("", "accuracy", "balanced", "score", f"{percent:.3g}% interval", "chosen")
    rows = (
        (
            _probe_name(reading),
            *(f"{score.estimate:.3f}" for _, score in reading.score.items()),
            ends_of(reading.score.chance_corrected, ".3f"),
            Text(_chosen(reading)),
        )
        for reading in target.readings
    )
    table = number_table(title, head, rows)
    table.columns[0].no_wrap = True
    table.columns[-1].justify = "left"
    # Notes stand in the caption, so that they cannot be read apart from their numbers.
    table.caption = "\n".join(f"note: {note}" for note in target.notes) or None
    table.caption_justify = "left"
    return table


def _probe_name(reading: ProbeReading) -> str:
    if reading.details.shots is None:
        return reading.probe
    return f"{reading.probe.removesuffix('few-shot')}{reading.details.shots}-shot"


def _chosen(reading: ProbeReading) -> str:
    if reading.details.draws is not None:
        return f"{reading.details.draws} draws"
    # Short names, so that a row stays on one line of eighty columns.
    short = {"neighbours": "k", "temperature": "tau"}
    values = reading.chosen.to_dict().items()
    return ", ".join(f"{short.get(key, key)} {value:.3g}" for key, value in values)


def _probe_conditions(conditions: ProbeConditions) -> Text:
    lines = [
        "score: 0 chance, 1 perfect, (balanced - 1/K)/(1 - 1/K). "
        f"chosen by {conditions.chosen_by}, fitted on {conditions.fitted_on}, tested once on test; "
        f"seed {conditions.seed}"
    ]
    for data in conditions.data:
        if data.cut_here:
            whole = "" if data.unit == "row" else f", every {data.unit} in one split"
            named = f" of {shown(data.name)}" if data.name else ""
            lines.append(f"cut here{named}: {' and '.join(data.cut_here)}, a fifth each{whole}")
    return Text("\n".join(lines), style="dim")
