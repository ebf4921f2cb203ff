"""What the explorer says of a network is what `predict --calibration` says."""

import json
import shutil
import subprocess
from dataclasses import replace

import pytest
from scipy.special import logit

from uncollapse.records import BalancedBatch, NetworkRun, Setting
from uncollapse.report.explorer import explorer_page
from uncollapse.theory import calibrate, forecast

needs_node = pytest.mark.skipif(not shutil.which("node"), reason="no node here")
START = Setting(
    classes=2, per_class=600, alpha=0.01, temperature=0.1, batch=BalancedBatch(per_class=64)
)


def run(setting, within, between):
    return NetworkRun(
        setting=setting,
        steps=300,
        within_class_variance=within,
        between_class_variance=between,
        within_before=0.01,
        between_before=0.0004,
    )


@pytest.fixture(scope="module")
def calibration():
    further = START.with_(alpha=0.2, temperature=0.3)
    return calibrate([run(START, 0.022, 0.267), run(further, 0.224, 0.690)], draws=40)


def on_the_page(calibration, expression):
    """What the page's scripts say, in node."""
    page = explorer_page("en", calibration)
    script = page[page.index("const TEXT") : page.index("const BOUNDS")]
    script += f";console.log(JSON.stringify({expression}))"
    answer = subprocess.run(["node", "-"], input=script, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def state(setting):
    found = {"classes": 2, "perClass": 600, "views": 2, "selfPairs": "exclude", "batch": "balanced"}
    found |= {"batchPerClass": setting.batch.per_class, "batchClasses": 2}
    return found | {"alpha": setting.alpha, "temperature": setting.temperature}


@needs_node
def test_its_numbers_are_those_of_predict(calibration):
    exact = replace(calibration, discrepancy=1e-9)  # no deviations, which are drawn there
    settings = [
        START.with_(alpha=alpha, temperature=tau, batch=BalancedBatch(per_class=count))
        for alpha, tau, count in ((0.01, 0.1, 64), (0.5, 0.1, 16), (0.9, 0.01, 64), (0.2, 0.3, 64))
    ]
    states = json.dumps([state(setting) for setting in settings])
    found = on_the_page(exact, f"{states}.map((s) => NETWORK.predict(s, CALIBRATION))")
    for setting, mine in zip(settings, found, strict=True):
        wanted = forecast(exact, setting, thresholds=False)
        for name in ("within", "between"):
            expected = getattr(wanted, f"{name}_class_variance")
            assert mine[name]["estimate"] == pytest.approx(expected.estimate, abs=2e-3), setting
            for end in ("low", "high"):
                # Of each draw ten deviations there, so that quantiles are read a little elsewhere.
                assert mine[name][end] == pytest.approx(getattr(expected, end), abs=0.02), setting


@needs_node
def test_its_intervals_hold_the_deviation_and_other_conditions_are_said(calibration):
    draws = (calibration.draws[0],) * 40
    one = replace(calibration, draws=draws)
    cold = state(START) | {"temperature": 0.02, "classes": 4}
    asked = f"NETWORK.predict({json.dumps(state(START))}, CALIBRATION).within"
    mine, differs = on_the_page(one, f"[{asked}, NETWORK.differs({json.dumps(cold)}, CALIBRATION)]")
    middle = logit(mine["estimate"])
    for end, z in (("low", -1.645), ("high", 1.645)):
        assert logit(mine[end]) - middle == pytest.approx(0.4 * z, abs=0.1)
    assert differs == ["classes", "temperature"]


def test_without_a_calibration_there_is_none():
    assert "CALIBRATION = null" in explorer_page("ja")
