"""A measurement on one screen: verdict, what was measured, its numbers, the worst classes, next."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from uncollapse.cli._console import print_command
from uncollapse.errors import shown
from uncollapse.records import (
    ClassMeasurement,
    Hanging,
    Measurement,
    ReferenceClass,
    Row,
    decimal,
    sentence,
    severity,
    verdict_word,
)

_MOST_CLASSES = 3
_LONGEST = 24  # characters of a class
# What is not worth a line beside the verdict: that no views were given, and the prediction.
_LITTLE = ("UC501", "UC503")
# Which number a reason rests on first.
_FINE = ("UC210", "UC304", "UC404")
_RETENTION = ("UC209", "UC211", "UC303", "UC305", "UC403")
_PROBE = ("UC205", "UC207")


@dataclass(frozen=True)
class Asked:
    """What a command line asked for, to name it and to say which command is next.

    Attributes:
        source: The words of the files or the query.
        columns: The options that name columns, as words.
        beside: The options of a reference and of labels elsewhere, as words.
        reference: Those of a reference alone.
        rows: The file that the table of rows was written to, which a report takes.
        alpha: Of the run that made the embeddings, where it was given.
        temperature: The same.
    """

    source: Sequence[str]
    columns: Sequence[str] = ()
    beside: Sequence[str] = ()
    reference: Sequence[str] = ()
    rows: Sequence[str] = ()
    alpha: float | None = None
    temperature: float | None = None

    def line(self, *words: str) -> str:
        """A command with these words, of the same source and columns."""
        name, *more = words
        rows = self.rows if name == "report" else ()
        return shlex.join(["uncollapse", name, *self.source, *rows, *self.columns, *more])


def show_summary(measured: Measurement, asked: Asked, console: Console) -> None:
    """Print at most fifteen lines of eighty columns."""
    console.print(verdict_of(measured))
    console.print(
        Hanging(
            ("measured", _measured(measured)),
            *numbers_of(measured),
            *_also(measured),
            *_classes(measured),
            ("next", _advice(measured)),
        )
    )
    if following := _next(measured, asked):
        print_command(following, console)
    # A page of the rows alone would judge them without the prediction that stood beside them.
    predicted = measured.prediction is not None
    more = "every number with --details, or a page:"
    if predicted:
        more = "every number: --details; a page: --json > measured.json, and"
    console.print(Hanging(("more", more)))
    of_record = shlex.join(["uncollapse", "report", "measured.json", *asked.rows])
    print_command(of_record if predicted else asked.line("report", *asked.reference), console)


def verdict_of(measured: Measurement) -> Text:
    """The verdict and, in a few words, why."""
    first = measured.reasons[0]
    return Text.assemble(verdict_word(measured.verdict), f": {first.headline} ({first.code})")


def _measured(measured: Measurement) -> str:
    given = measured.conditions
    parts = [f"{given.samples} rows, {given.classes} classes, {given.dimension} dimensions"]
    columns = given.columns.items()
    said = [f"{role} {shown(name, _LONGEST)}" for role, name in columns if role != "slice"]
    parts += [", ".join(said)] if said else []
    parts += [f"layer {shown(given.layer, _LONGEST)}"] if given.layer else []
    parts.append(f"split {shown(given.split, _LONGEST)}" if given.split else "all rows")
    if dropped := sum(given.dropped.values()):
        parts.append(f"{dropped} rows dropped")
    if (found := measured.reference) is not None:
        compared = found.rows if found.drawn_from is None else found.drawn_from
        how = f" ({compared} of the rows)" if compared < given.samples else ""
        if found.joined_by != "same file":
            how += " " + sentence(f"reference.joined.{found.joined_by}", {"key": found.key})
        parts.append(f"reference {shown(found.name, _LONGEST)}{how}")
    return "; ".join(parts)


def numbers_of(measured: Measurement) -> list[Row]:
    """The one or two numbers that the verdict rests on, the deciding one first."""
    code = measured.reasons[0].code
    known = [_fine(measured), _retention(measured), _share(measured)]
    if code in _RETENTION:
        known = [known[1], known[0], known[2]]
    elif code in _PROBE:
        known = [_probe(measured), known[2]]
    elif code not in _FINE:
        known = [known[2], known[0] or known[1]]
    texts = [text for text in known if text][:2]
    return [("" if number else "rests on", text) for number, text in enumerate(texts)]


def _share(measured: Measurement) -> str:
    """The share, what was predicted of it, and its margins."""
    level = "within classes"
    if measured.view_variance.estimate is not None:
        level = "between instances"
    text = f"share {measured.share} of the variance lies {level}"
    predicted = measured.prediction
    if predicted is not None:
        total = predicted.within_class_variance + predicted.between_class_variance
        part = predicted.within_class_variance
        if measured.view_variance.estimate is not None:
            part = predicted.instance_variance
        text += f"; predicted {decimal(part / total if total else 0.0)}"
    return text


def _retention(measured: Measurement) -> str | None:
    found = measured.reference
    if found is None or found.retention.estimate is None:
        return None
    name = shown(found.name, 2 * _LONGEST)
    return f"retention {found.retention} of the structure of {name}"


def _fine(measured: Measurement) -> str | None:
    found = measured.reference
    if found is None or (probe := found.probe) is None:
        return None
    name = shown(found.name, 2 * _LONGEST)
    return (
        f"{probe.shots}-shot accuracy {probe.embedding:.1%}, {name} {probe.reference:.1%}: "
        f"{probe.difference:points} points"
    )


def _probe(measured: Measurement) -> str | None:
    probe = measured.probe
    if probe is None or probe.logistic is None:
        return None
    return f"finer labels inside a class: score {probe.logistic} (0 chance, 1 perfect)"


def _also(measured: Measurement) -> Iterator[Row]:
    """Other findings and notes, in a few words each."""
    if (found := measured.reference) is not None and found.looks_unrelated:
        yield "also", sentence("reference.unrelated")
    others = [r for r in measured.reasons[1:] if r.code not in _LITTLE and r.code[2] in "125"]
    if others:
        texts = [f"{reason.headline} ({reason.code})" for reason in others[:2]]
        texts += [f"{len(others) - 2} more"] if len(others) > 2 else []
        yield "also", "; ".join(texts)


def _classes(measured: Measurement) -> Iterator[Row]:
    """The worst classes, one a line, and how the others are."""
    kept = {} if measured.reference is None else {c.label: c for c in measured.reference.classes}

    def place(one: ClassMeasurement) -> tuple[int, float, float]:
        retention = kept[one.label].retention.estimate if one.label in kept else None
        share = one.share.estimate
        return (
            severity(one.verdict),
            math.inf if retention is None else retention,
            math.inf if share is None else share,
        )

    ordered = sorted(measured.classes, key=place)
    listed = ordered[:_MOST_CLASSES] if len(ordered) <= _MOST_CLASSES else ordered[:2]
    names = [shown(one.label, _LONGEST) for one in listed]
    width = max(map(cell_len, names))
    for number, (name, one) in enumerate(zip(names, listed, strict=True)):
        padded = name + " " * (width - cell_len(name))
        text = Text.assemble(f"{padded}  ", verdict_word(one.verdict), f"  {_of_class(one, kept)}")
        yield ("" if number else "worst", text)
    if others := ordered[len(listed) :]:
        counts = Counter(one.verdict for one in others)
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        yield "", f"and {len(others)} more: {said}"


def _of_class(one: ClassMeasurement, kept: Mapping[Any, ReferenceClass]) -> str:
    number = kept[one.label].retention if one.label in kept else None
    if number is not None and number.estimate is not None:
        return f"retention {number}"
    return f"share {one.share}"


def _advice(measured: Measurement) -> str:
    """What to do about the first reason that says it."""
    advice = next((r.advice for r in measured.reasons if r.advice and r.code[2] != "5"), "")
    return advice or "nothing to change; a check in CI keeps it that way:"


def _next(measured: Measurement, asked: Asked) -> str:
    """The command that goes with the advice."""
    first = next((r for r in measured.reasons if r.advice and r.code[2] != "5"), None)
    if first is None or first.code == "UC403":
        return asked.line("measure", *asked.beside, "--fail-on", "at-risk")
    if first.code in ("UC305", "UC402", "UC405"):
        return asked.line("measure", "--reference", "OTHER.npz")
    if first.code in ("UC205", "UC209", "UC210"):
        return "uncollapse pilot CONFIG.yaml"
    if "uncollapse predict" in first.advice or first.code == "UC204":
        return _predict(measured, asked)
    return ""


def _predict(measured: Measurement, asked: Asked) -> str:
    """`uncollapse predict` of the same classes, with the setting where it is known."""
    counts = [one.count for one in measured.classes]
    if len(set(counts)) == 1 or len(counts) > 8:
        rows_each = sorted(counts)[len(counts) // 2]
        data = f"--classes {len(counts)} --per-class {rows_each}"
    else:
        data = f"--class-counts {','.join(map(str, counts))}"
    alpha = "ALPHA" if asked.alpha is None else f"{asked.alpha:g}"
    tau = "TEMPERATURE" if asked.temperature is None else f"{asked.temperature:g}"
    return f"uncollapse predict {data} --alpha {alpha} --temperature {tau}"
