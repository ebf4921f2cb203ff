"""Runs that learn their temperature and whose alpha follows a schedule."""

import json

import pytest
from runs import BLOCK, problem_of

from uncollapse.errors import InputError
from uncollapse.training import parse_config, train

LOSS = {
    "alpha": 0.2,
    "temperature": 0.1,
    "learn_temperature": [0.02, 0.5],
    "alpha_schedule": {"start": 1.0, "epochs": 1.5},
}


class Stopped(Exception):  # noqa: N818
    """As a crash does, between two checkpoints."""


def stop_at(number):
    def progress(step):
        if step.done == number:
            raise Stopped

    return progress


def test_a_run_logs_both_and_goes_on_exactly(tmp_path):
    arguments = {"loss": LOSS, "epochs": 2, "checkpoint": {"every_steps": 3}}
    whole = train(problem_of(**arguments), tmp_path / "whole")
    first, last = whole.history
    steps = first.step
    alphas = [1 - 0.8 * step / (1.5 * steps) for step in range(steps)]
    assert first["alpha"] == pytest.approx(sum(alphas) / steps, abs=1e-6)
    assert last["alpha"] < 0.5
    assert last["temperature"] != first["temperature"] != 0.1
    assert 0.02 <= last["temperature"] <= 0.5
    with pytest.raises(Stopped):
        train(problem_of(**arguments), tmp_path / "cut", progress=stop_at(steps + 5))
    (state,) = (tmp_path / "cut/checkpoints").glob("step-*/state.json")
    stored = state.read_text()
    state.write_text(json.dumps(json.loads(stored) | {"log_inverse_temperature": None}))
    with pytest.raises(InputError, match=r"state\.json; found log_inverse_temperature None"):
        train(problem_of(**arguments), tmp_path / "cut", resume=True)
    state.write_text(stored)
    resumed = train(problem_of(**arguments), tmp_path / "cut", resume=True)
    assert resumed.history[-1].numbers == last.numbers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learn_temperature": [0.2, 0.5]}, "learn_temperature needs 0.001 <= least <= loss"),
        ({"learn_temperature": [0.05]}, "loss.learn_temperature"),
        ({"alpha_schedule": {"start": 2, "epochs": 1}}, "loss.alpha_schedule.start"),
        ({"alpha_schedule": {"start": 1, "epochs": 0}}, "loss.alpha_schedule.epochs"),
        ({"alpha_schedule": {"start": 1, "epochs": 1, "shape": "step"}}, "alpha_schedule.shape"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_key(change, message):
    with pytest.raises(InputError, match=message):
        parse_config({**BLOCK, "loss": LOSS | change})


def test_the_shapes_of_a_schedule():
    at = {}
    for shape in ("linear", "cosine"):
        schedule = {"start": 1.0, "epochs": 4, "shape": shape}
        loss = parse_config({**BLOCK, "loss": LOSS | {"alpha_schedule": schedule}}).loss
        at[shape] = [loss.alpha_schedule.at(epochs, loss.alpha) for epochs in (0, 1, 2, 4, 9)]
    assert at["linear"] == pytest.approx([1, 0.8, 0.6, 0.2, 0.2])
    assert at["cosine"] == pytest.approx([1, 0.2 + 0.8 * (1 + 0.5**0.5) / 2, 0.6, 0.2, 0.2])
