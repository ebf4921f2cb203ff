"""The search for the best setting: what it proposes, what it may not, and what changes nothing."""

import json
import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from test_pilot import config

from uncollapse.errors import InputError
from uncollapse.pilot import Outcome, PilotOptions, PilotResult, Seen, pilot, propose
from uncollapse.pilot._plan import dearest, plan_epochs, plan_text
from uncollapse.pilot._stages import _scaled
from uncollapse.pilot.dials import _features, space
from uncollapse.pilot.search import dial_features, expected_improvement
from uncollapse.records import (
    Expected,
    LayerScores,
    NetworkPrediction,
    Objective,
    PilotPlan,
    PilotRows,
    PredictedVariance,
    SettingChange,
    Trial,
    TrialFile,
    changed_config,
)
from uncollapse.theory import predict
from uncollapse.training import build_problem

# Keep changes nothing where gains are invented from alpha and temperature.
DIALS = ("alpha", "temperature", "batch", "augmentation", "epochs")
BEST = PilotOptions(goal="best", seeds=2, dials=DIALS)
PLAN = PilotPlan(
    epochs=3, short=3, seconds_per_epoch=1, runs=1, seconds=1, searched=7, lengths=(3, 6)
)


@pytest.mark.parametrize(("mean", "deviation", "best"), [(0.2, 0.1, 0.5), (0.5, 2.0, 0.1)])
def test_expected_improvement_is_its_integral(mean, deviation, best):
    def above(y):
        return (y - best) * norm.pdf(y, mean, deviation)

    wanted, _ = quad(above, best, mean + 12 * deviation)
    found = expected_improvement(np.array([mean]), np.array([deviation]), best)
    assert found == pytest.approx([wanted], rel=1e-6)


def landscape(top):
    """Settings on a grid of three features, and objectives with one top."""
    axis = np.linspace(-1, 1, 5)
    rows = np.array(list(product(axis, axis, axis[::2])))
    return rows, 0.9 - 0.2 * ((rows - top) ** 2).sum(axis=1)


@pytest.mark.parametrize("top", [(0.5, -0.5, 0.0), (-0.5, 1.0, 1.0)])
def test_it_finds_a_top_in_far_fewer_runs_than_there_are_settings(top):
    rows, worth = landscape(top)
    seen = [Seen(0, worth[0])]
    while len(seen) < 11:
        seen += [Seen(place, worth[place]) for place in propose(rows, seen, 2)]
    assert len({one.place for one in seen}) == len(seen)
    # Of 75 settings, five are the top or beside it: random searches of 11 miss them half the time.
    assert max(one.objective for one in seen) >= worth.max() - 0.05 - 1e-9


def test_what_loses_the_training_label_is_not_gone_on_with():
    """The objective rises along a line, and the training label falls below its floor halfway."""
    line = np.linspace(-1, 1, 21)[:, None]
    objective, task = 0.6 + 0.1 * line[:, 0], np.where(line[:, 0] > 0.05, 0.8, 0.95)
    seen = [Seen(place, objective[place], task[place]) for place in (0, 20)]
    for _ in range(6):
        (place,) = propose(line, seen, floor=0.94)
        seen.append(Seen(place, objective[place], task[place]))
    allowed = [one for one in seen if one.task >= 0.94]
    assert line[max(allowed, key=lambda one: one.objective).place] >= -0.2
    assert propose(line, [Seen(0, 0.5), Seen(20, 0.7)])[0] > 10  # without a floor, upwards


def test_equal_promises_go_by_the_order_of_the_list_and_failed_ones_are_left_out():
    rows = np.repeat(np.array([[-1.0], [0.0], [1.0]]), 2, axis=0)
    seen = [Seen(0, 0.5), Seen(1, 0.5), Seen(2, 0.7)]
    assert propose(rows, seen) == [4]
    assert propose(rows, seen, taken=[4]) == [5]
    assert sorted(propose(rows, seen, 9, taken=[4])) == [3, 5]


def test_the_grid_holds_any_number_of_changes_and_nothing_that_is_predicted_to_collapse():
    found = space(build_problem(config()), PLAN)
    names = [trial.name for trial in found.trials]
    assert names[0] == "start"
    assert len(set(names)) == len(names) == len(found.features)
    sizes = [trial.size for trial in found.trials]
    assert sizes == sorted(sizes)
    assert "alpha-0.9+temperature-0.4+per-class-8+augmentation-medium+epochs-6" in names
    assert "temperature-0.4" not in names  # at alpha 0 it collapses
    plain = [trial for trial in found.trials[1:] if "keep" not in trial.name]
    assert all(trial.prediction.instance_variance > 0 for trial in plain)
    assert found.dials["epochs"] == (3, 6)
    assert np.abs(found.features).max() <= 2


def test_with_a_calibration_the_feature_is_what_a_network_shows():
    problem = build_problem(config())
    setting = problem.setting().with_(alpha=0.2)
    expected = Expected(estimate=0.3, low=0.2, high=0.4)
    network = NetworkPrediction(
        within_class_variance=expected,
        between_class_variance=expected,
        alpha_where_spread_begins=None,
        confidence=0.9,
    )
    theory = predict(setting, thresholds=False)
    rows = [_features((), setting, p, problem) for p in (theory, replace(theory, network=network))]
    for row, variance in zip(rows, (theory.instance_variance, 0.3), strict=True):
        wanted = dial_features([0.2], [0.1], [32], variance=[variance])
        assert row[0] == pytest.approx(wanted[0, 0])


def test_epochs_change_by_the_same_factor_in_the_pilot_and_in_what_is_recommended():
    twice = SettingChange("epochs", 30, 60)
    other = SettingChange("loss.alpha", 0.0, 0.5)
    changes, until = _scaled(Trial(change=(other, twice)), 12)
    assert (until, changes) == (24, (other, SettingChange("epochs", 12, 24)))
    assert _scaled(Trial(change=(other,)), 12) == ((other,), 12)
    block = {"epochs": 30, "loss": {"alpha": 0.0}}
    assert changed_config(block, [other, twice]) == {"epochs": 60, "loss": {"alpha": 0.5}}
    assert block["epochs"] == 30


def invented(gain, *, backwards=False, fails=(), length=0.0):
    """A runner whose settings gain with alpha and temperature, and cost a little by seed."""
    ran = []

    def value(job):
        after = {change.key: change.after for change in job.changes}
        alpha, tau = after.get("loss.alpha", 0.0), after.get("loss.temperature", 0.1)
        best = gain * (1 - abs(alpha - 0.5) - abs(np.log2(tau / 0.2)) / 2)
        objective = 0.5 + best * bool(after) + 0.002 * (job.seed % 3)
        objective += length * np.log2(job.until / job.common.config.epochs)
        scores = LayerScores(0.1, 0.2, "healthy", task=0.9, objective=float(objective))
        free = {candidate.name: replace(scores, objective=0.4) for candidate in job.free}
        both = {"projector": scores, "backbone": scores}
        return TrialFile(seed=job.seed, measured=both, free=free, epochs=job.until)

    def run(jobs, workers, ended):
        ran.append([job.trial for job in jobs])
        order = reversed(jobs) if backwards else jobs
        found = {}
        for job in order:
            failed = any(part in job.trial for part in fails)
            found[id(job)] = Outcome(None, "invented") if failed else Outcome(value(job))
            ended(job)
        return [found[id(job)] for job in jobs]

    return run, ran


def test_several_changes_are_found_shown_step_by_step_and_recommended(tmp_path):
    run, ran = invented(0.2)
    found = pilot(config(), tmp_path / "one", runner=run, options=BEST)
    assert found.verdict == "change"
    chosen = {change.key: change.after for change in found.recommendation.change}
    assert abs(chosen["loss.alpha"] - 0.5) <= 0.2
    assert chosen["loss.temperature"] in (0.2, 0.4)
    first, *steps = found.search
    assert (first.trial, first.gain, len(steps)) == ("start", 0, 7)  # the best are long already
    assert [len(names) for names in ran[1:5]] == [1, 2, 2, 2]
    gains = [step.gain for step in found.search]
    assert gains == sorted(gains)
    assert gains[-1] == pytest.approx(max(s.objective for s in steps) - first.objective)
    assert found.search[-1].best == found.recommendation.trial
    assert {trial.status for trial in found.candidates} == {"complete", "pruned"}
    again = PilotResult.from_json((tmp_path / "one" / "pilot.json").read_text())
    assert again.search == found.search
    # The order in which processes end, and their number, change nothing.
    other, runs = invented(0.2, backwards=True)
    options = replace(BEST, workers=5, budget=9000)
    same = pilot(config(), tmp_path / "five", runner=other, options=options)
    assert runs == ran
    assert (same.search, same.candidates) == (found.search, found.candidates)


def test_a_failed_setting_is_not_proposed_again(tmp_path):
    run, _ = invented(0.2, fails=("alpha-0.9",))
    found = pilot(config(), tmp_path / "pilot", runner=run, options=BEST)
    failed = [step for step in found.search if step.objective is None]
    assert failed
    tried = [step.trial for step in found.search]
    assert len(set(tried)) == len(tried)
    assert not any("alpha-0.9" in trial.name for trial in found.candidates if trial.mean)


def test_another_goal_is_refused_and_an_old_folder_goes_on_with_the_least_change(tmp_path):
    run, _ = invented(0.2)
    pilot(config(), tmp_path / "pilot", runner=run, options=replace(BEST, dials=()))
    plan = tmp_path / "pilot" / "plan.json"
    with pytest.raises(InputError, match="found others"):
        pilot(config(), tmp_path / "pilot", runner=run, options=PilotOptions(seeds=2))
    record = json.loads(plan.read_text())
    del record["asked"]["options"]["goal"], record["asked"]["options"]["dials"]
    del record["plan"]["searched"], record["plan"]["lengths"]
    plan.write_text(json.dumps(record))
    with pytest.raises(InputError, match="found others"):
        pilot(config(), tmp_path / "pilot", runner=run, options=replace(BEST, dials=()))
    assert not pilot(config(), tmp_path / "pilot", runner=run, options=PilotOptions(seeds=2)).search


def test_a_plan_counts_changed_runs_as_long_as_their_dearest_change(monkeypatch):
    """Twice the epochs fit if all runs last as the start does, and not if they augment strongly."""
    start = build_problem(config(views={"count": 2, "augmentation": "weak"}))
    costly = dearest(start, ())
    assert costly.config.views.augmentation == "medium"
    assert costly.config.loss.keep == 1
    assert dearest(start, ("alpha",)) is None
    problem = replace(start, config=start.config.model_copy(update={"epochs": 40}))

    def planned(dear):
        def seconds(timed):
            return dear if timed.config.views.augmentation == "medium" else 1.0

        monkeypatch.setattr("uncollapse.pilot._plan.seconds_per_epoch", seconds)
        return plan_epochs(problem, 1.0, 7, PilotOptions(goal="best", workers=2, budget=1400))

    # 24 runs with three seeds: 6 of the start and 18 of up to 80 epochs, measured in 4 seconds.
    assert planned(1.0).lengths == (20, 40, 80)
    assert planned(1.0).longer == 2
    assert planned(1.0).seconds == (6 * 44 + 18 * 84) / 2
    # Even one setting with 80 epochs, of every seed and confirmed, is more than 1050 s.
    assert planned(2.0).lengths == (20, 40)
    assert planned(2.0).longer == 0
    assert planned(2.0).seconds == (6 * 44 + 16 * 85) / 2


def timed(monkeypatch, start, dear):
    """Durations as given, in place of those of steps that are timed."""
    seconds = iter([start, dear])
    monkeypatch.setattr("uncollapse.pilot._plan.seconds_per_epoch", lambda problem: next(seconds))
    monkeypatch.setattr("uncollapse.pilot._plan.dearest", lambda problem, dials: problem)


@pytest.mark.parametrize(
    ("budget", "longer", "lengths"),
    [
        (420, 0, (5, 10)),
        (520, 1, (5, 10)),
        (600, 2, (5, 10)),
        (640, 0, (5, 10, 20)),
        (700, 2, (5, 10, 20)),
    ],
)
def test_time_that_is_left_goes_to_longer_runs_of_the_best(monkeypatch, budget, longer, lengths):
    """From durations alone: nothing is trained. No plan is longer than three quarters of it."""
    timed(monkeypatch, 1.0, 1.0)
    problem = build_problem(config(epochs=10))
    plan = plan_epochs(problem, 1.0, 7, PilotOptions(goal="best", seeds=3, budget=budget))
    assert (plan.epochs, plan.longer, plan.lengths) == (10, longer, lengths)
    assert plan.seconds <= 0.75 * budget


def test_no_time_is_left_for_what_is_no_dial(monkeypatch):
    timed(monkeypatch, 1.0, 1.0)
    problem = build_problem(config(epochs=10))
    options = PilotOptions(goal="best", budget=36_000, dials=("alpha",))
    assert plan_epochs(problem, 1.0, 7, options).longer == 0


def test_a_plan_counts_every_run_of_the_longer_settings(monkeypatch):
    """What a pilot then runs, priced run by run, is never more than what was planned."""
    timed(monkeypatch, 1.0, 1.0)
    problem = build_problem(config(epochs=10))
    plan = plan_epochs(problem, 1.0, 7, PilotOptions(goal="best", seeds=3, budget=600))
    short, long = 10 + 4, 20 + 4
    # Start and its confirmation; the search; two longer; two seeds more of three, two of them
    # longer; the confirmation of a longer one.
    assert plan.seconds == 6 * short + 7 * short + 2 * long + 2 * (2 * long + short) + 3 * long
    assert plan.runs == 24


def test_the_best_are_run_once_more_with_twice_the_epochs(tmp_path, monkeypatch):
    """Where not all runs may be long, the best is; it wins where length is what helps."""
    timed(monkeypatch, 1.0, 1.0)
    run, ran = invented(0.2, length=0.03)
    options = replace(BEST, budget=225)
    found = pilot(config(epochs=4), tmp_path / "pilot", runner=run, options=options)
    plan = found.conditions.plan
    assert (plan.longer, plan.lengths) == (2, (2, 4))
    assert [len(names) for names in ran[1:6]] == [1, 2, 2, 2, 2]
    steps = {step.trial: step for step in found.search}
    longer = [name for name in steps if name.endswith("epochs-8")]
    assert longer == ran[5]
    shorter = [steps[name.removesuffix("+epochs-8")] for name in longer]
    searched = [step.objective for step in found.search[:8]]
    assert sorted(searched)[-2:] == sorted(step.objective for step in shorter)
    assert found.recommendation.trial in longer
    assert found.recommendation.change[-1] == SettingChange("epochs", 4, 8)
    assert {
        run.epochs for run in found.recommendation.confirmed.runs[found.recommendation.trial]
    } == {8}
    # A pilot that was planned before goes on without them.
    file = tmp_path / "pilot" / "plan.json"
    record = json.loads(file.read_text())
    del record["plan"]["longer"]
    file.write_text(json.dumps(record))
    before = pilot(config(epochs=4), tmp_path / "pilot", runner=run, options=options)
    assert before.search == found.search[:8]


def test_the_longer_of_a_setting_keeps_its_other_changes():
    found = space(build_problem(config()), replace(PLAN, lengths=(2, 3)))
    names = [trial.name for trial in found.trials]
    for name, expected in {
        "start": "epochs-6",
        "alpha-0.9": "alpha-0.9+epochs-6",
        "alpha-0.9+temperature-0.4+epochs-2": "alpha-0.9+temperature-0.4+epochs-6",
    }.items():
        trial = found.trials[names.index(name)]
        longer = found.longer(names.index(name))
        assert longer.name == expected
        assert longer.change[-1] == SettingChange("epochs", 3, 6)
        others = [change for change in trial.change if change.key != "epochs"]
        assert list(longer.change[:-1]) == others
    every = space(build_problem(config()), PLAN)
    whole = {trial.name: trial for trial in every.trials}
    assert found.longer(names.index("alpha-0.9")) == whole["alpha-0.9+epochs-6"]


def test_a_plan_that_is_copied_gives_the_same_result_with_other_workers(tmp_path, monkeypatch):
    """Workers enter a plan through the budget only: fewer have room for less."""
    timed(monkeypatch, 1.0, 1.0)  # Once: of the second pilot nothing is timed.
    run, ran = invented(0.2, length=0.03)
    options = replace(BEST, budget=177, workers=2)
    found = pilot(config(epochs=8), tmp_path / "two", runner=run, options=options)
    (tmp_path / "one").mkdir()
    shutil.copy(tmp_path / "two" / "plan.json", tmp_path / "one")
    other, again = invented(0.2, length=0.03, backwards=True)
    alone = replace(options, workers=1)
    same = pilot(config(epochs=8), tmp_path / "one", runner=other, options=alone)
    assert again == ran
    assert same.conditions == found.conditions
    assert (same.search, same.candidates) == (found.search, found.candidates)
    timed(monkeypatch, 1.0, 1.0)
    fresh = plan_epochs(build_problem(config(epochs=8)), 1.0, 7, alone)
    plan = found.conditions.plan
    assert (plan.epochs, plan.longer, fresh.epochs, fresh.longer) == (8, 2, 4, 0)


def test_a_plan_shows_what_candidates_were_chosen_by():
    """With a calibration they are spaced by the variance of a network, not of the optimum."""
    network = Expected(estimate=0.11, low=0.06, high=0.23)
    trial = Trial(prediction=PredictedVariance("spread", 0.35, 0.4, network))
    plain = replace(trial, prediction=PredictedVariance("spread", 0.35, 0.4))
    rows = PilotRows(
        share=1.0,
        train_rows=400,
        validation_rows=180,
        test_rows=300,
        expected_half_width=0.07,
        wanted_half_width=0.07,
    )
    shown, without = (plan_text(Objective(), rows, PLAN, [t], []) for t in (trial, plain))
    assert "0.3500 spread   0.11 [0.06, 0.23]" in shown
    assert "of a network like yours" in shown
    assert "0.3500 spread" in without
    assert "network" not in without
