"""From trials to a verdict, and which trials go on."""

import pytest

from uncollapse.errors import InputError
from uncollapse.pilot import Candidate, PilotOptions, PilotResult, pilot, seconds_of
from uncollapse.pilot._decide import compare_with_start, decide
from uncollapse.pilot._halving import Rungs
from uncollapse.pilot.trial import TrialState
from uncollapse.records import BalancedBatch, LayerScores, PilotConditions, Setting, TrialRun
from uncollapse.training import parse_config

OPTIONS = PilotOptions()


def scores(objective, task=0.9, verdict="healthy"):
    return LayerScores(0.1, 0.2, verdict, task, objective=objective)


def trial(name, objectives, size=1.0, task=0.9, verdict="healthy"):
    runs = [
        TrialRun(seed=s, measured={"projector": scores(v, task + 0.001 * s, verdict)})
        for s, v in enumerate(objectives)
    ]
    return TrialState(Candidate(name, (), size, None), runs=runs)


START = (0.50, 0.52, 0.51)


def verdict_of(*finished):
    start = trial("start", START, 0.0)
    compare_with_start(start, finished, OPTIONS)
    verdict, reasons, chosen = decide(start, finished, OPTIONS)
    assert all(reason.code in ("UC801", "UC802", "UC803") for reason in reasons)
    return verdict, chosen.candidate.name if chosen else None


def test_the_smallest_change_that_is_not_seen_to_be_worse_than_the_best():
    small = trial("small", (0.60, 0.63, 0.61), 0.1)
    large = trial("large", (0.62, 0.62, 0.62), 1.0)
    slight = trial("slight", (0.53, 0.55, 0.54), 0.05)
    assert verdict_of(small, large, slight) == ("change", "small")


def test_a_change_that_costs_the_training_task_or_collapses_is_refused():
    costly = trial("costly", (0.70, 0.72, 0.71), task=0.88)
    assert verdict_of(costly) == ("keep", None)
    assert verdict_of(trial("flat", (0.70, 0.72, 0.71), verdict="collapsed")) == ("keep", None)


def test_keep_where_nothing_gains_and_cannot_tell_where_seeds_disagree():
    assert verdict_of(trial("same", (0.51, 0.52, 0.51))) == ("keep", None)
    assert verdict_of(trial("worse", (0.41, 0.42, 0.41))) == ("keep", None)
    assert verdict_of(trial("noisy", (0.50, 0.75, 0.45))) == ("cannot-tell", None)


def test_each_rung_keeps_the_best_third_two_at_least_and_nothing_collapsed():
    names = [f"c{k}" for k in range(9)]
    found = {name: scores(0.1 * k) for k, name in enumerate(names)}
    found["c8"] = scores(0.8, verdict="collapsed")
    del found["c7"]  # failed
    for order in (names, names[::-1]):
        rungs = Rungs(names)
        kept = rungs.after(3, {n: found[n] for n in order if n in found})
        assert kept == ["c4", "c5", "c6"]
        # A second rung: the order is another.
        later = {"c4": scores(0.9), "c5": scores(0.2), "c6": scores(0.8)}
        assert rungs.after(9, later) == ["c4", "c6"]
        for name in ("c4", "c6"):
            rungs.finish(name, 0.5)
        states = [t.state.name for t in rungs.study.trials]
        last = ["COMPLETE", "PRUNED", "COMPLETE"]
        assert states == ["PRUNED"] * 4 + last + ["FAIL", "PRUNED"]


@pytest.mark.parametrize(
    "change",
    [{"seeds": 1}, {"budget": 0}, {"workers": 0}, {"layer": "head"}, {"margin": 1.0}],
)
def test_options_out_of_range(change):
    with pytest.raises(InputError, match=next(iter(change))):
        PilotOptions(**change)


def test_budget_in_words():
    assert [seconds_of(t) for t in ("90s", "1.5h")] == [90, 5400]
    for text in ("20", "m", "0m", "-1h"):
        with pytest.raises(InputError, match="a budget such as"):
            seconds_of(text)


def test_a_result_goes_to_json_and_back_also_with_the_batch_of_before():
    batch = BalancedBatch(2)
    setting = Setting(class_counts=(4, 4), alpha=0.5, temperature=0.1, batch=batch)
    start = trial("start", START).record()
    result = PilotResult(verdict="keep", start=start, conditions=PilotConditions(setting=setting))
    assert PilotResult.from_json(result.to_json()) == result
    assert result.start["mean"]["projector"]["objective"] == pytest.approx(0.51)
    assert [row["objective"] for row in result.table()] == [pytest.approx(0.51)]
    record = result.to_dict()
    assert record["conditions"]["setting"]["batch"]["kind"] == "balanced"
    record["conditions"]["setting"]["batch"]["kind"] = "BalancedBatch"
    assert PilotResult.from_dict(record).conditions == result.conditions


def test_a_damaged_plan_is_named(tmp_path):
    block = {"data": {"source": "digits"}, "encoder": {"kind": "convnet"}, "epochs": 1}
    config = parse_config(block | {"loss": {"alpha": 0.5, "temperature": 0.1}})
    for text in ("{", '{"asked": {}}'):
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(InputError, match=r"plan\.json"):
            pilot(config, tmp_path)


def test_a_record_that_is_none():
    for text in ("{}", "[]", '{"kind": "pilot", "schema_version": 2}', "no"):
        with pytest.raises(InputError):
            PilotResult.from_json(text)
