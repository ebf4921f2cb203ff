"""What a pilot found, as a record that goes to JSON and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from uncollapse.records import scalars
from uncollapse.records.codec import Document, Part, read_json
from uncollapse.records.prediction import Phase
from uncollapse.records.run import SettingChange
from uncollapse.records.scalars import Interval
from uncollapse.records.setting import Setting
from uncollapse.records.verdict import Message, Value, Verdict

# By layer, the mean of each score over seeds.
Means = dict[str, dict[str, float]]


@dataclass(frozen=True)
class LayerScores(Part):
    """What one run reached at one layer, on rows that it was not trained on."""

    # Unbiased, on unit vectors, and its share of the total; None where it does not exist.
    instance_variance: scalars.Variance | None = None
    share: float | None = None
    verdict: Verdict = "cannot-tell"
    task: scalars.Portion | None = None  # accuracy of the training label by a linear probe
    # Balanced accuracy on other data, by their names.
    downstream: dict[str, scalars.Portion] = field(default_factory=dict)
    objective: scalars.AboveChance | None = None  # what the pilot maximises


@dataclass(frozen=True, kw_only=True)
class TrialRun(Part):
    """One run of a setting: scores by layer, mean loss of the last epoch, epochs, seconds."""

    seed: scalars.Count
    measured: dict[str, LayerScores]
    loss: float | None = None
    epochs: scalars.Count | None = None
    seconds: scalars.NotNegative = 0.0


@dataclass(frozen=True, kw_only=True)
class TrialFile(TrialRun, Document):
    """The file that a run leaves in its folder, so that nobody need run it again."""

    kind: ClassVar[str] = "trial"

    @classmethod
    def read(cls, path: Path, remedy: str = "take it out, and its run is measured again") -> Self:
        """The record in a JSON file; the first ones had their seed in the folder's name alone."""
        record = read_json(path, "a trial", remedy)
        seed = path.parent.name.removeprefix("seed-")
        if isinstance(record, dict) and seed.isdecimal():
            record = {"seed": int(seed)} | record
        return cls.from_dict(record, str(path))

    @classmethod
    def read_all(cls, pilot: Path) -> list[Self]:
        """Those in a pilot's folder, where one that is damaged is named."""
        return [cls.read(path) for path in sorted(pilot.glob("trials/*/*/measured-*.json"))]


@dataclass(frozen=True)
class PredictedVariance(Part):
    """What theory says of a setting, in short."""

    phase: Phase
    instance_variance: scalars.Portion
    within_class_variance: scalars.Portion | None = None


PilotVerdict = Literal["change", "keep", "cannot-tell"]
TrialStatus = Literal["waiting", "complete", "pruned", "failed", "predicted-collapse"]


@dataclass(frozen=True, kw_only=True)
class Trial(Part):
    """A setting: what is predicted and what its runs reached.

    The size of a change is |difference| of alpha, |log2 ratio| of temperature, batch and views,
    steps of augmentation. `gain` and `task_change` are the differences to the start, of objective
    and training task; None where they were not compared.
    """

    name: str = "start"  # of its folder too
    change: tuple[SettingChange, ...] = ()
    size: scalars.NotNegative | None = None
    prediction: PredictedVariance | None = None  # None where theory refuses the setting
    note: str = ""  # what theory does not say
    status: TrialStatus = "waiting"
    reason: str | None = None  # why it is not complete
    seconds: scalars.NotNegative = 0.0
    runs: tuple[TrialRun, ...] = ()  # one per seed
    mean: Means | None = None  # of their scores
    gain: Interval | None = None
    task_change: Interval | None = None


@dataclass(frozen=True)
class Objective(Part):
    """What a pilot maximises: its name, the labels or data it is a mean over, and in words."""

    name: str = ""
    columns: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class PilotReason(Part):
    """Why the verdict is what it is: a stable code UC8xx, and a sentence."""

    anchor: ClassVar[str] = ""
    advice: ClassVar[str] = ""

    code: str
    text: str
    message: Message | None = None  # None in older files

    @property
    def messages(self) -> tuple[Message, None, None] | None:
        """As those of a measurement's reason, which also has an anchor and advice."""
        return None if self.message is None else (self.message, None, None)

    @classmethod
    def from_key(cls, code: str, key: str, /, **values: Value) -> PilotReason:
        """The reason with the sentence of a key."""
        message = Message(key, values)
        return cls(code, str(message), message)


@dataclass(frozen=True, kw_only=True)
class Confirmation(Part):
    """The recommended setting and the start once more, on the test split with fresh seeds.

    Welch's intervals: means of the fresh seeds, spread of both rounds. `start` and `recommended`
    are means of scores, `runs` go by setting.
    """

    gain: Interval
    task_change: Interval
    split: str = "test"
    seeds: tuple[scalars.Count, ...] = ()
    start: Means | None = None
    recommended: Means | None = None
    runs: dict[str, tuple[TrialRun, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Recommendation(Part):
    """The setting that is recommended, and the file of its whole configuration (`config`).

    Intervals are the simultaneous ones on validation rows; `confirmed` is what the test split says.
    `margin_shown`: whether the interval there rules out a loss on the training task above `margin`.
    """

    trial: str
    change: tuple[SettingChange, ...] = ()
    gain: Interval | None = None
    task_change: Interval | None = None
    margin: scalars.Fraction | None = None
    margin_shown: bool | None = None  # None in older files
    confirmed: Confirmation | None = None
    seconds_per_run: dict[str, scalars.NotNegative] = field(default_factory=dict)
    config: str = ""


@dataclass(frozen=True)
class IntervalMethod(Part):
    """How the intervals are made, of how many comparisons at once, at which level."""

    method: str = ""
    family_size: scalars.Count = 0
    level: scalars.Fraction | None = None


@dataclass(frozen=True, kw_only=True)
class PilotRows(Part):
    """The part of the data that a pilot uses: its share of the training rows, and its rows.

    Half-widths are those of the 95 % interval of one seed's objective.
    """

    share: scalars.Fraction
    train_rows: scalars.Count
    validation_rows: scalars.Count
    test_rows: scalars.Count
    expected_half_width: scalars.NotNegative
    wanted_half_width: scalars.NotNegative


@dataclass(frozen=True, kw_only=True)
class PilotPlan(Part):
    """Size of a pilot: epochs of a run to the end and of the first rung (`short`).

    `runs` is in units of a run to the end, `seconds` the wall-clock time that is expected.
    """

    epochs: scalars.Count
    short: scalars.Count
    seconds_per_epoch: scalars.NotNegative
    runs: scalars.NotNegative
    seconds: scalars.NotNegative


@dataclass(frozen=True, kw_only=True)
class PilotConditions(Part):
    """Under which conditions a pilot compared its settings; `setting` and `config` are the start's.

    The fresh seeds are those of the confirmation.
    """

    setting: Setting | None = None
    rows: PilotRows | None = None
    plan: PilotPlan | None = None
    seeds: tuple[scalars.Count, ...] = ()
    fresh_seeds: tuple[scalars.Count, ...] = ()
    options: dict[str, str | int | float] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    chosen_on: str = "validation"
    confirmed_on: str = "test, once"


@dataclass(frozen=True, kw_only=True)
class PilotResult(Document):
    """What a pilot found.

    Attributes:
        verdict: Whether the setting should "change", one should "keep" it, or "cannot-tell".
        reasons: Why, each with its code.
        layer: Where the objective was measured.
        objective: What was maximised.
        start: The present setting.
        candidates: The other trials, the smallest changes first.
        recommendation: None unless the verdict is "change".
        statistics: How intervals are made.
        conditions: Rows used, seeds, epochs, budget.

    Examples:
        >>> from uncollapse.records import Recommendation, SettingChange
        >>> change = SettingChange("loss.alpha", 0.0, 0.2)
        >>> chosen = Recommendation(trial="alpha-0.2", change=(change,), config="recommended.yaml")
        >>> result = PilotResult(verdict="change", recommendation=chosen)
        >>> PilotResult.from_json(result.to_json()).recommendation.change[0].after
        0.2
    """

    kind: ClassVar[str] = "pilot"
    verdict: PilotVerdict
    reasons: tuple[PilotReason, ...] = ()
    layer: str = "projector"
    objective: Objective = Objective()
    start: Trial = Trial()
    candidates: tuple[Trial, ...] = ()
    recommendation: Recommendation | None = None
    statistics: IntervalMethod = IntervalMethod()
    conditions: PilotConditions = field(default_factory=PilotConditions)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The start and the candidates."""
        return (self.start, *self.candidates)

    def table(self) -> list[dict[str, Any]]:
        """A row per setting, start first: what a data frame takes."""
        return [_row(trial, (trial.mean or {}).get(self.layer, {})) for trial in self.trials]


def _row(trial: Trial, means: dict[str, float]) -> dict[str, Any]:
    predicted, gain = trial.prediction, trial.gain
    return {
        "setting": trial.name,
        "status": trial.status,
        "size": trial.size,
        "predicted_variance": predicted and predicted.instance_variance,
        "measured_variance": means.get("instance_variance"),
        "objective": means.get("objective"),
        "task": means.get("task"),
        "gain": gain and gain.estimate,
        "gain_low": gain and gain.low,
        "gain_high": gain and gain.high,
        "runs": len(trial.runs),
        "epochs": trial.runs[-1].epochs if trial.runs else None,
        "seconds": trial.seconds,
    }
