"""What a report says, in one record, before it is written as HTML, JSON or markdown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from uncollapse import __version__
from uncollapse.records import Comparison, Document, to_json_types
from uncollapse.report.decide.decision import Decision
from uncollapse.report.decide.phase import Mark, PhaseDiagram
from uncollapse.report.inputs_model import Inputs
from uncollapse.report.language import Code, Language, language


@dataclass(frozen=True)
class Content(Document):
    """What a report says.

    Attributes:
        layer: The layer that it is about; None for the projector, or what there is.
        inputs: What was read.
        decision: The first screen.
        comparison: First against last measurement, or a record of `compare`; None without.
        diagram: The phase diagram of the last run's setting; None where it is not known.
        marks: What stands where in it.
        absent: Keys of what was not given.
    """

    kind: ClassVar[str] = "report"

    created: datetime
    language: Code
    layer: str | None
    inputs: Inputs
    decision: Decision
    comparison: Comparison | None
    diagram: PhaseDiagram | None
    marks: tuple[Mark, ...]
    absent: tuple[str, ...]

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
            "comparison": to_json_types(self.comparison),
            "phase_diagram": to_json_types(self.diagram),
            "marks": to_json_types(self.marks),
            "absent": list(self.absent),
        }
