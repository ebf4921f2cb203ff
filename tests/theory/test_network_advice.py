"""Advice for a network like those of a calibration, and in what its runs were others."""

from dataclasses import replace

import numpy as np
import pytest

from uncollapse.records import BalancedBatch, NetworkRun, RandomBatch, Setting
from uncollapse.theory import advise, calibrate, expected_variances, forecast, predict
from uncollapse.theory._flow import batches_of
from uncollapse.theory._posterior import model

START = Setting(
    class_counts=[624, 634], alpha=0.0079, temperature=0.1, batch=BalancedBatch(per_class=64)
)


def run(setting, **more):
    """What a network shows that follows the model with the constants of the digits."""
    constants = np.array([[3.4, 0.94, 4.2, 0.12]])
    within, between = model(constants, batches_of([setting]), np.ones(1), np.array([0.01, 0.001]))
    return NetworkRun(
        setting=setting,
        steps=300,
        within_class_variance=float(within[0, 0]),
        between_class_variance=float(between[0, 0]),
        within_before=0.01,
        between_before=0.001,
        **more,
    )


@pytest.fixture(scope="module")
def calibration():
    runs = [run(START), run(START.with_(alpha=0.2, temperature=0.3))]
    return calibrate([replace(r, circumstances={"augmentation": '"weak"'}) for r in runs], draws=60)


def test_a_network_needs_more_than_the_smallest_step_above_the_threshold(calibration):
    of_theory, of_network = (
        {a.lever: a for a in advise(START, calibration=c)} for c in (None, calibration)
    )
    threshold = predict(START).alpha_threshold
    assert of_theory["alpha"].value < threshold + 0.01
    alpha = of_network["alpha"]
    assert alpha.value > 0.08
    # A fifth of the way, all else the same, and the two-digit alpha before it is not.
    settings = [START.with_(alpha=a) for a in (alpha.value, alpha.value - 0.01, 0.003, 0.99)]
    there, before, floor, top = expected_variances(calibration, settings)
    assert before < floor + 0.2 * (top - floor) <= there
    expected = alpha.prediction.network.within_class_variance
    assert expected.low < there < expected.high
    assert expected.estimate == pytest.approx(there, rel=0.3)


def test_a_wanted_variance_is_that_of_the_network(calibration):
    found = advise(START, target_variance=0.4, calibration=calibration, levers=("alpha",))
    reached = expected_variances(calibration, [found[0].setting])[0]
    assert 0.4 <= reached < 0.43
    assert advise(found[0].setting, target_variance=0.4, calibration=calibration) == []
    assert advise(START, target_variance=0.99, calibration=calibration, levers=("views",)) == []


def test_longer_training_goes_further(calibration):
    setting = START.with_(alpha=0.1)
    short, long = (
        forecast(calibration, setting, steps=steps, thresholds=False) for steps in (75, 300)
    )
    assert short.within_class_variance.estimate <= long.within_class_variance.estimate
    assert [note for note in short.notes if "75 steps" in note]
    assert not long.notes


def test_other_conditions_are_said(calibration):
    def said(setting=START, steps=None, **circumstances):
        found = forecast(
            calibration, setting, thresholds=False, steps=steps, circumstances=circumstances
        )
        return [message.key.rpartition(".")[2] for message in found.differs]

    assert said() == said(START.with_(temperature=0.2)) == said(augmentation='"weak"') == []
    assert said(data="unknown to the runs") == []
    assert said(START.with_(temperature=0.05)) == ["temperature"]
    assert said(START.with_(temperature=0.5, views=3)) == ["temperature", "views"]
    assert said(START.with_(class_counts=[1000, 200])) == ["classes"]
    assert said(START.with_(reduction="pairs")) == ["loss"]
    assert said(steps=4800, augmentation='"strong"') == ["steps", "augmentation"]
    other = START.with_(class_counts=[600, 700], batch=RandomBatch(128))
    assert said(other) == []
