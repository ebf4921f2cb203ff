"""`build_report`: everything that was read, decided and predicted, in one record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from uncollapse import __version__
from uncollapse.metrics import Measurement, compare
from uncollapse.report.decision import Decision, decide
from uncollapse.report.decision_pilot import changes_of
from uncollapse.report.inputs import Options, Progress, quiet, read_inputs
from uncollapse.report.inputs_model import Case, Inputs
from uncollapse.report.language import Code, Language, language
from uncollapse.report.lookup import judged, readings
from uncollapse.report.phase import Mark, PhaseDiagram, phase_diagram
from uncollapse.report.setting_diff import changed, of_record, predicted

__all__ = ["SCHEMA_VERSION", "Report", "build_report"]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Report:
    """What a report says, before it is written as HTML, JSON or markdown.

    Attributes:
        created: When it was made.
        language: Of the sentences.
        layer: The layer that it is about; None for the projector, or what there is.
        inputs: What was read.
        decision: The first screen.
        comparison: First against last measurement, or a record of `compare`; None without.
        diagram: The phase diagram of the last run's setting; None where it is not known.
        marks: What stands where in it.
        absent: Keys of what was not given.
    """

    created: datetime
    language: Code
    layer: str | None
    inputs: Inputs
    decision: Decision
    comparison: dict[str, Any] | None
    diagram: PhaseDiagram | None
    marks: tuple[Mark, ...]
    absent: tuple[str, ...]

    @property
    def sides(self) -> list[Case]:
        """The cases that are shown side by side: the first and the last."""
        return self.inputs.sides

    @property
    def words(self) -> Language:
        """Its language, with the level of its intervals."""
        return language(self.language, self.inputs.level)

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        return self.words.say(self.decision.headline)

    def to_dict(self) -> dict[str, Any]:
        """The record for an audit, as plain JSON types; sentences are in the report's language."""
        words = self.words
        decision = self.decision.to_dict()
        decision["headline"]["text"] = words.say(self.decision.headline)
        for name in ("change", "gain", "cost", "certainty"):
            for record, message in zip(decision[name], getattr(self.decision, name), strict=True):
                record["text"] = words.say(message)
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "report",
            "uncollapse": __version__,
            "created": self.created.isoformat(),
            "language": self.language,
            "layer": self.layer,
            "decision": decision,
            **self.inputs.to_dict(),
            "comparison": self.comparison,
            "phase_diagram": None if self.diagram is None else self.diagram.to_dict(),
            "marks": [mark.to_dict() for mark in self.marks],
            "absent": list(self.absent),
        }

    def to_json(self, indent: int | None = 2) -> str:
        """Strict JSON: numbers that do not exist are null, never NaN."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False, ensure_ascii=False)

    def to_html(self) -> str:
        """One self-contained page.

        Raises:
            InputError: The packages that draw it are not installed.
        """
        from uncollapse.report.page import page

        return page(self)

    def to_markdown(self) -> str:
        """A section of a model card, as Hugging Face has them."""
        from uncollapse.report.card import card

        return card(self)


def build_report(
    paths: Sequence[str | Path],
    language: Code = "en",
    *,
    options: Options | None = None,
    created: datetime | None = None,
    progress: Progress = quiet,
) -> Report:
    """Read measurements, runs, pilots and embeddings, and say what to do.

    Args:
        paths: JSON of `measure`, `compare`, `probe`, `predict` or `pilot`, folders of runs and
            pilots, files or folders of embeddings, told apart by their content. The first run or
            measurement is "before", the last "after".
        language: "en" or "ja".
        options: How embeddings are read, and how many rows a picture shows.
        created: The time that the report carries; now where left out.
        progress: Called with the name of each path before it is read.

    Returns:
        The report; `to_html`, `to_json` and `to_markdown` write it.

    Raises:
        InputError: No path, one that holds nothing known, a file that cannot be read.
    """
    from uncollapse.report.language import language as spoken

    spoken(language)
    options = options or Options()
    inputs = read_inputs(paths, options, progress)
    diagram, marks = _phase(inputs)
    decision = decide(inputs, options.layer)
    return Report(
        created=(created or datetime.now()).astimezone(),
        language=language,
        layer=options.layer,
        inputs=inputs,
        decision=decision,
        comparison=_comparison(inputs, options.layer),
        diagram=diagram,
        marks=_with_recommendation(marks, inputs, decision),
        absent=_absent(inputs),
    )


def _comparison(inputs: Inputs, layer: str | None) -> dict[str, Any] | None:
    found: list[Measurement] = []
    for case in inputs.sides:
        one = judged(case, layer)
        if one is not None:
            found.append(one.found)
    if len(found) == 2:
        return compare(found[0], found[1]).to_dict()
    return inputs.comparisons[-1] if inputs.comparisons else None


def _pilot_setting(inputs: Inputs) -> dict[str, Any] | None:
    conditions = (inputs.pilot or {}).get("conditions") or {}
    found = conditions.get("setting")
    return found if isinstance(found, dict) else None


def _phase(inputs: Inputs) -> tuple[PhaseDiagram | None, list[Mark]]:
    """The diagram of the last setting, and where every run stands."""
    known = [
        (case, setting)
        for case in inputs.cases
        if case.kind != "trial" and (setting := of_record(case.setting)) is not None
    ]
    pilot = of_record(_pilot_setting(inputs))
    if not known and pilot is None:
        return None, []
    marks = []
    for number, (case, setting) in enumerate(known):
        role = "after" if len(known) > 1 and number == len(known) - 1 else "before"
        variance = (case.prediction or {}).get("instance_variance")
        marks.append(Mark(case.name, role, setting.alpha, setting.temperature, variance))
    if pilot is not None and not known:
        variance = (predicted(pilot) or {}).get("instance_variance")
        marks.append(Mark("", "before", pilot.alpha, pilot.temperature, variance))
    setting = known[-1][1] if known else pilot
    if setting is None:
        return None, []
    return phase_diagram(setting, [mark.tau for mark in marks]), marks


def _with_recommendation(marks: list[Mark], inputs: Inputs, decision: Decision) -> tuple[Mark, ...]:
    """The marks, and that of what is recommended."""
    recommended = decision.basis == "state" or (
        decision.basis == "pilot" and decision.verdict == "change"
    )
    settings = [of_record(case.setting) for case in inputs.cases]
    start = next((one for one in reversed(settings) if one is not None), None)
    start = of_record(_pilot_setting(inputs)) or start
    changes = list(decision.changes) or list(changes_of((inputs.pilot or {}).get("recommendation")))
    if not (recommended and changes and start is not None and marks):
        return tuple(marks)
    goal = changed(start, changes)
    if (goal.alpha, goal.temperature) == (start.alpha, start.temperature):
        return tuple(marks)
    variance = (predicted(goal) or {}).get("instance_variance")
    return (*marks, Mark("", "recommended", goal.alpha, goal.temperature, variance))


def _absent(inputs: Inputs) -> tuple[str, ...]:
    cases = inputs.cases
    measured = [one for case in cases for one in case.measured]
    given = {
        "measurement": bool(measured) or bool(inputs.comparisons),
        "setting": any(case.setting for case in cases) or _pilot_setting(inputs) is not None,
        "prediction": any(case.prediction for case in cases),
        "probe": inputs.pilot is not None or any(True for case in cases for _ in readings(case)),
        "fine": any(one.found.probe for one in measured)
        or any(read.role == "fine" for case in cases for read in readings(case)),
        "views": any(one.found.view_variance.estimate is not None for one in measured),
        "slices": any(one.found.slices for one in measured),
        "embeddings": any(case.points for case in cases),
        "pilot": inputs.pilot is not None,
        "pair": len(cases) > 1 or bool(inputs.comparisons),
    }
    return tuple(name for name, there in given.items() if not there)
