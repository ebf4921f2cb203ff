"""What is predicted for a network like one's own, in the report of a measurement and of a pilot."""

import json
from dataclasses import replace

import numpy as np
import pytest

from uncollapse import InputError, Setting, build_report, measure, predict
from uncollapse.records import (
    Expected,
    Message,
    NetworkPrediction,
    NetworkRun,
    PilotResult,
    read_network_run,
)
from uncollapse.theory import advise, calibrate

WITHIN = Expected(estimate=0.41, low=0.36, high=0.46)
BETWEEN = Expected(estimate=0.31, low=0.2, high=0.4)
OTHER = Message("text.calibration-differs.augmentation")
SAID = {
    "en": ("predicted for a network like this", "another augmentation", "0.41 [0.36, 0.46]"),
    "ja": ("同様のネットワーク", "データ拡張が異なります", "0.41 [0.36, 0.46]"),
}


def network(begins=None):
    return NetworkPrediction(
        within_class_variance=WITHIN,
        between_class_variance=BETWEEN,
        alpha_where_spread_begins=begins,
        confidence=0.9,
        differs=(OTHER,),
    )


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_measurement_stands_beside_the_network(language, tmp_path):
    labels = np.arange(150) % 3
    noise = np.random.default_rng(0).standard_normal((150, 16))
    theory = predict(Setting(classes=3, per_class=50, alpha=0.3, temperature=0.1))
    beside = replace(theory, network=network(Expected(estimate=0.12, low=0.05, high=0.3)))
    path = tmp_path / "measured.json"
    rows = np.eye(3, 16)[labels] + 0.2 * noise
    path.write_text(measure(rows, labels, prediction=beside, permutations=0).to_json())
    report = build_report([path], language)
    page = report.to_html()
    for part in (*SAID[language], "0.12 [0.05, 0.30]"):
        assert part in page, part
    reasons = report.to_dict()["decision"]["reasons"]
    assert {"UC511", "UC512"} <= {reason["code"] for reason in reasons}


ADVISED = {"en": "a network like those of the calibration", "ja": "同様のネットワーク"}


@pytest.mark.parametrize("language", ["en", "ja"])
def test_advice_is_for_a_network_of_the_calibration(language, runs, tmp_path):
    folders = [read_network_run(folder) for folder in runs]
    constants = calibrate(folders, draws=40)
    path = tmp_path / "calibration.json"
    path.write_text(constants.to_json())
    report = build_report([runs[0], path], language)
    (change,) = report.decision.changes
    (expected,) = advise(folders[0].setting, levers=("alpha",), calibration=constants)
    assert change.after == pytest.approx(expected.value, rel=0.05)
    (optimum,) = build_report([runs[0]]).decision.changes
    assert change.after > 2 * optimum.after
    page = report.to_html()
    assert ADVISED[language] in page
    assert str(expected.prediction.network.within_class_variance) in page
    record = report.to_dict()
    assert "calibration" not in record["cases"][0]
    assert record["sources"][0]["kind"] == "calibration"


def test_a_calibration_of_other_conditions_is_said_and_alone_it_is_no_report(runs, tmp_path):
    run = read_network_run(runs[0])
    other = NetworkRun(**{**vars(run), "setting": run.setting.with_(temperature=0.5)})
    constants = calibrate([other], draws=40)
    said = build_report([runs[0], constants]).to_markdown()
    assert "made under other conditions than this run" in said
    with pytest.raises(InputError, match="a run beside the calibration"):
        build_report([constants])


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_pilot_shows_what_networks_were_predicted_to_show(language, pilot, tmp_path):
    result = PilotResult.from_dict(pilot)
    foretold = [
        replace(trial, prediction=replace(trial.prediction, network=WITHIN))
        if trial.prediction
        else trial
        for trial in result.trials
    ]
    conditions = replace(result.conditions, calibration=(OTHER,))
    result = replace(
        result, start=foretold[0], candidates=tuple(foretold[1:]), conditions=conditions
    )
    path = tmp_path / "pilot.json"
    path.write_text(json.dumps(result.to_dict()))
    page = build_report([path], language).to_html()
    for part in SAID[language]:
        assert part in page, part
    assert PilotResult.from_dict(result.to_dict()) == result
    assert result.table()[0]["network_variance"] == 0.41
