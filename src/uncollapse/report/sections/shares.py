"""What the verdict judges: shares of classes and slices against their margins, and the levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uncollapse.records import Interval, Measurement, SliceColumn, severity
from uncollapse.report.charts import measured as charts
from uncollapse.report.charts.look import Row, clipped
from uncollapse.report.decide import lookup
from uncollapse.report.decide.decide import Content
from uncollapse.report.decide.lookup import judged_cases
from uncollapse.report.inputs_model import Case
from uncollapse.report.language import Language, short
from uncollapse.report.sections import section
from uncollapse.report.sections.section import Figure, Section, TextTable, charted, table

# Slices that a picture shows, those with the smallest share.
MOST_SLICES = 24


def _whole(report: Content, words: Language) -> list[Row]:
    """The share of all classes together, which the verdict judges, as it is drawn."""
    rows: list[Row] = []
    for case, measurement in judged_cases(report.inputs.shown, report.layer):
        share, prediction = measurement.share, measurement.prediction
        part = "instance" if lookup.has_views(measurement) else "within"
        predicted = lookup.predicted_level(prediction, part)
        total = lookup.predicted_level(prediction, "total")
        rows.append(
            {
                "case": words.case(case.name),
                "name": words.say("level.all-classes"),
                "rows": measurement.conditions.samples,
                **{end: clipped(share[end]) for end in ("estimate", "low", "high")},
                "predicted": predicted / total if predicted is not None and total else None,
            }
        )
    return rows


def share_section(report: Content, words: Language) -> Section | None:
    """The share of the whole and of the worst classes, with the margins that they are held to."""
    measured = judged_cases(report.inputs.shown, report.layer)
    cases = [case for case, _ in measured]
    rows = sorted(lookup.class_rows(cases, report.layer), key=lambda row: row.rank)
    if not rows:
        return None
    # By label: two cases have the same classes, of which the worse of the two counts.
    worst = list(dict.fromkeys(row.measured.label for row in rows))
    kept = worst[: lookup.MOST_CLASSES]
    drawn = [
        row
        for label in kept
        for case in cases
        for row in rows
        if row.measured.label == label and row.case is case
    ]
    paragraphs = [words.say("intro.variance")]
    if any(row.predicted_share is not None for row in drawn):
        paragraphs.append(words.say("intro.variance-predicted"))
    if len(kept) < len(worst):
        shown = {"shown": len(kept), "count": len(worst)}
        paragraphs.append(words.say("intro.variance-many", **shown))
    last = measured[-1][1]
    reason = lookup.deciding(last)
    if reason is not None and reason.code not in lookup.BY_SHARE:
        values = {"verdict": last.verdict, "code": reason.code}
        paragraphs.append(words.say("intro.variance-other", **values))
    data = [*_whole(report, words), *charts.share_rows(drawn, words)]
    margins = [end for _, found in measured for end in lookup.judging_margins(found)]
    spec = charts.interval_chart(
        data, words, title=words.say("axis.judged"), section="variance", margins=margins
    )
    numbers = section.class_table(cases, report.layer, words)
    shares = [found.share for _, found in measured] + [row.measured.share for row in drawn]
    return charted("variance", spec, paragraphs, numbers, notes=_clipped(shares, words))


def _clipped(estimates: Sequence[Any], words: Language) -> list[str]:
    """How many estimates are drawn elsewhere than they are."""
    below = [e for e in estimates if e.estimate is not None and e.estimate < 0]
    return [words.say("intro.clipped", count=len(below))] if below else []


def level_section(report: Content, words: Language) -> Section | None:
    """The parts of the variance with their intervals."""
    measured = judged_cases(report.inputs.shown, report.layer)
    paragraphs = [words.say("intro.levels")]
    if not any(found.view_variance.estimate is not None for _, found in measured):
        paragraphs.append(words.say("intro.levels-no-views"))
    paragraphs += _networks(measured, words)
    cases = [case for case, _ in measured]
    rows = charts.level_rows(cases, report.layer, words)
    spec = charts.interval_chart(rows, words, title=words.say("axis.variance"), section="levels")
    estimates = [found[name] for _, found in measured for name in lookup.LEVELS.values()]
    numbers = section.level_table(cases, report.layer, words)
    return charted("levels", spec, paragraphs, numbers, notes=_clipped(estimates, words))


def _networks(measured: Sequence[tuple[Case, Measurement]], words: Language) -> list[str]:
    """What is predicted for a network like that of each case."""
    said = []
    for case, measurement in measured:
        network = lookup.network_of(measurement.prediction)
        if network is not None:
            begins = network.alpha_where_spread_begins
            values = {
                "name": words.case(case.name),
                "within": str(network.within_class_variance),
                "between": str(network.between_class_variance),
                "confidence": network.confidence,
                "begins": str(begins),
            }
            key = "intro.levels-network" + ("" if begins is None else "-begins")
            said.append(words.say(key, **values))
            said += [words.record(str(other), other) for other in network.differs]
    return [*said, words.say("intro.levels-diamond")] if said else []


def slice_section(report: Content, words: Language) -> Section | None:
    """Every slice of the last case that has some, the worst first, and the gaps of all cases."""
    figures: list[Figure] = []
    tables, notes = [], []
    for case, measurement in judged_cases(report.inputs.shown, report.layer):
        for name, column in (measurement.slices or {}).items():
            caption = f"{short(name)} · {words.case(case.name)}"
            spec = _slice_chart(column, words, lookup.judging_margins(measurement))
            if spec is not None:
                figures.append(Figure(f"slices-{len(figures)}", caption, spec))
            tables.append(_slice_table(column, caption, words))
            notes += _gaps(column, f"{caption}{words.say('format.colon')}", words)
    intro = words.say("intro.slices")
    return Section("slices", [intro], figures, tables, notes) if tables else None


def _gaps(column: SliceColumn, before: str, words: Language) -> list[str]:
    notes = []
    for what, gap in vars(column.gap).items():
        if gap is not None:
            ends = {"smallest": short(gap.smallest), "largest": short(gap.largest)}
            named = words.word("quantity", what)
            # Variances lie from 0 to 1, chance-corrected accuracies from -1 to 1.
            limit = 1 if "variance" in what else 2
            cut = Interval(
                gap.estimate, *(min(max(end, -limit), limit) for end in (gap.low, gap.high))
            )
            say = "gap" if (cut.low, cut.high) == (gap.low, gap.high) else "gap-cut"
            values = {"quantity": named, "gap": cut, "limit": limit, **ends}
            notes.append(before + words.say(f"intro.{say}", **values))
    if column.leakage is not None and column.leakage.logistic is not None:
        notes.append(before + words.say("intro.leakage", estimate=column.leakage.logistic))
    return notes


def _worst_first(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """By verdict, then by share; what is not known comes last."""

    def rank(pair: tuple[str, Any]) -> tuple[int, float]:
        share = pair[1].share.estimate
        return severity(pair[1].verdict), float("inf") if share is None else share

    return sorted(values.items(), key=rank)


def _slice_chart(column: SliceColumn, words: Language, margins: tuple[float, float]) -> Any:
    rows = [
        {
            "case": "",
            "name": short(value, charts.MOST_LETTERS),
            "rows": entry.count,
            **{end: clipped(entry.share[end]) for end in ("estimate", "low", "high")},
            "predicted": None,
        }
        for value, entry in _worst_first(column.values)[:MOST_SLICES]
    ]
    title = words.say("axis.judged")
    return charts.interval_chart(rows, words, title=title, section="slices", margins=margins)


def _slice_table(column: SliceColumn, caption: str, words: Language) -> TextTable:
    columns = (
        "slice rows:count share:share share_interval:share_ends within:number within_interval:ends"
        " readable:share verdict:verdict"
    )
    rows = []
    for value, entry in _worst_first(column.values):
        within, probe = entry.within_class_variance, entry.probe
        read = None if probe is None else probe.logistic
        share = (entry.share, entry.share)
        rows.append((short(value), entry.count, *share, within, within, read, entry.verdict))
    interval = words.say("column.interval")
    titles = {"share_interval": interval, "within_interval": interval}
    return table(words, columns, rows, caption=caption, titles=titles)
