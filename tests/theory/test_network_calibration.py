"""Gradient flow of trained networks: derivatives, the law of its small parts, what is recovered."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from uncollapse.errors import InputError
from uncollapse.records import BalancedBatch, Calibration, NetworkRun, RandomBatch, Setting
from uncollapse.theory import calibrate, candidates, forecast, predict
from uncollapse.theory._flow import batches_of, flow, log_mean_exponential
from uncollapse.theory._posterior import LONGEST, model

SETTING = Setting(
    classes=2, per_class=600, alpha=0.01, temperature=0.1, batch=BalancedBatch(per_class=64)
)
UNEQUAL = Setting(
    class_counts=[500, 100, 300], alpha=0.3, temperature=0.2, batch=RandomBatch(size=60)
)
BEFORE = np.array([0.01, 0.001])


def naive_loss(x, setting, q, dimension):
    """The loss of one state by plain loops over classes, residuals averaged by quadrature."""
    w, b, c = x
    m, p, tau = len(setting.counts), setting.views, setting.temperature
    own_cosine, other = b + c, c - b / (m - 1)
    u = np.cos(np.linspace(0, np.pi, 20001))
    density = (1 - u**2) ** ((dimension - 2) / 2)  # of the angle
    mean = np.trapezoid(np.exp(w * u / tau) * density) / np.trapezoid(density)
    total, counts = 0.0, setting.counts
    for count in counts:
        if isinstance(setting.batch, BalancedBatch):
            mates, others = setting.batch.per_class - 1, setting.batch.per_class * (m - 1)
            weight = 1 / m
        else:
            left = setting.batch.size - 1
            mates = left * (count - 1) / (counts.sum() - 1)
            others, weight = left - mates, count / counts.sum()
        softmax = (p - 1) * np.exp((w + b + c) / tau)
        softmax += p * mates * np.exp(own_cosine / tau) * mean
        softmax += p * others * np.exp(other / tau) * mean
        alpha = setting.alpha
        pull = alpha * (w + b + c) + (1 - alpha) * (q * own_cosine + (1 - q) * other)
        total += weight * (np.log(softmax) - pull / tau)
    return total


def naive_flow(setting, time, q, dimension):
    """The same flow by an adaptive solver on differences of the loops' loss."""

    def rate(_, y):
        x = np.exp(y - y.max())
        x /= x.sum()
        step = 1e-6 * np.eye(3)
        gradient = [
            (naive_loss(x + e, setting, q, dimension) - naive_loss(x - e, setting, q, dimension))
            / 2e-6
            for e in step
        ]
        return -4 * (np.array(gradient) - x @ np.array(gradient))

    start = np.log([*BEFORE, 1 - BEFORE.sum()])
    y = solve_ivp(rate, (0, time), start, method="LSODA", rtol=1e-6).y[:, -1]
    x = np.exp(y - y.max())
    return (x / x.sum())[:2]


@pytest.mark.parametrize("setting", [SETTING.with_(alpha=0.5), UNEQUAL], ids=["equal", "unequal"])
def test_the_flow_is_that_of_the_loss_written_in_loops(setting):
    ours = flow(BEFORE, np.array([0.7]), batches_of([setting]), np.array([0.9]), np.array([5.0]))
    assert np.concatenate(ours) == pytest.approx(naive_flow(setting, 0.7, 0.9, 5.0), abs=2e-3)


def test_the_mean_over_a_sphere_has_its_closed_forms():
    x = np.array([1e-3, 0.5, 3.0, 20.0])
    value, slope, bend = log_mean_exponential(x, np.full(4, 3.0))  # sinh(x) / x
    assert value == pytest.approx(np.log(np.sinh(x) / x), rel=1e-5, abs=1e-12)
    exact = 1 / np.tanh(x[1:]) - 1 / x[1:]
    assert slope[1:] == pytest.approx(exact, rel=1e-9)
    assert bend[1:] == pytest.approx(1 / x[1:] ** 2 - 1 / np.sinh(x[1:]) ** 2, rel=1e-6)


def test_in_many_dimensions_and_a_long_time_it_is_the_optimum():
    for alpha in (0.05, 0.2, 0.5):
        setting = SETTING.with_(alpha=alpha)
        ends = flow(BEFORE, np.array([LONGEST]), batches_of([setting]), np.ones(1), np.full(1, 1e4))
        optimum = predict(setting, thresholds=False).instance_variance
        assert ends[0][0] == pytest.approx(optimum, abs=0.002)


def runs_of(truth, settings):
    found = model(np.array([truth]), batches_of(settings), np.ones(len(settings)), BEFORE)
    return [
        NetworkRun(
            setting=setting,
            steps=300,
            within_class_variance=float(w),
            between_class_variance=float(b),
            within_before=BEFORE[0],
            between_before=BEFORE[1],
        )
        for setting, w, b in zip(settings, found[0][0], found[1][0], strict=True)
    ]


def test_constants_of_networks_that_follow_the_model_are_recovered():
    truth = (1.0, 0.9, 6.0, 0.3)
    calibration = calibrate(runs_of(truth, [SETTING, *candidates(SETTING)]))
    for constant, true in zip(calibration.constants, truth, strict=True):
        assert constant.low <= true <= constant.high, constant
    assert [c.determined for c in calibration.constants[:3]] == [True, True, True]
    other = SETTING.with_(alpha=0.35)
    expected = runs_of(truth, [other])[0]
    found = forecast(calibration, other, thresholds=False)
    assert found.within_class_variance.estimate == pytest.approx(
        expected.within_class_variance, abs=0.03
    )


def test_one_run_leaves_constants_open_and_names_the_next():
    first = calibrate(runs_of((1.0, 0.9, 6.0, 0.3), [SETTING]), draws=60)
    assert "dimension" in {c.name for c in first.constants if not c.determined}
    assert any("do not determine" in note for note in first.notes)
    chosen = first.following
    assert chosen is not None
    assert 0.1 < chosen.remaining < 1
    more = SETTING.with_(alpha=chosen.alpha, temperature=chosen.temperature)
    both = calibrate(runs_of((1.0, 0.9, 6.0, 0.3), [SETTING, more]), draws=60)
    wide, narrow = (
        forecast(c, SETTING.with_(alpha=0.5), thresholds=False).within_class_variance
        for c in (first, both)
    )
    assert narrow.high - narrow.low < wide.high - wide.low


def test_what_cannot_be_calibrated_is_refused():
    run = runs_of((1.0, 0.9, 6.0, 0.3), [SETTING])[0]
    with pytest.raises(InputError, match="one run or more"):
        calibrate([])
    with pytest.raises(InputError, match="same data"):
        calibrate([run, replace(run, setting=UNEQUAL)])
    with pytest.raises(InputError, match="a constant to hold"):
        calibrate([run], held={"speed": 1.0})
    with pytest.raises(InputError, match="draws of progress"):
        Calibration.from_dict(calibrate([run], draws=10).to_dict() | {"draws": [[1.0]]})


def test_a_held_constant_is_kept_and_other_classes_are_noted():
    run = runs_of((1.0, 0.9, 6.0, 0.3), [SETTING])[0]
    calibration = calibrate([run], held={"dimension": 8.0}, draws=20)
    assert calibration.constants[2].held
    assert calibration.constants[2].estimate == pytest.approx(8, rel=1e-4)
    found = predict(UNEQUAL, calibration=calibration, thresholds=False)
    assert found.network is not None
    assert "other classes" in found.network.notes[0]
