"""All that a report says: the decision, marks in the phase diagram, what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar

from uncollapse import __version__, records
from uncollapse.metrics import compare
from uncollapse.records import Comparison, Message, Prediction, Setting
from uncollapse.report.decide import lookup
from uncollapse.report.decide.decision import (
    Decision,
    change_decision,
    comparison_decision,
    state_decision,
)
from uncollapse.report.decide.lookup import judged, judged_cases, probe_rows
from uncollapse.report.decide.phase import Mark, PhaseDiagram
from uncollapse.report.decide.piloted import pilot_decision
from uncollapse.report.inputs_model import ReportInputs
from uncollapse.report.language import Code, Language, language
from uncollapse.report.read.settings import predicted


@dataclass(frozen=True)
class Use(records.Part):
    """What the embedding is for, at which layer, and who answers; "" where nobody said it."""

    intended_use: str = ""
    deployed_layer: str = ""
    approver: str = ""


@dataclass(frozen=True)
class Content(records.Document):
    """What a report says.

    Attributes:
        layer: The layer that it is about; None for the projector, or what there is.
        inputs: What was read.
        decision: The first screen.
        comparison: First against last measurement, or a record of `compare`; None without.
        diagram: The phase diagram of the last run's setting; None where it is not known.
        marks: What stands where in it.
        absent: Keys of what was not given.
        made: Where and by which command the report was made.
        use: What the embedding is for, and who answers for the decision.
        folder: That paths are shown relative to; "" for the working directory.
    """

    kind: ClassVar[str] = "report"

    created: datetime
    language: Code
    layer: str | None
    inputs: ReportInputs
    decision: Decision
    comparison: Comparison | None
    diagram: PhaseDiagram | None
    marks: tuple[Mark, ...]
    absent: tuple[str, ...]
    made: records.Environment = field(default_factory=records.Environment)
    use: Use = Use()
    folder: str = ""

    @property
    def words(self) -> Language:
        """Its language, with the level of its intervals."""
        return language(self.language, self.inputs.level)

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        words, headline = self.words, self.decision.headline
        if headline.key != lookup.BY_REASON:
            return words.say(headline)
        first = next(iter(self.decision.reasons))
        reason = words.record(first.text, first.messages[0] if first.messages else None)
        return words.say(headline.key, **headline.values, reason=reason)

    def to_dict(self) -> dict[str, Any]:
        """The record for an audit, as plain JSON types; sentences are in the report's language."""
        words = self.words
        decision = self.decision.to_dict()
        decision["headline"]["text"] = self.headline
        for name in ("change", "gain", "cost", "certainty"):
            for record, message in zip(decision[name], getattr(self.decision, name), strict=True):
                record["text"] = words.say(message)
        return {
            "kind": self.kind,
            "schema_version": self.schema_version,
            "uncollapse": __version__,
            "created": self.created.isoformat(),
            "language": self.language,
            "layer": self.layer,
            "decision": decision,
            **self.inputs.to_dict(),
            "comparison": records.to_json_types(self.comparison),
            "phase_diagram": records.to_json_types(self.diagram),
            "marks": records.to_json_types(self.marks),
            "absent": list(self.absent),
            "made": records.to_json_types(self.made),
            "use": records.to_json_types(self.use),
        }


def decide(inputs: ReportInputs, layer: str | None) -> Decision:
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
    if (stress := inputs.stress) is not None:
        headline = Message(f"headline.stress-{stress.verdict}", {"damage": stress.first})
        return Decision("stress", stress.verdict, headline, stress.reasons)
    return Decision("reading", "none", Message("headline.reading"))


def compared_measurements(inputs: ReportInputs, layer: str | None) -> Comparison | None:
    """First against last measurement, else the last record of `compare`; None without."""
    sides = judged_cases(inputs.sides, layer)
    if len(sides) == 2:
        return compare(sides[0][1], sides[1][1])
    return inputs.comparisons[-1] if inputs.comparisons else None


def _pilot_setting(inputs: ReportInputs) -> Setting | None:
    return None if inputs.pilot is None else inputs.pilot.conditions.setting


def diagram_setting(inputs: ReportInputs) -> Setting | None:
    """The setting that the phase diagram is of: the last run's, else the pilot's."""
    settings = [case.setting for case in inputs.given if case.setting]
    return settings[-1] if settings else _pilot_setting(inputs)


def marks(inputs: ReportInputs, decision: Decision) -> tuple[Mark, ...]:
    """Where every run, or the pilot's start, stands in the diagram, and what is recommended."""
    known = [(c.name, c.setting, c.prediction) for c in inputs.given if c.setting is not None]
    start = _pilot_setting(inputs)
    if not known and start is not None:
        known = [("", start, predicted(start))]
    placed = [_mark(name, "before", setting, theory) for name, setting, theory in known]
    if len(placed) > 1:
        placed[-1] = replace(placed[-1], role="after")
    goal = _recommended(inputs, decision)
    if placed and goal is not None:
        placed.append(_mark("", "recommended", goal, predicted(goal)))
    return tuple(placed)


def _mark(name: str, role: str, setting: Setting, prediction: Prediction | None) -> Mark:
    variance = None if prediction is None else prediction.instance_variance
    return Mark(name, role, setting.alpha, setting.temperature, variance)


def _recommended(inputs: ReportInputs, decision: Decision) -> Setting | None:
    """The setting that is recommended; None where it is not another place in the diagram."""
    settings = [*(case.setting for case in inputs.cases), _pilot_setting(inputs)]
    start = next((setting for setting in reversed(settings) if setting is not None), None)
    recommends = (decision.basis, decision.verdict) == ("pilot", "change")
    if start is None or not (recommends or decision.basis == "state"):
        return None
    goal = records.changed_setting(start, decision.changes)
    same = (goal.alpha, goal.temperature) == (start.alpha, start.temperature)
    return None if same else goal


def absent(inputs: ReportInputs, use: Use) -> tuple[str, ...]:
    """Keys of what was not given."""
    cases = inputs.cases
    measured = [measured.measurement for measured in inputs.measured]
    probed = [row for case in cases for row in probe_rows(case)]
    given = {
        "measurement": measured or inputs.comparisons,
        "setting": any(case.setting for case in cases) or _pilot_setting(inputs) is not None,
        "prediction": any(case.prediction for case in cases),
        "probe": probed or inputs.pilot is not None,
        "fine": any(m.probe for m in measured) or any(row.target.role == "fine" for row in probed),
        "views": any(m.view_variance.estimate is not None for m in measured),
        "slices": any(m.slices for m in measured),
        "embeddings": any(case.points for case in cases),
        "pilot": inputs.pilot is not None,
        "pair": len(cases) > 1 or inputs.comparisons,
        "columns": all(measured.columns for measured in inputs.measured),
        "environment": all(case.run.environment for case in inputs.runs if case.run),
        "intended-use": use.intended_use,
        "deployed-layer": use.deployed_layer,
        "approver": use.approver,
    }
    return tuple(name for name, there in given.items() if not there)
