"""`build_report`: everything that was read, decided and predicted, in one record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from uncollapse.metrics import Measurement, compare
from uncollapse.report.decide.decision import Decision, decide
from uncollapse.report.decide.lookup import judged, readings
from uncollapse.report.decide.phase import Mark, PhaseDiagram, phase_diagram
from uncollapse.report.inputs_model import Inputs, Options
from uncollapse.report.language import Code
from uncollapse.report.language import language as spoken
from uncollapse.report.read.inputs import Progress, quiet, read_inputs
from uncollapse.report.read.pilot_parts import changes_of
from uncollapse.report.read.setting_diff import changed, of_record, predicted
from uncollapse.report.record import Content

__all__ = ["Report", "build_report"]


class Report(Content):
    """What a report says; it writes itself as a page, a record or a section of a model card."""

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
