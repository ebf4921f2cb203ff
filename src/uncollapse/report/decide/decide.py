"""What the inputs say together: the decision, marks in the phase diagram, what is missing."""

from __future__ import annotations

from uncollapse.metrics import compare
from uncollapse.records import Comparison, Message, Setting, changed_setting
from uncollapse.report.decide.decision import (
    Decision,
    change_decision,
    comparison_decision,
    state_decision,
)
from uncollapse.report.decide.lookup import judged, judged_cases, probe_rows
from uncollapse.report.decide.phase import Mark
from uncollapse.report.decide.pilot import pilot_decision
from uncollapse.report.inputs_model import Inputs
from uncollapse.report.read.setting_diff import predicted


def decide(inputs: Inputs, layer: str | None) -> Decision:
    """The strongest thing that the inputs can say: a pilot, a change, a state, or a reading."""
    if inputs.pilot is not None:
        return pilot_decision(inputs.pilot)
    measured = [case for case in inputs.cases if case.measured]
    if len(inputs.cases) > 1 and (decision := change_decision(inputs.cases, layer)) is not None:
        return decision
    if inputs.comparisons and not measured:
        return comparison_decision(inputs.comparisons[-1])
    last = judged(measured[-1], layer) if measured else None
    if last is not None:
        return state_decision(measured[-1], last)
    return Decision("reading", "none", Message("headline.reading"))


def compared_measurements(inputs: Inputs, layer: str | None) -> Comparison | None:
    """First against last measurement, else the last record of `compare`; None without."""
    sides = judged_cases(inputs.sides, layer)
    if len(sides) == 2:
        return compare(sides[0][1], sides[1][1])
    return inputs.comparisons[-1] if inputs.comparisons else None


def _pilot_setting(inputs: Inputs) -> Setting | None:
    conditions = None if inputs.pilot is None else inputs.pilot.conditions
    return None if conditions is None else conditions.setting


def diagram_setting(inputs: Inputs) -> Setting | None:
    """The setting that the phase diagram is of: the last run's, else the pilot's."""
    given = [case.setting for case in inputs.cases if case.kind != "trial" and case.setting]
    return given[-1] if given else _pilot_setting(inputs)


def _variance(setting: Setting) -> float | None:
    prediction = predicted(setting)
    return None if prediction is None else prediction.instance_variance


def marks(inputs: Inputs, decision: Decision) -> tuple[Mark, ...]:
    """Where every run, or the pilot's start, stands in the diagram, and what is recommended."""
    known = [case for case in inputs.cases if case.kind != "trial" and case.setting]
    placed = []
    for case in known:
        setting, prediction = case.setting, case.prediction
        role = "after" if len(known) > 1 and case is known[-1] else "before"
        variance = None if prediction is None else prediction.instance_variance
        if setting is not None:
            placed.append(Mark(case.name, role, setting.alpha, setting.temperature, variance))
    start = _pilot_setting(inputs)
    if start is not None and not known:
        placed.append(Mark("", "before", start.alpha, start.temperature, _variance(start)))
    recommended = _recommended(inputs, decision) if placed else None
    return (*placed, *([] if recommended is None else [recommended]))


def _recommended(inputs: Inputs, decision: Decision) -> Mark | None:
    """The mark of what is recommended; None where that is not another place in the diagram."""
    settings = [*(case.setting for case in inputs.cases), _pilot_setting(inputs)]
    start = next((setting for setting in reversed(settings) if setting is not None), None)
    recommends = (decision.basis, decision.verdict) == ("pilot", "change")
    if start is None or not (recommends or decision.basis == "state"):
        return None
    goal = changed_setting(start, decision.changes)
    if (goal.alpha, goal.temperature) == (start.alpha, start.temperature):
        return None
    return Mark("", "recommended", goal.alpha, goal.temperature, _variance(goal))


def absent(inputs: Inputs) -> tuple[str, ...]:
    """Keys of what was not given."""
    cases = inputs.cases
    measured = [measured.measurement for case in cases for measured in case.measured]
    probed = [row for case in cases for row in probe_rows(case)]
    given = {
        "measurement": bool(measured or inputs.comparisons),
        "setting": any(case.setting for case in cases) or _pilot_setting(inputs) is not None,
        "prediction": any(case.prediction for case in cases),
        "probe": inputs.pilot is not None or bool(probed),
        "fine": any(m.probe for m in measured) or any(row.target.role == "fine" for row in probed),
        "views": any(m.view_variance.estimate is not None for m in measured),
        "slices": any(m.slices for m in measured),
        "embeddings": any(case.points for case in cases),
        "pilot": inputs.pilot is not None,
        "pair": len(cases) > 1 or bool(inputs.comparisons),
    }
    return tuple(name for name, there in given.items() if not there)
