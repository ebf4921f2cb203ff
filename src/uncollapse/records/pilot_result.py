"""What a pilot found, as a record that goes to JSON and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from uncollapse.errors import InputError
from uncollapse.records.prediction import Prediction

__all__ = ["SCHEMA_VERSION", "Candidate", "PilotResult", "SettingChange", "Trial"]

SCHEMA_VERSION = 1
_NUMBERS = ("objective", "task", "instance_variance", "share")


@dataclass(frozen=True)
class SettingChange:
    """One key of the configuration and its values before and after."""

    key: str
    before: Any
    after: Any

    def to_dict(self) -> dict[str, Any]:
        """JSON types: key, from, to."""
        return {"key": self.key, "from": self.before, "to": self.after}


@dataclass(frozen=True)
class Candidate:
    """A setting to try.

    Attributes:
        name: Unique, and a folder's name.
        changes: Of the configuration; none for the start.
        size: How small the change is: |difference| of alpha, |log2 ratio| of temperature, batch
            and views, steps of augmentation.
        prediction: Its optimum by theory; None where theory refuses the setting.
        note: What theory does not say.
    """

    name: str
    changes: tuple[SettingChange, ...]
    size: float
    prediction: Prediction | None
    note: str = ""

    @property
    def collapsed(self) -> bool:
        """Whether no class is predicted to keep its instances apart."""
        return self.prediction is not None and "spread" not in self.prediction.phase_per_class


@dataclass
class Trial:
    """A setting: what is predicted and what its runs reached.

    Attributes:
        candidate: The setting.
        status: "waiting", "complete", "pruned", "failed" or "predicted-collapse".
        reason: Why it is not complete.
        runs: A dictionary per seed: seed, epochs, seconds, measured.
        gain, task_change: Intervals of the difference to the start; None where not compared.
    """

    candidate: Candidate
    status: str = "waiting"
    reason: str | None = None
    runs: list[dict[str, Any]] = field(default_factory=list)
    gain: dict[str, float] | None = None
    task_change: dict[str, float] | None = None

    def values(self, layer: str, key: str) -> list[float]:
        """One number per seed, in the order of seeds."""
        return [float(run["measured"][layer][key]) for run in self.runs]

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        prediction = self.candidate.prediction
        return {
            "name": self.candidate.name,
            "change": [change.to_dict() for change in self.candidate.changes],
            "size": self.candidate.size,
            "prediction": None
            if prediction is None
            else {
                "phase": prediction.phase,
                "instance_variance": prediction.instance_variance,
                "within_class_variance": prediction.within_class_variance,
            },
            "note": self.candidate.note,
            "status": self.status,
            "reason": self.reason,
            "seconds": round(sum(run["seconds"] for run in self.runs), 2),
            "runs": self.runs,
            "mean": self._means(),
            "gain": self.gain,
            "task_change": self.task_change,
        }

    def _means(self) -> dict[str, dict[str, float]] | None:
        if not self.runs:
            return None
        return {
            layer: {
                key: mean(self.values(layer, key))
                for key in _NUMBERS
                if all(run["measured"][layer].get(key) is not None for run in self.runs)
            }
            for layer in self.runs[0]["measured"]
        }


@dataclass(frozen=True)
class PilotResult:
    """What a pilot found; every attribute is plain JSON types.

    Attributes:
        verdict: "change", "keep" or "cannot-tell".
        reasons: Sentences with codes: {"code", "text"}.
        layer: Where the objective was measured.
        objective: Its name, columns and text.
        start: The present setting as a trial, with its collapse verdict.
        candidates: The other trials, the smallest changes first.
        recommendation: None unless the verdict is "change": trial, change, gain, task_change,
            margin, confirmed on the test split with fresh seeds, seconds before and after, config.
        statistics: Method, family size, level.
        conditions: Rows used, seeds, epochs, expected half-width, budget, versions.
    """

    verdict: str
    reasons: list[dict[str, str]]
    layer: str
    objective: dict[str, Any]
    start: dict[str, Any]
    candidates: list[dict[str, Any]]
    recommendation: dict[str, Any] | None
    statistics: dict[str, Any]
    conditions: dict[str, Any]
    schema_version: int = SCHEMA_VERSION
    kind: str = "pilot"

    def table(self) -> list[dict[str, Any]]:
        """A row per setting, start first: what a data frame takes."""
        rows = []
        for trial in (self.start, *self.candidates):
            means = (trial["mean"] or {}).get(self.layer, {})
            gain = trial["gain"] or {}
            predicted = trial["prediction"] or {}
            rows.append(
                {
                    "setting": trial["name"],
                    "status": trial["status"],
                    "size": trial["size"],
                    "predicted_variance": predicted.get("instance_variance"),
                    "measured_variance": means.get("instance_variance"),
                    "objective": means.get("objective"),
                    "task": means.get("task"),
                    "gain": gain.get("estimate"),
                    "gain_low": gain.get("low"),
                    "gain_high": gain.get("high"),
                    "runs": len(trial["runs"]),
                    "epochs": trial["runs"][-1]["epochs"] if trial["runs"] else None,
                    "seconds": trial["seconds"],
                }
            )
        return rows

    def to_dict(self) -> dict[str, Any]:
        """One key per attribute."""
        return dict(vars(self))

    def to_json(self, indent: int | None = 2) -> str:
        """Strict JSON."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> PilotResult:
        """The inverse of `to_json`.

        Raises:
            InputError: It is no record of a pilot, or one of a newer schema.
        """
        try:
            record = json.loads(text)
            if record["kind"] == "pilot" and record["schema_version"] <= SCHEMA_VERSION:
                return cls(**record)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                "a pilot.json of `uncollapse pilot`", f"{error}", "run it again"
            ) from (error)
        raise InputError(
            f"a pilot of schema {SCHEMA_VERSION} or older",
            f"{record.get('kind')} of schema {record.get('schema_version')}",
            "install a newer uncollapse",
        )
