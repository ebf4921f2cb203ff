"""The trade of a pilot in the report, and what it says where something free is recommended."""

from dataclasses import replace

import pytest

from uncollapse.records import (
    Confirmation,
    Interval,
    LayerScores,
    PilotResult,
    Recommendation,
    SearchStep,
    SettingChange,
    TradePoint,
    Trial,
    TrialRun,
)
from uncollapse.report.decide.decide import pilot_decision
from uncollapse.report.language import Language
from uncollapse.report.sections.pilot import search_section, transfer_section
from uncollapse.report.sections.trade import trade_section


def runs(**objectives):
    """Two runs by layer."""
    return tuple(
        TrialRun(
            seed=seed,
            measured={
                layer: LayerScores(objective=value + 0.01 * seed, task=0.9)
                for layer, value in objectives.items()
            },
        )
        for seed in (0, 1)
    )


@pytest.fixture
def result():
    gain = Interval(0.2, 0.1, 0.3)
    start = Trial(status="complete", runs=runs(projector=0.6, backbone=0.8))
    free = Trial(name="backbone", kind="free", layer="backbone", runs=runs(backbone=0.8), gain=gain)
    base = Trial(name="inputs", kind="free", layer="inputs", deployable=False)
    point = {"kind": "free", "runs": 2}
    return PilotResult(
        verdict="change",
        deploy="any",
        start=start,
        candidates=(free, base),
        recommendation=Recommendation(
            trial="backbone",
            layer="backbone",
            gain=gain,
            next="alpha-0.5",
            confirmed=Confirmation(
                gain=gain,
                task_change=Interval(0.0, -0.01, 0.01),
                seeds=(0, 1),
                runs={"start": start.runs, "backbone": free.runs},
                over_free=Interval(0.01, -0.02, 0.04),
            ),
        ),
        trade=(
            TradePoint(trial="start", layer="projector", objective=0.6, task=0.9, runs=2),
            TradePoint(
                trial="backbone", layer="backbone", objective=0.8, task=0.9, front=True, **point
            ),
            TradePoint(
                trial="inputs", layer="inputs", objective=0.7, task=0.8, deployable=False, **point
            ),
        ),
    )


def test_the_trade_is_drawn_and_listed_the_best_first(result):
    section = trade_section(result, Language("en"))
    (table,) = section.tables
    assert [row[2] for row in table.rows] == ["recommended", "no training", "present setting"]
    assert [row[5] for row in table.rows] == ["yes, on the front", "no", "yes"]
    line, filled, hollow, *_ = section.figures[0].spec["layer"]
    names = [[row["short"] for row in part["data"]["values"]] for part in (line, filled, hollow)]
    head = "layer before the head"
    assert names == [[head], [head, "present setting"], ["raw inputs"]]
    assert (filled["mark"]["filled"], hollow["mark"]["filled"]) == (True, False)
    said = trade_section(result, Language("ja"))
    assert "バックボーン" in said.tables[0].rows[0][0]
    assert trade_section(PilotResult(verdict="keep"), Language("en")) is None


def test_a_free_layer_is_set_against_the_layer_of_the_start(result):
    (table,) = transfer_section(result, Language("en")).tables
    assert table.rows[0][1] == "projector to layer before the head"
    assert table.rows[0][2:4] == ["60.5%", "80.5%"]
    assert [row[1] for row in table.rows[2:]] == ["layer before the head"] * 2


def test_what_is_free_is_no_training(result):
    decision = pilot_decision(result)
    assert [message.key for message in decision.change] == ["change.pilot-free"]
    # The interval of what training adds reaches below zero.
    assert "gain.next-unshown" in [message.key for message in decision.gain]
    said = Language("en").say(decision.change[0])
    assert said == "No training: take the embedding from the backbone, the layer before the head."
    for message in (*decision.change, *decision.gain):
        assert Language("ja").say(message) != Language("en").say(message)


@pytest.mark.parametrize(
    ("gained", "task", "key"),
    [
        (0.35, Interval(-0.013, -0.05, 0.03), "gain.next-refused"),
        (0.35, None, "gain.next-unconfirmed"),
        (0.1, Interval(0.0, -0.01, 0.01), "gain.next-none"),
    ],
)
def test_a_trained_setting_that_gained_more_and_costs_too_much_is_named(result, gained, task, key):
    gain = Interval(gained, gained - 0.05, gained + 0.05)
    change = (SettingChange("loss.keep", 0.0, 3.0),)
    trained = Trial(name="keep-3", change=change, status="complete", gain=gain, task_change=task)
    behind = Trial(name="views-4", status="complete")  # which has no gain
    alone = replace(result.recommendation.confirmed, over_free=None)
    chosen = replace(result.recommendation, next="", confirmed=alone)
    found = replace(result, candidates=(*result.candidates, trained, behind), recommendation=chosen)
    said = pilot_decision(found).gain[-1]
    assert said.key == key
    text = Language("en").say(said)
    assert ("+35.0" in text) == (gained == 0.35)
    assert ("−1.3" in text) == (key == "gain.next-refused")
    assert Language("ja").say(said) != text


def test_a_search_is_listed_run_by_run():
    change = (SettingChange("loss.alpha", 0.0, 0.5), SettingChange("epochs", 10, 20))
    steps = (
        SearchStep(trial="start", objective=0.6, task=0.9),
        SearchStep(trial="a", change=change, objective=0.7, task=0.9, best="a", gain=0.1),
        SearchStep(trial="b", change=change[:1], best="a", gain=0.1),
    )
    result = PilotResult(verdict="keep", search=steps)
    (table,) = search_section(result, Language("en")).tables
    assert [row[0] for row in table.rows] == ["0", "1", "2"]
    assert [row[4:] for row in table.rows[1:]] == [["1", "+10.0 points"]] * 2
    assert "epochs: 10 \N{RIGHTWARDS ARROW} 20" in table.rows[1][1]
    assert table.rows[2][2] != table.rows[1][2]  # it failed: no number
    (said,) = search_section(result, Language("ja")).tables
    assert said.titles != table.titles
    assert search_section(PilotResult(verdict="keep"), Language("en")) is None
