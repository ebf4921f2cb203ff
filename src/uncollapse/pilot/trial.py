"""A setting that a pilot tries, and how far its runs have come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from uncollapse.records import (
    Interval,
    PredictedVariance,
    Prediction,
    SettingChange,
    Trial,
    TrialRun,
    TrialStatus,
)

_SCORES = ("objective", "task", "instance_variance", "share")


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
class TrialState:
    """A trial while the pilot runs; `record` is what it says of it."""

    candidate: Candidate
    status: TrialStatus = "waiting"
    reason: str | None = None
    runs: Sequence[TrialRun] = ()
    gain: Interval | None = None
    task_change: Interval | None = None

    @property
    def name(self) -> str:
        """Of the setting."""
        return self.candidate.name

    def values(self, layer: str, score: str) -> list[float]:
        """One number per seed, in the order of seeds."""
        return [run.measured[layer].value(score) for run in self.runs]

    def record(self) -> Trial:
        """What is known so far."""
        candidate, prediction = self.candidate, self.candidate.prediction
        return Trial(
            name=candidate.name,
            change=candidate.changes,
            size=candidate.size,
            prediction=None
            if prediction is None
            else PredictedVariance(
                prediction.phase, prediction.instance_variance, prediction.within_class_variance
            ),
            note=candidate.note,
            status=self.status,
            reason=self.reason,
            seconds=round(sum(run.seconds for run in self.runs), 2),
            runs=tuple(self.runs),
            mean=means(self.runs),
            gain=self.gain,
            task_change=self.task_change,
        )


def means(runs: Sequence[TrialRun]) -> dict[str, dict[str, float]] | None:
    """By layer, the mean over runs of every score that all of them have."""
    if not runs:
        return None
    return {
        layer: {
            score: mean(run.measured[layer][score] for run in runs)
            for score in _SCORES
            if all(run.measured[layer][score] is not None for run in runs)
        }
        for layer in runs[0].measured
    }
