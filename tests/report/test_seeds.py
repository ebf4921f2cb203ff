"""Runs that differ in their seed alone are one setting."""

import shutil

import numpy as np
import pytest
from scipy import stats

from uncollapse import build_report
from uncollapse.records import Estimate, Gap, SliceMeasurement
from uncollapse.report.read.settings import mean_record
from uncollapse.statistics import mean_interval


def test_the_interval_is_students():
    values = [0.3, 0.5, 0.35, 0.4]
    mean = mean_record([Estimate(value, value - 1, value + 1, value) for value in values])
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    expected = [np.mean(values), low, high, np.mean(values)]
    assert [mean.estimate, mean.low, mean.high, mean.plug_in] == pytest.approx(expected)
    assert mean_record([Estimate(0.3), Estimate(None)]) == Estimate(None)


def test_estimates_of_different_things_are_not_averaged():
    gaps = [Gap(0.1, 0.0, 0.2, "a", "b"), Gap(0.2, 0.1, 0.3, "a", "c")]
    assert mean_record(gaps) is None
    slices = [
        SliceMeasurement(10, 2, verdict, share=Estimate(share))
        for verdict, share in (("healthy", 1.0), ("at-risk", 2.0))
    ]
    assert mean_record(slices).verdict == "at-risk"
    assert mean_record(slices).share.estimate == 1.5


def test_seeds_of_two_settings_are_before_and_after(seeds):
    report = build_report(seeds)
    single = [build_report([folder]).inputs.cases[0] for folder in seeds]
    cases = report.inputs.cases
    assert [case.name for case in cases] == ["before (n = 3)", "after (n = 3)"]
    for case, runs in zip(cases, (single[:3], single[3:]), strict=True):
        for layer, one in enumerate(case.measured):
            shares = [run.measured[layer].measurement.share.estimate for run in runs]
            share = vars(one.measurement.share)
            assert share | mean_interval(shares).to_dict() == pytest.approx(share)
        verdicts = [run.measured[0].measurement.verdict for run in runs]
        assert case.measured[0].measurement.verdict in verdicts
        assert [run.config["seed"] for run in case.runs] == [0, 1, 2]
    assert [change.key for change in report.decision.changes] == ["loss.alpha"]
    assert {"certainty.seeds"} <= {message.key for message in report.decision.certainty}
    assert "certainty.one-run-each" not in {m.key for m in report.decision.certainty}
    assert [mark.name for mark in report.marks] == [case.name for case in cases]
    html = report.to_html()
    assert "0, 1, 2" in html
    assert "runs that differ only in their seed" in html
    assert len(report.to_dict()["cases"][0]["runs"]) == 3


def test_what_is_no_other_draw_of_the_setting_stays_apart(seeds, runs, tmp_path):
    """The same seed again, or other data."""
    shutil.copytree(runs[0], tmp_path / "again")
    report = build_report([seeds[0], tmp_path / "again", seeds[1]])
    assert [len(case.each) for case in report.inputs.cases] == [2, 1]
    text = (tmp_path / "again" / "run.json").read_text()
    fingerprint = report.inputs.cases[0].run.data.fingerprint
    (tmp_path / "again" / "run.json").write_text(text.replace(fingerprint, "0" * 64))
    (tmp_path / "again" / "config.yaml").write_text((seeds[1] / "config.yaml").read_text())
    assert len(build_report([seeds[0], tmp_path / "again"]).inputs.cases) == 2


def test_one_setting_is_judged_by_its_worst_run(seeds):
    report = build_report(seeds[:2])
    assert report.decision.basis == "state"
    assert "certainty.seeds-state" in {message.key for message in report.decision.certainty}
    report.to_markdown()
