"""What the probes found, as a record that goes to JSON and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

from uncollapse.errors import InputError
from uncollapse.records.score import Score

__all__ = ["SCHEMA_VERSION", "ProbeResult", "Reading", "TargetProbe"]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Reading:
    """What one probe read of one target at one layer.

    Attributes:
        probe: One of `uncollapse.probes.settings.PROBES`: "linear", "within-class knn", ...
        score: On the test split.
        chosen: Hyperparameters, chosen on the validation split.
        validation: Balanced accuracy there at these (inside classes: chance-corrected, mean over
            them); None where nothing was chosen.
        details: Shots and draws; classes of the probe inside classes.
    """

    probe: str
    score: Score
    chosen: dict[str, Any]
    validation: float | None
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """One key per attribute."""
        return vars(self) | {"score": self.score.to_dict()}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Reading:
        """The inverse of `to_dict`."""
        return cls(
            record["probe"],
            Score.from_dict(record["score"]),
            record["chosen"],
            record["validation"],
            record.get("details") or {},
        )


@dataclass(frozen=True)
class TargetProbe:
    """What was read of one target at one layer.

    Attributes:
        data: Name of the data set; "" for the one that the encoder was trained for.
        layer: Name of the layer.
        target: Name of the target.
        role: "label", "fine", "slice" or "target".
        classes: Labels among the training rows; chance is 1/classes.
        sizes: Rows that take part, by split, and "missing" (rows without this target).
        readings: One per probe.
        notes: What the reader must know.
    """

    data: str
    layer: str
    target: str
    role: str
    classes: int
    sizes: dict[str, int]
    readings: tuple[Reading, ...]
    notes: tuple[str, ...] = ()

    def reading(self, probe: str, shots: int | None = None) -> Reading:
        """The reading of one probe; a KeyError where it does not apply."""
        for found in self.readings:
            if found.probe == probe and (shots is None or found.details.get("shots") == shots):
                return found
        raise KeyError(probe)

    def to_dict(self) -> dict[str, Any]:
        """One key per attribute."""
        readings = [found.to_dict() for found in self.readings]
        return vars(self) | {"readings": readings, "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> TargetProbe:
        """The inverse of `to_dict`."""
        names = ("data", "layer", "target", "role", "classes", "sizes")
        known: dict[str, Any] = {name: record[name] for name in names}
        readings = tuple(Reading.from_dict(one) for one in record["readings"])
        return cls(**known, readings=readings, notes=tuple(record.get("notes", ())))


@dataclass(frozen=True)
class ProbeResult:
    """What frozen embeddings let read, per layer and per target.

    Attributes:
        targets: One entry per data set, layer and target.
        conditions: Seed, splits of each data set, what units are, what the intervals are, settings.
    """

    kind: ClassVar[str] = "probe"

    targets: tuple[TargetProbe, ...]
    conditions: dict[str, Any]
    schema_version: int = field(default=SCHEMA_VERSION)

    def of(self, layer: str, target: str, data: str = "") -> TargetProbe:
        """The entry of one layer and target; a KeyError where there is none."""
        for found in self.targets:
            if (found.data, found.layer, found.target) == (data, layer, target):
                return found
        raise KeyError((data, layer, target))

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON types, one key per attribute."""
        return vars(self) | {"targets": [found.to_dict() for found in self.targets]}

    def to_json(self, indent: int | None = 2) -> str:
        """Strict JSON: numbers that do not exist are null, never NaN."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_dict(cls, record: dict[str, Any], source: str = "") -> ProbeResult:
        """The inverse of `to_dict`; keys that this version does not know are left out.

        Raises:
            InputError: The record is not one of probes, or of a newer schema.
        """
        try:
            version = int(record["schema_version"])
            if version <= SCHEMA_VERSION:
                targets = tuple(TargetProbe.from_dict(one) for one in record["targets"])
                return cls(targets, dict(record["conditions"]), version)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                "a record as `uncollapse probe --json` writes it",
                f"a record that lacks or garbles {error}",
                "probe again",
            ) from error
        raise InputError(
            f"probes of schema {SCHEMA_VERSION} or older",
            f"schema {version}",
            "install a newer uncollapse",
        )

    @classmethod
    def from_json(cls, text: str) -> ProbeResult:
        """The inverse of `to_json`."""
        try:
            record = json.loads(text)
        except ValueError as error:
            raise InputError(
                "JSON of `uncollapse probe --json`", f"{error}", "probe again"
            ) from error
        return cls.from_dict(record)
