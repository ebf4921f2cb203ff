"""A stress test in the report: its section, its headline, in English and Japanese."""

import json

import pytest

from uncollapse import StressResult, build_report
from uncollapse.records import (
    Damage,
    Interval,
    Message,
    Objective,
    PilotReason,
    PredictedVariance,
    Remedy,
    StressConditions,
    StressDose,
)


def dose(name, kind, value, **more):
    around = Interval(value, value - 0.05, value + 0.05)
    scores = {"finer": around, "training_label": around, "instance_variance": around}
    damage = Damage(kind, name.rpartition("-")[2] if kind != "none" else "")
    return StressDose(name=name, damage=damage, dose=damage.dose, **scores, **more)


@pytest.fixture(scope="module")
def result():
    predicted = PredictedVariance("spread", 0.3)
    change = Interval(-0.2, -0.3, -0.1)
    broken = {"state": "breaks", "finer_change": change, "verdict": "not-collapsed"}
    said = {"damage": "rows-0.1", "before": 0.34, "after": 0.33}
    return StressResult(
        verdict="breaks",
        first="rows-0.1",
        objective=Objective("within-class", ("digit",)),
        reasons=(PilotReason.from_key("UC904", "stress.phase", agreed=2, compared=2),),
        doses=(
            dose("clean", "none", 0.8, predicted=predicted, state="holds"),
            dose("rows-0.1", "rows", 0.6, predicted=predicted, **broken),
            dose("corrupt-noise-1", "corrupt", 0.7, state="cannot-tell"),
        ),
        remedies=(Remedy.of("rows-0.1", Message("remedy.rows", said)),),
        conditions=StressConditions(seeds=(0, 1), test_rows=100, confidence=0.9),
    )


@pytest.mark.parametrize(
    ("language", "headline", "remedy"),
    [
        ("en", "rows-0.1 is the first to break this setting", "more rows: predicted variance"),
        ("ja", "最初に破綻するのは「rows-0.1」", "行を増やしてください"),
    ],
)
def test_the_report_says_what_breaks(result, tmp_path, language, headline, remedy):
    (tmp_path / "stress.json").write_text(result.to_json())
    report = build_report([tmp_path], language)
    assert (report.decision.basis, report.decision.verdict) == ("stress", "breaks")
    assert headline in report.headline
    page = report.to_html()
    assert remedy in page
    assert "stress-scores" in page
    written = json.loads(report.to_json())
    assert StressResult.from_dict(written["stress"]) == result
