"""A stress test: doses and responses, predicted beside measured, and what helps."""

from __future__ import annotations

from collections.abc import Iterator

from uncollapse.records import Interval, StressDose, StressResult
from uncollapse.report.charts.look import Row, clipped
from uncollapse.report.charts.stress import dose_chart
from uncollapse.report.language import Language, short
from uncollapse.report.sections.section import Figure, Section, table


def stress_section(stress: StressResult | None, words: Language) -> Section | None:
    """Every dose as a curve and a row; what breaks and what helps stand below; None without."""
    if stress is None:
        return None
    given = stress.conditions
    about = {"seeds": len(given.seeds), "rows": given.test_rows, "margin": 100 * given.margin}
    layer = words.word("layer", given.layer)
    columns = (
        "dose finer:share change:points interval:point_ends task:share predicted:number"
        " measured:number runs:count verdict:verdict status"
    )
    rows = [_cells(dose, words) for dose in stress.doses]
    scores = list(_rows(stress.doses, ("finer", "training_label"), words))
    spread = list(_rows(stress.doses, ("instance_variance", "predicted"), words))
    notes = [words.record(r.text, r.message) for r in stress.reasons]
    colon = words.say("format.colon")
    notes += [f"{short(r.name)}{colon}{words.record(r.text, r.message)}" for r in stress.remedies]
    return Section(
        "stress",
        [words.say("intro.stress", **about), words.say("intro.stress-layer", layer=layer)],
        [
            Figure("stress-scores", "", dose_chart(scores, "axis.score", "stress", words)),
            Figure("stress-spread", "", dose_chart(spread, "axis.spread", "stress", words)),
        ],
        [table(words, columns, rows)],
        notes,
    )


def _cells(dose: StressDose, words: Language) -> list[object]:
    change = dose.finer_change
    return [
        short(dose.name),
        _estimate(dose.finer),
        None if change is None else change.estimate,
        change,
        _estimate(dose.training_label),
        None if dose.predicted is None else dose.predicted.instance_variance,
        _estimate(dose.instance_variance),
        len(dose.runs),
        dose.verdict,
        words.word("state", "clean" if dose.damage.kind == "none" else dose.state),
    ]


def _estimate(interval: Interval | None) -> float | None:
    return None if interval is None else interval.estimate


def _rows(
    doses: tuple[StressDose, ...], quantities: tuple[str, ...], words: Language
) -> Iterator[Row]:
    """Doses as they are drawn; what a dose does not have is left out."""
    for dose in doses:
        for name in quantities:
            value = dose[name]
            if name == "predicted" and dose.predicted is not None:
                value = Interval(dose.predicted.instance_variance)
            if value is None:
                continue
            yield {
                "name": short(dose.name, 30),
                "curve": f"{dose.setting} {dose.damage.curve}",
                "quantity": words.word("stress-quantity", name),
                **{end: _drawn(value[end]) for end in ("estimate", "low", "high")},
            }


def _drawn(value: float | None) -> float | None:
    """An accuracy, retention or variance between 0 and 1, though its interval may reach beyond."""
    low = clipped(value)
    return None if low is None else min(1.0, low)
